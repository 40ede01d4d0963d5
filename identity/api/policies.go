package api

import (
	"net/http"

	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

func (a *API) policyRoutes() []rest.Route {
	const one = "/v3/policies/{policy_id}"
	const ext = one + "/OS-ENDPOINT-POLICY"
	out := []rest.Route{
		rest.GET("/v3/policies", a.listPolicies, a.on("identity:list_policies")),
		rest.POST("/v3/policies", a.createPolicy, a.on("identity:create_policy"), rest.Schema("policy_create"), rest.Status(http.StatusCreated)),
		rest.GET(one, a.showPolicy, a.on("identity:get_policy", loadPolicy)),
		rest.PATCH(one, a.updatePolicy, a.on("identity:update_policy", loadPolicy), rest.Schema("policy_update")),
		rest.DELETE(one, a.deletePolicy, a.on("identity:delete_policy", loadPolicy)),
		rest.GET(ext+"/endpoints", a.listPolicyEndpoints, a.on("identity:list_endpoints_for_policy", loadPolicy)),
		rest.GET("/v3/endpoints/{endpoint_id}/OS-ENDPOINT-POLICY/policy", a.showEndpointPolicy, a.on("identity:get_policy_for_endpoint", loadEndpoint)),
	}
	for _, x := range []struct {
		path, rule string
		load       []loader
	}{
		{"/endpoints/{endpoint_id}", "endpoint", []loader{loadPolicy, loadEndpoint}},
		{"/services/{service_id}", "service", []loader{loadPolicy, loadService}},
		{"/services/{service_id}/regions/{region_id}", "region_and_service", []loader{loadPolicy, loadService, loadRegion}},
	} {
		out = append(out,
			rest.PUT(ext+x.path, a.associatePolicy, a.on("identity:create_policy_association_for_"+x.rule, x.load...)),
			rest.GET(ext+x.path, a.checkPolicy, a.on("identity:check_policy_association_for_"+x.rule, x.load...)),
			rest.DELETE(ext+x.path, a.dissociatePolicy, a.on("identity:delete_policy_association_for_"+x.rule, x.load...)))
	}
	return out
}

func loadPolicy(a *API, r *rest.Request, o *objects, _ policy.Target) (err error) {
	o.policy, err = a.m.Policy(r.Context(), r.Var("policy_id"))
	return err
}

func viewPolicy(r *rest.Request, p *identity.Policy) doc { return view(r, *p, "/policies") }

func (a *API) listPolicies(r *rest.Request) (any, error) {
	q, err := query(r, map[string]field{"type": {"policy_type", text}})
	if err != nil {
		return nil, err
	}
	list, err := a.m.Policies(r.Context(), q)
	if err != nil {
		return nil, err
	}
	return viewAll(r, "policies", list, q.Limit, func(p *identity.Policy) string { return p.ID }, func(p *identity.Policy) doc { return viewPolicy(r, p) }), nil
}

func (a *API) createPolicy(r *rest.Request) (any, error) {
	in, err := body(r, "policy")
	if err != nil {
		return nil, err
	}
	var p identity.Policy
	if err := apply(in, &p); err != nil {
		return nil, err
	}
	v, err := a.m.CreatePolicy(r.Context(), p)
	if err != nil {
		return nil, err
	}
	return doc{"policy": viewPolicy(r, v)}, nil
}

func (a *API) showPolicy(r *rest.Request) (any, error) {
	return doc{"policy": viewPolicy(r, found(r).policy)}, nil
}

func (a *API) updatePolicy(r *rest.Request) (any, error) {
	in, err := body(r, "policy")
	if err != nil {
		return nil, err
	}
	before := found(r).policy
	after := *before
	if err := apply(in, &after); err != nil {
		return nil, err
	}
	return doc{"policy": viewPolicy(r, &after)}, a.m.UpdatePolicy(r.Context(), before, &after)
}

func (a *API) deletePolicy(r *rest.Request) (any, error) {
	return nil, a.m.DeletePolicy(r.Context(), found(r).policy.ID)
}

func association(r *rest.Request) identity.PolicyAssociation {
	o := found(r)
	v := identity.PolicyAssociation{PolicyID: o.policy.ID}
	if o.endpoint != nil {
		v.EndpointID = o.endpoint.ID
	}
	if o.service != nil {
		v.ServiceID = o.service.ID
	}
	if o.region != nil {
		v.RegionID = o.region.ID
	}
	return v
}

func (a *API) associatePolicy(r *rest.Request) (any, error) {
	return nil, a.m.AssociatePolicy(r.Context(), association(r))
}

func (a *API) checkPolicy(r *rest.Request) (any, error) {
	return nil, a.m.CheckPolicyAssociation(r.Context(), association(r))
}

func (a *API) dissociatePolicy(r *rest.Request) (any, error) {
	return nil, a.m.DissociatePolicy(r.Context(), association(r))
}

func (a *API) listPolicyEndpoints(r *rest.Request) (any, error) {
	list, err := a.m.EndpointsOfPolicy(r.Context(), found(r).policy.ID)
	if err != nil {
		return nil, err
	}
	return viewEndpoints(r, list), nil
}

func (a *API) showEndpointPolicy(r *rest.Request) (any, error) {
	p, err := a.m.PolicyOfEndpoint(r.Context(), found(r).endpoint)
	if err != nil {
		return nil, err
	}
	return doc{"policy": viewPolicy(r, p)}, nil
}
