package manager

import (
	"context"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/store"
)

// defaultGroup returns the id of the project's default group, making it where
// it is missing.
func (m *Manager) defaultGroup(ctx context.Context, project string) (string, error) {
	if project == "" {
		return "", bad("HTTPBadRequest", "A port without a project has no default security group.")
	}
	id, err := m.store.DefaultGroup(ctx, project)
	if err != nil || id != "" {
		return id, err
	}
	if err := m.store.Lock(ctx, project); err != nil {
		return "", err
	}
	if id, err = m.store.DefaultGroup(ctx, project); err != nil || id != "" {
		return id, err
	}
	g := &network.SecurityGroup{Name: "default", Stateful: true, IsDefault: true}
	g.ProjectID, g.Description = project, "Default security group"
	if err := m.insertGroup(ctx, g); err != nil {
		return "", err
	}
	return g.ID, m.store.SetDefaultGroup(ctx, project, g.ID)
}

// EnsureDefaultGroup makes the project's default group on first touch.
func (m *Manager) EnsureDefaultGroup(ctx context.Context, project string) error {
	if project == "" {
		return nil
	}
	id, err := m.store.DefaultGroup(ctx, project)
	if err != nil || id != "" {
		return err
	}
	return m.tx(ctx, func(ctx context.Context) error {
		_, err := m.defaultGroup(ctx, project)
		return err
	})
}

// insertGroup writes a group with the rules that new groups get.
func (m *Manager) insertGroup(ctx context.Context, g *network.SecurityGroup) error {
	if err := store.Insert(ctx, m.store, g); err != nil {
		return err
	}
	templates, err := m.templates(ctx, g.IsDefault)
	if err != nil {
		return err
	}
	for i := range templates {
		if err := m.insertRule(ctx, templates[i].For(g.ID, g.ProjectID)); err != nil {
			return err
		}
	}
	return m.mark(ctx, network.DirtySecurityGroup, g.ID)
}

func (m *Manager) insertRule(ctx context.Context, r *network.SecurityGroupRule) error {
	r.SameKey = r.Same()
	return store.Insert(ctx, m.store, r)
}

// CreateSecurityGroup makes a group.
func (m *Manager) CreateSecurityGroup(ctx context.Context, c network.Change) (*network.SecurityGroup, error) {
	var out *network.SecurityGroup
	err := m.tx(ctx, func(ctx context.Context) error {
		g := &network.SecurityGroup{}
		if err := c.Into(g); err != nil {
			return err
		}
		if g.Name == "default" {
			return conflict("SecurityGroupDefaultAlreadyExists", "Default security group already exists.")
		}
		if _, err := m.defaultGroup(ctx, g.ProjectID); err != nil {
			return err
		}
		if err := m.reserve(ctx, g.Kind(), g.ProjectID, 1); err != nil {
			return err
		}
		templates, err := m.templates(ctx, false)
		if err != nil {
			return err
		}
		if err := m.reserve(ctx, (*network.SecurityGroupRule)(nil).Kind(), g.ProjectID, len(templates)); err != nil {
			return err
		}
		if err := m.insertGroup(ctx, g); err != nil {
			return err
		}
		out, err = store.Find[network.SecurityGroup](ctx, m.store, scope(ctx), g.ID)
		return err
	})
	return out, err
}

// UpdateSecurityGroup changes a group.
func (m *Manager) UpdateSecurityGroup(ctx context.Context, id string, c network.Change) (*network.SecurityGroup, error) {
	return update(ctx, m, id, c, func(ctx context.Context, old, g *network.SecurityGroup) (bool, error) {
		if old.IsDefault && old.Name != g.Name {
			return false, conflict("SecurityGroupCannotUpdateDefault", "Updating default security group not allowed.")
		}
		if !old.IsDefault && g.Name == "default" && old.Name != g.Name {
			return false, conflict("SecurityGroupDefaultAlreadyExists", "Default security group already exists.")
		}
		if old.Stateful != g.Stateful {
			n, err := m.store.GroupPorts(ctx, id)
			if err != nil {
				return false, err
			}
			if n > 0 {
				return false, conflict("SecurityGroupInUse", "Security Group %s in use.", id)
			}
		}
		return false, m.mark(ctx, network.DirtySecurityGroup, id)
	})
}

