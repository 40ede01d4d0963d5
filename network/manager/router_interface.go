package manager

import (
	"context"
	"net/netip"
	"slices"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/store"
)

// Interface is the answer to adding or removing a router interface.
type Interface struct {
	ID        string               `json:"id"`
	ProjectID string               `json:"project_id"`
	TenantID  string               `json:"tenant_id"`
	PortID    string               `json:"port_id"`
	NetworkID string               `json:"network_id"`
	SubnetID  string               `json:"subnet_id"`
	SubnetIDs []string             `json:"subnet_ids"`
	Tags      network.List[string] `json:"tags"`
}

func (m *Manager) leg(r *network.Router, p *network.Port, subnet string) *Interface {
	out := &Interface{ID: r.ID, ProjectID: r.ProjectID, TenantID: r.ProjectID, PortID: p.ID, NetworkID: p.NetworkID, SubnetID: subnet, SubnetIDs: []string{}, Tags: r.Tags}
	for _, f := range p.FixedIPs {
		if !slices.Contains(out.SubnetIDs, f.SubnetID) {
			out.SubnetIDs = append(out.SubnetIDs, f.SubnetID)
		}
	}
	if subnet == "" && len(out.SubnetIDs) > 0 {
		out.SubnetID = out.SubnetIDs[0]
	}
	return out
}

// AddInterface gives a router a leg: a new port with a subnet's gateway
// address, or a port that exists. Exactly one of both is given.
func (m *Manager) AddInterface(ctx context.Context, router, subnet, port string) (*Interface, error) {
	if (subnet == "") == (port == "") {
		if subnet == "" {
			return nil, badRouter("Either subnet_id or port_id must be specified")
		}
		return nil, badRouter("Cannot specify both subnet-id and port-id")
	}
	var out *Interface
	err := m.tx(ctx, func(ctx context.Context) error {
		r, err := m.lockRouter(ctx, router) // one at a time, for the overlap check
		if err != nil {
			return err
		}
		legs, err := m.legs(ctx, router)
		if err != nil {
			return err
		}
		if r.GatewayPort != nil {
			gw, err := store.Get[network.Port](ctx, m.store, *r.GatewayPort)
			if err != nil {
				return err
			}
			legs = append(legs, *gw)
		}
		if port != "" {
			out, err = m.addPortLeg(ctx, r, legs, port)
		} else {
			out, err = m.addSubnetLeg(ctx, r, legs, subnet)
		}
		if err != nil {
			return err
		}
		if err := touch[network.Router](ctx, m, router); err != nil {
			return err
		}
		return m.mark(ctx, network.DirtyRouter, router)
	})
	return out, err
}

func (m *Manager) addPortLeg(ctx context.Context, r *network.Router, legs []network.Port, id string) (*Interface, error) {
	p, err := store.Find[network.Port](ctx, m.store, scope(ctx), id)
	if err != nil {
		return nil, err
	}
	if sc := scope(ctx); !sc.All && p.ProjectID != sc.ProjectID { // CVE-2014-0056
		return nil, p.Kind().NotFound(id)
	}
	if p.DeviceID != "" {
		return nil, conflict("PortInUse", "Unable to complete operation on port %s for network %s. Port already has an attached device %s.", id, p.NetworkID, p.DeviceID)
	}
	if len(p.FixedIPs) == 0 {
		return nil, badRouter("Router port must have at least one fixed IP")
	}
	v4 := 0
	for _, f := range p.FixedIPs {
		s, err := store.Get[network.Subnet](ctx, m.store, f.SubnetID)
		if err != nil {
			return nil, err
		}
		if s.IPVersion == 4 {
			v4++
		}
		if err := m.checkOverlap(ctx, legs, s); err != nil {
			return nil, err
		}
	}
	if v4 > 1 {
		return nil, badRouter("Cannot have multiple IPv4 subnets on router port")
	}
	old := *p
	p.DeviceID, p.DeviceOwner, p.Status = r.ID, network.OwnerRouterInterface, network.StatusActive
	p.PortSecurity, p.AllowedPairs, p.HostID = false, nil, ""
	if err := m.bind(ctx, p); err != nil {
		return nil, err
	}
	if err := m.store.SetGroups(ctx, p.ID, nil); err != nil {
		return nil, err
	}
	if err := store.Update(ctx, m.store, &old, p, true); err != nil {
		return nil, err
	}
	return m.leg(r, p, ""), m.markPort(ctx, p)
}

