package api

import "github.com/tropocloud/tropo/policy"

// Rules are the default rules, as upstream's.
// Source: https://docs.openstack.org/placement/latest/configuration/policy.html
func Rules() []policy.Rule {
	project := []string{"project"}
	rules := []policy.Rule{
		{Name: "admin_api", Check: "role:admin", Scopes: project, Description: "Default rule for most placement APIs."},
		{Name: "service_api", Check: "role:service", Scopes: project, Description: "Default rule for APIs that only services call."},
		{Name: "admin_or_service_api", Check: "role:admin or role:service", Scopes: project, Description: "Default rule for most placement APIs."},
		{Name: "project_reader_api", Check: "role:reader and project_id:%(project_id)s", Scopes: project, Description: "Default rule for what readers see of their own project."},
		{Name: "admin_or_project_reader_or_service_api", Check: "role:admin or rule:project_reader_api or role:service", Scopes: project, Description: "Default rule for what readers see of their own project."},
	}
	add := func(check, name, description string) {
		rules = append(rules, policy.Rule{Name: "placement:" + name, Check: check, Scopes: project, Description: description})
	}
	for _, r := range [][2]string{
		{"resource_providers:list", "List resource providers."},
		{"resource_providers:create", "Create a resource provider."},
		{"resource_providers:show", "Show a resource provider."},
		{"resource_providers:update", "Update a resource provider."},
		{"resource_providers:delete", "Delete a resource provider."},
		{"resource_classes:list", "List resource classes."},
		{"resource_classes:create", "Create a resource class."},
		{"resource_classes:show", "Show a resource class."},
		{"resource_classes:update", "Update a resource class."},
		{"resource_classes:delete", "Delete a resource class."},
		{"resource_providers:inventories:list", "List a provider's inventories."},
		{"resource_providers:inventories:create", "Add an inventory to a provider."},
		{"resource_providers:inventories:show", "Show an inventory of a provider."},
		{"resource_providers:inventories:update", "Update a provider's inventories."},
		{"resource_providers:inventories:delete", "Delete a provider's inventories."},
		{"resource_providers:aggregates:list", "List a provider's aggregates."},
		{"resource_providers:aggregates:update", "Update a provider's aggregates."},
		{"resource_providers:usages", "Show the usage of a provider."},
		{"traits:list", "List traits."},
		{"traits:show", "Show a trait."},
		{"traits:update", "Create a trait."},
		{"traits:delete", "Delete a trait."},
		{"resource_providers:traits:list", "List a provider's traits."},
		{"resource_providers:traits:update", "Update a provider's traits."},
		{"resource_providers:traits:delete", "Delete a provider's traits."},
		{"allocations:manage", "Set the allocations of many consumers."},
		{"allocations:list", "List a consumer's allocations."},
		{"allocations:update", "Set a consumer's allocations."},
		{"allocations:delete", "Delete a consumer's allocations."},
		{"resource_providers:allocations:list", "List the allocations of a provider."},
		{"allocation_candidates:list", "List allocation candidates."},
	} {
		add("rule:admin_or_service_api", r[0], r[1])
	}
	add("rule:admin_or_project_reader_or_service_api", "usages", "Show the usage of a project.")
	add("rule:service_api", "reshaper:reshape", "Move inventory and allocations in one step.")
	return rules
}
