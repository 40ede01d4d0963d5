package manager

import (
	"context"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/store"
)

// UpdateNetwork changes a network.
func (m *Manager) UpdateNetwork(ctx context.Context, id string, c network.Change) (*network.Network, error) {
	return update(ctx, m, id, c, func(ctx context.Context, old, n *network.Network) (bool, error) {
		if old.NetworkType != n.NetworkType || !equal(old.PhysicalNetwork, n.PhysicalNetwork) || !equal(old.SegmentationID, n.SegmentationID) {
			return false, invalid("Plugin does not support updating the following provider network attributes: provider:network_type, provider:physical_network, provider:segmentation_id")
		}
		if c.Has("mtu") {
			if err := m.chooseMTU(n, true); err != nil {
				return false, err
			}
			for _, s := range n.SubnetIDs {
				sub, err := store.Get[network.Subnet](ctx, m.store, s)
				if err != nil {
					return false, err
				}
				if least := network.MinimumMTU(sub.IPVersion == 6); n.MTU < least {
					return false, conflict("NetworkMTUSubnetConflict", "MTU of %d is not possible with IPv%d subnet %s; the minimum is %d.", n.MTU, sub.IPVersion, s, least)
				}
			}
		}
		if err := m.checkDefault(ctx, n); err != nil {
			return false, err
		}
		if old.External && !n.External {
			ports, err := m.store.PortsOf(ctx, db.Where().Eq("network_id", id).In("device_owner", []string{network.OwnerRouterGateway, network.OwnerFloatingIP}))
			if err != nil {
				return false, err
			}
			if len(ports) > 0 {
				return false, conflict("ExternalNetworkInUse", "External network %s cannot be updated to be made non-external, since it has existing gateway ports.", id)
			}
		}
		if old.Shared && !n.Shared {
			if err := m.checkUnshare(ctx, n, ""); err != nil {
				return false, err
			}
		}
		if err := m.setSharing(ctx, n, old.Shared, old.External); err != nil {
			return false, err
		}
		return old.Shared != n.Shared, m.markNetwork(ctx, n)
	})
}

// markNetwork marks a network and what is made from its attributes.
func (m *Manager) markNetwork(ctx context.Context, n *network.Network) error {
	if err := m.mark(ctx, network.DirtyNetwork, n.ID); err != nil {
		return err
	}
	if err := m.mark(ctx, network.DirtySubnet, n.SubnetIDs...); err != nil {
		return err
	}
	legs, err := m.store.PortsOf(ctx, db.Where().Eq("network_id", n.ID).In("device_owner", []string{network.OwnerRouterInterface, network.OwnerRouterGateway, network.OwnerDistributed}))
	if err != nil {
		return err
	}
	for _, p := range legs {
		if err := m.markPort(ctx, &p); err != nil {
			return err
		}
	}
	return nil
}

// checkUnshare refuses to take a network away from projects that use it: all
// others, or the target's alone.
func (m *Manager) checkUnshare(ctx context.Context, n *network.Network, target string) error {
	w := db.Where().Eq("network_id", n.ID).Ne("project_id", n.ProjectID).Ne("project_id", "")
	if target != "" && target != "*" {
		w.Eq("project_id", target)
	}
	w.Raw("project_id NOT IN (SELECT target_project FROM rbac_policies WHERE object_id = ? AND action = ? AND target_project <> ?)", n.ID, network.ActionShared, orAll(target))
	w.Raw("device_owner NOT IN (?, ?)", network.OwnerFloatingIP, network.OwnerRouterGateway)
	ports, err := m.store.PortsOf(ctx, w)
	if err == nil && len(ports) > 0 {
		return conflict("InvalidSharedSetting", "Unable to reconfigure sharing settings for network %s. Multiple tenants are using it.", n.ID)
	}
	return err
}

func orAll(target string) string {
	if target == "" {
		return "*"
	}
	return target
}

// DeleteNetwork deletes a network that no port uses, with its subnets.
func (m *Manager) DeleteNetwork(ctx context.Context, id string, ifMatch int) error {
	return remove(ctx, m, id, ifMatch, func(ctx context.Context, n *network.Network) error {
		if err := m.dropIdleFloating(ctx, id); err != nil {
			return err
		}
		ports, err := m.store.PortsOf(ctx, db.Where().Eq("network_id", id))
		if err != nil {
			return err
		}
		var used []string
		for _, p := range ports {
			if !autoDeleted(p.DeviceOwner) {
				used = append(used, p.ID)
			}
		}
		if len(used) > 0 {
			return conflict("NetworkInUse", "Unable to complete operation on network %s. There are one or more ports still in use on the network, id for these ports is %s.", id, join(used))
		}
		for i := range ports {
			if err := m.dropPort(ctx, &ports[i]); err != nil {
				return err
			}
		}
		subnets, err := store.Select[network.Subnet](ctx, m.store, db.Where().Eq("network_id", id))
		if err != nil {
			return err
		}
		for i := range subnets {
			if _, err := store.Delete(ctx, m.store, &subnets[i]); err != nil {
				return err
			}
			if err := m.mark(ctx, network.DirtySubnet, subnets[i].ID); err != nil {
				return err
			}
		}
		if err := m.store.Forget(ctx, "network/"+id); err != nil {
			return err
		}
		return m.mark(ctx, network.DirtyNetwork, id)
	})
}

// dropIdleFloating deletes the floating IPs of a network that lead nowhere:
// they go with it.
func (m *Manager) dropIdleFloating(ctx context.Context, id string) error {
	fips, err := store.Select[network.FloatingIP](ctx, m.store, db.Where().Eq("floating_network_id", id).Eq("port_id", nil))
	if err != nil {
		return err
	}
	for i := range fips {
		if err := m.dropFloating(ctx, &fips[i]); err != nil {
			return err
		}
	}
	return nil
}

// autoDeleted says that a port goes with its network.
func autoDeleted(owner string) bool {
	return owner == network.OwnerDHCP || owner == network.OwnerDistributed
}

func equal[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}

// join shows at most ten ids.
func join(ids []string) string {
	s := ""
	for i, id := range ids {
		switch {
		case i == 10:
			return s + ", …"
		case i > 0:
			s += ", "
		}
		s += id
	}
	return s
}
