package api

import (
	"net/http"

	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/manager"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

func (a *API) federationRoutes() []rest.Route {
	const f = "/v3/OS-FEDERATION"
	const idp, proto = f + "/identity_providers/{idp_id}", f + "/identity_providers/{idp_id}/protocols/{protocol_id}"
	const maps, sp = f + "/mappings/{mapping_id}", f + "/service_providers/{sp_id}"
	created := rest.Status(http.StatusCreated)
	return []rest.Route{
		rest.GET(f+"/identity_providers", a.listProviders, a.on("identity:list_identity_providers")),
		rest.PUT(idp, a.createProvider, a.on("identity:create_identity_provider"), rest.Schema("identity_provider_create"), created),
		rest.GET(idp, a.showProvider, a.on("identity:get_identity_provider", loadProvider)),
		rest.PATCH(idp, a.updateProvider, a.on("identity:update_identity_provider", loadProvider), rest.Schema("identity_provider_update")),
		rest.DELETE(idp, a.deleteProvider, a.on("identity:delete_identity_provider", loadProvider)),
		rest.GET(idp+"/protocols", a.listProtocols, a.on("identity:list_protocols", loadProvider)),
		rest.PUT(proto, a.createProtocol, a.on("identity:create_protocol", loadProvider), rest.Schema("protocol_create"), created),
		rest.GET(proto, a.showProtocol, a.on("identity:get_protocol", loadProvider)),
		rest.PATCH(proto, a.updateProtocol, a.on("identity:update_protocol", loadProvider), rest.Schema("protocol_update")),
		rest.DELETE(proto, a.deleteProtocol, a.on("identity:delete_protocol", loadProvider)),
		rest.GET(proto+"/auth", a.federatedAuth, rest.Open(), created),
		rest.POST(proto+"/auth", a.federatedAuth, rest.Open(), created),
		rest.GET(f+"/mappings", a.listMappings, a.on("identity:list_mappings")),
		rest.PUT(maps, a.createMapping, a.on("identity:create_mapping"), rest.Schema("mapping"), created),
		rest.GET(maps, a.showMapping, a.on("identity:get_mapping")),
		rest.PATCH(maps, a.updateMapping, a.on("identity:update_mapping"), rest.Schema("mapping")),
		rest.DELETE(maps, a.deleteMapping, a.on("identity:delete_mapping")),
		rest.GET(f+"/service_providers", a.listSPs, a.on("identity:list_service_providers")),
		rest.PUT(sp, a.createSP, a.on("identity:create_service_provider"), rest.Schema("service_provider_create"), created),
		rest.GET(sp, a.showSP, a.on("identity:get_service_provider")),
		rest.PATCH(sp, a.updateSP, a.on("identity:update_service_provider"), rest.Schema("service_provider_update")),
		rest.DELETE(sp, a.deleteSP, a.on("identity:delete_service_provider")),
	}
}

func loadProvider(a *API, r *rest.Request, o *objects, _ policy.Target) (err error) {
	o.provider, err = a.m.Provider(r.Context(), r.Var("idp_id"))
	return err
}

const fed = "/OS-FEDERATION"

func viewProvider(r *rest.Request, p *identity.Provider) doc {
	d := view(r, *p, fed+"/identity_providers")
	d["links"].(doc)["protocols"] = r.Link("/v3" + fed + "/identity_providers/" + p.ID + "/protocols")
	return d
}

func (a *API) listProviders(r *rest.Request) (any, error) {
	q, err := query(r, map[string]field{"id": {"id", text}, "enabled": {"enabled", flag}})
	if err != nil {
		return nil, err
	}
	list, err := a.m.Providers(r.Context(), q)
	if err != nil {
		return nil, err
	}
	return viewAll(r, "identity_providers", list, q.Limit, func(p *identity.Provider) string { return p.ID }, func(p *identity.Provider) doc { return viewProvider(r, p) }), nil
}

func (a *API) createProvider(r *rest.Request) (any, error) {
	in, err := body(r, "identity_provider")
	if err != nil {
		return nil, err
	}
	p := identity.Provider{}
	if err := apply(in, &p); err != nil {
		return nil, err
	}
	p.ID = r.Var("idp_id")
	v, err := a.m.CreateProvider(r.Context(), p)
	if err != nil {
		return nil, err
	}
	return doc{"identity_provider": viewProvider(r, v)}, nil
}

func (a *API) showProvider(r *rest.Request) (any, error) {
	return doc{"identity_provider": viewProvider(r, found(r).provider)}, nil
}

func (a *API) updateProvider(r *rest.Request) (any, error) {
	in, err := body(r, "identity_provider")
	if err != nil {
		return nil, err
	}
	before := found(r).provider
	after := *before
	if err := apply(in, &after, "domain_id"); err != nil {
		return nil, err
	}
	return doc{"identity_provider": viewProvider(r, &after)}, a.m.UpdateProvider(r.Context(), before, &after)
}

func (a *API) deleteProvider(r *rest.Request) (any, error) {
	return nil, a.m.DeleteProvider(r.Context(), found(r).provider.ID)
}

// viewProtocol shows one protocol; lists tell its provider too, and that no
// attribute is named.
func viewProtocol(r *rest.Request, p *identity.Protocol) doc {
	d := viewListedProtocol(r, p)
	delete(d, "idp_id")
	if p.RemoteAttr == "" {
		delete(d, "remote_id_attribute")
	}
	return d
}

func viewListedProtocol(r *rest.Request, p *identity.Protocol) doc {
	base := fed + "/identity_providers/" + p.ProviderID
	d := view(r, *p, base+"/protocols")
	d["links"].(doc)["identity_provider"] = r.Link("/v3" + base)
	d["idp_id"] = p.ProviderID
	return d
}

func (a *API) listProtocols(r *rest.Request) (any, error) {
	list, err := a.m.Protocols(r.Context(), found(r).provider.ID)
	if err != nil {
		return nil, err
	}
	return viewAll(r, "protocols", list, 0, nil, func(p *identity.Protocol) doc { return viewListedProtocol(r, p) }), nil
}

func (a *API) createProtocol(r *rest.Request) (any, error) {
	in, err := body(r, "protocol")
	if err != nil {
		return nil, err
	}
	p := identity.Protocol{ID: r.Var("protocol_id"), ProviderID: found(r).provider.ID}
	if err := apply(in, &p); err != nil {
		return nil, err
	}
	return doc{"protocol": viewProtocol(r, &p)}, a.m.PutProtocol(r.Context(), p, true)
}

func (a *API) showProtocol(r *rest.Request) (any, error) {
	p, err := a.m.Protocol(r.Context(), found(r).provider.ID, r.Var("protocol_id"))
	if err != nil {
		return nil, err
	}
	return doc{"protocol": viewProtocol(r, p)}, nil
}

func (a *API) updateProtocol(r *rest.Request) (any, error) {
	in, err := body(r, "protocol")
	if err != nil {
		return nil, err
	}
	p, err := a.m.Protocol(r.Context(), found(r).provider.ID, r.Var("protocol_id"))
	if err != nil {
		return nil, err
	}
	if err := apply(in, p); err != nil {
		return nil, err
	}
	return doc{"protocol": viewProtocol(r, p)}, a.m.PutProtocol(r.Context(), *p, false)
}

func (a *API) deleteProtocol(r *rest.Request) (any, error) {
	p, err := a.m.Protocol(r.Context(), found(r).provider.ID, r.Var("protocol_id"))
	if err != nil {
		return nil, err
	}
	return nil, a.m.DeleteProtocol(r.Context(), p.ProviderID, p.ID)
}

// federatedAuth changes an assertion, which a trusted front end has checked
// and put into headers, for an unscoped token.
func (a *API) federatedAuth(r *rest.Request) (any, error) {
	return a.answerToken(r, manager.AuthRequest{Methods: []string{identity.MethodMapped}, Mapped: a.mappedProof(r), Scope: manager.Scope{Unscoped: true}})
}

func viewMapping(r *rest.Request, v *identity.Mapping) doc { return view(r, *v, fed+"/mappings") }

func (a *API) listMappings(r *rest.Request) (any, error) {
	list, err := a.m.Mappings(r.Context())
	if err != nil {
		return nil, err
	}
	return viewAll(r, "mappings", list, 0, nil, func(v *identity.Mapping) doc { return viewMapping(r, v) }), nil
}

func (a *API) createMapping(r *rest.Request) (any, error) {
	in, err := body(r, "mapping")
	if err != nil {
		return nil, err
	}
	v := identity.Mapping{ID: r.Var("mapping_id")}
	if err := apply(in, &v); err != nil {
		return nil, err
	}
	out, err := a.m.CreateMapping(r.Context(), v)
	if err != nil {
		return nil, err
	}
	return doc{"mapping": viewMapping(r, out)}, nil
}

func (a *API) showMapping(r *rest.Request) (any, error) {
	v, err := a.m.Mapping(r.Context(), r.Var("mapping_id"))
	if err != nil {
		return nil, err
	}
	return doc{"mapping": viewMapping(r, v)}, nil
}

func (a *API) updateMapping(r *rest.Request) (any, error) {
	in, err := body(r, "mapping")
	if err != nil {
		return nil, err
	}
	before, err := a.m.Mapping(r.Context(), r.Var("mapping_id"))
	if err != nil {
		return nil, err
	}
	after := *before
	if err := apply(in, &after); err != nil {
		return nil, err
	}
	return doc{"mapping": viewMapping(r, &after)}, a.m.UpdateMapping(r.Context(), before, &after)
}

func (a *API) deleteMapping(r *rest.Request) (any, error) {
	return nil, a.m.DeleteMapping(r.Context(), r.Var("mapping_id"))
}

func viewSP(r *rest.Request, v *identity.ServiceProvider) doc {
	return view(r, *v, fed+"/service_providers")
}

func (a *API) listSPs(r *rest.Request) (any, error) {
	q, err := query(r, map[string]field{"id": {"id", text}, "enabled": {"enabled", flag}})
	if err != nil {
		return nil, err
	}
	list, err := a.m.ServiceProviders(r.Context(), q)
	if err != nil {
		return nil, err
	}
	return viewAll(r, "service_providers", list, q.Limit, func(v *identity.ServiceProvider) string { return v.ID }, func(v *identity.ServiceProvider) doc { return viewSP(r, v) }), nil
}

func (a *API) createSP(r *rest.Request) (any, error) {
	in, err := body(r, "service_provider")
	if err != nil {
		return nil, err
	}
	var v identity.ServiceProvider
	if err := apply(in, &v); err != nil {
		return nil, err
	}
	v.ID = r.Var("sp_id")
	out, err := a.m.CreateServiceProvider(r.Context(), v)
	if err != nil {
		return nil, err
	}
	return doc{"service_provider": viewSP(r, out)}, nil
}

func (a *API) showSP(r *rest.Request) (any, error) {
	v, err := a.m.ServiceProvider(r.Context(), r.Var("sp_id"))
	if err != nil {
		return nil, err
	}
	return doc{"service_provider": viewSP(r, v)}, nil
}

func (a *API) updateSP(r *rest.Request) (any, error) {
	in, err := body(r, "service_provider")
	if err != nil {
		return nil, err
	}
	before, err := a.m.ServiceProvider(r.Context(), r.Var("sp_id"))
	if err != nil {
		return nil, err
	}
	after := *before
	if err := apply(in, &after); err != nil {
		return nil, err
	}
	return doc{"service_provider": viewSP(r, &after)}, a.m.UpdateServiceProvider(r.Context(), before, &after)
}

func (a *API) deleteSP(r *rest.Request) (any, error) {
	return nil, a.m.DeleteServiceProvider(r.Context(), r.Var("sp_id"))
}
