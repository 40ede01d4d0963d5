package api

import (
	"net/http"

	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

func (a *API) endpointFilterRoutes() []rest.Route {
	const f = "/v3/OS-EP-FILTER"
	const groups, group = f + "/endpoint_groups", f + "/endpoint_groups/{endpoint_group_id}"
	const shown = f + "/projects/{project_id}/endpoints"
	return []rest.Route{
		rest.GET(groups, a.listEndpointGroups, a.on("identity:list_endpoint_groups")),
		rest.POST(groups, a.createEndpointGroup, a.on("identity:create_endpoint_group"), rest.Schema("endpoint_group_create"), rest.Status(http.StatusCreated)),
		rest.GET(group, a.showEndpointGroup, a.on("identity:get_endpoint_group", loadEndpointGroup)),
		rest.PATCH(group, a.updateEndpointGroup, a.on("identity:update_endpoint_group", loadEndpointGroup), rest.Schema("endpoint_group_update")),
		rest.DELETE(group, a.deleteEndpointGroup, a.on("identity:delete_endpoint_group", loadEndpointGroup)),
		rest.GET(group+"/endpoints", a.listGroupEndpoints, a.on("identity:list_endpoints_associated_with_endpoint_group", loadEndpointGroup)),
		rest.GET(group+"/projects", a.listGroupProjects, a.on("identity:list_projects_associated_with_endpoint_group", loadEndpointGroup)),
		rest.PUT(group+"/projects/{project_id}", a.linkGroup, a.on("identity:add_endpoint_group_to_project", loadEndpointGroup, loadProject)),
		rest.GET(group+"/projects/{project_id}", a.showGroupLink, a.on("identity:get_endpoint_group_in_project", loadEndpointGroup, loadProject)),
		rest.HEAD(group+"/projects/{project_id}", a.checkGroupLink, a.on("identity:get_endpoint_group_in_project", loadEndpointGroup, loadProject)),
		rest.DELETE(group+"/projects/{project_id}", a.unlinkGroup, a.on("identity:remove_endpoint_group_from_project", loadEndpointGroup, loadProject)),
		rest.GET(f+"/endpoints/{endpoint_id}/projects", a.listEndpointProjects, a.on("identity:list_projects_for_endpoint", loadEndpoint)),
		rest.GET(f+"/projects/{project_id}/endpoint_groups", a.listProjectGroups, a.on("identity:list_endpoint_groups_for_project", loadProject)),
		rest.GET(shown, a.listProjectEndpoints, a.on("identity:list_endpoints_for_project", loadProject)),
		rest.PUT(shown+"/{endpoint_id}", a.linkEndpoint, a.on("identity:add_endpoint_to_project", loadProject, loadEndpoint)),
		rest.GET(shown+"/{endpoint_id}", a.checkEndpointLink, a.on("identity:check_endpoint_in_project", loadProject, loadEndpoint)),
		rest.DELETE(shown+"/{endpoint_id}", a.unlinkEndpoint, a.on("identity:remove_endpoint_from_project", loadProject, loadEndpoint)),
	}
}

func loadEndpointGroup(a *API, r *rest.Request, o *objects, _ policy.Target) (err error) {
	o.epGroup, err = a.m.EndpointGroup(r.Context(), r.Var("endpoint_group_id"))
	return err
}

func viewEndpointGroup(r *rest.Request, g *identity.EndpointGroup) doc {
	return view(r, *g, "/OS-EP-FILTER/endpoint_groups")
}

func viewEndpointGroups(r *rest.Request, list []identity.EndpointGroup, limit int) doc {
	return viewAll(r, "endpoint_groups", list, limit, func(g *identity.EndpointGroup) string { return g.ID }, func(g *identity.EndpointGroup) doc { return viewEndpointGroup(r, g) })
}

func viewEndpoints(r *rest.Request, list []identity.Endpoint) doc {
	return viewAll(r, "endpoints", list, 0, nil, func(e *identity.Endpoint) doc { return viewEndpoint(r, e) })
}

func (a *API) listEndpointGroups(r *rest.Request) (any, error) {
	q, err := query(r, map[string]field{"name": {"name", text}})
	if err != nil {
		return nil, err
	}
	list, err := a.m.EndpointGroups(r.Context(), q)
	if err != nil {
		return nil, err
	}
	return viewEndpointGroups(r, list, q.Limit), nil
}

func (a *API) createEndpointGroup(r *rest.Request) (any, error) {
	in, err := body(r, "endpoint_group")
	if err != nil {
		return nil, err
	}
	var g identity.EndpointGroup
	if err := apply(in, &g); err != nil {
		return nil, err
	}
	v, err := a.m.CreateEndpointGroup(r.Context(), g)
	if err != nil {
		return nil, err
	}
	return doc{"endpoint_group": viewEndpointGroup(r, v)}, nil
}

func (a *API) showEndpointGroup(r *rest.Request) (any, error) {
	return doc{"endpoint_group": viewEndpointGroup(r, found(r).epGroup)}, nil
}

func (a *API) updateEndpointGroup(r *rest.Request) (any, error) {
	in, err := body(r, "endpoint_group")
	if err != nil {
		return nil, err
	}
	before := found(r).epGroup
	after := *before
	if err := apply(in, &after); err != nil {
		return nil, err
	}
	return doc{"endpoint_group": viewEndpointGroup(r, &after)}, a.m.UpdateEndpointGroup(r.Context(), before, &after)
}

func (a *API) deleteEndpointGroup(r *rest.Request) (any, error) {
	return nil, a.m.DeleteEndpointGroup(r.Context(), found(r).epGroup.ID)
}

func (a *API) listGroupEndpoints(r *rest.Request) (any, error) {
	list, err := a.m.EndpointsInGroup(r.Context(), found(r).epGroup)
	if err != nil {
		return nil, err
	}
	return viewEndpoints(r, list), nil
}

func (a *API) listGroupProjects(r *rest.Request) (any, error) {
	list, err := a.m.ProjectsOfGroup(r.Context(), found(r).epGroup.ID)
	if err != nil {
		return nil, err
	}
	return viewProjects(r, list), nil
}

func (a *API) linkGroup(r *rest.Request) (any, error) {
	return nil, a.m.LinkGroup(r.Context(), found(r).project.ID, found(r).epGroup.ID)
}

func (a *API) showGroupLink(r *rest.Request) (any, error) {
	o := found(r)
	if err := a.m.GroupLinked(r.Context(), o.project.ID, o.epGroup.ID); err != nil {
		return nil, err
	}
	return doc{"endpoint_group": viewEndpointGroup(r, o.epGroup)}, nil
}

func (a *API) checkGroupLink(r *rest.Request) (any, error) {
	return &rest.Response{Status: http.StatusOK}, a.m.GroupLinked(r.Context(), found(r).project.ID, found(r).epGroup.ID)
}

func (a *API) unlinkGroup(r *rest.Request) (any, error) {
	return nil, a.m.UnlinkGroup(r.Context(), found(r).project.ID, found(r).epGroup.ID)
}

func (a *API) listEndpointProjects(r *rest.Request) (any, error) {
	list, err := a.m.ProjectsOfEndpoint(r.Context(), found(r).endpoint.ID)
	if err != nil {
		return nil, err
	}
	return viewProjects(r, list), nil
}

func (a *API) listProjectGroups(r *rest.Request) (any, error) {
	list, err := a.m.GroupsOfProject(r.Context(), found(r).project.ID)
	if err != nil {
		return nil, err
	}
	return viewEndpointGroups(r, list, 0), nil
}

func (a *API) listProjectEndpoints(r *rest.Request) (any, error) {
	list, err := a.m.EndpointsOfProject(r.Context(), found(r).project.ID)
	if err != nil {
		return nil, err
	}
	return viewEndpoints(r, list), nil
}

func (a *API) linkEndpoint(r *rest.Request) (any, error) {
	return nil, a.m.LinkEndpoint(r.Context(), found(r).project.ID, found(r).endpoint.ID)
}

func (a *API) checkEndpointLink(r *rest.Request) (any, error) {
	return nil, a.m.EndpointLinked(r.Context(), found(r).project.ID, found(r).endpoint.ID)
}

func (a *API) unlinkEndpoint(r *rest.Request) (any, error) {
	return nil, a.m.UnlinkEndpoint(r.Context(), found(r).project.ID, found(r).endpoint.ID)
}
