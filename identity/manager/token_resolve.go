package manager

import (
	"context"
	"time"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/token"
)

// unauthenticated is the one answer to every failed authentication: it does
// not tell why (CVE-2021-38155).
func unauthenticated(why string) error { return unauthenticatedFor(reason(why)) }

func unauthenticatedFor(cause error) error {
	return fault.Wrap(fault.Unauthenticated, cause, "The request you have made requires authentication.")
}

// errRevoked is the cause where a revocation covers a token.
const errRevoked = reason("the token was revoked")

type reason string

func (r reason) Error() string { return string(r) }

func expandURL(url string, t *identity.Token) (string, bool) {
	v := map[string]string{"user_id": t.User.ID}
	if t.Project != nil {
		v["project_id"], v["tenant_id"] = t.Project.ID, t.Project.ID
	}
	return identity.ExpandURL(url, v)
}

// notFoundAs turns a row that is gone into a token that is not valid.
func notFoundAs(err error, why string) error {
	if fault.Is(err, fault.NotFound) {
		return unauthenticated(why)
	}
	return err
}

// resolve finds all that a token means now: who, where, with which roles. It
// is fault.Unauthenticated where the user, the scope or the delegation is gone
// or disabled, or no role is left.
func (m *Manager) resolve(ctx context.Context, p *token.Payload, b *book) (*identity.Token, error) {
	t := &identity.Token{
		Methods: p.Methods, AuditIDs: p.AuditIDs, IssuedAt: p.IssuedAt, ExpiresAt: p.ExpiresAt, System: p.System,
		GroupIDs: p.GroupIDs, ProviderID: p.ProviderID, ProtocolID: p.ProtocolID, Thumbprint: p.Thumbprint,
	}
	if m.recall(t, p, b.generation) {
		return t, nil
	}
	var err error
	if t.User, t.UserDomain, err = m.activeUser(ctx, p.UserID); err != nil {
		return nil, err
	}
	if p.Federated() {
		if _, _, err := m.activeProtocol(ctx, p.ProviderID, p.ProtocolID); err != nil {
			return nil, err
		}
	} else {
		pws, err := m.store.PasswordsOf(ctx, p.UserID)
		if err != nil {
			return nil, err
		}
		if len(pws) > 0 {
			t.PasswordExpiresAt = m.rules.expiry(t.User, &pws[0])
		}
	}
	if err := m.resolveScope(ctx, t, p); err != nil {
		return nil, err
	}
	if err := m.resolveDelegation(ctx, t, p); err != nil {
		return nil, err
	}
	if t.Roles, err = m.tokenRoles(ctx, b, t); err != nil {
		return nil, err
	}
	if len(t.Roles) == 0 && (t.Project != nil || t.Domain != nil || t.System) {
		return nil, unauthenticated("no roles on the scope")
	}
	if t.Catalog, err = m.catalogFor(ctx, b, t); err != nil {
		return nil, err
	}
	m.note(t, p, b.generation)
	return t, nil
}

// meaning is what a plain token (no delegation, no federation) of a user on a
// scope means as of a generation; it is the same for all of them.
type meaning struct {
	generation int64
	at         time.Time
	token      *identity.Token
}

// meaningKey is "" for tokens whose meaning is not shared.
func meaningKey(p *token.Payload) string {
	if p.TrustID != "" || p.AppCredID != "" || p.AccessTokenID != "" || p.Thumbprint != "" || p.Federated() {
		return ""
	}
	scope := p.ProjectID + "/" + p.DomainID
	if p.System {
		scope = "system"
	}
	return p.UserID + "@" + scope
}

// recall fills in the meaning that is remembered.
func (m *Manager) recall(t *identity.Token, p *token.Payload, generation int64) bool {
	key := meaningKey(p)
	m.mu.Lock()
	k, ok := m.meanings[key]
	m.mu.Unlock()
	if !ok || key == "" || k.generation != generation || m.now().Sub(k.at) > keep {
		return false
	}
	t.User, t.UserDomain, t.PasswordExpiresAt = k.token.User, k.token.UserDomain, k.token.PasswordExpiresAt
	t.Project, t.ProjectDomain, t.Domain, t.AdminProject = k.token.Project, k.token.ProjectDomain, k.token.Domain, k.token.AdminProject
	t.Roles, t.Catalog = k.token.Roles, k.token.Catalog
	t.ShareWith(k.token)
	return true
}

func (m *Manager) note(t *identity.Token, p *token.Payload, generation int64) {
	key := meaningKey(p)
	if key == "" || t.User.Directory {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.meanings) >= maxCached {
		clear(m.meanings)
	}
	m.meanings[key] = meaning{generation, m.now(), t}
}

// activeUser returns an enabled user of an enabled domain.
func (m *Manager) activeUser(ctx context.Context, id string) (*identity.User, *identity.Project, error) {
	u, err := m.userByID(ctx, id)
	if err != nil {
		return nil, nil, notFoundAs(err, "the user is gone")
	}
	d, err := m.store.Projects.Get(ctx, u.DomainID)
	if err != nil {
		return nil, nil, notFoundAs(err, "the user's domain is gone")
	}
	switch {
	case !u.Enabled || !u.Directory && m.rules.inactive(u, m.now()):
		return nil, nil, unauthenticated("the user is disabled")
	case !d.Enabled:
		return nil, nil, unauthenticated("the user's domain is disabled")
	}
	return u, d, nil
}

