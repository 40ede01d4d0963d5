package api

import (
	"net/http"

	"github.com/tropocloud/tropo/rest"
)

// routes is the table of the API.
func (a *api) routes() []rest.Route {
	var out []rest.Route
	for _, part := range [][]rest.Route{
		a.versionRoutes(), a.serverRoutes(), a.actionRoutes(), a.serverPartRoutes(), a.flavorRoutes(), a.projectRoutes(), a.hostRoutes(),
		a.groupProxyRoutes(), a.networkProxyRoutes(), a.imageProxyRoutes(), a.hostActionRoutes(),
	} {
		out = append(out, part...)
	}
	return out
}

func (a *api) versionRoutes() []rest.Route {
	return []rest.Route{
		rest.GET("/", rest.Choices(http.StatusOK, versions), rest.Open()),
		a.m.Feed().Route(),
		rest.GET("/v2.1", a.version, rest.Open()),
		rest.GET("/v2", a.versionV2, rest.Open()),
		rest.GET("/v2.1/extensions", a.listExtensions, can("extensions")),
		rest.GET("/v2.1/extensions/{alias}", a.showExtension, can("extensions")),
	}
}

func can(name string) rest.Option { return rest.Policy(rule(name)) }

func (a *api) serverRoutes() []rest.Route {
	one := rest.Load(a.server)
	return []rest.Route{
		rest.GET("/v2.1/servers", a.listServers, can("servers:index"), a.s.query("servers_query")),
		rest.POST("/v2.1/servers", a.createServer, can("servers:create"), a.s.body("server_create"), rest.Status(http.StatusAccepted)),
		rest.GET("/v2.1/servers/detail", a.listServersDetail, can("servers:detail"), a.s.query("servers_query")),
		rest.GET("/v2.1/servers/{id}", a.showServer, can("servers:show"), one),
		rest.PUT("/v2.1/servers/{id}", a.updateServer, can("servers:update"), one, a.s.body("server_update")),
		rest.DELETE("/v2.1/servers/{id}", a.deleteServer, can("servers:delete"), one, rest.Status(http.StatusNoContent)),
	}
}

// actionRoutes are the actions of servers.
func (a *api) actionRoutes() []rest.Route {
	act := func(name, policy, schema string, h rest.Handler, opts ...rest.Option) rest.Route {
		base := []rest.Option{can(policy), rest.Load(a.server), a.s.body(schema), rest.Status(http.StatusAccepted)}
		return rest.POST("/v2.1/servers/{id}/action#"+name, h, append(base, opts...)...)
	}
	const plain = "plain_action"
	m := a.m
	return []rest.Route{
		act("reboot", "servers:reboot", "reboot", a.reboot),
		act("os-start", "servers:start", plain, a.plain(m.StartServer)),
		act("os-stop", "servers:stop", plain, a.plain(m.StopServer)),
		act("pause", "os-pause-server:pause", plain, a.plain(m.PauseServer)),
		act("unpause", "os-pause-server:unpause", plain, a.plain(m.UnpauseServer)),
		act("suspend", "os-suspend-server:suspend", plain, a.plain(m.SuspendServer)),
		act("resume", "os-suspend-server:resume", plain, a.plain(m.ResumeServer)),
		act("lock", "os-lock-server:lock", "lock", a.lock),
		act("unlock", "os-lock-server:unlock", plain, a.unlock),
		act("createImage", "servers:create_image", "createImage", a.createImage),
		act("createBackup", "os-create-backup", "createBackup", a.createBackup),
		act("rebuild", "servers:rebuild", "rebuild", a.rebuild),
		act("rescue", "os-rescue", "rescue", a.rescue, rest.Status(http.StatusOK)),
		act("unrescue", "os-unrescue", plain, a.plain(m.UnrescueServer)),
		act("evacuate", "os-evacuate", "evacuate", a.evacuate, rest.Status(http.StatusOK)),
		act("resize", "servers:resize", "resize", a.resize),
		act("confirmResize", "servers:confirm_resize", plain, a.plain(m.ConfirmResize), rest.Status(http.StatusNoContent)),
		act("revertResize", "servers:revert_resize", plain, a.plain(m.RevertResize)),
		act("shelve", "os-shelve:shelve", plain, a.plain(m.ShelveServer)),
		act("unshelve", "os-shelve:unshelve", "unshelve", a.unshelve),
		act("shelveOffload", "os-shelve:shelve_offload", plain, a.shelveOffload),
		act("os-getConsoleOutput", "os-console-output", "os-getConsoleOutput", a.consoleOutput, rest.Status(http.StatusOK)),
		act("changePassword", "os-admin-password", "changePassword", a.changePassword),
		act("os-resetState", "os-admin-actions:reset_state", "os-resetState", a.resetState),
		act("forceDelete", "os-deferred-delete:force", plain, a.forceDelete),
		act("restore", "os-deferred-delete:restore", plain, a.plain(m.RestoreServer)),
		act("addSecurityGroup", "os-security-groups:add", "secgroup_action", a.addSecurityGroup),
		act("addFixedIp", "os-multinic:add", "addFixedIp", a.addFixedIP, rest.Until("2.43")),
		act("removeFixedIp", "os-multinic:remove", "removeFixedIp", a.removeFixedIP, rest.Until("2.43")),
		act("removeSecurityGroup", "os-security-groups:remove", "secgroup_action", a.removeSecurityGroup),
	}
}

