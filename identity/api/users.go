package api

import (
	"net/http"
	"strings"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/manager"
	"github.com/tropocloud/tropo/rest"
)

func (a *API) userRoutes() []rest.Route {
	created := rest.Status(http.StatusCreated)
	return []rest.Route{
		rest.GET("/v3/users", a.listUsers, a.on("identity:list_users", loadOwnDomain)),
		rest.POST("/v3/users", a.createUser, a.on("identity:create_user", loadNew("user")), rest.Schema("user_create"), created),
		rest.GET("/v3/users/{user_id}", a.showUser, a.on("identity:get_user", loadUser)),
		rest.PATCH("/v3/users/{user_id}", a.updateUser, a.on("identity:update_user", loadUser), rest.Schema("user_update")),
		rest.DELETE("/v3/users/{user_id}", a.deleteUser, a.on("identity:delete_user", loadUser)),
		rest.POST("/v3/users/{user_id}/password", a.changePassword, rest.Open(), rest.Schema("user_password")),
		rest.GET("/v3/users/{user_id}/groups", a.listUserGroups, a.on("identity:list_groups_for_user", loadUser)),
		rest.GET("/v3/users/{user_id}/projects", a.listUserProjects, a.on("identity:list_user_projects", loadUser)),
		rest.GET("/v3/groups", a.listGroups, a.on("identity:list_groups", loadOwnDomain)),
		rest.POST("/v3/groups", a.createGroup, a.on("identity:create_group", loadNew("group")), rest.Schema("group_create"), created),
		rest.GET("/v3/groups/{group_id}", a.showGroup, a.on("identity:get_group", loadGroup)),
		rest.PATCH("/v3/groups/{group_id}", a.updateGroup, a.on("identity:update_group", loadGroup), rest.Schema("group_update")),
		rest.DELETE("/v3/groups/{group_id}", a.deleteGroup, a.on("identity:delete_group", loadGroup)),
		rest.GET("/v3/groups/{group_id}/users", a.listGroupUsers, a.on("identity:list_users_in_group", loadGroup)),
		rest.PUT("/v3/groups/{group_id}/users/{user_id}", a.addMember, a.on("identity:add_user_to_group", loadGroup, loadUser)),
		rest.GET("/v3/groups/{group_id}/users/{user_id}", a.checkMember, a.on("identity:check_user_in_group", loadGroup, loadUser)),
		rest.DELETE("/v3/groups/{group_id}/users/{user_id}", a.removeMember, a.on("identity:remove_user_from_group", loadGroup, loadUser)),
	}
}

func userFields() map[string]field {
	return map[string]field{"name": {"name", text}, "domain_id": {"domain_id", text}, "enabled": {"enabled", flag}, "default_project_id": {"default_project_id", text}}
}

func viewUser(r *rest.Request, u *manager.UserView) doc {
	d := view(r, u.User, "/users")
	d["password_expires_at"] = stampOrNull(u.PasswordExpiresAt)
	delete(d, "password")
	if u.DefaultProjectID == "" {
		delete(d, "default_project_id")
	}
	if u.Description == "" {
		delete(d, "description")
	}
	if len(u.Federated) > 0 {
		d["federated"] = viewFederated(u.Federated)
	}
	return d
}

func viewFederated(list []identity.FederatedUser) []doc {
	var out []doc
	for _, f := range list {
		p := doc{"protocol_id": f.ProtocolID, "unique_id": f.UniqueID}
		if n := len(out); n > 0 && out[n-1]["idp_id"] == f.ProviderID {
			out[n-1]["protocols"] = append(out[n-1]["protocols"].([]doc), p)
			continue
		}
		out = append(out, doc{"idp_id": f.ProviderID, "protocols": []doc{p}})
	}
	return out
}

func viewUsers(r *rest.Request, list []manager.UserView, q identity.Query) doc {
	return viewAll(r, "users", list, q.Limit, func(u *manager.UserView) string { return u.ID }, func(u *manager.UserView) doc { return viewUser(r, u) })
}

