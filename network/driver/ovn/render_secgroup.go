package ovn

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tropocloud/tropo/lib/ovsdb"
	"github.com/tropocloud/tropo/network/driver"
)

// Priorities of ACLs: rules of groups over the default drop, protection from
// fake servers over the rules.
const (
	priorityDrop    = 1001
	priorityAllow   = 1002
	priorityProtect = 2000
)

// keyDrop is the group of all ports with port security: what no rule allows
// is dropped there.
const keyDrop = "base/drop"

const dropGroup = "tropo_pg_drop"

func keyGroup(id string) string { return "security-group/" + id }

// groupName is a group's name in expressions; OVN derives the address sets
// NAME_ip4 and NAME_ip6 from it.
func groupName(id string) string { return "tropo_pg_" + identifier(id) }

func addressSetName(id string, v6 bool) string {
	if v6 {
		return "tropo_ag6_" + identifier(id)
	}
	return "tropo_ag4_" + identifier(id)
}

// members links a group to the ports that name it.
func members(v ovsdb.View, group string) map[string][]ref {
	var ports []ref
	for _, p := range v.Find(tableSwitchPort, indexGroup, group) {
		ports = append(ports, ref{tableSwitchPort, p.Get("external_ids", markKey)})
	}
	return map[string][]ref{"ports": ports}
}

// renderBase makes the group of all secured ports. Guests may ask for
// addresses, and may never answer such questions or advertise routers
// (CVE-2015-8914, CVE-2016-5362), whatever their groups allow.
func renderBase(v ovsdb.View) (*plan, error) {
	group := owned(base, tablePortGroup, keyDrop, ovsdb.Row{"name": dropGroup})
	group.links = members(v, keyDrop)
	p := &plan{rows: []row{group}}
	add := func(name, direction, action, match string, priority int, options map[string]string) {
		side := "inport"
		if direction == "to-lport" {
			side = "outport"
		}
		p.rows = append(p.rows, owned(base, tableACL, "base/"+name, ovsdb.Row{
			"direction": direction, "priority": priority, "action": action, "log": false,
			"match": side + " == @" + dropGroup + " && " + match, "options": options,
		}).in(tablePortGroup, keyDrop))
	}
	none := map[string]string{}
	add("drop-in", "to-lport", "drop", "ip", priorityDrop, none)
	add("drop-out", "from-lport", "drop", "ip", priorityDrop, none)
	add("dhcp4", "from-lport", "allow", "ip4 && udp.src == 68 && udp.dst == 67", priorityAllow, none)
	add("dhcp6", "from-lport", "allow", "ip6 && udp.src == 546 && udp.dst == 547", priorityAllow, none)
	add("dhcp4-server", "from-lport", "drop", "ip4 && udp.src == 67 && udp.dst == 68", priorityProtect, none)
	add("dhcp6-server", "from-lport", "drop", "ip6 && udp.src == 547 && udp.dst == 546", priorityProtect, none)
	// OVN lets neighbour discovery, advertisements included, pass the first
	// ACL stage before any rule; the stage after load balancing has no such
	// exception.
	add("router-advertisement", "from-lport", "drop", "icmp6.type == 134", priorityProtect, map[string]string{"apply-after-lb": "true"})
	return p, nil
}

// renderSecurityGroup makes a port group with an ACL per rule.
func renderSecurityGroup(g driver.SecurityGroup) render {
	return func(v ovsdb.View) (*plan, error) {
		o := driver.Object{Kind: driver.ObjectSecurityGroup, ID: g.ID}
		group := owned(o, tablePortGroup, keyGroup(g.ID), ovsdb.Row{"name": groupName(g.ID)})
		group.links = members(v, keyGroup(g.ID))
		group.marks = map[string]string{"tropo:name": g.Name}
		p := &plan{rows: []row{group}}
		action := "allow-related"
		if g.Stateless {
			action = "allow-stateless"
		}
		var problems []string
		seen := map[string]bool{}
		for _, r := range g.Rules {
			match, problem := aclMatch(g.ID, r)
			if problem == "" && (!driver.ValidID(r.ID) || seen[r.ID]) {
				problem = "bad or double id"
			}
			if problem != "" {
				problems = append(problems, fmt.Sprintf("rule %q: %s", r.ID, problem))
				continue
			}
			seen[r.ID] = true
			direction := "to-lport"
			if r.Direction == driver.Egress {
				direction = "from-lport"
			}
			p.rows = append(p.rows, owned(o, tableACL, "rule/"+r.ID, ovsdb.Row{
				"direction": direction, "priority": priorityAllow, "action": action, "match": match, "log": false, "options": map[string]string{},
			}).in(tablePortGroup, keyGroup(g.ID)))
		}
		return p, joinInvalid("Security group "+g.ID, problems)
	}
}

// renderAddressGroup makes an address set per family, for rules to name.
func renderAddressGroup(g driver.AddressGroup) render {
	return func(ovsdb.View) (*plan, error) {
		o := driver.Object{Kind: driver.ObjectAddressGroup, ID: g.ID}
		lists := map[bool][]string{}
		var problems []string
		for _, p := range g.Prefixes {
			if !p.IsValid() {
				problems = append(problems, "bad prefix")
				continue
			}
			v6 := !p.Addr().Is4()
			lists[v6] = append(lists[v6], p.Masked().String())
		}
		p := &plan{}
		for _, v6 := range []bool{false, true} {
			name := addressSetName(g.ID, v6)
			set := owned(o, tableAddressSet, name, ovsdb.Row{"name": name, "addresses": lists[v6]})
			set.marks = map[string]string{"tropo:name": g.Name}
			p.rows = append(p.rows, set)
		}
		return p, joinInvalid("Address group "+g.ID, problems)
	}
}

