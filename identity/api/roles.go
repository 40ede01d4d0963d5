package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

func (a *API) roleRoutes() []rest.Route {
	created := rest.Status(http.StatusCreated)
	return []rest.Route{
		rest.GET("/v3/roles", a.listRoles, a.on("identity:list_roles", loadRoleList)),
		rest.POST("/v3/roles", a.createRole, a.on("identity:create_role", loadNewRole), rest.Schema("role_create"), created),
		rest.GET("/v3/roles/{role_id}", a.showRole, a.on("identity:get_role", loadRoleUnder("identity:get_domain_role"))),
		rest.PATCH("/v3/roles/{role_id}", a.updateRole, a.on("identity:update_role", loadRoleUnder("identity:update_domain_role")), rest.Schema("role_update")),
		rest.DELETE("/v3/roles/{role_id}", a.deleteRole, a.on("identity:delete_role", loadRoleUnder("identity:delete_domain_role"))),
		rest.GET("/v3/role_inferences", a.listInferences, a.on("identity:list_role_inference_rules")),
		rest.GET("/v3/roles/{prior_role_id}/implies", a.listImplied, a.on("identity:list_implied_roles", loadPrior)),
		rest.PUT("/v3/roles/{prior_role_id}/implies/{implied_role_id}", a.imply, a.on("identity:create_implied_role", loadPrior, loadImplied), created),
		rest.GET("/v3/roles/{prior_role_id}/implies/{implied_role_id}", a.showImplied, a.on("identity:get_implied_role", loadPrior, loadImplied)),
		rest.HEAD("/v3/roles/{prior_role_id}/implies/{implied_role_id}", a.checkImplied, a.on("identity:check_implied_role", loadPrior, loadImplied)),
		rest.DELETE("/v3/roles/{prior_role_id}/implies/{implied_role_id}", a.unimply, a.on("identity:delete_implied_role", loadPrior, loadImplied)),
	}
}

// loadRoleList asks the rule of domain roles where the list is of those.
func loadRoleList(_ *API, r *rest.Request, _ *objects, _ policy.Target) error {
	if r.Query().Get("domain_id") != "" {
		r.Under("identity:list_domain_roles")
	}
	return nil
}

// loadRoleUnder is loadRole for what has another rule where the role is a
// domain's.
func loadRoleUnder(rule string) loader {
	return func(a *API, r *rest.Request, o *objects, t policy.Target) error {
		err := loadRole(a, r, o, t)
		if err == nil && o.role.DomainID != "" {
			r.Under(rule)
		}
		return err
	}
}

// loadNewRole asks the rule of domain roles where the new one is to be such.
func loadNewRole(_ *API, r *rest.Request, o *objects, t policy.Target) (err error) {
	if o.in, err = body(r, "role"); err != nil {
		return err
	}
	if d := str(o.in, "domain_id"); d != "" {
		t["target.role.domain_id"] = d
		r.Under("identity:create_domain_role")
	}
	return nil
}

func loadPrior(a *API, r *rest.Request, o *objects, _ policy.Target) (err error) {
	o.prior, err = a.m.Role(r.Context(), r.Var("prior_role_id"))
	return err
}

func loadImplied(a *API, r *rest.Request, o *objects, _ policy.Target) (err error) {
	o.role, err = a.m.Role(r.Context(), r.Var("implied_role_id"))
	return err
}

func viewRole(r *rest.Request, role *identity.Role) doc {
	d := view(r, *role, "/roles")
	d["domain_id"] = nullID(role.DomainID)
	return d
}

func viewRoles(r *rest.Request, list []identity.Role, limit int) doc {
	return viewAll(r, "roles", list, limit, func(x *identity.Role) string { return x.ID }, func(x *identity.Role) doc { return viewRole(r, x) })
}

func (a *API) listRoles(r *rest.Request) (any, error) {
	q, err := query(r, map[string]field{"name": {"name", text}, "domain_id": {"domain_id", text}})
	if err != nil {
		return nil, err
	}
	if d, set := q.Get("domain_id"); !set || d == "null" {
		q.Filters = append(q.Filters, identity.Filter{Field: "domain_id", Value: ""})
	}
	list, err := a.m.Roles(r.Context(), q)
	if err != nil {
		return nil, err
	}
	return viewRoles(r, list, q.Limit), nil
}

