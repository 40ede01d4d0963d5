package manager

import (
	"context"
	"slices"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
)

// Role returns one role.
func (m *Manager) Role(ctx context.Context, id string) (*identity.Role, error) {
	return m.store.Roles.Get(ctx, id)
}

// Roles lists roles.
func (m *Manager) Roles(ctx context.Context, q identity.Query) ([]identity.Role, error) {
	return m.store.Roles.List(ctx, q)
}

// CreateRole stores a role.
func (m *Manager) CreateRole(ctx context.Context, r identity.Role) (*identity.Role, error) {
	r.ID = rowID(ctx)
	if r.DomainID != "" {
		if err := m.checkDomain(ctx, r.DomainID); err != nil {
			return nil, err
		}
	}
	return &r, m.store.Roles.Create(ctx, &r)
}

// UpdateRole stores the differences of after to before.
func (m *Manager) UpdateRole(ctx context.Context, before, after *identity.Role) error {
	if err := guardImmutable(before.Options, after.Options, "role", before.ID); err != nil {
		return err
	}
	if after.DomainID != before.DomainID {
		return fault.Invalidf("Update of `domain_id` is not allowed.")
	}
	return m.change(ctx, func(ctx context.Context) error {
		return m.store.Roles.Update(ctx, before.ID, before, after)
	})
}

// DeleteRole removes a role and every grant of it.
func (m *Manager) DeleteRole(ctx context.Context, r *identity.Role) error {
	if err := guardImmutable(r.Options, nil, "role", r.ID); err != nil {
		return err
	}
	return m.change(ctx, func(ctx context.Context) error { return m.store.Roles.Delete(ctx, r.ID) })
}

// Implications lists the implied roles of one role ("" of all).
func (m *Manager) Implications(ctx context.Context, priorID string) ([]identity.Implication, error) {
	all, err := m.store.Implications(ctx)
	if priorID == "" || err != nil {
		return all, err
	}
	return slices.DeleteFunc(all, func(i identity.Implication) bool { return i.PriorID != priorID }), nil
}

// RootRole is the role that may not be implied, as an admin could otherwise be
// made by who may imply roles ([assignment] prohibited_implied_role).
const RootRole = "admin"

// Imply makes a role imply another. Rings are allowed; the root role and a
// role of a domain by one of none are not.
func (m *Manager) Imply(ctx context.Context, i identity.Implication) error {
	prior, err := m.store.Roles.Get(ctx, i.PriorID)
	if err != nil {
		return err
	}
	implied, err := m.store.Roles.Get(ctx, i.ImpliedID)
	if err != nil {
		return err
	}
	if implied.Name == RootRole {
		return fault.Forbiddenf("%s cannot be an implied roles.", i.ImpliedID)
	}
	if implied.DomainID != "" && prior.DomainID == "" {
		return fault.Forbiddenf("Role %s of a domain cannot be implied by a role of none.", i.ImpliedID)
	}
	return m.change(ctx, func(ctx context.Context) error { return m.store.Imply(ctx, i) })
}

// Implied is fault.NotFound unless the role implies the other.
func (m *Manager) Implied(ctx context.Context, i identity.Implication) error {
	all, err := m.store.Implications(ctx)
	if err == nil && !slices.Contains(all, i) {
		return fault.New(fault.NotFound, "%s does not imply %s.", i.PriorID, i.ImpliedID)
	}
	return err
}

// Unimply ends an implication.
func (m *Manager) Unimply(ctx context.Context, i identity.Implication) error {
	return m.change(ctx, func(ctx context.Context) error { return m.store.Unimply(ctx, i) })
}

// Grant gives a role. The caller has checked that actor, target and role
// exist.
func (m *Manager) Grant(ctx context.Context, a identity.Assignment, role *identity.Role) error {
	if err := m.checkRoleDomain(ctx, a, role); err != nil {
		return err
	}
	return m.change(ctx, func(ctx context.Context) error { return m.store.Grant(ctx, a) })
}

// checkRoleDomain refuses a role of a domain outside of it.
func (m *Manager) checkRoleDomain(ctx context.Context, a identity.Assignment, role *identity.Role) error {
	if role.DomainID == "" {
		return nil
	}
	switch a.TargetType {
	case identity.TargetSystem:
		return fault.Invalidf("Role %s is a domain-specific role. Unable to use a domain-specific role in a system assignment.", role.ID)
	case identity.TargetDomain:
		if a.TargetID == role.DomainID {
			return nil
		}
	default:
		p, err := m.store.Projects.Get(ctx, a.TargetID)
		if err != nil {
			return err
		}
		if p.OwnerDomain() == role.DomainID {
			return nil
		}
	}
	return fault.Forbiddenf("Domain specific role %s cannot be assigned outside of its domain.", role.ID)
}

// Granted is fault.NotFound unless the assignment exists.
func (m *Manager) Granted(ctx context.Context, a identity.Assignment) error {
	ok, err := m.store.Granted(ctx, a)
	if err == nil && !ok {
		return fault.New(fault.NotFound, "Could not find role assignment with role: %s, user or group: %s, project, domain, or system: %s.", a.RoleID, a.ActorID, a.TargetID)
	}
	return err
}

// RevokeGrant takes a role away. Application credentials of the user on the
// project end with it.
func (m *Manager) RevokeGrant(ctx context.Context, a identity.Assignment) error {
	return m.change(ctx, func(ctx context.Context) error {
		if err := m.store.RevokeGrant(ctx, a); err != nil {
			return err
		}
		if a.ActorType == identity.ActorUser && a.TargetType == identity.TargetProject {
			_, err := m.store.AppCredentials.DeleteWhere(ctx, identity.By("user_id", a.ActorID).And("project_id", a.TargetID))
			return err
		}
		return nil
	})
}

// GrantedRoles lists the roles of an actor on a target, as granted.
func (m *Manager) GrantedRoles(ctx context.Context, a identity.Assignment) ([]identity.Role, error) {
	list, err := m.store.Assignments(ctx, identity.By("actor_type", a.ActorType).And("actor_id", a.ActorID).
		And("target_type", a.TargetType).And("target_id", a.TargetID).And("inherited", a.Inherited))
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = list[i].RoleID
	}
	return m.store.Roles.List(ctx, identity.Query{Filters: []identity.Filter{{Field: "id", Op: identity.In, Value: ids}}})
}
