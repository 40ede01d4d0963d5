package api

import (
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/rest"
)

// grantRoutes are the same five operations for each pair of target and actor.
func (a *API) grantRoutes() []rest.Route {
	var out []rest.Route
	type part struct {
		path string
		load loader
		kind string
	}
	targets := []part{{"/projects/{project_id}", loadProject, identity.TargetProject}, {"/domains/{domain_id}", loadDomain, identity.TargetDomain}}
	actors := []part{{"/users/{user_id}", loadUser, identity.ActorUser}, {"/groups/{group_id}", loadGroup, identity.ActorGroup}}
	for _, t := range targets {
		for _, x := range actors {
			for _, inherited := range []bool{false, true} {
				g := &grant{a, t.kind, x.kind, inherited}
				base, end := "/v3"+t.path+x.path+"/roles", ""
				if inherited {
					base, end = "/v3/OS-INHERIT"+t.path+x.path+"/roles", "/inherited_to_projects"
				}
				one := base + "/{role_id}" + end
				out = append(out,
					rest.GET(base+end, g.list, a.on("identity:list_grants", x.load, t.load)),
					rest.PUT(one, g.create, a.on("identity:create_grant", loadRole, x.load, t.load)),
					rest.GET(one, g.check, a.on("identity:check_grant", loadRole, x.load, t.load)),
					rest.DELETE(one, g.remove, a.on("identity:revoke_grant", loadRole, x.load, t.load)))
			}
		}
	}
	for _, x := range actors {
		g := &grant{a, identity.TargetSystem, x.kind, false}
		base := "/v3/system" + x.path + "/roles"
		out = append(out,
			rest.GET(base, g.list, a.on("identity:list_system_grants_for_"+x.kind, x.load)),
			rest.PUT(base+"/{role_id}", g.create, a.on("identity:create_system_grant_for_"+x.kind, loadRole, x.load)),
			rest.GET(base+"/{role_id}", g.check, a.on("identity:check_system_grant_for_"+x.kind, loadRole, x.load)),
			rest.DELETE(base+"/{role_id}", g.remove, a.on("identity:revoke_system_grant_for_"+x.kind, loadRole, x.load)))
	}
	return out
}

// grant is one pair of target and actor.
type grant struct {
	a             *API
	target, actor string
	inherited     bool
}

func (g *grant) assignment(r *rest.Request) identity.Assignment {
	o := found(r)
	v := identity.Assignment{ActorType: g.actor, TargetType: g.target, Inherited: g.inherited, TargetID: identity.SystemAll}
	if g.actor == identity.ActorUser {
		v.ActorID = o.user.ID
	} else {
		v.ActorID = o.group.ID
	}
	switch g.target {
	case identity.TargetProject:
		v.TargetID = o.project.ID
	case identity.TargetDomain:
		v.TargetID = o.domain.ID
	}
	if o.role != nil {
		v.RoleID = o.role.ID
	}
	return v
}

func (g *grant) list(r *rest.Request) (any, error) {
	list, err := g.a.m.GrantedRoles(r.Context(), g.assignment(r))
	if err != nil {
		return nil, err
	}
	return viewRoles(r, list, 0), nil
}

func (g *grant) create(r *rest.Request) (any, error) {
	return nil, g.a.m.Grant(r.Context(), g.assignment(r), found(r).role)
}

func (g *grant) check(r *rest.Request) (any, error) {
	return nil, g.a.m.Granted(r.Context(), g.assignment(r))
}

func (g *grant) remove(r *rest.Request) (any, error) {
	return nil, g.a.m.RevokeGrant(r.Context(), g.assignment(r))
}