// serverPartRoutes are what hangs on servers.
func (a *api) serverPartRoutes() []rest.Route {
	const p = "/v2.1/servers/{id}"
	one, any := rest.Load(a.server), rest.Load(a.anyServer)
	none := rest.Status(http.StatusNoContent)
	return []rest.Route{
		rest.GET(p+"/metadata", a.listMetadata, can("server-metadata:index"), one),
		rest.POST(p+"/metadata", a.mergeMetadata, can("server-metadata:create"), one, a.s.body("metadata_all")),
		rest.PUT(p+"/metadata", a.replaceMetadata, can("server-metadata:update_all"), one, a.s.body("metadata_all")),
		rest.GET(p+"/metadata/{item}", a.showMetadata, can("server-metadata:show"), one),
		rest.PUT(p+"/metadata/{item}", a.setMetadata, can("server-metadata:update"), one, a.s.body("metadata_item")),
		rest.DELETE(p+"/metadata/{item}", a.deleteMetadata, can("server-metadata:delete"), one, none),
		rest.GET(p+"/tags", a.listTags, can("os-server-tags:index"), one, rest.Since("2.26")),
		rest.PUT(p+"/tags", a.replaceTags, can("os-server-tags:update_all"), one, rest.Since("2.26"), a.s.body("tags_all")),
		rest.DELETE(p+"/tags", a.deleteTags, can("os-server-tags:delete_all"), one, rest.Since("2.26"), none),
		rest.GET(p+"/tags/{tag}", a.showTag, can("os-server-tags:show"), one, rest.Since("2.26"), none),
		rest.PUT(p+"/tags/{tag}", a.addTag, can("os-server-tags:update"), one, rest.Since("2.26")),
		rest.DELETE(p+"/tags/{tag}", a.deleteTag, can("os-server-tags:delete"), one, rest.Since("2.26"), none),
		rest.GET(p+"/ips", a.listAddresses, can("ips:index"), one),
		rest.GET(p+"/ips/{network}", a.showAddresses, can("ips:show"), one),
		rest.GET(p+"/os-interface", a.listInterfaces, can("os-attach-interfaces:list"), one),
		rest.POST(p+"/os-interface", a.attachInterface, can("os-attach-interfaces:create"), one, a.s.body("interface_create")),
		rest.GET(p+"/os-interface/{port}", a.showInterface, can("os-attach-interfaces:show"), one),
		rest.DELETE(p+"/os-interface/{port}", a.detachInterface, can("os-attach-interfaces:delete"), one, rest.Status(http.StatusAccepted)),
		rest.GET(p+"/os-instance-actions", a.listActions, can("os-instance-actions:list"), any),
		rest.GET(p+"/os-instance-actions/{request}", a.showAction, can("os-instance-actions:show"), any),
		rest.GET(p+"/tropo-birth", a.showBirth, can("tropo:birth"), any),
		rest.GET(p+"/migrations", a.serverMigrations, can("servers:migrations:index"), one, rest.Since("2.23")),
		rest.GET(p+"/migrations/{migration}", a.serverMigration, can("servers:migrations:show"), one, rest.Since("2.23")),
		rest.GET(p+"/diagnostics", a.diagnostics, can("os-server-diagnostics"), one),
		rest.GET(p+"/os-security-groups", a.serverSecurityGroups, can("os-security-groups:list"), one),
		rest.GET(p+"/topology", a.topology, can("compute:server:topology:index"), one, rest.Since("2.78")),
		rest.GET(p+"/os-server-password", a.serverPassword, can("os-server-password:show"), one),
		rest.DELETE(p+"/os-server-password", a.clearPassword, can("os-server-password:clear"), one, none),
		rest.GET(p+"/os-volume_attachments", a.listVolumes, can("os-volumes-attachments:index"), one),
		rest.POST("/v2.1/os-server-external-events", a.externalEvents, can("os-server-external-events:create"), a.s.body("external_events")),
	}
}

