package manager

import (
	"context"
	"strings"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/store"
)

// CreateRBACPolicy shows an object of the caller's to another project. The
// object's owner is taken from its row, never from the request (threats.md
// 49).
func (m *Manager) CreateRBACPolicy(ctx context.Context, c network.Change) (*network.RBACPolicy, error) {
	p := &network.RBACPolicy{}
	if err := c.Into(p); err != nil {
		return nil, err
	}
	if err := network.ValidRBAC(p.ObjectType, p.Action); err != nil {
		return nil, err
	}
	var out *network.RBACPolicy
	err := m.tx(ctx, func(ctx context.Context) error {
		p.Standard = network.Standard{ProjectID: p.ProjectID}
		if err := m.reserve(ctx, p.Kind(), p.ProjectID, 1); err != nil {
			return err
		}
		owner, err := m.ownerOf(ctx, p.ObjectType, p.ObjectID)
		if err != nil {
			return err
		}
		if sc := scope(ctx); !sc.All && owner != sc.ProjectID {
			return fault.Forbiddenf("RBAC policies can be made for objects of one's own project alone.").WithType("PolicyNotAuthorized")
		}
		same, err := store.Select[network.RBACPolicy](ctx, m.store, db.Where().Eq("object_id", p.ObjectID).Eq("action", p.Action).Eq("target_project", p.TargetTenant))
		if err != nil {
			return err
		}
		if len(same) > 0 {
			return conflict("DuplicateRbacPolicy", "An RBAC policy already exists with those values.")
		}
		if err := store.Insert(ctx, m.store, p); err != nil {
			return err
		}
		if err := m.rbacExternal(ctx, p, true); err != nil {
			return err
		}
		out, err = store.Get[network.RBACPolicy](ctx, m.store, p.ID)
		return err
	})
	return out, err
}

// CheckRBACTarget asks identity whether a new policy's target is a project. It
// comes before CreateRBACPolicy, which runs in a transaction.
func (m *Manager) CheckRBACTarget(ctx context.Context, c network.Change) error {
	var target string
	if !c.Get("target_tenant", &target) {
		return nil
	}
	return m.checkProject(ctx, target)
}

// checkProject asks identity whether the target is a project. Without a
// session (a service that runs alone) every id is taken. What is no plain word
// is no id, and must not become part of a path that is asked for with the
// service's own token.
func (m *Manager) checkProject(ctx context.Context, id string) error {
	if id == "*" {
		return nil
	}
	if id == "" || strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
		return bad("InvalidInput", "Invalid input for target_tenant. Reason: there is no project '%s'.", id)
	}
	if m.session == nil {
		return nil
	}
	c, err := m.session.Service(ctx, "identity")
	if err != nil {
		return err
	}
	resp, err := c.Get(ctx, c.ServiceURL("projects", id), nil, &gophercloud.RequestOpts{OkCodes: []int{200}})
	if err == nil {
		return resp.Body.Close()
	}
	if gophercloud.ResponseCodeIs(err, 404) {
		return bad("InvalidInput", "Invalid input for target_tenant. Reason: there is no project '%s'.", id)
	}
	if gophercloud.ResponseCodeIs(err, 403) { // this service may not look: identity decides who exists
		return nil
	}
	return fault.Wrap(fault.Unavailable, err, "Identity could not be asked for project %s; try again.", id)
}

func (m *Manager) ownerOf(ctx context.Context, typ, id string) (string, error) {
	switch typ {
	case "network":
		v, err := Show[network.Network](ctx, m, id)
		return project(v, err)
	case "subnetpool":
		v, err := Show[network.SubnetPool](ctx, m, id)
		return project(v, err)
	case "address_scope":
		v, err := Show[network.AddressScope](ctx, m, id)
		return project(v, err)
	case "security_group":
		v, err := Show[network.SecurityGroup](ctx, m, id)
		return project(v, err)
	}
	v, err := Show[network.AddressGroup](ctx, m, id)
	return project(v, err)
}

func project(r network.Resource, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return r.Std().ProjectID, nil
}

