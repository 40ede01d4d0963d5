package identity

// DomainOption is one option of the configuration that a domain has of its
// own.
type DomainOption struct {
	DomainID string `db:"domain_id"`
	Group    string `db:"group_name"`
	Option   string `db:"option_name"`
	Value    Doc    `db:"value_json"`
}

// DomainOptions are the options that a domain may set, by group, with their
// defaults.
func DomainOptions() map[string]map[string]any {
	return map[string]map[string]any{
		"identity": {"driver": "sql", "list_limit": nil},
		"ldap": {
			"url": "ldap://localhost", "user": nil, "suffix": "cn=example,cn=com", "query_scope": "one", "page_size": 0, "alias_dereferencing": "default",
			"debug_level": nil, "chase_referrals": nil, "user_tree_dn": nil, "user_filter": nil, "user_objectclass": "inetOrgPerson",
			"user_id_attribute": "cn", "user_name_attribute": "sn", "user_mail_attribute": "mail", "user_description_attribute": "description",
			"user_pass_attribute": "userPassword", "user_enabled_attribute": "enabled", "user_enabled_invert": false, "user_enabled_mask": 0,
			"user_enabled_default": "True", "user_attribute_ignore": []string{"default_project_id"}, "user_default_project_id_attribute": nil,
			"user_enabled_emulation": false, "user_enabled_emulation_dn": nil, "user_enabled_emulation_use_group_config": false,
			"user_additional_attribute_mapping": []string{}, "group_tree_dn": nil, "group_filter": nil, "group_objectclass": "groupOfNames",
			"group_id_attribute": "cn", "group_name_attribute": "ou", "group_members_are_ids": false, "group_member_attribute": "member",
			"group_desc_attribute": "description", "group_attribute_ignore": []string{}, "group_additional_attribute_mapping": []string{},
			"tls_cacertfile": nil, "tls_cacertdir": nil, "use_tls": false, "tls_req_cert": "demand", "use_pool": true, "pool_size": 10,
			"pool_retry_max": 3, "pool_retry_delay": 0.1, "pool_connection_timeout": -1, "pool_connection_lifetime": 600,
			"use_auth_pool": true, "auth_pool_size": 100, "auth_pool_connection_lifetime": 60,
			"connection_timeout": -1, "group_ad_nesting": false,
		},
	}
}

// SecretDomainOptions are stored and never shown.
func SecretDomainOptions() map[string][]string { return map[string][]string{"ldap": {"password"}} }
