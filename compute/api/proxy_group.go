package api

import (
	"encoding/json"
	"net/netip"
	"strings"

	"github.com/tropocloud/tropo/compute/manager"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/rest"
)

// proxyUntil is the last microversion with what other services do today.
const proxyUntil = "2.35"

// groupProxyRoutes are the security groups of the network service as they
// looked before it.
func (a *api) groupProxyRoutes() []rest.Route {
	const g, u = "/v2.1/os-security-groups", "/v2.1/os-security-group-rules"
	old := rest.Until(proxyUntil)
	return []rest.Route{
		rest.GET(g, a.listGroupsOfNetwork, can("os-security-groups:get"), old),
		rest.POST(g, a.createGroupOfNetwork, can("os-security-groups:create"), old, a.s.body("secgroup")),
		rest.GET(g+"/{group}", a.showGroupOfNetwork, can("os-security-groups:show"), old),
		rest.PUT(g+"/{group}", a.updateGroupOfNetwork, can("os-security-groups:update"), old, a.s.body("secgroup")),
		rest.DELETE(g+"/{group}", a.deleteGroupOfNetwork, can("os-security-groups:delete"), old, rest.Status(202)),
		rest.POST(u, a.createRule, can("os-security-groups:rule:create"), old, a.s.body("secgroup_rule")),
		rest.DELETE(u+"/{rule}", a.deleteRule, can("os-security-groups:rule:delete"), old, rest.Status(202)),
	}
}

// groupsDoc shows groups with the rules for what comes in. names are the groups
// that rules may lead to.
func groupsDoc(groups, names []manager.GroupDoc) []m {
	out := []m{}
	for _, g := range groups {
		rules := []m{}
		for i := range g.Rules {
			if g.Rules[i].Direction != "ingress" {
				continue
			}
			if doc := ruleDoc(&g.Rules[i], names); doc != nil {
				rules = append(rules, doc)
			}
		}
		out = append(out, m{"id": g.ID, "name": g.Name, "description": g.Description, "tenant_id": g.Project, "rules": rules})
	}
	return out
}

// ruleDoc shows a rule; nil: it leads to a group that the caller cannot see.
func ruleDoc(u *manager.RuleDoc, names []manager.GroupDoc) m {
	from, to := u.Min, u.Max
	if u.Protocol != nil && from == nil && to == nil {
		low, high := -1, -1 // all of ICMP
		if p := strings.ToLower(*u.Protocol); p == "tcp" || p == "udp" {
			low, high = 1, 65535
		}
		from, to = &low, &high
	}
	doc := m{"id": u.ID, "parent_group_id": u.GroupID, "ip_protocol": u.Protocol, "from_port": from, "to_port": to, "ip_range": m{}, "group": m{}}
	switch {
	case u.RemoteGroup != nil:
		for _, g := range names {
			if g.ID == *u.RemoteGroup {
				doc["group"] = m{"name": g.Name, "tenant_id": g.Project}
				return doc
			}
		}
		return nil
	case u.CIDR != nil:
		doc["ip_range"] = m{"cidr": *u.CIDR}
	case u.Ethertype == "IPv6":
		doc["ip_range"] = m{"cidr": "::/0"}
	default:
		doc["ip_range"] = m{"cidr": "0.0.0.0/0"}
	}
	return doc
}

func (a *api) listGroupsOfNetwork(r *rest.Request) (any, error) {
	v := r.Query().Get("all_tenants")
	every, err := rest.ParseBool(v)
	all := v != "" && (err == nil && every) && r.Caller().IsAdmin()
	list, err := a.m.SecurityGroups(r.Context(), all)
	if err != nil {
		return nil, err
	}
	return m{"security_groups": groupsDoc(list, list)}, nil
}

// oneGroup shows a group; the other groups of the project give the names of
// those that its rules lead to.
func (a *api) oneGroup(r *rest.Request, g *manager.GroupDoc, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	names, err := a.m.SecurityGroups(r.Context(), r.Caller().IsAdmin())
	if err != nil {
		return nil, err
	}
	return m{"security_group": groupsDoc([]manager.GroupDoc{*g}, names)[0]}, nil
}

func (a *api) showGroupOfNetwork(r *rest.Request) (any, error) {
	g, err := a.m.SecurityGroup(r.Context(), r.Var("group"))
	return a.oneGroup(r, g, err)
}

func groupInput(r *rest.Request) (name, description string, err error) {
	var in struct {
		Group struct {
			Name        string `json:"name"`
			Description string `json:"description"`
		} `json:"security_group"`
	}
	if err := r.Decode(&in); err != nil {
		return "", "", err
	}
	if strings.TrimSpace(in.Group.Name) == "" {
		return "", "", fault.Invalidf("Security group name cannot be empty.")
	}
	return in.Group.Name, in.Group.Description, nil
}

