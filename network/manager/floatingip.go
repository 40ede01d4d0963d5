package manager

import (
	"context"
	"net/netip"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/store"
)

func badFloating(format string, args ...any) error {
	return bad("BadRequest", "Bad floatingip request: "+format, args...)
}

// CreateFloatingIP takes an address of an external network, and leads it to a
// port if the request names one.
func (m *Manager) CreateFloatingIP(ctx context.Context, c network.Change) (*network.FloatingIP, error) {
	var out *network.FloatingIP
	err := m.tx(ctx, func(ctx context.Context) error {
		f := &network.FloatingIP{Status: network.StatusDown}
		if err := c.Into(f); err != nil {
			return err
		}
		target, fixed := f.PortID, f.FixedIP
		f.PortID, f.FixedIP = nil, nil
		if err := m.reserve(ctx, f.Kind(), f.ProjectID, 1); err != nil {
			return err
		}
		f.ID = db.NewID(ctx)
		if err := m.takeExternal(ctx, f); err != nil {
			return err
		}
		if target != nil {
			if err := m.associate(ctx, f, *target, fixed); err != nil {
				return err
			}
		} else if fixed != nil {
			return badFloating("fixed_ip_address cannot be specified without a port_id")
		}
		if err := store.Insert(ctx, m.store, f); err != nil {
			return err
		}
		if err := m.mark(ctx, network.DirtyFloatingIP, f.ID); err != nil {
			return err
		}
		var err error
		out, err = store.Find[network.FloatingIP](ctx, m.store, scope(ctx), f.ID)
		return err
	})
	return out, err
}

// takeExternal makes the port that holds the floating address.
func (m *Manager) takeExternal(ctx context.Context, f *network.FloatingIP) error {
	n, err := store.Find[network.Network](ctx, m.store, scope(ctx), f.NetworkID)
	if err != nil {
		return err
	}
	if !n.External {
		return badFloating("Network %s is not a valid external network", n.ID)
	}
	subnets, err := store.Select[network.Subnet](ctx, m.store, db.Where().Eq("network_id", n.ID).Eq("ip_version", 4))
	if err != nil {
		return err
	}
	if len(subnets) == 0 {
		return badFloating("Network %s does not contain any IPv4 subnet", n.ID)
	}
	w := wish{SubnetID: f.SubnetID, Address: f.Address}
	if w.SubnetID == "" && w.Address == "" {
		for i := range subnets {
			if !serves(&subnets[i], network.OwnerFloatingIP, subnets) {
				continue
			}
			_, ok, err := m.free(ctx, &subnets[i], network.OwnerFloatingIP)
			if err != nil {
				return err
			}
			if ok {
				w.SubnetID = subnets[i].ID
				break
			}
		}
		if w.SubnetID == "" {
			return conflict("IpAddressGenerationFailure", "No more IP addresses available on network %s.", n.ID)
		}
	}
	p := &network.Port{NetworkID: n.ID, AdminStateUp: true, DeviceOwner: network.OwnerFloatingIP, DeviceID: f.ID, VNICType: "normal"}
	if err := m.addPort(ctx, p, n, portOptions{wishes: []wish{w}, given: true, groups: true, security: true}); err != nil {
		return err
	}
	f.OwnPort, f.SubnetID, f.Address = p.ID, p.FixedIPs[0].SubnetID, p.FixedIPs[0].Address
	return nil
}

// UpdateFloatingIP leads a floating IP to another port, or to none.
func (m *Manager) UpdateFloatingIP(ctx context.Context, id string, c network.Change) (*network.FloatingIP, error) {
	return update(ctx, m, id, c, func(ctx context.Context, old, f *network.FloatingIP) (bool, error) {
		if !c.Has("port_id") {
			if c.Has("fixed_ip_address") && old.PortID == nil && f.FixedIP != nil {
				return false, badFloating("fixed_ip_address cannot be specified without a port_id")
			}
			if !c.Has("fixed_ip_address") {
				return false, nil
			}
		}
		target, fixed := f.PortID, f.FixedIP
		if c.Has("port_id") && !c.Has("fixed_ip_address") {
			fixed = nil
		}
		if old.PortID != nil {
			m.changedPort(ctx, *old.PortID)
		}
		f.PortID, f.FixedIP, f.RouterID, f.Status = nil, nil, nil, network.StatusDown
		if target != nil {
			if err := m.associate(ctx, f, *target, fixed); err != nil {
				return false, err
			}
		}
		return false, m.mark(ctx, network.DirtyFloatingIP, id)
	})
}

