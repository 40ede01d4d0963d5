package api_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/directory/directorytest"
)

// corp is a domain whose users stand in a directory.
type corp struct {
	*cloud
	s      *directorytest.Server
	domain string
}

func newCorp(t *testing.T, d *db.DB) *corp {
	t.Helper()
	c := &corp{cloud: newCloud(t, d, nil), s: directorytest.Start(t)}
	c.domain = c.make("domains", "domain", doc{"name": "corp"})
	a := c.do("PUT", "/v3/domains/"+c.domain+"/config", c.admin, doc{"config": doc{"identity": doc{"driver": "ldap"}, "ldap": c.s.Options()}})
	if a.status != http.StatusCreated {
		t.Fatalf("configuration of the domain: %d %s", a.status, a.text)
	}
	return c
}

// public is the id that Keystone gives an entry.
func (c *corp) public(kind, local string) string {
	sum := sha256.Sum256([]byte(c.domain + kind + local))
	return hex.EncodeToString(sum[:])
}

// enter logs in by name, or by id where name is empty.
func (c *corp) enter(name, pw string, scope any) answer {
	user := doc{"name": name, "domain": doc{"name": "corp"}, "password": pw}
	if len(name) == 64 {
		user = doc{"id": name, "password": pw}
	}
	auth := doc{"identity": doc{"methods": []string{"password"}, "password": doc{"user": user}}}
	if scope != nil {
		auth["scope"] = scope
	}
	return c.do("POST", "/v3/auth/tokens", "", doc{"auth": auth})
}

func (c *corp) token(name string, scope any) string {
	c.t.Helper()
	a := c.enter(name, name+"-secret", scope)
	if a.status != http.StatusCreated {
		c.t.Fatalf("login of %s: %d %s", name, a.status, a.text)
	}
	return a.header.Get("X-Subject-Token")
}

// found lists the names of a list.
func (c *corp) found(path, key string) string {
	c.t.Helper()
	list, _ := c.must(200, "GET", path, c.admin, nil)[key].([]any)
	var out []any
	for _, e := range list {
		out = append(out, e.(doc)["name"])
	}
	return fmt.Sprint(out)
}

func TestLDAPDomain(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		c := newCorp(t, d)
		alice := c.s.User("alice", "alice", "alice-secret", "TRUE")
		c.s.User("bob", "Bob", "bob-secret", "FALSE")
		c.s.Group("staff", "Staff", alice)
		own := c.make("users", "user", doc{"name": "alice", "password": "pw"})
		users := "/v3/users?domain_id=" + c.domain
		c.must(200, "GET", users, c.admin, nil) // what is listed is known by its id
		for path, want := range map[string]string{
			users: "[Bob alice]", users + "&name=ALICE": "[alice]", users + "&name__contains=o": "[Bob]", users + "&enabled=false": "[Bob]",
			users + "&name=*": "[]", users + "&name__startswith=a)(cn=*": "[]", users + "&limit=1": "[Bob]", users + "&limit=1&marker=" + c.public("user", "bob"): "[alice]",
			"/v3/users/" + c.public("user", "alice") + "/groups": "[Staff]",
		} {
			key := "users"
			if path[len(path)-7:] == "/groups" {
				key = "groups"
			}
			if got := c.found(path, key); got != want {
				t.Errorf("%s: %s, want %s", path, got, want)
			}
		}
		group := c.public("group", "staff")
		if got := c.found("/v3/groups?domain_id="+c.domain, "groups") + c.found("/v3/groups/"+group+"/users", "users"); got != "[Staff][alice]" {
			t.Errorf("groups and their users: %s", got)
		}
		id := c.public("user", "alice")
		u := c.must(200, "GET", "/v3/users/"+id, c.admin, nil)["user"].(doc)
		if u["name"] != "alice" || u["domain_id"] != c.domain || u["email"] != "someone@corp.test" || u["enabled"] != true {
			t.Errorf("alice: %v", u)
		}
		for name, a := range map[string]answer{
			"wrong": c.enter("alice", "wrong", nil), "empty": c.enter("alice", "", nil), "disabled": c.enter("bob", "bob-secret", nil), "nobody": c.enter("nobody", "x", nil),
			"injected": c.enter("*", "alice-secret", nil), "no roles": c.enter("alice", "alice-secret", inDomain(c.domain)), "own password there": c.enter("alice", "pw", nil),
		} {
			if a.status != http.StatusUnauthorized {
				t.Errorf("login, %s: %d %s", name, a.status, a.text)
			}
		}
		if a := c.enter(id, "alice-secret", nil); a.status != 201 {
			t.Errorf("login by id: %d %s", a.status, a.text)
		}
		if got := c.found("/v3/users?name=alice", "users"); got != "[alice]" {
			t.Errorf("our own users named alice: %s", got)
		}
		c.ldapRoles(id, group)
		c.ldapReadOnly(id, group, own)
		c.ldapEnds(id)
	})
}

