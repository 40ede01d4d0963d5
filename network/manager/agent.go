package manager

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/store"
)

// The programs of agents, as Neutron names them.
const (
	controllerBinary = "ovn-controller"
	metadataBinary   = "neutron-ovn-metadata-agent"
	agentStamp       = "2006-01-02 15:04:05"
)

// Heartbeat notes that the dataplane of a host is served as the manager's
// options describe it.
func (m *Manager) Heartbeat(ctx context.Context, host string) error {
	_, err := m.Report(ctx, network.HostReport{
		Host: host, Connected: true, VIFType: m.plane.VIFType, Bridge: m.plane.Bridge, DatapathType: m.plane.DatapathType, PhysicalNetworks: m.plane.PhysicalNetworks,
	})
	return err
}

// Report takes a host's heartbeat and answers what the host shall do. An agent
// of the host whose part does not work gets no heartbeat, and so counts as
// down after a while; what a host has is known from its first report on.
func (m *Manager) Report(ctx context.Context, r network.HostReport) (network.HostOrders, error) {
	if r.Host == "" || len(r.Host) > 255 {
		return network.HostOrders{}, invalid("'%s' cannot name a host.", r.Host)
	}
	err := m.tx(ctx, func(ctx context.Context) error {
		list, err := store.Select[network.Agent](ctx, m.store, db.Where().Eq("host", r.Host))
		if err != nil {
			return err
		}
		if r.Connected {
			err = m.beat(ctx, list, m.controllerAgent(r))
		} else {
			err = m.expect(ctx, list, r)
		}
		if err != nil || !r.Metadata {
			return err
		}
		a := m.newAgent(r, network.AgentMetadata, metadataBinary)
		a.Config = network.Map{"metadata_proxy": true}
		return m.beat(ctx, list, a)
	})
	if err != nil || !r.HostLink {
		return network.HostOrders{}, err
	}
	return m.orders(ctx)
}

// expect notes a host of which nothing was known, whose controller does not speak
// with the southbound database yet: networks can be made on its physical
// networks, but it is down and holds no gateways.
func (m *Manager) expect(ctx context.Context, have []network.Agent, r network.HostReport) error {
	if slices.ContainsFunc(have, func(a network.Agent) bool { return a.IsController() }) {
		return nil
	}
	a := m.controllerAgent(r)
	a.AgentType, a.Heartbeat, a.LastSeen = network.AgentController, time.Unix(0, 0).UTC().Format(agentStamp), 0
	err := store.Insert(ctx, m.store, a)
	if db.IsUnique(err) {
		return errAgain
	}
	return err
}

func (m *Manager) newAgent(r network.HostReport, typ, binary string) *network.Agent {
	now := time.Now().UTC()
	if r.Started.IsZero() {
		r.Started = now
	}
	return &network.Agent{
		AgentType: typ, Binary: binary, Host: r.Host, AZ: m.conf.Zone, AdminStateUp: true,
		Started: r.Started.UTC().Format(agentStamp), Heartbeat: now.Format(agentStamp), LastSeen: float64(now.UnixMilli()) / 1000,
	}
}

func (m *Manager) controllerAgent(r network.HostReport) *network.Agent {
	a := m.newAgent(r, network.AgentController, controllerBinary)
	if r.Gateway {
		a.AgentType = network.AgentGateway
	}
	a.Config = network.Map{"chassis_name": r.Host, "bridge-mappings": r.PhysicalNetworks, "datapath-type": r.DatapathType}
	for key, v := range map[string]string{"vif_type": r.VIFType, "integration_bridge": r.Bridge, "encap_type": r.EncapType, "encap_ip": r.EncapIP} {
		if v != "" {
			a.Config[key] = v
		}
	}
	return a
}

// beat writes an agent's row, or its heartbeat where nothing else is new. A
// host's controller has one row, whether gateways may be there or not.
func (m *Manager) beat(ctx context.Context, have []network.Agent, a *network.Agent) error {
	i := slices.IndexFunc(have, func(b network.Agent) bool {
		return b.AgentType == a.AgentType || b.IsController() && a.IsController()
	})
	if i < 0 {
		if err := store.Insert(ctx, m.store, a); err != nil {
			if db.IsUnique(err) {
				return errAgain
			}
			return err
		}
		return m.gatewaysMoved(ctx, a.AgentType == network.AgentGateway)
	}
	old := &have[i]
	if old.AgentType == a.AgentType && old.Started == a.Started && sameConfig(old.Config, a.Config) {
		return m.store.Seen(ctx, old.ID, a.Heartbeat, a.LastSeen)
	}
	next := *old
	next.AgentType, next.Config, next.Started, next.Heartbeat, next.LastSeen = a.AgentType, a.Config, a.Started, a.Heartbeat, a.LastSeen
	if err := store.Update(ctx, m.store, old, &next, false); err != nil {
		return err
	}
	return m.gatewaysMoved(ctx, old.AgentType != a.AgentType)
}

