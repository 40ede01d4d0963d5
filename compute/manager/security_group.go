package manager

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/store"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
)

// AddSecurityGroup puts a server's ports into a group.
func (m *Manager) AddSecurityGroup(ctx context.Context, s *compute.Server, name string) error {
	return m.changeGroup(ctx, s, name, true)
}

// RemoveSecurityGroup takes a server's ports out of a group.
func (m *Manager) RemoveSecurityGroup(ctx context.Context, s *compute.Server, name string) error {
	return m.changeGroup(ctx, s, name, false)
}

func (m *Manager) changeGroup(ctx context.Context, s *compute.Server, name string, in bool) error {
	if !slices.Contains(multinicStates.VM, s.VMState) {
		return refusal(s, "add_security_group", store.Expect{VM: []compute.VMState{compute.StateActive}})
	}
	groups, err := m.checkGroups(ctx, []string{name})
	if err != nil {
		if fault.Is(err, fault.Invalid) {
			return fault.New(fault.NotFound, "Security group %s not found.", name)
		}
		return err
	}
	p, err := m.peer(ctx, "network", asCaller)
	if err != nil {
		return err
	}
	var out struct {
		Ports []portDoc `json:"ports"`
	}
	if err := p.get(ctx, "ports?"+url.Values{"device_id": {s.ID}}.Encode(), &out); err != nil {
		return err
	}
	if len(out.Ports) == 0 {
		return fault.Invalidf("The server has no ports that could have security groups.")
	}
	changed := false
	for _, d := range out.Ports {
		want := slices.DeleteFunc(slices.Clone(d.Groups), func(id string) bool { return id == groups[0].ID })
		if in {
			want = append(want, groups[0].ID)
		}
		if len(want) == len(d.Groups) {
			continue
		}
		if err := p.do(ctx, http.MethodPut, "ports/"+segment(d.ID), doc{"port": doc{"security_groups": want}}, nil); err != nil {
			return err
		}
		changed = true
	}
	if !changed && !in {
		return fault.New(fault.NotFound, "Security group %s not associated with the instance %s", name, s.ID)
	}
	if err := m.refreshPorts(ctx, s.ID); err != nil {
		return err
	}
	return m.rememberGroup(ctx, s.ID, groups[0], in)
}

// rememberGroup keeps the names that views of the server show.
func (m *Manager) rememberGroup(ctx context.Context, id string, g compute.SecurityGroup, in bool) error {
	return m.store.Tx(ctx, func(ctx context.Context) error {
		s, err := m.store.Server(ctx, id)
		if err != nil {
			return err
		}
		spec := s.Spec
		if len(spec.SecurityGroups) == 0 && in {
			spec.SecurityGroups = []compute.SecurityGroup{{Name: "default"}}
		}
		spec.SecurityGroups = slices.DeleteFunc(slices.Clone(spec.SecurityGroups), func(o compute.SecurityGroup) bool { return o.ID == g.ID || o.Name == g.Name })
		if in {
			spec.SecurityGroups = append(spec.SecurityGroups, g)
		}
		_, err = m.store.ChangeServer(ctx, id, store.Expect{}, db.Set{"spec": spec})
		return err
	})
}

// GroupDoc is a security group as the network service shows it.
type GroupDoc struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Description string    `json:"description"`
	Project     string    `json:"project_id"`
	Rules       []RuleDoc `json:"security_group_rules"`
}

// RuleDoc is a rule of a security group.
type RuleDoc struct {
	ID          string  `json:"id"`
	GroupID     string  `json:"security_group_id"`
	Direction   string  `json:"direction"`
	Ethertype   string  `json:"ethertype"`
	Protocol    *string `json:"protocol"`
	Min         *int    `json:"port_range_min"`
	Max         *int    `json:"port_range_max"`
	CIDR        *string `json:"remote_ip_prefix"`
	RemoteGroup *string `json:"remote_group_id"`
}

// SecurityGroupsOf returns the groups that a server's ports are in.
func (m *Manager) SecurityGroupsOf(ctx context.Context, s *compute.Server) ([]GroupDoc, error) {
	p, err := m.peer(ctx, "network", asCaller)
	if err != nil {
		return nil, err
	}
	var ports struct {
		Ports []portDoc `json:"ports"`
	}
	if err := p.get(ctx, "ports?"+url.Values{"device_id": {s.ID}}.Encode(), &ports); err != nil {
		return nil, err
	}
	q := url.Values{}
	for _, d := range ports.Ports {
		for _, g := range d.Groups {
			add(q, "id", g)
		}
	}
	if len(q) == 0 {
		return []GroupDoc{}, nil
	}
	var out struct {
		Groups []GroupDoc `json:"security_groups"`
	}
	err = p.get(ctx, "security-groups?"+q.Encode(), &out)
	return out.Groups, err
}
