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

func badRouter(format string, args ...any) error {
	return bad("BadRequest", "Bad router request: "+format, args...)
}

// CreateRouter makes a router, with a gateway if the request has one.
func (m *Manager) CreateRouter(ctx context.Context, c network.Change) (*network.Router, error) {
	var out *network.Router
	err := m.tx(ctx, func(ctx context.Context) error {
		r := &network.Router{Status: network.StatusActive, EnableSNAT: true}
		if err := c.Into(r); err != nil {
			return err
		}
		info := r.Gateway
		r.Gateway = nil
		if err := m.reserve(ctx, r.Kind(), r.ProjectID, 1); err != nil {
			return err
		}
		if err := m.checkZones(r.AZHints); err != nil {
			return err
		}
		if r.FlavorID != nil {
			if _, err := store.Find[network.Flavor](ctx, m.store, scope(ctx), *r.FlavorID); err != nil {
				return err
			}
		}
		if err := store.Insert(ctx, m.store, r); err != nil {
			return err
		}
		old := *r
		if info != nil {
			if err := m.setGateway(ctx, r, info); err != nil {
				return err
			}
			if err := store.Update(ctx, m.store, &old, r, false); err != nil {
				return err
			}
		}
		if err := m.mark(ctx, network.DirtyRouter, r.ID); err != nil {
			return err
		}
		var err error
		out, err = store.Find[network.Router](ctx, m.store, scope(ctx), r.ID)
		return err
	})
	return out, err
}

// UpdateRouter changes a router, its gateway and its extra routes.
func (m *Manager) UpdateRouter(ctx context.Context, id string, c network.Change) (*network.Router, error) {
	return update(ctx, m, id, c, func(ctx context.Context, old, r *network.Router) (bool, error) {
		if c.Has("external_gateway_info") {
			info := r.Gateway
			r.Gateway = old.Gateway
			if err := m.setGateway(ctx, r, info); err != nil {
				return false, err
			}
		}
		if c.Has("routes") {
			if err := m.checkRoutes(ctx, r); err != nil {
				return false, err
			}
		}
		return c.Has("external_gateway_info"), m.mark(ctx, network.DirtyRouter, id)
	})
}

// DeleteRouter deletes a router without interfaces.
func (m *Manager) DeleteRouter(ctx context.Context, id string, ifMatch int) error {
	return m.tx(ctx, func(ctx context.Context) error {
		r, err := m.lockRouter(ctx, id)
		if err != nil {
			return err
		}
		if err := match(r, ifMatch); err != nil {
			return err
		}
		legs, err := m.legs(ctx, id)
		if err != nil {
			return err
		}
		if len(legs) > 0 {
			return conflict("RouterInUse", "Router %s still has ports", id)
		}
		if err := m.setGateway(ctx, r, nil); err != nil {
			return err
		}
		if _, err := store.Delete(ctx, m.store, r); err != nil {
			return err
		}
		if err := m.store.Forget(ctx, "router/"+id); err != nil {
			return err
		}
		return m.mark(ctx, network.DirtyRouter, id)
	})
}

// lockRouter returns a router that the caller may see and keeps others from
// changing its legs until the transaction ends.
func (m *Manager) lockRouter(ctx context.Context, id string) (*network.Router, error) {
	if _, err := store.Find[network.Router](ctx, m.store, scope(ctx), id); err != nil {
		return nil, err // no lock for what is not there
	}
	if err := m.store.Lock(ctx, "router/"+id); err != nil {
		return nil, err
	}
	return store.Find[network.Router](ctx, m.store, scope(ctx), id)
}

// legs are the ports of a router's interfaces.
func (m *Manager) legs(ctx context.Context, router string) ([]network.Port, error) {
	return m.store.PortsOf(ctx, db.Where().Eq("device_id", router).Eq("device_owner", network.OwnerRouterInterface))
}

// setGateway connects the router to an external network, changes the
// connection, or (nil) ends it.
func (m *Manager) setGateway(ctx context.Context, r *network.Router, info *network.GatewayInfo) error {
	var had *network.Port
	if r.GatewayPort != nil {
		p, err := store.Get[network.Port](ctx, m.store, *r.GatewayPort)
		if err != nil {
			return err
		}
		had = p
	}
	if had != nil && (info == nil || info.NetworkID != had.NetworkID) {
		fips, err := store.Select[network.FloatingIP](ctx, m.store, db.Where().Eq("router_id", r.ID))
		if err != nil {
			return err
		}
		if len(fips) > 0 {
			return conflict("RouterExternalGatewayInUseByFloatingIp", "Gateway cannot be updated for router %s, since a gateway to external network %s is required by one or more floating IPs.", r.ID, had.NetworkID)
		}
		r.GatewayPort, r.Gateway = nil, nil
		if err := m.store.ClearGateway(ctx, r.ID); err != nil { // the port can go only when nothing names it
			return err
		}
		if err := m.dropPort(ctx, had); err != nil {
			return err
		}
		had = nil
	}
	if info == nil {
		r.EnableSNAT = true
		return nil
	}
	if info.EnableSNAT != nil {
		r.EnableSNAT = *info.EnableSNAT
	}
	if had != nil {
		if info.FixedIPs == nil {
			return nil
		}
		if err := m.assign(ctx, had, info.FixedIPs, true); err != nil {
			return err
		}
		return m.markPort(ctx, had)
	}
	return m.newGateway(ctx, r, info)
}

