package manager

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/directory"
)

// userByID returns a user of our own or of a domain's directory.
func (m *Manager) userByID(ctx context.Context, id string) (*identity.User, error) {
	d, local, err := m.mapped(ctx, identity.ActorUser, id)
	if err != nil {
		return nil, err
	}
	if d == nil {
		return m.store.Users.Get(ctx, id)
	}
	u, err := d.dir.UserByID(ctx, local)
	if err != nil {
		return nil, d.explain(err, "user", id)
	}
	out := d.user(u)
	if out.ID != id { // the entry's id is spelled otherwise now
		return nil, fault.New(fault.NotFound, "Could not find user: %s.", id)
	}
	return &out, nil
}

// user is a directory's entry as a user.
func (d *domainDirectory) user(u *directory.User) identity.User {
	id := identity.NewIDMapping(d.domainID, identity.ActorUser, u.ID).PublicID
	extra := identity.Extra{}
	if u.Mail != "" {
		extra["email"] = u.Mail
	}
	for k, v := range u.More {
		extra[k] = v
	}
	return identity.User{
		ID: id, Name: u.Name, DomainID: d.domainID, Description: u.Description, DefaultProjectID: identity.Ref(u.DefaultProject),
		Enabled: u.Enabled, Options: identity.Extra{}, Extra: extra, UniqueName: identity.DirectoryPrefix + id, Directory: true,
	}
}

func (d *domainDirectory) group(g *directory.Group) identity.Group {
	extra := identity.Extra{}
	for k, v := range g.More {
		extra[k] = v
	}
	return identity.Group{
		ID: identity.NewIDMapping(d.domainID, identity.ActorGroup, g.ID).PublicID, Name: g.Name, DomainID: d.domainID, Description: g.Description, Extra: extra,
	}
}

// mapUsers turns entries into users, and stores what their ids stand for.
func (m *Manager) mapUsers(ctx context.Context, d *domainDirectory, list []directory.User) ([]identity.User, error) {
	out, ids := make([]identity.User, len(list)), make([]identity.IDMapping, len(list))
	for i := range list {
		out[i], ids[i] = d.user(&list[i]), identity.NewIDMapping(d.domainID, identity.ActorUser, list[i].ID)
	}
	return out, m.store.MapIDs(ctx, ids)
}

func (m *Manager) mapGroups(ctx context.Context, d *domainDirectory, list []directory.Group) ([]identity.Group, error) {
	out, ids := make([]identity.Group, len(list)), make([]identity.IDMapping, len(list))
	for i := range list {
		out[i], ids[i] = d.group(&list[i]), identity.NewIDMapping(d.domainID, identity.ActorGroup, list[i].ID)
	}
	return out, m.store.MapIDs(ctx, ids)
}

// directoryUser finds a directory's user by name.
func (m *Manager) directoryUser(ctx context.Context, d *domainDirectory, name string) (*identity.User, error) {
	u, err := d.dir.UserByName(ctx, name)
	if err != nil {
		return nil, d.explain(err, "user", name)
	}
	list, err := m.mapUsers(ctx, d, []directory.User{*u})
	if err != nil {
		return nil, err
	}
	return &list[0], nil
}

// checkDirectoryPassword binds as the user.
func (m *Manager) checkDirectoryPassword(ctx context.Context, u *identity.User, pw string) error {
	d, local, err := m.mapped(ctx, identity.ActorUser, u.ID)
	if err != nil {
		return err
	}
	if d == nil {
		return unauthenticated("the domain has no directory any more")
	}
	e, err := d.dir.UserByID(ctx, local)
	if err != nil {
		return notFoundAs(d.explain(err, "user", u.ID), "the user is gone")
	}
	ok, err := d.dir.Bind(ctx, e.DN, pw)
	if err != nil {
		return d.explain(err, "user", u.ID)
	}
	if !ok {
		return unauthenticated("wrong password")
	}
	return nil
}

// noteDirectoryUser keeps a row of a directory's user who logged in, to which
// the user's application credentials and access rules refer.
func (m *Manager) noteDirectoryUser(ctx context.Context, u *identity.User) error {
	old, err := gone(m.store.Users.Get(ctx, u.ID))
	if err != nil {
		return err
	}
	row := *u
	row.Options, row.Extra, row.DefaultProjectID, row.CreatedAt = nil, nil, "", m.now()
	if old == nil {
		err := m.store.Users.Create(ctx, &row)
		if fault.Is(err, fault.Conflict) { // another login was faster
			return nil
		}
		return err
	}
	if old.Name == u.Name {
		return nil
	}
	after := *old
	after.Name = u.Name
	return m.store.Users.Update(ctx, u.ID, old, &after)
}

