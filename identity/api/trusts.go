package api

import (
	"net/http"
	"slices"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/manager"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

func (a *API) trustRoutes() []rest.Route {
	const one = "/v3/OS-TRUST/trusts/{trust_id}"
	return []rest.Route{
		rest.GET("/v3/OS-TRUST/trusts", a.listTrusts, a.on("identity:list_trusts", loadTrustList)),
		rest.POST("/v3/OS-TRUST/trusts", a.createTrust, a.on("identity:create_trust", loadNewTrust), rest.Schema("trust_create"), rest.Status(http.StatusCreated)),
		rest.GET(one, a.showTrust, a.on("identity:get_trust", loadTrust)),
		rest.DELETE(one, a.deleteTrust, a.on("identity:delete_trust", loadTrust)),
		rest.GET(one+"/roles", a.listTrustRoles, a.on("identity:list_roles_for_trust", loadTrust)),
		rest.GET(one+"/roles/{role_id}", a.showTrustRole, a.on("identity:get_role_for_trust", loadTrust)),
	}
}

func loadTrust(a *API, r *rest.Request, o *objects, t policy.Target) (err error) {
	if o.trust, err = a.m.Trust(r.Context(), r.Var("trust_id")); err == nil {
		t["target.trust.trustor_user_id"], t["target.trust.trustee_user_id"] = o.trust.TrustorID, o.trust.TrusteeID
	}
	if fault.Is(err, fault.NotFound) {
		t["target.trust.trustor_user_id"] = r.Caller().User.ID // everybody may learn that there is no such trust
	}
	return err
}

// loadNewTrust takes the trustor that the trust will have as the target.
func loadNewTrust(_ *API, r *rest.Request, o *objects, t policy.Target) (err error) {
	if o.in, err = body(r, "trust"); err == nil {
		t["target.trust.trustor_user_id"] = str(o.in, "trustor_user_id")
	}
	return err
}

func (a *API) viewTrust(r *rest.Request, v *identity.Trust, roles []identity.Role, list bool) doc {
	d := view(r, *v, "/OS-TRUST/trusts")
	d["remaining_uses"], d["redelegation_count"] = v.RemainingUses, v.RedelegationCount
	if list {
		return d
	}
	rs := []doc{}
	for i := range roles {
		rs = append(rs, viewRole(r, &roles[i]))
	}
	d["roles"] = rs
	d["roles_links"] = doc{"self": r.Link("/v3/OS-TRUST/trusts/" + v.ID + "/roles"), "next": nil, "previous": nil}
	return d
}

// loadTrustList asks the rule of what is listed: all, those that a user gave,
// or those that a user got; both rules where both are named.
func loadTrustList(_ *API, r *rest.Request, _ *objects, t policy.Target) error {
	trustor, trustee := r.Query().Get("trustor_user_id"), r.Query().Get("trustee_user_id")
	if trustee != "" {
		t["target.trust.trustee_user_id"] = trustee
		r.Under("identity:list_trusts_for_trustee")
	}
	if trustor == "" {
		return nil
	}
	t["target.trust.trustor_user_id"] = trustor
	r.Under("identity:list_trusts_for_trustor")
	if trustee != "" {
		return r.Check("identity:list_trusts_for_trustee", t)
	}
	return nil
}

func (a *API) listTrusts(r *rest.Request) (any, error) {
	q := identity.Query{Limit: maxPage}
	for _, who := range []string{"trustor_user_id", "trustee_user_id"} {
		if id := r.Query().Get(who); id != "" {
			q = q.And(who, id)
		}
	}
	list, err := a.m.Trusts(r.Context(), q)
	if err != nil {
		return nil, err
	}
	return viewAll(r, "trusts", list, q.Limit, func(v *identity.Trust) string { return v.ID }, func(v *identity.Trust) doc { return a.viewTrust(r, v, nil, true) }), nil
}

func (a *API) createTrust(r *rest.Request) (any, error) {
	in := found(r).in
	spec := manager.TrustSpec{Roles: roleRefs(in)}
	if err := apply(in, &spec.Trust, "roles", "allow_redelegation", "redelegation_count", "redelegated_trust_id", "deleted_at"); err != nil {
		return nil, err
	}
	spec.AllowRedelegation, _ = in["allow_redelegation"].(bool)
	if n, ok := in["redelegation_count"].(float64); ok {
		c := int(n)
		spec.RedelegationCount = &c
	}
	t, err := a.caller(r)
	if err != nil {
		return nil, err
	}
	v, err := a.m.CreateTrust(r.Context(), t, spec)
	if err != nil {
		return nil, err
	}
	roles, err := a.m.RolesByID(r.Context(), v.RoleIDs)
	if err != nil {
		return nil, err
	}
	return doc{"trust": a.viewTrust(r, v, roles, false)}, nil
}

func (a *API) showTrust(r *rest.Request) (any, error) {
	v := found(r).trust
	roles, err := a.m.RolesByID(r.Context(), v.RoleIDs)
	if err != nil {
		return nil, err
	}
	return doc{"trust": a.viewTrust(r, v, roles, false)}, nil
}

func (a *API) deleteTrust(r *rest.Request) (any, error) {
	t, err := a.caller(r)
	if err != nil {
		return nil, err
	}
	if t.AppCred != nil && !t.AppCred.Unrestricted {
		return nil, fault.Forbiddenf("Using method 'application_credential' is not allowed for managing trusts.")
	}
	return nil, a.m.DeleteTrust(r.Context(), found(r).trust.ID)
}

func (a *API) listTrustRoles(r *rest.Request) (any, error) {
	roles, err := a.m.RolesByID(r.Context(), found(r).trust.RoleIDs)
	if err != nil {
		return nil, err
	}
	return viewRoles(r, roles, 0), nil
}

func (a *API) showTrustRole(r *rest.Request) (any, error) {
	id := r.Var("role_id")
	if !slices.Contains(found(r).trust.RoleIDs, id) {
		return nil, fault.New(fault.NotFound, "Could not find role: %s.", id)
	}
	role, err := a.m.Role(r.Context(), id)
	if err != nil {
		return nil, err
	}
	return doc{"role": viewRole(r, role)}, nil
}
