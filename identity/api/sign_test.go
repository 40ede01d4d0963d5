package api_test

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the protocols' own
	"encoding/base64"
	"fmt"
	"net/url"
	"sort"
	"strings"
	"testing"

	"github.com/tropocloud/tropo/db/dbtest"
)

func s3Signature(secret, text string) string {
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// oauth makes the Authorization header of a signed OAuth1 request.
func oauth(method, target, consumer, consumerSecret, token, tokenSecret string, nonce int, at int64, extra ...string) string {
	p := map[string]string{"oauth_consumer_key": consumer, "oauth_signature_method": "HMAC-SHA1", "oauth_timestamp": fmt.Sprint(at), "oauth_nonce": fmt.Sprint(nonce), "oauth_version": "1.0"}
	if token != "" {
		p["oauth_token"] = token
	}
	for i := 0; i+1 < len(extra); i += 2 {
		p[extra[i]] = extra[i+1]
	}
	var pairs []string
	for k, v := range p {
		pairs = append(pairs, url.QueryEscape(k)+"="+url.QueryEscape(v))
	}
	sort.Strings(pairs)
	base := method + "&" + url.QueryEscape(target) + "&" + url.QueryEscape(strings.Join(pairs, "&"))
	p["oauth_signature"] = s3Signature(consumerSecret+"&"+tokenSecret, base)
	var out []string
	for k, v := range p {
		out = append(out, fmt.Sprintf(`%s="%s"`, k, url.QueryEscape(v)))
	}
	return "OAuth " + strings.Join(out, ", ")
}

// An OAuth1 token has the roles that the user gave, not all (CVE-2020-12690:
// threat 28), ends with the consent, and a signature counts once.
func TestThreat28OAuth1(t *testing.T) {
	c := newCloud(t, dbtest.New(t), nil)
	user, project := c.team("u")
	c.grant(user, "admin", "projects/"+project)
	token := c.login(user, "pw", inProject(project))
	con := c.must(201, "POST", "/v3/OS-OAUTH1/consumers", c.admin, doc{"consumer": doc{}})["consumer"].(doc)
	id, secret := con["id"].(string), con["secret"].(string)
	const base = "http://cloud.test/v3"
	form := func(a answer) url.Values {
		if a.status != 201 {
			t.Fatalf("OAuth1: %d %s", a.status, a.text)
		}
		v, err := url.ParseQuery(a.text)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	now := c.now.Unix()
	rt := form(c.do("POST", "/v3/OS-OAUTH1/request_token", "", nil, "Requested-Project-Id", project, "Authorization", oauth("POST", base+"/OS-OAUTH1/request_token", id, secret, "", "", 1, now, "oauth_callback", "oob")))
	key := rt.Get("oauth_token")
	_, delegated := c.appCredential(user, token, doc{"unrestricted": true})
	if a := c.do("PUT", "/v3/OS-OAUTH1/authorize/"+key, delegated, doc{"roles": []doc{{"name": "reader"}}}); a.status != 403 {
		t.Errorf("authorized by a delegated token: %d", a.status)
	}
	// Nobody gives what they have not got, nor everything by giving nothing.
	service := c.make("roles", "role", doc{"name": "never-granted"})
	for name, roles := range map[string][]doc{"foreign": {{"id": service}}, "unknown": {{"name": "ghost"}}, "foreign beside own": {{"name": "reader"}, {"id": service}}, "none": {}} {
		if a := c.do("PUT", "/v3/OS-OAUTH1/authorize/"+key, token, doc{"roles": roles}); a.status != 401 && a.status != 400 {
			t.Errorf("threat 28: authorized roles, %s: %d %s", name, a.status, a.text)
		}
	}
	v := c.must(200, "PUT", "/v3/OS-OAUTH1/authorize/"+key, token, doc{"roles": []doc{{"name": "reader"}}})["token"].(doc)["oauth_verifier"].(string)
	ask := func(verifier string, nonce int) answer {
		return c.do("POST", "/v3/OS-OAUTH1/access_token", "", nil, "Authorization", oauth("POST", base+"/OS-OAUTH1/access_token", id, secret, key, rt.Get("oauth_token_secret"), nonce, now, "oauth_verifier", verifier))
	}
	if a := ask("wrong", 2); a.status != 401 {
		t.Errorf("a wrong verifier: %d", a.status)
	}
	at := form(ask(v, 3))
	header := oauth("POST", base+"/auth/tokens", id, secret, at.Get("oauth_token"), at.Get("oauth_token_secret"), 4, now)
	login := func(h string) answer {
		return c.do("POST", "/v3/auth/tokens", "", doc{"auth": doc{"identity": doc{"methods": []string{"oauth1"}, "oauth1": doc{}}}}, "Authorization", h)
	}
	a := login(header)
	if got := roleNames(a); len(got) != 1 || got[0] != "reader" {
		t.Fatalf("roles: %d %v %s", a.status, got, a.text)
	}
	made := a.header.Get("X-Subject-Token")
	if a := login(header); a.status != 401 {
		t.Errorf("a replayed signature: %d", a.status)
	}
	if a := login(oauth("POST", base+"/auth/tokens", id, secret, at.Get("oauth_token"), at.Get("oauth_token_secret"), 5, now-3600)); a.status != 401 {
		t.Errorf("an old signature: %d", a.status)
	}
	c.must(204, "DELETE", "/v3/projects/"+project+"/users/"+user+"/roles/"+c.role("admin"), c.admin, nil)
	if !c.valid(made) {
		t.Error("threat 28: losing another role ends the token")
	}
	for name, body := range map[string]any{"rescope": inProject(project)} {
		if a := c.do("POST", "/v3/auth/tokens", "", doc{"auth": doc{"identity": doc{"methods": []string{"token"}, "token": doc{"id": made}}, "scope": body}}); a.status != 403 {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	c.must(204, "DELETE", "/v3/users/"+user+"/OS-OAUTH1/access_tokens/"+at.Get("oauth_token"), c.admin, nil)
	if c.valid(made) {
		t.Error("the token outlives the consent")
	}
}