// ldapRoles gives roles to a user and a group and looks at tokens.
func (c *corp) ldapRoles(id, group string) {
	t := c.t
	t.Helper()
	p1, p2 := c.make("projects", "project", doc{"name": "one", "domain_id": c.domain}), c.make("projects", "project", doc{"name": "two"})
	c.grant(id, "member", "projects/"+p1)
	c.must(204, "PUT", "/v3/projects/"+p2+"/groups/"+group+"/roles/"+c.role("reader"), c.admin, nil)
	for p, role := range map[string]string{p1: "[member reader]", p2: "[reader]"} {
		a := c.enter("alice", "alice-secret", inProject(p))
		if a.status != 201 || fmt.Sprint(roleNames(a)) != role || !c.valid(a.header.Get("X-Subject-Token")) {
			t.Errorf("token of a project: %d %s, want %s", a.status, a.text, role)
		}
	}
	token := c.token("alice", inProject(p2))
	if list, _ := c.must(200, "GET", "/v3/auth/projects", token, nil)["projects"].([]any); len(list) != 2 {
		t.Errorf("projects of alice: %v", list)
	}
	list, _ := c.must(200, "GET", "/v3/role_assignments?effective&include_names&user.id="+id, c.admin, nil)["role_assignments"].([]any)
	if len(list) != 3 {
		t.Errorf("effective assignments: %v", list)
	}
	list, _ = c.must(200, "GET", "/v3/role_assignments?effective&include_names&scope.project.id="+p2, c.admin, nil)["role_assignments"].([]any)
	if len(list) != 1 || list[0].(doc)["user"].(doc)["name"] != "alice" || list[0].(doc)["user"].(doc)["domain"].(doc)["name"] != "corp" {
		t.Errorf("effective assignments on a project: %v", list)
	}
	// Who leaves the group loses what it gave.
	c.s.User("carol", "carol", "", "TRUE")
	c.s.Set("cn=staff,ou=UserGroups,"+directorytest.Suffix, "member", "cn=carol,ou=Users,"+directorytest.Suffix)
	if c.valid(token) {
		t.Error("a token of the group's role lives on")
	}
}

func (c *corp) ldapReadOnly(id, group, own string) {
	c.t.Helper()
	for _, r := range []struct {
		method, path string
		body         any
	}{
		{"POST", "/v3/users", doc{"user": doc{"name": "new", "domain_id": c.domain}}},
		{"PATCH", "/v3/users/" + id, doc{"user": doc{"enabled": false}}},
		{"DELETE", "/v3/users/" + id, nil},
		{"POST", "/v3/groups", doc{"group": doc{"name": "new", "domain_id": c.domain}}},
		{"PATCH", "/v3/groups/" + group, doc{"group": doc{"name": "other"}}},
		{"DELETE", "/v3/groups/" + group, nil},
		{"PUT", "/v3/groups/" + group + "/users/" + own, nil},
		{"DELETE", "/v3/groups/" + group + "/users/" + id, nil},
	} {
		if a := c.do(r.method, r.path, c.admin, r.body); a.status != http.StatusForbidden {
			c.t.Errorf("%s %s: %d %s", r.method, r.path, a.status, a.text)
		}
	}
	if a := c.do("POST", "/v3/users/"+id+"/password", "", doc{"user": doc{"original_password": "alice-secret", "password": "new"}}); a.status != http.StatusForbidden {
		c.t.Errorf("own password: %d %s", a.status, a.text)
	}
}

// ldapEnds takes the configuration and then the domain away.
func (c *corp) ldapEnds(id string) {
	c.t.Helper()
	token := c.token("alice", nil)
	c.must(204, "DELETE", "/v3/domains/"+c.domain+"/config", c.admin, nil)
	if a := c.enter("alice", "alice-secret", nil); a.status != 401 || c.valid(token) {
		c.t.Errorf("without its directory: %d", a.status)
	}
	c.must(404, "GET", "/v3/users/"+id, c.admin, nil)
	c.must(200, "PATCH", "/v3/domains/"+c.domain, c.admin, doc{"domain": doc{"enabled": false}})
	c.must(204, "DELETE", "/v3/domains/"+c.domain, c.admin, nil)
}

