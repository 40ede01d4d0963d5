package manager

import (
	"context"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/store"
)

// The type and program of tropo's agents, as Neutron names those of OVN.
const (
	agentType   = "OVN Controller agent"
	agentBinary = "ovn-controller"
	agentStamp  = "2006-01-02 15:04:05"
)

// Heartbeat notes that the dataplane of a host is served.
func (m *Manager) Heartbeat(ctx context.Context, host string) error {
	now := time.Now().UTC()
	seen := float64(now.UnixMilli()) / 1000
	return m.tx(ctx, func(ctx context.Context) error {
		list, err := store.Select[network.Agent](ctx, m.store, db.Where().Eq("host", host).Eq("agent_type", agentType))
		if err != nil {
			return err
		}
		if len(list) == 0 {
			a := &network.Agent{
				AgentType: agentType, Binary: agentBinary, Host: host, AZ: m.conf.Zone, AdminStateUp: true,
				Started: now.Format(agentStamp), Heartbeat: now.Format(agentStamp), LastSeen: seen,
				Config: network.Map{"chassis_name": host, "bridge-mappings": m.plane.PhysicalNetworks, "datapath-type": m.plane.DatapathType},
			}
			err := store.Insert(ctx, m.store, a)
			if db.IsUnique(err) {
				return errAgain
			}
			return err
		}
		return m.store.Seen(ctx, list[0].ID, now.Format(agentStamp), seen)
	})
}

// Alive tells whether an agent's last heartbeat is recent.
func (m *Manager) Alive(a *network.Agent) bool {
	return float64(time.Now().UnixMilli())/1000-a.LastSeen < float64(m.conf.AgentDownTime)
}

// UpdateAgent changes an agent's description and administrative state.
func (m *Manager) UpdateAgent(ctx context.Context, id string, c network.Change) (*network.Agent, error) {
	return update(ctx, m, id, c, func(context.Context, *network.Agent, *network.Agent) (bool, error) { return false, nil })
}

// DeleteAgent forgets an agent that is gone.
func (m *Manager) DeleteAgent(ctx context.Context, id string, ifMatch int) error {
	return remove(ctx, m, id, ifMatch, func(_ context.Context, a *network.Agent) error {
		if m.Alive(a) {
			return conflict("AgentInUse", "Agent %s is alive and would come back.", id)
		}
		return nil
	})
}
