package api

import (
	"net/http"
	"strings"

	"github.com/tropocloud/tropo/rest"
)

// routes is the API's table: the usual five operations of each resource, its
// tags, and what has a form of its own.
func (a *api) routes() []rest.Route {
	table := []rest.Route{
		rest.GET("/", a.versions, rest.Open()),
		a.m.Feed().Route(),
		rest.GET("/v2.0", a.version, rest.Policy("get_extension")),
		rest.GET("/v2.0/extensions", a.extensions, rest.Policy("get_extension")),
		rest.GET("/v2.0/extensions/{alias}", a.extension, rest.Policy("get_extension")),
	}
	for _, res := range a.resources {
		table = append(table, a.usual(res)...)
	}
	router, pool, group := a.named("router"), a.named("subnetpool"), a.named("address_group")
	one := func(path string, h rest.Handler, rule string, l rest.Loader) rest.Route {
		return rest.PUT(path, h, rest.Policy(rule), rest.Load(l))
	}
	table = append(table,
		one("/v2.0/routers/{id}/add_router_interface", a.addInterface, "add_router_interface", a.load(router)),
		one("/v2.0/routers/{id}/remove_router_interface", a.removeInterface, "remove_router_interface", a.load(router)),
		one("/v2.0/routers/{id}/add_extraroutes", a.changeRoutes(true), "add_extraroutes", a.load(router)),
		one("/v2.0/routers/{id}/remove_extraroutes", a.changeRoutes(false), "remove_extraroutes", a.load(router)),
		one("/v2.0/subnetpools/{id}/add_prefixes", a.changePrefixes(true), "add_prefixes", a.load(pool)),
		one("/v2.0/subnetpools/{id}/remove_prefixes", a.changePrefixes(false), "remove_prefixes", a.load(pool)),
		one("/v2.0/address-groups/{id}/add_addresses", a.changeAddresses(true), "add_addresses", a.load(group)),
		one("/v2.0/address-groups/{id}/remove_addresses", a.changeAddresses(false), "remove_addresses", a.load(group)),

		rest.GET("/v2.0/quotas", a.allQuotas, rest.Policy("get_quota")),
		rest.GET("/v2.0/quotas/tenant", a.ownProjectID("tenant"), rest.Policy("get_extension")),
		rest.GET("/v2.0/quotas/project", a.ownProjectID("project"), rest.Policy("get_extension")),
		rest.GET("/v2.0/quotas/{project}", a.showQuota, rest.Policy("get_quota"), rest.Load(loadProject)),
		rest.GET("/v2.0/quotas/{project}/default", a.defaultQuota, rest.Policy("get_quota"), rest.Load(loadProject)),
		rest.GET("/v2.0/quotas/{project}/details", a.quotaDetails, rest.Policy("get_quota"), rest.Load(loadProject)),
		rest.GET("/v2.0/quotas/{project}/details.json", a.quotaDetails, rest.Policy("get_quota"), rest.Load(loadProject)),
		rest.PUT("/v2.0/quotas/{project}", a.setQuota, rest.Policy("update_quota"), rest.Load(loadProject)),
		rest.DELETE("/v2.0/quotas/{project}", a.resetQuota, rest.Policy("delete_quota"), rest.Load(loadProject)),

		rest.GET("/v2.0/availability_zones", a.zones, rest.Policy("get_availability_zone")),
		rest.GET("/v2.0/service-providers", a.providers, rest.Policy("get_service_provider")),
		rest.GET("/v2.0/network-ip-availabilities", a.availabilities, rest.Policy("get_network_ip_availability")),
		rest.GET("/v2.0/network-ip-availabilities/{id}", a.availability, rest.Policy("get_network_ip_availability")),
		rest.GET("/v2.0/auto-allocated-topology/{project}", a.autoTopology, rest.Policy("get_auto_allocated_topology"), rest.Load(a.loadTopology)),
		rest.DELETE("/v2.0/auto-allocated-topology/{project}", a.dropTopology, rest.Policy("delete_auto_allocated_topology"), rest.Load(a.loadTopology)),
		rest.POST("/v2.0/flavors/{id}/service_profiles", a.linkProfile, rest.Policy("create_flavor_service_profile"), rest.Status(http.StatusCreated)),
		rest.DELETE("/v2.0/flavors/{id}/service_profiles/{profile}", a.unlinkProfile, rest.Policy("delete_flavor_service_profile")),
	)
	return table
}

// usual are the operations that a resource has like all others.
func (a *api) usual(res *resource) []rest.Route {
	name, one := res.kind.Name, res.path+"/{id}"
	table := []rest.Route{
		// Each object in a list passes its own rule, as in Neutron.
		rest.GET(res.path, a.list(res), rest.Policy("list_resources")),
		rest.GET(one, a.show(res), rest.Policy("get_"+name), rest.Load(a.load(res)), rest.Hide()),
	}
	if res.create != nil {
		table = append(table, rest.POST(res.path, a.create(res), rest.Policy("create_"+name), rest.Load(a.loadNew(res)), rest.Status(http.StatusCreated), rest.MaxBody(4<<20)))
	}
	if res.update != nil {
		table = append(table, rest.PUT(one, a.update(res), rest.Policy("update_"+name), rest.Load(a.load(res))))
	}
	table = append(table, rest.DELETE(one, a.remove(res), rest.Policy("delete_"+name), rest.Load(a.load(res))))
	if res.setTag == nil {
		return table
	}
	tags := one + "/tags"
	kind := strings.ReplaceAll(strings.TrimPrefix(res.path, "/v2.0/"), "-", "_")
	get, update, remove := "get_"+kind+"_tags", "update_"+kind+"_tags", "delete_"+kind+"_tags"
	return append(table,
		rest.GET(tags, a.tags(res), rest.Policy(get), rest.Load(a.load(res))),
		rest.PUT(tags, a.setTags(res, false), rest.Policy(update), rest.Load(a.load(res))),
		rest.POST(tags, a.setTags(res, true), rest.Policy(update), rest.Load(a.load(res))),
		rest.DELETE(tags, a.dropTags(res), rest.Policy(remove), rest.Load(a.load(res))),
		rest.GET(tags+"/{tag}", a.hasTag(res), rest.Policy(get), rest.Load(a.load(res))),
		rest.PUT(tags+"/{tag}", a.addTag(res), rest.Policy(update), rest.Load(a.load(res)), rest.Status(http.StatusCreated)),
		rest.DELETE(tags+"/{tag}", a.dropTag(res), rest.Policy(remove), rest.Load(a.load(res))),
	)
}
