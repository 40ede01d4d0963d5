package manager

import (
	"context"
	"strconv"
	"time"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/store"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
)

// agentGuests compares the guests of a host with the servers that should be
// there.
func (m *Manager) agentGuests(ctx context.Context, in compute.GuestsReport) (compute.GuestsAnswer, error) {
	var out compute.GuestsAnswer
	servers, err := m.store.ServersOnHost(ctx, in.Host)
	if err != nil {
		return out, err
	}
	restarted, node, err := m.restarted(ctx, &in)
	if err != nil {
		return out, err
	}
	if !in.Partial {
		in.Guests = withMissing(in.Guests, servers)
	}
	byID := map[string]*compute.Server{}
	for i := range servers {
		byID[servers[i].ID] = &servers[i]
	}
	var unknown []string
	for _, g := range in.Guests {
		s := byID[g.ServerID]
		if s == nil {
			if g.Exists || !in.Partial {
				unknown = append(unknown, g.ServerID)
			}
			continue
		}
		next, err := m.compare(ctx, s, g, restarted && g.Exists)
		if err != nil {
			return out, err
		}
		switch next {
		case doStart:
			out.Start = append(out.Start, s.ID)
		case doLater:
			out.Again = append(out.Again, s.ID)
		}
	}
	var later []string
	if out.Destroy, later, err = m.judge(ctx, in.Host, unknown); err != nil {
		return out, err
	}
	out.Again = append(out.Again, later...)
	if in.Partial {
		return out, nil
	}
	// The start is over when all guests were compared: one that could not be
	// must not miss it.
	if node != nil && len(out.Again) == 0 {
		if _, err := m.store.SaveNode(ctx, node.Host, node.Name, in.BootID, node.Inventory, node.Synced); err != nil {
			return out, err
		}
	}
	return out, m.store.CompleteEvacuations(ctx, in.Host, unknown)
}

// withMissing adds the servers that have no guest to the guests of a host.
func withMissing(guests []compute.GuestInfo, servers []compute.Server) []compute.GuestInfo {
	seen := map[string]bool{}
	for _, g := range guests {
		seen[g.ServerID] = true
	}
	for i := range servers {
		if !seen[servers[i].ID] {
			guests = append(guests, compute.GuestInfo{ServerID: servers[i].ID})
		}
	}
	return guests
}

// restarted reports whether the machine started anew since its last report, and
// its guests may be started again: not while an operator says that it is down.
// node is the one whose start is not over yet.
func (m *Manager) restarted(ctx context.Context, in *compute.GuestsReport) (yes bool, node *compute.Node, err error) {
	if !in.Start {
		return false, nil, nil
	}
	svc, err := m.store.ServiceOn(ctx, in.Host, compute.BinaryCompute)
	if isMissing(err) || err == nil && svc.ForcedDown {
		return false, nil, nil
	}
	if err != nil {
		return false, nil, err
	}
	nodes, err := m.store.Nodes(ctx)
	if err != nil {
		return false, nil, err
	}
	for i := range nodes {
		if n := &nodes[i]; n.Host == in.Host && n.BootID != in.BootID {
			return n.BootID != "" && in.BootID != "" && m.conf.ResumeGuests, n, nil
		}
	}
	return false, nil, nil
}

// settleTime is how old a server's last change must be before an agent's
// report is believed against it.
const settleTime = 2 * time.Second

// what is to be done about a guest after it was compared.
type verdict int

const (
	doNothing verdict = iota
	doStart           // it ran before its host went down
	doLater           // its server is being changed: compare it again
)

// compare brings a server's states in line with its guest, unless something is
// being done to it.
func (m *Manager) compare(ctx context.Context, s *compute.Server, g compute.GuestInfo, restarted bool) (verdict, error) {
	if s.TaskState != "" {
		return doLater, nil
	}
	state := follows(s.VMState, g.PowerState)
	if s.PowerState == g.PowerState && state == s.VMState && !(restarted && s.VMState == compute.StateActive) {
		return doNothing, nil
	}
	// What the agent saw may be older than what was done since: the next look
	// decides.
	if db.Now().Sub(s.UpdatedAt) < settleTime {
		return doLater, nil
	}
	active, err := m.tasks.Active(ctx, s.ID)
	if err != nil || len(active) > 0 {
		return doLater, err
	}
	down := g.PowerState == compute.PowerShutdown || g.PowerState == compute.PowerCrashed
	if restarted && down && s.VMState == compute.StateActive {
		return doStart, nil
	}
	set := db.Set{"power_state": g.PowerState, "vm_state": state}
	ok, err := m.store.ChangeServer(ctx, s.ID, store.Idle(s.VMState), set)
	if ok {
		m.notify(ctx, compute.EventUpdate, s)
	}
	return doNothing, err
}

// follows is the state of a server whose guest is found to be in a power state: a
// guest that did what was asked, though its answer was lost and the operation
// has failed, is believed.
func follows(vm compute.VMState, power int) compute.VMState {
	switch vm {
	case compute.StateActive, compute.StatePaused, compute.StateSuspended, compute.StateStopped:
	default:
		return vm
	}
	switch power {
	case compute.PowerRunning:
		return compute.StateActive
	case compute.PowerPaused:
		return compute.StatePaused
	case compute.PowerSuspended:
		return compute.StateSuspended
	case compute.PowerShutdown, compute.PowerCrashed:
		return compute.StateStopped
	}
	return vm
}

// leftovers are the guests of a host that are surely nobody's, see judge.
func (m *Manager) leftovers(ctx context.Context, host string, ids []string) ([]string, error) {
	gone, _, err := m.judge(ctx, host, ids)
	return gone, err
}

