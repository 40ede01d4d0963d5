package agent

import (
	"cmp"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/driver"
)

// sorted returns a map's values by key, so that the work's order is the same
// each time.
func sorted[T any](m map[string]*T) []*T {
	out := make([]*T, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[k])
	}
	return out
}

// Render is the complete wanted state.
func (a *Agent) Render(st *network.State) driver.State {
	var out driver.State
	for _, n := range sorted(st.Networks) {
		out.Networks = append(out.Networks, renderNetwork(n))
	}
	for _, s := range sorted(st.Subnets) {
		out.Subnets = append(out.Subnets, a.renderSubnet(st, s))
	}
	for _, p := range sorted(st.Ports) {
		out.Ports = append(out.Ports, renderPort(st, p))
	}
	for _, g := range sorted(st.SecurityGroups) {
		out.SecurityGroups = append(out.SecurityGroups, renderGroup(g))
	}
	for _, g := range sorted(st.AddressGroups) {
		out.AddressGroups = append(out.AddressGroups, renderAddressGroup(g))
	}
	for _, r := range sorted(st.Routers) {
		out.Routers = append(out.Routers, renderRouter(st, r))
	}
	for _, f := range sorted(st.FloatingIPs) {
		if f.PortID != nil {
			out.FloatingIPs = append(out.FloatingIPs, renderFloatingIP(f))
		}
	}
	return out
}

func addr(s string) netip.Addr {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}
	}
	return a
}

func renderNetwork(n *network.Network) driver.Network {
	out := driver.Network{ID: n.ID, Name: n.Name, Type: n.NetworkType, MTU: n.MTU}
	if n.PhysicalNetwork != nil {
		out.Physical = *n.PhysicalNetwork
	}
	if n.NetworkType == network.TypeVLAN && n.SegmentationID != nil {
		out.VLAN = *n.SegmentationID
	}
	return out
}

// isMetadata says whether a port is its network's for the metadata service:
// the one that the service made, whatever a user's port may claim.
func isMetadata(p *network.Port) bool {
	return p.DeviceOwner == network.OwnerDistributed && p.DeviceID == "ovnmeta-"+p.NetworkID && p.HostID == ""
}

func kindOf(p *network.Port) driver.PortKind {
	switch {
	case isMetadata(p):
		return driver.KindMetadata
	case network.OfRouter(p.DeviceOwner) && p.HostID == "":
		return driver.KindRouter
	case p.DeviceOwner == network.OwnerFloatingIP:
		return driver.KindReserved
	}
	return driver.KindVIF
}

func renderPort(st *network.State, p *network.Port) driver.Port {
	out := driver.Port{
		ID: p.ID, NetworkID: p.NetworkID, Kind: kindOf(p), DeviceID: p.DeviceID, DeviceOwner: p.DeviceOwner, ProjectID: p.ProjectID, MAC: p.MAC,
		AdminUp: p.AdminStateUp, Host: p.HostID, PortSecurity: p.PortSecurity, SecurityGroups: p.Groups,
	}
	for _, f := range p.FixedIPs {
		a := driver.PortAddress{SubnetID: f.SubnetID, IP: addr(f.Address)}
		if s := st.Subnets[f.SubnetID]; s != nil && out.Kind == driver.KindMetadata {
			a.Bits = s.Prefix().Bits()
		}
		out.Addresses = append(out.Addresses, a)
	}
	if n := st.Networks[p.NetworkID]; n != nil && out.Kind == driver.KindMetadata {
		out.MTU = n.MTU
	}
	for _, q := range p.AllowedPairs {
		if px, err := network.ParsePrefix(q.IP); err == nil {
			out.AllowedPairs = append(out.AllowedPairs, driver.AddressPair{MAC: q.MAC, Prefix: px})
		}
	}
	for _, o := range p.DHCPOptions {
		out.DHCPOptions = append(out.DHCPOptions, driver.DHCPOption{Name: o.Name, Value: o.Value, IPv6: o.IPVersion == 6})
	}
	return out
}

func (a *Agent) renderSubnet(st *network.State, s *network.Subnet) driver.Subnet {
	slaac := s.AddressMode != nil && *s.AddressMode == "slaac"
	out := driver.Subnet{
		ID: s.ID, NetworkID: s.NetworkID, CIDR: s.Prefix(), DHCP: s.EnableDHCP && !slaac, Gateway: s.Gateway(),
		Domain: strings.TrimSuffix(a.o.Domain, "."), Stateless: s.AddressMode != nil && *s.AddressMode == "dhcpv6-stateless",
	}
	if n := st.Networks[s.NetworkID]; n != nil {
		out.MTU = n.MTU
	}
	for _, d := range s.DNS {
		out.DNS = append(out.DNS, addr(d))
	}
	out.HostRoutes = renderRoutes(s.HostRoutes)
	for _, p := range sorted(st.Ports) {
		if !isMetadata(p) {
			continue
		}
		for _, f := range p.FixedIPs {
			if f.SubnetID == s.ID {
				out.Metadata = addr(f.Address)
			}
		}
	}
	return out
}

