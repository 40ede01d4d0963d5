package manager

import (
	"context"
	"net/netip"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/ipam"
	"github.com/tropocloud/tropo/network/store"
)

// CreateSubnet makes a subnet from a CIDR or out of a subnet pool.
func (m *Manager) CreateSubnet(ctx context.Context, c network.Change) (*network.Subnet, error) {
	var out *network.Subnet
	err := m.tx(ctx, func(ctx context.Context) error {
		s := &network.Subnet{}
		if err := c.Into(s); err != nil {
			return err
		}
		if err := m.reserve(ctx, s.Kind(), s.ProjectID, 1); err != nil {
			return err
		}
		n, err := store.Find[network.Network](ctx, m.store, scope(ctx), s.NetworkID)
		if err != nil {
			return err
		}
		if err := m.store.Lock(ctx, "network/"+n.ID); err != nil { // for the overlap check
			return err
		}
		if err := m.choosePrefix(ctx, s, n, c); err != nil {
			return err
		}
		if err := m.chooseGateway(s, c.Has("gateway_ip")); err != nil {
			return err
		}
		if !c.Has("allocation_pools") {
			s.Pools = ipam.DefaultPools(s.Prefix(), s.Gateway())
		}
		if err := m.checkSubnet(s); err != nil {
			return err
		}
		if err := store.Insert(ctx, m.store, s); err != nil {
			return err
		}
		if err := m.spreadAuto(ctx, s); err != nil {
			return err
		}
		if err := m.metadataPort(ctx, n); err != nil {
			return err
		}
		if err := touch[network.Network](ctx, m, n.ID); err != nil {
			return err
		}
		if err := m.mark(ctx, network.DirtySubnet, s.ID); err != nil {
			return err
		}
		out, err = store.Find[network.Subnet](ctx, m.store, network.Scope{All: true}, s.ID)
		return err
	})
	return out, err
}

// choosePrefix checks the CIDR, or cuts one out of the pool.
func (m *Manager) choosePrefix(ctx context.Context, s *network.Subnet, n *network.Network, c network.Change) error {
	siblings, err := store.Select[network.Subnet](ctx, m.store, db.Where().Eq("network_id", n.ID))
	if err != nil {
		return err
	}
	if err := m.choosePool(ctx, s, c); err != nil {
		return err
	}
	for i := range siblings {
		if siblings[i].IPVersion == s.IPVersion && !equal(siblings[i].SubnetPoolID, s.SubnetPoolID) && (s.SubnetPoolID != nil || siblings[i].SubnetPoolID != nil) {
			return bad("NetworkSubnetPoolAffinityError", "Subnets hosted on the same network must be allocated from the same subnet pool.")
		}
	}
	if s.SubnetPoolID != nil {
		if err := m.carve(ctx, s, c); err != nil {
			return err
		}
	}
	if s.CIDR == "" {
		return bad("BadRequest", "Bad subnets request: a subnetpool must be specified in the absence of a cidr.")
	}
	px, err := network.ParsePrefix(s.CIDR)
	if err != nil {
		return err
	}
	if px.Addr().Is4() != (s.IPVersion == 4) {
		return invalid("Invalid cidr %s for IP version %d.", s.CIDR, s.IPVersion)
	}
	if px.Bits() == 0 {
		return invalid("0 is not allowed as CIDR prefix length")
	}
	s.CIDR = px.String()
	for i := range siblings {
		if siblings[i].Prefix().Overlaps(px) {
			return invalid("Requested subnet with cidr: %s for network: %s overlaps with another subnet", s.CIDR, n.ID)
		}
	}
	return nil
}

// choosePool finds the subnet pool that the request names, or the default one.
func (m *Manager) choosePool(ctx context.Context, s *network.Subnet, c network.Change) error {
	var useDefault bool
	if c.Get("use_default_subnetpool", &useDefault) && useDefault && s.SubnetPoolID == nil {
		list, err := store.List[network.SubnetPool](ctx, m.store, store.Query{Scope: scope(ctx), Filters: map[string][]string{"is_default": {"true"}}, Page: db.Page{Limit: 10}})
		if err != nil {
			return err
		}
		for i := range list {
			if list[i].IPVersion == s.IPVersion {
				s.SubnetPoolID = &list[i].ID
			}
		}
		if s.SubnetPoolID == nil {
			return bad("BadRequest", "Bad subnets request: no default subnetpool found for IPv%d.", s.IPVersion)
		}
	}
	return nil
}

