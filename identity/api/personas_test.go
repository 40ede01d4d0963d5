package api_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tropocloud/tropo/db/dbtest"
)

// world makes one of everything, in a domain, and returns the ids by the name
// of the path parameter.
func (c *cloud) world(name string) map[string]string {
	c.t.Helper()
	v := map[string]string{"alias": "OS-TRUST", "value": "tag", "group": "identity", "option": "driver", "mapping_id": name + "-map", "idp_id": name + "-idp", "protocol_id": "saml2", "sp_id": name + "-sp"}
	v["domain_id"] = c.make("domains", "domain", doc{"name": name})
	v["project_id"] = c.make("projects", "project", doc{"name": "p", "domain_id": v["domain_id"], "tags": []string{"tag"}})
	v["user_id"] = c.make("users", "user", doc{"name": "target", "domain_id": v["domain_id"], "password": "pw"})
	v["group_id"] = c.make("groups", "group", doc{"name": "g", "domain_id": v["domain_id"]})
	v["role_id"], v["prior_role_id"], v["implied_role_id"] = c.role("reader"), c.role("manager"), c.role("member")
	v["region_id"] = c.make("regions", "region", doc{"id": name})
	v["service_id"] = c.make("services", "service", doc{"type": name, "name": name})
	v["endpoint_id"] = c.make("endpoints", "endpoint", doc{"service_id": v["service_id"], "interface": "public", "url": "http://cloud.test/x", "region_id": name})
	v["policy_id"] = c.make("policies", "policy", doc{"type": "t", "blob": "b"})
	v["endpoint_group_id"] = c.make("OS-EP-FILTER/endpoint_groups", "endpoint_group", doc{"name": "eg", "filters": doc{"region_id": name}})
	v["consumer_id"] = c.make("OS-OAUTH1/consumers", "consumer", doc{"description": "c"})
	v["credential_id"] = c.make("credentials", "credential", doc{"user_id": v["user_id"], "type": "cert", "blob": "{}"})
	c.grant(v["user_id"], "member", "projects/"+v["project_id"])
	token := c.login(v["user_id"], "pw", inProject(v["project_id"]))
	v["subject"] = token
	own := func(path, key string, body doc) doc {
		return c.must(201, "POST", "/v3/"+path, token, doc{key: body})[key].(doc)
	}
	ac := own("users/"+v["user_id"]+"/application_credentials", "application_credential", doc{"name": "ac", "access_rules": []doc{{"service": "compute", "method": "GET", "path": "/v2.1/servers"}}})
	v["application_credential_id"] = ac["id"].(string)
	v["access_rule_id"] = ac["access_rules"].([]any)[0].(doc)["id"].(string)
	v["trust_id"] = own("OS-TRUST/trusts", "trust", doc{"trustor_user_id": v["user_id"], "trustee_user_id": v["user_id"], "impersonation": false, "project_id": v["project_id"], "roles": []doc{{"name": "reader"}}})["id"].(string)
	v["access"] = c.must(201, "POST", "/v3/users/"+v["user_id"]+"/credentials/OS-EC2", token, doc{"tenant_id": v["project_id"]})["credential"].(doc)["access"].(string)
	rl := c.must(201, "POST", "/v3/registered_limits", c.admin, doc{"registered_limits": []doc{{"service_id": v["service_id"], "resource_name": "r", "default_limit": 5}}})
	v["registered_limit_id"] = rl["registered_limits"].([]any)[0].(doc)["id"].(string)
	l := c.must(201, "POST", "/v3/limits", c.admin, doc{"limits": []doc{{"service_id": v["service_id"], "resource_name": "r", "resource_limit": 5, "project_id": v["project_id"]}}})
	v["limit_id"] = l["limits"].([]any)[0].(doc)["id"].(string)
	c.must(201, "PUT", "/v3/OS-FEDERATION/mappings/"+v["mapping_id"], c.admin, doc{"mapping": doc{"rules": []doc{{"local": []doc{{"user": doc{"name": "{0}"}}}, "remote": []doc{{"type": "X-User"}}}}}})
	c.must(201, "PUT", "/v3/OS-FEDERATION/identity_providers/"+v["idp_id"], c.admin, doc{"identity_provider": doc{"enabled": true, "domain_id": v["domain_id"]}})
	c.must(201, "PUT", "/v3/OS-FEDERATION/identity_providers/"+v["idp_id"]+"/protocols/saml2", c.admin, doc{"protocol": doc{"mapping_id": v["mapping_id"]}})
	c.must(201, "PUT", "/v3/OS-FEDERATION/service_providers/"+v["sp_id"], c.admin, doc{"service_provider": doc{"auth_url": "http://a.test/", "sp_url": "http://s.test/"}})
	v["access_token_id"], v["request_token_id"] = "none", "none"
	return v
}

