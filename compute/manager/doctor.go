package manager

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/doctor"
	"github.com/tropocloud/tropo/fault"
)

const service = "compute"

// Checks are what the doctor looks for in the compute service, on its hosts,
// and in what it holds of placement's and the network service's.
func (m *Manager) Checks() []doctor.Check {
	sagas := doctor.Sagas{Service: service, Engine: m.tasks, Kind: "server", Exist: m.serversExist}
	list := []doctor.Check{
		{Name: "server-stuck", Find: m.findStuck, Heal: m.healStuck},
		{Name: "provider-missing", Find: m.findProviders, Heal: m.healProvider},
		{Name: "provider-orphan", Find: m.findProviderOrphans, Heal: m.healProviderOrphan},
		{Name: "allocation-orphan", Find: m.findAllocationOrphans, Heal: m.healAllocationOrphan},
		{Name: "allocation-wrong", Find: m.findAllocations, Heal: m.healAllocation},
		{Name: "interface-without-port", Find: m.findInterfaces, Heal: m.healInterface},
		{Name: "port-orphan", Find: m.findPortOrphans, Heal: m.healPortOrphan},
		{Name: "guest-orphan", Find: m.findGuestOrphans, Heal: m.healGuestOrphan},
		{Name: "guest-missing", Find: m.findGuestsMissing},
		{Name: "host-stray", Find: m.findStrays, Heal: m.healStray},
	}
	for i := range list {
		list[i].Service = service
	}
	return append(list, sagas.Checks()...)
}

func (m *Manager) serversExist(ctx context.Context, ids []string) (map[string]bool, error) {
	out := map[string]bool{}
	for len(ids) > 0 {
		n := min(len(ids), 500)
		list, err := m.store.ServersByID(ctx, ids[:n])
		if err != nil {
			return nil, err
		}
		for i := range list {
			out[list[i].ID] = true
		}
		ids = ids[n:]
	}
	return out, nil
}

// ward is what the rows say.
type ward struct {
	servers []compute.Server
	byID    map[string]*compute.Server
	busy    map[string]bool // servers that a saga works on
	nodes   []compute.Node
	now     time.Time
}

// quiet reports whether nothing is being done to the server and nothing was
// just now.
func (w *ward) quiet(s *compute.Server) bool {
	return s.TaskState == "" && !w.busy[s.ID] && w.now.Sub(s.UpdatedAt) >= settleTime
}

// node is the hypervisor that a server is on, nil if it is not known.
func (w *ward) node(s *compute.Server) *compute.Node {
	for i := range w.nodes {
		if w.nodes[i].Host == s.Host && (s.Node == "" || w.nodes[i].Name == s.Node) {
			return &w.nodes[i]
		}
	}
	return nil
}

func (m *Manager) ward(ctx context.Context, l *doctor.Look) (*ward, error) {
	return doctor.Fact(ctx, l, "compute.ward", m.readWard)
}

func (m *Manager) readWard(ctx context.Context) (*ward, error) {
	w := &ward{byID: map[string]*compute.Server{}, busy: map[string]bool{}}
	// Sagas before and after: one that ends while we read has made what is
	// seen half.
	if err := m.addBusy(ctx, w); err != nil {
		return nil, err
	}
	var err error
	if w.servers, err = m.store.AllServers(ctx); err != nil {
		return nil, err
	}
	for i := range w.servers {
		w.byID[w.servers[i].ID] = &w.servers[i]
	}
	if w.nodes, err = m.store.Nodes(ctx); err != nil {
		return nil, err
	}
	w.now = db.Now()
	return w, m.addBusy(ctx, w)
}

func (m *Manager) addBusy(ctx context.Context, w *ward) error {
	list, err := m.tasks.List(ctx)
	for i := range list {
		w.busy[list[i].Object] = true
	}
	return err
}

// idle returns a server that nothing is being done to, nil if there is none or
// something is: the check before healing.
func (m *Manager) idle(ctx context.Context, id string) (*compute.Server, error) {
	active, err := m.tasks.Active(ctx, id)
	if err != nil || len(active) > 0 {
		return nil, err
	}
	s, err := m.store.Server(ctx, id)
	if isMissing(err) || err == nil && s.TaskState != "" {
		return nil, nil
	}
	return s, err
}

// gone reports whether there is no such server and no saga about it.
func (m *Manager) gone(ctx context.Context, id string) (bool, error) {
	active, err := m.tasks.Active(ctx, id)
	if err != nil || len(active) > 0 {
		return false, err
	}
	_, err = m.store.Server(ctx, id)
	if isMissing(err) {
		return true, nil
	}
	return false, err
}

// pages reads a whole list of another service's, in the order of ids.
func pages[T any](ctx context.Context, p *peer, path, key string, q url.Values, id func(*T) string) ([]T, error) {
	const size, most = 500, 4000
	var out []T
	q.Set("limit", fmt.Sprint(size))
	q.Set("sort_key", "id")
	for range most {
		var doc map[string]jsonList[T]
		if err := p.get(ctx, path+"?"+q.Encode(), &doc); err != nil {
			return nil, err
		}
		list := doc[key].V
		out = append(out, list...)
		if len(list) < size {
			return out, nil
		}
		q.Set("marker", id(&list[len(list)-1]))
	}
	return nil, fault.Unavailablef("The list of %s is too long.", key)
}
