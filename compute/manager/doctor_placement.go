package manager

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/doctor"
)

// stock is what placement has: providers, and who holds what of them.
type stock struct {
	providers map[string]provider
	held      map[string]map[string]map[string]int // consumer → provider → class → amount
}

type provider struct {
	UUID   string  `json:"uuid"`
	Name   string  `json:"name"`
	Parent *string `json:"parent_provider_uuid"`
}

func (m *Manager) stock(ctx context.Context, l *doctor.Look) (*stock, error) {
	return doctor.Fact(ctx, l, "compute.stock", m.readStock)
}

func (m *Manager) readStock(ctx context.Context) (*stock, error) {
	p, err := m.peer(ctx, "placement", asService)
	if err != nil {
		return nil, err
	}
	var doc struct {
		Providers []provider `json:"resource_providers"`
	}
	if err := p.get(ctx, "resource_providers", &doc); err != nil {
		return nil, err
	}
	out := &stock{providers: map[string]provider{}, held: map[string]map[string]map[string]int{}}
	for _, rp := range doc.Providers {
		out.providers[rp.UUID] = rp
		var a struct {
			Allocations map[string]struct {
				Resources map[string]int `json:"resources"`
			} `json:"allocations"`
		}
		err := p.get(ctx, "resource_providers/"+rp.UUID+"/allocations", &a)
		if isMissing(err) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		for consumer, v := range a.Allocations {
			if out.held[consumer] == nil {
				out.held[consumer] = map[string]map[string]int{}
			}
			out.held[consumer][rp.UUID] = v.Resources
		}
	}
	return out, nil
}

// findProviders finds hypervisors that placement does not know.
func (m *Manager) findProviders(ctx context.Context, l *doctor.Look) error {
	st, err := m.stock(ctx, l)
	if err != nil {
		return err
	}
	w, err := m.ward(ctx, l)
	if err != nil {
		return err
	}
	for i := range w.nodes {
		n := &w.nodes[i]
		if _, ok := st.providers[n.UUID]; ok || w.now.Sub(n.CreatedAt) < settleTime {
			continue
		}
		l.Found(doctor.Finding{Kind: "hypervisor", ID: n.UUID, Problem: fmt.Sprintf("placement has no resource provider for %s", n.Name), Fix: "make the provider with its inventory and traits"})
	}
	return nil
}

func (m *Manager) healProvider(ctx context.Context, f doctor.Finding) error {
	nodes, err := m.store.Nodes(ctx)
	if err != nil {
		return err
	}
	for i := range nodes {
		if nodes[i].UUID == f.ID {
			if err := m.store.ForgetSynced(ctx, f.ID); err != nil {
				return err
			}
			return m.syncProvider(ctx, &nodes[i])
		}
	}
	return nil
}

// findProviderOrphans finds resource providers that say they are hypervisors
// (trait COMPUTE_NODE) and are none.
func (m *Manager) findProviderOrphans(ctx context.Context, l *doctor.Look) error {
	st, err := m.stock(ctx, l)
	if err != nil {
		return err
	}
	w, err := m.ward(ctx, l)
	if err != nil {
		return err
	}
	p, err := m.peer(ctx, "placement", asService)
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(st.providers)) {
		rp := st.providers[id]
		if rp.Parent != nil && *rp.Parent != "" || slices.ContainsFunc(w.nodes, func(n compute.Node) bool { return n.UUID == id }) {
			continue
		}
		ours, err := m.saysHypervisor(ctx, p, id)
		if err != nil {
			return err
		}
		f := doctor.Finding{Kind: "resource-provider", ID: id, Problem: fmt.Sprintf("%s belongs to no hypervisor", rp.Name)}
		switch {
		case !ours:
			continue // another tool's: a storage pool, a network
		case st.holders(id) > 0:
			f.Problem += fmt.Sprintf(", and %d consumers hold resources of it", st.holders(id))
			f.Command = "openstack resource provider show --allocations " + id
		default:
			f.Fix = "delete the provider"
		}
		l.Found(f)
	}
	return nil
}

func (s *stock) holders(provider string) int {
	n := 0
	for _, by := range s.held {
		if _, ok := by[provider]; ok {
			n++
		}
	}
	return n
}

func (m *Manager) saysHypervisor(ctx context.Context, p *peer, id string) (bool, error) {
	var have struct {
		Traits []string `json:"traits"`
	}
	err := p.get(ctx, "resource_providers/"+id+"/traits", &have)
	if isMissing(err) {
		return false, nil
	}
	return slices.Contains(have.Traits, "COMPUTE_NODE"), err
}

