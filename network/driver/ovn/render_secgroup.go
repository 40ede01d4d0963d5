package ovn

import (
	"fmt"
	"strings"

	"github.com/tropocloud/tropo/fault"
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
// addresses, and may never answer such questions (CVE-2015-8914,
// CVE-2016-5362), whatever their groups allow. Router advertisements can't be
// filtered here: northd (23.03) lets neighbour discovery, advertisements
// included, pass before any ACL. Port security checks sources and targets of
// the rest of neighbour discovery.
func renderBase(v ovsdb.View) (*plan, error) {
	group := owned(base, tablePortGroup, keyDrop, ovsdb.Row{"name": dropGroup})
	group.links = members(v, keyDrop)
	p := &plan{rows: []row{group}}
	add := func(name, direction, action, match string, priority int) {
		side := "inport"
		if direction == "to-lport" {
			side = "outport"
		}
		p.rows = append(p.rows, owned(base, tableACL, "base/"+name, ovsdb.Row{
			"direction": direction, "priority": priority, "action": action, "log": false,
			"match": side + " == @" + dropGroup + " && " + match, "options": map[string]string{},
		}).in(tablePortGroup, keyDrop))
	}
	add("drop-in", "to-lport", "drop", "ip", priorityDrop)
	add("drop-out", "from-lport", "drop", "ip", priorityDrop)
	add("dhcp4", "from-lport", "allow", "ip4 && udp.src == 68 && udp.dst == 67", priorityAllow)
	add("dhcp6", "from-lport", "allow", "ip6 && udp.src == 546 && udp.dst == 547", priorityAllow)
	add("dhcp4-server", "from-lport", "drop", "ip4 && udp.src == 67 && udp.dst == 68", priorityProtect)
	add("dhcp6-server", "from-lport", "drop", "ip6 && udp.src == 547 && udp.dst == 546", priorityProtect)
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
			err := r.Validate()
			if err == nil && seen[r.ID] {
				err = fault.Invalidf("rule %s is there twice", r.ID)
			}
			if err != nil {
				problems = append(problems, err.Error())
				continue
			}
			seen[r.ID] = true
			direction := "to-lport"
			if r.Direction == driver.Egress {
				direction = "from-lport"
			}
			p.rows = append(p.rows, owned(o, tableACL, "rule/"+r.ID, ovsdb.Row{
				"direction": direction, "priority": priorityAllow, "action": action, "match": aclMatch(g.ID, r), "log": false, "options": map[string]string{},
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

// aclMatch writes a valid rule as an expression (ovn-sb(5), Logical_Flow match).
func aclMatch(group string, r driver.Rule) string {
	family, port, far := "ip4", "outport", "src"
	if r.IPv6 {
		family = "ip6"
	}
	if r.Direction == driver.Egress {
		port, far = "inport", "dst"
	}
	parts := []string{port + " == @" + groupName(group), family}
	peer := family + "." + far + " == "
	switch {
	case r.Remote.IsValid() && r.Remote.Bits() > 0:
		parts = append(parts, peer+r.Remote.Masked().String())
	case r.RemoteGroup != "":
		parts = append(parts, peer+"$"+groupName(r.RemoteGroup)+"_"+family)
	case r.RemoteAddressGroup != "":
		parts = append(parts, peer+"$"+addressSetName(r.RemoteAddressGroup, r.IPv6))
	}
	return strings.Join(append(parts, protocolMatch(r)...), " && ")
}

func protocolMatch(r driver.Rule) []string {
	n, all, _ := r.ProtocolNumber()
	if all {
		return nil
	}
	names := map[int]string{
		driver.ProtocolTCP: "tcp", driver.ProtocolUDP: "udp", driver.ProtocolSCTP: "sctp", driver.ProtocolICMP: "icmp4", driver.ProtocolICMPv6: "icmp6",
	}
	name, known := names[n]
	if !known {
		return []string{fmt.Sprintf("ip.proto == %d", n)}
	}
	parts := []string{name}
	lo, hi := r.PortMin, r.PortMax
	if n == driver.ProtocolICMP || n == driver.ProtocolICMPv6 {
		if lo != nil {
			parts = append(parts, fmt.Sprintf("%s.type == %d", name, *lo))
		}
		if hi != nil {
			parts = append(parts, fmt.Sprintf("%s.code == %d", name, *hi))
		}
		return parts
	}
	if lo != nil && hi != nil && *lo == *hi {
		return append(parts, fmt.Sprintf("%s.dst == %d", name, *lo))
	}
	if lo != nil {
		parts = append(parts, fmt.Sprintf("%s.dst >= %d", name, *lo))
	}
	if hi != nil {
		parts = append(parts, fmt.Sprintf("%s.dst <= %d", name, *hi))
	}
	return parts
}