func (m *Manager) newGateway(ctx context.Context, r *network.Router, info *network.GatewayInfo) error {
	n, err := store.Find[network.Network](ctx, m.store, scope(ctx), info.NetworkID)
	if err != nil {
		return err
	}
	if !n.External {
		return badRouter("Network %s is not an external network.", n.ID)
	}
	outside, err := store.Select[network.Subnet](ctx, m.store, db.Where().Eq("network_id", n.ID))
	if err != nil {
		return err
	}
	legs, err := m.legs(ctx, r.ID)
	if err != nil {
		return err
	}
	for i := range outside {
		if err := m.checkOverlap(ctx, legs, &outside[i]); err != nil {
			return err
		}
	}
	p := &network.Port{NetworkID: n.ID, AdminStateUp: true, DeviceOwner: network.OwnerRouterGateway, DeviceID: r.ID, VNICType: "normal"}
	if err := m.addPort(ctx, p, n, portOptions{wishes: info.FixedIPs, given: info.FixedIPs != nil, groups: true, security: true}); err != nil {
		return err
	}
	r.GatewayPort = &p.ID
	return nil
}

// checkOverlap refuses a subnet that overlaps with one that the router has a
// leg on.
func (m *Manager) checkOverlap(ctx context.Context, legs []network.Port, s *network.Subnet) error {
	for i := range legs {
		for _, f := range legs[i].FixedIPs {
			if f.SubnetID == s.ID {
				return badRouter("Router already has a port on subnet %s", s.ID)
			}
			o, err := store.Get[network.Subnet](ctx, m.store, f.SubnetID)
			if err != nil {
				return err
			}
			if o.Prefix().Overlaps(s.Prefix()) {
				return badRouter("Cidr %s of subnet %s overlaps with cidr %s of subnet %s", s.CIDR, s.ID, o.CIDR, o.ID)
			}
		}
	}
	return nil
}

// checkRoutes bounds the extra routes (CVE-2021-40797) and asks that their
// next hops are on the router's networks.
func (m *Manager) checkRoutes(ctx context.Context, r *network.Router) error {
	if len(r.Routes) > m.conf.MaxRoutes {
		return bad("RoutesExhausted", "Unable to complete operation for %s. The number of routes exceeds the maximum %d.", r.ID, m.conf.MaxRoutes)
	}
	if len(r.Routes) == 0 {
		return nil
	}
	nets, own, err := m.connected(ctx, r)
	if err != nil {
		return err
	}
	wrong := func(rt network.Route, why string) error {
		return bad("InvalidRoutes", "Invalid format for routes: destination %s nexthop %s, %s", rt.Destination, rt.NextHop, why)
	}
	seen := map[network.Route]bool{}
	for i, rt := range r.Routes {
		px, err := network.ParsePrefix(rt.Destination)
		hop, err2 := netip.ParseAddr(rt.NextHop)
		switch {
		case err != nil || err2 != nil || px.Addr().Is4() != hop.Is4():
			return wrong(rt, "they are no prefix and address of one IP version")
		case slices.Contains(own, hop):
			return wrong(rt, "the nexthop is used by router")
		case !slices.ContainsFunc(nets, func(p netip.Prefix) bool { return p.Contains(hop) }):
			return wrong(rt, "the nexthop is not connected with router")
		case seen[rt]:
			return wrong(rt, "it stands twice")
		}
		seen[rt] = true
		r.Routes[i] = rt
	}
	return nil
}

// connected returns the subnets that the router has legs on, and its own
// addresses there.
func (m *Manager) connected(ctx context.Context, r *network.Router) ([]netip.Prefix, []netip.Addr, error) {
	legs, err := m.legs(ctx, r.ID)
	if err != nil {
		return nil, nil, err
	}
	if r.GatewayPort != nil {
		p, err := store.Get[network.Port](ctx, m.store, *r.GatewayPort)
		if err != nil {
			return nil, nil, err
		}
		legs = append(legs, *p)
	}
	var nets []netip.Prefix
	var own []netip.Addr
	for i := range legs {
		for _, f := range legs[i].FixedIPs {
			s, err := store.Get[network.Subnet](ctx, m.store, f.SubnetID)
			if err != nil {
				return nil, nil, err
			}
			nets = append(nets, s.Prefix())
			if a, err := netip.ParseAddr(f.Address); err == nil {
				own = append(own, a)
			}
		}
	}
	return nets, own, nil
}

// ChangeRoutes adds extra routes to a router, or takes them away, whatever
// other requests add or take at the same time.
func (m *Manager) ChangeRoutes(ctx context.Context, id string, routes []network.Route, add bool) (*network.Router, error) {
	return update(ctx, m, id, network.Change{}, func(ctx context.Context, _, r *network.Router) (bool, error) {
		now := slices.Clone(r.Routes)
		for _, rt := range routes {
			i := slices.Index(now, rt)
			switch {
			case add && i < 0:
				now = append(now, rt)
			case !add && i >= 0:
				now = slices.Delete(now, i, i+1)
			}
		}
		r.Routes = now
		if err := m.checkRoutes(ctx, r); err != nil {
			return false, err
		}
		return false, m.mark(ctx, network.DirtyRouter, id)
	})
}

// missingLeg is the fault for an interface that the router doesn't have.
func missingLeg(router, subnet string) error {
	return fault.New(fault.NotFound, "Router %s has no interface on subnet %s", router, subnet).WithType("RouterInterfaceNotFoundForSubnet")
}
