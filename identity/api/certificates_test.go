package api_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/identity"
)

// authority signs client certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	n    int64
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t}
	c := a.sign(pkix.Name{Organization: []string{"Corp, Inc."}, CommonName: name}, true)
	a.cert, a.key = c.Leaf, c.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

func (a *authority) sign(subject pkix.Name, ca bool) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.n++
	c := &x509.Certificate{
		SerialNumber: big.NewInt(a.n), Subject: subject, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: ca, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// person is a subject with the attributes of Keystone's guide.
func person(uid, cn, domain, email string) pkix.Name {
	n := pkix.Name{CommonName: cn}
	for oid, v := range map[string]string{"0.9.2342.19200300.100.1.1": uid, "0.9.2342.19200300.100.1.25": domain, "1.2.840.113549.1.9.1": email} {
		if v == "" {
			continue
		}
		var id asn1.ObjectIdentifier
		for s := range strings.SplitSeq(oid, ".") {
			var i int
			_, _ = fmt.Sscan(s, &i)
			id = append(id, i)
		}
		n.ExtraNames = append(n.ExtraNames, pkix.AttributeTypeAndValue{Type: id, Value: v})
	}
	return n
}

// tlsClient calls the service over TLS that asks for client certificates of
// an authority, and returns a function that does so with one.
func (c *cloud) tlsClient(a *authority) func(cert *tls.Certificate, method, path, body string, headers ...string) answer {
	s := httptest.NewUnstartedServer(c.api)
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	s.TLS = &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool, MinVersion: tls.VersionTLS12}
	s.StartTLS()
	c.t.Cleanup(s.Close)
	return func(cert *tls.Certificate, method, path, body string, headers ...string) answer {
		c.t.Helper()
		client := s.Client()
		tr := client.Transport.(*http.Transport).Clone()
		if cert != nil {
			tr.TLSClientConfig.Certificates = []tls.Certificate{*cert}
		}
		defer tr.CloseIdleConnections()
		r, err := http.NewRequest(method, s.URL+path, strings.NewReader(body))
		if err != nil {
			c.t.Fatal(err)
		}
		for i := 0; i+1 < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		res, err := (&http.Client{Transport: tr}).Do(r)
		if err != nil {
			return answer{text: err.Error()}
		}
		defer func() { _ = res.Body.Close() }()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			c.t.Fatal(err)
		}
		out := answer{status: res.StatusCode, header: res.Header, text: string(b)}
		_ = json.Unmarshal(b, &out.body)
		return out
	}
}

// mapping makes a mapping of certificates.
func (c *cloud) certMapping(id string, user doc, remote ...string) {
	c.t.Helper()
	var types []doc
	for _, r := range remote {
		types = append(types, doc{"type": r})
	}
	c.must(201, "PUT", "/v3/OS-FEDERATION/mappings/"+id, c.admin, doc{"mapping": doc{"rules": []doc{{"local": []doc{{"user": user}}, "remote": types}}}})
}

// A verified certificate of a trusted issuer stands for a token; headers do so
// for a front end that knows the secret alone (CVE-2026-22797: threat 36).
func TestThreat36TokenlessCertificates(t *testing.T) {
	ca, rogue := newAuthority(t, "Root"), newAuthority(t, "Root")
	other := newAuthority(t, "Other")
	const issuer = `CN=Root,O=Corp\, Inc.`
	c := newCloud(t, dbtest.New(t), func(cfg *identity.Config) {
		cfg.TokenlessAuth.TrustedIssuers = []string{issuer}
		cfg.Federation.TrustedProxySecret = "proxy"
	})
	user, project := c.team("u")
	sum := sha256.Sum256([]byte(issuer))
	idp := hex.EncodeToString(sum[:])
	c.certMapping("x509", doc{"name": "{0}", "domain": doc{"id": "default"}, "type": "local"}, "SSL_CLIENT_S_DN_CN")
	c.must(201, "PUT", "/v3/OS-FEDERATION/identity_providers/"+idp, c.admin, doc{"identity_provider": doc{"enabled": true}})
	c.must(201, "PUT", "/v3/OS-FEDERATION/identity_providers/"+idp+"/protocols/x509", c.admin, doc{"protocol": doc{"mapping_id": "x509"}})
	call := c.tlsClient(ca)
	good, nobody, forged := ca.sign(pkix.Name{CommonName: "u"}, false), ca.sign(pkix.Name{CommonName: "nobody"}, false), rogue.sign(pkix.Name{CommonName: "u"}, false)
	path := "/v3/users/" + user
	scope := []string{"X-Project-Id", project}
	for name, w := range map[string]struct {
		cert    *tls.Certificate
		headers []string
		want    int
	}{
		"by project id":   {&good, scope, 200},
		"by project name": {&good, []string{"X-Project-Name", "p-u", "X-Project-Domain-Id", "default"}, 200},
		"without scope":   {&good, nil, 400},
		"half a scope":    {&good, []string{"X-Project-Name", "p-u"}, 400},
		"foreign scope":   {&good, []string{"X-Domain-Id", "default"}, 401},
		"no certificate":  {nil, scope, 401},
		"unmapped":        {&nobody, scope, 401},
		"forged issuer":   {&forged, scope, 0},
		"a header alone":  {nil, append([]string{"X-Ssl-Client-Cert", escaped(good.Leaf), "Ssl-Client-S-Dn-Cn", "u"}, scope...), 401},
	} {
		if a := call(w.cert, "GET", path, "", w.headers...); a.status != w.want {
			t.Errorf("threat 36: %s: %d, want %d: %s", name, a.status, w.want, a.text)
		}
	}
	foreign := other.sign(pkix.Name{CommonName: "u"}, false)
	for name, w := range map[string]struct {
		secret, cert string
		want         int
	}{
		"a front end": {"proxy", escaped(good.Leaf), 200}, "wrong secret": {"guess", escaped(good.Leaf), 401}, "none": {"", escaped(good.Leaf), 401},
		"untrusted issuer": {"proxy", escaped(foreign.Leaf), 401}, "no certificate": {"proxy", "x", 401},
	} {
		if a := c.do("GET", path, "", nil, "X-Ssl-Client-Cert", w.cert, "X-Tropo-Federation-Secret", w.secret, "X-Project-Id", project); a.status != w.want {
			t.Errorf("threat 36: through a front end, %s: %d, want %d: %s", name, a.status, w.want, a.text)
		}
	}
	c.must(200, "PATCH", path, c.admin, doc{"user": doc{"enabled": false}})
	if a := call(&good, "GET", path, "", scope...); a.status != 401 {
		t.Errorf("a disabled user: %d", a.status)
	}
}

