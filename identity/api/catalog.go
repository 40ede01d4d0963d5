package api

import (
	"net/http"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/rest"
)

func (a *API) catalogRoutes() []rest.Route {
	created := rest.Status(http.StatusCreated)
	return []rest.Route{
		rest.GET("/v3/regions", a.listRegions, a.on("identity:list_regions")),
		rest.POST("/v3/regions", a.createRegion, a.on("identity:create_region"), rest.Schema("region_create"), created),
		rest.PUT("/v3/regions/{region_id}", a.createRegion, a.on("identity:create_region"), rest.Schema("region_create"), created),
		rest.GET("/v3/regions/{region_id}", a.showRegion, a.on("identity:get_region", loadRegion)),
		rest.PATCH("/v3/regions/{region_id}", a.updateRegion, a.on("identity:update_region", loadRegion), rest.Schema("region_update")),
		rest.DELETE("/v3/regions/{region_id}", a.deleteRegion, a.on("identity:delete_region", loadRegion)),
		rest.GET("/v3/services", a.listServices, a.on("identity:list_services")),
		rest.POST("/v3/services", a.createService, a.on("identity:create_service"), rest.Schema("service_create"), created),
		rest.GET("/v3/services/{service_id}", a.showService, a.on("identity:get_service", loadService)),
		rest.PATCH("/v3/services/{service_id}", a.updateService, a.on("identity:update_service", loadService), rest.Schema("service_update")),
		rest.DELETE("/v3/services/{service_id}", a.deleteService, a.on("identity:delete_service", loadService)),
		rest.GET("/v3/endpoints", a.listEndpoints, a.on("identity:list_endpoints")),
		rest.POST("/v3/endpoints", a.createEndpoint, a.on("identity:create_endpoint"), rest.Schema("endpoint_create"), created),
		rest.GET("/v3/endpoints/{endpoint_id}", a.showEndpoint, a.on("identity:get_endpoint", loadEndpoint)),
		rest.PATCH("/v3/endpoints/{endpoint_id}", a.updateEndpoint, a.on("identity:update_endpoint", loadEndpoint), rest.Schema("endpoint_update")),
		rest.DELETE("/v3/endpoints/{endpoint_id}", a.deleteEndpoint, a.on("identity:delete_endpoint", loadEndpoint)),
	}
}

func viewRegion(r *rest.Request, v *identity.Region) doc { return view(r, *v, "/regions") }

func (a *API) listRegions(r *rest.Request) (any, error) {
	q, err := query(r, map[string]field{"parent_region_id": {"parent_region_id", nullable}})
	if err != nil {
		return nil, err
	}
	list, err := a.m.Regions(r.Context(), q)
	if err != nil {
		return nil, err
	}
	return viewAll(r, "regions", list, q.Limit, func(v *identity.Region) string { return v.ID }, func(v *identity.Region) doc { return viewRegion(r, v) }), nil
}

func (a *API) createRegion(r *rest.Request) (any, error) {
	in, err := body(r, "region")
	if err != nil {
		return nil, err
	}
	v := identity.Region{ID: str(in, "id")}
	if id := r.Var("region_id"); id != "" {
		if v.ID != "" && v.ID != id {
			return nil, fault.Invalidf("Conflicting region IDs specified: \"%s\" != \"%s\"", id, v.ID)
		}
		v.ID = id
	}
	if err := apply(in, &v); err != nil {
		return nil, err
	}
	out, err := a.m.CreateRegion(r.Context(), v)
	if err != nil {
		return nil, err
	}
	return doc{"region": viewRegion(r, out)}, nil
}

func (a *API) showRegion(r *rest.Request) (any, error) {
	return doc{"region": viewRegion(r, found(r).region)}, nil
}

func (a *API) updateRegion(r *rest.Request) (any, error) {
	in, err := body(r, "region")
	if err != nil {
		return nil, err
	}
	before := found(r).region
	after := *before
	if err := apply(in, &after); err != nil {
		return nil, err
	}
	return doc{"region": viewRegion(r, &after)}, a.m.UpdateRegion(r.Context(), before, &after)
}