func (a *API) createRole(r *rest.Request) (any, error) {
	var role identity.Role
	if err := apply(found(r).in, &role); err != nil {
		return nil, err
	}
	v, err := a.m.CreateRole(r.Context(), role)
	if err != nil {
		return nil, err
	}
	return doc{"role": viewRole(r, v)}, nil
}

func (a *API) showRole(r *rest.Request) (any, error) {
	return doc{"role": viewRole(r, found(r).role)}, nil
}

func (a *API) updateRole(r *rest.Request) (any, error) {
	in, err := body(r, "role")
	if err != nil {
		return nil, err
	}
	before := found(r).role
	after := *before
	if err := apply(in, &after); err != nil {
		return nil, err
	}
	return doc{"role": viewRole(r, &after)}, a.m.UpdateRole(r.Context(), before, &after)
}

func (a *API) deleteRole(r *rest.Request) (any, error) {
	return nil, a.m.DeleteRole(r.Context(), found(r).role)
}

func roleRef(r *rest.Request, role *identity.Role) doc {
	d := doc{"id": role.ID, "name": role.Name, "links": self(r, "/roles/"+role.ID)}
	if role.DomainID != "" {
		d["domain_id"] = role.DomainID
	}
	return d
}

// inferences renders implications, one document for each prior role.
func (a *API) inferences(r *rest.Request, priorID string) ([]doc, error) {
	imps, err := a.m.Implications(r.Context(), priorID)
	if err != nil {
		return nil, err
	}
	roles, err := a.m.Roles(r.Context(), identity.Query{})
	if err != nil {
		return nil, err
	}
	of := map[string]*identity.Role{}
	for i := range roles {
		of[roles[i].ID] = &roles[i]
	}
	out := []doc{}
	last := ""
	for _, i := range imps {
		prior, implied := of[i.PriorID], of[i.ImpliedID]
		if prior == nil || implied == nil {
			continue
		}
		if i.PriorID != last {
			last = i.PriorID
			out = append(out, doc{"prior_role": roleRef(r, prior), "implies": []doc{}})
		}
		d := out[len(out)-1]
		d["implies"] = append(d["implies"].([]doc), roleRef(r, implied))
	}
	slices.SortStableFunc(out, func(a, b doc) int {
		return strings.Compare(str(a["prior_role"].(doc), "name"), str(b["prior_role"].(doc), "name"))
	})
	return out, nil
}

func (a *API) listInferences(r *rest.Request) (any, error) {
	list, err := a.inferences(r, "")
	return doc{"role_inferences": list, "links": doc{"self": r.Link("/v3/role_inferences"), "next": nil, "previous": nil}}, err
}

func (a *API) listImplied(r *rest.Request) (any, error) {
	prior := found(r).prior
	list, err := a.inferences(r, prior.ID)
	if err != nil {
		return nil, err
	}
	d := doc{"prior_role": roleRef(r, prior), "implies": []doc{}}
	if len(list) > 0 {
		d = list[0]
	}
	return doc{"role_inference": d, "links": self(r, "/roles/"+prior.ID+"/implies")}, nil
}

func implication(r *rest.Request) identity.Implication {
	return identity.Implication{PriorID: found(r).prior.ID, ImpliedID: found(r).role.ID}
}

func inferenceDoc(r *rest.Request) doc {
	o := found(r)
	return doc{
		"role_inference": doc{"prior_role": roleRef(r, o.prior), "implies": roleRef(r, o.role)},
		"links":          self(r, "/roles/"+o.prior.ID+"/implies/"+o.role.ID),
	}
}

func (a *API) imply(r *rest.Request) (any, error) {
	return inferenceDoc(r), a.m.Imply(r.Context(), implication(r))
}

func (a *API) showImplied(r *rest.Request) (any, error) {
	return inferenceDoc(r), a.m.Implied(r.Context(), implication(r))
}

func (a *API) checkImplied(r *rest.Request) (any, error) {
	return nil, a.m.Implied(r.Context(), implication(r))
}

func (a *API) unimply(r *rest.Request) (any, error) {
	return nil, a.m.Unimply(r.Context(), implication(r))
}
