package network

import "github.com/tropocloud/tropo/fault"

// Kind describes a type of resource.
type Kind struct {
	Name   string // key of one in JSON: "network"
	Plural string // key of many, and quota name: "networks"
	Table  string
	// NotFoundType and NotFoundText (with one %s) are Neutron's error for an
	// unknown id.
	NotFoundType string
	NotFoundText string
	Tagged       bool // has tags, under /v2.0/<path>/{id}/tags
	// Shared says that RBAC policies of object type Name can show it to
	// other projects.
	Shared bool
}

// NotFound is the fault for an unknown or invisible id.
func (k *Kind) NotFound(id string) *fault.Error {
	return fault.New(fault.NotFound, k.NotFoundText, id).WithType(k.NotFoundType)
}

// Kind implements Resource.
func (*Network) Kind() *Kind {
	return &Kind{"network", "networks", "networks", "NetworkNotFound", "Network %s could not be found.", true, true}
}

// Kind implements Resource.
func (*Subnet) Kind() *Kind {
	return &Kind{"subnet", "subnets", "subnets", "SubnetNotFound", "Subnet %s could not be found.", true, false}
}

// Kind implements Resource.
func (*SubnetPool) Kind() *Kind {
	return &Kind{"subnetpool", "subnetpools", "subnetpools", "SubnetPoolNotFound", "Subnet pool %s could not be found.", true, true}
}

// Kind implements Resource.
func (*AddressScope) Kind() *Kind {
	return &Kind{"address_scope", "address_scopes", "address_scopes", "AddressScopeNotFound", "Address scope %s could not be found.", false, true}
}

// Kind implements Resource.
func (*Port) Kind() *Kind {
	return &Kind{"port", "ports", "ports", "PortNotFound", "Port %s could not be found.", true, false}
}

// Kind implements Resource.
func (*Router) Kind() *Kind {
	return &Kind{"router", "routers", "routers", "RouterNotFound", "Router %s could not be found", true, false}
}

// Kind implements Resource.
func (*FloatingIP) Kind() *Kind {
	return &Kind{"floatingip", "floatingips", "floatingips", "FloatingIPNotFound", "Floating IP %s could not be found", true, false}
}

// Kind implements Resource.
func (*SecurityGroup) Kind() *Kind {
	return &Kind{"security_group", "security_groups", "security_groups", "SecurityGroupNotFound", "Security group %s does not exist", true, true}
}

// Kind implements Resource.
func (*SecurityGroupRule) Kind() *Kind {
	return &Kind{"security_group_rule", "security_group_rules", "security_group_rules", "SecurityGroupRuleNotFound", "Security group rule %s does not exist", false, false}
}

// Kind implements Resource.
func (*DefaultRule) Kind() *Kind {
	return &Kind{"default_security_group_rule", "default_security_group_rules", "default_group_rules", "DefaultSecurityGroupRuleNotFound", "Default Security Group rule %s does not exist", false, false}
}

// Kind implements Resource.
func (*AddressGroup) Kind() *Kind {
	return &Kind{"address_group", "address_groups", "address_groups", "AddressGroupNotFound", "Address group %s could not be found.", false, true}
}

// Kind implements Resource.
func (*RBACPolicy) Kind() *Kind {
	return &Kind{"rbac_policy", "rbac_policies", "rbac_policies", "RbacPolicyNotFound", "RBAC policy with ID %s not found", false, false}
}

// Kind implements Resource.
func (*Agent) Kind() *Kind {
	return &Kind{"agent", "agents", "agents", "AgentNotFound", "Agent %s could not be found.", false, false}
}

// Kind implements Resource.
func (*Flavor) Kind() *Kind {
	return &Kind{"flavor", "flavors", "flavors", "FlavorNotFound", "Flavor %s could not be found.", false, false}
}

// Kind implements Resource.
func (*ServiceProfile) Kind() *Kind {
	return &Kind{"service_profile", "service_profiles", "service_profiles", "ServiceProfileNotFound", "Service Profile %s could not be found.", false, false}
}

var (
	_ Resource = (*Network)(nil)
	_ Resource = (*Subnet)(nil)
	_ Resource = (*SubnetPool)(nil)
	_ Resource = (*AddressScope)(nil)
	_ Resource = (*Port)(nil)
	_ Resource = (*Router)(nil)
	_ Resource = (*FloatingIP)(nil)
	_ Resource = (*SecurityGroup)(nil)
	_ Resource = (*SecurityGroupRule)(nil)
	_ Resource = (*DefaultRule)(nil)
	_ Resource = (*AddressGroup)(nil)
	_ Resource = (*RBACPolicy)(nil)
	_ Resource = (*Agent)(nil)
	_ Resource = (*Flavor)(nil)
	_ Resource = (*ServiceProfile)(nil)
)
