package manager

import (
	"context"
	"slices"
	"time"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/token"
)

// RoleRef names a role by id or by name.
type RoleRef struct{ ID, Name string }

// TrustSpec is a trust as a client asks for it.
type TrustSpec struct {
	identity.Trust
	Roles             []RoleRef
	AllowRedelegation bool
	RedelegationCount *int
}

// activeTrust returns a trust that is in force, with both users active.
func (m *Manager) activeTrust(ctx context.Context, id string) (*identity.Trust, error) {
	t, err := m.store.Trusts.Get(ctx, id)
	if err != nil {
		return nil, notFoundAs(err, "the trust is gone")
	}
	if t.DeletedAt != nil || t.ExpiresAt != nil && !t.ExpiresAt.After(m.now()) {
		return nil, unauthenticated("the trust has ended")
	}
	for _, id := range []string{t.TrustorID, t.TrusteeID} {
		if _, _, err := m.activeUser(ctx, id); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// scopeTrust makes the token one of a trust, for its trustee alone.
func (m *Manager) scopeTrust(ctx context.Context, pay *token.Payload, u *identity.User, s Scope) error {
	if s.HasProject || s.HasDomain || s.System {
		return fault.Invalidf("A token has one scope: a trust, a project, a domain or the system.")
	}
	t, err := m.activeTrust(ctx, s.TrustID)
	if err != nil {
		return err
	}
	if t.TrusteeID != u.ID {
		return fault.Forbiddenf("User is not a trustee.")
	}
	pay.TrustID, pay.ProjectID = t.ID, string(t.ProjectID)
	pay.GroupIDs, pay.ProviderID, pay.ProtocolID = nil, "", ""
	if t.Impersonation {
		pay.UserID = t.TrustorID
	}
	if t.ExpiresAt != nil && t.ExpiresAt.Before(pay.ExpiresAt) {
		pay.ExpiresAt = *t.ExpiresAt
	}
	ok, err := m.store.UseTrust(ctx, t.ID)
	if err == nil && !ok {
		return fault.Forbiddenf("No remaining uses for trust %s.", t.ID)
	}
	return err
}

// Trust returns one trust that has not ended.
func (m *Manager) Trust(ctx context.Context, id string) (*identity.Trust, error) {
	t, err := m.store.Trusts.Get(ctx, id)
	if err == nil && t.ExpiresAt != nil && !t.ExpiresAt.After(m.now()) {
		return nil, fault.New(fault.NotFound, "Could not find trust: %s.", id)
	}
	return t, err
}

// Trusts lists trusts that have not ended.
func (m *Manager) Trusts(ctx context.Context, q identity.Query) ([]identity.Trust, error) {
	list, err := m.store.Trusts.List(ctx, q)
	now := m.now()
	return slices.DeleteFunc(list, func(t identity.Trust) bool { return t.ExpiresAt != nil && !t.ExpiresAt.After(now) }), err
}

// RolesByID returns roles in the order of their ids; one that is gone is left
// out.
func (m *Manager) RolesByID(ctx context.Context, ids []string) ([]identity.Role, error) {
	list, err := m.store.Roles.List(ctx, identity.Query{Filters: []identity.Filter{{Field: "id", Op: identity.In, Value: ids}}})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b identity.Role) int { return slices.Index(ids, a.ID) - slices.Index(ids, b.ID) })
	return list, nil
}

// CreateTrust stores a trust of the caller, whose token is by. What is handed
// on can only shrink: roles, life and depth (threats 31, 40).
func (m *Manager) CreateTrust(ctx context.Context, by *identity.Token, in TrustSpec) (*identity.Trust, error) {
	t := in.Trust
	t.ID, t.DeletedAt = rowID(ctx), nil
	if by.AppCred != nil && !by.AppCred.Unrestricted || by.AccessToken != nil {
		return nil, fault.Forbiddenf("Using method '%s' is not allowed for managing trusts.", by.Methods[0])
	}
	if t.ExpiresAt != nil && !t.ExpiresAt.After(m.now()) {
		return nil, fault.Invalidf("The 'expires_at' must not be before now.")
	}
	if _, err := m.userByID(ctx, t.TrusteeID); err != nil {
		return nil, err
	}
	if t.ProjectID != "" {
		if _, err := m.store.Projects.Get(ctx, string(t.ProjectID)); err != nil {
			return nil, err
		}
	}
	if err := m.trustRoles(ctx, by, &t, in.Roles); err != nil {
		return nil, err
	}
	if err := m.redelegation(by, &t, in); err != nil {
		return nil, err
	}
	return &t, m.store.Trusts.Create(ctx, &t)
}

