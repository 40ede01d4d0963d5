package store_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/placement"
	"github.com/tropocloud/tropo/placement/candidate"
	"github.com/tropocloud/tropo/placement/store"
)

func each(t *testing.T, f func(t *testing.T, ctx context.Context, s *store.Store)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, err := store.New(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		f(t, t.Context(), s)
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// host adds a provider with so many VCPU and so much memory.
func host(t *testing.T, s *store.Store, name string, vcpu int) string {
	t.Helper()
	p := &placement.Provider{UUID: uuid.NewString(), Name: name}
	must(t, s.CreateProvider(t.Context(), p))
	must(t, s.SetInventories(t.Context(), p.UUID, 0, []placement.Inventory{
		inventory(p.UUID, "VCPU", vcpu), inventory(p.UUID, "MEMORY_MB", 1024*vcpu),
	}))
	return p.UUID
}

func inventory(provider, class string, total int) placement.Inventory {
	return placement.Inventory{ProviderUUID: provider, ResourceClass: class, Total: total, MinUnit: 1, MaxUnit: total, StepSize: 1, AllocationRatio: 1}
}

func claim(consumer string, generation *int, amounts map[string]map[string]int) placement.Claim {
	c := placement.Claim{ConsumerUUID: consumer, CheckGeneration: true, Generation: generation, ProjectID: "p", UserID: "u"}
	for provider, r := range amounts {
		c.Add(provider, r)
	}
	return c
}

func set(ctx context.Context, s *store.Store, claims ...placement.Claim) error {
	return s.SetAllocations(ctx, claims, placement.Consumer{ProjectID: "none", UserID: "none"})
}

func usage(t *testing.T, s *store.Store, provider, class string) int {
	t.Helper()
	list, err := s.ProviderUsages(t.Context(), provider)
	must(t, err)
	for _, u := range list {
		if u.ResourceClass == class {
			return u.Used
		}
	}
	return 0
}

// TestConcurrentClaimsNeverOverAllocate lets many claims fight for few places
// on two providers, in both orders, and looks that each place was given away
// once and none was left.
func TestConcurrentClaimsNeverOverAllocate(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, s *store.Store) {
		const places, claims, workers = 10, 40, 8
		a, b := host(t, s, "a", places), host(t, s, "b", places)
		var won, lost atomic.Int64
		var wg sync.WaitGroup
		work := make(chan int)
		for range workers {
			wg.Go(func() {
				for range work {
					err := set(ctx, s, claim(uuid.NewString(), nil, map[string]map[string]int{a: {"VCPU": 1}, b: {"VCPU": 1, "MEMORY_MB": 10}}))
					switch {
					case err == nil:
						won.Add(1)
					case fault.Is(err, fault.Conflict):
						lost.Add(1)
					default:
						t.Errorf("claim: %v", err)
					}
				}
			})
		}
		for i := range claims {
			work <- i
		}
		close(work)
		wg.Wait()
		if won.Load() != places || lost.Load() != claims-places {
			t.Errorf("%d claims were granted and %d refused, want %d and %d", won.Load(), lost.Load(), places, claims-places)
		}
		for _, p := range []string{a, b} {
			if n := usage(t, s, p, "VCPU"); n != places {
				t.Errorf("%d of %d VCPU are used", n, places)
			}
		}
	})
}

// TestConcurrentClaimsOfOneConsumer lets claims of one consumer with the same
// generation fight: one wins each round.
func TestConcurrentClaimsOfOneConsumer(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, s *store.Store) {
		h := host(t, s, "h", 100)
		consumer := uuid.NewString()
		var generation *int
		for round := 1; round <= 3; round++ {
			var won atomic.Int64
			var wg sync.WaitGroup
			for i := range 6 {
				wg.Go(func() {
					err := set(ctx, s, claim(consumer, generation, map[string]map[string]int{h: {"VCPU": i + 1}}))
					if err == nil {
						won.Add(1)
						return
					}
					if f, ok := fault.As(err); !ok || f.Type != placement.CodeConcurrentUpdate {
						t.Errorf("loser got %v", err)
					}
				})
			}
			wg.Wait()
			if won.Load() != 1 {
				t.Fatalf("round %d: %d claims were granted, want 1", round, won.Load())
			}
			c, held, err := s.ConsumerAllocations(ctx, consumer)
			must(t, err)
			if c.Generation != round || len(held) != 1 {
				t.Errorf("round %d: generation %d, %d allocations", round, c.Generation, len(held))
			}
			generation = &c.Generation
		}
	})
}

// TestConcurrentInventoryAndClaims takes inventory away while claims come: in
// the end there is either the inventory or no allocation of it.
func TestConcurrentInventoryAndClaims(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, s *store.Store) {
		for i := range 5 {
			h := host(t, s, fmt.Sprint("h", i), 4)
			var wg sync.WaitGroup
			var claimed, deleted error
			wg.Go(func() { claimed = set(ctx, s, claim(uuid.NewString(), nil, map[string]map[string]int{h: {"VCPU": 1}})) })
			wg.Go(func() { deleted = s.DeleteInventories(ctx, h) })
			wg.Wait()
			if (claimed == nil) == (deleted == nil) {
				t.Errorf("claim: %v, delete: %v; want one of them to fail", claimed, deleted)
			}
			for _, err := range []error{claimed, deleted} {
				if err != nil && !fault.Is(err, fault.Conflict) {
					t.Error(err)
				}
			}
		}
	})
}

