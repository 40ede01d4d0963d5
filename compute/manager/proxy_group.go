package manager

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/fault"
)

// GroupRule is what a caller of the old API asks of a new rule.
type GroupRule struct {
	GroupID     string
	RemoteGroup string
	CIDR        string
	Protocol    string
	From, To    *int
}

// SecurityGroups lists the groups of the caller's project, or of all projects.
func (m *Manager) SecurityGroups(ctx context.Context, all bool) ([]GroupDoc, error) {
	p, err := m.peer(ctx, "network", asCaller)
	if err != nil {
		return nil, err
	}
	q := url.Values{}
	if !all {
		q.Set("project_id", auth.From(ctx).Project.ID)
	}
	var out struct {
		Groups []GroupDoc `json:"security_groups"`
	}
	err = p.get(ctx, "security-groups?"+q.Encode(), &out)
	return out.Groups, err
}

// SecurityGroup returns a group.
func (m *Manager) SecurityGroup(ctx context.Context, id string) (*GroupDoc, error) {
	return m.groupRequest(ctx, http.MethodGet, "security-groups/"+segment(id), nil)
}

// CreateSecurityGroup makes a group of the caller's project.
func (m *Manager) CreateSecurityGroup(ctx context.Context, name, description string) (*GroupDoc, error) {
	return m.groupRequest(ctx, http.MethodPost, "security-groups", doc{"security_group": doc{"name": name, "description": description}})
}

// UpdateSecurityGroup renames and describes a group.
func (m *Manager) UpdateSecurityGroup(ctx context.Context, id, name, description string) (*GroupDoc, error) {
	return m.groupRequest(ctx, http.MethodPut, "security-groups/"+segment(id), doc{"security_group": doc{"name": name, "description": description}})
}

func (m *Manager) groupRequest(ctx context.Context, method, path string, in any) (*GroupDoc, error) {
	p, err := m.peer(ctx, "network", asCaller)
	if err != nil {
		return nil, err
	}
	var out struct {
		Group GroupDoc `json:"security_group"`
	}
	if err := p.do(ctx, method, path, in, &out); err != nil {
		return nil, refusedByNetwork(err)
	}
	return &out.Group, nil
}

// DeleteSecurityGroup removes a group that no port is in.
func (m *Manager) DeleteSecurityGroup(ctx context.Context, id string) error {
	return m.deleteOfNetwork(ctx, "security-groups/"+segment(id))
}

// CreateGroupRule adds a rule for what comes in to a group.
func (m *Manager) CreateGroupRule(ctx context.Context, r GroupRule) (*RuleDoc, error) {
	p, err := m.peer(ctx, "network", asCaller)
	if err != nil {
		return nil, err
	}
	in := doc{"security_group_id": r.GroupID, "direction": "ingress", "ethertype": "IPv4"}
	if r.Protocol != "" {
		in["protocol"] = r.Protocol
	}
	if r.From != nil && *r.From >= 0 {
		in["port_range_min"] = *r.From
	}
	if r.To != nil && *r.To >= 0 {
		in["port_range_max"] = *r.To
	}
	if r.RemoteGroup != "" {
		in["remote_group_id"] = r.RemoteGroup
	} else {
		in["remote_ip_prefix"] = r.CIDR
		if isIPv6(r.CIDR) {
			in["ethertype"] = "IPv6"
		}
	}
	var out struct {
		Rule RuleDoc `json:"security_group_rule"`
	}
	if err := p.do(ctx, http.MethodPost, "security-group-rules", doc{"security_group_rule": in}, &out); err != nil {
		return nil, refusedByNetwork(err)
	}
	return &out.Rule, nil
}

func isIPv6(address string) bool { return strings.Contains(address, ":") }

// DeleteGroupRule removes a rule.
func (m *Manager) DeleteGroupRule(ctx context.Context, id string) error {
	return m.deleteOfNetwork(ctx, "security-group-rules/"+segment(id))
}

func (m *Manager) deleteOfNetwork(ctx context.Context, path string) error {
	p, err := m.peer(ctx, "network", asCaller)
	if err != nil {
		return err
	}
	return refusedByNetwork(p.do(ctx, http.MethodDelete, path, nil, nil))
}

// refusedByNetwork makes the network service's conflicts what the old API
// answers: a quota is forbidden, everything else a bad request.
func refusedByNetwork(err error) error {
	f, ok := fault.As(err)
	if !ok || f.Kind != fault.Conflict {
		return err
	}
	if f.Type == "OverQuota" {
		return fault.Wrap(fault.Forbidden, err, "Quota exceeded")
	}
	return fault.Wrap(fault.Invalid, err, "%s", f.Message)
}