// trustRoles checks that the trustor has what is handed on, by a token that
// may hand it on.
func (m *Manager) trustRoles(ctx context.Context, by *identity.Token, t *identity.Trust, refs []RoleRef) error {
	if len(refs) > 0 && t.ProjectID == "" {
		return fault.Invalidf("A trust with roles needs a project.")
	}
	if t.ProjectID != "" && len(refs) == 0 && by.Trust == nil {
		return fault.Forbiddenf("At least one role should be specified.")
	}
	if t.ProjectID == "" {
		return nil
	}
	project, _, err := m.activeProject(ctx, string(t.ProjectID))
	if err != nil {
		return fault.Forbiddenf("The project of the trust is not usable.")
	}
	gen, err := m.store.Generation(ctx)
	if err != nil {
		return err
	}
	b, err := m.readBook(ctx, gen)
	if err != nil {
		return err
	}
	has, err := m.roleIDs(ctx, t.TrustorID, nil, project, nil, false)
	if err != nil {
		return err
	}
	all := b.closure(has)
	if by.AppCred != nil || by.Trust != nil { // a delegated token hands on no more than it has itself
		if by.Project == nil || by.Project.ID != project.ID {
			return fault.Forbiddenf("The token is of another project than the trust.")
		}
		all = map[string]bool{}
		for _, r := range by.Roles {
			all[r.ID] = true
		}
	}
	for _, r := range refs {
		id, err := b.find(r)
		if err != nil {
			return err
		}
		if !all[id] {
			return fault.Forbiddenf("You are not authorized to perform the requested action: hand on role %s, which the trustor has not got.", id)
		}
		t.RoleIDs = append(t.RoleIDs, id)
	}
	return nil
}

// find returns the id of a role of no domain.
func (b *book) find(r RoleRef) (string, error) {
	for id, x := range b.roles {
		if r.ID != "" && id == r.ID || r.ID == "" && r.Name != "" && x.DomainID == "" && x.Name == r.Name {
			return id, nil
		}
	}
	return "", fault.New(fault.NotFound, "Could not find role: %s%s.", r.ID, r.Name)
}

// redelegation checks how far a trust may be handed on.
func (m *Manager) redelegation(by *identity.Token, t *identity.Trust, in TrustSpec) error {
	limit := m.cfg.Trust.MaxRedelegationCount
	if in.RedelegationCount != nil && *in.RedelegationCount > limit {
		return fault.Forbiddenf("Requested redelegation count of %d is greater than allowed %d.", *in.RedelegationCount, limit)
	}
	if in.AllowRedelegation && t.RemainingUses != nil {
		return fault.Invalidf("remaining_uses must not be set if redelegation is allowed.")
	}
	switch {
	case in.RedelegationCount != nil:
		t.RedelegationCount = *in.RedelegationCount
	case in.AllowRedelegation:
		t.RedelegationCount = limit
	}
	if !in.AllowRedelegation {
		t.RedelegationCount = 0
	}
	parent := by.Trust
	if parent == nil {
		return nil
	}
	switch {
	case !m.cfg.Trust.AllowRedelegation || parent.RedelegationCount <= 0:
		return fault.Forbiddenf("Redelegation allowed for trust %s is exhausted or not permitted.", parent.ID)
	case in.RedelegationCount != nil && *in.RedelegationCount >= parent.RedelegationCount:
		return fault.Forbiddenf("Requested redelegation depth is greater than allowed %d.", parent.RedelegationCount-1)
	case t.ProjectID != parent.ProjectID:
		return fault.Forbiddenf("A redelegated trust is for the same project.")
	case t.Impersonation && !parent.Impersonation:
		return fault.Forbiddenf("Impersonation is not allowed because redelegated trust does not specify impersonation. Redelegated trust id: %s.", parent.ID)
	case parent.ExpiresAt != nil && t.ExpiresAt != nil && t.ExpiresAt.After(*parent.ExpiresAt):
		return fault.Forbiddenf("Requested expiration time is more than redelegated trust can provide.")
	case t.RemainingUses != nil && parent.RemainingUses != nil && *t.RemainingUses > *parent.RemainingUses:
		return fault.Forbiddenf("Requested uses are more than redelegated trust can provide.")
	}
	if t.ExpiresAt == nil {
		t.ExpiresAt = parent.ExpiresAt
	}
	if len(t.RoleIDs) == 0 {
		t.RoleIDs = parent.RoleIDs
	}
	t.RedelegationCount = min(t.RedelegationCount, parent.RedelegationCount-1)
	t.RedelegatedID = identity.Ref(parent.ID)
	return nil
}

// DeleteTrust ends a trust and those that were made from it.
func (m *Manager) DeleteTrust(ctx context.Context, id string) error {
	return m.change(ctx, func(ctx context.Context) error { return m.endTrust(ctx, id, 0) })
}

func (m *Manager) endTrust(ctx context.Context, id string, depth int) error {
	if depth > 16 {
		return fault.Conflictf("Trust %s was handed on too often.", id)
	}
	children, err := m.store.Trusts.List(ctx, identity.By("redelegated_trust_id", id))
	if err != nil {
		return err
	}
	for _, c := range children {
		if err := m.endTrust(ctx, c.ID, depth+1); err != nil {
			return err
		}
	}
	if err := m.store.Trusts.Delete(ctx, id); err != nil {
		return err
	}
	return m.revoke(ctx, identity.Revocation{TrustID: identity.Ref(id)})
}

// endTrusts ends the trusts of a user or a project that goes.
func (m *Manager) endTrusts(ctx context.Context, column, id string) error {
	list, err := m.store.Trusts.List(ctx, identity.By(column, id))
	if err != nil {
		return err
	}
	for _, t := range list {
		if err := m.endTrust(ctx, t.ID, 0); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	return nil
}

// later reports whether an optional time lies in the future.
func later(t *time.Time, now time.Time) bool { return t == nil || t.After(now) }
