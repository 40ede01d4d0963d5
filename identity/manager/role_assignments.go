package manager

import (
	"cmp"
	"context"
	"slices"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
)

// AssignmentFilter narrows a list of role assignments; empty fields do not.
type AssignmentFilter struct {
	UserID, GroupID, RoleID   string
	ProjectID, DomainID       string
	System, Inherited         bool // Inherited: only inherited ones
	Effective, Names, Subtree bool
	InDomain                  string // only on this domain and the projects in it
}

// AssignmentView is an assignment as it is listed. An effective one tells by
// what it came about.
type AssignmentView struct {
	identity.Assignment
	ViaGroup    string // the group that the user is in
	PriorRole   string // the role that implies this one
	InheritFrom string // the project or domain that it is inherited from
	FromType    string // TargetProject or TargetDomain, of InheritFrom
}

// Names are the names that a list of assignments refers to, by id.
type Names struct {
	Users    map[string]identity.User
	Groups   map[string]identity.Group
	Roles    map[string]identity.Role
	Projects map[string]identity.Project // domains too
}

// RoleAssignments lists assignments as granted, or with Effective set what
// they come to: groups replaced by their users, inherited ones by the
// projects below, implied roles added.
func (m *Manager) RoleAssignments(ctx context.Context, f AssignmentFilter) ([]AssignmentView, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	targets, err := m.assignmentTargets(ctx, f)
	if err != nil {
		return nil, err
	}
	var list []AssignmentView
	if f.Effective {
		list, err = m.effective(ctx, f, targets)
	} else {
		list, err = m.direct(ctx, f, targets)
	}
	if err != nil {
		return nil, err
	}
	if f.InDomain != "" {
		if list, err = m.withinDomain(ctx, list, f.InDomain); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(list, func(a, b AssignmentView) int {
		return cmp.Or(cmp.Compare(a.TargetID, b.TargetID), cmp.Compare(a.ActorID, b.ActorID), cmp.Compare(a.RoleID, b.RoleID),
			cmp.Compare(a.ViaGroup, b.ViaGroup), cmp.Compare(a.PriorRole, b.PriorRole), cmp.Compare(a.InheritFrom, b.InheritFrom))
	})
	return slices.Compact(list), nil
}

func (f *AssignmentFilter) check() error {
	switch {
	case f.UserID != "" && f.GroupID != "":
		return fault.Invalidf("Specify a user or group, not both")
	case f.ProjectID != "" && f.DomainID != "", f.System && (f.ProjectID != "" || f.DomainID != ""):
		return fault.Invalidf("Specify a domain or project, not both")
	case f.Effective && f.GroupID != "":
		return fault.Invalidf("Combining effective and group filter will always result in an empty list.")
	case f.Effective && f.Inherited && f.DomainID != "":
		return fault.Invalidf("Combining effective, domain and inherited filters will always result in an empty list.")
	case f.Subtree && f.ProjectID == "":
		return fault.Invalidf("scope.project.id must be specified if include_subtree is also specified")
	}
	return nil
}

// assignmentTargets are the ids of targets asked for; nil: any.
func (m *Manager) assignmentTargets(ctx context.Context, f AssignmentFilter) ([]string, error) {
	switch {
	case f.System:
		return []string{identity.SystemAll}, nil
	case f.DomainID != "":
		return []string{f.DomainID}, nil
	case f.ProjectID == "":
		return nil, nil
	}
	ids := []string{f.ProjectID}
	if f.Subtree {
		down, err := m.store.Subtree(ctx, f.ProjectID)
		if err != nil {
			return nil, err
		}
		for _, p := range down {
			ids = append(ids, p.ID)
		}
	}
	return ids, nil
}

func (m *Manager) direct(ctx context.Context, f AssignmentFilter, targets []string) ([]AssignmentView, error) {
	var q identity.Query
	if f.UserID != "" {
		q = q.And("actor_type", identity.ActorUser).And("actor_id", f.UserID)
	}
	if f.GroupID != "" {
		q = q.And("actor_type", identity.ActorGroup).And("actor_id", f.GroupID)
	}
	if f.RoleID != "" {
		q = q.And("role_id", f.RoleID)
	}
	if f.Inherited {
		q = q.And("inherited", true)
	}
	if f.System {
		q = q.And("target_type", identity.TargetSystem)
	}
	if targets != nil {
		q.Filters = append(q.Filters, identity.Filter{Field: "target_id", Op: identity.In, Value: targets})
	}
	list, err := m.store.Assignments(ctx, q)
	out := make([]AssignmentView, len(list))
	for i := range list {
		out[i].Assignment = list[i]
	}
	return out, err
}

// effective works out what assignments come to. With a target only those on
// it and on what is above it are read.
func (m *Manager) effective(ctx context.Context, f AssignmentFilter, targets []string) ([]AssignmentView, error) {
	list, err := m.relevant(ctx, f, targets)
	if err != nil {
		return nil, err
	}
	views, err := m.throughGroups(ctx, f, list)
	if err != nil {
		return nil, err
	}
	if views, err = m.throughTree(ctx, views); err != nil {
		return nil, err
	}
	gen, err := m.store.Generation(ctx)
	if err != nil {
		return nil, err
	}
	b, err := m.readBook(ctx, gen)
	if err != nil {
		return nil, err
	}
	views = throughImplied(b, views)
	return slices.DeleteFunc(views, func(v AssignmentView) bool {
		return f.RoleID != "" && v.RoleID != f.RoleID || targets != nil && !slices.Contains(targets, v.TargetID) ||
			f.Inherited && v.InheritFrom == "" || f.UserID != "" && v.ActorID != f.UserID
	}), nil
}

// relevant reads the assignments from which those asked for may follow.
func (m *Manager) relevant(ctx context.Context, f AssignmentFilter, targets []string) ([]identity.Assignment, error) {
	if f.UserID != "" {
		groups, err := m.groupsInDirectory(ctx, f.UserID)
		if err != nil {
			return nil, err
		}
		return m.store.AssignmentsOf(ctx, f.UserID, groups)
	}
	var q identity.Query
	if targets != nil {
		ids := slices.Clone(targets)
		if f.ProjectID != "" {
			p, err := m.store.Projects.Get(ctx, f.ProjectID)
			if err != nil {
				return nil, err
			}
			up, err := m.store.Ancestors(ctx, p)
			if err != nil {
				return nil, err
			}
			for _, a := range up {
				ids = append(ids, a.ID)
			}
		}
		q.Filters = append(q.Filters, identity.Filter{Field: "target_id", Op: identity.In, Value: ids})
	}
	return m.store.Assignments(ctx, q)
}

// throughGroups replaces groups by their users.
func (m *Manager) throughGroups(ctx context.Context, f AssignmentFilter, list []identity.Assignment) ([]AssignmentView, error) {
	var groups []string
	for _, a := range list {
		if a.ActorType == identity.ActorGroup && !slices.Contains(groups, a.ActorID) {
			groups = append(groups, a.ActorID)
		}
	}
	in := map[string][]string{}
	if len(groups) > 0 {
		members, err := m.store.Memberships(ctx, groups)
		if err != nil {
			return nil, err
		}
		more, err := m.directoryMemberships(ctx, f.UserID, groups)
		if err != nil {
			return nil, err
		}
		for _, x := range append(members, more...) {
			if f.UserID == "" || f.UserID == x.UserID {
				in[x.GroupID] = append(in[x.GroupID], x.UserID)
			}
		}
	}
	var out []AssignmentView
	for _, a := range list {
		if a.ActorType == identity.ActorUser {
			out = append(out, AssignmentView{Assignment: a})
			continue
		}
		for _, u := range in[a.ActorID] {
			v := AssignmentView{Assignment: a, ViaGroup: a.ActorID}
			v.ActorType, v.ActorID = identity.ActorUser, u
			out = append(out, v)
		}
	}
	return out, nil
}

// throughTree replaces inherited assignments by those on the projects below.
func (m *Manager) throughTree(ctx context.Context, list []AssignmentView) ([]AssignmentView, error) {
	below := map[string][]identity.Project{}
	var out []AssignmentView
	for _, v := range list {
		if !v.Inherited {
			out = append(out, v)
			continue
		}
		down, ok := below[v.TargetID]
		if !ok {
			var err error
			if down, err = m.store.Subtree(ctx, v.TargetID); err != nil {
				return nil, err
			}
			below[v.TargetID] = down
		}
		for _, p := range down {
			x := v
			x.InheritFrom, x.FromType = v.TargetID, v.TargetType
			x.TargetType, x.TargetID, x.Inherited = identity.TargetProject, p.ID, false
			out = append(out, x)
			if len(out) > maxEffective {
				return nil, fault.Invalidf("There are too many effective role assignments; narrow the list by user, project or domain.")
			}
		}
	}
	return out, nil
}

// maxEffective bounds what a list of assignments may expand to.
const maxEffective = 100000

func throughImplied(b *book, list []AssignmentView) []AssignmentView {
	var out []AssignmentView
	for _, v := range list {
		if r := b.roles[v.RoleID]; r != nil && r.DomainID == "" {
			out = append(out, v)
		}
		seen := map[string]bool{v.RoleID: true}
		for todo := []string{v.RoleID}; len(todo) > 0; todo = todo[1:] {
			for _, id := range b.implied[todo[0]] {
				if seen[id] {
					continue
				}
				seen[id] = true
				todo = append(todo, id)
				x := v
				x.RoleID, x.PriorRole = id, todo[0]
				if r := b.roles[id]; r != nil && r.DomainID == "" {
					out = append(out, x)
				}
			}
		}
	}
	return out
}

func (m *Manager) withinDomain(ctx context.Context, list []AssignmentView, domain string) ([]AssignmentView, error) {
	n, err := m.NamesOf(ctx, list)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list, func(v AssignmentView) bool {
		p, ok := n.Projects[v.TargetID]
		return !ok || p.OwnerDomain() != domain
	}), nil
}

