package api_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/identity"
)

// appCredential makes an application credential and returns its id and a
// token made with it.
func (c *cloud) appCredential(user, token string, extra doc) (id, made string) {
	c.t.Helper()
	in := doc{"name": "ac" + token[len(token)-8:], "secret": "known"}
	for k, v := range extra {
		in[k] = v
	}
	d := c.must(201, "POST", "/v3/users/"+user+"/application_credentials", token, doc{"application_credential": in})
	id, _ = d["application_credential"].(doc)["id"].(string)
	a := c.do("POST", "/v3/auth/tokens", "", doc{"auth": doc{"identity": doc{"methods": []string{"application_credential"}, "application_credential": doc{"id": id, "secret": "known"}}}})
	if a.status != 201 {
		c.t.Fatalf("login by application credential: %d %s", a.status, a.text)
	}
	return id, a.header.Get("X-Subject-Token")
}

// trust makes a trust from one user to another and returns its id and the
// trustee's token of it.
func (c *cloud) trust(trustor, trustee, project, token string, extra doc) (id, made string) {
	c.t.Helper()
	in := doc{"trustor_user_id": trustor, "trustee_user_id": trustee, "project_id": project, "impersonation": true, "roles": []doc{{"name": "reader"}}}
	for k, v := range extra {
		in[k] = v
	}
	id, _ = c.must(201, "POST", "/v3/OS-TRUST/trusts", token, doc{"trust": in})["trust"].(doc)["id"].(string)
	return id, c.login(trustee, "pw", doc{"OS-TRUST:trust": doc{"id": id}})
}

func (c *cloud) ec2(user, project, token string) (access, secret string) {
	c.t.Helper()
	k := c.must(201, "POST", "/v3/users/"+user+"/credentials/OS-EC2", token, doc{"tenant_id": project})["credential"].(doc)
	return k["access"].(string), k["secret"].(string)
}

