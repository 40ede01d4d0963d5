package manager

import (
	"context"
	"slices"
	"time"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/token"
)

// MoreFactors is the error of a login that passed some of the factors that
// the user needs. Who brings its receipt with the next request has to pass
// only the others.
type MoreFactors struct {
	fault      *fault.Error
	Text       string // the receipt as it is sent
	Receipt    token.Receipt
	User       *identity.User
	UserDomain *identity.Project
	Rules      [][]string // the sets of methods, of which one is needed
}

// Error implements error.
func (e *MoreFactors) Error() string { return e.fault.Error() }

// Unwrap gives the fault, so that whoever does not know receipts answers 401.
func (e *MoreFactors) Unwrap() error { return e.fault }

// factorRules reads a user's rules; none where the user needs no more than one
// factor.
func factorRules(u *identity.User) [][]string {
	if v, set := u.Options[identity.OptionMultiFactorEnabled].(bool); set && !v {
		return nil
	}
	rules, _ := u.Options[identity.OptionMultiFactorRules].([]any)
	out := make([][]string, 0, len(rules))
	for _, r := range rules {
		list, _ := r.([]any)
		rule := make([]string, 0, len(list))
		for _, name := range list {
			s, _ := name.(string)
			rule = append(rule, s)
		}
		out = append(out, rule)
	}
	return out
}

// enoughFactors enforces a user's multi-factor rules: the methods must hold
// all of at least one rule.
func (m *Manager) enoughFactors(ctx context.Context, u *identity.User, methods []string) error {
	rules := factorRules(u)
	if len(rules) == 0 {
		return nil
	}
	for _, r := range rules {
		missing := func(name string) bool { return !slices.Contains(methods, name) }
		if len(r) > 0 && !slices.ContainsFunc(r, missing) {
			return nil
		}
	}
	domain, err := m.store.Projects.Get(ctx, u.DomainID)
	if err != nil {
		return err
	}
	now := m.now()
	e := &MoreFactors{
		fault: fault.New(fault.Unauthenticated, "Additional authentications steps required."),
		User:  u, UserDomain: domain, Rules: rules,
		Receipt: token.Receipt{UserID: u.ID, Methods: methods, IssuedAt: now, ExpiresAt: now.Add(time.Duration(m.cfg.Receipt.Expiration) * time.Second)},
	}
	if e.Text, err = m.proofs.Make(&e.Receipt); err != nil {
		return err
	}
	return e
}

// withReceipt adds the methods that a receipt proves, which must be of the
// same user. It ends with whatever ends the user's tokens.
func (m *Manager) withReceipt(ctx context.Context, p *proof, text string) error {
	if text == "" {
		return nil
	}
	r, err := m.proofs.Read(text)
	if err != nil {
		return fault.Wrap(fault.Unauthenticated, err, "The request you have made requires authentication.")
	}
	if !r.ExpiresAt.After(m.now()) || r.UserID != p.userID {
		return unauthenticated("the receipt has expired or is another user's")
	}
	revoked, err := m.store.Revoked(ctx, []string{"user:" + r.UserID}, r.IssuedAt)
	if err != nil {
		return err
	}
	if revoked {
		return unauthenticatedFor(errRevoked)
	}
	for _, name := range r.Methods {
		if !slices.Contains(p.methods, name) {
			p.methods = append(p.methods, name)
		}
	}
	return nil
}
