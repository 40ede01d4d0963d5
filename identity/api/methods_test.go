package api_test

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // RFC 6238's
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
)

// totp is RFC 6238 for the seed of its appendix B.
func totp(at time.Time) string {
	mac := hmac.New(sha1.New, []byte("12345678901234567890"))
	_ = binary.Write(mac, binary.BigEndian, at.Unix()/30)
	sum := mac.Sum(nil)
	return fmt.Sprintf("%06d", (binary.BigEndian.Uint32(sum[sum[19]&0xf:])&0x7fffffff)%1000000)
}

// wrongTOTP is a code of no time near another.
func wrongTOTP(at time.Time) string {
	for n := 0; ; n++ {
		code, near := fmt.Sprintf("%06d", n), false
		for i := -3; i <= 3; i++ {
			near = near || code == totp(at.Add(time.Duration(i)*30*time.Second))
		}
		if !near {
			return code
		}
	}
}

// A one-time password counts once, and with rules for several factors each
// alone is not enough.
func TestTOTPAndSeveralFactors(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		c := newCloud(t, d, nil)
		user, _ := c.team("u")
		c.make("credentials", "credential", doc{"user_id": user, "type": "totp", "blob": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"})
		second := doc{"user": doc{"id": user, "passcode": totp(c.now)}}
		login := func(methods []string, code string) int {
			second["user"].(doc)["passcode"] = code
			return c.do("POST", "/v3/auth/tokens", "", doc{"auth": doc{"identity": doc{"methods": methods, "totp": second, "password": doc{"user": doc{"id": user, "password": "pw"}}}}}).status
		}
		only := []string{"totp"}
		if got := login(only, wrongTOTP(c.now)); got != 401 {
			t.Errorf("a wrong code: %d", got)
		}
		if got := login(only, totp(c.now)); got != 201 {
			t.Errorf("a right code: %d", got)
		}
		if got := login(only, totp(c.now)); got != 401 {
			t.Errorf("a used code: %d", got)
		}
		c.must(200, "PATCH", "/v3/users/"+user, c.admin, doc{"user": doc{"options": doc{"multi_factor_auth_enabled": true, "multi_factor_auth_rules": [][]string{{"password", "totp"}}}}})
		c.now = c.now.Add(2 * time.Minute)
		if got := login(only, totp(c.now)); got != 401 {
			t.Errorf("one factor of two: %d", got)
		}
		c.now = c.now.Add(2 * time.Minute)
		if got := login([]string{"password"}, ""); got != 401 {
			t.Errorf("the other factor of two: %d", got)
		}
		if got := login([]string{"password", "totp"}, totp(c.now)); got != 201 {
			t.Errorf("both: %d", got)
		}
	})
}

// oauth2 asks for a token by the client credentials grant.
func (c *cloud) oauth2(id, secret string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/v3/OS-OAUTH2/token", strings.NewReader("grant_type=client_credentials"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(id+":"+secret)))
	w := httptest.NewRecorder()
	if c.front != nil {
		c.front.ServeHTTP(w, r)
	} else {
		c.api.ServeHTTP(w, r)
	}
	return w
}

// An application credential is an OAuth2 client.
func TestOAuth2ClientCredentials(t *testing.T) {
	c := newCloud(t, dbtest.New(t), nil)
	user, project := c.team("u")
	id, _ := c.appCredential(user, c.login(user, "pw", inProject(project)), nil)
	if w := c.oauth2(id, "known"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"token_type":"Bearer"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := c.oauth2(id, "wrong"); w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), "invalid_client") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// Rotating the keys of credentials leaves every credential readable.
func TestCredentialKeysRotate(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		c := newCloud(t, d, nil)
		user, _ := c.team("u")
		id := c.make("credentials", "credential", doc{"user_id": user, "type": "cert", "blob": "the blob"})
		for range 6 {
			if err := c.m.RotateCredentialKeys(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := c.must(200, "GET", "/v3/credentials/"+id, c.admin, nil)["credential"].(doc)["blob"]; got != "the blob" {
				t.Fatalf("after a rotation: %v", got)
			}
		}
		stored, err := db.Get[string](t.Context(), d, "SELECT encrypted_blob FROM credentials WHERE id = ?", id)
		if err != nil || strings.Contains(*stored, "the blob") {
			t.Errorf("at rest: %v %v", *stored, err)
		}
	})
}

// Projects nest, are disabled and deleted from the leaves up, and whole with
// cascade; a domain must be disabled first, and takes all with it.
func TestHierarchy(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		c := newCloud(t, d, nil)
		domain := c.make("domains", "domain", doc{"name": "d"})
		parent := domain
		var ids []string
		for i := range 5 {
			parent = c.make("projects", "project", doc{"name": fmt.Sprint("p", i), "parent_id": parent})
			ids = append(ids, parent)
		}
		if a := c.do("POST", "/v3/projects", c.admin, doc{"project": doc{"name": "deep", "parent_id": parent}}); a.status != 403 {
			t.Errorf("too deep: %d", a.status)
		}
		if a := c.do("PATCH", "/v3/projects/"+ids[0], c.admin, doc{"project": doc{"enabled": false}}); a.status != 403 {
			t.Errorf("disabled above an enabled one: %d", a.status)
		}
		if a := c.do("DELETE", "/v3/projects/"+ids[0], c.admin, nil); a.status != 403 {
			t.Errorf("deleted above another: %d", a.status)
		}
		for i := len(ids) - 1; i >= 3; i-- {
			c.must(200, "PATCH", "/v3/projects/"+ids[i], c.admin, doc{"project": doc{"enabled": false}})
		}
		c.must(204, "DELETE", "/v3/projects/"+ids[3]+"?cascade", c.admin, nil)
		if a := c.do("GET", "/v3/projects/"+ids[4], c.admin, nil); a.status != 404 {
			t.Errorf("the cascade left the leaf: %d", a.status)
		}
		user := c.make("users", "user", doc{"name": "u", "domain_id": domain, "password": "pw"})
		c.grant(user, "member", "projects/"+ids[1])
		token := c.login(user, "pw", inProject(ids[1]))
		if a := c.do("DELETE", "/v3/domains/"+domain, c.admin, nil); a.status != 403 {
			t.Errorf("an enabled domain was deleted: %d", a.status)
		}
		c.must(200, "PATCH", "/v3/domains/"+domain, c.admin, doc{"domain": doc{"enabled": false}})
		c.must(204, "DELETE", "/v3/domains/"+domain, c.admin, nil)
		for _, path := range []string{"/v3/users/" + user, "/v3/projects/" + ids[0], "/v3/domains/" + domain} {
			if a := c.do("GET", path, c.admin, nil); a.status != 404 {
				t.Errorf("%s outlives its domain: %d", path, a.status)
			}
		}
		if c.valid(token) {
			t.Error("a token outlives its domain")
		}
	})
}
