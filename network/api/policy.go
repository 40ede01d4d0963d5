package api

import (
	"strings"

	"github.com/tropocloud/tropo/feed"
	"github.com/tropocloud/tropo/policy"
)

// The checks of which the default rules are made.
const (
	admin      = "rule:context_is_admin"
	svc        = "rule:service_api"
	adminOrSvc = admin + " or " + svc
	member     = adminOrSvc + " or (role:member and project_id:%(project_id)s)"
	reader     = adminOrSvc + " or (role:reader and project_id:%(project_id)s)"
	netOwner   = adminOrSvc + " or (role:member and tenant_id:%(network:tenant_id)s)"
	netReader  = "(role:reader and tenant_id:%(network:tenant_id)s)"
	anyReader  = adminOrSvc + " or role:reader"
)

// Rules are the default policies: Neutron's names and defaults. tropo's
// services act with the role "service", which Neutron gives the same rights.
func Rules() []policy.Rule {
	rules := []policy.Rule{
		{Name: "context_is_admin", Check: "role:admin", Description: "An administrator."},
		{Name: "service_api", Check: "role:service", Description: "Another service of the cloud."},
		{Name: "owner", Check: "project_id:%(project_id)s", Description: "The object's project."},
		{Name: "admin_only", Check: admin, Description: "Administrators alone."},
		{Name: "admin_or_owner", Check: admin + " or rule:owner", Description: "Administrators and the object's project."},
		{Name: "network_owner", Check: "tenant_id:%(network:tenant_id)s", Description: "The project of the object's network."},
		{Name: "admin_or_network_owner", Check: admin + " or rule:network_owner", Description: "Administrators and the project of the object's network."},
		{Name: "shared", Check: "field:networks:shared=True", Description: "A shared network."},
		{Name: "external", Check: "field:networks:router:external=True", Description: "An external network."},
		{Name: "network_shared", Check: "'True':%(network:shared)s", Description: "On a shared network."},
		{Name: "network_device", Check: "field:port:device_owner=~^network:", Description: "A port of the network service itself."},
		{Name: "restrict_wildcard", Check: "(not field:rbac_policy:target_tenant=*) or " + admin, Description: "Only administrators may share with everybody."},
	}
	for _, r := range defaults() {
		rules = append(rules, policy.Rule{Name: r[0], Check: r[1], Description: describe(r[0]), Scopes: []string{"project"}})
	}
	return append(append(rules, feed.Rule()), tagRules()...)
}

// describe makes a sentence of a rule's name.
func describe(name string) string {
	verb, rest, _ := strings.Cut(name, "_")
	object, attribute, found := strings.Cut(rest, ":")
	object = strings.ReplaceAll(object, "_", " ")
	switch {
	case found && verb == "get":
		return "See the attribute " + attribute + " of a " + object + "."
	case found:
		return "Set the attribute " + attribute + " in the operation " + verb + " of a " + object + "."
	}
	return strings.ToUpper(verb[:1]) + verb[1:] + " " + object + "."
}