// associate leads f to a port's fixed address over the router between them.
func (m *Manager) associate(ctx context.Context, f *network.FloatingIP, port string, fixed *string) error {
	p, err := store.Find[network.Port](ctx, m.store, scope(ctx), port)
	if err != nil {
		return err
	}
	if p.ProjectID != f.ProjectID && !scope(ctx).All {
		return badFloating("Port %s is associated with a different tenant than Floating IP %s and therefore cannot be bound.", p.ID, f.ID)
	}
	at, err := chooseFixed(p, fixed)
	if err != nil {
		return err
	}
	router, err := m.routerBetween(ctx, f.NetworkID, p, at)
	if err != nil {
		return err
	}
	if err := m.store.Lock(ctx, "router/"+router); err != nil {
		return err
	}
	if router, err = m.routerBetween(ctx, f.NetworkID, p, at); err != nil { // its leg may have gone meanwhile
		return err
	}
	others, err := store.Select[network.FloatingIP](ctx, m.store, db.Where().Eq("port_id", p.ID).Eq("fixed_ip_address", at.Address).Eq("floating_network_id", f.NetworkID).Ne("id", f.ID))
	if err != nil {
		return err
	}
	if len(others) > 0 {
		return conflict("FloatingIPPortAlreadyAssociated", "Cannot associate floating IP %s (%s) with port %s using fixed IP %s, as that fixed IP already has a floating IP on external network %s.", f.Address, f.ID, p.ID, at.Address, f.NetworkID)
	}
	f.PortID, f.FixedIP, f.RouterID, f.Status = &p.ID, &at.Address, &router, network.StatusActive
	m.changedPort(ctx, p.ID)
	return nil
}

// chooseFixed finds the port's address to lead to.
func chooseFixed(p *network.Port, fixed *string) (network.FixedIP, error) {
	var v4 []network.FixedIP
	for _, f := range p.FixedIPs {
		a, err := netip.ParseAddr(f.Address)
		if err != nil || !a.Is4() {
			continue
		}
		if fixed != nil && f.Address == *fixed {
			return f, nil
		}
		v4 = append(v4, f)
	}
	switch {
	case fixed != nil:
		return network.FixedIP{}, badFloating("Port %s does not have fixed ip %s", p.ID, *fixed)
	case len(v4) == 0:
		return network.FixedIP{}, badFloating("Cannot add floating IP to port %s that has no fixed IPv4 addresses", p.ID)
	case len(v4) > 1:
		return network.FixedIP{}, badFloating("Port %s has multiple fixed IPv4 addresses. Must provide a specific IPv4 address when assigning a floating IP", p.ID)
	}
	return v4[0], nil
}

// routerBetween finds the router that has a leg on the address's subnet and
// its gateway on the external network; the one on the subnet's gateway address
// first.
func (m *Manager) routerBetween(ctx context.Context, external string, p *network.Port, at network.FixedIP) (string, error) {
	legs, err := m.store.PortsOf(ctx, db.Where().Eq("device_owner", network.OwnerRouterInterface).Raw("id IN (SELECT port_id FROM allocations WHERE subnet_id = ?)", at.SubnetID))
	if err != nil {
		return "", err
	}
	s, err := store.Get[network.Subnet](ctx, m.store, at.SubnetID)
	if err != nil {
		return "", err
	}
	found := ""
	for i := range legs {
		r, err := store.Get[network.Router](ctx, m.store, legs[i].DeviceID)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return "", err
		}
		if r.Gateway == nil || r.Gateway.NetworkID != external {
			continue
		}
		f, _ := addressOn(&legs[i], at.SubnetID)
		if found == "" || s.GatewayIP != nil && f.Address == *s.GatewayIP {
			found = r.ID
		}
	}
	if found == "" {
		return "", fault.New(fault.NotFound, "External network %s is not reachable from subnet %s. Therefore, cannot associate Port %s with a Floating IP.", external, at.SubnetID, p.ID).WithType("ExternalGatewayForFloatingIPNotFound")
	}
	return found, nil
}

// detachFloating leads a floating IP nowhere.
func (m *Manager) detachFloating(ctx context.Context, f *network.FloatingIP) error {
	old := *f
	f.PortID, f.FixedIP, f.RouterID, f.Status = nil, nil, nil, network.StatusDown
	if err := store.Update(ctx, m.store, &old, f, false); err != nil {
		return err
	}
	return m.mark(ctx, network.DirtyFloatingIP, f.ID)
}

// changedPort tells compute after the commit that a port's addresses differ.
func (m *Manager) changedPort(ctx context.Context, id string) {
	if m.tell == nil {
		return
	}
	if p, err := store.Get[network.Port](ctx, m.store, id); err == nil {
		m.store.AfterCommit(ctx, func() { m.tell.changed(p) })
	}
}

// DeleteFloatingIP gives the address back.
func (m *Manager) DeleteFloatingIP(ctx context.Context, id string, ifMatch int) error {
	return m.tx(ctx, func(ctx context.Context) error {
		f, err := store.Find[network.FloatingIP](ctx, m.store, scope(ctx), id)
		if err != nil {
			return err
		}
		if err := match(f, ifMatch); err != nil {
			return err
		}
		if f.PortID != nil {
			m.changedPort(ctx, *f.PortID)
		}
		return m.dropFloating(ctx, f)
	})
}

// dropFloating deletes a floating IP with the port that holds its address.
func (m *Manager) dropFloating(ctx context.Context, f *network.FloatingIP) error {
	if _, err := store.Delete(ctx, m.store, f); err != nil {
		return err
	}
	p, err := store.Get[network.Port](ctx, m.store, f.OwnPort)
	if err != nil {
		return err
	}
	if err := m.dropPort(ctx, p); err != nil {
		return err
	}
	return m.mark(ctx, network.DirtyFloatingIP, f.ID)
}