func renderRoutes(list []network.Route) []driver.Route {
	var out []driver.Route
	for _, r := range list {
		if px, err := network.ParsePrefix(r.Destination); err == nil {
			out = append(out, driver.Route{Destination: px, NextHop: addr(r.NextHop)})
		}
	}
	return out
}

func renderGroup(g *network.SecurityGroup) driver.SecurityGroup {
	out := driver.SecurityGroup{ID: g.ID, Name: g.Name, Stateless: !g.Stateful}
	for i := range g.Rules {
		r := &g.Rules[i]
		d := driver.Rule{ID: r.ID, Direction: driver.Direction(r.Direction), IPv6: r.Ethertype == "IPv6", PortMin: r.PortMin, PortMax: r.PortMax}
		if r.Protocol != nil {
			d.Protocol = *r.Protocol
		}
		if r.RemoteIP != nil {
			px, err := network.ParsePrefix(*r.RemoteIP)
			if err != nil {
				continue // a rule that can't be expressed allows nothing
			}
			if px.Bits() > 0 {
				d.Remote = px
			}
		}
		if r.RemoteGroupID != nil {
			d.RemoteGroup = *r.RemoteGroupID
		}
		if r.RemoteAddrs != nil {
			d.RemoteAddressGroup = *r.RemoteAddrs
		}
		out.Rules = append(out.Rules, d)
	}
	return out
}

func renderAddressGroup(g *network.AddressGroup) driver.AddressGroup {
	out := driver.AddressGroup{ID: g.ID, Name: g.Name}
	for _, s := range g.Addresses {
		if px, err := network.ParsePrefix(s); err == nil {
			out.Prefixes = append(out.Prefixes, px)
		}
	}
	return out
}

// leg is what interfaces and gateways have in common.
func leg(st *network.State, p *network.Port) (prefixes []netip.Prefix, hops []netip.Addr, ra string, mtu int) {
	for _, f := range p.FixedIPs {
		s := st.Subnets[f.SubnetID]
		if s == nil {
			continue
		}
		prefixes = append(prefixes, netip.PrefixFrom(addr(f.Address), s.Prefix().Bits()))
		if s.RAMode != nil {
			ra = *s.RAMode
		}
		if gw := s.Gateway(); gw.IsValid() {
			hops = append(hops, gw)
		}
	}
	if n := st.Networks[p.NetworkID]; n != nil {
		mtu = n.MTU
	}
	return prefixes, hops, ra, mtu
}

func renderRouter(st *network.State, r *network.Router) driver.Router {
	out := driver.Router{ID: r.ID, Name: r.Name, AdminUp: r.AdminStateUp, Routes: renderRoutes(r.Routes)}
	for _, p := range sorted(st.Ports) {
		if p.DeviceID != r.ID || !network.OfRouter(p.DeviceOwner) || p.HostID != "" {
			continue
		}
		prefixes, hops, ra, mtu := leg(st, p)
		if len(prefixes) == 0 {
			continue // nothing to route to, as on an external network without subnets
		}
		if p.DeviceOwner == network.OwnerRouterInterface {
			out.Interfaces = append(out.Interfaces, driver.RouterInterface{PortID: p.ID, NetworkID: p.NetworkID, MAC: p.MAC, Addresses: prefixes, MTU: mtu, IPv6RA: ra})
		} else if r.GatewayPort != nil && *r.GatewayPort == p.ID {
			out.Gateway = &driver.RouterGateway{PortID: p.ID, NetworkID: p.NetworkID, MAC: p.MAC, Addresses: prefixes, NextHops: hops, SNAT: r.EnableSNAT, MTU: mtu, Hosts: gatewayHosts(r.ID, st.GatewayHosts)}
		}
	}
	return out
}

// gatewayHosts orders the hosts for a router: routers spread over all, and one
// that comes or goes moves only the gateways that it gets or had (rendezvous
// hashing).
func gatewayHosts(router string, hosts []string) []string {
	weight := func(host string) uint64 {
		h := fnv.New64a()
		_, _ = h.Write([]byte(router + "/" + host)) // never fails
		return h.Sum64()
	}
	out := slices.Clone(hosts)
	slices.SortFunc(out, func(a, b string) int { return cmp.Compare(weight(b), weight(a)) })
	return out
}

func renderFloatingIP(f *network.FloatingIP) driver.FloatingIP {
	out := driver.FloatingIP{ID: f.ID, External: addr(f.Address), PortID: *f.PortID}
	if f.RouterID != nil {
		out.RouterID = *f.RouterID
	}
	if f.FixedIP != nil {
		out.Fixed = addr(*f.FixedIP)
	}
	return out
}

// providerAddress is the address that the host holds for an external subnet:
// the gateway, where the subnet's network is the one that leads to the host.
func (a *Agent) providerAddress(st *network.State, s *network.Subnet) netip.Prefix {
	n := st.Networks[s.NetworkID]
	if n == nil || !n.External || n.NetworkType != network.TypeFlat || n.PhysicalNetwork == nil || *n.PhysicalNetwork != a.o.External {
		return netip.Prefix{}
	}
	return s.GatewayPrefix()
}
