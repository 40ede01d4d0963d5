package api

import (
	"net/http"
	"strings"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/manager"
	"github.com/tropocloud/tropo/rest"
)

func (a *API) projectRoutes() []rest.Route {
	created := rest.Status(http.StatusCreated)
	return []rest.Route{
		rest.GET("/v3/domains", a.listDomains, a.on("identity:list_domains", loadOwnDomain)),
		rest.POST("/v3/domains", a.createDomain, a.on("identity:create_domain"), rest.Schema("domain_create"), created),
		rest.GET("/v3/domains/{domain_id}", a.showDomain, a.on("identity:get_domain", loadDomain)),
		rest.PATCH("/v3/domains/{domain_id}", a.updateDomain, a.on("identity:update_domain", loadDomain), rest.Schema("domain_update")),
		rest.DELETE("/v3/domains/{domain_id}", a.deleteDomain, a.on("identity:delete_domain", loadDomain)),
		rest.GET("/v3/projects", a.listProjects, a.on("identity:list_projects", loadOwnDomain)),
		rest.POST("/v3/projects", a.createProject, a.on("identity:create_project", loadNewProject), rest.Schema("project_create"), created),
		rest.GET("/v3/projects/{project_id}", a.showProject, a.on("identity:get_project", loadProject)),
		rest.PATCH("/v3/projects/{project_id}", a.updateProject, a.on("identity:update_project", loadProject), rest.Schema("project_update")),
		rest.DELETE("/v3/projects/{project_id}", a.deleteProject, a.on("identity:delete_project", loadProject)),
		rest.GET("/v3/projects/{project_id}/tags", a.listTags, a.on("identity:list_project_tags", loadProject)),
		rest.PUT("/v3/projects/{project_id}/tags", a.setTags, a.on("identity:update_project_tags", loadProject), rest.Schema("project_tags")),
		rest.DELETE("/v3/projects/{project_id}/tags", a.clearTags, a.on("identity:delete_project_tags", loadProject)),
		rest.GET("/v3/projects/{project_id}/tags/{value}", a.checkTag, a.on("identity:get_project_tag", loadProject)),
		rest.PUT("/v3/projects/{project_id}/tags/{value}", a.addTag, a.on("identity:create_project_tag", loadProject), created),
		rest.DELETE("/v3/projects/{project_id}/tags/{value}", a.removeTag, a.on("identity:delete_project_tag", loadProject)),
	}
}

func viewProject(r *rest.Request, p *identity.Project) doc {
	d := view(r, *p, "/projects")
	d["domain_id"], d["parent_id"] = nullID(p.DomainID), nullID(p.ParentID)
	return d
}

func viewDomain(r *rest.Request, p *identity.Project) doc {
	d := view(r, *p, "/domains")
	delete(d, "domain_id")
	delete(d, "parent_id")
	delete(d, "is_domain")
	return d
}

func projectID(p *identity.Project) string { return p.ID }

func viewProjects(r *rest.Request, list []identity.Project) doc {
	return viewAll(r, "projects", list, 0, projectID, func(p *identity.Project) doc { return viewProject(r, p) })
}

func viewDomains(r *rest.Request, list []identity.Project) doc {
	return viewAll(r, "domains", list, 0, projectID, func(p *identity.Project) doc { return viewDomain(r, p) })
}

func (a *API) listDomains(r *rest.Request) (any, error) {
	q, err := query(r, map[string]field{"name": {"name", text}, "enabled": {"enabled", flag}})
	if err != nil {
		return nil, err
	}
	q = q.And("is_domain", true)
	if d := r.Caller().Domain.ID; d != "" {
		q = q.And("id", d)
	}
	list, err := a.m.Projects(r.Context(), q, manager.TagFilter{})
	if err != nil {
		return nil, err
	}
	return viewAll(r, "domains", list, q.Limit, projectID, func(p *identity.Project) doc { return viewDomain(r, p) }), nil
}

