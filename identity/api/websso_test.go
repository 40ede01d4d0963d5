package api_test

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/identity"
)

const dashboard = "http://Dash.test/auth/websso/?a=1&b=\"2"

func webssoCloud(t *testing.T) (c *cloud, v map[string]string) {
	t.Helper()
	c = newCloud(t, dbtest.New(t), func(cfg *identity.Config) {
		cfg.Federation.TrustedProxySecret, cfg.Federation.TrustedDashboards = "proxy", []string{"https://other.test/sso", dashboard}
	})
	v = c.world("w")
	c.must(200, "PATCH", "/v3/OS-FEDERATION/identity_providers/"+v["idp_id"], c.admin, doc{"identity_provider": doc{"remote_ids": []string{"urn:idp"}}})
	c.must(200, "PATCH", "/v3/OS-FEDERATION/identity_providers/"+v["idp_id"]+"/protocols/saml2", c.admin, doc{"protocol": doc{"mapping_id": v["mapping_id"], "remote_id_attribute": "X-Idp"}})
	return c, v
}

func webssoPaths(v map[string]string) []string {
	return []string{"/v3/auth/OS-FEDERATION/websso/saml2", "/v3/auth/OS-FEDERATION/identity_providers/" + v["idp_id"] + "/protocols/saml2/websso"}
}

// Single sign-on answers a page that posts the token to the dashboard; the
// token is nowhere else.
func TestWebSSOPostsTheToken(t *testing.T) {
	c, v := webssoCloud(t)
	for _, path := range webssoPaths(v) {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			origin := strings.Replace(dashboard, "Dash", "dASH", 1)
			a := c.do(method, path+"?origin="+url.QueryEscape(origin)+"&origin=http://evil.test", "", nil, "X-Tropo-Federation-Secret", "proxy", "X-User", "ann", "X-Idp", "urn:idp")
			if a.status != 200 {
				t.Fatalf("%s %s: %d %s", method, path, a.status, a.text)
			}
			form := regexp.MustCompile(`<form [^>]*action="([^"]*)" method="post">\s*<input type="hidden" name="token" value="([^"]*)"/>`).FindStringSubmatch(a.text)
			if form == nil {
				t.Fatalf("no form: %s", a.text)
			}
			action, token := html.UnescapeString(form[1]), html.UnescapeString(form[2])
			sent, err := url.Parse(action)
			want, _ := url.Parse(origin)
			if err != nil || sent.Host != want.Host || sent.Path != want.Path || sent.Query().Get("a") != "1" {
				t.Errorf("the form goes to %q, want %q", action, origin)
			}
			if !c.valid(token) {
				t.Errorf("%q is no token", token)
			}
			for name, values := range a.header {
				if strings.Contains(strings.Join(values, ""), token) || name == "Location" {
					t.Errorf("header %s: %v", name, values)
				}
			}
			if a.header.Get("Cache-Control") != "no-store" || strings.Count(a.text, token) != 1 || strings.Contains(strings.ReplaceAll(a.text, token, ""), "evil") { // a token may hold any letters
				t.Errorf("%v %s", a.header, a.text)
			}
		}
	}
}

// No other address gets a token, be it ever so like the dashboard's, and no
// sign-on is without an assertion that a provider made.
func TestWebSSOIsNoOpenRedirect(t *testing.T) {
	c, v := webssoCloud(t)
	ask := func(path, origin string, headers ...string) answer {
		return c.do("GET", path+"?origin="+url.QueryEscape(origin), "", nil, headers...)
	}
	good := []string{"X-Tropo-Federation-Secret", "proxy", "X-User", "ann", "X-Idp", "urn:idp"}
	for _, path := range webssoPaths(v) {
		for _, origin := range []string{
			"http://evil.test/", "http://dash.test.evil.test/auth/websso/", "http://dash.test@evil.test/auth/websso/", dashboard + "/../evil", dashboard + "#x",
			"https://" + strings.TrimPrefix(dashboard, "http://"), "//dash.test/auth/websso/", "javascript:alert(1)", "http://dash.test/AUTH/websso/?a=1&b=\"2", " " + dashboard, "http://dash.test",
		} {
			if a := ask(path, origin, good...); a.status != 401 || strings.Contains(a.text, "gAAAA") || a.header.Get("Location") != "" {
				t.Errorf("%q: %d %s", origin, a.status, a.text)
			}
		}
		for what, headers := range map[string][]string{
			"no assertion": nil, "a stranger's": {"X-User", "ann", "X-Idp", "urn:idp"}, "of another provider": {"X-Tropo-Federation-Secret", "proxy", "X-User", "ann", "X-Idp", "urn:evil"},
			"of none": {"X-Tropo-Federation-Secret", "proxy", "X-User", "ann"},
			"with a name that the front end did not clear": {"X-Tropo-Federation-Secret", "proxy", "X_User", "ann", "X-Idp", "urn:idp"},
		} {
			if a := ask(path, dashboard, headers...); a.status != 401 {
				t.Errorf("%s: %d %s", what, a.status, a.text)
			}
		}
	}
	if a := ask("/v3/auth/OS-FEDERATION/websso/openid", dashboard, good...); a.status != 401 {
		t.Errorf("by a protocol that the provider has not: %d", a.status)
	}
}