// sameConfig compares what was read from a column with what is to be written.
func sameConfig(a, b network.Map) bool {
	x, errx := json.Marshal(a)
	y, erry := json.Marshal(b)
	return errx == nil && erry == nil && string(x) == string(y)
}

// gatewaysMoved marks the routers with gateways, where the hosts that hold
// those have changed.
func (m *Manager) gatewaysMoved(ctx context.Context, changed bool) error {
	if !changed {
		return nil
	}
	routers, err := store.Select[network.Router](ctx, m.store, db.Where().Raw("gateway_port_id IS NOT NULL"))
	if err != nil {
		return err
	}
	ids := make([]string, len(routers))
	for i := range routers {
		ids[i] = routers[i].ID
	}
	return m.mark(ctx, network.DirtyRouter, ids...)
}

// orders is what a host does whose provider bridge leads nowhere else: it has
// the gateways' addresses of the external networks there.
func (m *Manager) orders(ctx context.Context) (network.HostOrders, error) {
	var o network.HostOrders
	nets, err := store.Select[network.Network](ctx, m.store, db.Where().Eq("network_type", network.TypeFlat).Eq("physical_network", m.conf.ExternalPhysical))
	if err != nil {
		return o, err
	}
	for i := range nets {
		if !nets[i].External {
			continue
		}
		subnets, err := store.Select[network.Subnet](ctx, m.store, db.Where().Eq("network_id", nets[i].ID))
		if err != nil {
			return o, err
		}
		for j := range subnets {
			if p := subnets[j].GatewayPrefix(); p.IsValid() {
				o.Provider = append(o.Provider, p.String())
			}
		}
	}
	return o, nil
}

// Alive tells whether an agent's last heartbeat is recent.
func (m *Manager) Alive(a *network.Agent) bool {
	return float64(time.Now().UnixMilli())/1000-a.LastSeen < float64(m.conf.AgentDownTime)
}

// UpdateAgent changes an agent's description and administrative state. One
// that is administratively down holds no gateways.
func (m *Manager) UpdateAgent(ctx context.Context, id string, c network.Change) (*network.Agent, error) {
	return update(ctx, m, id, c, func(ctx context.Context, old, a *network.Agent) (bool, error) {
		return false, m.gatewaysMoved(ctx, a.AgentType == network.AgentGateway && old.AdminStateUp != a.AdminStateUp)
	})
}

// DeleteAgent forgets an agent that is gone. With a host's controller goes its
// chassis.
func (m *Manager) DeleteAgent(ctx context.Context, id string, ifMatch int) error {
	return remove(ctx, m, id, ifMatch, func(ctx context.Context, a *network.Agent) error {
		if m.Alive(a) {
			return conflict("AgentInUse", "Agent %s is alive and would come back.", id)
		}
		return m.forgetAgent(ctx, a)
	})
}

func (m *Manager) forgetAgent(ctx context.Context, a *network.Agent) error {
	if !a.IsController() {
		return nil
	}
	if err := m.mark(ctx, network.DirtyHost, a.Host); err != nil {
		return err
	}
	return m.gatewaysMoved(ctx, a.AgentType == network.AgentGateway)
}

// HostKnown says whether a host has agents.
func (m *Manager) HostKnown(ctx context.Context, host string) (bool, error) {
	return m.store.HostKnown(ctx, host)
}

// RemoveHost forgets a host that was removed from the cloud: its agents, its
// chassis, the gateways there. The binding of ports there fails; a server that
// is still there is compute's to move. It may be repeated.
func (m *Manager) RemoveHost(ctx context.Context, host string) error {
	if host == "" {
		return fault.Invalidf("A host's name is needed.")
	}
	return m.tx(ctx, func(ctx context.Context) error {
		agents, err := store.Select[network.Agent](ctx, m.store, db.Where().Eq("host", host))
		if err != nil {
			return err
		}
		for i := range agents {
			if err := m.forgetAgent(ctx, &agents[i]); err != nil {
				return err
			}
			if _, err := store.Delete(ctx, m.store, &agents[i]); err != nil {
				return err
			}
		}
		ports, err := store.Select[network.Port](ctx, m.store, db.Where().Eq("host_id", host))
		if err != nil {
			return err
		}
		for i := range ports {
			p := ports[i]
			p.Status = network.StatusDown
			if err := m.bind(ctx, &p); err != nil {
				return err
			}
			if err := store.Update(ctx, m.store, &ports[i], &p, false); err != nil {
				return err
			}
			if err := m.markPort(ctx, &p); err != nil {
				return err
			}
		}
		return m.mark(ctx, network.DirtyHost, host)
	})
}
