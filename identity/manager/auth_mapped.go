package manager

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/mapping"
)

// MappedProof is an assertion that a trusted front end has checked.
type MappedProof struct {
	ProviderID, ProtocolID string
	Assertion              map[string]string
}

// TrustedProxy reports whether a secret is that of the front end which checks
// assertions. Without one configured nobody is: attributes in headers are
// worth nothing by themselves (CVE-2026-22797).
func (m *Manager) TrustedProxy(secret string) bool {
	want := m.cfg.Federation.TrustedProxySecret
	return want != "" && equal(want, secret)
}

// TrustedDashboard refuses an address that is not configured as a dashboard, to
// the letter but for the case of the host's name.
func (m *Manager) TrustedDashboard(origin string) error {
	if origin == "" {
		return fault.Invalidf("Request must have an origin query parameter")
	}
	if !slices.ContainsFunc(m.cfg.Federation.TrustedDashboards, func(d string) bool { return lowerHost(d) == lowerHost(origin) }) {
		return fault.New(fault.Unauthenticated, "%s is not a trusted dashboard host", origin)
	}
	return nil
}

// lowerHost writes the scheme and the host's name of an address in lower case.
func lowerHost(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	n := len(u.Scheme) + len("://") + len(u.Host)
	if u.User != nil || u.Host == "" || n > len(address) {
		return address
	}
	return strings.ToLower(address[:n]) + address[n:]
}

// ProviderOf finds the provider of an assertion by its remote id, in the
// attribute that the provider's protocol names, or else the configuration.
func (m *Manager) ProviderOf(ctx context.Context, in *MappedProof) (string, error) {
	list, err := m.store.Providers.List(ctx, identity.By("enabled", true))
	if err != nil {
		return "", err
	}
	for _, p := range list {
		if len(p.RemoteIDs) == 0 {
			continue
		}
		proto, err := gone(m.store.Protocol(ctx, p.ID, in.ProtocolID))
		if err != nil {
			return "", err
		}
		if proto == nil {
			continue
		}
		attr := m.remoteAttr(proto)
		if id, _ := mapping.Value(in.Assertion, attr); attr != "" && id != "" && slices.Contains(p.RemoteIDs, id) {
			return p.ID, nil
		}
	}
	return "", unauthenticated("no provider has the assertion's remote id")
}

// remoteAttr is the attribute of an assertion that names its provider.
func (m *Manager) remoteAttr(proto *identity.Protocol) string {
	if proto.RemoteAttr != "" {
		return string(proto.RemoteAttr)
	}
	return m.cfg.Federation.RemoteIDAttribute
}

// byMapping takes a checked assertion as the proof.
func (m *Manager) byMapping(ctx context.Context, p *proof, in *MappedProof) error {
	if in == nil {
		return unauthenticated("no assertion")
	}
	provider, proto, err := m.activeProtocol(ctx, in.ProviderID, in.ProtocolID)
	if err != nil {
		return err
	}
	if err := checkIssuer(m.remoteAttr(proto), provider, in.Assertion); err != nil {
		return err
	}
	v, err := m.store.Mappings.Get(ctx, proto.MappingID)
	if err != nil {
		return notFoundAs(err, "the mapping is gone")
	}
	rules, err := checkRules(v)
	if err != nil {
		return err
	}
	res, ok := rules.Apply(in.Assertion)
	if !ok {
		return unauthenticated("the mapping knows no user for the assertion")
	}
	user, groups, err := m.materialise(ctx, provider, proto, res)
	if err != nil {
		return err
	}
	if res.User.Type != "local" {
		p.groups, p.provider, p.protocol = groups, provider.ID, proto.ID
	}
	return p.is(user)
}

func (m *Manager) activeProtocol(ctx context.Context, providerID, protocolID string) (*identity.Provider, *identity.Protocol, error) {
	provider, err := m.store.Providers.Get(ctx, providerID)
	if err != nil {
		return nil, nil, notFoundAs(err, "no such identity provider")
	}
	if !provider.Enabled {
		return nil, nil, unauthenticated("the identity provider is disabled")
	}
	proto, err := m.store.Protocol(ctx, providerID, protocolID)
	if err != nil {
		return nil, nil, notFoundAs(err, "no such protocol")
	}
	return provider, proto, nil
}

// checkIssuer refuses the assertion of another provider.
func checkIssuer(attr string, provider *identity.Provider, assertion map[string]string) error {
	if attr == "" || len(provider.RemoteIDs) == 0 {
		return nil
	}
	if id, _ := mapping.Value(assertion, attr); !slices.Contains(provider.RemoteIDs, id) {
		return unauthenticated("the assertion is of another identity provider")
	}
	return nil
}

// materialise finds or makes the user of a result, with the groups that exist
// and the projects that are asked for.
func (m *Manager) materialise(ctx context.Context, provider *identity.Provider, proto *identity.Protocol, res *mapping.Result) (string, []string, error) {
	if res.User.Type == "local" {
		u, err := m.findUser(ctx, localRef(&res.User, provider.DomainID))
		if err == nil && u == nil {
			err = unauthenticated("the local user of the mapping does not exist")
		}
		if err != nil {
			return "", nil, err
		}
		return u.ID, nil, nil
	}
	groups, err := m.mappedGroups(ctx, res.Groups)
	if err != nil {
		return "", nil, err
	}
	unique := res.User.ID
	if unique == "" {
		unique = res.User.Name
	}
	id, err := m.shadow(ctx, provider, proto, unique, &res.User)
	if err != nil {
		return "", nil, err
	}
	if ttl := m.groupTTL(provider); ttl > 0 {
		for _, g := range groups {
			if err := m.store.JoinUntil(ctx, id, g, provider.ID, m.now().Add(ttl)); err != nil {
				return "", nil, err
			}
		}
	}
	return id, groups, m.mappedProjects(ctx, provider, id, res.Projects)
}