func escaped(c *x509.Certificate) string {
	return url.PathEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})))
}

// A client of OAuth2 gets a token that is bound to its certificate.
func TestOAuth2Certificate(t *testing.T) {
	ca := newAuthority(t, "Root")
	c := newCloud(t, dbtest.New(t), nil)
	user, project := c.team("u")
	c.must(200, "PATCH", "/v3/users/"+user, c.admin, doc{"user": doc{"default_project_id": project, "email": "u@corp.test"}})
	other, _ := c.team("other")
	call := c.tlsClient(ca)
	grant := func(cert *tls.Certificate, id string) answer {
		return call(cert, "POST", "/v3/OS-OAUTH2/token", "grant_type=client_credentials&client_id="+id, "Content-Type", "application/x-www-form-urlencoded")
	}
	good := ca.sign(person(user, "u", "default", "u@corp.test"), false)
	if a := grant(&good, user); a.status != 401 || a.body["error"] != "invalid_client" {
		t.Errorf("without a mapping: %d %s", a.status, a.text)
	}
	c.certMapping("oauth2_mapping", doc{"id": "{0}", "name": "{1}", "email": "{2}", "domain": doc{"id": "{3}"}},
		"SSL_CLIENT_SUBJECT_DN_UID", "SSL_CLIENT_SUBJECT_DN_CN", "SSL_CLIENT_SUBJECT_DN_EMAILADDRESS", "SSL_CLIENT_SUBJECT_DN_DC")
	a := grant(&good, user)
	token, _ := a.body["access_token"].(string)
	if a.status != 200 || a.body["token_type"] != "Bearer" || a.body["expires_in"] != 3600.0 {
		t.Fatalf("grant: %d %s", a.status, a.text)
	}
	sum := sha256.Sum256(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: good.Leaf.Raw}))
	d := c.must(200, "GET", "/v3/auth/tokens", c.admin, nil, "X-Subject-Token", token)["token"].(doc)
	if d["oauth2_credential"].(doc)["x5t#S256"] != base64.URLEncoding.EncodeToString(sum[:]) || d["project"].(doc)["id"] != project || fmt.Sprint(d["methods"]) != "[oauth2_credential]" {
		t.Errorf("token: %v", d)
	}
	for name, subject := range map[string]pkix.Name{
		"another's id": person(other, "u", "default", "u@corp.test"), "another name": person(user, "v", "default", "u@corp.test"),
		"another email": person(user, "u", "default", "v@corp.test"), "another domain": person(user, "u", "elsewhere", "u@corp.test"), "no id": person("", "u", "default", "u@corp.test"),
	} {
		cert := ca.sign(subject, false)
		if a := grant(&cert, user); a.status != 401 || a.body["error"] != "invalid_client" {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	two := person(user, "u", "default", "u@corp.test")
	two.ExtraNames = append(two.ExtraNames, pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}, Value: other})
	twice := ca.sign(two, false)
	for name, a := range map[string]answer{
		"no certificate": grant(nil, user), "another client": grant(&good, other), "no client": grant(&good, ""), "an id twice": grant(&twice, user),
	} {
		if a.status != 401 || a.body["error"] != "invalid_client" {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	// It is not changed for one that is bound to nothing.
	a = c.do("POST", "/v3/auth/tokens", "", doc{"auth": doc{"identity": doc{"methods": []string{"token"}, "token": doc{"id": token}}}})
	if a.status != 403 {
		t.Errorf("rescoped: %d %s", a.status, a.text)
	}
}

// Which proofs of OAuth2 clients are taken is configured.
func TestOAuth2Secret(t *testing.T) {
	for methods, want := range map[string]int{"client_secret_basic": 200, "tls_client_auth": 401} {
		c := newCloud(t, dbtest.New(t), func(cfg *identity.Config) { cfg.OAuth2.AuthnMethods = []string{methods} })
		user, project := c.team("u")
		id, _ := c.appCredential(user, c.login(user, "pw", inProject(project)), nil)
		r := httptest.NewRequest("POST", "/v3/OS-OAUTH2/token", strings.NewReader("grant_type=client_credentials"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth(id, "known")
		w := httptest.NewRecorder()
		c.api.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: %d, want %d: %s", methods, w.Code, want, w.Body)
		}
	}
}
