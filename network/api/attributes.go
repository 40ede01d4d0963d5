package api

import "math"

const wholeRange = math.MaxInt32

func networkAttrs() []attr {
	return standard(true,
		rw("name", str(255), ""), rw("admin_state_up", boolean, true), ro("status"), rw("shared", boolean, false), ro("subnets"),
		rw("mtu", integer(68, 65535), nil), rw("port_security_enabled", boolean, true), rw("router:external", boolean, false),
		rw("is_default", boolean, false), rw("dns_domain", dnsDomain, ""), po("availability_zone_hints", list(10, str(255)), []any{}),
		ro("availability_zones"), ro("ipv4_address_scope"), ro("ipv6_address_scope"),
		rw("provider:network_type", oneOf("geneve", "flat", "vlan", "vxlan", "gre", "local"), nil),
		rw("provider:physical_network", orNull(str(64)), nil), rw("provider:segmentation_id", orNull(integer(0, wholeRange)), nil),
	)
}

func subnetAttrs() []attr {
	modes := oneOf("dhcpv6-stateful", "dhcpv6-stateless", "slaac")
	pool := object(map[string]check{"!start": ip, "!end": ip})
	return standard(true,
		rw("name", str(255), ""), must("network_id", id), must("ip_version", version), po("cidr", orNull(cidr), nil),
		po("subnetpool_id", orNull(id), nil), attr{name: "prefixlen", flags: post | hidden, check: orNull(integer(0, 128))},
		attr{name: "use_default_subnetpool", flags: post | hidden, check: boolean},
		rw("gateway_ip", orNull(ip), nil), rw("allocation_pools", list(1000, pool), nil), rw("dns_nameservers", nullAs(list(100, ip), []any{}), []any{}),
		rw("host_routes", nullAs(list(1000, route()), []any{}), []any{}), rw("enable_dhcp", boolean, true),
		po("ipv6_ra_mode", orNull(modes), nil), po("ipv6_address_mode", orNull(modes), nil), rw("service_types", list(50, serviceType), []any{}),
		rw("dns_publish_fixed_ip", boolean, false),
		ro("shared"), ro("router:external"),
	)
}

func version(v any) (any, string) {
	n, reason := integer(4, 6)(v)
	if reason != "" || n == 5 {
		return nil, "'" + cut(v) + "' is not in [4, 6]."
	}
	return n, ""
}

func serviceType(v any) (any, string) {
	s, reason := str(255)(v)
	if text, _ := s.(string); reason == "" && text == "" {
		return nil, "'' is not a valid service type."
	}
	return s, reason
}

func portAttrs() []attr {
	return standard(true,
		rw("name", str(255), ""), must("network_id", id), rw("admin_state_up", boolean, true), rw("mac_address", mac, nil), ro("status"),
		rw("fixed_ips", fixedIPs, nil), rw("device_id", str(255), ""), rw("device_owner", str(255), ""),
		rw("security_groups", nullAs(list(1000, uuidForm), []any{}), nil), rw("port_security_enabled", boolean, nil),
		rw("allowed_address_pairs", pairs, []any{}), rw("extra_dhcp_opts", dhcpOpts, []any{}),
		rw("dns_name", dnsName, ""), ro("dns_assignment"), rw("dns_domain", dnsDomain, ""),
		rw("binding:host_id", nullAs(str(255), ""), ""), rw("binding:vnic_type", oneOf("normal", "direct", "direct-physical", "macvtap", "baremetal", "virtio-forwarder", "smart-nic", "vdpa", "accelerator-direct", "accelerator-direct-physical", "remote-managed"), "normal"),
		rw("binding:profile", dict, map[string]any{}), ro("binding:vif_type"), ro("binding:vif_details"),
	)
}

func routerAttrs() []attr {
	return standard(true,
		rw("name", str(255), ""), rw("admin_state_up", boolean, true), ro("status"), nullable("external_gateway_info", gateway),
		attr{name: "routes", flags: put, check: nullAs(list(1000, route()), []any{})},
		po("availability_zone_hints", list(10, str(255)), []any{}), ro("availability_zones"), attr{name: "flavor_id", flags: post | defNull, check: orNull(id)},
	)
}