func defaults() [][2]string {
	sharedNet := " or rule:shared or rule:external"
	table := [][2]string{
		{"get_extension", anyReader + " or role:member or role:manager"},
		{"list_resources", anyReader + " or role:member or role:manager"},
		{"create_network", member},
		{"update_network", member},
		{"delete_network", member},
		{"get_network", reader + sharedNet},
		{"create_subnet", netOwner},
		{"get_subnet", reader + " or rule:shared or " + netReader},
		{"update_subnet", netOwner + " or (role:member and project_id:%(project_id)s)"},
		{"delete_subnet", netOwner + " or (role:member and project_id:%(project_id)s)"},
		{"create_subnet:service_types", admin},
		{"update_subnet:service_types", admin},
		{"create_port", member},
		{"get_port", reader + " or " + netReader},
		{"update_port", member},
		{"delete_port", member + " or (role:member and tenant_id:%(network:tenant_id)s)"},
		{"create_router", member},
		{"get_router", reader},
		{"update_router", member},
		{"delete_router", member},
		{"add_router_interface", member},
		{"remove_router_interface", member},
		{"add_extraroutes", member},
		{"remove_extraroutes", member},
		{"create_floatingip", member},
		{"get_floatingip", reader},
		{"update_floatingip", member},
		{"delete_floatingip", member},
		{"create_floatingip:floating_ip_address", admin},
		{"create_security_group", member},
		{"get_security_group", reader + " or rule:shared"},
		{"update_security_group", member},
		{"delete_security_group", member},
		{"create_security_group_rule", member},
		{"get_security_group_rule", reader + " or role:reader"},
		{"delete_security_group_rule", member + " or role:member"},
		{"create_subnetpool", member},
		{"get_subnetpool", reader + " or rule:shared"},
		{"update_subnetpool", member},
		{"delete_subnetpool", member},
		{"create_subnetpool:shared", admin},
		{"create_subnetpool:is_default", admin},
		{"update_subnetpool:is_default", admin},
		{"add_prefixes", member},
		{"remove_prefixes", member},
		{"create_address_scope", member},
		{"get_address_scope", reader + " or rule:shared"},
		{"update_address_scope", member},
		{"delete_address_scope", member},
		{"create_address_scope:shared", admin},
		{"update_address_scope:shared", admin},
		{"create_address_group", member},
		{"get_address_group", reader + " or rule:shared"},
		{"update_address_group", member},
		{"delete_address_group", member},
		{"add_addresses", member},
		{"remove_addresses", member},
		{"create_rbac_policy", member},
		{"get_rbac_policy", reader + " or (role:reader and project_id:%(target_tenant)s)"},
		{"update_rbac_policy", member},
		{"delete_rbac_policy", member},
		{"create_rbac_policy:target_tenant", "rule:restrict_wildcard"},
		{"update_rbac_policy:target_tenant", "rule:restrict_wildcard"},
		{"get_agent", adminOrSvc},
		{"update_agent", admin},
		{"delete_agent", admin},
		{"create_default_security_group_rule", admin},
		{"get_default_security_group_rule", anyReader},
		{"delete_default_security_group_rule", admin},
		{"create_flavor", admin},
		{"get_flavor", anyReader},
		{"update_flavor", admin},
		{"delete_flavor", admin},
		{"create_service_profile", admin},
		{"get_service_profile", admin},
		{"update_service_profile", admin},
		{"delete_service_profile", admin},
		{"create_flavor_service_profile", admin},
		{"delete_flavor_service_profile", admin},
		{"get_quota", admin + " or (role:reader and project_id:%(project_id)s)"},
		{"update_quota", admin},
		{"delete_quota", admin},
		{"get_availability_zone", anyReader},
		{"get_service_provider", anyReader},
		{"get_network_ip_availability", admin},
		{"get_auto_allocated_topology", reader},
		{"delete_auto_allocated_topology", member},
	}
	for _, name := range []string{"shared", "router:external", "is_default", "provider:network_type", "provider:physical_network", "provider:segmentation_id"} {
		table = append(table, [2]string{"create_network:" + name, admin}, [2]string{"update_network:" + name, admin})
	}
	table = append(table, [2]string{"create_network:port_security_enabled", member}, [2]string{"update_network:port_security_enabled", member})
	for _, name := range []string{"network_type", "physical_network", "segmentation_id"} {
		table = append(table, [2]string{"get_network:provider:" + name, admin})
	}
	for _, verb := range []string{"create", "update"} {
		table = append(table, portRules(verb+"_port:")...)
		table = append(table, routerRules(verb+"_router:external_gateway_info")...)
	}
	for _, name := range []string{"vif_type", "vif_details", "host_id", "profile"} {
		table = append(table, [2]string{"get_port:binding:" + name, adminOrSvc})
	}
	return table
}

func portRules(at string) [][2]string {
	device := "not rule:network_device or " + netOwner
	return [][2]string{
		{at + "device_owner", device},
		{at + "mac_address", netOwner},
		{at + "fixed_ips", netOwner + " or rule:network_shared"},
		{at + "fixed_ips:ip_address", netOwner},
		{at + "fixed_ips:subnet_id", netOwner + " or rule:network_shared"},
		{at + "port_security_enabled", netOwner},
		{at + "allowed_address_pairs", netOwner},
		{at + "allowed_address_pairs:mac_address", netOwner},
		{at + "allowed_address_pairs:ip_address", netOwner},
		{at + "binding:host_id", adminOrSvc},
		{at + "binding:profile", adminOrSvc},
		{at + "binding:vnic_type", member},
	}
}

func routerRules(at string) [][2]string {
	return [][2]string{{at, member}, {at + ":network_id", member}, {at + ":enable_snat", admin}, {at + ":external_fixed_ips", admin}}
}

// tagRules let those tag an object who may change it (CVE-2024-53916).
func tagRules() []policy.Rule {
	var out []policy.Rule
	for _, t := range [][2]string{{"networks", "network"}, {"subnets", "subnet"}, {"ports", "port"}, {"routers", "router"}, {"floatingips", "floatingip"}, {"security_groups", "security_group"}, {"subnetpools", "subnetpool"}} {
		out = append(out,
			policy.Rule{Name: "get_" + t[0] + "_tags", Check: "rule:get_" + t[1], Description: "See the tags of a " + t[1] + ".", Scopes: []string{"project"}},
			policy.Rule{Name: "update_" + t[0] + "_tags", Check: "rule:update_" + t[1], Description: "Set tags of a " + t[1] + ".", Scopes: []string{"project"}},
			policy.Rule{Name: "delete_" + t[0] + "_tags", Check: "rule:update_" + t[1], Description: "Take tags of a " + t[1] + " away.", Scopes: []string{"project"}},
		)
	}
	return out
}
