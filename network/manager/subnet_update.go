package manager

import (
	"context"
	"slices"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/store"
)

// UpdateSubnet changes a subnet.
func (m *Manager) UpdateSubnet(ctx context.Context, id string, c network.Change) (*network.Subnet, error) {
	return update(ctx, m, id, c, func(ctx context.Context, old, s *network.Subnet) (bool, error) {
		if err := m.checkSubnet(s); err != nil {
			return false, err
		}
		if !equal(old.GatewayIP, s.GatewayIP) {
			if err := m.checkGatewayFree(ctx, old, s); err != nil {
				return false, err
			}
		}
		n, err := store.Get[network.Network](ctx, m.store, s.NetworkID)
		if err != nil {
			return false, err
		}
		if old.EnableDHCP != s.EnableDHCP {
			// The metadata port's addresses follow the rows.
			if err := store.Update(ctx, m.store, old, s, true); err != nil {
				return false, err
			}
			*old = *s
			if err := m.metadataPort(ctx, n); err != nil {
				return false, err
			}
		}
		if err := m.mark(ctx, network.DirtySubnet, id); err != nil {
			return false, err
		}
		return false, m.markLegs(ctx, id)
	})
}

// checkGatewayFree keeps a gateway that routers stand on, and refuses one that
// another port has.
func (m *Manager) checkGatewayFree(ctx context.Context, old, s *network.Subnet) error {
	if gw := old.Gateway(); gw.IsValid() {
		p, err := m.portWith(ctx, s.NetworkID, gw)
		if err != nil {
			return err
		}
		if p != nil && p.DeviceOwner == network.OwnerRouterInterface {
			return conflict("GatewayIpInUse", "Current gateway ip %s already in use by port %s. Unable to update.", gw, p.ID)
		}
	}
	if gw := s.Gateway(); gw.IsValid() {
		p, err := m.portWith(ctx, s.NetworkID, gw)
		if err != nil {
			return err
		}
		if p != nil && !network.OfRouter(p.DeviceOwner) {
			return conflict("GatewayIpInUse", "Gateway ip %s is in use by port %s.", gw, p.ID)
		}
	}
	return nil
}

// markLegs marks the routers that have a leg on the subnet: their routes and
// advertisements depend on it.
func (m *Manager) markLegs(ctx context.Context, subnet string) error {
	legs, err := m.store.PortsOf(ctx, db.Where().Raw("id IN (SELECT port_id FROM allocations WHERE subnet_id = ?) AND device_owner LIKE 'network:router%'", subnet))
	if err != nil {
		return err
	}
	for i := range legs {
		if err := m.mark(ctx, network.DirtyRouter, legs[i].DeviceID); err != nil {
			return err
		}
	}
	return nil
}

// DeleteSubnet deletes a subnet that no port has an address of; automatic
// addresses and the service's own go with it.
func (m *Manager) DeleteSubnet(ctx context.Context, id string, ifMatch int) error {
	return remove(ctx, m, id, ifMatch, func(ctx context.Context, s *network.Subnet) error {
		ports, err := m.store.PortsOf(ctx, db.Where().Raw("id IN (SELECT port_id FROM allocations WHERE subnet_id = ?)", id))
		if err != nil {
			return err
		}
		for i := range ports {
			p := &ports[i]
			auto := s.Auto() && !network.OfRouter(p.DeviceOwner)
			if !auto && !autoDeleted(p.DeviceOwner) {
				return conflict("SubnetInUse", "Unable to complete operation on subnet %s: One or more ports have an IP allocation from this subnet.", id)
			}
			for _, f := range p.FixedIPs {
				if f.SubnetID != id {
					continue
				}
				if err := m.store.Release(ctx, p.ID, id, f.Address); err != nil {
					return err
				}
			}
			rest := slices.DeleteFunc(slices.Clone(p.FixedIPs), func(f network.FixedIP) bool { return f.SubnetID == id })
			if p.DeviceOwner == network.OwnerDistributed && len(rest) == 0 {
				err = m.dropPort(ctx, p)
			} else {
				err = m.markPort(ctx, p)
			}
			if err != nil {
				return err
			}
		}
		if err := touch[network.Network](ctx, m, s.NetworkID); err != nil {
			return err
		}
		return m.mark(ctx, network.DirtySubnet, id)
	})
}