// A user who is disabled or deleted in the directory is refused at once, in
// whatever way the user or a delegate comes (OSSA-2026-007: threat 35).
func TestThreat35DirectoryDisablesAtOnce(t *testing.T) {
	c := newCorp(t, dbtest.New(t))
	dn := c.s.User("alice", "alice", "alice-secret", "TRUE")
	id, nova := c.public("user", "alice"), c.service()
	if got := c.found("/v3/users?domain_id="+c.domain, "users"); got != "[alice]" {
		t.Fatal(got)
	}
	friend, project := c.team("friend")
	c.grant(id, "member", "projects/"+project)
	token := c.token("alice", inProject(project))
	_, byCredential := c.appCredential(id, token, nil)
	acID, _ := c.appCredential(id, c.token("alice", inProject(project)), nil)
	_, byTrust := c.trust(id, friend, project, token, nil)
	_, plainTrust := c.trust(id, friend, project, token, doc{"impersonation": false})
	friendTrust := c.must(201, "POST", "/v3/OS-TRUST/trusts", c.login(friend, "pw", inProject(project)), doc{"trust": doc{
		"trustor_user_id": friend, "trustee_user_id": id, "project_id": project, "impersonation": true, "roles": []doc{{"name": "reader"}},
	}})["trust"].(doc)["id"]
	asFriend := c.token("alice", doc{"OS-TRUST:trust": doc{"id": friendTrust}})
	access, secret := c.ec2(id, project, token)
	ec2 := func() answer { return c.do("POST", "/v3/ec2tokens", nova, signV2(access, secret, c.now)) }
	tokens := map[string]string{
		"token": token, "unscoped": c.token("alice", doc{"unscoped": doc{}}), "application credential": byCredential, "trust": byTrust,
		"trust without impersonation": plainTrust, "trust of another": asFriend, "EC2": ec2().header.Get("X-Subject-Token"),
	}
	check := func(state string, in bool) {
		t.Helper()
		for name, tok := range tokens {
			if got := c.valid(tok); got != in {
				t.Errorf("threat 35: %s: %s is valid: %v", state, name, got)
			}
			if a := c.do("GET", "/v3/auth/projects", tok, nil); (a.status == 200) != in {
				t.Errorf("threat 35: %s: a request with %s: %d", state, name, a.status)
			}
		}
		logins := map[string]answer{
			"password": c.enter("alice", "alice-secret", nil), "EC2": ec2(),
			"application credential": c.do("POST", "/v3/auth/tokens", "", doc{"auth": doc{"identity": doc{"methods": []string{"application_credential"}, "application_credential": doc{"id": acID, "secret": "known"}}}}),
			"token":                  c.do("POST", "/v3/auth/tokens", "", doc{"auth": doc{"identity": doc{"methods": []string{"token"}, "token": doc{"id": token}}, "scope": doc{"unscoped": doc{}}}}),
		}
		for name, a := range logins {
			if (a.status < 300) != in {
				t.Errorf("threat 35: %s: login by %s: %d %s", state, name, a.status, a.text)
			}
		}
	}
	if a := c.do("GET", "/v3/auth/tokens", c.admin, nil, "X-Subject-Token", token); a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("threat 35: other services may remember the token: %v", a.header)
	}
	if a := c.do("GET", "/v3/auth/tokens", c.admin, nil, "X-Subject-Token", nova); a.header.Get("Cache-Control") != "" {
		t.Errorf("other services may not remember a token of our own user: %v", a.header)
	}
	check("enabled", true)
	c.s.Set(dn, "employeeType", "FALSE")
	check("disabled", false)
	c.s.Set(dn, "employeeType", "TRUE")
	check("enabled again", true)
	c.s.Delete(dn)
	check("deleted", false)
}

// A directory that is down is the trouble of its domain alone.
func TestLDAPDown(t *testing.T) {
	c := newCorp(t, dbtest.New(t))
	c.s.User("alice", "alice", "alice-secret", "TRUE")
	token := c.token("alice", nil)
	user, project := c.team("own")
	c.s.Down()
	start := time.Now()
	for name, a := range map[string]answer{
		"login": c.enter("alice", "alice-secret", nil), "list": c.do("GET", "/v3/users?domain_id="+c.domain, c.admin, nil),
		"validate": c.do("GET", "/v3/auth/tokens", c.admin, nil, "X-Subject-Token", token), "request": c.do("GET", "/v3/auth/projects", token, nil),
	} {
		if a.status != http.StatusServiceUnavailable {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	if !c.valid(c.login(user, "pw", inProject(project))) {
		t.Error("a user of another domain")
	}
	c.must(200, "GET", "/v3/users", c.admin, nil)
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("that took %v", d)
	}
	c.s.Up()
	if !c.valid(token) {
		t.Error("the token is not valid again")
	}
}

// A file of domain_config_dir serves a domain without stored options.
func TestLDAPByFile(t *testing.T) {
	dir, s := t.TempDir(), directorytest.Start(t)
	s.User("alice", "alice", "alice-secret", "TRUE")
	conf := "# of the domain corp\n[identity]\ndriver = ldap\n[ldap]\nurl = " + s.URL + "\nsuffix = " + directorytest.Suffix + "\nuser_enabled_attribute = employeeType\n"
	if err := os.WriteFile(filepath.Join(dir, "keystone.corp.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &corp{cloud: newCloud(t, dbtest.New(t), func(cfg *identity.Config) { cfg.Identity.DomainConfigDir = dir }), s: s}
	c.domain = c.make("domains", "domain", doc{"name": "corp"})
	c.make("domains", "domain", doc{"name": "other"})
	c.grant(c.aliceID(), "reader", "domains/"+c.domain)
	if c.token("alice", inDomain(c.domain)) == "" {
		t.Error("no token")
	}
}

func (c *corp) aliceID() string {
	c.t.Helper()
	c.token("alice", doc{"unscoped": doc{}})
	return c.public("user", "alice")
}