func localRef(u *mapping.User, domain string) UserRef {
	r := UserRef{ID: u.ID, Name: u.Name, DomainID: domain}
	if u.Domain != nil {
		r.DomainID, r.DomainName = u.Domain.ID, u.Domain.Name
	}
	return r
}

func (m *Manager) groupTTL(p *identity.Provider) time.Duration {
	if p.AuthorizationTTL != nil {
		return time.Duration(*p.AuthorizationTTL) * time.Minute
	}
	return time.Duration(m.cfg.Federation.DefaultAuthorizationTTL) * time.Minute
}

func (m *Manager) mappedGroups(ctx context.Context, list []mapping.Group) ([]string, error) {
	var out []string
	for _, g := range list {
		var v *identity.Group
		var err error
		if g.ID != "" {
			v, err = gone(m.store.Groups.Get(ctx, g.ID))
		} else if g.Domain != nil {
			var domain string
			if domain, err = m.mappedDomain(ctx, g.Domain); err != nil {
				return nil, err
			}
			v, err = gone(m.store.Groups.One(ctx, identity.By("name", g.Name).And("domain_id", domain)))
		}
		if err != nil {
			return nil, err
		}
		if v != nil && !slices.Contains(out, v.ID) {
			out = append(out, v.ID)
		}
	}
	return out, nil
}

// mappedDomain returns the id of a domain that a mapping names; "" where there
// is none of the name.
func (m *Manager) mappedDomain(ctx context.Context, d *mapping.Domain) (string, error) {
	if d.ID != "" {
		return d.ID, nil
	}
	v, err := gone(m.store.Projects.One(ctx, identity.By("name", d.Name).And("is_domain", true)))
	if err != nil || v == nil {
		return "", err
	}
	return v.ID, nil
}

// shadow returns the user behind a name at a provider, made at the first login.
func (m *Manager) shadow(ctx context.Context, provider *identity.Provider, proto *identity.Protocol, unique string, who *mapping.User) (string, error) {
	f, err := gone(m.store.FederatedUser(ctx, provider.ID, proto.ID, unique))
	if err != nil {
		return "", err
	}
	if f != nil {
		return f.UserID, nil
	}
	name := who.Name
	if name == "" {
		name = unique
	}
	u := identity.User{ID: NewID(), Name: name, DomainID: provider.DomainID, Enabled: true, CreatedAt: m.now()}
	u.UniqueName = fmt.Sprintf("\x01%s", u.ID)
	if who.Email != "" {
		u.Extra = identity.Extra{"email": who.Email}
	}
	err = m.store.Tx(ctx, func(ctx context.Context) error {
		if err := m.store.Users.Create(ctx, &u); err != nil {
			return err
		}
		return m.store.AddFederatedUser(ctx, identity.FederatedUser{UserID: u.ID, ProviderID: provider.ID, ProtocolID: proto.ID, UniqueID: unique, DisplayName: name})
	})
	if fault.Is(err, fault.Conflict) { // another login of the same user was faster
		f, err := m.store.FederatedUser(ctx, provider.ID, proto.ID, unique)
		if err != nil {
			return "", err
		}
		return f.UserID, nil
	}
	return u.ID, err
}

// mappedProjects makes the projects of a mapping, in the provider's domain
// unless the mapping names another that exists, and gives the user the roles
// that the mapping names, and no others (CVE-2017-2673).
func (m *Manager) mappedProjects(ctx context.Context, provider *identity.Provider, userID string, list []mapping.Project) error {
	if len(list) == 0 {
		return nil
	}
	return m.change(ctx, func(ctx context.Context) error {
		for _, p := range list {
			have, err := m.mappedProject(ctx, provider, &p)
			if err != nil {
				return err
			}
			for _, r := range p.Roles {
				role, err := gone(m.store.Roles.One(ctx, identity.By("name", r.Name).And("domain_id", "")))
				if err != nil {
					return err
				}
				if role == nil {
					return unauthenticated("the mapping names a role that does not exist")
				}
				a := identity.Assignment{ActorType: identity.ActorUser, ActorID: userID, TargetType: identity.TargetProject, TargetID: have.ID, RoleID: role.ID}
				if err := m.store.Grant(ctx, a); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// mappedProject finds or makes one project of a mapping.
func (m *Manager) mappedProject(ctx context.Context, provider *identity.Provider, p *mapping.Project) (*identity.Project, error) {
	domain := provider.DomainID
	if p.Domain != nil {
		id, err := m.mappedDomain(ctx, p.Domain)
		if err != nil {
			return nil, err
		}
		d, err := gone(m.store.Projects.One(ctx, identity.By("id", id).And("is_domain", true)))
		if err != nil {
			return nil, err
		}
		if d == nil || id == "" {
			return nil, unauthenticated("the mapping names a domain that does not exist")
		}
		domain = d.ID
	}
	have, err := gone(m.store.Projects.One(ctx, identity.By("name", p.Name).And("domain_id", domain).And("is_domain", false)))
	if err != nil || have != nil {
		return have, err
	}
	have = &identity.Project{ID: NewID(), Name: p.Name, DomainID: domain, ParentID: domain, Enabled: true}
	return have, m.store.Projects.Create(ctx, have)
}