func (a *API) listUsers(r *rest.Request) (any, error) {
	q, err := query(r, userFields())
	if err != nil {
		return nil, err
	}
	q = inDomain(r, q)
	list, err := a.usersOf(r, q)
	if err != nil {
		return nil, err
	}
	return viewUsers(r, list, q), nil
}

// usersOf reads password_expires_at=op:time beside the other filters.
func (a *API) usersOf(r *rest.Request, q identity.Query) ([]manager.UserView, error) {
	p := r.Query().Get("password_expires_at")
	if p == "" {
		return a.m.Users(r.Context(), q)
	}
	op, at, ok := strings.Cut(p, ":")
	switch identity.Op(op) {
	case identity.Below, identity.AtMost, identity.Above, identity.AtLeast, identity.Not:
	case "eq":
		op = ""
	default:
		op, at = "", p
		ok = true
	}
	t, err := parseTime("password_expires_at", at)
	if err != nil || !ok {
		return nil, fault.Invalidf("Invalid input for query parameter password_expires_at. Value: %s.", p)
	}
	return a.m.UsersByPasswordExpiry(r.Context(), q, identity.Op(op), *t)
}

// inDomain cuts a list to the domain of a domain-scoped token, whatever domain
// is asked for.
func inDomain(r *rest.Request, q identity.Query) identity.Query {
	if d := r.Caller().Domain.ID; d != "" {
		q.Filters = append([]identity.Filter{{Field: "domain_id", Value: d}}, q.Filters...)
	}
	return q
}

func federated(in doc) []identity.FederatedUser {
	var out []identity.FederatedUser
	list, _ := in["federated"].([]any)
	for _, e := range list {
		idp, _ := e.(doc)
		protocols, _ := idp["protocols"].([]any)
		for _, p := range protocols {
			pd, _ := p.(doc)
			out = append(out, identity.FederatedUser{ProviderID: str(idp, "idp_id"), ProtocolID: str(pd, "protocol_id"), UniqueID: str(pd, "unique_id"), DisplayName: str(in, "name")})
		}
	}
	return out
}

func (a *API) createUser(r *rest.Request) (any, error) {
	in := found(r).in
	u := identity.User{Enabled: true}
	if err := apply(in, &u, "password", "federated", "password_expires_at"); err != nil {
		return nil, err
	}
	u.DomainID = newDomain(r, in)
	v, err := a.m.CreateUser(r.Context(), u, password(in), federated(in))
	if err != nil {
		return nil, err
	}
	return doc{"user": viewUser(r, v)}, nil
}

// password is nil where the document has none.
func password(in doc) *string {
	if s, ok := in["password"].(string); ok {
		return &s
	}
	return nil
}

func (a *API) showUser(r *rest.Request) (any, error) {
	return doc{"user": viewUser(r, found(r).user)}, nil
}

func (a *API) updateUser(r *rest.Request) (any, error) {
	in, err := body(r, "user")
	if err != nil {
		return nil, err
	}
	before := &found(r).user.User
	stored, err := a.m.StoredUser(r.Context(), before.ID)
	if err != nil {
		return nil, err
	}
	after := *stored
	if err := apply(in, &after, "password", "federated", "password_expires_at"); err != nil {
		return nil, err
	}
	v, err := a.m.UpdateUser(r.Context(), stored, &after, password(in))
	if err != nil {
		return nil, err
	}
	return doc{"user": viewUser(r, v)}, nil
}

func (a *API) deleteUser(r *rest.Request) (any, error) {
	return nil, a.m.DeleteUser(r.Context(), &found(r).user.User)
}

func (a *API) changePassword(r *rest.Request) (any, error) {
	in, err := body(r, "user")
	if err != nil {
		return nil, err
	}
	return nil, a.m.ChangeOwnPassword(r.Context(), r.Var("user_id"), str(in, "original_password"), str(in, "password"))
}

