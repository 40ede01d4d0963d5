package manager

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strings"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/rest"
)

// resources are what a server of a flavor takes of a provider.
func resources(f compute.Flavor) map[string]int {
	r := map[string]int{"VCPU": f.VCPUs, "MEMORY_MB": f.MemoryMB}
	if d := f.DiskGB(); d > 0 {
		r["DISK_GB"] = d
	}
	for k, v := range f.ExtraSpecs {
		class, ok := strings.CutPrefix(k, "resources:")
		if !ok {
			continue
		}
		n := 0
		if _, err := fmt.Sscanf(v, "%d", &n); err != nil || n < 0 {
			continue
		}
		if r[class] = n; n == 0 {
			delete(r, class)
		}
	}
	return r
}

// sized is a flavor with the root disk that the server really has: a disk never
// shrinks, so after a resize that was reverted it is larger than the flavor's.
func sized(s *compute.Server, f compute.Flavor) compute.Flavor {
	f.RootGB = max(f.RootGB, s.RootGB)
	return f
}

// traits are the traits that a flavor and an image ask for and forbid.
func traits(f compute.Flavor, props map[string]string) []string {
	var out []string
	for _, specs := range []map[string]string{f.ExtraSpecs, props} {
		for k, v := range specs {
			name, ok := strings.CutPrefix(k, "trait:")
			switch {
			case ok && v == "required":
				out = append(out, name)
			case ok && v == "forbidden":
				out = append(out, "!"+name)
			}
		}
	}
	sort.Strings(out)
	return out
}

// claimable is a provider with what would be claimed of it.
type claimable struct {
	Provider  string         `json:"provider"`
	Resources map[string]int `json:"resources"`
}

// candidates asks placement which providers have room.
func (m *Manager) candidates(ctx context.Context, f compute.Flavor, props map[string]string) (map[string]claimable, error) {
	p, err := m.peer(ctx, "placement", asService)
	if err != nil {
		return nil, err
	}
	var want []string
	for class, n := range resources(f) {
		want = append(want, fmt.Sprintf("%s:%d", class, n))
	}
	sort.Strings(want)
	q := url.Values{"resources": {strings.Join(want, ",")}, "limit": {fmt.Sprint(max(1, m.conf.Scheduler.MaxCandidates))}}
	if t := traits(f, props); len(t) > 0 {
		q.Set("required", strings.Join(t, ","))
	}
	var out struct {
		Requests []struct {
			Allocations map[string]struct {
				Resources map[string]int `json:"resources"`
			} `json:"allocations"`
		} `json:"allocation_requests"`
	}
	if err := p.get(ctx, "allocation_candidates?"+q.Encode(), &out); err != nil {
		return nil, err
	}
	found := map[string]claimable{}
	for _, r := range out.Requests {
		if len(r.Allocations) != 1 {
			continue // shared and nested providers: none of ours
		}
		for id, a := range r.Allocations {
			found[id] = claimable{id, a.Resources}
		}
	}
	return found, nil
}

// allocation is what a consumer holds.
type allocation struct {
	Allocations map[string]struct {
		Resources map[string]int `json:"resources"`
	} `json:"allocations"`
	Generation *int `json:"consumer_generation"`
}

func (m *Manager) allocation(ctx context.Context, consumer string) (*allocation, error) {
	p, err := m.peer(ctx, "placement", asService)
	if err != nil {
		return nil, err
	}
	var a allocation
	return &a, p.get(ctx, "allocations/"+segment(consumer), &a)
}

// claim takes resources for a consumer; a repeated claim of the same provider
// is one. It is fault.Conflict when they were given to somebody else. A consumer
// that holds nothing claims under a key: claims of one key are one, so that one
// which was given up and is handled late claims nothing.
func (m *Manager) claim(ctx context.Context, consumer, projectID, userID string, c claimable, key string) error {
	p, err := m.peer(ctx, "placement", asService)
	if err != nil {
		return err
	}
	have, err := m.allocation(ctx, consumer)
	if err != nil {
		return err
	}
	if a, ok := have.Allocations[c.Provider]; ok && len(have.Allocations) == 1 && same(a.Resources, c.Resources) {
		return nil
	}
	in := doc{
		"allocations": doc{c.Provider: doc{"resources": c.Resources}},
		"project_id":  projectID, "user_id": userID, "consumer_generation": have.Generation,
	}
	if len(have.Allocations) > 0 {
		return p.do(ctx, http.MethodPut, "allocations/"+segment(consumer), in, nil)
	}
	in["consumer_generation"] = nil
	return p.doWith(ctx, http.MethodPost, "allocations", doc{consumer: in}, nil, map[string]string{rest.IdempotencyKey: key})
}