func (a *API) createDomain(r *rest.Request) (any, error) {
	in, err := body(r, "domain")
	if err != nil {
		return nil, err
	}
	p := identity.Project{Enabled: true}
	if err := apply(in, &p, "explicit_domain_id", "domain_id", "parent_id", "is_domain"); err != nil {
		return nil, err
	}
	p.IsDomain = true
	if id := str(in, "explicit_domain_id"); id != "" {
		if !hexID(id) {
			return nil, fault.Invalidf("Invalid input for field/attribute explicit_domain_id. It must be 32 hex digits.")
		}
		p.ID = id
	}
	v, err := a.m.CreateProject(r.Context(), p)
	if err != nil {
		return nil, err
	}
	return doc{"domain": viewDomain(r, v)}, nil
}

func hexID(s string) bool { return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == "" }

func (a *API) showDomain(r *rest.Request) (any, error) {
	return doc{"domain": viewDomain(r, found(r).domain)}, nil
}

func (a *API) updateDomain(r *rest.Request) (any, error) {
	in, err := body(r, "domain")
	if err != nil {
		return nil, err
	}
	v, err := a.patchProject(r, found(r).domain, in)
	if err != nil {
		return nil, err
	}
	return doc{"domain": viewDomain(r, v)}, nil
}

func (a *API) patchProject(r *rest.Request, before *identity.Project, in doc) (*identity.Project, error) {
	after := *before
	if err := apply(in, &after); err != nil {
		return nil, err
	}
	return a.m.UpdateProject(r.Context(), before, &after)
}

func (a *API) deleteDomain(r *rest.Request) (any, error) {
	return nil, a.m.DeleteProject(r.Context(), found(r).domain)
}

func tagFilter(r *rest.Request) manager.TagFilter {
	list := func(name string) []string {
		if v := r.Query().Get(name); v != "" {
			return strings.Split(v, ",")
		}
		return nil
	}
	return manager.TagFilter{All: list("tags"), Any: list("tags-any"), NotAll: list("not-tags"), NotAny: list("not-tags-any")}
}

func (a *API) listProjects(r *rest.Request) (any, error) {
	q, err := query(r, map[string]field{
		"name": {"name", text}, "domain_id": {"domain_id", text}, "parent_id": {"parent_id", text},
		"enabled": {"enabled", flag}, "is_domain": {"is_domain", flag},
	})
	if err != nil {
		return nil, err
	}
	if _, set := q.Get("is_domain"); !set {
		q = q.And("is_domain", false)
	}
	q = inDomain(r, q)
	list, err := a.m.Projects(r.Context(), q, tagFilter(r))
	if err != nil {
		return nil, err
	}
	return viewAll(r, "projects", list, q.Limit, projectID, func(p *identity.Project) doc { return viewProject(r, p) }), nil
}

func (a *API) createProject(r *rest.Request) (any, error) {
	in := found(r).in
	p := identity.Project{Enabled: true}
	if err := apply(in, &p); err != nil {
		return nil, err
	}
	if p.IsDomain {
		if p.ParentID != "" || p.DomainID != "" {
			return nil, fault.Invalidf("A project that acts as a domain has no parent and no domain.")
		}
	} else if p.DomainID == "" && p.ParentID == "" {
		p.DomainID = newDomain(r, in)
	}
	v, err := a.m.CreateProject(r.Context(), p)
	if err != nil {
		return nil, err
	}
	return doc{"project": viewProject(r, v)}, nil
}

// showProject adds what is above and below the project, as far as the caller
// may see it.
func (a *API) showProject(r *rest.Request) (any, error) {
	p := found(r).project
	d := viewProject(r, p)
	upList, upIDs, downList, downIDs := boolParam(r, "parents_as_list"), boolParam(r, "parents_as_ids"), boolParam(r, "subtree_as_list"), boolParam(r, "subtree_as_ids")
	if upList && upIDs || downList && downIDs {
		return nil, fault.Invalidf("Cannot use parents_as_list and parents_as_ids, or subtree_as_list and subtree_as_ids, at the same time.")
	}
	if upList || upIDs {
		up, err := a.m.Ancestors(r.Context(), p)
		if err != nil {
			return nil, err
		}
		if upIDs {
			d["parents"] = chain(up)
		} else {
			if d["parents"], err = a.visible(r, up); err != nil {
				return nil, err
			}
		}
	}
	if downList || downIDs {
		down, err := a.m.Subtree(r.Context(), p.ID)
		if err != nil {
			return nil, err
		}
		if downIDs {
			d["subtree"] = tree(p.ID, down)
		} else {
			if d["subtree"], err = a.visible(r, down); err != nil {
				return nil, err
			}
		}
	}
	return doc{"project": d}, nil
}

