package api

import (
	"net/http"
	"time"

	"github.com/tropocloud/tropo/rest"
)

var (
	minVersion = rest.V("1.0")
	maxVersion = rest.V("1.39")
)

func (a *api) routes() []rest.Route {
	const (
		rp  = "/resource_providers/{uuid}"
		inv = rp + "/inventories"
	)
	p := func(name string) rest.Option { return rest.Policy("placement:" + name) }
	created, none := rest.Status(http.StatusCreated), rest.Status(http.StatusNoContent)
	return []rest.Route{
		rest.GET("/", a.versions, rest.Open()),

		rest.GET("/resource_providers", a.listProviders, p("resource_providers:list")),
		rest.POST("/resource_providers", a.createProvider, p("resource_providers:create"), rest.Schema("provider_create"), rest.SchemaSince("1.14", "provider_create_1_14")),
		rest.GET(rp, a.showProvider, p("resource_providers:show")),
		rest.PUT(rp, a.updateProvider, p("resource_providers:update"), rest.Schema("provider_update"), rest.SchemaSince("1.14", "provider_update_1_14")),
		rest.DELETE(rp, a.deleteProvider, p("resource_providers:delete"), none),

		rest.GET(inv, a.listInventories, p("resource_providers:inventories:list")),
		rest.POST(inv, a.createInventory, p("resource_providers:inventories:create"), rest.Schema("inventory_create"), created),
		rest.PUT(inv, a.setInventories, p("resource_providers:inventories:update"), rest.Schema("inventories")),
		rest.DELETE(inv, a.deleteInventories, p("resource_providers:inventories:delete"), none),
		rest.GET(inv+"/{class}", a.showInventory, p("resource_providers:inventories:show")),
		rest.PUT(inv+"/{class}", a.updateInventory, p("resource_providers:inventories:update"), rest.Schema("inventory_update")),
		rest.DELETE(inv+"/{class}", a.deleteInventory, p("resource_providers:inventories:delete"), none),

		rest.GET(rp+"/usages", a.providerUsages, p("resource_providers:usages")),
		rest.GET(rp+"/allocations", a.providerAllocations, p("resource_providers:allocations:list")),
		rest.GET(rp+"/aggregates", a.listAggregates, p("resource_providers:aggregates:list"), rest.Since("1.1")),
		rest.PUT(rp+"/aggregates", a.setAggregates, p("resource_providers:aggregates:update"), rest.Since("1.1"), rest.Schema("aggregates"), rest.SchemaSince("1.19", "aggregates_1_19")),
		rest.GET(rp+"/traits", a.providerTraits, p("resource_providers:traits:list"), rest.Since("1.6")),
		rest.PUT(rp+"/traits", a.setProviderTraits, p("resource_providers:traits:update"), rest.Since("1.6"), rest.Schema("provider_traits")),
		rest.DELETE(rp+"/traits", a.clearProviderTraits, p("resource_providers:traits:delete"), rest.Since("1.6"), none),

		rest.GET("/resource_classes", a.listClasses, p("resource_classes:list"), rest.Since("1.2")),
		rest.POST("/resource_classes", a.createClass, p("resource_classes:create"), rest.Since("1.2"), rest.Schema("resource_class"), created),
		rest.GET("/resource_classes/{name}", a.showClass, p("resource_classes:show"), rest.Since("1.2")),
		rest.PUT("/resource_classes/{name}", a.renameClass, p("resource_classes:update"), rest.Since("1.2"), rest.Until("1.6"), rest.Schema("resource_class")),
		rest.PUT("/resource_classes/{name}", a.ensureClass, p("resource_classes:update"), rest.Since("1.7")),
		rest.DELETE("/resource_classes/{name}", a.deleteClass, p("resource_classes:delete"), rest.Since("1.2"), none),

		rest.GET("/traits", a.listTraits, p("traits:list"), rest.Since("1.6")),
		rest.GET("/traits/{name}", a.showTrait, p("traits:show"), rest.Since("1.6"), none),
		rest.PUT("/traits/{name}", a.ensureTrait, p("traits:update"), rest.Since("1.6")),
		rest.DELETE("/traits/{name}", a.deleteTrait, p("traits:delete"), rest.Since("1.6"), none),

		rest.POST("/allocations", a.setManyAllocations, p("allocations:manage"), rest.Since("1.13"), none,
			rest.Schema("allocations_post_1_13"), rest.SchemaSince("1.28", "allocations_post_1_28"), rest.SchemaSince("1.34", "allocations_post_1_34"), rest.SchemaSince("1.38", "allocations_post_1_38")),
		rest.GET("/allocations/{consumer}", a.showAllocations, p("allocations:list")),
		rest.PUT("/allocations/{consumer}", a.setAllocations, p("allocations:update"), none,
			rest.Schema("allocations_put"), rest.SchemaSince("1.8", "allocations_put_1_8"), rest.SchemaSince("1.12", "allocations_put_1_12"),
			rest.SchemaSince("1.28", "allocations_put_1_28"), rest.SchemaSince("1.34", "allocations_put_1_34"), rest.SchemaSince("1.38", "allocations_put_1_38")),
		rest.DELETE("/allocations/{consumer}", a.deleteAllocations, p("allocations:delete"), none),

		rest.GET("/usages", a.usages, p("usages"), rest.Since("1.9"), rest.Load(usagesTarget)),
		rest.GET("/allocation_candidates", a.candidates, p("allocation_candidates:list"), rest.Since("1.10")),
		rest.POST("/reshaper", a.reshape, p("reshaper:reshape"), rest.Since("1.30"), none,
			rest.Schema("reshaper_1_30"), rest.SchemaSince("1.34", "reshaper_1_34"), rest.SchemaSince("1.38", "reshaper_1_38")),
	}
}

// versions answers the version document, which needs no token. The link is
// empty: the service's root is where the client is.
func (a *api) versions(r *rest.Request) (any, error) {
	modified(r, time.Time{})
	return object{"versions": []object{{
		"id": "v1.0", "min_version": minVersion.String(), "max_version": maxVersion.String(), "status": "CURRENT",
		"links": rest.SelfLink(""),
	}}}, nil
}
