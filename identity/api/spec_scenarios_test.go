package api_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/identity"
)

// watched is a cloud with every feature on, whose answers are checked against
// the document.
func (c *contract) watched(t *testing.T) *cloud {
	x := newCloud(t, dbtest.New(t), func(cfg *identity.Config) {
		cfg.Federation.TrustedProxySecret, cfg.Federation.TrustedDashboards, cfg.Federation.RemoteIDAttribute = "proxy", []string{"http://dash.test/sso"}, "X-Idp"
		asIdentityProvider(t, cfg)
	})
	x.front = c.watch(t, x.api)
	return x
}

// scenarios succeed with what the golden exchanges, which stand alone, show
// only the refusal of.
func (c *contract) scenarios(t *testing.T) {
	t.Run("OAuth1", func(t *testing.T) { oauthScenario(c.watched(t)) })
	t.Run("signatures", func(t *testing.T) { signatureScenario(c.watched(t)) })
	t.Run("federation", func(t *testing.T) { federationScenario(c.watched(t)) })
	t.Run("deletions", func(t *testing.T) { deletionScenario(c.watched(t)) })
	t.Run("methods that are not there", func(t *testing.T) {
		x := c.watched(t)
		for _, o := range c.ops {
			if o.success() == http.StatusMethodNotAllowed && o.method != http.MethodHead {
				x.do(o.method, o.path, x.admin, nil)
			}
		}
	})
	t.Run("attributes", func(t *testing.T) { attributeScenario(c.watched(t)) })
	t.Run("scopes", func(t *testing.T) { scopeScenario(c.watched(t)) })
}

func oauthScenario(c *cloud) {
	user, project := c.team("u")
	c.grant(user, "admin", "projects/"+project) // it takes one to authorize
	token := c.login(user, "pw", inProject(project))
	con := c.must(201, "POST", "/v3/OS-OAUTH1/consumers", c.admin, doc{"consumer": doc{}})["consumer"].(doc)
	id, secret, now := con["id"].(string), con["secret"].(string), c.now.Unix()
	const base = "http://cloud.test/v3/OS-OAUTH1/"
	form := func(path string, headers ...string) url.Values {
		a := c.do("POST", "/v3/OS-OAUTH1/"+path, "", nil, headers...)
		v, err := url.ParseQuery(a.text)
		if err != nil || a.status != 201 {
			c.t.Fatalf("%s: %d %s", path, a.status, a.text)
		}
		return v
	}
	request := form("request_token", "Requested-Project-Id", project, "Authorization", oauth("POST", base+"request_token", id, secret, "", "", 1, now, "oauth_callback", "oob"))
	key := request.Get("oauth_token")
	verifier := c.must(200, "PUT", "/v3/OS-OAUTH1/authorize/"+key, token, doc{"roles": []doc{{"name": "member"}}})["token"].(doc)["oauth_verifier"].(string)
	access := form("access_token", "Authorization", oauth("POST", base+"access_token", id, secret, key, request.Get("oauth_token_secret"), 2, now, "oauth_verifier", verifier))
	mine := "/v3/users/" + user + "/OS-OAUTH1/access_tokens"
	c.must(200, "GET", mine, token, nil)
	mine += "/" + access.Get("oauth_token")
	c.must(200, "GET", mine, token, nil)
	c.must(200, "GET", mine+"/roles", token, nil)
	c.must(200, "GET", mine+"/roles/"+c.role("member"), token, nil)
	c.must(204, "DELETE", mine, token, nil)
}

