package api_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/identity"
)

// asIdentityProvider gives a service a key of its own for assertions, and
// returns its certificate.
func asIdentityProvider(t *testing.T, cfg *identity.Config) *x509.Certificate {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	in := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "idp.test"}, NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(240 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, in, in, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cfg.SAML.EntityID, cfg.SAML.SSOEndpoint = "http://idp.test/identity/v3/OS-FEDERATION/saml2/idp", "http://idp.test/sso"
	cfg.SAML.CertFile, cfg.SAML.KeyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		cfg.SAML.CertFile: {Type: "CERTIFICATE", Bytes: der}, cfg.SAML.KeyFile: {Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func samlRequest(token, sp string) doc {
	return doc{"auth": doc{"identity": doc{"methods": []string{"token"}, "token": doc{"id": token}}, "scope": doc{"service_provider": doc{"id": sp}}}}
}

// front stands for the web server before a service provider (Apache with
// mod_shib or mod_auth_mellon): it checks an assertion by the certificate of
// the other cloud's metadata and hands its attributes on.
type front struct {
	t         *testing.T
	metadata  string
	at        time.Time
	recipient string
}

// attributes returns what a valid assertion in an XML document says.
func (f *front) attributes(text string) (map[string][]string, error) {
	meta, answer := etree.NewDocument(), etree.NewDocument()
	if err := meta.ReadFromString(f.metadata); err != nil {
		f.t.Fatal(err)
	}
	if err := answer.ReadFromString(text); err != nil {
		return nil, err
	}
	block := "-----BEGIN CERTIFICATE-----\n" + meta.FindElement("//X509Certificate").Text() + "\n-----END CERTIFICATE-----\n"
	p, _ := pem.Decode([]byte(block))
	cert, err := x509.ParseCertificate(p.Bytes)
	if err != nil {
		f.t.Fatal(err)
	}
	v := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{cert}})
	signed, err := v.Validate(answer.FindElement("//Assertion"))
	if err != nil {
		return nil, err
	}
	f.check(signed)
	out := map[string][]string{}
	for _, a := range signed.FindElements("//Attribute") {
		for _, e := range a.SelectElements("AttributeValue") {
			out[a.SelectAttrValue("Name", "")] = append(out[a.SelectAttrValue("Name", "")], e.Text())
		}
	}
	return out, nil
}

// check tests what a service provider must (SAML Profiles, section 4.1.4.3).
func (f *front) check(x *etree.Element) {
	data := x.FindElement("//SubjectConfirmationData")
	if got := data.SelectAttrValue("Recipient", ""); got != f.recipient {
		f.t.Errorf("recipient %q, want %q", got, f.recipient)
	}
	limits := x.FindElement("//Conditions")
	for _, l := range []struct{ at, name string }{{f.at.UTC().Format(time.RFC3339), "NotOnOrAfter"}, {limits.SelectAttrValue("NotBefore", "none"), "NotOnOrAfter"}} {
		if end := limits.SelectAttrValue(l.name, ""); end <= l.at || end != data.SelectAttrValue(l.name, "") {
			f.t.Errorf("%s %s at %s", l.name, end, l.at)
		}
	}
	if got := x.FindElement("//Audience"); got == nil || got.Text() != "http://sp.test/shibboleth" {
		f.t.Errorf("audience %v", got)
	}
}

// byXMLSec checks a signature by another implementation.
func byXMLSec(t *testing.T, text []byte, cert string) {
	t.Helper()
	bin, err := exec.LookPath("xmlsec1")
	if err != nil {
		t.Log("xmlsec1 is not installed")
		return
	}
	file := filepath.Join(t.TempDir(), "assertion.xml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bin, "--verify", "--trusted-pem", cert, "--id-attr:ID", "urn:oasis:names:tc:SAML:2.0:assertion:Assertion", file) //nolint:gosec // the test's own words
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("xmlsec1: %v\n%s", err, out)
	}
}