// DeleteSecurityGroup deletes a group that no port has, with its rules and
// those of other groups that name it as their peer.
func (m *Manager) DeleteSecurityGroup(ctx context.Context, id string, ifMatch int) error {
	return remove(ctx, m, id, ifMatch, func(ctx context.Context, g *network.SecurityGroup) error {
		if g.IsDefault && !scope(ctx).All {
			return conflict("SecurityGroupCannotRemoveDefault", "Insufficient rights for removing default security group.")
		}
		n, err := m.store.GroupPorts(ctx, id)
		if err != nil {
			return err
		}
		if n > 0 {
			return conflict("SecurityGroupInUse", "Security Group %s in use.", id)
		}
		rules, err := store.Select[network.SecurityGroupRule](ctx, m.store, db.Where().Raw("security_group_id = ? OR remote_group_id = ?", id, id))
		if err != nil {
			return err
		}
		for i := range rules {
			if _, err := store.Delete(ctx, m.store, &rules[i]); err != nil {
				return err
			}
			if err := m.mark(ctx, network.DirtySecurityGroup, rules[i].GroupID); err != nil {
				return err
			}
		}
		if err := m.store.ForgetDefaultGroup(ctx, id); err != nil {
			return err
		}
		return m.mark(ctx, network.DirtySecurityGroup, id)
	})
}

// CreateSecurityGroupRule adds a rule to a group of the caller's.
func (m *Manager) CreateSecurityGroupRule(ctx context.Context, c network.Change) (*network.SecurityGroupRule, error) {
	var out *network.SecurityGroupRule
	err := m.tx(ctx, func(ctx context.Context) error {
		r := &network.SecurityGroupRule{}
		if err := c.Into(r); err != nil {
			return err
		}
		if err := r.Validate(); err != nil {
			return err
		}
		if err := m.reserve(ctx, r.Kind(), r.ProjectID, 1); err != nil {
			return err
		}
		g, err := store.Find[network.SecurityGroup](ctx, m.store, scope(ctx), r.GroupID)
		if err != nil {
			return err
		}
		if sc := scope(ctx); !sc.All && g.ProjectID != sc.ProjectID {
			return g.Kind().NotFound(r.GroupID)
		}
		if r.RemoteGroupID != nil {
			if _, err := store.Find[network.SecurityGroup](ctx, m.store, scope(ctx), *r.RemoteGroupID); err != nil {
				return err
			}
		}
		if r.RemoteAddrs != nil {
			if _, err := store.Find[network.AddressGroup](ctx, m.store, scope(ctx), *r.RemoteAddrs); err != nil {
				return err
			}
		}
		same, err := store.Select[network.SecurityGroupRule](ctx, m.store, db.Where().Eq("same_key", r.Same()))
		if err != nil {
			return err
		}
		if len(same) > 0 {
			return conflict("SecurityGroupRuleExists", "Security group rule already exists. Rule id is %s.", same[0].ID)
		}
		if err := m.insertRule(ctx, r); err != nil {
			if db.IsUnique(err) {
				return errAgain
			}
			return err
		}
		if err := touch[network.SecurityGroup](ctx, m, g.ID); err != nil {
			return err
		}
		if err := m.mark(ctx, network.DirtySecurityGroup, g.ID); err != nil {
			return err
		}
		out, err = store.Find[network.SecurityGroupRule](ctx, m.store, scope(ctx), r.ID)
		return err
	})
	return out, err
}

// DeleteSecurityGroupRule removes a rule.
func (m *Manager) DeleteSecurityGroupRule(ctx context.Context, id string, ifMatch int) error {
	return remove(ctx, m, id, ifMatch, func(ctx context.Context, r *network.SecurityGroupRule) error {
		if sc := scope(ctx); !sc.All {
			g, err := store.Get[network.SecurityGroup](ctx, m.store, r.GroupID)
			if err != nil {
				return err
			}
			if g.ProjectID != sc.ProjectID {
				return r.Kind().NotFound(id)
			}
		}
		if err := touch[network.SecurityGroup](ctx, m, r.GroupID); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		return m.mark(ctx, network.DirtySecurityGroup, r.GroupID)
	})
}