// bodies are documents that the schemas accept, by route; {name} stands for
// an id of the world.
func bodies() map[string]string {
	return map[string]string{
		"POST /v3/users": `{"user":{"name":"n","domain_id":"{domain_id}"}}`, "PATCH /v3/users/{user_id}": `{"user":{"description":"d"}}`,
		"POST /v3/groups": `{"group":{"name":"n","domain_id":"{domain_id}"}}`, "PATCH /v3/groups/{group_id}": `{"group":{"description":"d"}}`,
		"POST /v3/domains": `{"domain":{"name":"n"}}`, "PATCH /v3/domains/{domain_id}": `{"domain":{"description":"d"}}`,
		"POST /v3/projects": `{"project":{"name":"n","domain_id":"{domain_id}"}}`, "PATCH /v3/projects/{project_id}": `{"project":{"description":"d"}}`,
		"PUT /v3/projects/{project_id}/tags": `{"tags":["a"]}`,
		"POST /v3/roles":                     `{"role":{"name":"n"}}`, "PATCH /v3/roles/{role_id}": `{"role":{"description":"d"}}`,
		"POST /v3/regions": `{"region":{}}`, "PUT /v3/regions/{region_id}": `{"region":{}}`, "PATCH /v3/regions/{region_id}": `{"region":{"description":"d"}}`,
		"POST /v3/services": `{"service":{"type":"t"}}`, "PATCH /v3/services/{service_id}": `{"service":{"name":"n"}}`,
		"POST /v3/endpoints": `{"endpoint":{"service_id":"{service_id}","interface":"admin","url":"http://x.test"}}`, "PATCH /v3/endpoints/{endpoint_id}": `{"endpoint":{"url":"http://y.test"}}`,
		"POST /v3/policies": `{"policy":{"type":"t","blob":"b"}}`, "PATCH /v3/policies/{policy_id}": `{"policy":{"type":"u"}}`,
		"POST /v3/OS-EP-FILTER/endpoint_groups":                                       `{"endpoint_group":{"name":"n","filters":{}}}`,
		"PATCH /v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}":                  `{"endpoint_group":{"name":"m"}}`,
		"POST /v3/credentials":                                                        `{"credential":{"type":"cert","blob":"b","user_id":"{user_id}"}}`,
		"PATCH /v3/credentials/{credential_id}":                                       `{"credential":{"blob":"c"}}`,
		"POST /v3/users/{user_id}/credentials/OS-EC2":                                 `{"tenant_id":"{project_id}"}`,
		"POST /v3/users/{user_id}/application_credentials":                            `{"application_credential":{"name":"n"}}`,
		"POST /v3/OS-TRUST/trusts":                                                    `{"trust":{"trustor_user_id":"{user_id}","trustee_user_id":"{user_id}","impersonation":true}}`,
		"POST /v3/registered_limits":                                                  `{"registered_limits":[{"service_id":"{service_id}","resource_name":"s","default_limit":1}]}`,
		"PATCH /v3/registered_limits/{registered_limit_id}":                           `{"registered_limit":{"default_limit":6}}`,
		"POST /v3/limits":                                                             `{"limits":[{"service_id":"{service_id}","resource_name":"r","resource_limit":1,"domain_id":"{domain_id}"}]}`,
		"PATCH /v3/limits/{limit_id}":                                                 `{"limit":{"resource_limit":4}}`,
		"POST /v3/OS-OAUTH1/consumers":                                                `{"consumer":{}}`,
		"PATCH /v3/OS-OAUTH1/consumers/{consumer_id}":                                 `{"consumer":{"description":"e"}}`,
		"PUT /v3/OS-OAUTH1/authorize/{request_token_id}":                              `{"roles":[{"name":"reader"}]}`,
		"PUT /v3/OS-FEDERATION/identity_providers/{idp_id}":                           `{"identity_provider":{}}`,
		"PATCH /v3/OS-FEDERATION/identity_providers/{idp_id}":                         `{"identity_provider":{"enabled":true}}`,
		"PUT /v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}":   `{"protocol":{"mapping_id":"{mapping_id}"}}`,
		"PATCH /v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}": `{"protocol":{"mapping_id":"{mapping_id}"}}`,
		"PUT /v3/OS-FEDERATION/mappings/{mapping_id}":                                 `{"mapping":{"rules":[{"local":[{"user":{"name":"{0}"}}],"remote":[{"type":"X"}]}]}}`,
		"PATCH /v3/OS-FEDERATION/mappings/{mapping_id}":                               `{"mapping":{"rules":[{"local":[{"user":{"name":"{0}"}}],"remote":[{"type":"X"}]}]}}`,
		"PUT /v3/OS-FEDERATION/service_providers/{sp_id}":                             `{"service_provider":{"auth_url":"http://a.test","sp_url":"http://b.test"}}`,
		"PATCH /v3/OS-FEDERATION/service_providers/{sp_id}":                           `{"service_provider":{"enabled":true}}`,
		"PUT /v3/domains/{domain_id}/config":                                          `{"config":{"identity":{"driver":"sql"}}}`,
		"PATCH /v3/domains/{domain_id}/config":                                        `{"config":{"identity":{"driver":"sql"}}}`,
		"PATCH /v3/domains/{domain_id}/config/{group}":                                `{"config":{"identity":{"driver":"sql"}}}`,
		"PATCH /v3/domains/{domain_id}/config/{group}/{option}":                       `{"config":{"driver":"sql"}}`,
		"POST /v3/ec2tokens":                                                          `{"credentials":{}}`, "POST /v3/s3tokens": `{"credentials":{}}`,
	}
}

