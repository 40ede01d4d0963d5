package api

import (
	"encoding/json"
	"net/http"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/manager"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

func (a *API) limitRoutes() []rest.Route {
	created := rest.Status(http.StatusCreated)
	return []rest.Route{
		rest.GET("/v3/registered_limits", a.listRegistered, a.on("identity:list_registered_limits")),
		rest.POST("/v3/registered_limits", a.createRegistered, a.on("identity:create_registered_limits"), rest.Schema("registered_limits_create"), created),
		rest.GET("/v3/registered_limits/{registered_limit_id}", a.showRegistered, a.on("identity:get_registered_limit", loadRegistered)),
		rest.PATCH("/v3/registered_limits/{registered_limit_id}", a.updateRegistered, a.on("identity:update_registered_limit", loadRegistered), rest.Schema("registered_limit_update")),
		rest.DELETE("/v3/registered_limits/{registered_limit_id}", a.deleteRegistered, a.on("identity:delete_registered_limit", loadRegistered)),
		rest.GET("/v3/limits/model", a.limitModel, a.on("identity:get_limit_model")),
		rest.GET("/v3/limits", a.listLimits, a.on("identity:list_limits")),
		rest.POST("/v3/limits", a.createLimits, a.on("identity:create_limits"), rest.Schema("limits_create"), created),
		rest.GET("/v3/limits/{limit_id}", a.showLimit, a.on("identity:get_limit", loadLimit)),
		rest.PATCH("/v3/limits/{limit_id}", a.updateLimit, a.on("identity:update_limit", loadLimit), rest.Schema("limit_update")),
		rest.DELETE("/v3/limits/{limit_id}", a.deleteLimit, a.on("identity:delete_limit", loadLimit)),
	}
}

func loadRegistered(a *API, r *rest.Request, o *objects, _ policy.Target) (err error) {
	o.registered, err = a.m.RegisteredLimit(r.Context(), r.Var("registered_limit_id"))
	return err
}

func loadLimit(a *API, r *rest.Request, o *objects, t policy.Target) (err error) {
	if o.limit, err = a.m.Limit(r.Context(), r.Var("limit_id")); err != nil {
		return err
	}
	t["target.limit.project_id"], t["target.limit.domain.id"] = nullID(string(o.limit.ProjectID)), nullID(string(o.limit.DomainID))
	if o.limit.ProjectID != "" {
		p, err := a.m.Project(r.Context(), string(o.limit.ProjectID))
		if err != nil {
			return err
		}
		t["target.limit.project.domain_id"] = p.OwnerDomain()
	}
	return nil
}

func viewRegistered(r *rest.Request, l *identity.RegisteredLimit) doc {
	return view(r, *l, "/registered_limits")
}

func viewLimit(r *rest.Request, l *identity.Limit) doc { return view(r, *l, "/limits") }

func viewRegisteredAll(r *rest.Request, list []identity.RegisteredLimit, limit int) doc {
	return viewAll(r, "registered_limits", list, limit, func(l *identity.RegisteredLimit) string { return l.ID }, func(l *identity.RegisteredLimit) doc { return viewRegistered(r, l) })
}

func viewLimits(r *rest.Request, list []identity.Limit, limit int) doc {
	return viewAll(r, "limits", list, limit, func(l *identity.Limit) string { return l.ID }, func(l *identity.Limit) doc { return viewLimit(r, l) })
}

func limitFields() map[string]field {
	return map[string]field{"service_id": {"service_id", text}, "region_id": {"region_id", nullable}, "resource_name": {"resource_name", text}}
}

// items decodes a list of objects under key.
func items(r *rest.Request, key string) ([]doc, error) {
	var in map[string]json.RawMessage
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	var out []doc
	if err := json.Unmarshal(in[key], &out); err != nil {
		return nil, fault.Invalidf("Invalid input for field/attribute %s.", key)
	}
	return out, nil
}

func (a *API) listRegistered(r *rest.Request) (any, error) {
	q, err := query(r, limitFields())
	if err != nil {
		return nil, err
	}
	list, err := a.m.RegisteredLimits(r.Context(), q)
	if err != nil {
		return nil, err
	}
	return viewRegisteredAll(r, list, q.Limit), nil
}

func (a *API) createRegistered(r *rest.Request) (any, error) {
	in, err := items(r, "registered_limits")
	if err != nil {
		return nil, err
	}
	list := make([]identity.RegisteredLimit, len(in))
	for i := range in {
		if err := apply(in[i], &list[i]); err != nil {
			return nil, err
		}
	}
	if list, err = a.m.CreateRegisteredLimits(r.Context(), list); err != nil {
		return nil, err
	}
	return viewRegisteredAll(r, list, 0), nil
}

func (a *API) showRegistered(r *rest.Request) (any, error) {
	return doc{"registered_limit": viewRegistered(r, found(r).registered)}, nil
}

func (a *API) updateRegistered(r *rest.Request) (any, error) {
	in, err := body(r, "registered_limit")
	if err != nil {
		return nil, err
	}
	before := found(r).registered
	after := *before
	if err := apply(in, &after); err != nil {
		return nil, err
	}
	return doc{"registered_limit": viewRegistered(r, &after)}, a.m.UpdateRegisteredLimit(r.Context(), before, &after)
}

func (a *API) deleteRegistered(r *rest.Request) (any, error) {
	return nil, a.m.DeleteRegisteredLimit(r.Context(), found(r).registered.ID)
}

func (a *API) limitModel(*rest.Request) (any, error) {
	text := map[string]string{
		manager.ModelFlat:           "Limit enforcement and validation does not take project hierarchy into consideration.",
		manager.ModelStrictTwoLevel: "This model requires project hierarchy never exceeds a depth of two.",
	}
	name := a.m.LimitModel()
	return doc{"model": doc{"name": name, "description": text[name]}}, nil
}

// listLimits shows all to those who see the system, else those of the
// caller's project or domain.
func (a *API) listLimits(r *rest.Request) (any, error) {
	fields := limitFields()
	fields["project_id"], fields["domain_id"] = field{"project_id", text}, field{"domain_id", text}
	q, err := query(r, fields)
	if err != nil {
		return nil, err
	}
	if c := r.Caller(); !c.System && !c.IsAdmin() {
		owner := c.Project.ID
		if owner == "" {
			owner = c.Domain.ID
		}
		q = q.And("owner_id", owner)
	}
	list, err := a.m.Limits(r.Context(), q)
	if err != nil {
		return nil, err
	}
	return viewLimits(r, list, q.Limit), nil
}

func (a *API) createLimits(r *rest.Request) (any, error) {
	in, err := items(r, "limits")
	if err != nil {
		return nil, err
	}
	list := make([]identity.Limit, len(in))
	for i := range in {
		if err := apply(in[i], &list[i]); err != nil {
			return nil, err
		}
	}
	if list, err = a.m.CreateLimits(r.Context(), list); err != nil {
		return nil, err
	}
	return viewLimits(r, list, 0), nil
}

func (a *API) showLimit(r *rest.Request) (any, error) {
	return doc{"limit": viewLimit(r, found(r).limit)}, nil
}

func (a *API) updateLimit(r *rest.Request) (any, error) {
	in, err := body(r, "limit")
	if err != nil {
		return nil, err
	}
	before := found(r).limit
	after := *before
	if err := apply(in, &after); err != nil {
		return nil, err
	}
	return doc{"limit": viewLimit(r, &after)}, a.m.UpdateLimit(r.Context(), before, &after)
}

func (a *API) deleteLimit(r *rest.Request) (any, error) {
	return nil, a.m.DeleteLimit(r.Context(), found(r).limit.ID)
}
