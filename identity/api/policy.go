// Package api is the Identity v3 REST API: routes as one table, request
// schemas, policy defaults and views.
package api

import "github.com/tropocloud/tropo/policy"

// Checks that several rules share. Names and defaults of the rules are
// Keystone's (docs.openstack.org/keystone/latest/configuration/policy.html).
const (
	admin               = "rule:admin_required"
	adminOrSystemReader = "rule:admin_required or (role:reader and system_scope:all)"
	serviceOrAdmin      = "rule:service_or_admin"
	ownerOrReader       = "(rule:admin_required) or (role:reader and system_scope:all) or rule:owner"
	credentialRead      = "(rule:admin_required) or (role:reader and system_scope:all) or user_id:%(target.credential.user_id)s"
	credentialWrite     = "(rule:admin_required) or user_id:%(target.credential.user_id)s"
	groupRead           = "(rule:admin_required) or (role:reader and system_scope:all) or (role:reader and domain_id:%(target.group.domain_id)s)"
	groupWrite          = "(rule:admin_required) or (role:manager and domain_id:%(target.group.domain_id)s)"
	projectRead         = "(rule:admin_required) or (role:reader and system_scope:all) or (role:reader and domain_id:%(target.project.domain_id)s and not None:%(target.project.domain_id)s) or project_id:%(target.project.id)s"
	domainList          = "(rule:admin_required) or (role:reader and system_scope:all) or (role:reader and domain_id:%(target.domain_id)s)"
	projectWrite        = "(rule:admin_required) or (role:manager and domain_id:%(target.project.domain_id)s and not None:%(target.project.domain_id)s)"
	trustRead           = "(rule:admin_required) or (role:reader and system_scope:all or user_id:%(target.trust.trustor_user_id)s or user_id:%(target.trust.trustee_user_id)s)"
	userWrite           = "(rule:admin_required) or (role:manager and domain_id:%(target.user.domain_id)s)"
	anybody             = ""
)

// scopes of tokens that rules accept.
func scopes() (systemProject, everyScope, project []string) {
	return []string{"system", "project"}, []string{"system", "domain", "project"}, []string{"project"}
}

// Policy returns the default rules.
func Policy() []policy.Rule {
	return append(append(baseRules(), rulesAM()...), rulesNZ()...)
}

// baseRules are those that others refer to.
func baseRules() []policy.Rule {
	return []policy.Rule{
		{Name: "admin_required", Check: "role:admin or is_admin:1"},
		{Name: "service_role", Check: "role:service"},
		{Name: "service_or_admin", Check: "rule:admin_required or rule:service_role"},
		{Name: "owner", Check: "user_id:%(user_id)s"},
		{Name: "admin_or_owner", Check: "rule:admin_required or rule:owner"},
		{Name: "token_subject", Check: "user_id:%(target.token.user_id)s"},
		{Name: "admin_or_token_subject", Check: "rule:admin_required or rule:token_subject"},
		{Name: "service_admin_or_token_subject", Check: "rule:service_or_admin or rule:token_subject"},
		{Name: "domain_managed_target_role", Check: "'manager':%(target.role.name)s or 'member':%(target.role.name)s or 'reader':%(target.role.name)s"},
	}
}
