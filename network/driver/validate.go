package driver

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/tropocloud/tropo/fault"
)

// ValidID reports whether s can be an object's id in the dataplane: letters,
// digits, "-", "_" and ".", at most 64.
func ValidID(s string) bool {
	return s != "" && len(s) <= 64 && !slices.ContainsFunc([]byte(s), func(b byte) bool {
		return !(b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '-' || b == '_' || b == '.')
	})
}

// NormalMAC returns a 48-bit unicast address in lower case with colons; ok is
// false when s is none.
func NormalMAC(s string) (mac string, ok bool) {
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != 6 || hw[0]&1 == 1 {
		return "", false
	}
	return hw.String(), true
}

// Numbers of the protocols that have ports, or ICMP's types (IANA).
const (
	ProtocolICMP   = 1
	ProtocolTCP    = 6
	ProtocolUDP    = 17
	ProtocolICMPv6 = 58
	ProtocolSCTP   = 132
)

// ProtocolNumber returns the IP protocol of the rule as Neutron names it; any
// is true for rules on all protocols. ok is false for an unknown one.
func (r Rule) ProtocolNumber() (number int, anyProtocol, ok bool) {
	name := strings.ToLower(r.Protocol)
	switch name {
	case "", "any":
		return 0, true, true
	case "icmp":
		if r.IPv6 {
			return ProtocolICMPv6, false, true
		}
		return ProtocolICMP, false, true
	case "icmpv6", "ipv6-icmp":
		return ProtocolICMPv6, false, true
	}
	names := map[string]int{
		"tcp": ProtocolTCP, "udp": ProtocolUDP, "sctp": ProtocolSCTP, "ah": 51, "dccp": 33, "egp": 8, "esp": 50, "gre": 47,
		"igmp": 2, "ipip": 4, "ipv6-encap": 41, "ipv6-frag": 44, "ipv6-nonxt": 59, "ipv6-opts": 60, "ipv6-route": 43,
		"ospf": 89, "pgm": 113, "rsvp": 46, "udplite": 136, "vrrp": 112, "ip": 0, "hopopt": 0,
	}
	if n, known := names[name]; known {
		return n, false, true
	}
	n, err := strconv.Atoi(name)
	return n, false, err == nil && n >= 0 && n <= 255
}

// Validate says why a rule can't be applied.
func (r Rule) Validate() error {
	n, anyProtocol, ok := r.ProtocolNumber()
	ported := n == ProtocolTCP || n == ProtocolUDP || n == ProtocolSCTP
	icmp := n == ProtocolICMP || n == ProtocolICMPv6
	limit := 65535
	if icmp {
		limit = 255
	}
	switch {
	case !ValidID(r.ID):
		return fault.Invalidf("rule %q: bad id", r.ID)
	case r.Direction != Ingress && r.Direction != Egress:
		return fault.Invalidf("rule %s: bad direction %q", r.ID, r.Direction)
	case !ok:
		return fault.Invalidf("rule %s: bad protocol %q", r.ID, r.Protocol)
	case !anyProtocol && icmp && (n == ProtocolICMPv6) != r.IPv6:
		return fault.Invalidf("rule %s: protocol %q is of the other family", r.ID, r.Protocol)
	case r.Remote.IsValid() && r.Remote.Addr().Is4() == r.IPv6:
		return fault.Invalidf("rule %s: remote prefix %s is of the other family", r.ID, r.Remote)
	case r.RemoteGroup != "" && !ValidID(r.RemoteGroup), r.RemoteAddressGroup != "" && !ValidID(r.RemoteAddressGroup):
		return fault.Invalidf("rule %s: bad remote group", r.ID)
	case r.PortMin == nil && r.PortMax == nil:
		return nil
	case anyProtocol || !ported && !icmp:
		return fault.Invalidf("rule %s: protocol %q has no ports", r.ID, r.Protocol)
	case !inRange(r.PortMin, limit) || !inRange(r.PortMax, limit):
		return fault.Invalidf("rule %s: port or ICMP type out of range", r.ID)
	case ported && r.PortMin != nil && r.PortMax != nil && *r.PortMin > *r.PortMax:
		return fault.Invalidf("rule %s: the port range is reversed", r.ID)
	}
	return nil
}

func inRange(v *int, limit int) bool { return v == nil || *v >= 0 && *v <= limit }

// Validate says why a pair can't be applied.
func (p AddressPair) Validate() error {
	if _, ok := NormalMAC(p.MAC); p.MAC != "" && !ok {
		return fault.Invalidf("bad MAC address %q in allowed address pairs", p.MAC)
	}
	if !p.Prefix.IsValid() {
		return fault.Invalidf("bad prefix in allowed address pairs")
	}
	return nil
}

// Validate says why a route can't be applied.
func (r Route) Validate() error {
	if !r.Destination.IsValid() || !r.NextHop.IsValid() || r.NextHop.Zone() != "" || r.Destination.Addr().Is4() != r.NextHop.Is4() {
		return fault.Invalidf("bad route %s via %s", r.Destination, r.NextHop)
	}
	return nil
}

// Validate says why a mapping can't be applied.
func (f FloatingIP) Validate() error {
	if !f.External.Is4() || !f.Fixed.Is4() || !ValidID(f.RouterID) {
		return fault.Invalidf("Floating IP %s: %s to %s is not an IPv4 mapping of a router.", f.ID, f.External, f.Fixed)
	}
	if _, ok := NormalMAC(f.MAC); f.Distributed && (!ok || !ValidID(f.PortID)) {
		return fault.Invalidf("Floating IP %s: distributed without port or MAC address.", f.ID)
	}
	return nil
}

// Validate says why a network can't be made.
func (n Network) Validate() error {
	switch {
	case !ValidID(n.ID):
		return fault.Invalidf("Invalid network id %q.", n.ID)
	case n.Type == TypeGeneve:
		return nil
	case n.Type != TypeFlat && n.Type != TypeVLAN:
		return fault.Invalidf("Network %s: type %q is not supported.", n.ID, n.Type)
	case n.Physical == "":
		return fault.Invalidf("Network %s of type %q has no physical network.", n.ID, n.Type)
	case n.Type == TypeVLAN && (n.VLAN < 1 || n.VLAN > 4094):
		return fault.Invalidf("Network %s: segmentation id %d is no VLAN.", n.ID, n.VLAN)
	}
	return nil
}
