package manager

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/ipam"
	"github.com/tropocloud/tropo/network/store"
)

// wish is an address that a port asks for: on a subnet, a certain one, or
// both.
type wish = network.FixedIP

// assign makes the port's addresses those that are wished for, keeping what
// it has; nil wishes mean one address of each family and all automatic ones.
// It returns the addresses in order. The port's row must exist.
func (m *Manager) assign(ctx context.Context, p *network.Port, wishes []wish, given bool) error {
	subnets, err := store.Select[network.Subnet](ctx, m.store, db.Where().Eq("network_id", p.NetworkID))
	if err != nil {
		return err
	}
	if given {
		if p.FixedIPs, err = m.assignGiven(ctx, p, subnets, wishes); err != nil {
			return err
		}
	} else if p.FixedIPs, err = m.assignAny(ctx, p, subnets); err != nil {
		return err
	}
	if network.OfRouter(p.DeviceOwner) || p.DeviceOwner == network.OwnerDistributed || given && len(wishes) == 0 {
		return nil
	}
	for i := range subnets {
		s := &subnets[i]
		has := slices.ContainsFunc(p.FixedIPs, func(f network.FixedIP) bool { return f.SubnetID == s.ID })
		if !s.Auto() || has || !serves(s, p.DeviceOwner, subnets) {
			continue
		}
		if err := m.assignAuto(ctx, p, s); err != nil {
			return err
		}
	}
	return nil
}

// serves applies service types: subnets that name the port's owner, or where
// none does, those that name nobody.
func serves(s *network.Subnet, owner string, all []network.Subnet) bool {
	for _, t := range s.ServiceTypes {
		if t == owner {
			return true
		}
	}
	if len(s.ServiceTypes) > 0 {
		return false
	}
	for i := range all {
		if slices.Contains(all[i].ServiceTypes, owner) && all[i].IPVersion == s.IPVersion {
			return false
		}
	}
	return true
}

// assignAny takes an address of each family from the first subnets that have
// one left.
func (m *Manager) assignAny(ctx context.Context, p *network.Port, subnets []network.Subnet) ([]network.FixedIP, error) {
	var out []network.FixedIP
	for _, version := range []int{4, 6} {
		tried := 0
		found := false
		for i := range subnets {
			s := &subnets[i]
			if s.IPVersion != version || s.Auto() || !serves(s, p.DeviceOwner, subnets) {
				continue
			}
			tried++
			a, ok, err := m.free(ctx, s, p.DeviceOwner)
			if err != nil {
				return nil, err
			}
			if !ok {
				continue
			}
			if err := m.take(ctx, p, s, a, len(out)); err != nil {
				return nil, err
			}
			out = append(out, network.FixedIP{SubnetID: s.ID, Address: a.String()})
			found = true
			break
		}
		if tried > 0 && !found {
			return nil, conflict("IpAddressGenerationFailure", "No more IP addresses available on network %s.", p.NetworkID)
		}
	}
	return out, nil
}

// assignGiven fulfils the wishes. The addresses that the port has and that
// fit are kept, others released.
func (m *Manager) assignGiven(ctx context.Context, p *network.Port, subnets []network.Subnet, wishes []wish) ([]network.FixedIP, error) {
	if len(wishes) > m.conf.MaxFixedIPs && !network.OfService(p.DeviceOwner) {
		return nil, invalid("Exceeded maximum amount of fixed ips per port.")
	}
	had := slices.Clone(p.FixedIPs)
	plan := make([]network.FixedIP, len(wishes))
	use := func(fit func(network.FixedIP) bool) (network.FixedIP, bool) {
		i := slices.IndexFunc(had, fit)
		if i < 0 {
			return network.FixedIP{}, false
		}
		f := had[i]
		had = slices.Delete(had, i, i+1)
		return f, true
	}
	// Certain addresses first, so that a wish for any does not take them.
	for i, w := range wishes {
		if w.Address == "" {
			continue
		}
		a, s, err := certain(p, subnets, w)
		if err != nil {
			return nil, err
		}
		text := a.String()
		if slices.ContainsFunc(plan, func(f network.FixedIP) bool { return f.Address == text && f.SubnetID == s.ID }) {
			return nil, invalid("Duplicate fixed IP %s.", text)
		}
		plan[i] = network.FixedIP{SubnetID: s.ID, Address: text}
		use(func(f network.FixedIP) bool { return f == plan[i] })
	}
	for i, w := range wishes {
		if w.Address != "" {
			continue
		}
		if !slices.ContainsFunc(subnets, func(s network.Subnet) bool { return s.ID == w.SubnetID }) {
			return nil, invalid("Failed to create port on network %s, because fixed_ips included invalid subnet %s", p.NetworkID, w.SubnetID)
		}
		if f, ok := use(func(f network.FixedIP) bool { return f.SubnetID == w.SubnetID }); ok {
			plan[i] = f
		}
	}
	for _, f := range had {
		if err := m.store.Release(ctx, p.ID, f.SubnetID, f.Address); err != nil {
			return nil, err
		}
	}
	for i, w := range wishes {
		if err := m.fulfil(ctx, p, subnets, w, &plan[i], i); err != nil {
			return nil, err
		}
	}
	return plan, nil
}

