package api_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/identity"
)

// team is a user with the role member on a project.
func (c *cloud) team(name string) (user, project string) {
	c.t.Helper()
	project = c.make("projects", "project", doc{"name": "p-" + name})
	user = c.make("users", "user", doc{"name": name, "password": "pw"})
	c.grant(user, "member", "projects/"+project)
	return user, project
}

// A token ends at once with whatever it rests on (CVE-2016-4911,
// CVE-2015-7546: threat 39).
func TestThreat39RevocationTakesEffectAtOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		c := newCloud(t, d, nil)
		n := 0
		check := func(name string, end func(user, project, token string)) {
			n++
			user, project := c.team(name)
			c.now = c.now.Add(2 * time.Second)
			c.admin = c.login("admin", "admin-secret", doc{"project": doc{"name": "admin", "domain": doc{"id": "default"}}})
			token := c.login(user, "pw", inProject(project))
			if !c.valid(token) {
				t.Fatalf("%s: a new token is not valid", name)
			}
			end(user, project, token)
			if c.valid(token) {
				t.Errorf("%s: the token lives on", name)
			}
			if a := c.do("GET", "/v3/auth/catalog", token, nil); a.status != http.StatusUnauthorized {
				t.Errorf("%s: the token is still good for a request: %d", name, a.status)
			}
		}
		check("revoke", func(_, _, token string) {
			c.must(204, "DELETE", "/v3/auth/tokens", token, nil, "X-Subject-Token", token)
		})
		check("password", func(user, _, _ string) {
			c.must(204, "POST", "/v3/users/"+user+"/password", "", doc{"user": doc{"original_password": "pw", "password": "new"}})
		})
		check("reset", func(user, _, _ string) {
			c.must(200, "PATCH", "/v3/users/"+user, c.admin, doc{"user": doc{"password": "new"}})
		})
		check("disable", func(user, _, _ string) {
			c.must(200, "PATCH", "/v3/users/"+user, c.admin, doc{"user": doc{"enabled": false}})
		})
		check("delete", func(user, _, _ string) { c.must(204, "DELETE", "/v3/users/"+user, c.admin, nil) })
		check("grant", func(user, project, _ string) {
			c.must(204, "DELETE", "/v3/projects/"+project+"/users/"+user+"/roles/"+c.role("member"), c.admin, nil)
		})
		check("project", func(_, project, _ string) {
			c.must(200, "PATCH", "/v3/projects/"+project, c.admin, doc{"project": doc{"enabled": false}})
		})
		check("project-delete", func(_, project, _ string) { c.must(204, "DELETE", "/v3/projects/"+project, c.admin, nil) })
		check("expiry", func(string, string, string) {
			c.now = c.now.Add(time.Hour + time.Second)
			c.admin = c.login("admin", "admin-secret", doc{"project": doc{"name": "admin", "domain": doc{"id": "default"}}})
		})
		// A token that was changed for another is not revived by its heir.
		user, project := c.team("chain")
		first := c.login(user, "pw", nil)
		again := doc{"auth": doc{"identity": doc{"methods": []string{"token"}, "token": doc{"id": first}}, "scope": inProject(project)}}
		second := c.do("POST", "/v3/auth/tokens", "", again).header.Get("X-Subject-Token")
		c.must(204, "DELETE", "/v3/auth/tokens", first, nil, "X-Subject-Token", first)
		if a := c.do("POST", "/v3/auth/tokens", "", again); a.status != http.StatusUnauthorized {
			t.Errorf("a revoked token was rescoped: %d", a.status)
		}
		if !c.valid(second) {
			t.Error("revoking one token ended another of the chain")
		}
	})
}

// Rescoping keeps the end of the token (CVE-2026-44394: threat 33), the
// methods and the audit chain.
func TestThreat33RescopingKeepsTheEnd(t *testing.T) {
	c := newCloud(t, dbtest.New(t), nil)
	user, project := c.team("u")
	token := c.login(user, "pw", nil)
	get := func(token string) doc {
		return c.must(200, "GET", "/v3/auth/tokens", c.admin, nil, "X-Subject-Token", token)["token"].(doc)
	}
	first := get(token)
	for range 3 {
		c.now = c.now.Add(10 * time.Minute)
		a := c.do("POST", "/v3/auth/tokens", "", doc{"auth": doc{"identity": doc{"methods": []string{"token"}, "token": doc{"id": token}}, "scope": inProject(project)}})
		if a.status != 201 {
			t.Fatalf("rescope: %d %s", a.status, a.text)
		}
		token = a.header.Get("X-Subject-Token")
		now := get(token)
		if now["expires_at"] != first["expires_at"] {
			t.Errorf("the end moved from %v to %v", first["expires_at"], now["expires_at"])
		}
		audit := now["audit_ids"].([]any)
		if len(audit) != 2 || audit[1] != first["audit_ids"].([]any)[0] {
			t.Errorf("audit ids %v do not follow %v", audit, first["audit_ids"])
		}
		if m := now["methods"].([]any); !slices.Contains(m, any("password")) || !slices.Contains(m, any("token")) {
			t.Errorf("methods %v", m)
		}
	}
}