// activeProject returns an enabled project of an enabled domain.
func (m *Manager) activeProject(ctx context.Context, id string) (p, domain *identity.Project, err error) {
	if p, err = m.store.Projects.Get(ctx, id); err != nil {
		return nil, nil, notFoundAs(err, "the project is gone")
	}
	if domain, err = m.store.Projects.Get(ctx, p.OwnerDomain()); err != nil {
		return nil, nil, notFoundAs(err, "the project's domain is gone")
	}
	if !p.Enabled || !domain.Enabled {
		return nil, nil, unauthenticated("the project or its domain is disabled")
	}
	return p, domain, nil
}

func (m *Manager) resolveScope(ctx context.Context, t *identity.Token, p *token.Payload) (err error) {
	switch {
	case p.ProjectID != "":
		if t.Project, t.ProjectDomain, err = m.activeProject(ctx, p.ProjectID); err != nil {
			return err
		}
		if c := &m.cfg.Resource; c.AdminProjectName != "" && c.AdminProjectDomainName != "" {
			t.AdminProject = ptr(t.Project.Name == c.AdminProjectName && t.ProjectDomain.Name == c.AdminProjectDomainName)
		}
	case p.DomainID != "":
		if t.Domain, err = m.store.Projects.Get(ctx, p.DomainID); err != nil {
			return notFoundAs(err, "the domain is gone")
		}
		if !t.Domain.Enabled || !t.Domain.IsDomain {
			return unauthenticated("the domain is disabled")
		}
	}
	return err
}

func (m *Manager) resolveDelegation(ctx context.Context, t *identity.Token, p *token.Payload) (err error) {
	switch {
	case p.TrustID != "":
		if t.Trust, err = m.activeTrust(ctx, p.TrustID); err != nil {
			return err
		}
		want := t.Trust.TrusteeID
		if t.Trust.Impersonation {
			want = t.Trust.TrustorID
		}
		if t.User.ID != want || p.ProjectID != string(t.Trust.ProjectID) {
			return unauthenticated("the token does not fit its trust")
		}
	case p.AppCredID != "":
		if t.AppCred, err = m.store.AppCredentials.Get(ctx, p.AppCredID); err != nil {
			return notFoundAs(err, "the application credential is gone")
		}
		if e := t.AppCred.ExpiresAt; e != nil && !e.After(m.now()) {
			return unauthenticated("the application credential has expired")
		}
		if t.AppCred.UserID != p.UserID || t.AppCred.ProjectID != p.ProjectID {
			return unauthenticated("the token does not fit its application credential")
		}
		t.AccessRules, err = m.rulesOf(ctx, t.AppCred)
	case p.AccessTokenID != "":
		if t.AccessToken, err = m.store.AccessTokens.Get(ctx, p.AccessTokenID); err != nil {
			return notFoundAs(err, "the access token is gone")
		}
		if t.AccessToken.UserID != p.UserID || t.AccessToken.ProjectID != p.ProjectID {
			return unauthenticated("the token does not fit its access token")
		}
	}
	return err
}

// tokenRoles returns the roles that a token carries: those the user has on the
// scope, cut down to what the delegation gave.
func (m *Manager) tokenRoles(ctx context.Context, b *book, t *identity.Token) ([]identity.Role, error) {
	holder := t.User.ID
	groups := t.GroupIDs
	if t.Trust != nil {
		holder, groups = t.Trust.TrustorID, nil
	}
	has, err := m.roleIDs(ctx, holder, groups, t.Project, t.Domain, t.System)
	if err != nil {
		return nil, err
	}
	switch {
	case t.Trust != nil:
		all := b.closure(has)
		for _, id := range t.Trust.RoleIDs {
			if !all[id] {
				return nil, unauthenticated("the trustor lost a role of the trust")
			}
		}
		return b.expand(t.Trust.RoleIDs), nil
	case t.AppCred != nil:
		return b.expand(within(t.AppCred.RoleIDs, b.closure(has))), nil
	case t.AccessToken != nil:
		return b.expand(within(t.AccessToken.RoleIDs, b.closure(has))), nil
	}
	return b.expand(has), nil
}

func within(ids []string, have map[string]bool) []string {
	var out []string
	for _, id := range ids {
		if have[id] {
			out = append(out, id)
		}
	}
	return out
}

// roleIDs are the roles that a user has on a scope, without implied ones.
func (m *Manager) roleIDs(ctx context.Context, userID string, groups []string, project, domain *identity.Project, system bool) ([]string, error) {
	groups, err := m.withDirectory(ctx, userID, groups)
	if err != nil {
		return nil, err
	}
	switch {
	case project != nil:
		up, err := m.store.Ancestors(ctx, project)
		if err != nil {
			return nil, err
		}
		ids := make([]string, len(up))
		for i := range up {
			ids[i] = up[i].ID
		}
		return m.store.RolesOnProject(ctx, userID, groups, project.ID, ids)
	case domain != nil:
		return m.store.RolesOn(ctx, userID, groups, identity.TargetDomain, domain.ID)
	case system:
		return m.store.RolesOn(ctx, userID, groups, identity.TargetSystem, identity.SystemAll)
	}
	return nil, nil
}