// fulfil takes one planned address, choosing it where the plan leaves that
// open.
func (m *Manager) fulfil(ctx context.Context, p *network.Port, subnets []network.Subnet, w wish, plan *network.FixedIP, position int) error {
	if plan.Address != "" && slices.Contains(p.FixedIPs, *plan) {
		return m.store.Reposition(ctx, p.ID, plan.SubnetID, plan.Address, position)
	}
	id := plan.SubnetID
	if id == "" {
		id = w.SubnetID
	}
	s := &subnets[slices.IndexFunc(subnets, func(s network.Subnet) bool { return s.ID == id })]
	if plan.Address != "" {
		a, err := netip.ParseAddr(plan.Address)
		if err != nil {
			return err
		}
		return m.takeCertain(ctx, p, s, a, position)
	}
	var a netip.Addr
	var ok bool
	var err error
	if s.Auto() && !network.OfRouter(p.DeviceOwner) {
		a, ok = ipam.EUI64(s.Prefix(), p.MAC)
	} else {
		a, ok, err = m.free(ctx, s, p.DeviceOwner)
	}
	if err != nil {
		return err
	}
	if !ok {
		return conflict("IpAddressGenerationFailure", "No more IP addresses available on network %s.", p.NetworkID)
	}
	*plan = network.FixedIP{SubnetID: s.ID, Address: a.String()}
	return m.take(ctx, p, s, a, position)
}

// certain checks a wish for a certain address.
func certain(p *network.Port, subnets []network.Subnet, w wish) (netip.Addr, *network.Subnet, error) {
	a, err := netip.ParseAddr(w.Address)
	if err != nil || a.Zone() != "" {
		return a, nil, bad("HTTPBadRequest", "Invalid input for fixed_ips. Reason: '%s' is not a valid IP address.", w.Address)
	}
	a = a.Unmap()
	i := slices.IndexFunc(subnets, func(s network.Subnet) bool {
		if w.SubnetID != "" {
			return s.ID == w.SubnetID
		}
		return s.Prefix().Contains(a)
	})
	switch {
	case i < 0 && w.SubnetID != "":
		return a, nil, invalid("Failed to create port on network %s, because fixed_ips included invalid subnet %s", p.NetworkID, w.SubnetID)
	case i < 0:
		return a, nil, bad("InvalidIpForNetwork", "IP address %s is not a valid IP for any of the subnets on the specified network.", w.Address)
	}
	s := &subnets[i]
	if px := s.Prefix(); !px.Contains(a) || a.Is4() && !ipam.Hosts(px).Contains(a) {
		return a, nil, bad("InvalidIpForSubnet", "IP address %s is not a valid IP for the specified subnet.", w.Address)
	}
	if s.Auto() && !network.OfRouter(p.DeviceOwner) {
		if e, ok := ipam.EUI64(s.Prefix(), p.MAC); !ok || e != a {
			return a, nil, bad("AllocationOnAutoAddressSubnet", "IPv6 address %s cannot be directly assigned to a port on subnet %s as the subnet is configured for automatic addresses", a, s.ID)
		}
	}
	return a, s, nil
}

// takeCertain takes an address that was asked for; another port's is refused.
func (m *Manager) takeCertain(ctx context.Context, p *network.Port, s *network.Subnet, a netip.Addr, position int) error {
	taken, err := m.store.Taken(ctx, s.ID, []netip.Addr{a})
	if err != nil {
		return err
	}
	if taken[a] {
		return conflict("IpAddressAlreadyAllocated", "IP address %s already allocated in subnet %s", a, s.ID)
	}
	return m.take(ctx, p, s, a, position)
}

// take writes the allocation. When a concurrent request was faster, the
// transaction is run again.
func (m *Manager) take(ctx context.Context, p *network.Port, s *network.Subnet, a netip.Addr, position int) error {
	err := m.store.Allocate(ctx, network.Allocation{PortID: p.ID, SubnetID: s.ID, NetworkID: p.NetworkID, Address: a.String(), Position: position})
	if db.IsUnique(err) {
		return fmt.Errorf("%w: address %s", errAgain, a)
	}
	return err
}

func (m *Manager) assignAuto(ctx context.Context, p *network.Port, s *network.Subnet) error {
	a, ok := ipam.EUI64(s.Prefix(), p.MAC)
	if !ok {
		return nil
	}
	if err := m.takeCertain(ctx, p, s, a, len(p.FixedIPs)); err != nil {
		return err
	}
	p.FixedIPs = append(p.FixedIPs, network.FixedIP{SubnetID: s.ID, Address: a.String()})
	return nil
}

// free finds an address of the subnet's pools that no port has: of a few
// random ones at first, which nearly always succeeds and rarely collides with
// concurrent requests; of all when the pools are nearly full. The ports of the
// network's own services take the first one, as Neutron's do: users expect the
// rest of a new subnet to be free.
func (m *Manager) free(ctx context.Context, s *network.Subnet, owner string) (netip.Addr, bool, error) {
	pools := ipam.Ranges(s.Pools)
	if owner != network.OwnerDistributed && owner != network.OwnerDHCP {
		some := ipam.Candidates(pools, 16)
		if len(some) == 0 {
			return netip.Addr{}, false, nil
		}
		taken, err := m.store.Taken(ctx, s.ID, some)
		if err != nil {
			return netip.Addr{}, false, err
		}
		for _, a := range some {
			if !taken[a] && a != s.Gateway() {
				return a, true, nil
			}
		}
	}
	taken, err := m.store.Taken(ctx, s.ID, nil)
	if err != nil {
		return netip.Addr{}, false, err
	}
	if gw := s.Gateway(); gw.IsValid() {
		taken[gw] = true
	}
	a, ok := ipam.First(pools, taken)
	return a, ok, nil
}
