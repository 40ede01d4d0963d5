package network

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/tropocloud/tropo/fault"
)

// SecurityGroup is a set of rules for ports.
type SecurityGroup struct {
	Standard
	Name      string                  `json:"name" db:"name"`
	Stateful  bool                    `json:"stateful" db:"stateful"`
	IsDefault bool                    `json:"is_default" db:"is_default"`
	Rules     List[SecurityGroupRule] `json:"security_group_rules" db:"-"`
	Shared    bool                    `json:"shared" db:"-"`
}

// SecurityGroupRule allows traffic.
type SecurityGroupRule struct {
	Standard
	GroupID        string  `json:"security_group_id" db:"security_group_id"`
	Direction      string  `json:"direction" db:"direction"`
	Ethertype      string  `json:"ethertype" db:"ethertype"`
	Protocol       *string `json:"protocol" db:"protocol"`
	PortMin        *int    `json:"port_range_min" db:"port_range_min"`
	PortMax        *int    `json:"port_range_max" db:"port_range_max"`
	RemoteIP       *string `json:"remote_ip_prefix" db:"remote_ip_prefix"`
	RemoteGroupID  *string `json:"remote_group_id" db:"remote_group_id"`
	RemoteAddrs    *string `json:"remote_address_group_id" db:"remote_address_group_id"`
	NormalizedCIDR *string `json:"normalized_cidr" db:"-"`
	BelongsDefault bool    `json:"belongs_to_default_sg" db:"-"`
	// SameKey is unique: the rule's meaning, by which duplicates are refused.
	SameKey string `json:"-" db:"same_key"`
}

// DefaultRule is a rule that new security groups get.
type DefaultRule struct {
	Standard
	Direction     string  `json:"direction" db:"direction"`
	Ethertype     string  `json:"ethertype" db:"ethertype"`
	Protocol      *string `json:"protocol" db:"protocol"`
	PortMin       *int    `json:"port_range_min" db:"port_range_min"`
	PortMax       *int    `json:"port_range_max" db:"port_range_max"`
	RemoteIP      *string `json:"remote_ip_prefix" db:"remote_ip_prefix"`
	RemoteGroupID *string `json:"remote_group_id" db:"remote_group_id"`
	RemoteAddrs   *string `json:"remote_address_group_id" db:"remote_address_group_id"`
	InDefault     bool    `json:"used_in_default_sg" db:"in_default"`
	InOther       bool    `json:"used_in_non_default_sg" db:"in_other"`
	SameKey       string  `json:"-" db:"same_key"`
}

// Parent stands in a DefaultRule's remote group for the group that gets it.
const Parent = "PARENT"

// For is the rule as a group has it.
func (d *DefaultRule) For(group, project string) *SecurityGroupRule {
	r := &SecurityGroupRule{
		GroupID: group, Direction: d.Direction, Ethertype: d.Ethertype, Protocol: d.Protocol, PortMin: d.PortMin, PortMax: d.PortMax,
		RemoteIP: d.RemoteIP, RemoteGroupID: d.RemoteGroupID, RemoteAddrs: d.RemoteAddrs,
	}
	r.ProjectID, r.Description = project, d.Description
	if r.RemoteGroupID != nil && *r.RemoteGroupID == Parent {
		r.RemoteGroupID = &group
	}
	return r
}

// AddressGroup is a named set of prefixes.
type AddressGroup struct {
	Standard
	Name      string       `json:"name" db:"name"`
	Addresses List[string] `json:"addresses" db:"addresses"`
	Shared    bool         `json:"shared" db:"-"`
}

// protocols has the names that rules may use (IANA protocol numbers).
func protocols() map[string]int {
	return map[string]int{
		"ah": 51, "dccp": 33, "egp": 8, "esp": 50, "gre": 47, "hopopt": 0, "icmp": 1, "icmpv6": 58, "igmp": 2, "ip": 0, "ipip": 4,
		"ipv6-encap": 41, "ipv6-frag": 44, "ipv6-icmp": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "ipv6-route": 43,
		"ospf": 89, "pgm": 113, "rsvp": 46, "sctp": 132, "tcp": 6, "udp": 17, "udplite": 136, "vrrp": 112,
	}
}

// ProtocolNumber returns the number of a protocol's name or number; ok is
// false for what is neither.
func ProtocolNumber(p string) (n int, ok bool) {
	if n, ok := protocols()[strings.ToLower(p)]; ok {
		return n, true
	}
	n, err := strconv.Atoi(p)
	return n, err == nil && n >= 0 && n <= 255
}

// WithPorts reports whether the dataplane can tell a protocol's ports.
func WithPorts(n int) bool { return slices.Contains([]int{6, 17, 132}, n) }

// Validate brings a new rule into its normal form and refuses what the
// dataplane could not express (CVE-2014-0187, CVE-2019-9735, CVE-2019-10876).
func (r *SecurityGroupRule) Validate() error {
	if r.Ethertype == "" {
		r.Ethertype = "IPv4"
	}
	remotes := 0
	for _, p := range []*string{r.RemoteIP, r.RemoteGroupID, r.RemoteAddrs} {
		if p != nil {
			remotes++
		}
	}
	if remotes > 1 {
		return fault.Invalidf("Only remote_ip_prefix or remote_group_id or remote_address_group_id may be provided.").WithType("SecurityGroupMultipleRemoteEntitites")
	}
	if err := r.validateProtocol(); err != nil {
		return err
	}
	return r.validatePrefix()
}