// A user of one cloud comes to another with what the first asserts (Keystone
// to Keystone): names, roles, project and groups arrive, changed by the
// other's mapping; what was tampered with does not.
func TestKeystoneToKeystone(t *testing.T) {
	var certFile string
	idp := newCloud(t, dbtest.New(t), func(cfg *identity.Config) {
		asIdentityProvider(t, cfg)
		certFile, cfg.SAML.Audiences = cfg.SAML.CertFile, []string{"other=x", "sp=http://sp.test/shibboleth"}
	})
	user, project := idp.team("ann <&>")
	group := idp.make("groups", "group", doc{"name": "devs"})
	idp.must(204, "PUT", "/v3/groups/"+group+"/users/"+user, idp.admin, nil)
	idp.must(201, "PUT", "/v3/OS-FEDERATION/service_providers/sp", idp.admin, doc{"service_provider": doc{"enabled": true, "auth_url": "http://sp.test/auth", "sp_url": "http://sp.test/Shibboleth.sso/SAML2/ECP", "relay_state_prefix": "ss:me:"}})
	token := idp.login(user, "pw", inProject(project))
	a := idp.do("POST", "/v3/auth/OS-FEDERATION/saml2/ecp", "", samlRequest(token, "sp"))
	if a.status != 200 || a.header.Get("X-sp-url") != "http://sp.test/Shibboleth.sso/SAML2/ECP" || a.header.Get("X-auth-url") != "http://sp.test/auth" || a.header.Get("Content-Type") != "text/xml" {
		t.Fatalf("%d %v %s", a.status, a.header, a.text)
	}
	byXMLSec(t, []byte(a.text), certFile)
	env := etree.NewDocument()
	if err := env.ReadFromString(a.text); err != nil || !strings.HasPrefix(env.FindElement("/Envelope/Header/RelayState").Text(), "ss:me:") || env.FindElement("/Envelope/Body/Response") == nil {
		t.Errorf("%v %s", err, a.text)
	}

	sp := newCloud(t, dbtest.New(t), func(cfg *identity.Config) { cfg.Federation.TrustedProxySecret = "proxy" })
	v := sp.world("w")
	local := sp.make("groups", "group", doc{"name": "devs", "domain_id": v["domain_id"]})
	sp.must(204, "PUT", "/v3/projects/"+v["project_id"]+"/groups/"+local+"/roles/"+sp.role("reader"), sp.admin, nil)
	sp.must(200, "PATCH", "/v3/OS-FEDERATION/mappings/"+v["mapping_id"], sp.admin, doc{"mapping": doc{"rules": []doc{{
		"local":  []doc{{"user": doc{"name": "{0} of {1}"}}, {"group": doc{"name": "devs", "domain": doc{"id": v["domain_id"]}}}, {"projects": []doc{{"name": "of {0}", "domain": doc{"name": "Default"}, "roles": []doc{{"name": "member"}}}}}},
		"remote": []doc{{"type": "openstack_user"}, {"type": "openstack_user_domain"}, {"type": "openstack_groups", "any_one_of": []string{`JSON:{"domain":{"name":"Default"},"name":"devs"}`}}, {"type": "openstack_roles", "any_one_of": []string{"member"}}},
	}}}})
	gate := &front{t: t, metadata: idp.do("GET", "/v3/OS-FEDERATION/saml2/metadata", "", nil).text, at: idp.now, recipient: "http://sp.test/Shibboleth.sso/SAML2/ECP"}
	said, err := gate.attributes(a.text)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"openstack_user": {"ann <&>"}, "openstack_user_domain": {"Default"}, "openstack_project": {"p-ann <&>"}, "openstack_project_domain": {"Default"}, "openstack_groups": {`JSON:{"domain":{"name":"Default"},"name":"devs"}`},
	} {
		if !slices.Equal(said[name], want) {
			t.Errorf("%s: %q, want %q", name, said[name], want)
		}
	}
	if !slices.Contains(said["openstack_roles"], "member") {
		t.Errorf("roles %q", said["openstack_roles"])
	}
	headers := []string{"X-Tropo-Federation-Secret", "proxy"}
	for name, values := range said {
		headers = append(headers, strings.ReplaceAll(name, "_", "-"), strings.Join(values, ";"))
	}
	in := sp.do("POST", "/v3/OS-FEDERATION/identity_providers/"+v["idp_id"]+"/protocols/saml2/auth", "", nil, headers...)
	if in.status != 201 || in.body["token"].(doc)["user"].(doc)["name"] != "ann <&> of Default" {
		t.Fatalf("%d %s", in.status, in.text)
	}
	unscoped := in.header.Get("X-Subject-Token")
	got := sp.do("POST", "/v3/auth/tokens", "", doc{"auth": doc{"identity": doc{"methods": []string{"token"}, "token": doc{"id": unscoped}}, "scope": inProject(v["project_id"])}})
	if !slices.Equal(roleNames(got), []string{"reader"}) {
		t.Errorf("in the other cloud: %d %s", got.status, got.text)
	}
	got = sp.do("POST", "/v3/auth/tokens", "", doc{"auth": doc{"identity": doc{"methods": []string{"token"}, "token": doc{"id": unscoped}}, "scope": doc{"project": doc{"name": "of ann <&>", "domain": doc{"id": "default"}}}}})
	if !slices.Contains(roleNames(got), "member") {
		t.Errorf("on the project that the mapping made: %d %s", got.status, got.text)
	}
	gate.distrusts(a.text)
}

