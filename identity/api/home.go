package api

import (
	"strings"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/rest"
)

func (a *API) homeRoutes() []rest.Route {
	return []rest.Route{
		rest.GET("/v3/extensions", listExtensions, rest.Open()),
		rest.GET("/v3/extensions/{alias}", showExtension, rest.Open()),
	}
}

// resources are the relations of the JSON home document: the name and path of
// what the API has. An extension's name begins with its alias and a slash.
func resources() [][2]string {
	return [][2]string{
		{"auth_tokens", "/auth/tokens"},
		{"auth_catalog", "/auth/catalog"},
		{"auth_projects", "/auth/projects"},
		{"auth_domains", "/auth/domains"},
		{"auth_system", "/auth/system"},
		{"users", "/users"},
		{"user", "/users/{user_id}"},
		{"user_change_password", "/users/{user_id}/password"},
		{"user_groups", "/users/{user_id}/groups"},
		{"user_projects", "/users/{user_id}/projects"},
		{"groups", "/groups"},
		{"group", "/groups/{group_id}"},
		{"group_users", "/groups/{group_id}/users"},
		{"group_user", "/groups/{group_id}/users/{user_id}"},
		{"projects", "/projects"},
		{"project", "/projects/{project_id}"},
		{"project_tags", "/projects/{project_id}/tags"},
		{"project_tag", "/projects/{project_id}/tags/{value}"},
		{"domains", "/domains"},
		{"domain", "/domains/{domain_id}"},
		{"domain_config", "/domains/{domain_id}/config"},
		{"roles", "/roles"},
		{"role", "/roles/{role_id}"},
		{"role_assignments", "/role_assignments"},
		{"role_inferences", "/role_inferences"},
		{"implied_roles", "/roles/{prior_role_id}/implies"},
		{"implied_role", "/roles/{prior_role_id}/implies/{implied_role_id}"},
		{"services", "/services"},
		{"service", "/services/{service_id}"},
		{"endpoints", "/endpoints"},
		{"endpoint", "/endpoints/{endpoint_id}"},
		{"regions", "/regions"},
		{"region", "/regions/{region_id}"},
		{"policies", "/policies"},
		{"policy", "/policies/{policy_id}"},
		{"credentials", "/credentials"},
		{"credential", "/credentials/{credential_id}"},
		{"registered_limits", "/registered_limits"},
		{"registered_limit", "/registered_limits/{registered_limit_id}"},
		{"limits", "/limits"},
		{"limit", "/limits/{limit_id}"},
		{"limit_model", "/limits/model"},
		{"application_credentials", "/users/{user_id}/application_credentials"},
		{"application_credential", "/users/{user_id}/application_credentials/{application_credential_id}"},
		{"access_rules", "/users/{user_id}/access_rules"},
		{"access_rule", "/users/{user_id}/access_rules/{access_rule_id}"},
		{"OS-TRUST/trusts", "/OS-TRUST/trusts"},
		{"OS-TRUST/trust", "/OS-TRUST/trusts/{trust_id}"},
		{"OS-TRUST/trust_roles", "/OS-TRUST/trusts/{trust_id}/roles"},
		{"OS-TRUST/trust_role", "/OS-TRUST/trusts/{trust_id}/roles/{role_id}"},
		{"OS-REVOKE/events", "/OS-REVOKE/events"},
		{"OS-EC2/user_credentials", "/users/{user_id}/credentials/OS-EC2"},
		{"OS-EC2/user_credential", "/users/{user_id}/credentials/OS-EC2/{credential_id}"},
		{"OS-OAUTH1/consumers", "/OS-OAUTH1/consumers"},
		{"OS-OAUTH1/consumer", "/OS-OAUTH1/consumers/{consumer_id}"},
		{"OS-FEDERATION/identity_providers", "/OS-FEDERATION/identity_providers"},
		{"OS-FEDERATION/identity_provider", "/OS-FEDERATION/identity_providers/{idp_id}"},
		{"OS-FEDERATION/mappings", "/OS-FEDERATION/mappings"},
		{"OS-FEDERATION/mapping", "/OS-FEDERATION/mappings/{mapping_id}"},
		{"OS-FEDERATION/service_providers", "/OS-FEDERATION/service_providers"},
		{"OS-EP-FILTER/endpoint_groups", "/OS-EP-FILTER/endpoint_groups"},
		{"OS-EP-FILTER/endpoint_group", "/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}"},
	}
}

// homeDocument is the JSON home document (draft-nottingham-json-home-03).
func homeDocument() doc {
	const root = "https://docs.openstack.org/api/openstack-identity/3"
	out := doc{}
	for _, x := range resources() {
		name, path := x[0], x[1]
		rel := root + "/rel/" + name
		if ext, rest, ok := strings.Cut(name, "/"); ok {
			rel = "https://docs.openstack.org/api/openstack-identity/3/ext/" + ext + "/1.0/rel/" + rest
		}
		vars := doc{}
		for seg := range strings.SplitSeq(path, "/") {
			if v, ok := strings.CutPrefix(seg, "{"); ok {
				v = strings.TrimSuffix(v, "}")
				vars[v] = root + "/param/" + v
			}
		}
		if len(vars) == 0 {
			out[rel] = doc{"href": path}
			continue
		}
		out[rel] = doc{"href-template": path, "href-vars": vars}
	}
	return doc{"resources": out}
}

func extensions() []doc {
	var out []doc
	for _, e := range [][3]string{
		{"OS-EP-FILTER", "OpenStack Endpoint Filtering API", "Which endpoints the catalog of a project shows."},
		{"OS-EC2", "OpenStack EC2 API", "Credentials for EC2 signatures."},
		{"OS-FEDERATION", "OpenStack Federation APIs", "Identity providers, mappings, protocols, service providers."},
		{"OS-INHERIT", "OpenStack Inherit API", "Roles that the projects below inherit."},
		{"OS-OAUTH1", "OpenStack OAUTH1 API", "Delegation by OAuth 1.0a."},
		{"OS-REVOKE", "OpenStack Revoke API", "The list of revocations."},
		{"OS-TRUST", "OpenStack Trust API", "Delegation by trusts."},
		{"OS-ENDPOINT-POLICY", "OpenStack Endpoint Policy API", "Policies of endpoints."},
		{"s3tokens", "OpenStack S3 API", "Tokens for S3 signatures."},
	} {
		out = append(out, doc{
			"alias": e[0], "name": e[1], "description": e[2], "updated": "2026-01-01T00:00:00.000000", "links": []doc{},
			"namespace": "https://docs.openstack.org/identity/api/ext/" + e[0] + "/v1.0",
		})
	}
	return out
}

func listExtensions(*rest.Request) (any, error) {
	return doc{"extensions": doc{"values": extensions()}}, nil
}

func showExtension(r *rest.Request) (any, error) {
	for _, e := range extensions() {
		if e["alias"] == r.Var("alias") {
			return doc{"extension": e}, nil
		}
	}
	return nil, fault.New(fault.NotFound, "Could not find extension: %s.", r.Var("alias"))
}
