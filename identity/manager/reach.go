package manager

import (
	"context"
	"slices"
	"strings"

	"github.com/tropocloud/tropo/identity"
)

// StoredUser returns a user's row, as UpdateUser wants it.
func (m *Manager) StoredUser(ctx context.Context, id string) (*identity.User, error) {
	return m.userByID(ctx, id)
}

// ReachableProjects lists the enabled projects on which a user has a role, by
// a group or by inheritance as well.
func (m *Manager) ReachableProjects(ctx context.Context, userID string, groups []string) ([]identity.Project, error) {
	groups, err := m.withDirectory(ctx, userID, groups)
	if err != nil {
		return nil, err
	}
	list, err := m.store.AssignmentsOf(ctx, userID, groups)
	if err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	for _, a := range list {
		switch {
		case a.TargetType == identity.TargetProject && !a.Inherited:
			ids[a.TargetID] = true
		case a.Inherited:
			down, err := m.store.Subtree(ctx, a.TargetID)
			if err != nil {
				return nil, err
			}
			for _, p := range down {
				ids[p.ID] = true
			}
		}
	}
	out, err := m.projectsByID(ctx, ids)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(out, func(p identity.Project) bool { return !p.Enabled }), nil
}

func (m *Manager) projectsByID(ctx context.Context, ids map[string]bool) ([]identity.Project, error) {
	var all []string
	for id := range ids {
		all = append(all, id)
	}
	slices.Sort(all)
	var out []identity.Project
	for chunk := range slices.Chunk(all, 500) {
		list, err := m.Projects(ctx, identity.Query{Filters: []identity.Filter{{Field: "id", Op: identity.In, Value: chunk}}}, TagFilter{})
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	slices.SortFunc(out, func(a, b identity.Project) int { return strings.Compare(a.Name+a.ID, b.Name+b.ID) })
	return out, nil
}

// ReachableDomains lists the enabled domains on which a user has a role.
func (m *Manager) ReachableDomains(ctx context.Context, userID string, groups []string) ([]identity.Project, error) {
	groups, err := m.withDirectory(ctx, userID, groups)
	if err != nil {
		return nil, err
	}
	list, err := m.store.AssignmentsOf(ctx, userID, groups)
	if err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	for _, a := range list {
		if a.TargetType == identity.TargetDomain && !a.Inherited {
			ids[a.TargetID] = true
		}
	}
	out, err := m.projectsByID(ctx, ids)
	return slices.DeleteFunc(out, func(p identity.Project) bool { return !p.Enabled }), err
}

// ReachesSystem reports whether a user has a role on the system.
func (m *Manager) ReachesSystem(ctx context.Context, userID string, groups []string) (bool, error) {
	groups, err := m.withDirectory(ctx, userID, groups)
	if err != nil {
		return false, err
	}
	ids, err := m.store.RolesOn(ctx, userID, groups, identity.TargetSystem, identity.SystemAll)
	return len(ids) > 0, err
}