func signatureScenario(c *cloud) {
	user, project := c.team("u")
	token, nova := c.login(user, "pw", inProject(project)), c.service()
	access, secret := c.ec2(user, project, token)
	c.must(200, "POST", "/v3/ec2tokens", nova, signV2(access, secret, c.now))
	text := "GET\n\n\n" + c.now.UTC().Format(time.RFC1123Z) + "\n/bucket"
	c.must(200, "POST", "/v3/s3tokens", nova, doc{"credentials": doc{"access": access, "signature": s3Signature(secret, text), "token": base64.URLEncoding.EncodeToString([]byte(text))}})
	id, _ := c.appCredential(user, token, nil)
	w := c.oauth2(id, "known")
	if w.Code != 200 {
		c.t.Errorf("OAuth2: %d %s", w.Code, w.Body)
	}
}

func federationScenario(c *cloud) {
	v := c.world("w")
	c.must(200, "PATCH", "/v3/OS-FEDERATION/identity_providers/"+v["idp_id"], c.admin, doc{"identity_provider": doc{
		"remote_ids": []string{"urn:idp"}, "authorization_ttl": 5, "description": "d",
	}})
	c.must(200, "PATCH", "/v3/OS-FEDERATION/identity_providers/"+v["idp_id"]+"/protocols/saml2", c.admin, doc{"protocol": doc{"remote_id_attribute": "X-Idp"}})
	other := "/v3/OS-FEDERATION/identity_providers/" + v["idp_id"] + "/protocols/other"
	c.must(201, "PUT", other, c.admin, doc{"protocol": doc{"mapping_id": v["mapping_id"], "remote_id_attribute": "X-Idp"}})
	c.must(200, "GET", other, c.admin, nil)
	asserted := []string{"X-Tropo-Federation-Secret", "proxy", "X-User", "ann", "X-Idp", "urn:idp"}
	c.must(200, "PATCH", "/v3/OS-FEDERATION/mappings/"+v["mapping_id"], c.admin, doc{"mapping": doc{"rules": []doc{{
		"local": []doc{{"user": doc{"name": "{0}"}, "group": doc{"id": v["group_id"]}}}, "remote": []doc{{"type": "X-User"}},
	}}}})
	c.must(204, "PUT", "/v3/projects/"+v["project_id"]+"/groups/"+v["group_id"]+"/roles/"+v["role_id"], c.admin, nil)
	one := "/identity_providers/" + v["idp_id"] + "/protocols/saml2/"
	const origin = "?origin=http%3A%2F%2Fdash.test%2Fsso"
	for _, m := range []string{"GET", "POST"} {
		c.must(201, m, "/v3/OS-FEDERATION"+one+"auth", "", nil, asserted...)
		c.must(200, m, "/v3/auth/OS-FEDERATION"+one+"websso"+origin, "", nil, asserted...)
		c.must(200, m, "/v3/auth/OS-FEDERATION/websso/saml2"+origin, "", nil, asserted...)
	}
	a := c.do("GET", "/v3/OS-FEDERATION"+one+"auth", "", nil, asserted...)
	token := a.header.Get("X-Subject-Token")
	c.must(201, "POST", "/v3/auth/tokens", "", doc{"auth": doc{"identity": doc{"methods": []string{"token"}, "token": doc{"id": token}}, "scope": inProject(v["project_id"])}})
	c.must(200, "GET", "/v3/auth/tokens", c.admin, nil, "X-Subject-Token", token)
	ann := a.body["token"].(doc)["user"].(doc)["id"].(string)
	if g := c.must(200, "GET", "/v3/users/"+ann+"/groups", c.admin, nil)["groups"].([]any); len(g) != 1 || g[0].(doc)["membership_expires_at"] == nil {
		c.t.Errorf("groups of a federated user: %v", g)
	}
	c.must(200, "GET", "/v3/OS-FEDERATION/saml2/metadata", "", nil)
	c.must(200, "PATCH", "/v3/OS-FEDERATION/service_providers/"+v["sp_id"], c.admin, doc{"service_provider": doc{"enabled": true}})
	for _, form := range []string{"", "/ecp"} {
		c.must(200, "POST", "/v3/auth/OS-FEDERATION/saml2"+form, "", samlRequest(c.admin, v["sp_id"]))
	}
}

