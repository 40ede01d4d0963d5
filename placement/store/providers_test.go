package store_test

import (
	"context"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/placement"
	"github.com/tropocloud/tropo/placement/store"
)

func code(t *testing.T, err error) string {
	t.Helper()
	f, ok := fault.As(err)
	if !ok {
		t.Fatalf("%v is no fault", err)
	}
	return f.Type
}

func TestTreesMoveWhole(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, s *store.Store) {
		add := func(name string, parent *string) string {
			p := &placement.Provider{UUID: uuid.NewString(), Name: name, ParentUUID: parent}
			must(t, s.CreateProvider(ctx, p))
			return p.UUID
		}
		root := func(id string) string {
			p, err := s.Provider(ctx, id)
			must(t, err)
			return p.RootUUID
		}
		a, b := add("a", nil), add("b", nil)
		child := add("child", &a)
		leaf := add("leaf", &child)
		if _, err := s.UpdateProvider(ctx, child, "child", &placement.ParentChange{Parent: &b}); !fault.Is(err, fault.Invalid) {
			t.Errorf("moving without leave: %v", err)
		}
		_, err := s.UpdateProvider(ctx, child, "child", &placement.ParentChange{Parent: &b, Move: true})
		must(t, err)
		if root(child) != b || root(leaf) != b || root(a) != a {
			t.Error("the subtree did not move whole")
		}
		if _, err := s.UpdateProvider(ctx, b, "b", &placement.ParentChange{Parent: &leaf, Move: true}); !fault.Is(err, fault.Invalid) {
			t.Errorf("a circle: %v", err)
		}
		if got := code(t, s.DeleteProvider(ctx, child)); got != placement.CodeCannotDeleteParent {
			t.Errorf("deleting a parent: %s", got)
		}
		_, err = s.UpdateProvider(ctx, child, "child", &placement.ParentChange{Move: true})
		must(t, err)
		if root(leaf) != child {
			t.Error("the leaf did not follow its new root")
		}
		for _, id := range []string{leaf, child, a, b} {
			must(t, s.DeleteProvider(ctx, id))
		}
	})
}

// TestConcurrentMovesMakeNoCircle hangs two roots under each other at the same
// moment: one of the two is refused.
func TestConcurrentMovesMakeNoCircle(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, s *store.Store) {
		for range 5 {
			a, b := uuid.NewString(), uuid.NewString()
			for _, id := range []string{a, b} {
				must(t, s.CreateProvider(ctx, &placement.Provider{UUID: id, Name: id}))
			}
			var errs [2]error
			var wg sync.WaitGroup
			wg.Go(func() { _, errs[0] = s.UpdateProvider(ctx, a, a, &placement.ParentChange{Parent: &b, Move: true}) })
			wg.Go(func() { _, errs[1] = s.UpdateProvider(ctx, b, b, &placement.ParentChange{Parent: &a, Move: true}) })
			wg.Wait()
			if (errs[0] == nil) == (errs[1] == nil) {
				t.Errorf("got %v and %v, want one refusal", errs[0], errs[1])
			}
		}
	})
}

func TestNamesAreUnique(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, s *store.Store) {
		id := host(t, s, "h", 1)
		err := s.CreateProvider(ctx, &placement.Provider{UUID: uuid.NewString(), Name: "h"})
		if code(t, err) != placement.CodeDuplicateName {
			t.Errorf("same name: %v", err)
		}
		err = s.CreateProvider(ctx, &placement.Provider{UUID: id, Name: "other"})
		if code(t, err) != placement.CodeDuplicateName {
			t.Errorf("same uuid: %v", err)
		}
		none := uuid.NewString()
		err = s.CreateProvider(ctx, &placement.Provider{UUID: uuid.NewString(), Name: "orphan", ParentUUID: &none})
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("no such parent: %v", err)
		}
	})
}

func TestInventoryGenerations(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, s *store.Store) {
		h := host(t, s, "h", 4)
		if err := s.SetInventories(ctx, h, 0, nil); code(t, err) != placement.CodeConcurrentUpdate {
			t.Errorf("old generation: %v", err)
		}
		must(t, set(ctx, s, claim(uuid.NewString(), nil, map[string]map[string]int{h: {"VCPU": 3}})))
		if err := s.SetInventories(ctx, h, 2, nil); code(t, err) != placement.CodeInventoryInUse {
			t.Errorf("inventory in use: %v", err)
		}
		if err := s.DeleteInventory(ctx, h, "VCPU"); code(t, err) != placement.CodeInventoryInUse {
			t.Errorf("inventory in use: %v", err)
		}
		must(t, s.DeleteInventory(ctx, h, "MEMORY_MB"))
		if err := s.DeleteProvider(ctx, h); code(t, err) != placement.CodeProviderInUse {
			t.Errorf("provider in use: %v", err)
		}
		// Shrinking below what is used is allowed: the host lost something.
		must(t, s.UpdateInventory(ctx, 3, inventory(h, "VCPU", 2)))
		if err := set(ctx, s, claim(uuid.NewString(), nil, map[string]map[string]int{h: {"VCPU": 1}})); !fault.Is(err, fault.Conflict) {
			t.Errorf("claim on a full host: %v", err)
		}
		if err := s.AddInventory(ctx, 4, inventory(h, "VCPU", 2)); !fault.Is(err, fault.Conflict) {
			t.Errorf("inventory twice: %v", err)
		}
	})
}

func TestCustomNames(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, s *store.Store) {
		h := host(t, s, "h", 1)
		_, err := s.CreateResourceClass(ctx, "CUSTOM_GPU")
		must(t, err)
		must(t, s.AddInventory(ctx, 1, inventory(h, "CUSTOM_GPU", 2)))
		must(t, set(ctx, s, claim(uuid.NewString(), nil, map[string]map[string]int{h: {"CUSTOM_GPU": 1}})))
		if err := s.DeleteResourceClass(ctx, "CUSTOM_GPU"); !fault.Is(err, fault.Conflict) {
			t.Errorf("class in use: %v", err)
		}
		_, err = s.RenameResourceClass(ctx, "CUSTOM_GPU", "CUSTOM_BIG_GPU")
		must(t, err)
		if n := usage(t, s, h, "CUSTOM_BIG_GPU"); n != 1 {
			t.Errorf("usage under the new name: %d", n)
		}
		_, created, err := s.EnsureTrait(ctx, "CUSTOM_FAST")
		must(t, err)
		_, again, err := s.EnsureTrait(ctx, "CUSTOM_FAST")
		must(t, err)
		if !created || again {
			t.Errorf("created: %v, again: %v", created, again)
		}
		p, err := s.Provider(ctx, h)
		must(t, err)
		_, err = s.SetProviderTraits(ctx, h, p.Generation, []string{"CUSTOM_FAST"})
		must(t, err)
		if err := s.DeleteTrait(ctx, "CUSTOM_FAST"); !fault.Is(err, fault.Conflict) {
			t.Errorf("trait in use: %v", err)
		}
		must(t, s.ClearProviderTraits(ctx, h))
		must(t, s.DeleteTrait(ctx, "CUSTOM_FAST"))
		_, err = s.SetProviderTraits(ctx, h, p.Generation+2, []string{"CUSTOM_FAST"})
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("unknown trait: %v", err)
		}
	})
}
