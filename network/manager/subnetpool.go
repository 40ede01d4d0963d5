package manager

import (
	"context"
	"net/netip"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/ipam"
	"github.com/tropocloud/tropo/network/store"
)

// maxPoolPrefixes bounds the prefixes of a subnet pool.
const maxPoolPrefixes = 1000

// CreateSubnetPool makes a stock of prefixes.
func (m *Manager) CreateSubnetPool(ctx context.Context, c network.Change) (*network.SubnetPool, error) {
	var out *network.SubnetPool
	err := m.tx(ctx, func(ctx context.Context) error {
		p := &network.SubnetPool{}
		if err := c.Into(p); err != nil {
			return err
		}
		if err := m.reserve(ctx, p.Kind(), p.ProjectID, 1); err != nil {
			return err
		}
		shared := p.Shared
		if err := m.checkSubnetPool(ctx, p); err != nil {
			return err
		}
		if err := store.Insert(ctx, m.store, p); err != nil {
			return err
		}
		if shared {
			if err := m.setRBAC(ctx, "subnetpool", p.ID, p.ProjectID, network.ActionShared, true); err != nil {
				return err
			}
		}
		var err error
		out, err = store.Find[network.SubnetPool](ctx, m.store, scope(ctx), p.ID)
		return err
	})
	return out, err
}

// checkSubnetPool completes and checks a pool.
func (m *Manager) checkSubnetPool(ctx context.Context, p *network.SubnetPool) error {
	list, err := m.poolPrefixes(p)
	if err != nil {
		return err
	}
	most := 32
	least := 8
	if p.IPVersion == 6 {
		most, least = 128, 64
	}
	if p.MinLen == 0 {
		p.MinLen = least
	}
	if p.MaxLen == 0 {
		p.MaxLen = most
	}
	if p.DefaultLen == 0 {
		p.DefaultLen = p.MinLen
	}
	for _, n := range []int{p.MinLen, p.MaxLen, p.DefaultLen} {
		if n < 0 || n > most {
			return bad("UnsupportedMaxSubnetPoolPrefix", "Prefix '%d' not supported in IPv%d pool.", n, p.IPVersion)
		}
	}
	switch {
	case p.MinLen > p.MaxLen:
		return bad("IllegalSubnetPoolPrefixBounds", "Illegal prefix bounds: max_prefixlen=%d, min_prefixlen=%d.", p.MaxLen, p.MinLen)
	case p.DefaultLen > p.MaxLen:
		return bad("IllegalSubnetPoolPrefixBounds", "Illegal prefix bounds: max_prefixlen=%d, default_prefixlen=%d.", p.MaxLen, p.DefaultLen)
	case p.DefaultLen < p.MinLen:
		return bad("IllegalSubnetPoolPrefixBounds", "Illegal prefix bounds: default_prefixlen=%d, min_prefixlen=%d.", p.DefaultLen, p.MinLen)
	}
	p.Prefixes = nil
	for _, px := range ipam.Compact(list) {
		p.Prefixes = append(p.Prefixes, px.String())
	}
	if p.IsDefault {
		others, err := store.Select[network.SubnetPool](ctx, m.store, db.Where().Eq("is_default", true).Eq("ip_version", p.IPVersion).Ne("id", p.ID))
		if err != nil {
			return err
		}
		if len(others) > 0 {
			return invalid("A default subnetpool for this IP family has already been set. Only one default may exist per IP family")
		}
	}
	return m.checkPoolScope(ctx, p, list)
}

func (m *Manager) poolPrefixes(p *network.SubnetPool) ([]netip.Prefix, error) {
	if len(p.Prefixes) == 0 {
		return nil, bad("EmptySubnetPoolPrefixList", "Empty subnet pool prefix list.")
	}
	if len(p.Prefixes) > maxPoolPrefixes {
		return nil, invalid("A subnet pool can have at most %d prefixes.", maxPoolPrefixes)
	}
	list := prefixes(p.Prefixes)
	if p.IPVersion == 0 {
		p.IPVersion = 4
		if list[0].Addr().Is6() {
			p.IPVersion = 6
		}
	}
	for _, px := range list {
		if px.Addr().Is4() != (p.IPVersion == 4) {
			return nil, bad("PrefixVersionMismatch", "Cannot mix IPv4 and IPv6 prefixes in a subnet pool.")
		}
	}
	return list, nil
}

// checkPoolScope keeps the pools of an address scope apart.
func (m *Manager) checkPoolScope(ctx context.Context, p *network.SubnetPool, list []netip.Prefix) error {
	if p.AddressScopeID == nil {
		return nil
	}
	sc, err := store.Find[network.AddressScope](ctx, m.store, scope(ctx), *p.AddressScopeID)
	if err != nil {
		return err
	}
	if sc.IPVersion != p.IPVersion {
		return bad("IllegalSubnetPoolIpVersionAssociation", "Illegal subnetpool association: subnetpool %s cannot associate with address scope %s because subnetpool ip_version is not %d.", p.ID, sc.ID, sc.IPVersion)
	}
	if err := m.store.Lock(ctx, "address_scope/"+sc.ID); err != nil {
		return err
	}
	others, err := store.Select[network.SubnetPool](ctx, m.store, db.Where().Eq("address_scope_id", sc.ID).Ne("id", p.ID))
	if err != nil {
		return err
	}
	for i := range others {
		for _, o := range prefixes(others[i].Prefixes) {
			if overlapsAny(o, list) {
				return conflict("AddressScopePrefixConflict", "Failed to associate address scope: subnetpools within an address scope must have unique prefixes.")
			}
		}
	}
	return nil
}

