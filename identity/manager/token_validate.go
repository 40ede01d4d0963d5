package manager

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/store"
	"github.com/tropocloud/tropo/identity/token"
)

// cached is what is known of a token as of a generation.
type cached struct {
	epoch store.Epoch
	token *identity.Token
	id    *auth.Identity
	keys  []string // of revocations that could match it
	at    time.Time
}

// live reports whether a token must be looked into at every use: a directory
// tells nobody that it disabled a user (OSSA-2026-007: threat 35).
func (c *cached) live() bool { return Live(c.token) }

// Live reports whether an answer about a token must not be remembered.
func Live(t *identity.Token) bool {
	return t.User.Directory || t.Trust != nil && (identity.MaybePublicID(t.Trust.TrustorID) || identity.MaybePublicID(t.Trust.TrusteeID))
}

// keep is how long what is remembered holds at most: some of it ends by time
// alone (memberships that an identity provider gave, users who do not come).
const keep = time.Minute

// maxCached bounds how many tokens are remembered: about 10 KiB each, and of
// no use after keep.
const maxCached = 4096

// Validate implements auth.Validator for the service's own API.
func (m *Manager) Validate(ctx context.Context, text string) (*auth.Identity, error) {
	c, err := m.lookup(ctx, text, 0)
	if err != nil {
		return nil, err
	}
	return c.id, nil
}

// Token returns what a token means now; fault.Unauthenticated if it is not
// valid.
func (m *Manager) Token(ctx context.Context, text string) (*identity.Token, error) {
	c, err := m.lookup(ctx, text, 0)
	if err != nil {
		return nil, err
	}
	return c.token, nil
}

// SubjectToken is Token for the X-Subject-Token of a request: an invalid one
// is fault.NotFound. With allowExpired a token that has ended a while ago is
// still answered, for services that finish long work.
func (m *Manager) SubjectToken(ctx context.Context, text string, allowExpired bool) (*identity.Token, error) {
	grace := time.Duration(0)
	if allowExpired {
		grace = time.Duration(m.cfg.Token.AllowExpiredWindow) * time.Second
	}
	c, err := m.lookup(ctx, text, grace)
	if fault.Is(err, fault.Unauthenticated) {
		return nil, fault.Wrap(fault.NotFound, err, "Failed to validate token")
	}
	if err != nil {
		return nil, err
	}
	return c.token, nil
}

// lookup validates a token. One that is remembered costs one query at most:
// the epoch says whether what is remembered still holds.
func (m *Manager) lookup(ctx context.Context, text string, grace time.Duration) (*cached, error) {
	key := sha256.Sum256([]byte(text))
	m.mu.Lock()
	c := m.cache[key]
	m.mu.Unlock()
	if c != nil {
		if err := m.unexpired(c.token.ExpiresAt, grace); err != nil {
			return nil, err
		}
		e, err := m.store.EpochSince(ctx)
		switch {
		case err != nil:
			return nil, err
		case e == c.epoch && m.now().Sub(c.at) < keep:
			return c, nil
		case e.Generation == c.epoch.Generation && m.now().Sub(c.at) < keep:
			return m.reconsider(ctx, key, c, e)
		}
	}
	p, err := m.tokens.Read(text)
	if err != nil {
		return nil, fault.Wrap(fault.Unauthenticated, err, "The request you have made requires authentication.")
	}
	if err := m.unexpired(p.ExpiresAt, grace); err != nil {
		return nil, err
	}
	c, err = m.examine(ctx, p)
	if err != nil {
		return nil, err
	}
	c.id.Token = text
	m.remember(key, c)
	return c, nil
}

// reconsider returns what is remembered of a token if no revocation that was
// made since covers it.
func (m *Manager) reconsider(ctx context.Context, key [32]byte, c *cached, e store.Epoch) (*cached, error) {
	revoked, err := m.store.Revoked(ctx, c.keys, c.token.IssuedAt)
	if err != nil {
		return nil, err
	}
	if revoked {
		return nil, unauthenticatedFor(errRevoked)
	}
	newer := *c
	newer.epoch = e
	m.remember(key, &newer)
	return &newer, nil
}

func (m *Manager) unexpired(at time.Time, grace time.Duration) error {
	if !at.Add(grace).After(m.now()) {
		return unauthenticated("the token has expired")
	}
	return nil
}

// examine finds out what a payload means now and whether it was revoked.
func (m *Manager) examine(ctx context.Context, p *token.Payload) (*cached, error) {
	e, err := m.store.Epoch(ctx)
	if err != nil {
		return nil, err
	}
	b, err := m.readBook(ctx, e.Generation)
	if err != nil {
		return nil, err
	}
	t, err := m.resolve(ctx, p, b)
	if err != nil {
		return nil, err
	}
	c := &cached{epoch: e, token: t, keys: revocationKeys(t), id: toIdentity(t), at: m.now()}
	revoked, err := m.store.Revoked(ctx, c.keys, p.IssuedAt)
	if err != nil {
		return nil, err
	}
	if revoked {
		return nil, unauthenticatedFor(errRevoked)
	}
	return c, nil
}

