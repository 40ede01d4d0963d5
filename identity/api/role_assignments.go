package api

import (
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/manager"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

func (a *API) assignmentRoutes() []rest.Route {
	return []rest.Route{
		rest.GET("/v3/role_assignments", a.listAssignments, a.on("identity:list_role_assignments", loadAssignments)),
	}
}

// loadAssignments takes the token's domain as the target, to which the list is
// then cut. With include_subtree the target is the project whose subtree is
// asked for, which has a rule of its own.
func loadAssignments(a *API, r *rest.Request, _ *objects, t policy.Target) error {
	if d := r.Caller().Domain.ID; d != "" {
		t["target.domain_id"] = d
	}
	if !boolParam(r, "include_subtree") {
		return nil
	}
	r.Under("identity:list_role_assignments_for_tree")
	id := r.Query().Get("scope.project.id")
	if id == "" {
		return nil
	}
	p, err := a.m.Project(r.Context(), id)
	if err != nil {
		return err
	}
	t["target.project.id"], t["target.project.domain_id"], t["target.domain_id"] = id, nullID(p.DomainID), nullID(p.DomainID)
	return nil
}

func (a *API) listAssignments(r *rest.Request) (any, error) {
	q := r.Query()
	f := manager.AssignmentFilter{
		UserID: q.Get("user.id"), GroupID: q.Get("group.id"), RoleID: q.Get("role.id"),
		ProjectID: q.Get("scope.project.id"), DomainID: q.Get("scope.domain.id"), System: q.Has("scope.system"),
		Inherited: q.Has("scope.OS-INHERIT:inherited_to"), Effective: boolParam(r, "effective"), Subtree: boolParam(r, "include_subtree"),
		Names: boolParam(r, "include_names"),
	}
	if c := r.Caller(); c.Domain.ID != "" {
		f.InDomain = c.Domain.ID
	}
	list, err := a.m.RoleAssignments(r.Context(), f)
	if err != nil {
		return nil, err
	}
	var names *manager.Names
	if f.Names {
		if names, err = a.m.NamesOf(r.Context(), list); err != nil {
			return nil, err
		}
	}
	return viewAll(r, "role_assignments", list, 0, nil, func(v *manager.AssignmentView) doc { return viewAssignment(r, v, names) }), nil
}

func viewAssignment(r *rest.Request, v *manager.AssignmentView, n *manager.Names) doc {
	out := doc{"role": roleName(v.RoleID, n), v.ActorType: actorName(v, n)}
	links := doc{}
	target, from := "", ""
	switch v.TargetType {
	case identity.TargetSystem:
		out["scope"] = doc{"system": doc{"all": true}}
		target = "/system"
	default:
		s := doc{v.TargetType: projectName(v.TargetID, n)}
		if v.Inherited || v.InheritFrom != "" {
			s["OS-INHERIT:inherited_to"] = "projects"
		}
		out["scope"] = s
		target = "/" + v.TargetType + "s/" + v.TargetID
	}
	if v.InheritFrom != "" {
		from = "/" + v.FromType + "s/" + v.InheritFrom
	}
	actor := "/" + v.ActorType + "s/" + v.ActorID
	if v.ViaGroup != "" {
		actor = "/groups/" + v.ViaGroup
		links["membership"] = r.Link("/v3/groups/" + v.ViaGroup + "/users/" + v.ActorID)
	}
	role := v.RoleID
	if v.PriorRole != "" {
		role = v.PriorRole
		links["prior_role"] = r.Link("/v3/roles/" + v.PriorRole + "/implies/" + v.RoleID)
	}
	switch {
	case from != "":
		links["assignment"] = r.Link("/v3/OS-INHERIT" + from + actor + "/roles/" + role + "/inherited_to_projects")
	case v.Inherited:
		links["assignment"] = r.Link("/v3/OS-INHERIT" + target + actor + "/roles/" + role + "/inherited_to_projects")
	default:
		links["assignment"] = r.Link("/v3" + target + actor + "/roles/" + role)
	}
	out["links"] = links
	return out
}

func domainName(id string, n *manager.Names) doc {
	return doc{"id": id, "name": n.Projects[id].Name}
}

func roleName(id string, n *manager.Names) doc {
	if n == nil {
		return doc{"id": id}
	}
	d := doc{"id": id, "name": n.Roles[id].Name}
	if dom := n.Roles[id].DomainID; dom != "" {
		d["domain"] = domainName(dom, n)
	}
	return d
}

func projectName(id string, n *manager.Names) doc {
	if n == nil {
		return doc{"id": id}
	}
	p := n.Projects[id]
	d := doc{"id": id, "name": p.Name}
	if !p.IsDomain {
		d["domain"] = domainName(p.DomainID, n)
	}
	return d
}

func actorName(v *manager.AssignmentView, n *manager.Names) doc {
	if n == nil {
		return doc{"id": v.ActorID}
	}
	if v.ActorType == identity.ActorUser {
		u := n.Users[v.ActorID]
		return doc{"id": v.ActorID, "name": u.Name, "domain": domainName(u.DomainID, n)}
	}
	g := n.Groups[v.ActorID]
	return doc{"id": v.ActorID, "name": g.Name, "domain": domainName(g.DomainID, n)}
}