func (r *SecurityGroupRule) validateProtocol() error {
	if r.Protocol == nil {
		if r.PortMin != nil || r.PortMax != nil {
			return fault.Invalidf("Must also specify protocol if port range is given.").WithType("SecurityGroupProtocolRequiredWithPorts")
		}
		return nil
	}
	p := strings.ToLower(*r.Protocol)
	if p == "any" || p == "" {
		r.Protocol = nil
		return r.validateProtocol()
	}
	n, ok := ProtocolNumber(p)
	if !ok {
		return fault.Invalidf("Security group rule protocol %s not supported. Only protocol values %s and integer representations [0 to 255] are supported.", *r.Protocol, protocolNames()).WithType("SecurityGroupRuleInvalidProtocol")
	}
	v6only := slices.Contains([]int{41, 43, 44, 58, 59, 60}, n)
	if r.Ethertype == "IPv4" && v6only {
		return fault.Invalidf("Invalid ethertype %s for protocol %s.", r.Ethertype, p).WithType("SecurityGroupEthertypeConflictWithProtocol")
	}
	if p == "icmpv6" || n == 58 && p != "58" {
		p = "ipv6-icmp"
	}
	if p == "icmp" && r.Ethertype == "IPv6" {
		p, n = "ipv6-icmp", 58
	}
	r.Protocol = &p
	switch {
	case WithPorts(n):
		return r.validatePorts()
	case n == 1 || n == 58:
		return r.validateICMP()
	case r.PortMin != nil || r.PortMax != nil:
		return fault.Invalidf("Invalid port for protocol %s: port ranges may only be given for protocols with ports.", p).WithType("SecurityGroupInvalidProtocolForPort")
	}
	return nil
}

func protocolNames() string {
	var names []string
	for n := range protocols() {
		names = append(names, n)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func (r *SecurityGroupRule) validatePorts() error {
	for _, p := range []*int{r.PortMin, r.PortMax} {
		if p != nil && (*p < 0 || *p > 65535) {
			return fault.Invalidf("Invalid value for port %d", *p).WithType("SecurityGroupInvalidPortValue")
		}
	}
	if r.PortMin == nil && r.PortMax == nil {
		return nil
	}
	if r.PortMin != nil && r.PortMax == nil {
		v := *r.PortMin
		r.PortMax = &v
	}
	if r.PortMin == nil || *r.PortMin > *r.PortMax {
		return fault.Invalidf("For TCP/UDP protocols, port_range_min must be <= port_range_max").WithType("SecurityGroupInvalidPortRange")
	}
	if *r.PortMin == 0 && *r.PortMax != 0 {
		return fault.Invalidf("Invalid value for port 0").WithType("SecurityGroupInvalidPortValue")
	}
	return nil
}

func (r *SecurityGroupRule) validateICMP() error {
	if r.PortMax != nil && r.PortMin == nil {
		return fault.Invalidf("ICMP code (port-range-max) %d is provided but ICMP type (port-range-min) is missing.", *r.PortMax).WithType("SecurityGroupMissingIcmpType")
	}
	if r.PortMin != nil && (*r.PortMin < 0 || *r.PortMin > 255) {
		return fault.Invalidf("Invalid value for ICMP type (port-range-min) %d. It must be 0 to 255.", *r.PortMin).WithType("SecurityGroupInvalidIcmpValue")
	}
	if r.PortMax != nil && (*r.PortMax < 0 || *r.PortMax > 255) {
		return fault.Invalidf("Invalid value for ICMP code (port-range-max) %d. It must be 0 to 255.", *r.PortMax).WithType("SecurityGroupInvalidIcmpValue")
	}
	return nil
}

func (r *SecurityGroupRule) validatePrefix() error {
	if r.RemoteIP == nil {
		return nil
	}
	p, err := ParsePrefix(*r.RemoteIP)
	if err != nil {
		return fault.Invalidf("Invalid CIDR %s given as IP prefix.", *r.RemoteIP).WithType("InvalidCIDR")
	}
	if p.Addr().Is4() != (r.Ethertype == "IPv4") {
		return fault.Invalidf("Conflicting value ethertype %s for CIDR %s", r.Ethertype, *r.RemoteIP).WithType("SecurityGroupRuleParameterConflict")
	}
	// Kept as given: clients compare what they sent. Its meaning is the
	// normalized_cidr.
	s := *r.RemoteIP
	if !strings.Contains(s, "/") {
		s = p.String()
	}
	r.RemoteIP = &s
	return nil
}

// Same is the rule's meaning as text: two rules of a group with the same text
// are duplicates.
func (r *SecurityGroupRule) Same() string {
	text := func(s *string) string {
		if s == nil {
			return "-"
		}
		return *s
	}
	num := func(n *int) string {
		if n == nil {
			return "-"
		}
		return strconv.Itoa(*n)
	}
	proto := "-"
	if r.Protocol != nil {
		n, _ := ProtocolNumber(*r.Protocol)
		proto = strconv.Itoa(n)
	}
	prefix := "-"
	if r.RemoteIP != nil {
		if p, err := ParsePrefix(*r.RemoteIP); err == nil && p.Bits() > 0 {
			prefix = p.String()
		}
	}
	return strings.Join([]string{r.GroupID, r.Direction, r.Ethertype, proto, num(r.PortMin), num(r.PortMax), prefix, text(r.RemoteGroupID), text(r.RemoteAddrs)}, "/")
}

// ParsePrefix reads a CIDR or a single address, and clears the host bits.
func ParsePrefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, fault.Invalidf("'%s' is not a valid IP address.", s)
		}
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fault.Invalidf("'%s' is not a valid IP subnet.", s)
	}
	return p.Masked(), nil
}
