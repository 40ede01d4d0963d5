package api_test

import (
	"testing"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/identity"
)

// persona is a token of a new user with a role on a target
// ("domains/<id>", "projects/<id>", "system").
func (c *cloud) persona(name, role, target string, scope doc) string {
	c.t.Helper()
	user := c.make("users", "user", doc{"name": name, "password": "pw"})
	c.grant(user, role, target)
	return c.login(user, "pw", scope)
}

// Roles of a domain have rules of their own: who may read the roles of all
// domains by their names may not read those.
func TestDomainRolesHaveTheirRules(t *testing.T) {
	c := newCloud(t, dbtest.New(t), nil)
	_, project := c.team("u")
	domain := c.make("domains", "domain", doc{"name": "d"})
	manager := c.persona("m", "manager", "projects/"+project, inProject(project))
	system := c.persona("s", "reader", "system", doc{"system": doc{"all": true}})
	hidden := c.make("roles", "role", doc{"name": "member", "domain_id": domain})
	for path, want := range map[string][2]int{
		"/v3/roles/" + c.role("member"):  {200, 200},
		"/v3/roles/" + hidden:            {403, 200},
		"/v3/roles?domain_id=" + domain:  {403, 200},
		"/v3/roles/" + c.role("service"): {403, 200},
	} {
		for i, token := range []string{manager, system} {
			if a := c.do("GET", path, token, nil); a.status != want[i] {
				t.Errorf("%s: %d, want %d", path, a.status, want[i])
			}
		}
	}
	for _, body := range []doc{{"name": "x"}, {"name": "x", "domain_id": domain}} {
		if a := c.do("POST", "/v3/roles", manager, doc{"role": body}); a.status != 403 {
			t.Errorf("a manager made a role: %d", a.status)
		}
	}
}