// match takes a condition on the name, which the directory itself checks.
func match(q identity.Query) (directory.Match, []identity.Filter) {
	kinds := map[identity.Op]directory.MatchKind{
		identity.Equals: directory.Is, identity.IEquals: directory.Is, identity.Contains: directory.Contains, identity.IContains: directory.Contains,
		identity.StartsWith: directory.StartsWith, identity.IStartsWith: directory.StartsWith, identity.EndsWith: directory.EndsWith, identity.IEndsWith: directory.EndsWith,
	}
	for i, f := range q.Filters {
		if k, ok := kinds[f.Op]; ok && f.Field == "name" {
			return directory.Named(k, fmt.Sprint(f.Value)), slices.Delete(slices.Clone(q.Filters), i, i+1)
		}
	}
	return directory.Match{}, q.Filters
}

// keeps reports whether a directory's user passes the conditions that the
// directory did not check.
func keeps(u *identity.User, filters []identity.Filter) bool {
	for _, f := range filters {
		switch f.Field {
		case "enabled":
			if f.Value != u.Enabled {
				return false
			}
		case "default_project_id":
			if f.Op == identity.Null && u.DefaultProjectID != "" || f.Op != identity.Null && f.Value != string(u.DefaultProjectID) {
				return false
			}
		case "domain_id":
			if f.Value != u.DomainID {
				return false
			}
		default:
			if !named(u.Name, f) {
				return false
			}
		}
	}
	return true
}

// named checks a further condition on a name, without case.
func named(name string, f identity.Filter) bool {
	if f.Field != "name" {
		return true
	}
	a, b := strings.ToLower(name), strings.ToLower(fmt.Sprint(f.Value))
	switch f.Op {
	case identity.Contains, identity.IContains:
		return strings.Contains(a, b)
	case identity.StartsWith, identity.IStartsWith:
		return strings.HasPrefix(a, b)
	case identity.EndsWith, identity.IEndsWith:
		return strings.HasSuffix(a, b)
	}
	return a == b
}

// page orders a directory's list as a table's, and cuts out what was asked.
func page[T any](list []T, q identity.Query, key func(*T) (name, id string)) []T {
	slices.SortFunc(list, func(a, b T) int {
		an, ai := key(&a)
		bn, bi := key(&b)
		return cmp.Or(cmp.Compare(an, bn), cmp.Compare(ai, bi))
	})
	if q.Marker != "" {
		at := slices.IndexFunc(list, func(v T) bool { _, id := key(&v); return id == q.Marker })
		list = list[at+1:]
	}
	if q.Limit > 0 && len(list) > q.Limit {
		list = list[:q.Limit]
	}
	return list
}

// directoryUsers lists a directory's users, all or those of a group.
func (m *Manager) directoryUsers(ctx context.Context, d *domainDirectory, group *directory.Group, q identity.Query) ([]identity.User, error) {
	name, rest := match(q)
	var list []directory.User
	var err error
	if group != nil {
		list, err = d.dir.Members(ctx, group, name, 0)
	} else {
		list, err = d.dir.Users(ctx, name, 0)
	}
	if err != nil {
		return nil, d.explain(err, "user", "")
	}
	out, err := m.mapUsers(ctx, d, list)
	if err != nil {
		return nil, err
	}
	out = slices.DeleteFunc(out, func(u identity.User) bool { return !keeps(&u, rest) })
	return page(out, q, func(u *identity.User) (string, string) { return u.Name, u.ID }), nil
}

// directoryMembers lists the users of a directory's group.
func (m *Manager) directoryMembers(ctx context.Context, d *domainDirectory, local string, q identity.Query) ([]identity.User, error) {
	g, err := d.dir.GroupByID(ctx, local)
	if err != nil {
		return nil, d.explain(err, "group", local)
	}
	return m.directoryUsers(ctx, d, g, q)
}

// directoryGroups lists a directory's groups, all or those of a user.
func (m *Manager) directoryGroups(ctx context.Context, d *domainDirectory, user string, q identity.Query) ([]identity.Group, error) {
	name, rest := match(q)
	var list []directory.Group
	var err error
	if user != "" {
		var u *directory.User
		if u, err = d.dir.UserByID(ctx, user); err == nil {
			list, err = d.dir.GroupsOf(ctx, u, name, 0)
		}
	} else {
		list, err = d.dir.Groups(ctx, name, 0)
	}
	if err != nil {
		return nil, d.explain(err, "user", user)
	}
	out, err := m.mapGroups(ctx, d, list)
	if err != nil {
		return nil, err
	}
	out = slices.DeleteFunc(out, func(g identity.Group) bool {
		return slices.ContainsFunc(rest, func(f identity.Filter) bool {
			return f.Field == "domain_id" && f.Value != g.DomainID || !named(g.Name, f)
		})
	})
	return page(out, q, func(g *identity.Group) (string, string) { return g.Name, g.ID }), nil
}

