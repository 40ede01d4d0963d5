package manager

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/token"
)

// AppCredentialSpec is an application credential as a client asks for it.
type AppCredentialSpec struct {
	identity.AppCredential
	Roles  []RoleRef
	Rules  []identity.AccessRule // nil: none; an entry with an id names one that exists
	Secret string                // empty: one is made
}

// AppCredentialView is an application credential with its roles and rules.
// Secret is set right after creation alone.
type AppCredentialView struct {
	identity.AppCredential
	Roles  []identity.Role
	Rules  []identity.AccessRule
	Secret string
}

func randomSecret(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// forbidDelegated refuses tokens that stand for less than their user where
// something of the user's is managed that would outlive or outgrow them.
func forbidDelegated(by *identity.Token, what string) error {
	switch {
	case by == nil:
		return nil
	case by.AppCred != nil && !by.AppCred.Unrestricted:
		return fault.Forbiddenf("Using method 'application_credential' is not allowed for managing %s.", what)
	case by.Trust != nil:
		return fault.Forbiddenf("Using a trust is not allowed for managing %s.", what)
	case by.AccessToken != nil:
		return fault.Forbiddenf("Using method 'oauth1' is not allowed for managing %s.", what)
	}
	return nil
}

// CreateAppCredential stores an application credential for the project and
// with roles of the caller's token.
func (m *Manager) CreateAppCredential(ctx context.Context, by *identity.Token, in AppCredentialSpec) (*AppCredentialView, error) {
	if err := forbidDelegated(by, "additional application credentials"); err != nil {
		return nil, err
	}
	if by.Project == nil {
		return nil, fault.Forbiddenf("An application credential needs a token of a project.")
	}
	a := in.AppCredential
	if a.ExpiresAt != nil && !a.ExpiresAt.After(m.now()) {
		return nil, fault.Invalidf("The 'expires_at' must not be before now.")
	}
	if by.AppCred != nil && by.AppCred.ExpiresAt != nil && (a.ExpiresAt == nil || a.ExpiresAt.After(*by.AppCred.ExpiresAt)) {
		a.ExpiresAt = by.AppCred.ExpiresAt // what is delegated can only shrink
	}
	if by.AppCred != nil && by.AppCred.Ruled {
		return nil, fault.Forbiddenf("An application credential with access rules cannot make another.")
	}
	a.ID, a.UserID, a.ProjectID, a.RoleIDs = rowID(ctx), by.User.ID, by.Project.ID, nil
	for _, r := range by.Roles {
		wanted := len(in.Roles) == 0 || slices.ContainsFunc(in.Roles, func(w RoleRef) bool { return w.ID == r.ID || w.ID == "" && w.Name == r.Name })
		if wanted {
			a.RoleIDs = append(a.RoleIDs, r.ID)
		}
	}
	for _, w := range in.Roles {
		if !slices.ContainsFunc(by.Roles, func(r identity.Role) bool { return w.ID == r.ID || w.ID == "" && w.Name == r.Name }) {
			return nil, fault.Invalidf("Invalid application credential: Could not find role assignment with role: %s%s, user or group: %s, project, domain, or system: %s.", w.ID, w.Name, a.UserID, a.ProjectID)
		}
	}
	secret := in.Secret
	if secret == "" {
		secret = randomSecret(64)
	}
	var err error
	if a.SecretHash, err = m.hash.Hash(secret); err != nil {
		return nil, err
	}
	a.Ruled = in.Rules != nil
	err = m.store.Tx(ctx, func(ctx context.Context) error {
		a.RuleIDs = nil
		for _, r := range in.Rules {
			id, err := m.ensureRule(ctx, a.UserID, r)
			if err != nil {
				return err
			}
			a.RuleIDs = append(a.RuleIDs, id)
		}
		if limit := m.cfg.ApplicationCredential.UserLimit; limit >= 0 {
			have, err := m.store.AppCredentials.List(ctx, identity.By("user_id", a.UserID))
			if err != nil {
				return err
			}
			if len(have) >= limit {
				return fault.Forbiddenf("Unable to create additional application credentials, maximum of %d already exceeded for user.", limit)
			}
		}
		return m.store.AppCredentials.Create(ctx, &a)
	})
	if err != nil {
		return nil, err
	}
	list, err := m.viewAppCredentials(ctx, []identity.AppCredential{a})
	if err != nil {
		return nil, err
	}
	list[0].Secret = secret
	return &list[0], nil
}

func (m *Manager) ensureRule(ctx context.Context, userID string, r identity.AccessRule) (string, error) {
	if r.ID != "" {
		have, err := m.store.AccessRules.Get(ctx, r.ID)
		if err == nil && have.UserID != userID {
			err = fault.New(fault.NotFound, "Could not find access rule: %s.", r.ID)
		}
		if err != nil {
			return "", err
		}
		return have.ID, nil
	}
	have, err := gone(m.store.AccessRules.One(ctx, identity.By("user_id", userID).And("service", r.Service).And("http_method", r.Method).And("url_path", r.Path)))
	if err != nil {
		return "", err
	}
	if have != nil {
		return have.ID, nil
	}
	r.ID, r.UserID = rowID(ctx), userID
	return r.ID, m.store.AccessRules.Create(ctx, &r)
}

// rulesOf returns the access rules of an application credential.
func (m *Manager) rulesOf(ctx context.Context, a *identity.AppCredential) ([]identity.AccessRule, error) {
	if len(a.RuleIDs) == 0 {
		return nil, nil
	}
	return m.store.AccessRules.List(ctx, identity.Query{Filters: []identity.Filter{{Field: "id", Op: identity.In, Value: []string(a.RuleIDs)}}})
}

func (m *Manager) viewAppCredentials(ctx context.Context, list []identity.AppCredential) ([]AppCredentialView, error) {
	out := make([]AppCredentialView, len(list))
	var roleIDs, ruleIDs []string
	for i := range list {
		out[i].AppCredential = list[i]
		roleIDs, ruleIDs = append(roleIDs, list[i].RoleIDs...), append(ruleIDs, list[i].RuleIDs...)
	}
	slices.Sort(roleIDs)
	slices.Sort(ruleIDs)
	roles, err := m.RolesByID(ctx, slices.Compact(roleIDs))
	if err != nil {
		return nil, err
	}
	slices.SortFunc(roles, func(a, b identity.Role) int { return strings.Compare(a.Name, b.Name) })
	rules, err := m.rulesOf(ctx, &identity.AppCredential{RuleIDs: slices.Compact(ruleIDs)})
	if err != nil {
		return nil, err
	}
	for i := range out {
		for _, r := range roles {
			if slices.Contains(out[i].RoleIDs, r.ID) {
				out[i].Roles = append(out[i].Roles, r)
			}
		}
		for _, r := range rules {
			if slices.Contains(out[i].RuleIDs, r.ID) {
				out[i].Rules = append(out[i].Rules, r)
			}
		}
	}
	return out, nil
}

// AppCredential returns one.
func (m *Manager) AppCredential(ctx context.Context, id string) (*AppCredentialView, error) {
	a, err := m.store.AppCredentials.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	list, err := m.viewAppCredentials(ctx, []identity.AppCredential{*a})
	if err != nil {
		return nil, err
	}
	return &list[0], nil
}

// AppCredentials lists those of a user.
func (m *Manager) AppCredentials(ctx context.Context, q identity.Query) ([]AppCredentialView, error) {
	list, err := m.store.AppCredentials.List(ctx, q)
	if err != nil {
		return nil, err
	}
	return m.viewAppCredentials(ctx, list)
}

// DeleteAppCredential removes one; its tokens end.
func (m *Manager) DeleteAppCredential(ctx context.Context, by *identity.Token, id string) error {
	if err := forbidDelegated(by, "additional application credentials"); err != nil {
		return err
	}
	return m.change(ctx, func(ctx context.Context) error {
		if err := m.store.AppCredentials.Delete(ctx, id); err != nil {
			return err
		}
		return m.revoke(ctx, identity.Revocation{AppCredID: identity.Ref(id)})
	})
}

// AccessRule returns one access rule.
func (m *Manager) AccessRule(ctx context.Context, id string) (*identity.AccessRule, error) {
	return m.store.AccessRules.Get(ctx, id)
}

// AccessRules lists access rules.
func (m *Manager) AccessRules(ctx context.Context, q identity.Query) ([]identity.AccessRule, error) {
	return m.store.AccessRules.List(ctx, q)
}

// DeleteAccessRule removes a rule that no application credential uses.
func (m *Manager) DeleteAccessRule(ctx context.Context, by *identity.Token, r *identity.AccessRule) error {
	if err := forbidDelegated(by, "access rules"); err != nil {
		return err
	}
	return m.store.Tx(ctx, func(ctx context.Context) error {
		list, err := m.store.AppCredentials.List(ctx, identity.By("user_id", r.UserID))
		if err != nil {
			return err
		}
		for _, a := range list {
			if slices.Contains(a.RuleIDs, r.ID) {
				return fault.Forbiddenf("Access rule %s is in use by an application credential.", r.ID)
			}
		}
		return m.store.AccessRules.Delete(ctx, r.ID)
	})
}

// byAppCred takes an application credential as the proof.
func (m *Manager) byAppCred(ctx context.Context, p *proof, in *AppCredProof) error {
	if in == nil {
		return unauthenticated("no application credential")
	}
	a, err := m.findAppCred(ctx, in)
	if err != nil {
		return err
	}
	if a == nil || !later(a.ExpiresAt, m.now()) {
		m.hash.Dummy(in.Secret)
		return unauthenticated("no such application credential, or it has expired")
	}
	ok, err := m.hash.Verify(in.Secret, a.SecretHash)
	if err != nil {
		return err
	}
	if !ok {
		return unauthenticated("wrong secret")
	}
	p.appCred = a
	return p.is(a.UserID)
}

func (m *Manager) findAppCred(ctx context.Context, in *AppCredProof) (*identity.AppCredential, error) {
	if in.ID != "" {
		a, err := gone(m.store.AppCredentials.Get(ctx, in.ID))
		if a != nil && in.User.ID != "" && in.User.ID != a.UserID {
			return nil, nil // an id with another's user proves nothing (CVE-2026-42998)
		}
		return a, err
	}
	u, err := m.findUser(ctx, in.User)
	if u == nil || err != nil {
		return nil, err
	}
	return gone(m.store.AppCredentials.One(ctx, identity.By("user_id", u.ID).And("name", in.Name)))
}

// scopeAppCred makes the token one of an application credential, which knows
// its scope itself.
func (m *Manager) scopeAppCred(pay *token.Payload, a *identity.AppCredential, s Scope) error {
	if s.HasProject || s.HasDomain || s.System || s.Unscoped || s.TrustID != "" {
		return fault.New(fault.Unauthenticated, "Application credentials cannot request a scope.")
	}
	pay.AppCredID, pay.ProjectID = a.ID, a.ProjectID
	if a.ExpiresAt != nil && a.ExpiresAt.Before(pay.ExpiresAt) {
		pay.ExpiresAt = *a.ExpiresAt
	}
	return nil
}
