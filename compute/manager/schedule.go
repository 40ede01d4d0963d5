package manager

import (
	"context"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/scheduler"
	"github.com/tropocloud/tropo/db"
)

// maxChosen bounds how many hosts a saga remembers.
const maxChosen = 10

// hosts are the candidates as the scheduler sees them, with a refusal for each
// host that placement left out.
func (m *Manager) hosts(ctx context.Context, s *compute.Server, found map[string]claimable) ([]scheduler.Host, []scheduler.Refusal, error) {
	nodes, err := m.store.Nodes(ctx)
	if err != nil {
		return nil, nil, err
	}
	services, err := m.store.Services(ctx)
	if err != nil {
		return nil, nil, err
	}
	aggregates, err := m.store.Aggregates(ctx)
	if err != nil {
		return nil, nil, err
	}
	usage, err := m.store.HostUsages(ctx)
	if err != nil {
		return nil, nil, err
	}
	byHost := map[string]*compute.Service{}
	for i := range services {
		if services[i].Binary == compute.BinaryCompute {
			byHost[services[i].Host] = &services[i]
		}
	}
	var out []scheduler.Host
	var refused []scheduler.Refusal
	now := db.Now()
	for i := range nodes {
		n := &nodes[i]
		svc := byHost[n.Host]
		if svc == nil {
			continue
		}
		if _, ok := found[n.UUID]; !ok {
			refused = append(refused, scheduler.Refusal{Host: n.Host, Filter: "placement", Why: "not enough free resources, or a trait is missing"})
			continue
		}
		h := scheduler.Host{
			Name: n.Host, Node: n.Name, ProviderID: n.UUID, Up: svc.Up(now, m.conf.DownTime), Disabled: svc.Disabled, Inventory: n.Inventory,
			Zone: m.zoneOf(aggregates, n.Host), ServerIDs: map[string]bool{},
		}
		if svc.DisabledReason != nil {
			h.Reason = *svc.DisabledReason
		}
		for _, a := range aggregates {
			for _, name := range a.Hosts {
				if name == n.Host {
					h.Aggregates = append(h.Aggregates, a)
				}
			}
		}
		u := usage[n.Host]
		h.NumServers, h.UsedVCPUs, h.UsedMB, h.UsedGB = u.Servers, u.VCPUs, u.MemoryMB, u.DiskGB
		if s.Host == n.Host { // its own share is free for it
			h.UsedVCPUs, h.UsedMB, h.UsedGB = h.UsedVCPUs-s.VCPUs, h.UsedMB-s.MemoryMB, h.UsedGB-s.RootGB-s.EphemeralGB
		}
		out = append(out, h)
	}
	return out, refused, nil
}

// zoneOf is the availability zone of a host.
func (m *Manager) zoneOf(aggregates []compute.Aggregate, host string) string {
	for _, a := range aggregates {
		if a.Zone() == "" {
			continue
		}
		for _, h := range a.Hosts {
			if h == host {
				return a.Zone()
			}
		}
	}
	return m.conf.DefaultZone
}

// selectHosts asks placement and the scheduler for hosts, the best first, and says
// why the others are not among them.
func (m *Manager) selectHosts(ctx context.Context, s *compute.Server, f *compute.Flavor, props map[string]string, ignore map[string]string) ([]chosen, []scheduler.Refusal, error) {
	found, err := m.candidates(ctx, *f, props)
	if err != nil {
		return nil, nil, err
	}
	hosts, refused, err := m.hosts(ctx, s, found)
	if err != nil {
		return nil, nil, err
	}
	r := &scheduler.Request{Server: s, Flavor: *f, ImageProps: props, Hints: s.Spec.Hints, Zone: s.PinnedAZ, IgnoreHosts: ignore, ProjectID: s.ProjectID}
	if err := m.locate(ctx, s, hosts, r); err != nil {
		return nil, nil, err
	}
	best, more := m.sched.Select(hosts, r)
	var out []chosen
	for i := range best[:min(maxChosen, len(best))] {
		h := &best[i]
		out = append(out, chosen{Host: h.Name, Node: h.Node, Zone: h.Zone, Claim: found[h.ProviderID]})
	}
	return out, append(refused, more...), nil
}

// locate tells the hosts which servers of hints and of the server's group they
// have.
func (m *Manager) locate(ctx context.Context, s *compute.Server, hosts []scheduler.Host, r *scheduler.Request) error {
	ids := append(append([]string{}, s.Spec.Hints["same_host"]...), s.Spec.Hints["different_host"]...)
	asked := map[string]bool{}
	for _, id := range ids {
		asked[id] = true
	}
	if s.GroupID != "" {
		g, err := m.store.Group(ctx, s.GroupID)
		if err != nil && !isMissing(err) {
			return err
		}
		if err == nil {
			r.Group = g
			ids = append(ids, g.Members...)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	list, err := m.store.ServersByID(ctx, ids)
	if err != nil {
		return err
	}
	byName := map[string]*scheduler.Host{}
	for i := range hosts {
		byName[hosts[i].Name] = &hosts[i]
	}
	var placed []string
	for i := range list {
		v := &list[i]
		member := r.Group != nil && v.GroupID == r.Group.ID && v.ID != s.ID && v.Host != ""
		if member {
			placed = append(placed, v.ID)
		}
		h := byName[v.Host]
		if h == nil {
			continue
		}
		if asked[v.ID] {
			h.ServerIDs[v.ID] = true
		}
		if member {
			h.GroupMembers++
		}
	}
	if r.Group != nil {
		r.Group.Members = placed
	}
	return nil
}