// groupsInDirectory are the ids of the groups that a directory's user is in.
func (m *Manager) groupsInDirectory(ctx context.Context, userID string) ([]string, error) {
	d, local, err := m.mapped(ctx, identity.ActorUser, userID)
	if d == nil || err != nil {
		return nil, err
	}
	list, err := m.directoryGroups(ctx, d, local, identity.Query{})
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = list[i].ID
	}
	return ids, err
}

// withDirectory adds the groups of a directory's user.
func (m *Manager) withDirectory(ctx context.Context, userID string, groups []string) ([]string, error) {
	more, err := m.groupsInDirectory(ctx, userID)
	if len(more) == 0 || err != nil {
		return groups, err
	}
	return append(slices.Clone(groups), more...), nil
}

// listDirectory is the directory that a list is about, by its domain; some
// reports whether any domain has one.
func (m *Manager) listDirectory(ctx context.Context, q identity.Query) (d *domainDirectory, some bool, err error) {
	all, err := m.directories(ctx)
	if err != nil || len(all.by) == 0 {
		return nil, false, err
	}
	id, _ := q.Get("domain_id")
	name, _ := id.(string)
	d, err = m.directoryOf(ctx, name)
	return d, true, err
}

// writableGroup refuses a group of a directory.
func (m *Manager) writableGroup(ctx context.Context, id string) error {
	d, _, err := m.mapped(ctx, identity.ActorGroup, id)
	if err == nil && d != nil {
		return m.readOnly(ctx, d.domainID)
	}
	return err
}

// writableMember refuses a membership in a group of a directory, and that of a
// directory's user in another group.
func (m *Manager) writableMember(ctx context.Context, v identity.Membership) error {
	if err := m.writableGroup(ctx, v.GroupID); err != nil {
		return err
	}
	d, _, err := m.mapped(ctx, identity.ActorUser, v.UserID)
	if err == nil && d != nil {
		return m.readOnly(ctx, d.domainID)
	}
	return err
}

// directoryMemberships lists who is in groups of directories; only those of
// one user where userID is set.
func (m *Manager) directoryMemberships(ctx context.Context, userID string, groups []string) ([]identity.Membership, error) {
	var out []identity.Membership
	if userID != "" {
		in, err := m.groupsInDirectory(ctx, userID)
		for _, g := range in {
			out = append(out, identity.Membership{GroupID: g, UserID: userID})
		}
		return out, err
	}
	for _, g := range groups {
		d, local, err := m.mapped(ctx, identity.ActorGroup, g)
		if fault.Is(err, fault.NotFound) || err == nil && d == nil {
			continue
		}
		if err != nil {
			return nil, err
		}
		users, err := m.directoryMembers(ctx, d, local, identity.Query{})
		if fault.Is(err, fault.NotFound) { // the group is gone; its assignments say nothing
			continue
		}
		if err != nil {
			return nil, err
		}
		for i := range users {
			out = append(out, identity.Membership{GroupID: g, UserID: users[i].ID})
		}
	}
	return out, nil
}

// maxNames bounds for how many entries of directories a list looks up names.
const maxNames = 500

// directoryNames adds the names of directories' users and groups. Those of a
// directory that does not answer stay empty: the list is about roles.
func (m *Manager) directoryNames(ctx context.Context, n *Names, users, groups map[string]bool) error {
	left := maxNames
	ask := func(id string, known bool) bool {
		if known || !identity.MaybePublicID(id) || left == 0 {
			return false
		}
		left--
		return true
	}
	pass := func(err error) error {
		if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Unavailable) {
			return nil
		}
		return err
	}
	for id := range users {
		if _, known := n.Users[id]; ask(id, known) {
			if u, err := m.userByID(ctx, id); err == nil {
				n.Users[id] = *u
			} else if pass(err) != nil {
				return err
			}
		}
	}
	for id := range groups {
		if _, known := n.Groups[id]; ask(id, known) {
			if g, err := m.Group(ctx, id); err == nil {
				n.Groups[id] = *g
			} else if pass(err) != nil {
				return err
			}
		}
	}
	return nil
}