func (m *Manager) remember(key [32]byte, c *cached) {
	if c.live() {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.cache) >= maxCached {
		clear(m.cache)
	}
	m.cache[key] = c
}

func revocationKeys(t *identity.Token) []string {
	var project, projectDomain, domain, trust, app, access, consumer string
	if t.Project != nil {
		project, projectDomain = t.Project.ID, t.ProjectDomain.ID
	}
	if t.Domain != nil {
		domain = t.Domain.ID
	}
	if t.Trust != nil {
		trust = t.Trust.ID
	}
	if t.AppCred != nil {
		app = t.AppCred.ID
	}
	if t.AccessToken != nil {
		access, consumer = t.AccessToken.ID, t.AccessToken.ConsumerID
	}
	keys := identity.RevocationKeys(t.User.ID, t.UserDomain.ID, project, projectDomain, domain, trust, app, access, consumer, t.AuditIDs)
	if t.Trust != nil { // whoever is not the token's user counts too
		other := t.Trust.TrusteeID
		if other == t.User.ID {
			other = t.Trust.TrustorID
		}
		keys = append(keys, "user:"+other)
	}
	return keys
}

func ref(p *identity.Project) auth.Ref {
	if p == nil {
		return auth.Ref{}
	}
	return auth.Ref{ID: p.ID, Name: p.Name}
}

// common is what the identities of tokens with the same meaning share.
type common struct {
	roles   []auth.Ref
	catalog []auth.CatalogEntry
}

func commonOf(t *identity.Token) common {
	v, _ := t.Common("identity", func() (any, error) {
		var out common
		for _, r := range t.Roles {
			out.roles = append(out.roles, auth.Ref{ID: r.ID, Name: r.Name})
		}
		for _, c := range t.Catalog {
			e := auth.CatalogEntry{ID: c.Service.ID, Name: c.Service.Name, Type: c.Service.Type}
			for _, ep := range c.Endpoints {
				e.Endpoints = append(e.Endpoints, auth.Endpoint{ID: ep.ID, Interface: ep.Interface, Region: string(ep.RegionID), RegionID: string(ep.RegionID), URL: ep.URL})
			}
			out.catalog = append(out.catalog, e)
		}
		return out, nil // never fails
	})
	out, _ := v.(common)
	return out
}

// toIdentity is the token as the API kit sees its caller.
func toIdentity(t *identity.Token) *auth.Identity {
	id := &auth.Identity{
		User: auth.Ref{ID: t.User.ID, Name: t.User.Name}, UserDomain: ref(t.UserDomain),
		Project: ref(t.Project), ProjectDomain: ref(t.ProjectDomain), Domain: ref(t.Domain), System: t.System,
		Methods: t.Methods, AuditIDs: t.AuditIDs, IssuedAt: t.IssuedAt, ExpiresAt: t.ExpiresAt, PasswordExpiresAt: t.PasswordExpiresAt,
		IsDomainProject: t.Project != nil && t.Project.IsDomain, AdminProject: t.AdminProject, Volatile: Live(t),
	}
	c := commonOf(t)
	id.Roles, id.Catalog = c.roles, c.catalog
	if t.Trust != nil {
		id.TrustID, id.TrustorID = t.Trust.ID, t.Trust.TrustorID
	}
	if a := t.AppCred; a != nil {
		id.AppCredentialID, id.AppCredUnrestrict = a.ID, a.Unrestricted
		if a.Ruled {
			id.AccessRules = []auth.AccessRule{}
			for _, r := range t.AccessRules {
				id.AccessRules = append(id.AccessRules, auth.AccessRule{ID: r.ID, Service: r.Service, Method: r.Method, Path: r.Path})
			}
		}
	}
	return id
}

// RevokeToken ends a token: by its audit id alone, or, if chain is set, all
// that were made from the same first token. A token that is not valid any
// more is fault.NotFound.
func (m *Manager) RevokeToken(ctx context.Context, text string, chain bool) error {
	t, err := m.SubjectToken(ctx, text, false)
	if err != nil {
		return err
	}
	r := identity.Revocation{AuditID: identity.Ref(t.AuditIDs[0])}
	if chain {
		r = identity.Revocation{ChainID: identity.Ref(t.ChainID())}
	}
	// No generation is raised: what other tokens mean stays.
	return m.store.Tx(ctx, func(ctx context.Context) error {
		m.store.AfterCommit(ctx, func() { m.announce(ctx) })
		return m.revoke(ctx, r)
	})
}

// Revocations lists the revocations made since a time.
func (m *Manager) Revocations(ctx context.Context, since time.Time) ([]identity.Revocation, error) {
	return m.store.Revocations(ctx, since)
}
