package api

import (
	"github.com/tropocloud/tropo/feed"
	"github.com/tropocloud/tropo/policy"
)

// The personas of the default rules.
const (
	adminOnly   = "rule:context_is_admin"
	anybody     = "@"
	member      = "rule:project_member_or_admin"
	reader      = "rule:project_reader_or_admin"
	ownerOfKeys = "rule:context_is_admin or user_id:%(user_id)s"
	serviceRole = "rule:context_is_admin or role:service"
)

// rules are the default policy, by Nova's names.
func rules() []policy.Rule {
	out := []policy.Rule{
		feed.Rule(),
		{Name: "context_is_admin", Check: "role:admin", Description: "An administrator."},
		{Name: "project_member_api", Check: "role:member and project_id:%(project_id)s", Description: "A member of the project."},
		{Name: "project_reader_api", Check: "role:reader and project_id:%(project_id)s", Description: "A reader of the project."},
		{Name: "project_member_or_admin", Check: "rule:project_member_api or rule:context_is_admin", Description: "A member of the project, or an administrator."},
		{Name: "project_reader_or_admin", Check: "rule:project_reader_api or rule:project_member_api or rule:context_is_admin", Description: "A reader of the project, or an administrator."},
	}
	for check, names := range map[string][]string{
		adminOnly: {
			"os-extended-server-attributes", "servers:index:get_all_tenants", "servers:detail:get_all_tenants", "servers:create:forced_host", "compute:servers:create:requested_destination",
			"servers:show:host_status", "os-admin-actions:reset_state", "os-hosts:list", "os-hosts:show", "os-hypervisors:list", "os-hypervisors:list-detail", "os-hypervisors:show", "os-hypervisors:statistics",
			"os-hypervisors:uptime", "os-hypervisors:search", "os-hypervisors:servers", "os-services:list", "os-services:update", "os-services:delete", "os-migrations:index",
			"os-evacuate", "servers:migrations:index", "servers:migrations:show",
			"os-aggregates:index", "os-aggregates:show", "os-aggregates:create", "os-aggregates:update", "os-aggregates:delete", "os-aggregates:add_host", "os-aggregates:remove_host", "os-aggregates:set_metadata",
			"os-availability-zone:detail", "os-flavor-manage:create", "os-flavor-manage:update", "os-flavor-manage:delete", "os-flavor-extra-specs:create", "os-flavor-extra-specs:update", "os-flavor-extra-specs:delete",
			"os-flavor-access", "os-flavor-access:add_tenant_access", "os-flavor-access:remove_tenant_access", "os-quota-sets:update", "os-quota-sets:delete", "os-quota-class-sets:show", "os-quota-class-sets:update",
			"os-server-diagnostics", "os-simple-tenant-usage:list", "os-instance-actions:events:details", "os-lock-server:unlock:unlock_override", "os-server-groups:index:all_projects", "compute:server:topology:host:index",
			"os-unshelve:unshelve_to_host", "limits:other_project", "os-hosts:update", "os-hosts:start", "os-hosts:shutdown", "os-hosts:reboot", "os-instance-usage-audit-log:list", "os-instance-usage-audit-log:show",
		},
		anybody: {"versions", "extensions", "flavors:index", "flavors:detail", "flavors:show", "os-flavor-extra-specs:index", "os-flavor-extra-specs:show", "os-availability-zone:list", "limits", "os-quota-sets:defaults", "images", "os-floating-ip-pools"},
		member: {
			"servers:create", "servers:create:attach_network", "servers:update", "servers:delete", "servers:reboot", "servers:start", "servers:stop", "servers:rebuild", "servers:resize", "servers:confirm_resize", "servers:revert_resize",
			"servers:create_image", "os-pause-server:pause", "os-pause-server:unpause", "os-suspend-server:suspend", "os-suspend-server:resume", "os-lock-server:lock", "os-lock-server:unlock",
			"os-shelve:shelve", "os-shelve:unshelve", "os-shelve:shelve_offload", "os-console-output", "os-create-backup", "os-rescue", "os-unrescue", "os-multinic:add", "os-multinic:remove", "os-admin-password", "os-deferred-delete:restore", "os-deferred-delete:force", "os-security-groups:add", "os-security-groups:remove",
			"server-metadata:create", "server-metadata:update", "server-metadata:update_all", "server-metadata:delete", "os-server-tags:update", "os-server-tags:update_all", "os-server-tags:delete", "os-server-tags:delete_all",
			"os-attach-interfaces:create", "os-attach-interfaces:delete", "os-server-groups:create", "os-server-groups:delete", "os-server-password:clear",
			"os-security-groups:create", "os-security-groups:update", "os-security-groups:delete", "os-security-groups:rule:create", "os-security-groups:rule:delete",
			"os-floating-ips:create", "os-floating-ips:delete", "os-floating-ips:add", "os-floating-ips:remove",
		},
		reader: {
			"servers:index", "servers:detail", "servers:show", "server-metadata:index", "server-metadata:show", "os-server-tags:index", "os-server-tags:show", "ips:index", "ips:show", "os-attach-interfaces:list", "os-attach-interfaces:show",
			"os-instance-actions:list", "os-instance-actions:show", "os-instance-actions:events", "os-security-groups:list", "os-server-groups:index", "os-server-groups:show", "os-quota-sets:show", "os-quota-sets:detail",
			"os-simple-tenant-usage:show", "compute:server:topology:index", "os-server-password:show", "tropo:birth", "os-volumes-attachments:index",
			"os-security-groups:get", "os-security-groups:show", "os-networks:list", "os-networks:show", "os-tenant-networks:list", "os-tenant-networks:show", "os-floating-ips:list", "os-floating-ips:show",
		},
		ownerOfKeys: {"os-keypairs:index", "os-keypairs:show", "os-keypairs:create", "os-keypairs:delete"},
		serviceRole: {"os-server-external-events:create"},
	} {
		for _, n := range names {
			scopes := []string{"project"}
			if check == anybody {
				scopes = nil
			}
			out = append(out, policy.Rule{Name: rule(n), Check: check, Scopes: scopes})
		}
	}
	return out
}

func rule(name string) string {
	if len(name) > 8 && name[:8] == "compute:" || len(name) > 6 && name[:6] == "tropo:" {
		return name
	}
	return "os_compute_api:" + name
}