func (m *Manager) healProviderOrphan(ctx context.Context, f doctor.Finding) error {
	nodes, err := m.store.Nodes(ctx)
	if err != nil || slices.ContainsFunc(nodes, func(n compute.Node) bool { return n.UUID == f.ID }) {
		return err
	}
	return m.removeProvider(ctx, f.ID) // refused while somebody holds resources of it
}

// findAllocationOrphans finds what is held of our hypervisors by no server and
// no migration.
func (m *Manager) findAllocationOrphans(ctx context.Context, l *doctor.Look) error {
	st, err := m.stock(ctx, l)
	if err != nil {
		return err
	}
	w, err := m.ward(ctx, l)
	if err != nil {
		return err
	}
	moving, err := m.consumers(ctx, w)
	if err != nil {
		return err
	}
	for _, consumer := range slices.Sorted(maps.Keys(st.held)) {
		if w.byID[consumer] != nil || w.busy[consumer] || moving[consumer] {
			continue
		}
		ours := false
		for _, n := range w.nodes {
			_, ok := st.held[consumer][n.UUID]
			ours = ours || ok
		}
		if !ours {
			continue // of a provider of another tool's
		}
		l.Found(doctor.Finding{
			Kind: "allocation", ID: consumer, Problem: "held of a hypervisor by no server and no migration: " + describeClaims(st.held[consumer]),
			Fix: "delete the allocation",
		})
	}
	return nil
}

// consumers are those beside servers: migrations that have not ended, and what
// servers say of them.
func (m *Manager) consumers(ctx context.Context, w *ward) (map[string]bool, error) {
	out, err := m.store.OpenMigrations(ctx)
	if err != nil {
		return nil, err
	}
	for i := range w.servers {
		out[w.servers[i].Spec.MigrationID] = true
	}
	return out, nil
}

func describeClaims(by map[string]map[string]int) string {
	var parts []string
	for _, id := range slices.Sorted(maps.Keys(by)) {
		for _, class := range slices.Sorted(maps.Keys(by[id])) {
			parts = append(parts, fmt.Sprintf("%s %d", class, by[id][class]))
		}
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

func (m *Manager) healAllocationOrphan(ctx context.Context, f doctor.Finding) error {
	gone, err := m.gone(ctx, f.ID)
	if err != nil || !gone {
		return err
	}
	w, err := m.readWard(ctx)
	if err != nil {
		return err
	}
	moving, err := m.consumers(ctx, w)
	if err != nil || moving[f.ID] {
		return err
	}
	return m.release(ctx, f.ID)
}

// wanted are the resources that a server should hold, nil where none are
// expected or that cannot be said.
func (w *ward) wanted(s *compute.Server) *claimable {
	switch s.VMState {
	case compute.StateActive, compute.StatePaused, compute.StateSuspended, compute.StateStopped, compute.StateResized, compute.StateRescued, compute.StateSoftDeleted, compute.StateShelved:
	default:
		return nil // not there yet, offloaded, or an error of which nothing is known
	}
	n := w.node(s)
	if s.Host == "" || n == nil {
		return nil
	}
	return &claimable{n.UUID, resources(sized(s, s.Spec.Flavor))}
}

// findAllocations finds servers that hold nothing, or not what they take.
func (m *Manager) findAllocations(ctx context.Context, l *doctor.Look) error {
	st, err := m.stock(ctx, l)
	if err != nil {
		return err
	}
	w, err := m.ward(ctx, l)
	if err != nil {
		return err
	}
	for i := range w.servers {
		s := &w.servers[i]
		want := w.wanted(s)
		if want == nil || !w.quiet(s) {
			continue
		}
		have := st.held[s.ID]
		if len(have) == 1 && same(have[want.Provider], want.Resources) {
			continue
		}
		f := doctor.Finding{
			Kind: "server", ID: s.ID, Fix: "claim what the server takes",
			Problem: fmt.Sprintf("holds %s in placement instead of %s of %s", describeClaims(have), describeClaims(map[string]map[string]int{"": want.Resources}), s.Host),
		}
		for id := range have {
			if !slices.ContainsFunc(w.nodes, func(n compute.Node) bool { return n.UUID == id }) {
				f.Fix, f.Command = "", "openstack resource provider allocation show "+s.ID
			}
		}
		l.Found(f)
	}
	return nil
}

func (m *Manager) healAllocation(ctx context.Context, f doctor.Finding) error {
	s, err := m.idle(ctx, f.ID)
	if err != nil || s == nil {
		return err
	}
	w, err := m.readWard(ctx)
	if err != nil {
		return err
	}
	if s = w.byID[f.ID]; s == nil || !w.quiet(s) {
		return nil
	}
	if want := w.wanted(s); want != nil {
		return m.claim(ctx, s.ID, s.ProjectID, s.UserID, *want, newID())
	}
	return nil
}