// NamesOf looks up what a list of assignments refers to, one query a kind.
func (m *Manager) NamesOf(ctx context.Context, list []AssignmentView) (*Names, error) {
	users, groups, roles, projects := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, v := range list {
		if v.ActorType == identity.ActorUser {
			users[v.ActorID] = true
		} else {
			groups[v.ActorID] = true
		}
		if v.ViaGroup != "" {
			groups[v.ViaGroup] = true
		}
		roles[v.RoleID] = true
		if v.TargetType != identity.TargetSystem {
			projects[v.TargetID] = true
		}
	}
	n := &Names{}
	var err error
	if n.Users, err = byID(users, func(q identity.Query) ([]identity.User, error) { return m.store.Users.List(ctx, q) }, func(u *identity.User) string { return u.ID }); err != nil {
		return nil, err
	}
	if n.Groups, err = byID(groups, func(q identity.Query) ([]identity.Group, error) { return m.store.Groups.List(ctx, q) }, func(g *identity.Group) string { return g.ID }); err != nil {
		return nil, err
	}
	if n.Roles, err = byID(roles, func(q identity.Query) ([]identity.Role, error) { return m.store.Roles.List(ctx, q) }, func(r *identity.Role) string { return r.ID }); err != nil {
		return nil, err
	}
	read := func(q identity.Query) ([]identity.Project, error) { return m.store.Projects.List(ctx, q) }
	if n.Projects, err = byID(projects, read, func(p *identity.Project) string { return p.ID }); err != nil {
		return nil, err
	}
	if err := m.directoryNames(ctx, n, users, groups); err != nil {
		return nil, err
	}
	// The domains of all these, for their names.
	more := map[string]bool{}
	need := func(id string) {
		if _, have := n.Projects[id]; id != "" && !have {
			more[id] = true
		}
	}
	for _, u := range n.Users {
		need(u.DomainID)
	}
	for _, g := range n.Groups {
		need(g.DomainID)
	}
	for _, r := range n.Roles {
		need(r.DomainID)
	}
	for _, p := range n.Projects {
		need(p.DomainID)
	}
	domains, err := byID(more, read, func(p *identity.Project) string { return p.ID })
	for id, d := range domains {
		n.Projects[id] = d
	}
	return n, err
}

func byID[T any](ids map[string]bool, list func(identity.Query) ([]T, error), id func(*T) string) (map[string]T, error) {
	out := map[string]T{}
	var all []string
	for i := range ids {
		all = append(all, i)
	}
	for chunk := range slices.Chunk(all, 500) {
		rows, err := list(identity.Query{Filters: []identity.Filter{{Field: "id", Op: identity.In, Value: chunk}}})
		if err != nil {
			return nil, err
		}
		for i := range rows {
			out[id(&rows[i])] = rows[i]
		}
	}
	return out, nil
}