// carve takes the subnet's prefix out of its pool.
func (m *Manager) carve(ctx context.Context, s *network.Subnet, c network.Change) error {
	pool, err := store.Find[network.SubnetPool](ctx, m.store, scope(ctx), *s.SubnetPoolID)
	if err != nil {
		return err
	}
	if err := m.store.Lock(ctx, "subnetpool/"+pool.ID); err != nil {
		return err
	}
	if pool.IPVersion != s.IPVersion {
		return bad("SubnetPoolIpVersionMismatch", "Cannot allocate IPv%d subnet from IPv%d subnet pool", s.IPVersion, pool.IPVersion)
	}
	given, err := store.Select[network.Subnet](ctx, m.store, db.Where().Eq("subnetpool_id", pool.ID))
	if err != nil {
		return err
	}
	used := make([]netip.Prefix, len(given))
	own := 0
	for i := range given {
		used[i] = given[i].Prefix()
		if given[i].ProjectID == s.ProjectID {
			own += poolUnits(used[i])
		}
	}
	stock := prefixes(pool.Prefixes)
	length := pool.DefaultLen
	c.Get("prefixlen", &length)
	var got netip.Prefix
	if s.CIDR != "" {
		if got, err = network.ParsePrefix(s.CIDR); err != nil {
			return err
		}
		length = got.Bits()
	}
	if length < pool.MinLen {
		return bad("MinPrefixSubnetAllocationError", "Unable to allocate subnet with prefix length %d, minimum allowed prefix is %d.", length, pool.MinLen)
	}
	if length > pool.MaxLen {
		return bad("MaxPrefixSubnetAllocationError", "Unable to allocate subnet with prefix length %d, maximum allowed prefix is %d.", length, pool.MaxLen)
	}
	if s.CIDR != "" {
		if !inside(got, stock) || overlapsAny(got, used) {
			return fault.New(fault.Unavailable, "Failed to allocate subnet: Cannot allocate requested subnet from the available set of prefixes.").WithType("SubnetAllocationError")
		}
	} else {
		var ok bool
		if got, ok = ipam.Carve(stock, used, length); !ok {
			return fault.New(fault.Unavailable, "Failed to allocate subnet: Insufficient prefix space to allocate subnet size /%d.", length).WithType("SubnetAllocationError")
		}
	}
	if q := pool.DefaultQuota; q != nil && own+poolUnits(got) > *q {
		return fault.OverQuotaf("Per-tenant subnet pool prefix quota exceeded.").WithType("SubnetPoolQuotaExceeded")
	}
	s.CIDR = got.String()
	return nil
}

// poolUnits is what a prefix counts against a pool's quota: addresses of IPv4,
// /64 blocks of IPv6.
func poolUnits(p netip.Prefix) int {
	most := 32
	if p.Addr().Is6() {
		most = 64
	}
	return 1 << max(0, min(40, most-p.Bits()))
}

func prefixes(list []string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		if p, err := network.ParsePrefix(s); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// inside reports whether one of the list contains all of p.
func inside(p netip.Prefix, list []netip.Prefix) bool {
	for _, l := range list {
		if l.Bits() <= p.Bits() && l.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

func overlapsAny(p netip.Prefix, list []netip.Prefix) bool {
	for _, l := range list {
		if l.Overlaps(p) {
			return true
		}
	}
	return false
}

// chooseGateway is the first address unless the request says otherwise.
func (m *Manager) chooseGateway(s *network.Subnet, given bool) error {
	if !given {
		gw := ipam.Hosts(s.Prefix()).Start.String()
		s.GatewayIP = &gw
	}
	return nil
}

// spreadAuto gives the ports that are there an address of a new subnet with
// automatic addresses.
func (m *Manager) spreadAuto(ctx context.Context, s *network.Subnet) error {
	if !s.Auto() {
		return nil
	}
	ports, err := m.store.PortsOf(ctx, db.Where().Eq("network_id", s.NetworkID))
	if err != nil {
		return err
	}
	for i := range ports {
		p := &ports[i]
		if network.OfService(p.DeviceOwner) {
			continue
		}
		if err := m.assignAuto(ctx, p, s); err != nil {
			return err
		}
		if err := m.mark(ctx, network.DirtyPort, p.ID); err != nil {
			return err
		}
	}
	return nil
}

// metadataPort keeps the network's port for the metadata service, with an
// address on each subnet that has DHCP over IPv4 and one left.
func (m *Manager) metadataPort(ctx context.Context, n *network.Network) error {
	subnets, err := store.Select[network.Subnet](ctx, m.store, db.Where().Eq("network_id", n.ID).Eq("enable_dhcp", true).Eq("ip_version", 4))
	if err != nil {
		return err
	}
	ports, err := m.store.PortsOf(ctx, db.Where().Eq("network_id", n.ID).Eq("device_owner", network.OwnerDistributed))
	if err != nil || len(ports) == 0 && len(subnets) == 0 {
		return err
	}
	var p *network.Port
	if len(ports) > 0 {
		p = &ports[0]
	}
	var wishes []wish
	for i := range subnets {
		if p != nil {
			if f, ok := addressOn(p, subnets[i].ID); ok {
				wishes = append(wishes, f)
				continue
			}
		}
		if _, ok, err := m.free(ctx, &subnets[i], network.OwnerDistributed); err != nil {
			return err
		} else if ok {
			wishes = append(wishes, wish{SubnetID: subnets[i].ID})
		}
	}
	if p == nil {
		p = &network.Port{NetworkID: n.ID, AdminStateUp: true, DeviceOwner: network.OwnerDistributed, DeviceID: "ovnmeta-" + n.ID, VNICType: "normal"}
		p.ProjectID = n.ProjectID
		return m.addPort(ctx, p, n, portOptions{wishes: wishes, given: true, groups: true, security: true})
	}
	before := p.FixedIPs
	if err := m.assign(ctx, p, wishes, true); err != nil {
		return err
	}
	for _, f := range before {
		if err := m.mark(ctx, network.DirtySubnet, f.SubnetID); err != nil {
			return err
		}
	}
	return m.markPort(ctx, p)
}

func addressOn(p *network.Port, subnet string) (network.FixedIP, bool) {
	for _, f := range p.FixedIPs {
		if f.SubnetID == subnet {
			return f, true
		}
	}
	return network.FixedIP{}, false
}
