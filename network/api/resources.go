package api

import (
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/rest"
)

// table is every resource that has the usual operations.
func (a *api) table() []*resource {
	m := a.m
	networks := define(a, "networks", networkAttrs(), m.CreateNetwork, m.UpdateNetwork, m.DeleteNetwork)
	networks.finish = func(_ *rest.Request, _ network.Resource, doc map[string]any) {
		doc["availability_zones"] = []string{m.Config().Zone}
	}
	subnets := define(a, "subnets", subnetAttrs(), m.CreateSubnet, m.UpdateSubnet, m.DeleteSubnet)
	subnets.onNetwork = "network_id"
	ports := define(a, "ports", portAttrs(), m.CreatePort, m.UpdatePort, m.DeletePort)
	ports.onNetwork = "network_id"
	ports.finish = func(_ *rest.Request, v network.Resource, doc map[string]any) {
		if p, ok := v.(*network.Port); ok {
			doc["dns_assignment"] = m.Assignments(p)
		}
	}
	routers := define(a, "routers", routerAttrs(), m.CreateRouter, m.UpdateRouter, m.DeleteRouter)
	routers.finish = func(_ *rest.Request, _ network.Resource, doc map[string]any) {
		doc["availability_zones"] = []string{m.Config().Zone}
	}
	floating := define(a, "floatingips", floatingIPAttrs(), m.CreateFloatingIP, m.UpdateFloatingIP, m.DeleteFloatingIP)
	rules := define(a, "security-group-rules", ruleAttrs(), m.CreateSecurityGroupRule, nil, m.DeleteSecurityGroupRule)
	groups := define(a, "security-groups", securityGroupAttrs(), m.CreateSecurityGroup, m.UpdateSecurityGroup, m.DeleteSecurityGroup)
	groups.finish = func(r *rest.Request, v network.Resource, doc map[string]any) {
		g, ok := v.(*network.SecurityGroup)
		if !ok {
			return
		}
		list := make([]map[string]any, len(g.Rules))
		for i := range g.Rules {
			list[i] = rules.document(r, &g.Rules[i])
		}
		doc["security_group_rules"] = list
	}
	policies := define(a, "rbac-policies", rbacAttrs(), m.CreateRBACPolicy, m.UpdateRBACPolicy, m.DeleteRBACPolicy)
	policies.prepare = m.CheckRBACTarget
	policies.finish = func(_ *rest.Request, _ network.Resource, doc map[string]any) {
		doc["target_project"] = doc["target_tenant"]
	}
	agents := define[network.Agent](a, "agents", agentAttrs(), nil, m.UpdateAgent, m.DeleteAgent)
	agents.finish = func(_ *rest.Request, v network.Resource, doc map[string]any) {
		if g, ok := v.(*network.Agent); ok {
			doc["alive"] = m.Alive(g)
		}
	}
	return []*resource{
		networks, subnets, ports, routers, floating, groups, rules, policies, agents,
		define(a, "subnetpools", subnetPoolAttrs(), m.CreateSubnetPool, m.UpdateSubnetPool, m.DeleteSubnetPool),
		define(a, "address-scopes", addressScopeAttrs(), m.CreateAddressScope, m.UpdateAddressScope, m.DeleteAddressScope),
		define(a, "address-groups", addressGroupAttrs(), m.CreateAddressGroup, m.UpdateAddressGroup, m.DeleteAddressGroup),
		define(a, "default-security-group-rules", defaultRuleAttrs(), m.CreateDefaultRule, nil, m.DeleteDefaultRule),
		define(a, "flavors", flavorAttrs(), m.CreateFlavor, m.UpdateFlavor, m.DeleteFlavor),
		define(a, "service_profiles", serviceProfileAttrs(), m.CreateServiceProfile, m.UpdateServiceProfile, m.DeleteServiceProfile),
	}
}

// named finds a resource of the table.
func (a *api) named(name string) *resource {
	for _, res := range a.resources {
		if res.kind.Name == name {
			return res
		}
	}
	return nil
}