// distrusts changes what an answer says and expects that it is not believed.
func (f *front) distrusts(text string) {
	f.t.Helper()
	for old, forged := range map[string]string{"ann &lt;&amp;&gt;": "admin", ">member<": ">admin<", "sp.test/Shib": "evil.test/Shib"} {
		if changed := strings.ReplaceAll(text, old, forged); changed == text {
			f.t.Errorf("%q is not in %s", old, text)
		} else if _, err := f.attributes(changed); err == nil {
			f.t.Errorf("%q for %q was believed", forged, old)
		}
	}
}

// An assertion does not outlive its token; delegated tokens and those of no
// project get none, nor does a provider that is disabled.
func TestWhoGetsAssertions(t *testing.T) {
	c := newCloud(t, dbtest.New(t), func(cfg *identity.Config) { asIdentityProvider(t, cfg) })
	user, project := c.team("u")
	c.must(201, "PUT", "/v3/OS-FEDERATION/service_providers/sp", c.admin, doc{"service_provider": doc{"enabled": true, "auth_url": "http://sp.test/auth", "sp_url": "http://sp.test/sp"}})
	token := c.login(user, "pw", inProject(project))
	_, app := c.appCredential(user, token, doc{"unrestricted": true})
	_, trusted := c.trust(user, user, project, token, doc{"roles": []doc{{"name": "member"}}})
	for who, x := range map[string]struct {
		token string
		want  int
	}{"nobody": {"", 401}, "without a project": {c.login(user, "pw", nil), 403}, "an application": {app, 403}, "a trustee": {trusted, 403}, "the user": {token, 200}} {
		if a := c.do("POST", "/v3/auth/OS-FEDERATION/saml2", "", samlRequest(x.token, "sp")); a.status != x.want {
			t.Errorf("%s: %d %s", who, a.status, a.text)
		}
	}
	end := c.now.Add(time.Hour)
	c.now = c.now.Add(50 * time.Minute)
	a := c.do("POST", "/v3/auth/OS-FEDERATION/saml2", "", samlRequest(token, "sp"))
	if !strings.Contains(a.text, `NotOnOrAfter="`+end.UTC().Format("2006-01-02T15:04:05Z")+`"`) {
		t.Errorf("the assertion outlives its token, to %s: %s", end, a.text)
	}
	c.must(200, "PATCH", "/v3/OS-FEDERATION/service_providers/sp", c.admin, doc{"service_provider": doc{"enabled": false}})
	if a := c.do("POST", "/v3/auth/OS-FEDERATION/saml2", "", samlRequest(token, "sp")); a.status != 403 {
		t.Errorf("for a disabled provider: %d", a.status)
	}
}

// The metadata are a file's where one is configured.
func TestMetadataFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "idp.xml")
	if err := os.WriteFile(file, []byte("<x/>"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newCloud(t, dbtest.New(t), func(cfg *identity.Config) { cfg.SAML.MetadataPath = file })
	if a := c.do("GET", "/v3/OS-FEDERATION/saml2/metadata", "", nil); a.status != 200 || a.text != "<x/>" {
		t.Errorf("%d %s", a.status, a.text)
	}
}