// queries make lists speak of the world.
func queries() map[string]string {
	return map[string]string{
		"GET /v3/users": "?domain_id={domain_id}", "GET /v3/groups": "?domain_id={domain_id}", "GET /v3/projects": "?domain_id={domain_id}",
		"GET /v3/role_assignments": "?scope.domain.id={domain_id}", "GET /v3/OS-TRUST/trusts": "?trustor_user_id={user_id}",
	}
}

var placeholder = regexp.MustCompile(`\{(\w+)\}`)

func expand(s string, v map[string]string) string {
	return placeholder.ReplaceAllStringFunc(s, func(p string) string {
		if x, ok := v[p[1:len(p)-1]]; ok {
			return x
		}
		return p
	})
}

// TestPersonas calls every route as every persona, on things of the persona's
// own domain and of another one, and compares who was let through by policy
// with testdata/personas.txt. A route that is missing there fails.
func TestPersonas(t *testing.T) {
	d := dbtest.New(t)
	c := newCloud(t, d, nil)
	own, foreign := c.world("own"), c.world("foreign")
	type persona struct{ name, token string }
	var personas []persona
	for _, scope := range []string{"system", "domain", "project"} {
		for _, role := range []string{"admin", "manager", "member", "reader", "service"} {
			name := scope + " " + role
			user := c.make("users", "user", doc{"name": name, "domain_id": own["domain_id"], "password": "pw"})
			where := map[string]struct {
				target string
				scope  doc
			}{"system": {"system", doc{"system": doc{"all": true}}}, "domain": {"domains/" + own["domain_id"], inDomain(own["domain_id"])}, "project": {"projects/" + own["project_id"], inProject(own["project_id"])}}[scope]
			c.grant(user, role, where.target)
			personas = append(personas, persona{name, c.login(user, "pw", where.scope)})
		}
	}
	personas = append(personas, persona{"the user", own["subject"]})
	undo := errors.New("undo")
	allowed := func(method, path, token string, v map[string]string) bool {
		body := expand(bodies()[method+" "+path], v)
		q := expand(queries()[method+" "+path], v)
		var w *httptest.ResponseRecorder
		err := d.Tx(context.Background(), func(ctx context.Context) error { // whatever it did is undone
			r := httptest.NewRequestWithContext(ctx, method, expand(path, v)+q, strings.NewReader(body))
			r.Header.Set("X-Auth-Token", token)
			r.Header.Set("X-Subject-Token", v["subject"])
			w = httptest.NewRecorder()
			c.api.ServeHTTP(w, r)
			return undo
		})
		if !errors.Is(err, undo) {
			t.Fatal(err)
		}
		if w.Code >= 500 || w.Code == http.StatusBadRequest && strings.Contains(w.Body.String(), "Invalid input for field/attribute") {
			t.Errorf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
		if token == "" {
			return w.Code != http.StatusUnauthorized
		}
		return !strings.Contains(w.Body.String(), "Policy doesn't allow") && (method != http.MethodHead || w.Code != http.StatusForbidden)
	}
	var out strings.Builder
	for _, r := range c.api.Routes() {
		if r.Open {
			fmt.Fprintf(&out, "%s %s: open\n", r.Method, r.Path)
			continue
		}
		if allowed(r.Method, r.Path, "", own) {
			t.Errorf("%s %s lets callers without a token in", r.Method, r.Path)
		}
		fmt.Fprintf(&out, "%s %s: %s\n", r.Method, r.Path, r.PolicyRule)
		for _, w := range []struct {
			name string
			v    map[string]string
		}{{"own", own}, {"foreign", foreign}} {
			var who []string
			for _, p := range personas {
				if allowed(r.Method, r.Path, p.token, w.v) {
					who = append(who, p.name)
				}
			}
			fmt.Fprintf(&out, "\t%s: %s\n", w.name, summary(who))
		}
	}
	golden(t, "testdata/personas.txt", out.String())
}

// summary groups "system admin, system reader" as "system(admin reader)".
func summary(who []string) string {
	if len(who) == 16 {
		return "everybody"
	}
	var parts []string
	for _, scope := range []string{"system", "domain", "project"} {
		var roles []string
		for _, w := range who {
			if r, ok := strings.CutPrefix(w, scope+" "); ok {
				roles = append(roles, r)
			}
		}
		switch len(roles) {
		case 0:
		case 5:
			parts = append(parts, scope)
		default:
			parts = append(parts, scope+"("+strings.Join(roles, " ")+")")
		}
	}
	if slices.Contains(who, "the user") {
		parts = append(parts, "the user")
	}
	return strings.Join(parts, " ")
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if f := flag.Lookup("update"); f != nil && f.Value.String() == "true" {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got)\n%s", file, diff)
	}
}
