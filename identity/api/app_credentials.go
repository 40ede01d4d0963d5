package api

import (
	"net/http"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/manager"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

func (a *API) appCredentialRoutes() []rest.Route {
	const all, one = "/v3/users/{user_id}/application_credentials", "/v3/users/{user_id}/application_credentials/{application_credential_id}"
	const rules, rule = "/v3/users/{user_id}/access_rules", "/v3/users/{user_id}/access_rules/{access_rule_id}"
	return []rest.Route{
		rest.GET(all, a.listAppCredentials, a.on("identity:list_application_credentials", loadUser)),
		rest.POST(all, a.createAppCredential, a.on("identity:create_application_credential", loadUser), rest.Schema("application_credential_create"), rest.Status(http.StatusCreated)),
		rest.GET(one, a.showAppCredential, a.on("identity:get_application_credential", loadUser, loadAppCred)),
		rest.DELETE(one, a.deleteAppCredential, a.on("identity:delete_application_credential", loadUser, loadAppCred)),
		rest.GET(rules, a.listAccessRules, a.on("identity:list_access_rules", loadUser)),
		rest.GET(rule, a.showAccessRule, a.on("identity:get_access_rule", loadUser, loadRule)),
		rest.DELETE(rule, a.deleteAccessRule, a.on("identity:delete_access_rule", loadUser, loadRule)),
	}
}

// loadAppCred finds an application credential of the user in the path; that
// of another user is not found there.
func loadAppCred(a *API, r *rest.Request, o *objects, _ policy.Target) (err error) {
	id := r.Var("application_credential_id")
	if o.appCred, err = a.m.AppCredential(r.Context(), id); err == nil && o.appCred.UserID != o.user.ID {
		err = fault.New(fault.NotFound, "Could not find application credential: %s.", id)
	}
	return err
}

func loadRule(a *API, r *rest.Request, o *objects, _ policy.Target) (err error) {
	id := r.Var("access_rule_id")
	if o.rule, err = a.m.AccessRule(r.Context(), id); err == nil && o.rule.UserID != o.user.ID {
		err = fault.New(fault.NotFound, "Could not find access rule: %s.", id)
	}
	return err
}

func viewAppCredential(r *rest.Request, c *manager.AppCredentialView) doc {
	d := view(r, c.AppCredential, "/users/"+c.UserID+"/application_credentials")
	roles := []doc{}
	for _, x := range c.Roles {
		roles = append(roles, doc{"id": x.ID, "name": x.Name, "domain_id": nullID(x.DomainID)})
	}
	d["roles"] = roles
	if c.ExpiresAt != nil { // as Keystone does here alone: without the zone
		d["expires_at"] = c.ExpiresAt.UTC().Format("2006-01-02T15:04:05.000000")
	}
	if c.Ruled {
		rules := []doc{}
		for _, x := range c.Rules {
			rules = append(rules, doc{"id": x.ID, "service": x.Service, "method": x.Method, "path": x.Path})
		}
		d["access_rules"] = rules
	}
	if c.Secret != "" {
		d["secret"] = c.Secret
	}
	return d
}

func (a *API) listAppCredentials(r *rest.Request) (any, error) {
	q, err := query(r, map[string]field{"name": {"name", text}})
	if err != nil {
		return nil, err
	}
	list, err := a.m.AppCredentials(r.Context(), q.And("user_id", found(r).user.ID))
	if err != nil {
		return nil, err
	}
	return viewAll(r, "application_credentials", list, q.Limit, func(c *manager.AppCredentialView) string { return c.ID },
		func(c *manager.AppCredentialView) doc { return viewAppCredential(r, c) }), nil
}

func roleRefs(in doc) []manager.RoleRef {
	list, _ := in["roles"].([]any)
	var out []manager.RoleRef
	for _, e := range list {
		d, _ := e.(doc)
		out = append(out, manager.RoleRef{ID: str(d, "id"), Name: str(d, "name")})
	}
	return out
}

func (a *API) createAppCredential(r *rest.Request) (any, error) {
	in, err := body(r, "application_credential")
	if err != nil {
		return nil, err
	}
	spec := manager.AppCredentialSpec{Roles: roleRefs(in), Secret: str(in, "secret")}
	if err := apply(in, &spec.AppCredential, "roles", "access_rules", "secret", "user_id", "project_id", "system"); err != nil {
		return nil, err
	}
	if list, ok := in["access_rules"].([]any); ok {
		spec.Rules = []identity.AccessRule{}
		for _, e := range list {
			d, _ := e.(doc)
			spec.Rules = append(spec.Rules, identity.AccessRule{ID: str(d, "id"), Service: str(d, "service"), Method: str(d, "method"), Path: str(d, "path")})
		}
	}
	t, err := a.caller(r)
	if err != nil {
		return nil, err
	}
	if t.User.ID != found(r).user.ID {
		return nil, fault.Forbiddenf("You are not authorized to perform the requested action: make an application credential of another user.")
	}
	if p := str(in, "project_id"); p != "" && (t.Project == nil || t.Project.ID != p) {
		return nil, fault.Forbiddenf("You are not authorized to perform the requested action: make an application credential for another project than the token's.")
	}
	v, err := a.m.CreateAppCredential(r.Context(), t, spec)
	if err != nil {
		return nil, err
	}
	return doc{"application_credential": viewAppCredential(r, v)}, nil
}

func (a *API) showAppCredential(r *rest.Request) (any, error) {
	return doc{"application_credential": viewAppCredential(r, found(r).appCred)}, nil
}

func (a *API) deleteAppCredential(r *rest.Request) (any, error) {
	t, err := a.caller(r)
	if err != nil {
		return nil, err
	}
	return nil, a.m.DeleteAppCredential(r.Context(), t, found(r).appCred.ID)
}

func viewRule(r *rest.Request, v *identity.AccessRule) doc {
	return view(r, *v, "/users/"+v.UserID+"/access_rules")
}

func (a *API) listAccessRules(r *rest.Request) (any, error) {
	q, err := query(r, map[string]field{"service": {"service", text}, "method": {"http_method", text}, "path": {"url_path", text}})
	if err != nil {
		return nil, err
	}
	list, err := a.m.AccessRules(r.Context(), q.And("user_id", found(r).user.ID))
	if err != nil {
		return nil, err
	}
	return viewAll(r, "access_rules", list, q.Limit, func(v *identity.AccessRule) string { return v.ID }, func(v *identity.AccessRule) doc { return viewRule(r, v) }), nil
}

func (a *API) showAccessRule(r *rest.Request) (any, error) {
	return doc{"access_rule": viewRule(r, found(r).rule)}, nil
}

func (a *API) deleteAccessRule(r *rest.Request) (any, error) {
	t, err := a.caller(r)
	if err != nil {
		return nil, err
	}
	return nil, a.m.DeleteAccessRule(r.Context(), t, found(r).rule)
}