func (a *api) createGroupOfNetwork(r *rest.Request) (any, error) {
	name, description, err := groupInput(r)
	if err != nil {
		return nil, err
	}
	g, err := a.m.CreateSecurityGroup(r.Context(), name, description)
	return a.oneGroup(r, g, err)
}

func (a *api) updateGroupOfNetwork(r *rest.Request) (any, error) {
	name, description, err := groupInput(r)
	if err != nil {
		return nil, err
	}
	g, err := a.m.UpdateSecurityGroup(r.Context(), r.Var("group"), name, description)
	return a.oneGroup(r, g, err)
}

func (a *api) deleteGroupOfNetwork(r *rest.Request) (any, error) {
	return nil, a.m.DeleteSecurityGroup(r.Context(), r.Var("group"))
}

func (a *api) createRule(r *rest.Request) (any, error) {
	var in struct {
		Rule struct {
			Parent   text            `json:"parent_group_id"`
			Group    text            `json:"group_id"`
			CIDR     text            `json:"cidr"`
			Protocol text            `json:"ip_protocol"`
			From     json.RawMessage `json:"from_port"`
			To       json.RawMessage `json:"to_port"`
		} `json:"security_group_rule"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	v := &in.Rule
	rule := manager.GroupRule{GroupID: string(v.Parent), RemoteGroup: string(v.Group), Protocol: strings.ToLower(string(v.Protocol)), CIDR: string(v.CIDR)}
	var err error
	if rule.From, err = rulePort("from_port", v.From); err != nil {
		return nil, err
	}
	if rule.To, err = rulePort("to_port", v.To); err != nil {
		return nil, err
	}
	if rule.RemoteGroup == "" && rule.CIDR == "" {
		rule.CIDR = "0.0.0.0/0"
	}
	if err := checkRule(&rule); err != nil {
		return nil, err
	}
	g, err := a.m.SecurityGroup(r.Context(), rule.GroupID)
	if err != nil {
		return nil, err
	}
	made, err := a.m.CreateGroupRule(r.Context(), rule)
	if err != nil {
		return nil, err
	}
	names := []manager.GroupDoc{*g}
	if rule.RemoteGroup != "" && rule.RemoteGroup != g.ID {
		remote, err := a.m.SecurityGroup(r.Context(), rule.RemoteGroup)
		if err != nil {
			return nil, err
		}
		names = append(names, *remote)
	}
	return m{"security_group_rule": ruleDoc(made, names)}, nil
}

// rulePort reads a port, which clients write as a number or as text.
func rulePort(name string, raw json.RawMessage) (*int, error) {
	if len(raw) == 0 || string(raw) == "null" || string(raw) == `""` {
		return nil, nil
	}
	var n number
	if err := json.Unmarshal(raw, &n); err != nil {
		return nil, fault.Invalidf("Invalid input for %s: it must be an integer.", name)
	}
	p := int(n)
	return &p, nil
}

// checkRule finds what the network service would understand otherwise.
func checkRule(u *manager.GroupRule) error {
	for _, id := range []string{u.GroupID, u.RemoteGroup} {
		if id != "" && !isUUID(id) {
			return fault.Invalidf("Security group id should be uuid")
		}
	}
	switch u.Protocol {
	case "tcp", "udp", "icmp":
	case "":
		if u.From != nil || u.To != nil || u.RemoteGroup == "" {
			return fault.Invalidf("Protocol or ports of the rule are missing.")
		}
	default:
		return fault.Invalidf("Invalid IP protocol %s.", u.Protocol)
	}
	if u.CIDR != "" {
		if _, err := netip.ParsePrefix(u.CIDR); err != nil {
			return fault.Invalidf("Invalid cidr %s.", u.CIDR)
		}
	}
	low, most := 1, 65535
	if u.Protocol == "icmp" {
		low, most = -1, 255
	}
	for _, p := range []*int{u.From, u.To} {
		if p != nil && (*p < low || *p > most) {
			return fault.Invalidf("Invalid port range %d: it must be from %d to %d.", *p, low, most)
		}
	}
	if u.Protocol != "icmp" && u.From != nil && u.To != nil && *u.From > *u.To {
		return fault.Invalidf("Invalid port range: the former value cannot be greater than the later.")
	}
	return nil
}

func (a *api) deleteRule(r *rest.Request) (any, error) {
	return nil, a.m.DeleteGroupRule(r.Context(), r.Var("rule"))
}