// UpdateSubnetPool changes a pool; prefixes can only grow.
func (m *Manager) UpdateSubnetPool(ctx context.Context, id string, c network.Change) (*network.SubnetPool, error) {
	return update(ctx, m, id, c, func(ctx context.Context, old, p *network.SubnetPool) (bool, error) {
		if err := m.store.Lock(ctx, "subnetpool/"+id); err != nil {
			return false, err
		}
		if err := m.checkSubnetPool(ctx, p); err != nil {
			return false, err
		}
		now := prefixes(p.Prefixes)
		for _, px := range prefixes(old.Prefixes) {
			if !inside(px, now) {
				return false, bad("IllegalSubnetPoolPrefixUpdate", "Illegal update to prefixes: existing prefixes must be a subset of the new prefixes.")
			}
		}
		return false, nil
	})
}

// DeleteSubnetPool deletes a pool that no subnet comes from.
func (m *Manager) DeleteSubnetPool(ctx context.Context, id string, ifMatch int) error {
	return remove(ctx, m, id, ifMatch, func(ctx context.Context, _ *network.SubnetPool) error {
		subnets, err := store.Select[network.Subnet](ctx, m.store, db.Where().Eq("subnetpool_id", id))
		if err != nil {
			return err
		}
		if len(subnets) > 0 {
			return conflict("SubnetPoolDeleteError", "Unable to delete subnet pool: Subnet pool has existing allocations.")
		}
		return m.store.Forget(ctx, "subnetpool/"+id)
	})
}

// ChangePrefixes adds prefixes to a pool, or takes away such that no subnet
// uses, and returns those that the pool then has.
func (m *Manager) ChangePrefixes(ctx context.Context, id string, list []string, add bool) ([]string, error) {
	p, err := update(ctx, m, id, network.Change{}, func(ctx context.Context, old, p *network.SubnetPool) (bool, error) {
		if err := m.store.Lock(ctx, "subnetpool/"+id); err != nil {
			return false, err
		}
		change := prefixes(list)
		if add {
			p.Prefixes = append(append(network.List[string]{}, old.Prefixes...), list...)
			return false, m.checkSubnetPool(ctx, p)
		}
		subnets, err := store.Select[network.Subnet](ctx, m.store, db.Where().Eq("subnetpool_id", id))
		if err != nil {
			return false, err
		}
		for i := range subnets {
			if overlapsAny(subnets[i].Prefix(), change) {
				return false, conflict("IllegalSubnetPoolPrefixUpdate", "Illegal update to prefixes: subnet %s uses one of them.", subnets[i].ID)
			}
		}
		p.Prefixes = nil
		for _, px := range prefixes(old.Prefixes) {
			for _, rest := range subtract(px, change) {
				p.Prefixes = append(p.Prefixes, rest.String())
			}
		}
		return false, m.checkSubnetPool(ctx, p)
	})
	if err != nil {
		return nil, err
	}
	return p.Prefixes, nil
}

// subtract is what is left of p without the list's prefixes.
func subtract(p netip.Prefix, list []netip.Prefix) []netip.Prefix {
	if inside(p, list) {
		return nil
	}
	if !overlapsAny(p, list) || p.Bits() == p.Addr().BitLen() {
		return []netip.Prefix{p}
	}
	low := netip.PrefixFrom(p.Addr(), p.Bits()+1)
	high := netip.PrefixFrom(ipam.Last(low).Next(), p.Bits()+1)
	return append(subtract(low, list), subtract(high, list)...)
}

// CreateAddressScope makes a scope.
func (m *Manager) CreateAddressScope(ctx context.Context, c network.Change) (*network.AddressScope, error) {
	var out *network.AddressScope
	err := m.tx(ctx, func(ctx context.Context) error {
		s := &network.AddressScope{}
		if err := c.Into(s); err != nil {
			return err
		}
		if err := store.Insert(ctx, m.store, s); err != nil {
			return err
		}
		if s.Shared {
			if err := m.setRBAC(ctx, "address_scope", s.ID, s.ProjectID, network.ActionShared, true); err != nil {
				return err
			}
		}
		var err error
		out, err = store.Find[network.AddressScope](ctx, m.store, scope(ctx), s.ID)
		return err
	})
	return out, err
}

// UpdateAddressScope changes a scope; it can be shared, not unshared.
func (m *Manager) UpdateAddressScope(ctx context.Context, id string, c network.Change) (*network.AddressScope, error) {
	return update(ctx, m, id, c, func(ctx context.Context, old, s *network.AddressScope) (bool, error) {
		if old.Shared && !s.Shared {
			return false, bad("AddressScopeUpdateError", "Unable to update address scope %s : Shared address scope can't be unshared", id)
		}
		if s.Shared && !old.Shared {
			return true, m.setRBAC(ctx, "address_scope", id, s.ProjectID, network.ActionShared, true)
		}
		return false, nil
	})
}

// DeleteAddressScope deletes a scope without subnet pools.
func (m *Manager) DeleteAddressScope(ctx context.Context, id string, ifMatch int) error {
	return remove(ctx, m, id, ifMatch, func(ctx context.Context, _ *network.AddressScope) error {
		pools, err := store.Select[network.SubnetPool](ctx, m.store, db.Where().Eq("address_scope_id", id))
		if err != nil {
			return err
		}
		if len(pools) > 0 {
			return conflict("AddressScopeInUse", "Unable to complete operation on address scope %s. There are one or more subnet pools in use on the address scope", id)
		}
		return m.store.Forget(ctx, "address_scope/"+id)
	})
}
