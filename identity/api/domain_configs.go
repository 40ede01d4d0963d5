package api

import (
	"net/http"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity/manager"
	"github.com/tropocloud/tropo/rest"
)

func (a *API) domainConfigRoutes() []rest.Route {
	const all = "/v3/domains/{domain_id}/config"
	const group, option = all + "/{group}", all + "/{group}/{option}"
	schema := rest.Schema("domain_config")
	return []rest.Route{
		rest.GET("/v3/domains/config/default", a.defaultConfig, a.on("identity:get_domain_config_default")),
		rest.GET("/v3/domains/config/{group}/default", a.defaultConfig, a.on("identity:get_domain_config_default")),
		rest.GET("/v3/domains/config/{group}/{option}/default", a.defaultConfig, a.on("identity:get_domain_config_default")),
		rest.GET(all, a.showConfig, a.on("identity:get_domain_config", loadDomain)),
		rest.PUT(all, a.putConfig, a.on("identity:create_domain_config", loadDomain), schema),
		rest.PATCH(all, a.patchConfig, a.on("identity:update_domain_config", loadDomain), schema),
		rest.DELETE(all, a.deleteConfig, a.on("identity:delete_domain_config", loadDomain)),
		rest.GET(all+"/security_compliance", a.showCompliance, a.on("identity:get_security_compliance_domain_config", loadDomain)),
		rest.GET(all+"/security_compliance/{option}", a.showCompliance, a.on("identity:get_security_compliance_domain_config", loadDomain)),
		rest.GET(group, a.showConfig, a.on("identity:get_domain_config", loadDomain)),
		rest.PATCH(group, a.patchConfig, a.on("identity:update_domain_config", loadDomain), schema),
		rest.DELETE(group, a.deleteConfig, a.on("identity:delete_domain_config", loadDomain)),
		rest.GET(option, a.showConfig, a.on("identity:get_domain_config", loadDomain)),
		rest.PATCH(option, a.patchConfig, a.on("identity:update_domain_config", loadDomain), schema),
		rest.DELETE(option, a.deleteConfig, a.on("identity:delete_domain_config", loadDomain)),
	}
}

// viewConfig renders a configuration, or the part of it that the path names.
func viewConfig(r *rest.Request, c manager.DomainConfig) doc {
	if o := r.Var("option"); o != "" {
		for _, opts := range c {
			return doc{"config": doc{o: opts[o]}}
		}
	}
	return doc{"config": c}
}

func (a *API) defaultConfig(r *rest.Request) (any, error) {
	c, err := a.m.DefaultDomainConfig(r.Var("group"), r.Var("option"))
	if err != nil {
		return nil, err
	}
	return viewConfig(r, c), nil
}

func (a *API) showConfig(r *rest.Request) (any, error) {
	c, err := a.m.DomainConfig(r.Context(), found(r).domain.ID, r.Var("group"), r.Var("option"))
	if err != nil {
		return nil, err
	}
	return viewConfig(r, c), nil
}

func (a *API) showCompliance(r *rest.Request) (any, error) {
	c, err := a.m.SecurityCompliance(found(r).domain.ID, r.Var("option"))
	if err != nil {
		return nil, err
	}
	return viewConfig(r, c), nil
}

// config reads the document; that of a single option may leave its group out.
func config(r *rest.Request) (manager.DomainConfig, error) {
	in, err := body(r, "config")
	if err != nil {
		return nil, err
	}
	if g, o := r.Var("group"), r.Var("option"); o != "" && has(in, o) && !has(in, g) {
		return manager.DomainConfig{g: in}, nil
	}
	c := manager.DomainConfig{}
	for k, v := range in {
		opts, ok := v.(doc)
		if !ok {
			return nil, fault.Forbiddenf("Invalid domain specific configuration: group %s must be an object.", k)
		}
		c[k] = opts
	}
	return c, nil
}

func (a *API) putConfig(r *rest.Request) (any, error) {
	c, err := config(r)
	if err != nil {
		return nil, err
	}
	created, err := a.m.PutDomainConfig(r.Context(), found(r).domain.ID, c)
	if err != nil {
		return nil, err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	out, err := a.m.DomainConfig(r.Context(), found(r).domain.ID, "", "")
	return &rest.Response{Status: status, Body: doc{"config": out}}, err
}

func (a *API) patchConfig(r *rest.Request) (any, error) {
	c, err := config(r)
	if err != nil {
		return nil, err
	}
	id := found(r).domain.ID
	if err := a.m.PatchDomainConfig(r.Context(), id, r.Var("group"), r.Var("option"), c); err != nil {
		return nil, err
	}
	out, err := a.m.DomainConfig(r.Context(), id, "", "")
	if err != nil {
		return nil, err
	}
	return doc{"config": out}, nil
}

func (a *API) deleteConfig(r *rest.Request) (any, error) {
	return nil, a.m.DeleteDomainConfig(r.Context(), found(r).domain.ID, r.Var("group"), r.Var("option"))
}
