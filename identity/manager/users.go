package manager

import (
	"context"
	"slices"
	"time"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
)

// UserView is a user with what its document tells beside the row.
type UserView struct {
	identity.User
	PasswordExpiresAt *time.Time
	Federated         []identity.FederatedUser
}

// User returns one user.
func (m *Manager) User(ctx context.Context, id string) (*UserView, error) {
	u, err := m.userByID(ctx, id)
	if err != nil {
		return nil, err
	}
	list, err := m.viewUsers(ctx, []identity.User{*u})
	if err != nil {
		return nil, err
	}
	list[0].Federated, err = m.store.FederatedUsers(ctx, id)
	return &list[0], err
}

// Users lists users.
func (m *Manager) Users(ctx context.Context, q identity.Query) ([]UserView, error) {
	d, some, err := m.listDirectory(ctx, q)
	if err != nil {
		return nil, err
	}
	var list []identity.User
	switch {
	case d != nil:
		list, err = m.directoryUsers(ctx, d, nil, q)
	case some:
		list, err = m.store.OwnUsers(ctx, q)
	default:
		list, err = m.store.Users.List(ctx, q)
	}
	if err != nil {
		return nil, err
	}
	return m.viewUsers(ctx, list)
}

// UsersByPasswordExpiry lists the users whose password ends within a range.
func (m *Manager) UsersByPasswordExpiry(ctx context.Context, q identity.Query, op identity.Op, at time.Time) ([]UserView, error) {
	list, err := m.store.UsersByExpiry(ctx, q, op, at)
	if err != nil {
		return nil, err
	}
	return m.viewUsers(ctx, list)
}

// UsersIn lists the users of a group.
func (m *Manager) UsersIn(ctx context.Context, groupID string, q identity.Query) ([]UserView, error) {
	d, local, err := m.mapped(ctx, identity.ActorGroup, groupID)
	if err != nil {
		return nil, err
	}
	var list []identity.User
	if d != nil {
		list, err = m.directoryMembers(ctx, d, local, q)
	} else {
		list, err = m.store.UsersIn(ctx, groupID, q)
	}
	if err != nil {
		return nil, err
	}
	return m.viewUsers(ctx, list)
}

func (m *Manager) viewUsers(ctx context.Context, list []identity.User) ([]UserView, error) {
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = list[i].ID
	}
	pws, err := m.store.CurrentPasswords(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := make([]UserView, len(list))
	for i := range list {
		out[i].User = list[i]
		out[i].Enabled = list[i].Enabled && (list[i].Directory || !m.rules.inactive(&list[i], m.now()))
		if p, ok := pws[list[i].ID]; ok {
			out[i].PasswordExpiresAt = m.rules.expiry(&list[i], &p)
		}
	}
	return out, nil
}

