package manager

import (
	"context"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/store"
)

// AutoTopology returns the id of the project's automatically made network,
// making it with subnets of the default pools and a router to the default
// external network. A dry run only checks that this is possible.
func (m *Manager) AutoTopology(ctx context.Context, project string, dryRun bool) (string, error) {
	var id string
	err := m.tx(ctx, func(ctx context.Context) error {
		if err := m.store.Lock(ctx, project); err != nil {
			return err
		}
		have, err := m.store.Topologies(ctx, project)
		if err != nil {
			return err
		}
		if len(have) > 0 && !dryRun {
			id = have[0].NetworkID
			return nil
		}
		external, pools, err := m.topologyParts(ctx)
		if err != nil {
			return err
		}
		if dryRun {
			id = "dry-run=pass"
			return nil
		}
		id, err = m.makeTopology(ctx, project, external, pools)
		return err
	})
	return id, err
}

func (m *Manager) topologyParts(ctx context.Context) (string, []network.SubnetPool, error) {
	pools, err := store.Select[network.SubnetPool](ctx, m.store, db.Where().Eq("is_default", true))
	if err != nil {
		return "", nil, err
	}
	external, err := store.Select[network.Network](ctx, m.store, db.Where().Eq("external", true).Eq("is_default", true))
	if err != nil {
		return "", nil, err
	}
	missing := func(what string) error {
		return fault.New(fault.NotFound, "Deployment error: %s.", what).WithType("AutoAllocationFailure")
	}
	if len(pools) == 0 {
		return "", nil, missing("No default subnetpools defined")
	}
	if len(external) == 0 {
		return "", nil, missing("No default router:external network")
	}
	return external[0].ID, pools, nil
}

func (m *Manager) makeTopology(ctx context.Context, project, external string, pools []network.SubnetPool) (string, error) {
	change := func(values map[string]any) (network.Change, error) {
		values["project_id"], values["admin_state_up"] = project, true
		return network.NewChange(values)
	}
	c, err := change(map[string]any{"name": "auto_allocated_network", "port_security_enabled": true})
	if err != nil {
		return "", err
	}
	n, err := m.CreateNetwork(ctx, c)
	if err != nil {
		return "", err
	}
	c, err = change(map[string]any{"name": "auto_allocated_router", "external_gateway_info": map[string]any{"network_id": external}})
	if err != nil {
		return "", err
	}
	r, err := m.CreateRouter(ctx, c)
	if err != nil {
		return "", err
	}
	for i := range pools {
		c, err := change(map[string]any{"name": "auto_allocated_subnet_v" + string('0'+rune(pools[i].IPVersion)), "network_id": n.ID, "ip_version": pools[i].IPVersion, "subnetpool_id": pools[i].ID, "enable_dhcp": true})
		if err != nil {
			return "", err
		}
		s, err := m.CreateSubnet(ctx, c.Without("admin_state_up"))
		if err != nil {
			return "", err
		}
		if _, err := m.AddInterface(ctx, r.ID, s.ID, ""); err != nil {
			return "", err
		}
	}
	return n.ID, m.store.AddTopology(ctx, store.Topology{Project: project, NetworkID: n.ID, RouterID: r.ID})
}

// DeleteAutoTopology removes what AutoTopology made.
func (m *Manager) DeleteAutoTopology(ctx context.Context, project string) error {
	return m.tx(ctx, func(ctx context.Context) error {
		have, err := m.store.Topologies(ctx, project)
		if err != nil || len(have) == 0 {
			return err
		}
		t := have[0]
		legs, err := m.legs(ctx, t.RouterID)
		if err != nil {
			return err
		}
		for i := range legs {
			if _, err := m.RemoveInterface(ctx, t.RouterID, "", legs[i].ID); err != nil {
				return err
			}
		}
		if err := m.DeleteRouter(ctx, t.RouterID, 0); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		if err := m.DeleteNetwork(ctx, t.NetworkID, 0); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		return m.store.DropTopology(ctx, project)
	})
}