func (m *Manager) addSubnetLeg(ctx context.Context, r *network.Router, legs []network.Port, id string) (*Interface, error) {
	s, err := store.Find[network.Subnet](ctx, m.store, scope(ctx), id)
	if err != nil {
		return nil, err
	}
	if s.GatewayIP == nil {
		return nil, badRouter("Subnet for router interface must have a gateway IP")
	}
	if err := m.checkOverlap(ctx, legs, s); err != nil {
		return nil, err
	}
	n, err := store.Find[network.Network](ctx, m.store, scope(ctx), s.NetworkID)
	if err != nil {
		return nil, err
	}
	w := wish{SubnetID: id, Address: *s.GatewayIP}
	if sc := scope(ctx); !sc.All && n.ProjectID != sc.ProjectID {
		w.Address = "" // the gateway's address is the network owner's to give
	}
	if s.IPVersion == 6 {
		for i := range legs {
			if p := &legs[i]; p.NetworkID == n.ID && p.DeviceOwner == network.OwnerRouterInterface && onlyV6(p) {
				if err := m.assign(ctx, p, append(slices.Clone(p.FixedIPs), w), true); err != nil {
					return nil, err
				}
				return m.leg(r, p, id), m.markPort(ctx, p)
			}
		}
	}
	p := &network.Port{NetworkID: n.ID, AdminStateUp: true, DeviceOwner: network.OwnerRouterInterface, DeviceID: r.ID, VNICType: "normal"}
	p.ProjectID = r.ProjectID
	if err := m.reserve(ctx, p.Kind(), p.ProjectID, 1); err != nil {
		return nil, err
	}
	if err := m.addPort(ctx, p, n, portOptions{wishes: []wish{w}, given: true, groups: true, security: true}); err != nil {
		return nil, err
	}
	return m.leg(r, p, id), nil
}

func onlyV6(p *network.Port) bool {
	return !slices.ContainsFunc(p.FixedIPs, func(f network.FixedIP) bool {
		a, err := netip.ParseAddr(f.Address)
		return err != nil || a.Is4()
	})
}

// RemoveInterface takes a leg away: that on a subnet, or a port. Both may be
// given if they belong together.
func (m *Manager) RemoveInterface(ctx context.Context, router, subnet, port string) (*Interface, error) {
	if subnet == "" && port == "" {
		return nil, badRouter("Either subnet_id or port_id must be specified")
	}
	var out *Interface
	err := m.tx(ctx, func(ctx context.Context) error {
		r, err := m.lockRouter(ctx, router)
		if err != nil {
			return err
		}
		p, err := m.findLeg(ctx, router, subnet, port)
		if err != nil {
			return err
		}
		gone := p.FixedIPs
		if subnet != "" {
			f, _ := addressOn(p, subnet)
			gone = network.List[network.FixedIP]{f}
		}
		if err := m.checkLegFree(ctx, r, gone); err != nil {
			return err
		}
		out = m.leg(r, p, subnet)
		if subnet != "" && port == "" && len(p.FixedIPs) > 1 {
			rest := slices.DeleteFunc(slices.Clone(p.FixedIPs), func(f network.FixedIP) bool { return f.SubnetID == subnet })
			if err := m.assign(ctx, p, rest, true); err != nil {
				return err
			}
			err = m.markPort(ctx, p)
		} else {
			err = m.dropPort(ctx, p)
		}
		if err != nil {
			return err
		}
		if err := touch[network.Router](ctx, m, router); err != nil {
			return err
		}
		return m.mark(ctx, network.DirtyRouter, router)
	})
	return out, err
}

func (m *Manager) findLeg(ctx context.Context, router, subnet, port string) (*network.Port, error) {
	legs, err := m.legs(ctx, router)
	if err != nil {
		return nil, err
	}
	for i := range legs {
		p := &legs[i]
		_, on := addressOn(p, subnet)
		switch {
		case port != "" && p.ID == port:
			if subnet != "" && !on {
				return nil, bad("SubnetMismatchForPort", "Subnet on port %s does not match the requested subnet %s", port, subnet)
			}
			return p, nil
		case port == "" && on:
			return p, nil
		}
	}
	if port != "" {
		return nil, fault.New(fault.NotFound, "Router %s does not have an interface with id %s", router, port).WithType("RouterInterfaceNotFound")
	}
	if _, err := store.Find[network.Subnet](ctx, m.store, scope(ctx), subnet); err != nil {
		return nil, err
	}
	return nil, missingLeg(router, subnet)
}

// checkLegFree keeps a leg that floating IPs or extra routes need.
func (m *Manager) checkLegFree(ctx context.Context, r *network.Router, gone []network.FixedIP) error {
	fips, err := store.Select[network.FloatingIP](ctx, m.store, db.Where().Eq("router_id", r.ID))
	if err != nil {
		return err
	}
	for _, g := range gone {
		s, err := store.Get[network.Subnet](ctx, m.store, g.SubnetID)
		if err != nil {
			return err
		}
		px := s.Prefix()
		for i := range fips {
			if fips[i].FixedIP == nil {
				continue
			}
			if a, err := netip.ParseAddr(*fips[i].FixedIP); err == nil && px.Contains(a) {
				return conflict("RouterInterfaceInUseByFloatingIP", "Router interface for subnet %s on router %s cannot be deleted, as it is required by one or more floating IPs.", s.ID, r.ID)
			}
		}
		for _, rt := range r.Routes {
			if a, err := netip.ParseAddr(rt.NextHop); err == nil && px.Contains(a) {
				return conflict("RouterInterfaceInUseByRoute", "Router interface for subnet %s on router %s cannot be deleted, as it is required by one or more routes.", s.ID, r.ID)
			}
		}
	}
	return nil
}
