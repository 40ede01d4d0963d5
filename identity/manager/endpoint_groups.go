package manager

import (
	"context"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/store"
)

// EndpointGroup returns one endpoint group.
func (m *Manager) EndpointGroup(ctx context.Context, id string) (*identity.EndpointGroup, error) {
	return m.store.EndpointGroups.Get(ctx, id)
}

// EndpointGroups lists endpoint groups.
func (m *Manager) EndpointGroups(ctx context.Context, q identity.Query) ([]identity.EndpointGroup, error) {
	return m.store.EndpointGroups.List(ctx, q)
}

// CreateEndpointGroup stores an endpoint group.
func (m *Manager) CreateEndpointGroup(ctx context.Context, g identity.EndpointGroup) (*identity.EndpointGroup, error) {
	g.ID = rowID(ctx)
	return &g, m.change(ctx, func(ctx context.Context) error { return m.store.EndpointGroups.Create(ctx, &g) })
}

// UpdateEndpointGroup stores the differences of after to before.
func (m *Manager) UpdateEndpointGroup(ctx context.Context, before, after *identity.EndpointGroup) error {
	return m.change(ctx, func(ctx context.Context) error {
		return m.store.EndpointGroups.Update(ctx, before.ID, before, after)
	})
}

// DeleteEndpointGroup removes an endpoint group.
func (m *Manager) DeleteEndpointGroup(ctx context.Context, id string) error {
	return m.change(ctx, func(ctx context.Context) error { return m.store.EndpointGroups.Delete(ctx, id) })
}

// EndpointsInGroup lists the endpoints that match a group's filters.
func (m *Manager) EndpointsInGroup(ctx context.Context, g *identity.EndpointGroup) ([]identity.Endpoint, error) {
	all, err := m.store.Endpoints.List(ctx, identity.Query{})
	out := []identity.Endpoint{}
	for i := range all {
		if g.Matches(&all[i]) {
			out = append(out, all[i])
		}
	}
	return out, err
}

// LinkEndpoint shows an endpoint to a project (OS-EP-FILTER).
func (m *Manager) LinkEndpoint(ctx context.Context, projectID, endpointID string) error {
	return m.change(ctx, func(ctx context.Context) error {
		return m.store.Link(ctx, store.ProjectEndpoints, projectID, endpointID)
	})
}

// EndpointLinked is fault.NotFound unless the endpoint is shown to the project.
func (m *Manager) EndpointLinked(ctx context.Context, projectID, endpointID string) error {
	return linked(m.store.Linked(ctx, store.ProjectEndpoints, projectID, endpointID))
}

func linked(ok bool, err error) error {
	if err == nil && !ok {
		return fault.New(fault.NotFound, "Could not find the association.")
	}
	return err
}

// UnlinkEndpoint ends what LinkEndpoint did.
func (m *Manager) UnlinkEndpoint(ctx context.Context, projectID, endpointID string) error {
	return m.change(ctx, func(ctx context.Context) error {
		return m.store.Unlink(ctx, store.ProjectEndpoints, projectID, endpointID)
	})
}

// LinkGroup shows the endpoints of a group to a project.
func (m *Manager) LinkGroup(ctx context.Context, projectID, groupID string) error {
	return m.change(ctx, func(ctx context.Context) error {
		return m.store.Link(ctx, store.ProjectEndpointGroups, projectID, groupID)
	})
}

// GroupLinked is fault.NotFound unless the group is shown to the project.
func (m *Manager) GroupLinked(ctx context.Context, projectID, groupID string) error {
	return linked(m.store.Linked(ctx, store.ProjectEndpointGroups, projectID, groupID))
}

// UnlinkGroup ends what LinkGroup did.
func (m *Manager) UnlinkGroup(ctx context.Context, projectID, groupID string) error {
	return m.change(ctx, func(ctx context.Context) error {
		return m.store.Unlink(ctx, store.ProjectEndpointGroups, projectID, groupID)
	})
}

func ids(list []string) identity.Query {
	return identity.Query{Filters: []identity.Filter{{Field: "id", Op: identity.In, Value: list}}}
}

// EndpointsOfProject lists the endpoints shown to a project, by a group too.
func (m *Manager) EndpointsOfProject(ctx context.Context, projectID string) ([]identity.Endpoint, error) {
	gen, err := m.store.Generation(ctx)
	if err != nil {
		return nil, err
	}
	b, err := m.readBook(ctx, gen)
	if err != nil {
		return nil, err
	}
	allowed, err := m.filtered(ctx, b, projectID)
	if err != nil {
		return nil, err
	}
	var list []string
	for id := range allowed {
		list = append(list, id)
	}
	return m.store.Endpoints.List(ctx, ids(list))
}

// GroupsOfProject lists the endpoint groups shown to a project.
func (m *Manager) GroupsOfProject(ctx context.Context, projectID string) ([]identity.EndpointGroup, error) {
	list, err := m.store.LinkedTo(ctx, store.ProjectEndpointGroups, projectID)
	if err != nil {
		return nil, err
	}
	return m.store.EndpointGroups.List(ctx, ids(list))
}

// ProjectsOfEndpoint lists the projects to which an endpoint is shown itself.
func (m *Manager) ProjectsOfEndpoint(ctx context.Context, id string) ([]identity.Project, error) {
	return m.projectsLinked(ctx, store.ProjectEndpoints, id)
}

// ProjectsOfGroup lists the projects to which an endpoint group is shown.
func (m *Manager) ProjectsOfGroup(ctx context.Context, id string) ([]identity.Project, error) {
	return m.projectsLinked(ctx, store.ProjectEndpointGroups, id)
}

func (m *Manager) projectsLinked(ctx context.Context, table, id string) ([]identity.Project, error) {
	list, err := m.store.ProjectsLinkedTo(ctx, table, id)
	if err != nil {
		return nil, err
	}
	set := map[string]bool{}
	for _, p := range list {
		set[p] = true
	}
	return m.projectsByID(ctx, set)
}
