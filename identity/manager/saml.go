package manager

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/saml"
)

// maxMetadata bounds the file of the metadata, in bytes.
const maxMetadata = 1 << 20

// Assertion is a signed assertion in XML for a service provider.
type Assertion struct {
	Provider *identity.ServiceProvider
	XML      []byte
}

// signer is this cloud's key as an identity provider, read anew each time so
// that it can be changed under way; fault.NotFound where it is none.
func (m *Manager) signer() (*saml.Signer, error) {
	if m.cfg.SAML.EntityID == "" {
		return nil, fault.New(fault.NotFound, "This cloud is not a SAML identity provider.")
	}
	return saml.Load(m.cfg.SAML.CertFile, m.cfg.SAML.KeyFile)
}

// AssertTo tells a service provider who the user of a token is (Keystone to
// Keystone). The token must be scoped to a project and stand for its user:
// one that was delegated could otherwise become a whole login elsewhere. With
// ecp the assertion is in an envelope for enhanced clients.
func (m *Manager) AssertTo(ctx context.Context, text, providerID string, ecp bool) (*Assertion, error) {
	t, err := m.Token(ctx, text)
	if err != nil {
		return nil, err
	}
	sp, err := m.store.ServiceProviders.Get(ctx, providerID)
	if err != nil {
		return nil, err
	}
	switch {
	case !sp.Enabled:
		return nil, fault.Forbiddenf("Service Provider %s is disabled", sp.ID)
	case t.Project == nil:
		return nil, fault.Forbiddenf("Use a project scoped token when attempting to create a SAML assertion")
	case t.Delegated():
		return nil, fault.Forbiddenf("A delegated token cannot be changed for a SAML assertion")
	}
	s, err := m.signer()
	if err != nil {
		return nil, err
	}
	a, err := m.assertion(ctx, t, sp)
	if err != nil {
		return nil, err
	}
	out := &Assertion{Provider: sp}
	if ecp {
		out.XML, err = s.ECP(a, sp.RelayStatePrefix+NewID())
	} else {
		out.XML, err = s.Response(a)
	}
	return out, err
}

// assertion says what a token says; it does not outlive it.
func (m *Manager) assertion(ctx context.Context, t *identity.Token, sp *identity.ServiceProvider) (*saml.Assertion, error) {
	now := m.now()
	a := &saml.Assertion{
		Issuer: m.cfg.SAML.EntityID, Recipient: sp.SPURL, Audience: m.cfg.SAML.Audience(sp.ID),
		User: t.User.Name, UserDomain: t.UserDomain.Name, Project: t.Project.Name, ProjectDomain: t.ProjectDomain.Name,
		IssuedAt: now, Life: min(time.Duration(m.cfg.SAML.AssertionExpirationTime)*time.Second, t.ExpiresAt.Sub(now)),
	}
	for _, r := range t.Roles {
		a.Roles = append(a.Roles, r.Name)
	}
	var err error
	a.Groups, err = m.assertedGroups(ctx, t)
	return a, err
}

// assertedGroups renders a user's groups in the form that Keystone's mappings
// read: JSON:{"name": …, "domain": {"name": …}}.
func (m *Manager) assertedGroups(ctx context.Context, t *identity.Token) ([]string, error) {
	list, err := m.GroupsOf(ctx, t.User.ID, identity.Query{})
	if err != nil {
		return nil, err
	}
	domains := map[string]string{}
	var out []string
	for _, g := range list {
		if _, ok := domains[g.DomainID]; !ok {
			d, err := m.Domain(ctx, g.DomainID)
			if err != nil {
				return nil, err
			}
			domains[g.DomainID] = d.Name
		}
		b, err := json.Marshal(map[string]any{"name": g.Name, "domain": map[string]any{"name": domains[g.DomainID]}})
		if err != nil {
			return nil, err
		}
		out = append(out, "JSON:"+string(b))
	}
	return out, nil
}

// IdPMetadata describes this cloud as an identity provider: the configured
// file, or what is made of the options. fault.NotFound where it is none.
func (m *Manager) IdPMetadata() ([]byte, error) {
	c := &m.cfg.SAML
	if c.MetadataPath != "" {
		st, err := os.Stat(c.MetadataPath)
		if err == nil && st.Size() > maxMetadata {
			err = fmt.Errorf("more than %d bytes", maxMetadata)
		}
		if err != nil {
			return nil, fmt.Errorf("metadata of the identity provider: %w", err)
		}
		return os.ReadFile(c.MetadataPath)
	}
	s, err := m.signer()
	if err != nil {
		return nil, err
	}
	return s.Metadata(&saml.Metadata{
		EntityID: c.EntityID, SSOEndpoint: c.SSOEndpoint, Lang: c.Lang,
		OrganizationName: c.OrganizationName, OrganizationDisplayName: c.OrganizationDisplayName, OrganizationURL: c.OrganizationURL,
		ContactType: c.ContactType, ContactCompany: c.ContactCompany, ContactName: c.ContactName, ContactSurname: c.ContactSurname,
		ContactEmail: c.ContactEmail, ContactTelephone: c.ContactTelephone,
	})
}