// deletionScenario deletes what must first be empty, disabled or unused.
func deletionScenario(c *cloud) {
	v := c.world("w")
	for _, path := range []string{"limits/" + v["limit_id"], "registered_limits/" + v["registered_limit_id"], "endpoints/" + v["endpoint_id"], "services/" + v["service_id"], "regions/" + v["region_id"]} {
		c.must(204, "DELETE", "/v3/"+path, c.admin, nil)
	}
	config := "/v3/domains/" + v["domain_id"] + "/config"
	c.must(201, "PUT", config, c.admin, doc{"config": doc{"identity": doc{"driver": "ldap"}, "ldap": doc{"url": "ldap://a.test", "user_tree_dn": "ou=u"}}})
	c.must(200, "GET", config, c.admin, nil)
	c.must(200, "GET", config+"/ldap", c.admin, nil)
	c.must(200, "GET", config+"/ldap/url", c.admin, nil)
	c.must(204, "DELETE", config+"/ldap/url", c.admin, nil)
	c.must(204, "DELETE", config+"/identity", c.admin, nil)
	c.must(204, "DELETE", config, c.admin, nil)
	c.must(204, "DELETE", "/v3/projects/"+v["project_id"], c.admin, nil)
	c.must(200, "PATCH", "/v3/domains/"+v["domain_id"], c.admin, doc{"domain": doc{"enabled": false}})
	c.must(204, "DELETE", "/v3/domains/"+v["domain_id"], c.admin, nil)
}

// scopeScenario shows tokens of every scope.
func scopeScenario(c *cloud) {
	user, project := c.team("u")
	c.grant(user, "reader", "system")
	c.grant(user, "reader", "domains/default")
	project2 := c.login(user, "pw", inProject(project))
	system, domain := c.login(user, "pw", doc{"system": doc{"all": true}}), c.login(user, "pw", inDomain("default"))
	_, trusted := c.trust(user, user, project, project2, doc{"roles": []doc{{"name": "member"}}})
	_, app := c.appCredential(user, project2, doc{"access_rules": []doc{{"service": "compute", "method": "GET", "path": "/v2.1/servers"}}})
	for _, token := range []string{system, domain, trusted, app} {
		c.must(200, "GET", "/v3/auth/tokens", c.admin, nil, "X-Subject-Token", token)
	}
	for _, what := range []string{"projects", "domains", "system", "catalog"} {
		c.must(200, "GET", "/v3/auth/"+what, system, nil)
	}
	c.must(200, "GET", "/v3/OS-FEDERATION/domains", system, nil)
	c.must(200, "GET", "/v3/role_assignments?include_names", c.admin, nil)
	c.must(200, "GET", "/v3/role_assignments?effective", c.admin, nil)
}