// judge says which guests of a host are surely nobody's: their servers were
// deleted, or live elsewhere by now. Guests that were never ours stay; later are
// those of which nothing can be said yet.
func (m *Manager) judge(ctx context.Context, host string, ids []string) (gone, later []string, err error) {
	if len(ids) == 0 {
		return nil, nil, nil
	}
	deleted, err := m.store.ServersInHistory(ctx, ids)
	if err != nil {
		return nil, nil, err
	}
	alive, err := m.store.ServersByID(ctx, ids)
	if err != nil {
		return nil, nil, err
	}
	for id := range deleted {
		gone = append(gone, id)
	}
	for i := range alive {
		s := &alive[i]
		if s.Host == host {
			later = append(later, s.ID) // came here meanwhile
			continue
		}
		if s.Host != "" { // a server's host is written down before its guest is made
			gone = append(gone, s.ID)
			continue
		}
		active, err := m.tasks.Active(ctx, s.ID)
		if err != nil {
			return nil, nil, err
		}
		if s.TaskState == "" && len(active) == 0 {
			gone = append(gone, s.ID)
		} else {
			later = append(later, s.ID)
		}
	}
	return gone, later, nil
}

// Zone is an availability zone.
type Zone struct {
	Name     string
	Internal bool // runs no guests
	Services []compute.Service
}

// Zones lists the availability zones with their services.
func (m *Manager) Zones(ctx context.Context) ([]Zone, error) {
	services, err := m.store.Services(ctx)
	if err != nil {
		return nil, err
	}
	aggregates, err := m.store.Aggregates(ctx)
	if err != nil {
		return nil, err
	}
	var out []Zone
	at := map[string]int{}
	for _, s := range services {
		name, internal := m.conf.InternalZone, true
		if s.Binary == compute.BinaryCompute {
			name, internal = m.zoneOf(aggregates, s.Host), false
		}
		i, ok := at[name]
		if !ok {
			i = len(out)
			at[name] = i
			out = append(out, Zone{Name: name, Internal: internal})
		}
		out[i].Services = append(out[i].Services, s)
	}
	return out, nil
}

// ZoneOfHost is the availability zone of a host with an agent.
func (m *Manager) ZoneOfHost(aggregates []compute.Aggregate, s *compute.Service) string {
	if s.Binary != compute.BinaryCompute {
		return m.conf.InternalZone
	}
	return m.zoneOf(aggregates, s.Host)
}

// Up reports whether a service gave a sign of life lately.
func (m *Manager) Up(s *compute.Service) bool { return s.Up(db.Now(), m.conf.DownTime) }

// Services lists the services.
func (m *Manager) Services(ctx context.Context) ([]compute.Service, error) {
	return m.store.Services(ctx)
}

// Service returns a service by UUID, or by number before 2.53.
func (m *Manager) Service(ctx context.Context, id string) (*compute.Service, error) {
	if n, err := strconv.ParseInt(id, 10, 64); err == nil {
		list, err := m.store.Services(ctx)
		if err != nil {
			return nil, err
		}
		for i := range list {
			if list[i].ID == n {
				return &list[i], nil
			}
		}
		return nil, fault.New(fault.NotFound, "Service %s not found.", id)
	}
	return m.store.Service(ctx, id)
}

// ServiceOn returns a host's service of a kind.
func (m *Manager) ServiceOn(ctx context.Context, host, binary string) (*compute.Service, error) {
	return m.store.ServiceOn(ctx, host, binary)
}

// UpdateService enables or disables a service or forces it down; nil leaves
// things as they are. It returns the service.
func (m *Manager) UpdateService(ctx context.Context, id string, disabled *bool, reason *string, down *bool) (*compute.Service, error) {
	set := db.Set{}
	if disabled != nil {
		set["disabled"], set["disabled_reason"] = *disabled, reason
	}
	if down != nil {
		set["forced_down"] = *down
	}
	if err := m.store.UpdateService(ctx, id, set); err != nil {
		return nil, err
	}
	return m.store.Service(ctx, id)
}

// DeleteService forgets a service; an agent's only without servers.
func (m *Manager) DeleteService(ctx context.Context, v *compute.Service) error {
	if v.Binary == compute.BinaryCompute {
		n, err := m.store.CountServers(ctx, store.ServerFilter{Host: v.Host})
		if err != nil {
			return err
		}
		if n > 0 {
			return fault.Conflictf("Unable to delete compute service that is hosting instances. Migrate or delete the instances first.")
		}
		nodes, err := m.store.Nodes(ctx)
		if err != nil {
			return err
		}
		for i := range nodes {
			if nodes[i].Host == v.Host {
				if err := m.removeProvider(ctx, nodes[i].UUID); err != nil {
					return err
				}
			}
		}
	}
	return m.store.DeleteService(ctx, v)
}

// Hypervisor is a node with its service and what its servers take.
type Hypervisor struct {
	compute.Node
	Service  compute.Service
	Usage    store.HostUsage
	Workload int
}

// Hypervisors lists all hypervisors by id.
func (m *Manager) Hypervisors(ctx context.Context) ([]Hypervisor, error) {
	nodes, err := m.store.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	services, err := m.store.Services(ctx)
	if err != nil {
		return nil, err
	}
	usage, err := m.store.HostUsages(ctx)
	if err != nil {
		return nil, err
	}
	load, err := m.store.Workload(ctx)
	if err != nil {
		return nil, err
	}
	out := []Hypervisor{}
	for _, n := range nodes {
		for _, s := range services {
			if s.Host == n.Host && s.Binary == compute.BinaryCompute {
				out = append(out, Hypervisor{n, s, usage[n.Host], load[n.Host]})
			}
		}
	}
	return out, nil
}
