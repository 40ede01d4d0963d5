package api_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/identity"
)

// Who passes one of two factors gets a receipt, with which the other is
// enough; it ends by time, by a new password, and is good for that user alone.
func TestReceipts(t *testing.T) {
	own := t.TempDir()
	c := newCloud(t, dbtest.New(t), func(cfg *identity.Config) { cfg.FernetReceipts.KeyRepository = own })
	user, _ := c.team("u")
	other, _ := c.team("other")
	rules := doc{"user": doc{"options": doc{"multi_factor_auth_enabled": true, "multi_factor_auth_rules": [][]string{{"password", "totp"}, {"password", "oauth1"}}}}}
	for _, id := range []string{user, other} {
		c.make("credentials", "credential", doc{"user_id": id, "type": "totp", "blob": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"})
		c.must(200, "PATCH", "/v3/users/"+id, c.admin, rules)
	}
	first := func() answer { return c.do("POST", "/v3/auth/tokens", "", passwordAuth(user, "pw", nil)) }
	second := func(id, receipt string) answer {
		c.now = c.now.Add(time.Minute) // a code counts once
		return c.do("POST", "/v3/auth/tokens", "", doc{"auth": doc{"identity": doc{"methods": []string{"totp"}, "totp": doc{"user": doc{"id": id, "passcode": totp(c.now)}}}}},
			"Openstack-Auth-Receipt", receipt)
	}
	a := first()
	receipt := a.header.Get("Openstack-Auth-Receipt")
	if a.status != http.StatusUnauthorized || receipt == "" || a.header.Get("X-Subject-Token") != "" {
		t.Fatalf("one factor: %d %v %s", a.status, a.header, a.text)
	}
	r := a.body["receipt"].(doc)
	if fmt.Sprint(r["methods"]) != "[password]" || r["user"].(doc)["id"] != user || r["user"].(doc)["domain"].(doc)["id"] != "default" ||
		fmt.Sprint(a.body["required_auth_methods"]) != "[[password totp] [password oauth1]]" {
		t.Errorf("receipt: %s", a.text)
	}
	if a := second(user, receipt); a.status != http.StatusCreated || fmt.Sprint(a.body["token"].(doc)["methods"]) != "[totp password]" {
		t.Errorf("the second factor: %d %s", a.status, a.text)
	}
	token := c.login("nova", "nova-secret", nil)
	for name, a := range map[string]answer{"another's": second(other, receipt), "none": second(user, ""), "no receipt": second(user, token), "odd": second(user, "x")} {
		if a.status != http.StatusUnauthorized {
			t.Errorf("%s receipt: %d %s", name, a.status, a.text)
		}
	}
	if a := c.do("GET", "/v3/auth/projects", receipt, nil); a.status != http.StatusUnauthorized {
		t.Errorf("a receipt as a token: %d", a.status)
	}
	c.now = c.now.Add(time.Minute)
	receipt = first().header.Get("Openstack-Auth-Receipt")
	c.admin = c.login("admin", "admin-secret", doc{"project": doc{"name": "admin", "domain": doc{"id": "default"}}})
	c.must(200, "PATCH", "/v3/users/"+user, c.admin, doc{"user": doc{"password": "new"}})
	if a := second(user, receipt); a.status != http.StatusUnauthorized {
		t.Errorf("after a new password: %d", a.status)
	}
	receipt = c.do("POST", "/v3/auth/tokens", "", passwordAuth(user, "new", nil)).header.Get("Openstack-Auth-Receipt")
	c.now = c.now.Add(6 * time.Minute)
	if a := second(user, receipt); a.status != http.StatusUnauthorized {
		t.Errorf("an old receipt: %d", a.status)
	}
	if keys, err := filepath.Glob(own + "/[0-9]*"); err != nil || len(keys) != 2 {
		t.Errorf("keys of receipts: %v %v", keys, err)
	}
}

// With [token] provider = jws every kind of token says the same as Fernet's.
func TestJWSTokens(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		dir := t.TempDir()
		c := newCloud(t, d, func(cfg *identity.Config) {
			cfg.Token.Provider = "jws"
			cfg.JWTTokens.PrivateKeyRepository, cfg.JWTTokens.PublicKeyRepository = filepath.Join(dir, "private"), filepath.Join(dir, "public")
		})
		user, project := c.team("u")
		friend, _ := c.team("friend")
		c.grant(user, "reader", "domains/default")
		c.must(204, "PUT", "/v3/system/users/"+user+"/roles/"+c.role("reader"), c.admin, nil)
		token := c.login(user, "pw", inProject(project))
		_, byTrust := c.trust(user, friend, project, token, nil)
		_, byCredential := c.appCredential(user, token, nil)
		tokens := map[string]string{
			"unscoped": c.login(user, "pw", nil), "project": token, "domain": c.login(user, "pw", inDomain("default")),
			"system": c.login(user, "pw", doc{"system": doc{"all": true}}), "OS-TRUST:trust": byTrust, "application_credential": byCredential,
		}
		for name, tok := range tokens {
			doc := c.must(200, "GET", "/v3/auth/tokens", c.admin, nil, "X-Subject-Token", tok)["token"].(doc)
			if parts := strings.Split(tok, "."); len(parts) != 3 || name != "unscoped" && doc[name] == nil || doc["user"].(map[string]any)["id"] != user {
				t.Errorf("%s: %s %v", name, tok, doc)
			}
		}
		c.must(204, "DELETE", "/v3/auth/tokens", c.admin, nil, "X-Subject-Token", byTrust)
		if c.valid(byTrust) || !c.valid(byCredential) {
			t.Error("a revocation ends the one token that it names")
		}
		forged := []byte(token)
		if at := len(token) - 3; forged[at] == 'A' {
			forged[at] = 'B'
		} else {
			forged[at] = 'A'
		}
		if a := c.do("GET", "/v3/auth/projects", string(forged), nil); a.status != http.StatusUnauthorized {
			t.Errorf("a forged signature: %d", a.status)
		}
	})
}
