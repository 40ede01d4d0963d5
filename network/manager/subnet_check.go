package manager

import (
	"net/netip"
	"slices"

	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/ipam"
)

// checkSubnet checks what must hold between a subnet's attributes.
func (m *Manager) checkSubnet(s *network.Subnet) error {
	px := s.Prefix()
	if s.EnableDHCP {
		if s.IPVersion == 4 && px.Bits() > 30 || px.Bits() > 126 {
			return invalid("Subnet has a prefix length that is incompatible with DHCP service enabled")
		}
		if px.Addr().IsMulticast() {
			return invalid("Multicast IP subnet is not supported if enable_dhcp is True.")
		}
		if px.Addr().IsLoopback() {
			return invalid("Loopback IP subnet is not supported if enable_dhcp is True.")
		}
	}
	if err := checkModes(s); err != nil {
		return err
	}
	if err := checkGateway(s); err != nil {
		return err
	}
	if err := checkPools(s); err != nil {
		return err
	}
	return m.checkLists(s)
}

func checkModes(s *network.Subnet) error {
	if s.RAMode == nil && s.AddressMode == nil {
		return nil
	}
	if s.IPVersion == 4 {
		return invalid("ipv6_ra_mode and ipv6_address_mode are not valid when ip_version is 4.")
	}
	if !s.EnableDHCP {
		return invalid("ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is set to False.")
	}
	if s.RAMode != nil && s.AddressMode != nil && *s.RAMode != *s.AddressMode {
		return invalid("ipv6_ra_mode set to '%s' with ipv6_address_mode set to '%s' is not valid. If both attributes are set, they must be the same value", *s.RAMode, *s.AddressMode)
	}
	if px := s.Prefix(); s.Auto() && px.Bits() != 64 {
		return invalid("Invalid CIDR %s for IPv6 address mode. OpenStack uses the EUI-64 address format, which requires the prefix to be /64", s.CIDR)
	}
	return nil
}

func checkGateway(s *network.Subnet) error {
	if s.GatewayIP == nil {
		return nil
	}
	gw, err := netip.ParseAddr(*s.GatewayIP)
	if err != nil || gw.Zone() != "" {
		return invalid("Gateway '%s' is not a valid IP address.", *s.GatewayIP)
	}
	if gw.Is4() != (s.IPVersion == 4) {
		return invalid("gateway_ip '%s' does not match the ip_version '%d'", *s.GatewayIP, s.IPVersion)
	}
	text := gw.String()
	s.GatewayIP = &text
	if px := s.Prefix(); gw.Is4() && px.Contains(gw) && !ipam.Hosts(px).Contains(gw) {
		return invalid("Gateway is not valid on subnet")
	}
	return nil
}

func checkPools(s *network.Subnet) error {
	px := s.Prefix()
	hosts := ipam.Hosts(px)
	if s.IPVersion == 6 {
		hosts = ipam.Range{Start: px.Addr(), End: ipam.Last(px)}
	}
	var ranges []ipam.Range
	for i := range s.Pools {
		p := &s.Pools[i]
		a, err1 := netip.ParseAddr(p.Start)
		b, err2 := netip.ParseAddr(p.End)
		if err1 != nil || err2 != nil || b.Less(a) || a.Is4() != b.Is4() {
			return bad("InvalidAllocationPool", "The allocation pool %s-%s is not valid.", p.Start, p.End)
		}
		if a.Is4() != (s.IPVersion == 4) || !hosts.Contains(a) || !hosts.Contains(b) {
			return bad("OutOfBoundsAllocationPool", "The allocation pool %s-%s spans beyond the subnet cidr %s.", p.Start, p.End, s.CIDR)
		}
		r := ipam.Range{Start: a, End: b}
		if gw := s.Gateway(); gw.IsValid() && r.Contains(gw) {
			return conflict("GatewayConflictWithAllocationPools", "Gateway ip %s conflicts with allocation pool %s-%s.", gw, p.Start, p.End)
		}
		for _, o := range ranges {
			if o.Contains(a) || r.Contains(o.Start) {
				return conflict("OverlappingAllocationPools", "Found overlapping allocation pools: %s-%s %s-%s for subnet %s.", o.Start, o.End, a, b, s.CIDR)
			}
		}
		ranges = append(ranges, r)
		p.Start, p.End = a.String(), b.String()
	}
	return nil
}

func (m *Manager) checkLists(s *network.Subnet) error {
	if len(s.DNS) > m.conf.MaxDNS {
		return bad("DNSNameServersExhausted", "Unable to complete operation for %s. The number of DNS nameservers exceeds the limit %d.", s.ID, m.conf.MaxDNS)
	}
	if len(s.HostRoutes) > m.conf.MaxHostRoutes {
		return bad("HostRoutesExhausted", "Unable to complete operation for %s. The number of host routes exceeds the limit %d.", s.ID, m.conf.MaxHostRoutes)
	}
	for i, d := range s.DNS {
		a, err := netip.ParseAddr(d)
		if err != nil {
			return invalid("DNS nameserver '%s' is not a valid IP address.", d)
		}
		if a.Is4() != (s.IPVersion == 4) {
			return invalid("nameserver address '%s' does not match the ip_version '%d'", d, s.IPVersion)
		}
		if slices.Contains(s.DNS[:i], d) {
			return bad("HTTPBadRequest", "Invalid input for dns_nameservers. Reason: Duplicate nameserver '%s'.", d)
		}
	}
	for _, r := range s.HostRoutes {
		px, err := network.ParsePrefix(r.Destination)
		hop, err2 := netip.ParseAddr(r.NextHop)
		if err != nil || err2 != nil {
			return invalid("Invalid route: destination %s, nexthop %s.", r.Destination, r.NextHop)
		}
		if px.Addr().Is4() != (s.IPVersion == 4) || hop.Is4() != px.Addr().Is4() {
			return invalid("route destination '%s' or nexthop '%s' does not match the ip_version '%d'", r.Destination, r.NextHop, s.IPVersion)
		}
	}
	return nil
}
