package manager

import (
	"context"
	"encoding/json"
	"net/url"
	"time"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/mapping"
)

// Provider returns one identity provider.
func (m *Manager) Provider(ctx context.Context, id string) (*identity.Provider, error) {
	return m.store.Providers.Get(ctx, id)
}

// Providers lists identity providers.
func (m *Manager) Providers(ctx context.Context, q identity.Query) ([]identity.Provider, error) {
	return m.store.Providers.List(ctx, q)
}

// CreateProvider stores an identity provider; without a domain it gets one of
// its own.
func (m *Manager) CreateProvider(ctx context.Context, p identity.Provider) (*identity.Provider, error) {
	err := m.store.Tx(ctx, func(ctx context.Context) error {
		if p.DomainID == "" {
			d := identity.Project{ID: NewID(), IsDomain: true, Enabled: true, Description: "Auto generated federated domain for Identity Provider: " + p.ID}
			d.Name = d.ID
			if err := m.store.Projects.Create(ctx, &d); err != nil {
				return err
			}
			p.DomainID = d.ID
		} else if err := m.checkDomain(ctx, p.DomainID); err != nil {
			return err
		}
		if err := m.store.Providers.Create(ctx, &p); err != nil {
			return err
		}
		return m.store.SetRemoteIDs(ctx, p.ID, p.RemoteIDs)
	})
	return &p, err
}

// UpdateProvider stores the differences of after to before.
func (m *Manager) UpdateProvider(ctx context.Context, before, after *identity.Provider) error {
	return m.change(ctx, func(ctx context.Context) error {
		if err := m.store.Providers.Update(ctx, before.ID, before, after); err != nil {
			return err
		}
		return m.store.SetRemoteIDs(ctx, before.ID, after.RemoteIDs)
	})
}

// DeleteProvider removes a provider; the tokens of its users end.
func (m *Manager) DeleteProvider(ctx context.Context, id string) error {
	return m.change(ctx, func(ctx context.Context) error { return m.store.Providers.Delete(ctx, id) })
}

// Mapping returns one mapping.
func (m *Manager) Mapping(ctx context.Context, id string) (*identity.Mapping, error) {
	return m.store.Mappings.Get(ctx, id)
}

// Mappings lists mappings.
func (m *Manager) Mappings(ctx context.Context) ([]identity.Mapping, error) {
	return m.store.Mappings.List(ctx, identity.Query{})
}

func checkRules(v *identity.Mapping) (*mapping.Rules, error) {
	b, err := json.Marshal(v.Rules)
	if err != nil {
		return nil, err
	}
	r, err := mapping.Parse(b)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "Invalid input for field/attribute rules: %s", err)
	}
	return r, nil
}

// CreateMapping stores a mapping whose rules are well formed.
func (m *Manager) CreateMapping(ctx context.Context, v identity.Mapping) (*identity.Mapping, error) {
	if _, err := checkRules(&v); err != nil {
		return nil, err
	}
	if v.SchemaVersion == "" {
		v.SchemaVersion = "1.0"
	}
	return &v, m.store.Mappings.Create(ctx, &v)
}

// UpdateMapping stores the differences of after to before.
func (m *Manager) UpdateMapping(ctx context.Context, before, after *identity.Mapping) error {
	if _, err := checkRules(after); err != nil {
		return err
	}
	return m.store.Mappings.Update(ctx, before.ID, before, after)
}

// DeleteMapping removes a mapping.
func (m *Manager) DeleteMapping(ctx context.Context, id string) error {
	return m.store.Mappings.Delete(ctx, id)
}

// Protocol returns one protocol of a provider.
func (m *Manager) Protocol(ctx context.Context, providerID, id string) (*identity.Protocol, error) {
	return m.store.Protocol(ctx, providerID, id)
}

// Protocols lists the protocols of a provider.
func (m *Manager) Protocols(ctx context.Context, providerID string) ([]identity.Protocol, error) {
	return m.store.Protocols(ctx, providerID)
}

// PutProtocol stores a protocol whose mapping exists; create says that it must
// be new.
func (m *Manager) PutProtocol(ctx context.Context, p identity.Protocol, create bool) error {
	v, err := gone(m.store.Mappings.Get(ctx, p.MappingID))
	if err != nil {
		return err
	}
	if v == nil {
		return fault.Invalidf("Could not find mapping: %s.", p.MappingID)
	}
	if create {
		return m.store.CreateProtocol(ctx, &p)
	}
	return m.store.UpdateProtocol(ctx, &p)
}

// DeleteProtocol removes a protocol.
func (m *Manager) DeleteProtocol(ctx context.Context, providerID, id string) error {
	return m.change(ctx, func(ctx context.Context) error { return m.store.DeleteProtocol(ctx, providerID, id) })
}

// ServiceProvider returns one service provider.
func (m *Manager) ServiceProvider(ctx context.Context, id string) (*identity.ServiceProvider, error) {
	return m.store.ServiceProviders.Get(ctx, id)
}

// ServiceProviders lists service providers.
func (m *Manager) ServiceProviders(ctx context.Context, q identity.Query) ([]identity.ServiceProvider, error) {
	return m.store.ServiceProviders.List(ctx, q)
}

// CreateServiceProvider stores a service provider.
func (m *Manager) CreateServiceProvider(ctx context.Context, v identity.ServiceProvider) (*identity.ServiceProvider, error) {
	if v.RelayStatePrefix == "" {
		v.RelayStatePrefix = m.cfg.SAML.RelayStatePrefix
	}
	for _, u := range []string{v.AuthURL, v.SPURL} {
		if p, err := url.Parse(u); err != nil || p.Host == "" {
			return nil, fault.Invalidf("Invalid input for field/attribute auth_url or sp_url. Value: %s.", u)
		}
	}
	return &v, m.store.ServiceProviders.Create(ctx, &v)
}

// UpdateServiceProvider stores the differences of after to before.
func (m *Manager) UpdateServiceProvider(ctx context.Context, before, after *identity.ServiceProvider) error {
	return m.store.ServiceProviders.Update(ctx, before.ID, before, after)
}

// DeleteServiceProvider removes a service provider.
func (m *Manager) DeleteServiceProvider(ctx context.Context, id string) error {
	return m.store.ServiceProviders.Delete(ctx, id)
}

// MembershipEnds returns until when identity providers put a user into groups
// of which it is not a member anyway, by group.
func (m *Manager) MembershipEnds(ctx context.Context, userID string) (map[string]time.Time, error) {
	return m.store.MembershipEnds(ctx, userID, m.now())
}
