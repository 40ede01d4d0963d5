package saml

import "github.com/beevik/etree"

// Metadata describes this cloud to service providers (Metadata, section 2).
type Metadata struct {
	EntityID    string
	SSOEndpoint string // where sign-on happens; service providers never call it
	Lang        string

	// The organization is left out where one of the three is empty.
	OrganizationName, OrganizationDisplayName, OrganizationURL string
	// ContactType is technical, support, administrative, billing or other;
	// empty: nobody is named.
	ContactType, ContactCompany, ContactName, ContactSurname, ContactEmail, ContactTelephone string
}

// Metadata renders the description with the certificate of the signer.
func (s *Signer) Metadata(d *Metadata) ([]byte, error) {
	e := etree.NewElement("md:EntityDescriptor")
	e.CreateAttr("xmlns:md", nsMetadata)
	e.CreateAttr("entityID", d.EntityID)
	idp := e.CreateElement("md:IDPSSODescriptor")
	idp.CreateAttr("protocolSupportEnumeration", nsProtocol)
	key := idp.CreateElement("md:KeyDescriptor")
	key.CreateAttr("use", "signing")
	info := key.CreateElement("ds:KeyInfo")
	info.CreateAttr("xmlns:ds", nsDSig)
	info.CreateElement("ds:X509Data").CreateElement("ds:X509Certificate").SetText(s.certificate())
	sso := idp.CreateElement("md:SingleSignOnService")
	sso.CreateAttr("Binding", "urn:oasis:names:tc:SAML:2.0:bindings:URI")
	sso.CreateAttr("Location", d.SSOEndpoint)
	d.organization(e)
	d.contact(e)
	return write(e)
}

func (d *Metadata) organization(e *etree.Element) {
	if d.OrganizationName == "" || d.OrganizationDisplayName == "" || d.OrganizationURL == "" {
		return
	}
	o := e.CreateElement("md:Organization")
	for _, v := range [][2]string{{"Name", d.OrganizationName}, {"DisplayName", d.OrganizationDisplayName}, {"URL", d.OrganizationURL}} {
		x := o.CreateElement("md:Organization" + v[0])
		x.CreateAttr("xml:lang", d.Lang)
		x.SetText(v[1])
	}
}

func (d *Metadata) contact(e *etree.Element) {
	if d.ContactType == "" {
		return
	}
	c := e.CreateElement("md:ContactPerson")
	c.CreateAttr("contactType", d.ContactType)
	for _, v := range [][2]string{
		{"Company", d.ContactCompany},
		{"GivenName", d.ContactName},
		{"SurName", d.ContactSurname},
		{"EmailAddress", d.ContactEmail},
		{"TelephoneNumber", d.ContactTelephone},
	} {
		if v[1] != "" {
			c.CreateElement("md:" + v[0]).SetText(v[1])
		}
	}
}