// visible renders the projects on which the caller has a role.
func (a *API) visible(r *rest.Request, list []identity.Project) ([]doc, error) {
	t, err := a.caller(r)
	if err != nil {
		return nil, err
	}
	reach, err := a.m.ReachableProjects(r.Context(), t.User.ID, t.GroupIDs)
	if err != nil {
		return nil, err
	}
	mine := map[string]bool{}
	for _, p := range reach {
		mine[p.ID] = true
	}
	out := []doc{}
	for i := range list {
		if mine[list[i].ID] {
			out = append(out, doc{"project": viewProject(r, &list[i])})
		}
	}
	return out, nil
}

// chain nests the ids of ancestors, the nearest outermost.
func chain(up []identity.Project) any {
	var out any
	for i := len(up) - 1; i >= 0; i-- {
		out = doc{up[i].ID: out}
	}
	return out
}

// tree nests the ids of what is below id.
func tree(id string, down []identity.Project) any {
	out := doc{}
	for _, p := range down {
		if p.ParentID == id {
			out[p.ID] = tree(p.ID, down)
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

func (a *API) updateProject(r *rest.Request) (any, error) {
	in, err := body(r, "project")
	if err != nil {
		return nil, err
	}
	v, err := a.patchProject(r, found(r).project, in)
	if err != nil {
		return nil, err
	}
	return doc{"project": viewProject(r, v)}, nil
}

func (a *API) deleteProject(r *rest.Request) (any, error) {
	if boolParam(r, "cascade") {
		return nil, a.m.CascadeProject(r.Context(), found(r).project)
	}
	return nil, a.m.DeleteProject(r.Context(), found(r).project)
}

func tagsDoc(r *rest.Request, id string, tags []string) doc {
	if tags == nil {
		tags = []string{}
	}
	return doc{"tags": tags, "links": doc{"next": nil, "self": r.Link("/v3/projects/" + id + "/tags"), "previous": nil}}
}

func (a *API) listTags(r *rest.Request) (any, error) {
	return tagsDoc(r, found(r).project.ID, found(r).project.Tags), nil
}

func (a *API) setTags(r *rest.Request) (any, error) {
	var in struct {
		Tags []string `json:"tags"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	return tagsDoc(r, found(r).project.ID, in.Tags), a.m.SetTags(r.Context(), found(r).project.ID, in.Tags)
}

func (a *API) clearTags(r *rest.Request) (any, error) {
	return nil, a.m.SetTags(r.Context(), found(r).project.ID, nil)
}

func (a *API) checkTag(r *rest.Request) (any, error) {
	for _, t := range found(r).project.Tags {
		if t == r.Var("value") {
			return nil, nil
		}
	}
	return nil, fault.New(fault.NotFound, "Could not find project tag: %s.", r.Var("value"))
}

func (a *API) addTag(r *rest.Request) (any, error) {
	tag := r.Var("value")
	if tag == "" || len(tag) > 255 || strings.ContainsAny(tag, ",/") {
		return nil, fault.Invalidf("Invalid input for field/attribute value. Value: %s.", tag)
	}
	p := found(r).project
	if err := a.m.AddTag(r.Context(), p, tag); err != nil {
		return nil, err
	}
	return &rest.Response{Header: http.Header{"Location": {r.Link("/v3/projects/" + p.ID + "/tags/" + tag)}}, Body: []byte{}}, nil
}

func (a *API) removeTag(r *rest.Request) (any, error) {
	return nil, a.m.RemoveTag(r.Context(), found(r).project.ID, r.Var("value"))
}