// attributeScenario sets every attribute that may be left out.
func attributeScenario(c *cloud) {
	v := c.world("w")
	project := v["project_id"]
	immutable := doc{"immutable": true}
	p := c.make("projects", "project", doc{"name": "fixed", "description": "d", "options": immutable})
	c.must(200, "GET", "/v3/projects/"+p, c.admin, nil)
	c.must(200, "GET", "/v3/projects", c.admin, nil)
	c.must(200, "PATCH", "/v3/projects/"+p, c.admin, doc{"project": doc{"options": doc{"immutable": false}}})
	role := c.make("roles", "role", doc{"name": "fixed", "description": "d", "options": immutable})
	c.must(200, "GET", "/v3/roles/"+role, c.admin, nil)
	c.must(200, "GET", "/v3/roles", c.admin, nil)
	c.must(200, "PATCH", "/v3/roles/"+role, c.admin, doc{"role": doc{"options": doc{"immutable": false}}})
	c.must(200, "PATCH", "/v3/services/"+v["service_id"], c.admin, doc{"service": doc{"description": "d"}})
	c.must(200, "GET", "/v3/services/"+v["service_id"], c.admin, nil)
	c.must(200, "GET", "/v3/services", c.admin, nil)
	region := c.make("regions", "region", doc{"description": "d", "parent_region_id": v["region_id"]})
	c.must(200, "GET", "/v3/regions?parent_region_id="+v["region_id"], c.admin, nil)
	c.must(200, "GET", "/v3/regions/"+region, c.admin, nil)
	c.userAttributes(v)
	group := v["group_id"]
	for _, target := range []string{"projects/" + project, "domains/" + v["domain_id"]} {
		for _, actor := range []string{"users/" + v["user_id"], "groups/" + group} {
			c.must(204, "PUT", "/v3/"+target+"/"+actor+"/roles/"+role, c.admin, nil)
			c.must(200, "GET", "/v3/"+target+"/"+actor+"/roles", c.admin, nil)
		}
	}
	c.must(200, "GET", "/v3/role_assignments?include_names", c.admin, nil)
	c.must(200, "GET", "/v3/role_assignments?effective", c.admin, nil)
	c.mappingAttributes(v)
	config := "/v3/domains/" + v["domain_id"] + "/config"
	ldap := doc{"config": doc{"identity": doc{"driver": "ldap"}, "ldap": doc{"url": "ldap://a.test", "user_tree_dn": "ou=u"}}}
	c.must(201, "PUT", config, c.admin, ldap)
	c.must(200, "PATCH", config, c.admin, ldap)
	c.must(200, "GET", "/v3/domains/config/ldap/default", c.admin, nil)
}

func (c *cloud) userAttributes(v map[string]string) {
	in := doc{
		"name": "all", "description": "d", "domain_id": v["domain_id"], "password": "pw", "default_project_id": v["project_id"],
		"options": doc{
			"ignore_change_password_upon_first_use": true, "ignore_password_expiry": true, "ignore_lockout_failure_attempts": true, "lock_password": false,
			"ignore_user_inactivity": true, "multi_factor_auth_enabled": true, "multi_factor_auth_rules": [][]string{{"password"}},
		},
		"federated": []doc{{"idp_id": v["idp_id"], "protocols": []doc{{"protocol_id": "saml2", "unique_id": "all"}}}},
	}
	user := c.make("users", "user", in)
	c.must(204, "PUT", "/v3/groups/"+v["group_id"]+"/users/"+user, c.admin, nil)
	for _, path := range []string{"users", "users/" + user, "groups/" + v["group_id"] + "/users", "users/" + user + "/groups"} {
		c.must(200, "GET", "/v3/"+path, c.admin, nil)
	}
	c.must(200, "PATCH", "/v3/users/"+user, c.admin, doc{"user": doc{"description": "e"}})
	c.login(user, "pw", nil)
}

func (c *cloud) mappingAttributes(v map[string]string) {
	domain := doc{"id": v["domain_id"], "name": "{0}"}
	in := doc{"mapping": doc{"rules": []doc{{
		"local": []doc{
			{"user": doc{"id": "{0}", "name": "{0}", "email": "{0}", "type": "ephemeral", "domain": domain}},
			{"group": doc{"name": "g", "domain": domain}},
			{"groups": "{1}", "domain": domain},
			{"group_ids": "{2}"},
			{"projects": []doc{{"name": "p", "domain": domain, "roles": []doc{{"name": "reader"}}}}},
		},
		"remote": []doc{{"type": "X-User"}, {"type": "X-Groups", "whitelist": []string{"a"}}, {"type": "X-Ids"}, {"type": "X-Not", "not_any_of": []string{"b"}, "regex": true}},
	}}}}
	path := "/v3/OS-FEDERATION/mappings/"
	c.must(201, "PUT", path+"all", c.admin, in)
	c.must(200, "PATCH", path+"all", c.admin, in)
	c.must(200, "GET", path+"all", c.admin, nil)
	c.must(200, "GET", path, c.admin, nil)
}