func same(a, b map[string]int) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

// release gives back what a consumer holds.
func (m *Manager) release(ctx context.Context, consumer string) error {
	if consumer == "" {
		return nil
	}
	p, err := m.peer(ctx, "placement", asService)
	if err != nil {
		return err
	}
	return p.remove(ctx, "allocations/"+segment(consumer))
}

// giveUp gives back what a consumer holds that may claim again. Unlike release it
// says what it gives back: a request that was given up and is handled late
// cannot take a later claim away.
func (m *Manager) giveUp(ctx context.Context, s *compute.Server) error {
	have, err := m.allocation(ctx, s.ID)
	if err != nil || len(have.Allocations) == 0 {
		return err
	}
	p, err := m.peer(ctx, "placement", asService)
	if err != nil {
		return err
	}
	none := doc{"allocations": doc{}, "project_id": s.ProjectID, "user_id": s.UserID, "consumer_generation": have.Generation}
	return p.do(ctx, http.MethodPut, "allocations/"+segment(s.ID), none, nil)
}

// moveClaim hands what from holds over to to, and gives from other resources of
// the same provider, in one step.
func (m *Manager) moveClaim(ctx context.Context, s *compute.Server, from, to string, c claimable) error {
	p, err := m.peer(ctx, "placement", asService)
	if err != nil {
		return err
	}
	moved, err := m.allocation(ctx, to)
	if err != nil {
		return err
	}
	if len(moved.Allocations) > 0 {
		return nil // done before
	}
	have, err := m.allocation(ctx, from)
	if err != nil {
		return err
	}
	old := doc{}
	for id, a := range have.Allocations {
		old[id] = doc{"resources": a.Resources}
	}
	in := doc{
		from: doc{"allocations": doc{c.Provider: doc{"resources": c.Resources}}, "project_id": s.ProjectID, "user_id": s.UserID, "consumer_generation": have.Generation},
		to:   doc{"allocations": old, "project_id": s.ProjectID, "user_id": s.UserID, "consumer_generation": nil},
	}
	return p.do(ctx, http.MethodPost, "allocations", in, nil)
}

// moveBack takes back moveClaim: the server gets what from holds, which is given
// up. It reports whether from held something.
func (m *Manager) moveBack(ctx context.Context, s *compute.Server, from string) (bool, error) {
	p, err := m.peer(ctx, "placement", asService)
	if err != nil {
		return false, err
	}
	moved, err := m.allocation(ctx, from)
	if err != nil || len(moved.Allocations) == 0 {
		return false, err
	}
	have, err := m.allocation(ctx, s.ID)
	if err != nil {
		return false, err
	}
	old := doc{}
	for id, a := range moved.Allocations {
		old[id] = doc{"resources": a.Resources}
	}
	mine := doc{"allocations": old, "project_id": s.ProjectID, "user_id": s.UserID, "consumer_generation": have.Generation}
	if len(have.Allocations) == 0 {
		mine["consumer_generation"] = nil
	}
	none := doc{"allocations": doc{}, "project_id": s.ProjectID, "user_id": s.UserID, "consumer_generation": moved.Generation}
	return true, p.do(ctx, http.MethodPost, "allocations", doc{s.ID: mine, from: none}, nil)
}