func (a *api) flavorRoutes() []rest.Route {
	const p = "/v2.1/flavors"
	one := rest.Load(a.flavor)
	return []rest.Route{
		rest.GET(p, a.listFlavors, can("flavors:index")),
		rest.POST(p, a.createFlavor, can("os-flavor-manage:create"), a.s.body("flavor_create")),
		rest.GET(p+"/detail", a.listFlavorsDetail, can("flavors:detail")),
		rest.GET(p+"/{flavor}", a.showFlavor, can("flavors:show"), one),
		rest.PUT(p+"/{flavor}", a.updateFlavor, can("os-flavor-manage:update"), one, rest.Since("2.55"), a.s.body("flavor_update")),
		rest.DELETE(p+"/{flavor}", a.deleteFlavor, can("os-flavor-manage:delete"), one, rest.Status(http.StatusAccepted)),
		rest.GET(p+"/{flavor}/os-extra_specs", a.listSpecs, can("os-flavor-extra-specs:index"), one),
		rest.POST(p+"/{flavor}/os-extra_specs", a.createSpecs, can("os-flavor-extra-specs:create"), one, a.s.body("extra_specs")),
		rest.GET(p+"/{flavor}/os-extra_specs/{spec}", a.showSpec, can("os-flavor-extra-specs:show"), one),
		rest.PUT(p+"/{flavor}/os-extra_specs/{spec}", a.updateSpec, can("os-flavor-extra-specs:update"), one, a.s.body("extra_spec")),
		rest.DELETE(p+"/{flavor}/os-extra_specs/{spec}", a.deleteSpec, can("os-flavor-extra-specs:delete"), one, rest.Status(http.StatusOK)),
		rest.GET(p+"/{flavor}/os-flavor-access", a.listAccess, can("os-flavor-access"), one),
		rest.POST(p+"/{flavor}/action#addTenantAccess", a.addAccess, can("os-flavor-access:add_tenant_access"), rest.Load(a.flavorFor("os-flavor-access:add_tenant_access")), a.s.body("tenant_access")),
		rest.POST(p+"/{flavor}/action#removeTenantAccess", a.removeAccess, can("os-flavor-access:remove_tenant_access"), rest.Load(a.flavorFor("os-flavor-access:remove_tenant_access")), a.s.body("tenant_access")),
	}
}

// projectRoutes are what projects and users have beside servers.
func (a *api) projectRoutes() []rest.Route {
	key, group := rest.Load(a.keyOwner), rest.Load(a.group)
	quota := rest.Load(projectOfPath)
	return []rest.Route{
		rest.GET("/v2.1/os-keypairs", a.listKeyPairs, can("os-keypairs:index"), key),
		rest.POST("/v2.1/os-keypairs", a.createKeyPair, can("os-keypairs:create"), key, a.s.body("keypair_create")),
		rest.GET("/v2.1/os-keypairs/{name}", a.showKeyPair, can("os-keypairs:show"), key),
		rest.DELETE("/v2.1/os-keypairs/{name}", a.deleteKeyPair, can("os-keypairs:delete"), key),
		rest.GET("/v2.1/os-server-groups", a.listGroups, can("os-server-groups:index")),
		rest.POST("/v2.1/os-server-groups", a.createGroup, can("os-server-groups:create"), a.s.body("group_create")),
		rest.GET("/v2.1/os-server-groups/{group}", a.showGroup, can("os-server-groups:show"), group),
		rest.DELETE("/v2.1/os-server-groups/{group}", a.deleteGroup, can("os-server-groups:delete"), group, rest.Status(http.StatusNoContent)),
		rest.GET("/v2.1/os-quota-sets/{project}", a.showQuota, can("os-quota-sets:show"), quota),
		rest.PUT("/v2.1/os-quota-sets/{project}", a.updateQuota, can("os-quota-sets:update"), quota, a.s.body("quota_update")),
		rest.DELETE("/v2.1/os-quota-sets/{project}", a.deleteQuota, can("os-quota-sets:delete"), quota, rest.Status(http.StatusAccepted)),
		rest.GET("/v2.1/os-quota-sets/{project}/detail", a.quotaDetail, can("os-quota-sets:detail"), quota),
		rest.GET("/v2.1/os-quota-sets/{project}/defaults", a.quotaDefaults, can("os-quota-sets:defaults"), quota),
		rest.GET("/v2.1/os-quota-class-sets/{class}", a.showClass, can("os-quota-class-sets:show")),
		rest.PUT("/v2.1/os-quota-class-sets/{class}", a.updateClass, can("os-quota-class-sets:update"), a.s.body("quota_class_update")),
		rest.GET("/v2.1/limits", a.limits, can("limits")),
		rest.GET("/v2.1/os-simple-tenant-usage", a.listUsage, can("os-simple-tenant-usage:list")),
		rest.GET("/v2.1/os-simple-tenant-usage/{project}", a.showUsage, can("os-simple-tenant-usage:show"), quota),
		rest.GET("/v2.1/os-migrations", a.listMigrations, can("os-migrations:index")),
		rest.GET("/v2.1/os-availability-zone", a.listZones, can("os-availability-zone:list")),
		rest.GET("/v2.1/os-availability-zone/detail", a.listZonesDetail, can("os-availability-zone:detail")),
	}
}