func (a *API) deleteRegion(r *rest.Request) (any, error) {
	return nil, a.m.DeleteRegion(r.Context(), found(r).region.ID)
}

func viewService(r *rest.Request, v *identity.Service) doc {
	d := view(r, *v, "/services")
	if v.Name == "" {
		delete(d, "name")
	}
	return d
}

func (a *API) listServices(r *rest.Request) (any, error) {
	q, err := query(r, map[string]field{"type": {"service_type", text}, "name": {"name", text}})
	if err != nil {
		return nil, err
	}
	list, err := a.m.Services(r.Context(), q)
	if err != nil {
		return nil, err
	}
	return viewAll(r, "services", list, q.Limit, func(v *identity.Service) string { return v.ID }, func(v *identity.Service) doc { return viewService(r, v) }), nil
}

func (a *API) createService(r *rest.Request) (any, error) {
	in, err := body(r, "service")
	if err != nil {
		return nil, err
	}
	v := identity.Service{Enabled: true}
	if err := apply(in, &v); err != nil {
		return nil, err
	}
	out, err := a.m.CreateService(r.Context(), v)
	if err != nil {
		return nil, err
	}
	return doc{"service": viewService(r, out)}, nil
}

func (a *API) showService(r *rest.Request) (any, error) {
	return doc{"service": viewService(r, found(r).service)}, nil
}

func (a *API) updateService(r *rest.Request) (any, error) {
	in, err := body(r, "service")
	if err != nil {
		return nil, err
	}
	before := found(r).service
	after := *before
	if err := apply(in, &after); err != nil {
		return nil, err
	}
	return doc{"service": viewService(r, &after)}, a.m.UpdateService(r.Context(), before, &after)
}

func (a *API) deleteService(r *rest.Request) (any, error) {
	return nil, a.m.DeleteService(r.Context(), found(r).service.ID)
}

func viewEndpoint(r *rest.Request, v *identity.Endpoint) doc {
	d := view(r, *v, "/endpoints")
	d["region"] = v.RegionID
	return d
}

func (a *API) listEndpoints(r *rest.Request) (any, error) {
	q, err := query(r, map[string]field{"interface": {"interface", text}, "service_id": {"service_id", text}, "region_id": {"region_id", text}, "region": {"region_id", text}})
	if err != nil {
		return nil, err
	}
	list, err := a.m.Endpoints(r.Context(), q)
	if err != nil {
		return nil, err
	}
	return viewAll(r, "endpoints", list, q.Limit, func(v *identity.Endpoint) string { return v.ID }, func(v *identity.Endpoint) doc { return viewEndpoint(r, v) }), nil
}

// region takes the old name of region_id.
func region(in doc) {
	if v, ok := in["region"]; ok && !has(in, "region_id") {
		in["region_id"] = v
	}
	delete(in, "region")
}

func (a *API) createEndpoint(r *rest.Request) (any, error) {
	in, err := body(r, "endpoint")
	if err != nil {
		return nil, err
	}
	region(in)
	v := identity.Endpoint{Enabled: true}
	if err := apply(in, &v); err != nil {
		return nil, err
	}
	out, err := a.m.CreateEndpoint(r.Context(), v)
	if err != nil {
		return nil, err
	}
	return doc{"endpoint": viewEndpoint(r, out)}, nil
}

func (a *API) showEndpoint(r *rest.Request) (any, error) {
	return doc{"endpoint": viewEndpoint(r, found(r).endpoint)}, nil
}

func (a *API) updateEndpoint(r *rest.Request) (any, error) {
	in, err := body(r, "endpoint")
	if err != nil {
		return nil, err
	}
	region(in)
	before := found(r).endpoint
	after := *before
	if err := apply(in, &after); err != nil {
		return nil, err
	}
	return doc{"endpoint": viewEndpoint(r, &after)}, a.m.UpdateEndpoint(r.Context(), before, &after)
}

func (a *API) deleteEndpoint(r *rest.Request) (any, error) {
	return nil, a.m.DeleteEndpoint(r.Context(), found(r).endpoint.ID)
}