// aclMatch writes a rule as an expression (ovn-sb(5), Logical_Flow match), or
// says why it can't.
func aclMatch(group string, r driver.Rule) (match, problem string) {
	family, far := "ip4", "src"
	if r.IPv6 {
		family = "ip6"
	}
	var parts []string
	switch r.Direction {
	case driver.Ingress:
		parts = append(parts, "outport == @"+groupName(group))
	case driver.Egress:
		parts = append(parts, "inport == @"+groupName(group))
		far = "dst"
	default:
		return "", fmt.Sprintf("bad direction %q", r.Direction)
	}
	parts = append(parts, family)
	peer := family + "." + far + " == "
	switch {
	case r.Remote.IsValid():
		if r.Remote.Addr().Is4() == r.IPv6 {
			return "", "the remote prefix is of the other family"
		}
		if r.Remote.Bits() > 0 {
			parts = append(parts, peer+r.Remote.Masked().String())
		}
	case r.RemoteGroup != "":
		if !driver.ValidID(r.RemoteGroup) {
			return "", "bad remote group"
		}
		parts = append(parts, peer+"$"+groupName(r.RemoteGroup)+"_"+family)
	case r.RemoteAddressGroup != "":
		if !driver.ValidID(r.RemoteAddressGroup) {
			return "", "bad remote address group"
		}
		parts = append(parts, peer+"$"+addressSetName(r.RemoteAddressGroup, r.IPv6))
	}
	proto, problem := protocolMatch(r)
	if problem != "" {
		return "", problem
	}
	return strings.Join(append(parts, proto...), " && "), ""
}

// protocolNumber returns the number of the protocols that Neutron names;
// ICMP's depends on the family.
func protocolNumber(name string, v6 bool) (int, bool) {
	switch name {
	case "icmp", "icmpv6", "ipv6-icmp":
		if v6 {
			return 58, true
		}
		return 1, name == "icmp"
	}
	names := map[string]int{
		"tcp": 6, "udp": 17, "sctp": 132, "ah": 51, "dccp": 33, "egp": 8, "esp": 50, "gre": 47, "igmp": 2, "ipip": 4,
		"ipv6-encap": 41, "ipv6-frag": 44, "ipv6-nonxt": 59, "ipv6-opts": 60, "ipv6-route": 43, "hopopt": 0,
		"ospf": 89, "pgm": 113, "rsvp": 46, "udplite": 136, "vrrp": 112, "ip": 0,
	}
	if n, ok := names[name]; ok {
		return n, true
	}
	n, err := strconv.Atoi(name)
	return n, err == nil && n >= 0 && n <= 255
}

func protocolMatch(r driver.Rule) (parts []string, problem string) {
	if r.Protocol == "" || r.Protocol == "any" {
		if r.PortMin != nil || r.PortMax != nil {
			return nil, "ports without a protocol"
		}
		return nil, ""
	}
	n, ok := protocolNumber(strings.ToLower(r.Protocol), r.IPv6)
	if !ok {
		return nil, fmt.Sprintf("bad protocol %q", r.Protocol)
	}
	known := map[int]string{6: "tcp", 17: "udp", 132: "sctp", 1: "icmp4", 58: "icmp6"}
	name, ok := known[n]
	switch {
	case !ok:
		if r.PortMin != nil || r.PortMax != nil {
			return nil, fmt.Sprintf("protocol %q has no ports", r.Protocol)
		}
		return []string{fmt.Sprintf("ip.proto == %d", n)}, ""
	case (n == 1) == r.IPv6 && (n == 1 || n == 58):
		return nil, "the protocol is of the other family"
	case n == 1 || n == 58:
		return icmpMatch(name, r)
	}
	parts = []string{name}
	lo, hi := r.PortMin, r.PortMax
	for _, port := range []*int{lo, hi} {
		if port != nil && (*port < 0 || *port > 65535) {
			return nil, "port out of range"
		}
	}
	switch {
	case lo != nil && hi != nil && *lo > *hi:
		return nil, "the port range is reversed"
	case lo != nil && hi != nil && *lo == *hi:
		return append(parts, fmt.Sprintf("%s.dst == %d", name, *lo)), ""
	}
	if lo != nil {
		parts = append(parts, fmt.Sprintf("%s.dst >= %d", name, *lo))
	}
	if hi != nil {
		parts = append(parts, fmt.Sprintf("%s.dst <= %d", name, *hi))
	}
	return parts, ""
}

func icmpMatch(name string, r driver.Rule) (parts []string, problem string) {
	parts = []string{name}
	for _, f := range []struct {
		field string
		value *int
	}{{"type", r.PortMin}, {"code", r.PortMax}} {
		if f.value == nil {
			continue
		}
		if *f.value < 0 || *f.value > 255 {
			return nil, "ICMP " + f.field + " out of range"
		}
		parts = append(parts, fmt.Sprintf("%s.%s == %d", name, f.field, *f.value))
	}
	return parts, ""
}