// signV2 signs an EC2 request as AWS signature version 2.
func signV2(access, secret string, at time.Time) doc {
	params := map[string]string{"AWSAccessKeyId": access, "Action": "Test", "SignatureVersion": "2", "SignatureMethod": "HmacSHA256", "Timestamp": at.UTC().Format("2006-01-02T15:04:05Z")}
	var keys []string
	for k := range params {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	var q []string
	for _, k := range keys {
		q = append(q, url.QueryEscape(k)+"="+strings.ReplaceAll(url.QueryEscape(params[k]), "+", "%20"))
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("GET\nec2.test\n/\n" + strings.Join(q, "&")))
	return doc{"credentials": doc{"access": access, "signature": base64.StdEncoding.EncodeToString(mac.Sum(nil)), "host": "ec2.test", "verb": "GET", "path": "/", "params": params}}
}

func (c *cloud) service() string {
	return c.login("nova", "nova-secret", doc{"project": doc{"name": "service", "domain": doc{"id": "default"}}})
}

// Signatures live for minutes (CVE-2020-12692: threat 26), and only a service
// changes one for a token (CVE-2025-65073: threat 29).
func TestThreats26And29Signatures(t *testing.T) {
	c := newCloud(t, dbtest.New(t), nil)
	user, project := c.team("u")
	token, nova := c.login(user, "pw", inProject(project)), c.service()
	access, secret := c.ec2(user, project, token)
	a := c.do("POST", "/v3/ec2tokens", nova, signV2(access, secret, c.now))
	if a.status != 200 || a.body["token"].(doc)["project"].(doc)["id"] != project || !c.valid(a.header.Get("X-Subject-Token")) {
		t.Fatalf("a fresh signature: %d %s", a.status, a.text)
	}
	for name, at := range map[string]time.Time{"old": c.now.Add(-16 * time.Minute), "future": c.now.Add(16 * time.Minute)} {
		if a := c.do("POST", "/v3/ec2tokens", nova, signV2(access, secret, at)); a.status != 401 {
			t.Errorf("threat 26: an %s signature: %d", name, a.status)
		}
	}
	forged := signV2(access, "guess", c.now)
	if a := c.do("POST", "/v3/ec2tokens", nova, forged); a.status != 401 {
		t.Errorf("a forged signature: %d", a.status)
	}
	for _, path := range []string{"/v3/ec2tokens", "/v3/s3tokens"} {
		for who, tok := range map[string]string{"nobody": "", "a member": token} {
			if a := c.do("POST", path, tok, signV2(access, secret, c.now)); a.status != 401 && a.status != 403 {
				t.Errorf("threat 29: %s by %s: %d", path, who, a.status)
			}
		}
	}
	sign := func(at time.Time) doc {
		text := "GET\n\n\n" + at.UTC().Format(time.RFC1123Z) + "\n/bucket"
		return doc{"credentials": doc{"access": access, "signature": s3Signature(secret, text), "token": base64.URLEncoding.EncodeToString([]byte(text))}}
	}
	if a := c.do("POST", "/v3/s3tokens", nova, sign(c.now)); a.status != 200 {
		t.Errorf("a fresh S3 signature: %d %s", a.status, a.text)
	}
	if a := c.do("POST", "/v3/s3tokens", nova, sign(c.now.Add(-time.Hour))); a.status != 401 {
		t.Errorf("threat 26: an old S3 signature: %d", a.status)
	}
}

// Owner and project of a credential do not change, whatever the client sends
// (CVE-2020-12689, CVE-2020-12691: threat 27; CVE-2026-90460: threat 34).
func TestThreats27And34CredentialsKeepTheirOwner(t *testing.T) {
	c := newCloud(t, dbtest.New(t), nil)
	user, project := c.team("u")
	other, elsewhere := c.team("other")
	token := c.login(user, "pw", inProject(project))
	make := func(token string, in doc) answer {
		return c.do("POST", "/v3/credentials", token, doc{"credential": in})
	}
	cert := make(token, doc{"type": "cert", "blob": "b", "user_id": user, "project_id": project}).body["credential"].(doc)["id"].(string)
	for name, change := range map[string]doc{"user": {"user_id": other}, "project": {"project_id": elsewhere}, "no project": {"project_id": nil}, "type": {"type": "ec2"}} {
		if a := c.do("PATCH", "/v3/credentials/"+cert, token, doc{"credential": change}); a.status != 403 {
			t.Errorf("change of the %s: %d %s", name, a.status, a.text)
		}
	}
	if a := make(token, doc{"type": "cert", "blob": "b", "user_id": other}); a.status != 403 {
		t.Errorf("a credential of another user: %d", a.status)
	}
	access, _ := c.ec2(user, project, token)
	list := c.must(200, "GET", "/v3/credentials?type=ec2", token, nil)["credentials"].([]any)
	id := list[0].(doc)["id"].(string)
	for name, blob := range map[string]doc{"access": {"access": "x", "secret": "s"}, "trust_id": {"access": access, "secret": "s", "trust_id": "t"}, "app_cred_id": {"access": access, "secret": "s", "app_cred_id": "a"}} {
		b, _ := json.Marshal(blob)
		if a := c.do("PATCH", "/v3/credentials/"+id, token, doc{"credential": doc{"blob": string(b)}}); a.status != 403 {
			t.Errorf("change of %s in the blob: %d", name, a.status)
		}
	}
	_, ac := c.appCredential(user, token, nil)
	_, tr := c.trust(user, other, project, token, nil)
	for name, delegated := range map[string]string{"application credential": ac, "trust": tr} {
		for _, r := range [][2]string{{"PATCH", "/v3/credentials/" + cert}, {"DELETE", "/v3/credentials/" + cert}, {"POST", "/v3/credentials"}} {
			var in any
			switch r[0] {
			case "PATCH":
				in = doc{"credential": doc{"blob": "c"}}
			case "POST":
				in = doc{"credential": doc{"type": "totp", "blob": "GEZDGNBV", "user_id": user}}
			}
			if a := c.do(r[0], r[1], delegated, in); a.status != 403 {
				t.Errorf("threat 34: %s by a token of %s: %d", r[0], name, a.status)
			}
		}
	}
}

// What is delegated cannot delegate more: application credentials and EC2 keys
// by an application credential (CVE-2026-33551: threat 30), the credential of
// another user or project (CVE-2026-42998, -43000, -43001: threat 31).
func TestThreats30And31DelegationOnlyShrinks(t *testing.T) {
	c := newCloud(t, dbtest.New(t), nil)
	user, project := c.team("u")
	other, elsewhere := c.team("other")
	c.grant(user, "admin", "projects/"+elsewhere)
	token, nova := c.login(user, "pw", inProject(project)), c.service()
	id, restricted := c.appCredential(user, token, doc{"roles": []doc{{"name": "reader"}}})
	if a := c.do("POST", "/v3/users/"+user+"/credentials/OS-EC2", restricted, doc{"tenant_id": project}); a.status != 403 {
		t.Errorf("threat 30: EC2 keys by a restricted application credential: %d", a.status)
	}
	if a := c.do("POST", "/v3/users/"+user+"/application_credentials", restricted, doc{"application_credential": doc{"name": "x"}}); a.status != 403 {
		t.Errorf("threat 30: another application credential: %d", a.status)
	}
	if a := c.do("POST", "/v3/OS-TRUST/trusts", restricted, doc{"trust": doc{"trustor_user_id": user, "trustee_user_id": other, "impersonation": true, "project_id": elsewhere, "roles": []doc{{"name": "admin"}}}}); a.status != 403 {
		t.Errorf("threat 31: a trust by an application credential: %d", a.status)
	}
	wrong := doc{"auth": doc{"identity": doc{"methods": []string{"application_credential"}, "application_credential": doc{"id": id, "secret": "known", "user": doc{"id": other}}}}}
	if a := c.do("POST", "/v3/auth/tokens", "", wrong); a.status != 401 {
		t.Errorf("threat 31: an application credential with another's user id: %d", a.status)
	}
	scoped := doc{"auth": doc{"identity": doc{"methods": []string{"application_credential"}, "application_credential": doc{"id": id, "secret": "known"}}, "scope": inProject(elsewhere)}}
	if a := c.do("POST", "/v3/auth/tokens", "", scoped); a.status != 401 {
		t.Errorf("threat 31: an application credential for another project: %d", a.status)
	}
	rescope := doc{"auth": doc{"identity": doc{"methods": []string{"token"}, "token": doc{"id": restricted}}, "scope": inProject(elsewhere)}}
	if a := c.do("POST", "/v3/auth/tokens", "", rescope); a.status != 403 {
		t.Errorf("threat 31: rescoping to another project: %d", a.status)
	}
	// An unrestricted one may make keys: of its own project, with its own roles.
	_, free := c.appCredential(user, c.login(user, "pw", inProject(elsewhere)), doc{"unrestricted": true, "roles": []doc{{"name": "member"}}})
	if a := c.do("POST", "/v3/users/"+user+"/credentials/OS-EC2", free, doc{"tenant_id": project}); a.status != 403 {
		t.Errorf("threat 31: keys of another project: %d", a.status)
	}
	access, secret := c.ec2(user, elsewhere, free)
	a := c.do("POST", "/v3/ec2tokens", nova, signV2(access, secret, c.now))
	if got := roleNames(a); !slices.Equal(got, []string{"member", "reader"}) {
		t.Errorf("threat 31: a token of keys made by an application credential has %v: %s", got, a.text)
	}
}

func roleNames(a answer) []string {
	t, _ := a.body["token"].(doc)
	list, _ := t["roles"].([]any)
	var out []string
	for _, r := range list {
		out = append(out, r.(doc)["name"].(string))
	}
	return out
}

// The body of a request never becomes the policy's target (CVE-2026-42999:
// threat 32).
func TestThreat32BodyIsNoTarget(t *testing.T) {
	c := newCloud(t, dbtest.New(t), nil)
	user, project := c.team("u")
	token := c.login(user, "pw", inProject(project))
	victim, _ := c.team("victim")
	extra := doc{"user_id": user, "project_id": project, "domain_id": "default", "target": doc{"user": doc{"id": user}}, "target.user.id": user}
	for _, r := range [][3]string{{"PATCH", "/v3/users/" + victim, "user"}, {"PATCH", "/v3/projects/" + project, "project"}, {"POST", "/v3/users/" + victim + "/application_credentials", "application_credential"}} {
		in := doc{"name": "n"}
		for k, v := range extra {
			in[k] = v
		}
		if a := c.do(r[0], r[1]+"?user_id="+user, token, doc{r[2]: in, "user_id": user, "target": extra["target"]}); a.status != 403 {
			t.Errorf("%s %s: %d %s", r[0], r[1], a.status, a.text)
		}
	}
}

// Attributes in headers are nobody's word without the front end's secret
// (CVE-2026-22797: threat 36); a federated user gets the roles that the
// mapping names, not all (CVE-2017-2673: threat 40), and its token ends with
// its provider and never later than its first one (threat 33).
func TestThreats36And40Federation(t *testing.T) {
	c := newCloud(t, dbtest.New(t), func(cfg *identity.Config) {
		cfg.Federation.TrustedProxySecret, cfg.Federation.TrustedDashboards = "proxy", []string{"http://dash.test/sso"}
	})
	v := c.world("w")
	group := c.make("groups", "group", doc{"name": "fed", "domain_id": v["domain_id"]})
	c.must(204, "PUT", "/v3/projects/"+v["project_id"]+"/groups/"+group+"/roles/"+c.role("reader"), c.admin, nil)
	c.must(200, "PATCH", "/v3/OS-FEDERATION/mappings/"+v["mapping_id"], c.admin, doc{"mapping": doc{"rules": []doc{{
		"local":  []doc{{"user": doc{"name": "{0}"}}, {"group": doc{"id": group}}, {"projects": []doc{{"name": "own of {0}", "roles": []doc{{"name": "member"}}}}}},
		"remote": []doc{{"type": "X-User"}, {"type": "X-Team", "any_one_of": []string{"dev"}}},
	}}}})
	path := "/v3/OS-FEDERATION/identity_providers/" + v["idp_id"] + "/protocols/saml2/auth"
	for _, headers := range [][]string{{}, {"X-Tropo-Federation-Secret", ""}, {"X-Tropo-Federation-Secret", "guess"}} {
		if a := c.do("GET", path, "", nil, append(headers, "X-User", "ann", "X-Team", "dev", "X-Remote-User", "ann")...); a.status != 401 {
			t.Errorf("threat 36: %v: %d", headers, a.status)
		}
	}
	if a := c.do("GET", path, "", nil, "X-Tropo-Federation-Secret", "proxy", "X-User", "ann", "X-Team", "ops"); a.status != 401 {
		t.Errorf("an assertion that no rule matches: %d", a.status)
	}
	a := c.do("GET", path, "", nil, "X-Tropo-Federation-Secret", "proxy", "X-User", "ann", "X-Team", "ops;dev")
	if a.status != 201 || a.body["token"].(doc)["project"] != nil {
		t.Fatalf("login: %d %s", a.status, a.text)
	}
	for origin, want := range map[string]int{"http://dash.test/sso": 200, "http://evil.test/": 401, "": 400} {
		sso := "/v3/auth/OS-FEDERATION" + strings.TrimSuffix(path[len("/v3/OS-FEDERATION"):], "auth") + "websso?origin=" + url.QueryEscape(origin)
		if a := c.do("GET", sso, "", nil, "X-Tropo-Federation-Secret", "proxy", "X-User", "ann", "X-Team", "dev"); a.status != want || want != 200 && strings.Contains(a.text, "gAAAA") {
			t.Errorf("threat 36: single sign-on from %q: %d %s", origin, a.status, a.text)
		}
	}
	token, end := a.header.Get("X-Subject-Token"), a.body["token"].(doc)["expires_at"]
	rescope := func(scope doc) answer {
		return c.do("POST", "/v3/auth/tokens", "", doc{"auth": doc{"identity": doc{"methods": []string{"token"}, "token": doc{"id": token}}, "scope": scope}})
	}
	c.now = c.now.Add(10 * time.Minute)
	a = rescope(inProject(v["project_id"]))
	if got := roleNames(a); !slices.Equal(got, []string{"reader"}) || a.body["token"].(doc)["expires_at"] != end {
		t.Errorf("threats 33, 40: rescoped: %d %v %s", a.status, got, a.text)
	}
	scoped := a.header.Get("X-Subject-Token")
	a = rescope(doc{"project": doc{"name": "own of ann", "domain": doc{"id": v["domain_id"]}}})
	if got := roleNames(a); !slices.Equal(got, []string{"member", "reader"}) {
		t.Errorf("threat 40: on the mapped project: %v %s", got, a.text)
	}
	if a := rescope(inDomain(v["domain_id"])); a.status != 401 {
		t.Errorf("threat 40: on the domain: %d", a.status)
	}
	c.must(200, "PATCH", "/v3/OS-FEDERATION/identity_providers/"+v["idp_id"], c.admin, doc{"identity_provider": doc{"enabled": false}})
	if c.valid(scoped) || c.valid(token) {
		t.Error("the tokens outlive their provider")
	}
}

// Lists show what the caller may see (CVE-2019-19687, CVE-2018-14432: threat
// 38).
func TestThreat38ListsAreFiltered(t *testing.T) {
	c := newCloud(t, dbtest.New(t), nil)
	user, project := c.team("u")
	other, elsewhere := c.team("other")
	for _, u := range []string{user, other} {
		c.make("credentials", "credential", doc{"user_id": u, "type": "cert", "blob": "b"})
	}
	token := c.login(user, "pw", inProject(project))
	for _, q := range []string{"", "?user_id=" + other, "?type=cert"} {
		for _, x := range c.must(200, "GET", "/v3/credentials"+q, token, nil)["credentials"].([]any) {
			if x.(doc)["user_id"] != user {
				t.Errorf("credentials%s shows %v", q, x)
			}
		}
	}
	if a := c.do("GET", "/v3/projects", token, nil); a.status != 403 {
		t.Errorf("all projects: %d", a.status)
	}
	for _, path := range []string{"/v3/auth/projects", "/v3/OS-FEDERATION/projects", "/v3/users/" + user + "/projects"} {
		a := c.do("GET", path, token, nil)
		if strings.Contains(a.text, elsewhere) || !strings.Contains(a.text, project) {
			t.Errorf("%s: %s", path, a.text)
		}
	}
}

// A trust gives its roles and no more, is not a way to further trusts, and
// ends with the trustor's own roles (CVE-2014-3476, CVE-2014-3520: threat 40).
func TestThreat40TrustsDoNotEscalate(t *testing.T) {
	c := newCloud(t, dbtest.New(t), nil)
	user, project := c.team("u")
	trustee, elsewhere := c.team("trustee")
	third, _ := c.team("third")
	c.grant(user, "admin", "projects/"+elsewhere)
	token := c.login(user, "pw", inProject(project))
	if a := c.do("POST", "/v3/OS-TRUST/trusts", token, doc{"trust": doc{"trustor_user_id": user, "trustee_user_id": trustee, "project_id": project, "impersonation": true, "roles": []doc{{"name": "admin"}}}}); a.status != 403 {
		t.Errorf("a role that the trustor has not got: %d", a.status)
	}
	id, trusted := c.trust(user, trustee, project, token, doc{"remaining_uses": 1})
	if got := roleNames(c.do("GET", "/v3/auth/tokens", c.admin, nil, "X-Subject-Token", trusted)); !slices.Equal(got, []string{"reader"}) {
		t.Errorf("roles of the trust: %v", got)
	}
	if a := c.do("POST", "/v3/auth/tokens", "", passwordAuth(trustee, "pw", doc{"OS-TRUST:trust": doc{"id": id}})); a.status != 403 {
		t.Errorf("a use too many: %d", a.status)
	}
	for name, in := range map[string]doc{
		"chained": {"trustor_user_id": user, "trustee_user_id": third, "project_id": project, "impersonation": true, "roles": []doc{{"name": "reader"}}},
		"of more": {"trustor_user_id": user, "trustee_user_id": third, "project_id": elsewhere, "impersonation": true, "roles": []doc{{"name": "admin"}}},
	} {
		if a := c.do("POST", "/v3/OS-TRUST/trusts", trusted, doc{"trust": in}); a.status != 403 {
			t.Errorf("a trust %s: %d %s", name, a.status, a.text)
		}
	}
	if a := c.do("POST", "/v3/auth/tokens", "", doc{"auth": doc{"identity": doc{"methods": []string{"token"}, "token": doc{"id": trusted}}, "scope": inProject(elsewhere)}}); a.status != 403 {
		t.Errorf("rescoping a trust's token: %d", a.status)
	}
	id, redelegable := c.trust(user, trustee, project, token, doc{"allow_redelegation": true, "redelegation_count": 1})
	_, deeper := c.trust(user, third, project, redelegable, doc{"allow_redelegation": true})
	if a := c.do("POST", "/v3/OS-TRUST/trusts", deeper, doc{"trust": doc{"trustor_user_id": user, "trustee_user_id": trustee, "project_id": project, "impersonation": true, "roles": []doc{{"name": "reader"}}}}); a.status != 403 {
		t.Errorf("deeper than allowed: %d", a.status)
	}
	c.must(204, "DELETE", "/v3/OS-TRUST/trusts/"+id, token, nil)
	if c.valid(redelegable) || c.valid(deeper) {
		t.Error("tokens outlive their trust")
	}
	_, last := c.trust(user, trustee, project, token, nil)
	c.must(204, "DELETE", "/v3/projects/"+project+"/users/"+user+"/roles/"+c.role("member"), c.admin, nil)
	if c.valid(last) {
		t.Error("a trust's token outlives the trustor's role")
	}
}

// No secret reaches the log or an answer that is not for it (CVE-2015-9543 and
// others: threat 23).
func TestThreat23SecretsStayOut(t *testing.T) {
	c := newCloud(t, dbtest.New(t), nil)
	user, project := c.team("u")
	c.must(200, "PATCH", "/v3/users/"+user, c.admin, doc{"user": doc{"password": "hunter2-secret"}})
	c.now = c.now.Add(2 * time.Second)
	token := c.login(user, "hunter2-secret", inProject(project))
	c.do("POST", "/v3/auth/tokens", "", passwordAuth(user, "wrong-hunter2-secret", nil))
	c.do("POST", "/v3/users", token, doc{"user": doc{"name": "", "password": "hunter2-secret"}})
	_, made := c.appCredential(user, token, doc{"secret": "known"})
	access, secret := c.ec2(user, project, token)
	c.do("POST", "/v3/ec2tokens", c.service(), signV2(access, secret, c.now))
	log := c.log.String()
	for _, s := range []string{"hunter2", token, made, secret, "admin-secret"} {
		if strings.Contains(log, s) {
			t.Errorf("the log holds %q", s)
		}
	}
	if a := c.do("GET", "/v3/users/"+user, c.admin, nil); strings.Contains(a.text, "$2b$") || strings.Contains(a.text, "password\"") {
		t.Errorf("the user's document: %s", a.text)
	}
	if a := c.do("GET", "/v3/users/"+user+"/application_credentials", token, nil); strings.Contains(a.text, "known") || strings.Contains(a.text, "$2b$") {
		t.Errorf("application credentials: %s", a.text)
	}
	if a := c.do("POST", "/v3/users", c.admin, doc{"user": doc{"name": 7, "password": "hunter2-secret"}}); a.status != http.StatusBadRequest || strings.Contains(a.text, "hunter2") {
		t.Errorf("a malformed user: %d %s", a.status, a.text)
	}
}