func floatingIPAttrs() []attr {
	return standard(true,
		must("floating_network_id", id), po("floating_ip_address", orNull(ip), nil),
		attr{name: "subnet_id", flags: post | hidden, check: orNull(id)},
		nullable("port_id", orNull(id)), nullable("fixed_ip_address", orNull(ip)), ro("router_id"), ro("status"), ro("port_details"),
		po("dns_name", dnsName, ""), po("dns_domain", dnsDomain, ""),
	)
}

func securityGroupAttrs() []attr {
	return standard(true,
		rw("name", str(255), ""), rw("stateful", boolean, true), ro("security_group_rules"), ro("shared"),
	)
}

func ruleAttrs() []attr {
	return standard(false,
		must("security_group_id", id), must("direction", oneOf("ingress", "egress")), po("ethertype", nullAs(oneOf("IPv4", "IPv6"), "IPv4"), "IPv4"),
		attr{name: "protocol", flags: post | defNull, check: protocol},
		attr{name: "port_range_min", flags: post | defNull, check: orNull(integer(-wholeRange, wholeRange))},
		attr{name: "port_range_max", flags: post | defNull, check: orNull(integer(-wholeRange, wholeRange))},
		attr{name: "remote_ip_prefix", flags: post | defNull, check: orNull(str(64))},
		attr{name: "remote_group_id", flags: post | defNull, check: orNull(id)},
		attr{name: "remote_address_group_id", flags: post | defNull, check: orNull(id)},
		ro("normalized_cidr"), ro("belongs_to_default_sg"),
	)
}

func defaultRuleAttrs() []attr {
	list := []attr{ro("id"), rw("description", str(255), ""), po("used_in_default_sg", boolean, false), po("used_in_non_default_sg", boolean, true)}
	for _, a := range ruleAttrs() {
		switch a.name {
		case "direction", "ethertype", "protocol", "port_range_min", "port_range_max", "remote_ip_prefix", "remote_group_id", "remote_address_group_id":
			list = append(list, a)
		}
	}
	return list
}

func subnetPoolAttrs() []attr {
	return standard(true,
		rw("name", str(255), ""), attr{name: "prefixes", flags: post | put | required, check: list(1000, cidr)}, ro("ip_version"),
		rw("default_prefixlen", integer(0, 128), nil), rw("min_prefixlen", integer(0, 128), nil), rw("max_prefixlen", integer(0, 128), nil),
		rw("default_quota", orNull(integer(0, wholeRange)), nil), rw("is_default", boolean, false), rw("address_scope_id", orNull(id), nil),
		po("shared", boolean, false),
	)
}

func addressScopeAttrs() []attr {
	return standard(false, rw("name", str(255), ""), must("ip_version", version), rw("shared", boolean, false))
}

func addressGroupAttrs() []attr {
	return standard(false, rw("name", str(255), ""), po("addresses", list(1000, prefix), []any{}), ro("shared"))
}

func rbacAttrs() []attr {
	return []attr{
		ro("id"), po("project_id", str(255), nil), must("object_type", str(64)), must("object_id", id), must("action", str(64)),
		{name: "target_tenant", flags: post | put | required, check: str(255)},
	}
}

func agentAttrs() []attr {
	return []attr{
		ro("id"), ro("agent_type"), ro("binary"), ro("topic"), ro("host"), ro("availability_zone"), ro("created_at"), ro("started_at"),
		ro("heartbeat_timestamp"), ro("alive"), ro("configurations"), ro("resources_synced"),
		{name: "admin_state_up", flags: put, check: boolean},
		{name: "description", flags: put, check: str(255)},
	}
}

func flavorAttrs() []attr {
	return []attr{
		ro("id"), rw("name", str(255), ""), rw("description", str(255), ""), must("service_type", str(255)), rw("enabled", boolean, true),
		ro("service_profiles"),
	}
}

func serviceProfileAttrs() []attr {
	return []attr{
		ro("id"), rw("description", str(255), ""), rw("driver", str(1024), ""), rw("enabled", boolean, true), rw("metainfo", str(4096), ""),
	}
}