// A list of assignments is cut to the domain of the token: what another domain
// has is not refused but not there. Of a project's subtree the project's
// domain decides.
func TestAssignmentsOfOtherDomains(t *testing.T) {
	c := newCloud(t, dbtest.New(t), nil)
	own, foreign := c.make("domains", "domain", doc{"name": "own"}), c.make("domains", "domain", doc{"name": "foreign"})
	reader := c.persona("r", "reader", "domains/"+own, inDomain(own))
	count := map[string]int{}
	for name, domain := range map[string]string{"own": own, "foreign": foreign} {
		project := c.make("projects", "project", doc{"name": "p", "domain_id": domain})
		user := c.make("users", "user", doc{"name": "u", "domain_id": domain})
		c.grant(user, "member", "projects/"+project)
		for _, q := range []string{"", "?scope.project.id=" + project, "?scope.domain.id=" + domain, "?scope.system=all"} {
			list, _ := c.must(200, "GET", "/v3/role_assignments"+q, reader, nil)["role_assignments"].([]any)
			count[name+q[:min(len(q), 10)]] = len(list)
		}
		want := map[string]int{"own": 200, "foreign": 403}[name]
		if a := c.do("GET", "/v3/role_assignments?include_subtree&scope.project.id="+project, reader, nil); a.status != want {
			t.Errorf("the subtree of a project of the %s domain: %d %s", name, a.status, a.text)
		}
	}
	for what, want := range map[string]int{"own?scope.pro": 1, "own?scope.dom": 1, "foreign?scope.pro": 0, "foreign?scope.dom": 0, "own?scope.sys": 0} {
		if got := count[what]; got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
	if a := c.do("GET", "/v3/role_assignments?include_subtree", c.admin, nil); a.status != 400 {
		t.Errorf("the subtree of no project: %d", a.status)
	}
}

// The manager of a domain gives the roles reader, member and manager, no
// others, to its own users and groups on its own projects.
func TestDomainManagersGrant(t *testing.T) {
	c := newCloud(t, dbtest.New(t), nil)
	own, foreign := c.world("own"), c.world("foreign")
	manager := c.persona("m", "manager", "domains/"+own["domain_id"], inDomain(own["domain_id"]))
	for _, x := range []struct {
		role          string
		user, project map[string]string
		want          int
	}{
		{"reader", own, own, 204},
		{"member", own, own, 204},
		{"manager", own, own, 204},
		{"admin", own, own, 403},
		{"service", own, own, 403},
		{"reader", foreign, own, 403},
		{"reader", own, foreign, 403},
	} {
		if a := c.do("PUT", "/v3/projects/"+x.project["project_id"]+"/users/"+x.user["user_id"]+"/roles/"+c.role(x.role), manager, nil); a.status != x.want {
			t.Errorf("%s: %d, want %d", x.role, a.status, x.want)
		}
	}
	for _, role := range []string{"reader", "admin"} {
		if a := c.do("PUT", "/v3/system/users/"+own["user_id"]+"/roles/"+c.role(role), manager, nil); a.status != 403 {
			t.Errorf("%s on the system: %d", role, a.status)
		}
	}
	hidden := c.make("roles", "role", doc{"name": "reader", "domain_id": foreign["domain_id"]})
	if a := c.do("PUT", "/v3/projects/"+own["project_id"]+"/users/"+own["user_id"]+"/roles/"+hidden, manager, nil); a.status != 403 {
		t.Errorf("a role of another domain: %d", a.status)
	}
}

// Lists of users, groups, projects and domains show what is in the domain of a
// domain-scoped token, an administrator's too; what another has is not there.
func TestListsEndAtTheDomain(t *testing.T) {
	c := newCloud(t, dbtest.New(t), nil)
	own, foreign := c.world("own"), c.world("foreign")
	for _, role := range []string{"reader", "admin"} {
		token := c.persona("a "+role, role, "domains/"+own["domain_id"], inDomain(own["domain_id"]))
		for _, list := range []string{"users", "groups", "projects"} {
			for domain, want := range map[string]int{"": 1, "?domain_id=" + own["domain_id"]: 1, "?domain_id=" + foreign["domain_id"]: 0} {
				got, _ := c.must(200, "GET", "/v3/"+list+domain, token, nil)[list].([]any)
				if len(got) != want {
					t.Errorf("%s%s by a domain's %s: %d, want %d", list, domain, role, len(got), want)
				}
			}
		}
		if got, _ := c.must(200, "GET", "/v3/domains", token, nil)["domains"].([]any); len(got) != 1 {
			t.Errorf("domains by a domain's %s: %d", role, len(got))
		}
	}
	token := c.persona("r", "reader", "domains/"+own["domain_id"], inDomain(own["domain_id"]))
	c.must(204, "PUT", "/v3/groups/"+own["group_id"]+"/users/"+foreign["user_id"], c.admin, nil)
	c.must(204, "PUT", "/v3/groups/"+foreign["group_id"]+"/users/"+own["user_id"], c.admin, nil)
	if got, _ := c.must(200, "GET", "/v3/groups/"+own["group_id"]+"/users", token, nil)["users"].([]any); len(got) != 0 {
		t.Errorf("users of other domains in a group: %v", got)
	}
	if got, _ := c.must(200, "GET", "/v3/users/"+own["user_id"]+"/groups", token, nil)["groups"].([]any); len(got) != 0 {
		t.Errorf("groups of other domains: %v", got)
	}
}

// Where a project stands for the cloud its tokens say so, and those of other
// projects say that they do not.
func TestAdminProject(t *testing.T) {
	c := newCloud(t, dbtest.New(t), func(cfg *identity.Config) {
		cfg.Resource.AdminProjectName, cfg.Resource.AdminProjectDomainName = "admin", "Default"
	})
	user, project := c.team("u")
	for token, want := range map[string]any{c.admin: true, c.login(user, "pw", inProject(project)): false, c.login(user, "pw", nil): nil} {
		for range 2 { // the second is remembered
			if got := c.must(200, "GET", "/v3/auth/tokens", c.admin, nil, "X-Subject-Token", token)["token"].(doc)["is_admin_project"]; got != want {
				t.Errorf("is_admin_project: %v, want %v", got, want)
			}
		}
		id, err := c.m.Validate(t.Context(), token)
		if err != nil || (id.AdminProject == nil) != (want == nil) {
			t.Errorf("%v %v", id, err)
		}
	}
}

// Who an identity provider put into a group sees until when, and is no member
// then.
func TestMembershipsEnd(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		c := newCloud(t, d, func(cfg *identity.Config) { cfg.Federation.TrustedProxySecret = "proxy" })
		v := c.world("w")
		c.must(200, "PATCH", "/v3/OS-FEDERATION/identity_providers/"+v["idp_id"], c.admin, doc{"identity_provider": doc{"authorization_ttl": 10}})
		c.must(200, "PATCH", "/v3/OS-FEDERATION/mappings/"+v["mapping_id"], c.admin, doc{"mapping": doc{"rules": []doc{{
			"local": []doc{{"user": doc{"name": "{0}"}, "group": doc{"id": v["group_id"]}}}, "remote": []doc{{"type": "X-User"}},
		}}}})
		a := c.do("POST", "/v3/OS-FEDERATION/identity_providers/"+v["idp_id"]+"/protocols/saml2/auth", "", nil, "X-Tropo-Federation-Secret", "proxy", "X-User", "ann")
		if a.status != 201 {
			t.Fatalf("%d %s", a.status, a.text)
		}
		user := a.body["token"].(doc)["user"].(doc)["id"].(string)
		end := func() any {
			list := c.must(200, "GET", "/v3/users/"+user+"/groups", c.admin, nil)["groups"].([]any)
			if len(list) != 1 {
				t.Fatalf("groups: %v", list)
			}
			return list[0].(doc)["membership_expires_at"]
		}
		if got, want := end(), c.now.Add(10*time.Minute).UTC().Format("2006-01-02T15:04:05.000000Z"); got != want {
			t.Errorf("until %v, want %s", got, want)
		}
		c.must(204, "PUT", "/v3/groups/"+v["group_id"]+"/users/"+user, c.admin, nil)
		if got := end(); got != nil {
			t.Errorf("a member anyway, until %v", got)
		}
	})
}
