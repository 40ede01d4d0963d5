// Package saml makes what a cloud says as a SAML 2.0 identity provider to
// other clouds (Keystone to Keystone): signed assertions, their ECP envelope
// and the provider's metadata.
//
// Sources: SAML 2.0 Core, Bindings, Profiles and Metadata (OASIS, 2005);
// https://docs.openstack.org/keystone/latest/admin/federation/configure_federation.html#keystone-as-an-identity-provider-idp
package saml

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/beevik/etree"
)

const (
	nsAssertion = "urn:oasis:names:tc:SAML:2.0:assertion"
	nsProtocol  = "urn:oasis:names:tc:SAML:2.0:protocol"
	nsMetadata  = "urn:oasis:names:tc:SAML:2.0:metadata"
	nsDSig      = "http://www.w3.org/2000/09/xmldsig#"
	nsECP       = "urn:oasis:names:tc:SAML:2.0:profiles:SSO:ecp"
	nsSOAP      = "http://schemas.xmlsoap.org/soap/envelope/"

	formatEntity = "urn:oasis:names:tc:SAML:2.0:nameid-format:entity"
	bearer       = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
	byPassword   = "urn:oasis:names:tc:SAML:2.0:ac:classes:Password" //nolint:gosec // a class of authentication
	success      = "urn:oasis:names:tc:SAML:2.0:status:Success"
	actorNext    = "http://schemas.xmlsoap.org/soap/actor/next"
)

// skew is how far behind a service provider's clock may be.
const skew = time.Minute

// Assertion is what is said of a user, with the names of Keystone's attributes
// (openstack_user, openstack_roles, …).
type Assertion struct {
	Issuer    string // entity id of this cloud
	Recipient string // where the service provider takes assertions
	Audience  string // the service provider's entity id; empty: not restricted

	User, UserDomain       string
	Project, ProjectDomain string
	Roles, Groups          []string

	IssuedAt time.Time
	Life     time.Duration
}

// Response renders a signed assertion in a SAML protocol response.
func (s *Signer) Response(a *Assertion) ([]byte, error) {
	r, err := s.response(a)
	if err != nil {
		return nil, err
	}
	return write(r)
}

// ECP renders a signed assertion for an enhanced client (Profiles, section
// 4.2): the response in a SOAP envelope whose header carries relayState.
func (s *Signer) ECP(a *Assertion, relayState string) ([]byte, error) {
	r, err := s.response(a)
	if err != nil {
		return nil, err
	}
	env := etree.NewElement("soap:Envelope")
	env.CreateAttr("xmlns:soap", nsSOAP)
	relay := env.CreateElement("soap:Header").CreateElement("ecp:RelayState")
	relay.CreateAttr("xmlns:ecp", nsECP)
	relay.CreateAttr("soap:actor", actorNext)
	relay.CreateAttr("soap:mustUnderstand", "1")
	relay.SetText(relayState)
	env.CreateElement("soap:Body").AddChild(r)
	return write(env)
}

func (s *Signer) response(a *Assertion) (*etree.Element, error) {
	x, err := s.sign(assertion(a))
	if err != nil {
		return nil, err
	}
	r := etree.NewElement("samlp:Response")
	r.CreateAttr("xmlns:samlp", nsProtocol)
	r.CreateAttr("xmlns:saml", nsAssertion)
	head(r, a)
	r.CreateAttr("Destination", a.Recipient)
	issuer(r, a)
	r.CreateElement("samlp:Status").CreateElement("samlp:StatusCode").CreateAttr("Value", success)
	r.AddChild(x)
	return r, nil
}

func assertion(a *Assertion) *etree.Element {
	end := stamp(a.IssuedAt.Add(a.Life))
	x := etree.NewElement("saml:Assertion")
	x.CreateAttr("xmlns:saml", nsAssertion) // it is signed by itself
	head(x, a)
	issuer(x, a)

	subject := x.CreateElement("saml:Subject")
	subject.CreateElement("saml:NameID").SetText(a.User)
	confirm := subject.CreateElement("saml:SubjectConfirmation")
	confirm.CreateAttr("Method", bearer)
	data := confirm.CreateElement("saml:SubjectConfirmationData")
	data.CreateAttr("NotOnOrAfter", end)
	data.CreateAttr("Recipient", a.Recipient)

	limits := x.CreateElement("saml:Conditions")
	limits.CreateAttr("NotBefore", stamp(a.IssuedAt.Add(-skew)))
	limits.CreateAttr("NotOnOrAfter", end)
	if a.Audience != "" {
		limits.CreateElement("saml:AudienceRestriction").CreateElement("saml:Audience").SetText(a.Audience)
	}

	authn := x.CreateElement("saml:AuthnStatement")
	authn.CreateAttr("AuthnInstant", stamp(a.IssuedAt))
	authn.CreateAttr("SessionIndex", newID())
	authn.CreateAttr("SessionNotOnOrAfter", end)
	context := authn.CreateElement("saml:AuthnContext")
	context.CreateElement("saml:AuthnContextClassRef").SetText(byPassword)
	context.CreateElement("saml:AuthenticatingAuthority").SetText(a.Issuer)

	attributes(x.CreateElement("saml:AttributeStatement"), a)
	return x
}

// attributes writes those that have a value: the schema wants no empty ones.
func attributes(to *etree.Element, a *Assertion) {
	for _, v := range []struct {
		name   string
		values []string
	}{
		{"openstack_user", []string{a.User}},
		{"openstack_user_domain", []string{a.UserDomain}},
		{"openstack_roles", a.Roles},
		{"openstack_project", []string{a.Project}},
		{"openstack_project_domain", []string{a.ProjectDomain}},
		{"openstack_groups", a.Groups},
	} {
		if len(v.values) == 0 {
			continue
		}
		attr := to.CreateElement("saml:Attribute")
		attr.CreateAttr("Name", v.name)
		attr.CreateAttr("NameFormat", "urn:oasis:names:tc:SAML:2.0:attrname-format:uri")
		for _, text := range v.values {
			attr.CreateElement("saml:AttributeValue").SetText(text)
		}
	}
}

func head(x *etree.Element, a *Assertion) {
	x.CreateAttr("ID", newID())
	x.CreateAttr("IssueInstant", stamp(a.IssuedAt))
	x.CreateAttr("Version", "2.0")
}

func issuer(x *etree.Element, a *Assertion) {
	i := x.CreateElement("saml:Issuer")
	i.CreateAttr("Format", formatEntity)
	i.SetText(a.Issuer)
}

// newID is a random NCName of 128 bits.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return "_" + hex.EncodeToString(b[:])
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

func write(root *etree.Element) ([]byte, error) {
	d := etree.NewDocument()
	d.CreateProcInst("xml", `version="1.0" encoding="UTF-8"`)
	d.SetRoot(root)
	b, err := d.WriteToBytes()
	if err != nil {
		return nil, fmt.Errorf("write XML: %w", err)
	}
	return b, nil
}