func TestScopes(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		c := newCloud(t, d, nil)
		user, project := c.team("u")
		child := c.make("projects", "project", doc{"name": "child", "parent_id": project})
		roles := func(scope any) []string {
			a := c.do("POST", "/v3/auth/tokens?nocatalog", "", passwordAuth(user, "pw", scope))
			if a.status != 201 {
				return nil
			}
			var out []string
			list, _ := a.body["token"].(doc)["roles"].([]any)
			for _, r := range list {
				out = append(out, r.(doc)["name"].(string))
			}
			return out
		}
		if got := roles(inProject(project)); !slices.Equal(got, []string{"member", "reader"}) {
			t.Errorf("implied roles: %v", got)
		}
		for name, scope := range map[string]any{"child": inProject(child), "domain": inDomain("default"), "system": doc{"system": doc{"all": true}}, "nowhere": inProject("nowhere")} {
			if got := roles(scope); got != nil {
				t.Errorf("%s without a role: %v", name, got)
			}
		}
		c.must(204, "PUT", "/v3/OS-INHERIT/domains/default/users/"+user+"/roles/"+c.role("reader")+"/inherited_to_projects", c.admin, nil)
		if got := roles(inProject(child)); !slices.Equal(got, []string{"reader"}) {
			t.Errorf("inherited from the domain: %v", got)
		}
		group := c.make("groups", "group", doc{"name": "g"})
		c.must(204, "PUT", "/v3/groups/"+group+"/users/"+user, c.admin, nil)
		c.must(204, "PUT", "/v3/system/groups/"+group+"/roles/"+c.role("manager"), c.admin, nil)
		if got := roles(doc{"system": doc{"all": true}}); !slices.Equal(got, []string{"manager", "member", "reader"}) {
			t.Errorf("system by a group: %v", got)
		}
		c.must(204, "DELETE", "/v3/groups/"+group, c.admin, nil)
		if got := roles(doc{"system": doc{"all": true}}); got != nil {
			t.Errorf("the group is gone: %v", got)
		}
		if a := c.do("GET", "/v3/auth/projects", c.login(user, "pw", nil), nil); len(a.body["projects"].([]any)) != 4 {
			t.Errorf("projects: %s", a.text)
		}
	})
}

// Lockout, unknown users, disabled ones and wrong passwords cannot be told
// apart (CVE-2021-38155: threat 37).
func TestThreat37OneAnswerToEveryFailedLogin(t *testing.T) {
	c := newCloud(t, dbtest.New(t), func(cfg *identity.Config) { cfg.SecurityCompliance.LockoutFailureAttempts = 2 })
	c.team("locked")
	off, _ := c.team("off")
	c.must(200, "PATCH", "/v3/users/"+off, c.admin, doc{"user": doc{"enabled": false}})
	want := c.do("POST", "/v3/auth/tokens", "", passwordAuth("nobody", "pw", nil)).text
	for range 3 {
		if a := c.do("POST", "/v3/auth/tokens", "", passwordAuth("locked", "wrong", nil)); a.status != 401 || a.text != want {
			t.Errorf("wrong password: %d %s", a.status, a.text)
		}
	}
	for name, pw := range map[string]string{"locked": "pw", "off": "pw"} {
		if a := c.do("POST", "/v3/auth/tokens", "", passwordAuth(name, pw, nil)); a.status != 401 || a.text != want {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	c.now = c.now.Add(31 * time.Minute)
	c.login("locked", "pw", nil)
}

// Security compliance: history, age, expiry, first use.
func TestSecurityCompliance(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		c := newCloud(t, d, func(cfg *identity.Config) {
			s := &cfg.SecurityCompliance
			s.UniqueLastPasswordCount, s.PasswordExpiresDays, s.ChangeUponFirstUse, s.PasswordRegex = 3, 30, true, `\S{2,}`
		})
		user, _ := c.team("u")
		change := func(old, pw string) int {
			return c.do("POST", "/v3/users/"+user+"/password", "", doc{"user": doc{"original_password": old, "password": pw}}).status
		}
		if a := c.do("POST", "/v3/auth/tokens", "", passwordAuth("u", "pw", nil)); a.status != 401 {
			t.Errorf("first use without a change: %d", a.status)
		}
		for _, s := range []struct {
			old, pw string
			want    int
		}{{"wrong", "one", 401}, {"pw", "x", 400}, {"pw", "pw", 400}, {"pw", "one", 204}, {"one", "pw", 400}, {"one", "two", 204}, {"two", "one", 400}, {"two", "pw", 204}} {
			if got := change(s.old, s.pw); got != s.want {
				t.Errorf("%s → %s: %d, want %d", s.old, s.pw, got, s.want)
			}
		}
		c.login("u", "pw", nil)
		c.now = c.now.Add(31 * 24 * time.Hour)
		if a := c.do("POST", "/v3/auth/tokens", "", passwordAuth("u", "pw", nil)); a.status != 401 {
			t.Errorf("an expired password: %d", a.status)
		}
		if got := change("pw", "three"); got != 204 {
			t.Errorf("changing an expired password: %d", got)
		}
	})
}