// syncProvider makes placement know a hypervisor: its provider, inventory and
// traits.
func (m *Manager) syncProvider(ctx context.Context, n *compute.Node) error {
	m.provider.Lock()
	defer m.provider.Unlock()
	p, err := m.peer(ctx, "placement", asService)
	if err != nil {
		return err
	}
	var rp struct {
		Generation int `json:"generation"`
	}
	err = p.get(ctx, "resource_providers/"+segment(n.UUID), &rp)
	if isMissing(err) {
		err = p.do(ctx, http.MethodPost, "resource_providers", doc{"name": n.Name, "uuid": n.UUID}, &rp)
	}
	if err != nil {
		return err
	}
	i := &n.Inventory
	inv := doc{
		"VCPU":      doc{"total": i.VCPUs, "reserved": i.ReservedCPUs, "min_unit": 1, "max_unit": max(1, i.VCPUs), "step_size": 1, "allocation_ratio": i.CPURatio},
		"MEMORY_MB": doc{"total": i.MemoryMB, "reserved": i.ReservedMB, "min_unit": 1, "max_unit": max(1, i.MemoryMB), "step_size": 1, "allocation_ratio": i.RAMRatio},
	}
	if i.DiskGB > 0 {
		inv["DISK_GB"] = doc{"total": i.DiskGB, "reserved": min(i.ReservedGB, i.DiskGB), "min_unit": 1, "max_unit": i.DiskGB, "step_size": 1, "allocation_ratio": i.DiskRatio}
	}
	path := "resource_providers/" + n.UUID
	var updated struct {
		Generation int `json:"resource_provider_generation"`
	}
	if err := p.do(ctx, http.MethodPut, path+"/inventories", doc{"resource_provider_generation": rp.Generation, "inventories": inv}, &updated); err != nil {
		return err
	}
	return m.syncTraits(ctx, p, path, n, updated.Generation)
}

// syncTraits sets the host's traits; those that placement does not know are
// left out.
func (m *Manager) syncTraits(ctx context.Context, p *peer, path string, n *compute.Node, generation int) error {
	var known struct {
		Traits []string `json:"traits"`
	}
	names := "in:" + strings.Join(n.Inventory.Traits, ",")
	if len(n.Inventory.Traits) == 0 {
		return nil
	}
	if err := p.get(ctx, "traits?"+url.Values{"name": {names}}.Encode(), &known); err != nil {
		return err
	}
	sort.Strings(known.Traits)
	return p.do(ctx, http.MethodPut, path+"/traits", doc{"resource_provider_generation": generation, "traits": known.Traits}, nil)
}

// hasTraits refuses a provider that lacks one of the asked traits, or has one
// that is asked not to be there ("!NAME"): placement is not asked for
// candidates where a server stays on its host (CVE-2017-16239).
func (m *Manager) hasTraits(ctx context.Context, provider string, asked []string) error {
	if len(asked) == 0 {
		return nil
	}
	p, err := m.peer(ctx, "placement", asService)
	if err != nil {
		return err
	}
	var have struct {
		Traits []string `json:"traits"`
	}
	if err := p.get(ctx, "resource_providers/"+segment(provider)+"/traits", &have); err != nil {
		return err
	}
	for _, t := range asked {
		name, forbidden := strings.CutPrefix(t, "!")
		if slices.Contains(have.Traits, name) == forbidden {
			return fault.Invalidf("No valid host was found. The image traits cannot be satisfied by the server's host.")
		}
	}
	return nil
}

// removeProvider forgets a hypervisor that is gone for good.
func (m *Manager) removeProvider(ctx context.Context, id string) error {
	p, err := m.peer(ctx, "placement", asService)
	if err != nil {
		return err
	}
	err = p.remove(ctx, "resource_providers/"+segment(id))
	if fault.Is(err, fault.Conflict) {
		return fault.Conflictf("The hypervisor still has allocations.")
	}
	return err
}

// mirrorAggregate mirrors whether a host is in an aggregate to placement, whose
// aggregates are bare ids.
func (m *Manager) mirrorAggregate(ctx context.Context, host, aggregate string, member bool) error {
	nodes, err := m.store.Nodes(ctx)
	if err != nil {
		return err
	}
	p, err := m.peer(ctx, "placement", asService)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if n.Host != host {
			continue
		}
		path := "resource_providers/" + n.UUID + "/aggregates"
		var have struct {
			Aggregates []string `json:"aggregates"`
			Generation int      `json:"resource_provider_generation"`
		}
		if err := p.get(ctx, path, &have); err != nil {
			return err
		}
		want := []string{}
		for _, a := range have.Aggregates {
			if a != aggregate {
				want = append(want, a)
			}
		}
		if member {
			want = append(want, aggregate)
		}
		if err := p.do(ctx, http.MethodPut, path, doc{"aggregates": want, "resource_provider_generation": have.Generation}, nil); err != nil {
			return err
		}
	}
	return nil
}

func newID() string { return uuid.NewString() }
