package identity

import "strings"

// SAMLConfig are the options of this cloud as a SAML identity provider for
// other clouds; without an entity id it is none.
type SAMLConfig struct {
	EntityID                string   `config:"idp_entity_id" default:"" help:"The name (a URI) of this cloud as an identity provider; empty: it is none."`
	SSOEndpoint             string   `config:"idp_sso_endpoint" default:"" help:"Where its metadata say that one signs on."`
	CertFile                string   `config:"certfile" default:"/etc/keystone/ssl/certs/signing_cert.pem" help:"Certificate (PEM) of the key that signs assertions."`
	KeyFile                 string   `config:"keyfile" default:"/etc/keystone/ssl/private/signing_key.pem" help:"RSA key (PEM) that signs assertions."`
	AssertionExpirationTime int      `config:"assertion_expiration_time" default:"3600" min:"1" help:"Life of an assertion in seconds; never longer than its token's."`
	RelayStatePrefix        string   `config:"relay_state_prefix" default:"ss:mem:" help:"What the relay state of an assertion begins with, for service providers that name nothing else."`
	MetadataPath            string   `config:"idp_metadata_path" default:"" help:"File of the metadata; empty: they are made of these options."`
	Lang                    string   `config:"idp_lang" default:"en" help:"Language of the organization's names."`
	OrganizationName        string   `config:"idp_organization_name" default:"SAML Identity Provider" help:"Name of the organization in the metadata."`
	OrganizationDisplayName string   `config:"idp_organization_display_name" default:"OpenStack SAML Identity Provider" help:"Its name for people."`
	OrganizationURL         string   `config:"idp_organization_url" default:"https://example.com/" help:"Its web site."`
	ContactCompany          string   `config:"idp_contact_company" default:"Example, Inc." help:"Company of the contact in the metadata."`
	ContactName             string   `config:"idp_contact_name" default:"SAML Identity Provider Support" help:"Given name of the contact."`
	ContactSurname          string   `config:"idp_contact_surname" default:"Support" help:"Surname of the contact."`
	ContactEmail            string   `config:"idp_contact_email" default:"support@example.com" help:"Mail address of the contact."`
	ContactTelephone        string   `config:"idp_contact_telephone" default:"+1 800 555 0100" help:"Telephone of the contact."`
	ContactType             string   `config:"idp_contact_type" default:"other" choices:"technical,support,administrative,billing,other" help:"What the contact is for."`
	Audiences               []string `config:"audience" type:"multi" help:"Entity id of a service provider, as its id, an equals sign and the entity id: its assertions are then for that audience alone. May be repeated."`
}

// Audience is the entity id that is configured for a service provider; empty
// where none is.
func (c *SAMLConfig) Audience(spID string) string {
	for _, a := range c.Audiences {
		if id, entity, ok := strings.Cut(a, "="); ok && id == spID {
			return entity
		}
	}
	return ""
}