// CreateUser stores a user; password nil makes one that cannot log in by
// password.
func (m *Manager) CreateUser(ctx context.Context, u identity.User, pw *string, federated []identity.FederatedUser) (*UserView, error) {
	u.ID, u.CreatedAt, u.UniqueName = rowID(ctx), m.now(), u.Name
	if err := m.checkDomain(ctx, u.DomainID); err != nil {
		return nil, err
	}
	if err := m.readOnly(ctx, u.DomainID); err != nil {
		return nil, err
	}
	hash := ""
	if pw != nil {
		if err := m.rules.checkPattern(*pw); err != nil {
			return nil, err
		}
		var err error
		if hash, err = m.hash.Hash(*pw); err != nil { // before the transaction: it is slow
			return nil, err
		}
	}
	err := m.store.Tx(ctx, func(ctx context.Context) error {
		if err := m.checkDefaultProject(ctx, u.DefaultProjectID); err != nil {
			return err
		}
		if err := m.store.Users.Create(ctx, &u); err != nil {
			return err
		}
		if pw != nil {
			if err := m.setPassword(ctx, &u, *pw, hash, false); err != nil {
				return err
			}
		}
		for _, f := range federated {
			f.UserID = u.ID
			if err := m.store.AddFederatedUser(ctx, f); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m.User(ctx, u.ID)
}

// checkDomain refuses a domain that does not exist.
func (m *Manager) checkDomain(ctx context.Context, id string) error {
	d, err := m.store.Projects.Get(ctx, id)
	if err != nil || !d.IsDomain {
		return fault.New(fault.NotFound, "Could not find domain: %s.", id)
	}
	return nil
}

// checkDefaultProject refuses a domain as the default project. One that does
// not exist is kept, as Keystone does.
func (m *Manager) checkDefaultProject(ctx context.Context, id identity.Ref) error {
	if id == "" {
		return nil
	}
	p, err := gone(m.store.Projects.Get(ctx, string(id)))
	if err == nil && p != nil && p.IsDomain {
		return fault.Invalidf("User's default project ID cannot be a domain ID: %s", id)
	}
	return err
}

// UpdateUser stores the differences of after to before, and a new password if
// there is one. What a change takes away from the user ends the user's tokens.
func (m *Manager) UpdateUser(ctx context.Context, before, after *identity.User, pw *string) (*UserView, error) {
	if before.Directory {
		return nil, m.readOnly(ctx, before.DomainID)
	}
	if err := guardImmutable(before.Options, after.Options, "user", before.ID); err != nil {
		return nil, err
	}
	if after.DomainID != before.DomainID {
		return nil, fault.Invalidf("Cannot change Domain ID.")
	}
	if before.UniqueName == before.Name {
		after.UniqueName = after.Name
	}
	hash := ""
	if pw != nil {
		if err := m.rules.checkPattern(*pw); err != nil {
			return nil, err
		}
		var err error
		if hash, err = m.hash.Hash(*pw); err != nil {
			return nil, err
		}
	}
	err := m.change(ctx, func(ctx context.Context) error {
		if after.DefaultProjectID != before.DefaultProjectID {
			if err := m.checkDefaultProject(ctx, after.DefaultProjectID); err != nil {
				return err
			}
		}
		if err := m.store.Users.Update(ctx, before.ID, before, after); err != nil {
			return err
		}
		if pw != nil {
			if err := m.setPassword(ctx, after, *pw, hash, false); err != nil {
				return err
			}
			if err := m.store.AuthSucceeded(ctx, before.ID, nil); err != nil {
				return err
			}
		}
		if pw != nil || before.Enabled && !after.Enabled {
			return m.revoke(ctx, identity.Revocation{UserID: identity.Ref(before.ID)})
		}
		if after.Enabled && !before.Enabled {
			return m.store.AuthSucceeded(ctx, before.ID, ptr(m.now()))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m.User(ctx, before.ID)
}

func ptr[T any](v T) *T { return &v }

// guardImmutable refuses a change of an immutable resource, unless it is just
// made mutable.
func guardImmutable(before, after identity.Extra, noun, id string) error {
	if identity.Immutable(before) && (after == nil || identity.Immutable(after)) {
		return fault.Forbiddenf("Cannot modify or delete %s %s: it is immutable.", noun, id)
	}
	return nil
}

// DeleteUser removes a user with all that is the user's.
func (m *Manager) DeleteUser(ctx context.Context, u *identity.User) error {
	if u.Directory {
		return m.readOnly(ctx, u.DomainID)
	}
	if err := guardImmutable(u.Options, nil, "user", u.ID); err != nil {
		return err
	}
	return m.change(ctx, func(ctx context.Context) error { return m.deleteUser(ctx, u.ID) })
}

func (m *Manager) deleteUser(ctx context.Context, id string) error {
	if err := m.store.RemoveAssignments(ctx, "actor_id", id); err != nil {
		return err
	}
	if _, err := m.store.Credentials.DeleteWhere(ctx, identity.By("user_id", id)); err != nil {
		return err
	}
	if err := m.endTrusts(ctx, "trustor_user_id", id); err != nil {
		return err
	}
	if err := m.endTrusts(ctx, "trustee_user_id", id); err != nil {
		return err
	}
	if err := m.store.Users.Delete(ctx, id); err != nil {
		return err
	}
	return m.revoke(ctx, identity.Revocation{UserID: identity.Ref(id)})
}

// Group returns one group.
func (m *Manager) Group(ctx context.Context, id string) (*identity.Group, error) {
	d, local, err := m.mapped(ctx, identity.ActorGroup, id)
	if err != nil {
		return nil, err
	}
	if d == nil {
		return m.store.Groups.Get(ctx, id)
	}
	e, err := d.dir.GroupByID(ctx, local)
	if err != nil {
		return nil, d.explain(err, "group", id)
	}
	g := d.group(e)
	return &g, nil
}

// Groups lists groups.
func (m *Manager) Groups(ctx context.Context, q identity.Query) ([]identity.Group, error) {
	d, _, err := m.listDirectory(ctx, q)
	if err != nil {
		return nil, err
	}
	if d != nil {
		return m.directoryGroups(ctx, d, "", q)
	}
	return m.store.Groups.List(ctx, q)
}

// GroupsOf lists the groups of a user.
func (m *Manager) GroupsOf(ctx context.Context, userID string, q identity.Query) ([]identity.Group, error) {
	d, local, err := m.mapped(ctx, identity.ActorUser, userID)
	if err != nil {
		return nil, err
	}
	if d != nil {
		return m.directoryGroups(ctx, d, local, q)
	}
	return m.store.GroupsOf(ctx, userID, q)
}

// CreateGroup stores a group.
func (m *Manager) CreateGroup(ctx context.Context, g identity.Group) (*identity.Group, error) {
	g.ID = rowID(ctx)
	if err := m.checkDomain(ctx, g.DomainID); err != nil {
		return nil, err
	}
	if err := m.readOnly(ctx, g.DomainID); err != nil {
		return nil, err
	}
	return &g, m.store.Groups.Create(ctx, &g)
}

// UpdateGroup stores the differences of after to before.
func (m *Manager) UpdateGroup(ctx context.Context, before, after *identity.Group) error {
	if after.DomainID != before.DomainID {
		return fault.Invalidf("Cannot change Domain ID.")
	}
	if err := m.writableGroup(ctx, before.ID); err != nil {
		return err
	}
	return m.store.Groups.Update(ctx, before.ID, before, after)
}

// DeleteGroup removes a group; its members lose what it gave them.
func (m *Manager) DeleteGroup(ctx context.Context, id string) error {
	if err := m.writableGroup(ctx, id); err != nil {
		return err
	}
	return m.change(ctx, func(ctx context.Context) error {
		if err := m.store.RemoveAssignments(ctx, "actor_id", id); err != nil {
			return err
		}
		return m.store.Groups.Delete(ctx, id)
	})
}

// AddMember puts a user into a group.
func (m *Manager) AddMember(ctx context.Context, v identity.Membership) error {
	if err := m.writableMember(ctx, v); err != nil {
		return err
	}
	return m.change(ctx, func(ctx context.Context) error { return m.store.AddMember(ctx, v) })
}

// CheckMember is fault.NotFound unless the user is in the group.
func (m *Manager) CheckMember(ctx context.Context, v identity.Membership) error {
	d, _, err := m.mapped(ctx, identity.ActorUser, v.UserID)
	if err != nil {
		return err
	}
	ok := false
	if d != nil {
		var in []string
		in, err = m.groupsInDirectory(ctx, v.UserID)
		ok = slices.Contains(in, v.GroupID)
	} else {
		ok, err = m.store.IsMember(ctx, v)
	}
	if err == nil && !ok {
		return fault.New(fault.NotFound, "Could not find user '%s' in group '%s'.", v.UserID, v.GroupID)
	}
	return err
}

// RemoveMember takes a user out of a group.
func (m *Manager) RemoveMember(ctx context.Context, v identity.Membership) error {
	if err := m.writableMember(ctx, v); err != nil {
		return err
	}
	return m.change(ctx, func(ctx context.Context) error { return m.store.RemoveMember(ctx, v) })
}