func TestClaimsAreAllOrNothing(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, s *store.Store) {
		h := host(t, s, "h", 4)
		one, two := uuid.NewString(), uuid.NewString()
		err := set(ctx, s,
			claim(one, nil, map[string]map[string]int{h: {"VCPU": 3}}),
			claim(two, nil, map[string]map[string]int{h: {"VCPU": 3}}))
		if !fault.Is(err, fault.Conflict) {
			t.Fatalf("claim of more than there is: %v", err)
		}
		if n := usage(t, s, h, "VCPU"); n != 0 {
			t.Errorf("%d VCPU are used after a refusal", n)
		}
		must(t, set(ctx, s, claim(one, nil, map[string]map[string]int{h: {"VCPU": 3}})))
		// A move: what one gives up two may have in the same request.
		g := 1
		must(t, set(ctx, s, claim(one, &g, nil), claim(two, nil, map[string]map[string]int{h: {"VCPU": 4}})))
		if c, _, err := s.ConsumerAllocations(ctx, one); c != nil || err != nil {
			t.Errorf("consumer without allocations is still there: %v, %v", c, err)
		}
		must(t, s.DeleteAllocations(ctx, two))
		if err := s.DeleteAllocations(ctx, two); !fault.Is(err, fault.NotFound) {
			t.Errorf("second delete: %v", err)
		}
		if n := usage(t, s, h, "VCPU"); n != 0 {
			t.Errorf("%d VCPU are used in the end", n)
		}
	})
}

func TestReshapeMovesInventoryUnderAllocations(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, s *store.Store) {
		parent := host(t, s, "parent", 8)
		child := &placement.Provider{UUID: uuid.NewString(), Name: "child", ParentUUID: &parent}
		must(t, s.CreateProvider(ctx, child))
		consumer, g := uuid.NewString(), 1
		must(t, set(ctx, s, claim(consumer, nil, map[string]map[string]int{parent: {"VCPU": 8}})))
		p, err := s.Provider(ctx, parent)
		must(t, err)
		moved := claim(consumer, &g, map[string]map[string]int{child.UUID: {"VCPU": 8}})
		shapes := []placement.Shape{
			{ProviderUUID: parent, Generation: p.Generation, Inventories: []placement.Inventory{inventory(parent, "MEMORY_MB", 100)}},
			{ProviderUUID: child.UUID, Generation: 0, Inventories: []placement.Inventory{inventory(child.UUID, "VCPU", 8)}},
		}
		// Without the allocations the inventory may not go.
		if err := s.Reshape(ctx, shapes, nil, placement.Consumer{}); !fault.Is(err, fault.Conflict) {
			t.Errorf("inventory in use went away: %v", err)
		}
		must(t, s.Reshape(ctx, shapes, []placement.Claim{moved}, placement.Consumer{}))
		if n := usage(t, s, child.UUID, "VCPU"); n != 8 {
			t.Errorf("child uses %d VCPU", n)
		}
		if _, err := s.Inventory(ctx, parent, "VCPU"); !fault.Is(err, fault.NotFound) {
			t.Errorf("parent's VCPU: %v", err)
		}
		if err := s.Reshape(ctx, shapes, nil, placement.Consumer{}); !fault.Is(err, fault.Conflict) {
			t.Errorf("old generations: %v", err)
		}
	})
}

// TestSnapshotSeesEveryChange makes each kind of change and looks whether the
// next snapshot has it, also in a second store on the same database.
func TestSnapshotSeesEveryChange(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		s, err := store.New(ctx, d)
		must(t, err)
		other, err := store.New(ctx, d)
		must(t, err)
		h, consumer := host(t, s, "h", 4), uuid.NewString()
		agg := uuid.NewString()
		see := func(what string, ok func(p *candidate.Provider) bool) {
			t.Helper()
			for _, st := range []*store.Store{s, other} {
				snap, err := st.Snapshot(ctx)
				must(t, err)
				if !ok(snap.Provider(h)) {
					t.Errorf("a snapshot does not show: %s", what)
				}
			}
		}
		see("inventory", func(p *candidate.Provider) bool { return len(p.Stocks) == 2 && p.Stocks[1].Capacity == 4 })
		must(t, set(ctx, s, claim(consumer, nil, map[string]map[string]int{h: {"VCPU": 3}})))
		see("usage", func(p *candidate.Provider) bool { return p.Stocks[1].Used == 3 })
		must(t, s.DeleteAllocations(ctx, consumer))
		see("usage gone", func(p *candidate.Provider) bool { return p.Stocks[1].Used == 0 })
		_, err = s.SetProviderTraits(ctx, h, 2, []string{"HW_CPU_X86_AVX"})
		must(t, err)
		see("trait", func(p *candidate.Provider) bool { return len(p.Traits) == 1 })
		_, err = s.SetAggregates(ctx, h, nil, []string{agg})
		must(t, err)
		see("aggregate", func(p *candidate.Provider) bool { return len(p.Aggregates) == 1 })
		_, err = s.UpdateProvider(ctx, h, "renamed", nil)
		must(t, err)
		see("name", func(p *candidate.Provider) bool { return p.Name == "renamed" })
		parent := host(t, s, "parent", 1)
		_, err = s.UpdateProvider(ctx, h, "renamed", &placement.ParentChange{Parent: &parent})
		must(t, err)
		see("parent", func(p *candidate.Provider) bool { return p.RootUUID == parent })
		must(t, s.DeleteProvider(ctx, h))
		see("gone", func(p *candidate.Provider) bool { return p == nil })
	})
}