// rbacExternal keeps a network's router:external equal to its policies.
func (m *Manager) rbacExternal(ctx context.Context, p *network.RBACPolicy, on bool) error {
	if p.Action != network.ActionExternal {
		return nil
	}
	n, err := store.Get[network.Network](ctx, m.store, p.ObjectID)
	if err != nil {
		return err
	}
	if !on {
		rest, err := store.Select[network.RBACPolicy](ctx, m.store, db.Where().Eq("object_id", n.ID).Eq("action", network.ActionExternal).Ne("id", p.ID))
		if err != nil || len(rest) > 0 {
			return err
		}
		ports, err := m.store.PortsOf(ctx, db.Where().Eq("network_id", n.ID).In("device_owner", []string{network.OwnerRouterGateway, network.OwnerFloatingIP}))
		if err != nil {
			return err
		}
		if len(ports) > 0 {
			return conflict("RbacPolicyInUse", "RBAC policy on object %s cannot be removed because other objects depend on it.", n.ID)
		}
	}
	old := *n
	n.External = on
	if err := store.Update(ctx, m.store, &old, n, false); err != nil {
		return err
	}
	return m.markNetwork(ctx, n)
}

// UpdateRBACPolicy changes the target.
func (m *Manager) UpdateRBACPolicy(ctx context.Context, id string, c network.Change) (*network.RBACPolicy, error) {
	if err := m.CheckRBACTarget(ctx, c); err != nil {
		return nil, err
	}
	return update(ctx, m, id, c, func(ctx context.Context, old, p *network.RBACPolicy) (bool, error) {
		if sc := scope(ctx); !sc.All && old.ProjectID != sc.ProjectID {
			return false, p.Kind().NotFound(id)
		}
		if old.TargetTenant == p.TargetTenant {
			return false, nil
		}
		same, err := store.Select[network.RBACPolicy](ctx, m.store, db.Where().Eq("object_id", p.ObjectID).Eq("action", p.Action).Eq("target_project", p.TargetTenant))
		if err != nil {
			return false, err
		}
		if len(same) > 0 {
			return false, conflict("DuplicateRbacPolicy", "An RBAC policy already exists with those values.")
		}
		return false, m.rbacFree(ctx, old)
	})
}

// rbacFree refuses to end a policy that others' things depend on.
func (m *Manager) rbacFree(ctx context.Context, p *network.RBACPolicy) error {
	inUse := func() error {
		return conflict("RbacPolicyInUse", "RBAC policy on object %s cannot be removed because other objects depend on it.", p.ObjectID)
	}
	if p.Action != network.ActionShared {
		return nil
	}
	switch p.ObjectType {
	case "network":
		n, err := store.Get[network.Network](ctx, m.store, p.ObjectID)
		if err != nil {
			return err
		}
		if err := m.checkUnshare(ctx, n, p.TargetTenant); fault.Is(err, fault.Conflict) {
			return inUse()
		} else if err != nil {
			return err
		}
	case "security_group":
		g, err := store.Get[network.SecurityGroup](ctx, m.store, p.ObjectID)
		if err != nil {
			return err
		}
		w := db.Where().Raw("id IN (SELECT port_id FROM port_security_groups WHERE group_id = ?)", g.ID).Ne("project_id", g.ProjectID)
		if p.TargetTenant != "*" {
			w.Eq("project_id", p.TargetTenant)
		}
		ports, err := m.store.PortsOf(ctx, w)
		if err != nil {
			return err
		}
		if len(ports) > 0 {
			return inUse()
		}
	}
	return nil
}

// DeleteRBACPolicy ends a policy that nobody depends on.
func (m *Manager) DeleteRBACPolicy(ctx context.Context, id string, ifMatch int) error {
	return remove(ctx, m, id, ifMatch, func(ctx context.Context, p *network.RBACPolicy) error {
		if sc := scope(ctx); !sc.All && p.ProjectID != sc.ProjectID {
			return p.Kind().NotFound(id)
		}
		if err := m.rbacFree(ctx, p); err != nil {
			return err
		}
		return m.rbacExternal(ctx, p, false)
	})
}
