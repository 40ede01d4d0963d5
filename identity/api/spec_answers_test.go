package api_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/rest/resttest"
)

// Every operation of the published document answers with success, and its
// answers fit the document: their status, their form, and each documented
// attribute is seen in some answer.
func TestEveryDocumentedOperation(t *testing.T) {
	c := readContract(t)
	resttest.Run(t, exchanges, func(t *testing.T) (http.Handler, map[string]string) {
		x := newCloud(t, dbtest.New(t), func(cfg *identity.Config) { cfg.Federation.TrustedProxySecret = "proxy" })
		vars := x.world("own")
		vars["admin"] = x.admin
		return c.watch(t, x.api), vars
	})
	c.scenarios(t)
	for _, o := range c.ops {
		if want := o.success(); !o.seen[want] {
			t.Errorf("missing: %s with %d, seen %v", o, want, o.seen)
		}
		for _, name := range attributes("", o.answers[o.documented()]) {
			if !o.attrs[name] && !o.noDocument() && !o.never(name) {
				t.Errorf("missing: %s in the answer of %s", name, o)
			}
		}
	}
}

// rightStatus tells where the document's status of success is not Keystone's
// (whose API reference tropo follows): it is made by the document's generator
// from the method alone, 200 for POST and 201 for PUT.
func rightStatus() []struct {
	op     *regexp.Regexp
	status int
} {
	type row = struct {
		op     *regexp.Regexp
		status int
	}
	rows := []row{}
	add := func(status int, patterns ...string) {
		for _, p := range patterns {
			rows = append(rows, row{regexp.MustCompile("^(?:" + p + ")$"), status})
		}
	}
	// The list of versions is a choice.
	add(300, `(GET|HEAD) /`)
	// PKI tokens went with Queens; their resources answer that they are gone.
	add(410, `.* /v3/OS-SIMPLE-CERT/.*`, `.*/OS-PKI/revoked`)
	// Resources with POST alone: the document lists methods that they have not.
	add(405, `(GET|HEAD) /v3/(ec2tokens|s3tokens|auth/OS-FEDERATION/saml2(/ecp)?|OS-OAUTH1/(request_token|access_token))`, `(GET|HEAD|PUT|PATCH|DELETE) /v3/OS-OAUTH2/token`)
	// Signing in with no new resource, and reading a signature.
	add(200, `POST /v3/(ec2tokens|s3tokens|OS-OAUTH2/token|auth/OS-FEDERATION/.*)`)
	add(204, `POST /v3/users/{user_id}/password`)
	add(201, `POST .*`, `GET .*/protocols/{protocol_id}/auth`, `HEAD .*/protocols/{protocol_id}/auth`)
	// What has no document but is there or not.
	add(204, `(GET|HEAD|PUT) /v3/(OS-INHERIT/)?(domains|projects|system)(/{\w+})?/(users|groups)/{\w+}/roles/{role_id}(/inherited_to_projects)?`,
		`(GET|HEAD|PUT) /v3/groups/{group_id}/users/{user_id}`, `(GET|HEAD|PUT) .*/OS-ENDPOINT-POLICY/(endpoints|services)/.*`,
		`(GET|HEAD|PUT) /v3/OS-EP-FILTER/projects/{project_id}/endpoints/{endpoint_id}`, `PUT /v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/projects/{project_id}`,
		`HEAD /v3/roles/{prior_role_id}/implies/{implied_role_id}`)
	// Replaced, not made.
	add(200, `PUT /v3/projects/{project_id}/tags`, `PUT /v3/OS-OAUTH1/authorize/{request_token_id}`)
	return rows
}

// success is the status with which Keystone answers.
func (o *operation) success() int {
	for _, r := range rightStatus() {
		if r.op.MatchString(o.String()) {
			return r.status
		}
	}
	return o.documented()
}

// noDocument lists operations that answer with something else than the JSON
// that the document says.
func (o *operation) noDocument() bool {
	switch {
	case o.success() >= 300:
		return true
	case strings.HasSuffix(o.path, "/websso"), strings.Contains(o.path, "/websso/"):
		return true // a page for browsers that carries the token to the dashboard
	case strings.HasSuffix(o.path, "/request_token"), strings.HasSuffix(o.path, "/access_token"):
		return true // OAuth1's form (RFC 5849, section 2.1)
	case o.path == "/v3/projects/{project_id}/tags/{value}":
		return true // the tag is in the URL
	}
	return o.success() == http.StatusNoContent
}

// amend corrects what the document has plainly wrong about answers.
func amend(path string, s any) {
	switch x := s.(type) {
	case []any:
		for _, v := range x {
			amend(path, v)
		}
	case doc:
		if one, ok := x["oneOf"]; ok && strings.Contains(path, "/config/") {
			x["anyOf"] = one // options of any group: both alternatives allow them
			delete(x, "oneOf")
		}
		props, _ := x["properties"].(doc)
		if links, ok := props["links"].(doc); ok && links["type"] == "array" {
			props["links"] = doc{"type": "object"} // identity's links are an object everywhere
		}
		if strings.Contains(path, "/application_credentials") || strings.Contains(path, "/access_rules") {
			delete(x, "additionalProperties") // the request's rules: answers name roles by id and name, and link
			delete(x, "maxProperties")
		}
		for _, name := range nullable() {
			if p, ok := props[name].(doc); ok && p["type"] != nil {
				props[name] = doc{"anyOf": []any{p, doc{"type": "null"}}}
			}
		}
		for _, v := range x {
			amend(path, v)
		}
	}
}

// nullable are attributes that Keystone shows as null where nothing is set,
// of which the document says only what else they may be.
func nullable() []string {
	return []string{"password_expires_at", "description", "authorization_ttl", "remote_id_attribute", "region", "region_id", "parent_region_id", "user_tree_dn"}
}

// unwrapped names the key under which an answer is of which the document
// describes only what is below.
func (o *operation) unwrapped() string {
	if (o.path == "/v3/domains" && o.method == http.MethodPost) || o.path == "/v3/domains/{domain_id}" {
		return "domain"
	}
	return ""
}

// never lists attributes which the document gives to answers that cannot have
// them.
func (o *operation) never(name string) bool {
	last := name[strings.LastIndex(name, ".")+1:]
	switch {
	case last == "password" && strings.HasPrefix(name, ".user"):
		return true // no answer shows one
	case strings.HasPrefix(name, ".users.federated"):
		return true // lists do not look at other tables, as Keystone's
	case name == ".regions.parent_id":
		return true // parent_region_id, misspelt
	case last == "password_expires_at" && strings.HasPrefix(o.path, "/v3/OS-FEDERATION"):
		return true // federated users have no password
	case last == "issues_at":
		return true // issued_at, misspelt
	case o.path == "/v3/credentials":
		return true // the document of an application credential by mistake
	case strings.HasPrefix(name, ".token.catalog") && strings.HasPrefix(o.path, "/v3/OS-FEDERATION"):
		return true // of an unscoped token
	case strings.HasPrefix(name, ".role_assignments.scope.OS-TRUST:trust"):
		return true // the scope of a token
	case strings.HasPrefix(name, ".role_assignments.role.") || strings.HasPrefix(name, ".role_inference"):
		return last == "links" || last == "self" || last == "description" // roles are told by id and name
	}
	return false
}