func (a *API) listUserGroups(r *rest.Request) (any, error) {
	q, err := query(r, groupFields())
	if err != nil {
		return nil, err
	}
	list, err := a.m.GroupsOf(r.Context(), found(r).user.ID, inDomain(r, q))
	if err != nil {
		return nil, err
	}
	ends, err := a.m.MembershipEnds(r.Context(), found(r).user.ID)
	if err != nil {
		return nil, err
	}
	return viewAll(r, "groups", list, q.Limit, func(g *identity.Group) string { return g.ID }, func(g *identity.Group) doc {
		d := viewGroup(r, g)
		if end, ok := ends[g.ID]; ok {
			d["membership_expires_at"] = stamp(end)
		}
		return d
	}), nil
}

func (a *API) listUserProjects(r *rest.Request) (any, error) {
	list, err := a.m.ReachableProjects(r.Context(), found(r).user.ID, nil)
	if err != nil {
		return nil, err
	}
	return viewProjects(r, list), nil
}

func groupFields() map[string]field {
	return map[string]field{"name": {"name", text}, "domain_id": {"domain_id", text}}
}

func viewGroup(r *rest.Request, g *identity.Group) doc { return view(r, *g, "/groups") }

func viewGroups(r *rest.Request, list []identity.Group, q identity.Query) doc {
	return viewAll(r, "groups", list, q.Limit, func(g *identity.Group) string { return g.ID }, func(g *identity.Group) doc { return viewGroup(r, g) })
}

func (a *API) listGroups(r *rest.Request) (any, error) {
	q, err := query(r, groupFields())
	if err != nil {
		return nil, err
	}
	q = inDomain(r, q)
	list, err := a.m.Groups(r.Context(), q)
	if err != nil {
		return nil, err
	}
	return viewGroups(r, list, q), nil
}

func (a *API) createGroup(r *rest.Request) (any, error) {
	in := found(r).in
	var g identity.Group
	if err := apply(in, &g); err != nil {
		return nil, err
	}
	g.DomainID = newDomain(r, in)
	v, err := a.m.CreateGroup(r.Context(), g)
	if err != nil {
		return nil, err
	}
	return doc{"group": viewGroup(r, v)}, nil
}

func (a *API) showGroup(r *rest.Request) (any, error) {
	return doc{"group": viewGroup(r, found(r).group)}, nil
}

func (a *API) updateGroup(r *rest.Request) (any, error) {
	in, err := body(r, "group")
	if err != nil {
		return nil, err
	}
	before := found(r).group
	after := *before
	if err := apply(in, &after); err != nil {
		return nil, err
	}
	return doc{"group": viewGroup(r, &after)}, a.m.UpdateGroup(r.Context(), before, &after)
}

func (a *API) deleteGroup(r *rest.Request) (any, error) {
	return nil, a.m.DeleteGroup(r.Context(), found(r).group.ID)
}

func (a *API) listGroupUsers(r *rest.Request) (any, error) {
	q, err := query(r, userFields())
	if err != nil {
		return nil, err
	}
	list, err := a.m.UsersIn(r.Context(), found(r).group.ID, inDomain(r, q))
	if err != nil {
		return nil, err
	}
	return viewUsers(r, list, q), nil
}

func member(r *rest.Request) identity.Membership {
	return identity.Membership{GroupID: found(r).group.ID, UserID: found(r).user.ID}
}

func (a *API) addMember(r *rest.Request) (any, error) {
	return nil, a.m.AddMember(r.Context(), member(r))
}

func (a *API) checkMember(r *rest.Request) (any, error) {
	return nil, a.m.CheckMember(r.Context(), member(r))
}

func (a *API) removeMember(r *rest.Request) (any, error) {
	return nil, a.m.RemoveMember(r.Context(), member(r))
}