// hostRoutes are for administrators.
func (a *api) hostRoutes() []rest.Route {
	agg := rest.Load(a.aggregate)
	const g = "/v2.1/os-aggregates"
	return []rest.Route{
		rest.GET(g, a.listAggregates, can("os-aggregates:index")),
		rest.POST(g, a.createAggregate, can("os-aggregates:create"), a.s.body("aggregate_create")),
		rest.GET(g+"/{aggregate}", a.showAggregate, can("os-aggregates:show"), agg),
		rest.PUT(g+"/{aggregate}", a.updateAggregate, can("os-aggregates:update"), agg, a.s.body("aggregate_update")),
		rest.DELETE(g+"/{aggregate}", a.deleteAggregate, can("os-aggregates:delete"), agg, rest.Status(http.StatusOK)),
		rest.POST(g+"/{aggregate}/action#add_host", a.addHost, can("os-aggregates:add_host"), agg, a.s.body("aggregate_host")),
		rest.POST(g+"/{aggregate}/action#remove_host", a.removeHost, can("os-aggregates:remove_host"), agg, a.s.body("aggregate_host")),
		rest.POST(g+"/{aggregate}/action#set_metadata", a.aggregateMetadata, can("os-aggregates:set_metadata"), agg, a.s.body("aggregate_metadata")),
		rest.GET("/v2.1/os-hosts", a.listHosts, can("os-hosts:list"), rest.Until("2.42")),
		rest.GET("/v2.1/os-hosts/{host}", a.showHost, can("os-hosts:show"), rest.Until("2.42")),
		rest.GET("/v2.1/os-services", a.listServices, can("os-services:list")),
		rest.PUT("/v2.1/os-services/enable", a.serviceAction("enable"), can("os-services:update"), rest.Until("2.52"), a.s.body("service_action")),
		rest.PUT("/v2.1/os-services/disable", a.serviceAction("disable"), can("os-services:update"), rest.Until("2.52"), a.s.body("service_action")),
		rest.PUT("/v2.1/os-services/disable-log-reason", a.serviceAction("disable-log-reason"), can("os-services:update"), rest.Until("2.52"), a.s.body("service_action")),
		rest.PUT("/v2.1/os-services/force-down", a.serviceAction("force-down"), can("os-services:update"), rest.Since("2.11"), rest.Until("2.52"), a.s.body("service_action")),
		rest.PUT("/v2.1/os-services/{service}", a.updateService, can("os-services:update"), rest.Since("2.53"), a.s.body("service_update")),
		rest.DELETE("/v2.1/os-services/{service}", a.deleteService, can("os-services:delete"), rest.Status(http.StatusNoContent)),
		rest.GET("/v2.1/os-hypervisors", a.listHypervisors(false), can("os-hypervisors:list")),
		rest.GET("/v2.1/os-hypervisors/detail", a.listHypervisors(true), can("os-hypervisors:list-detail")),
		rest.GET("/v2.1/os-hypervisors/statistics", a.hypervisorStatistics, can("os-hypervisors:statistics"), rest.Until("2.87")),
		rest.GET("/v2.1/os-hypervisors/{hypervisor}", a.showHypervisor, can("os-hypervisors:show")),
		rest.GET("/v2.1/os-hypervisors/{hypervisor}/uptime", a.hypervisorUptime, can("os-hypervisors:uptime"), rest.Until("2.87")),
		rest.GET("/v2.1/os-hypervisors/{hypervisor}/search", a.searchHypervisors, can("os-hypervisors:search"), rest.Until("2.52")),
		rest.GET("/v2.1/os-hypervisors/{hypervisor}/servers", a.hypervisorServers, can("os-hypervisors:servers"), rest.Until("2.52")),
	}
}
