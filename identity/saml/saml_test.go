package saml

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

// pair writes a key and a certificate of it, and returns their files.
func pair(t *testing.T, key crypto.Signer) (certFile, keyFile string) {
	t.Helper()
	in := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "idp"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, in, in, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func rsaPair(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return pair(t, key)
}

// Only an RSA key with its own certificate signs.
func TestLoadRefusesOtherKeys(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecCert, ecKey := pair(t, ec)
	cert, _ := rsaPair(t)
	_, key := rsaPair(t)
	for what, files := range map[string][2]string{"an ECDSA key": {ecCert, ecKey}, "another's certificate": {cert, key}, "no file": {cert, "none"}, "a key for a certificate": {key, key}} {
		if _, err := Load(files[0], files[1]); err == nil {
			t.Errorf("%s was taken", what)
		}
	}
}

// Whatever names hold, the document is well formed and its signature fits; the
// assertion can be taken out of its envelope.
func TestAssertionsAreWellFormed(t *testing.T) {
	s, err := Load(rsaPair(t))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(s.cert)
	if err != nil {
		t.Fatal(err)
	}
	a := &Assertion{
		Issuer: "urn:idp", Recipient: `http://sp.test/?a="1"&b=<2>`, User: `</saml:NameID>"&'`, UserDomain: "\u00e9\t\u4e16", Project: "]]>", ProjectDomain: "<!-- -->",
		Roles: []string{"a", "b"}, IssuedAt: time.Now(), Life: time.Minute,
	}
	for _, form := range []func() ([]byte, error){func() ([]byte, error) { return s.Response(a) }, func() ([]byte, error) { return s.ECP(a, "ss:mem:1") }} {
		text, err := form()
		if err != nil {
			t.Fatal(err)
		}
		d := etree.NewDocument()
		if err := d.ReadFromBytes(text); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		signed, err := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{cert}}).Validate(d.FindElement("//Assertion"))
		if err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if got := signed.FindElement("//NameID").Text(); got != a.User {
			t.Errorf("user %q", got)
		}
		if n := len(signed.FindElements("//Attribute[@Name='openstack_roles']/AttributeValue")); n != 2 {
			t.Errorf("%d roles", n)
		}
		if signed.FindElement("//Attribute[@Name='openstack_groups']") != nil || signed.FindElement("//Audience") != nil {
			t.Errorf("what is not said has an element: %s", text)
		}
		if i := signed.SelectElement("Signature"); i != nil && i.Index() != 1 {
			t.Errorf("the signature is child %d", i.Index())
		}
	}
}

// The metadata leave out what is not configured.
func TestMetadata(t *testing.T) {
	s, err := Load(rsaPair(t))
	if err != nil {
		t.Fatal(err)
	}
	full := Metadata{EntityID: "urn:idp", SSOEndpoint: "http://a.test", Lang: "en", OrganizationName: "o", OrganizationDisplayName: "o", OrganizationURL: "u", ContactType: "other", ContactName: "n"}
	for _, d := range []Metadata{full, {EntityID: "urn:idp", SSOEndpoint: "http://a.test"}} {
		text, err := s.Metadata(&d)
		if err != nil {
			t.Fatal(err)
		}
		x := string(text)
		if !strings.Contains(x, s.certificate()) || strings.Contains(x, "Organization") != (d.OrganizationName != "") || strings.Contains(x, "ContactPerson") != (d.ContactType != "") || strings.Contains(x, "EmailAddress") {
			t.Errorf("%s", x)
		}
	}
}
