package api

import (
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/rest"
)

// aliases are the extensions that are really here, as alias and name.
func aliases() [][2]string {
	return [][2]string{
		{"address-group", "Address group"},
		{"address-scope", "Address scope"},
		{"agent", "agent"},
		{"allowed-address-pairs", "Allowed Address Pairs"},
		{"auto-allocated-topology", "Auto Allocated Topology Services"},
		{"availability_zone", "Availability Zone"},
		{"availability_zone_filter", "Availability Zone Filter Extension"},
		{"binding", "Port Binding"},
		{"default-subnetpools", "Default Subnetpools"},
		{"dns-integration", "DNS Integration"},
		{"dns-domain-ports", "dns_domain for ports"},
		{"ext-gw-mode", "Neutron L3 Configurable external gateway mode"},
		{"external-net", "Neutron external network"},
		{"extra_dhcp_opt", "Neutron Extra DHCP options"},
		{"extraroute", "Neutron Extra Route"},
		{"extraroute-atomic", "Atomically add/remove extra routes"},
		{"filter-validation", "Filter parameters validation"},
		{"fip-port-details", "Floating IP Port Details Extension"},
		{"flavors", "Neutron Service Flavors"},
		{"ip-substring-filtering", "IP address substring filtering"},
		{"l3-flavors", "Router Flavor Extension"},
		{"net-mtu", "Network MTU"},
		{"net-mtu-writable", "Network MTU (writable)"},
		{"network-ip-availability", "Network IP Availability"},
		{"network_availability_zone", "Network Availability Zone"},
		{"pagination", "Pagination support"},
		{"port-security", "Port Security"},
		{"project-id", "project_id field enabled"},
		{"provider", "Provider Network"},
		{"quota-check-limit", "Quota engine limit check"},
		{"quota_details", "Quota details management support"},
		{"quotas", "Quota management support"},
		{"rbac-address-group", "Add address_group type to RBAC"},
		{"rbac-address-scope", "Add address_scope type to RBAC"},
		{"rbac-policies", "RBAC Policies"},
		{"rbac-security-groups", "Add security_group type to network RBAC"},
		{"rbac-subnetpool", "Add subnetpool type to RBAC"},
		{"revision-if-match", "If-Match constraints based on revision_number"},
		{"router", "Neutron L3 Router"},
		{"router_availability_zone", "Router Availability Zone"},
		{"security-group", "security-group"},
		{"security-groups-default-rules", "Default rules for security groups"},
		{"security-groups-normalized-cidr", "Normalized CIDR field for security group rules"},
		{"security-groups-remote-address-group", "Remote address group id field for security group rules"},
		{"security-groups-rules-belongs-to-default-sg", "Security group rule belongs to the project's default security group"},
		{"security-groups-shared-filtering", "Security group filtering on the shared field"},
		{"service-type", "Neutron Service Type Management"},
		{"sorting", "Sorting support"},
		{"standard-attr-description", "standard-attr-description"},
		{"standard-attr-revisions", "Resource revision numbers"},
		{"standard-attr-tag", "Tag support for resources with standard attribute: port, subnet, subnetpool, network, router, floatingip, policy, security_group, trunk, network_segment_range"},
		{"standard-attr-timestamp", "Resource timestamps"},
		{"stateful-security-group", "Stateful security group"},
		{"subnet-dns-publish-fixed-ip", "Subnet DNS publish fixed IP"},
		{"subnet-service-types", "Subnet service types"},
		{"subnet_allocation", "Subnet Allocation"},
		{"subnetpool-prefix-ops", "Subnet Pool Prefix Operations"},
		{"tag", "Tag support"},
		{"tag-ext", "Tag support for resources: subnet, subnetpool, port, router"},
		{"tag-ports-during-bulk-creation", "Tag Ports During Bulk Creation"},
		{"tag-creation", "Tag creation"},
	}
}

func extensionDoc(e [2]string) map[string]any {
	return map[string]any{"alias": e[0], "name": e[1], "description": e[1], "updated": "2026-01-01T00:00:00-00:00", "links": []any{}}
}

func (a *api) extensions(*rest.Request) (any, error) {
	docs := []any{}
	for _, e := range aliases() {
		docs = append(docs, extensionDoc(e))
	}
	return map[string]any{"extensions": docs}, nil
}

func (a *api) extension(r *rest.Request) (any, error) {
	for _, e := range aliases() {
		if e[0] == r.Var("alias") {
			return map[string]any{"extension": extensionDoc(e)}, nil
		}
	}
	return nil, fault.New(fault.NotFound, "The resource could not be found.").WithType("HTTPNotFound")
}
