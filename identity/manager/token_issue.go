package manager

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"time"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/token"
)

// UserRef names a user: by id, or by name and domain (id or name).
type UserRef struct{ ID, Name, DomainID, DomainName string }

// PasswordProof is a user with a password.
type PasswordProof struct {
	User     UserRef
	Password string
}

// PasscodeProof is a user with a one-time password.
type PasscodeProof struct {
	User     UserRef
	Passcode string
}

// AppCredProof is an application credential, by id or by name and user.
type AppCredProof struct {
	ID, Name string
	User     UserRef
	Secret   string
}

// Scope says what a token is to be for; the zero value: the user's default
// project if there is one.
type Scope struct {
	Unscoped bool
	System   bool
	TrustID  string
	// Project by id, or by name and domain.
	ProjectID, ProjectName           string
	ProjectDomainID, ProjectDomain   string
	DomainID, DomainName             string
	HasProject, HasDomain, HasSystem bool
}

// AuthRequest is what a client sent to get a token.
type AuthRequest struct {
	Methods  []string
	Password *PasswordProof
	TOTP     *PasscodeProof
	AppCred  *AppCredProof
	Token    string
	OAuth1   *OAuthProof
	Mapped   *MappedProof
	Receipt  string // of an earlier request that passed other factors
	Scope    Scope
}

// proof is what the methods found out.
type proof struct {
	userID  string
	methods []string
	// expires bounds the new token, where an older one was its proof.
	expires  time.Time
	chain    string
	from     *identity.Token
	appCred  *identity.AppCredential
	access   *identity.AccessToken
	groups   []string
	provider string
	protocol string
}

// Authenticate checks the proofs of a request and makes a token. Whatever is
// wrong with a proof, the answer is the same fault.Unauthenticated.
func (m *Manager) Authenticate(ctx context.Context, r AuthRequest) (string, *identity.Token, error) {
	p, err := m.prove(ctx, r)
	if err != nil {
		return "", nil, err
	}
	var u *identity.User
	if p.from != nil { // its token was just found valid
		u = p.from.User
	} else if u, _, err = m.activeUser(ctx, p.userID); err != nil {
		return "", nil, err
	}
	if u.Directory && p.from == nil {
		if err := m.noteDirectoryUser(ctx, u); err != nil {
			return "", nil, err
		}
	}
	if err := m.withReceipt(ctx, p, r.Receipt); err != nil {
		return "", nil, err
	}
	if err := m.enoughFactors(ctx, u, p.methods); err != nil {
		return "", nil, err
	}
	pay, err := m.payload(ctx, u, p, r.Scope)
	if err != nil {
		return "", nil, err
	}
	return m.issue(ctx, pay)
}

// issue makes a token of a payload, if the payload is valid, and remembers it.
//
// Tokens know their time in whole seconds, and a revocation covers all of its
// second. Who proved who they are after one (by the new password, in the same
// second) gets a token of the next second.
func (m *Manager) issue(ctx context.Context, pay *token.Payload) (string, *identity.Token, error) {
	pay.IssuedAt = pay.IssuedAt.Truncate(time.Second)
	pay.ExpiresAt = pay.ExpiresAt.Truncate(time.Second)
	c, err := m.examine(ctx, pay)
	if errors.Is(err, errRevoked) {
		pay.IssuedAt = pay.IssuedAt.Add(time.Second)
		c, err = m.examine(ctx, pay)
	}
	if err != nil {
		return "", nil, err
	}
	text, err := m.tokens.Make(pay)
	if err != nil {
		return "", nil, err
	}
	c.id.Token = text
	m.remember(sha256.Sum256([]byte(text)), c)
	return text, c.token, nil
}

// prove runs every method of the request; all must speak of one user.
func (m *Manager) prove(ctx context.Context, r AuthRequest) (*proof, error) {
	p := &proof{}
	if len(r.Methods) == 0 {
		return nil, unauthenticated("no method")
	}
	for _, name := range r.Methods {
		if !slices.Contains(m.cfg.Auth.Methods, name) && name != identity.MethodSAML2 && name != identity.MethodOpenID {
			return nil, fault.New(fault.Unauthenticated, "Attempted to authenticate with an unsupported method.")
		}
		var err error
		switch name {
		case identity.MethodPassword:
			err = m.byPassword(ctx, p, r.Password)
		case identity.MethodToken:
			err = m.byToken(ctx, p, r.Token)
		case identity.MethodTOTP:
			err = m.byTOTP(ctx, p, r.TOTP)
		case identity.MethodApplicationCredential:
			err = m.byAppCred(ctx, p, r.AppCred)
		case identity.MethodOAuth1:
			err = m.byOAuth1(ctx, p, r.OAuth1)
		case identity.MethodMapped, identity.MethodSAML2, identity.MethodOpenID:
			err = m.byMapping(ctx, p, r.Mapped)
			name = identity.MethodMapped
		default: // external: only a trusted front end could vouch (threats 36)
			err = unauthenticated("no proof for method " + name)
		}
		if err != nil {
			return nil, err
		}
		if !slices.Contains(p.methods, name) {
			p.methods = append(p.methods, name)
		}
	}
	return p, nil
}

// is notes whom a method proved.
func (p *proof) is(userID string) error {
	if p.userID != "" && p.userID != userID {
		return unauthenticated("the methods speak of different users")
	}
	p.userID = userID
	return nil
}

// findUser returns the user that a reference names, or nil where there is none.
func (m *Manager) findUser(ctx context.Context, r UserRef) (*identity.User, error) {
	if r.ID != "" {
		return gone(m.userByID(ctx, r.ID))
	}
	domain, err := m.domainOf(ctx, r)
	if r.Name == "" || domain == "" || err != nil {
		return nil, err
	}
	d, err := m.directoryOf(ctx, domain)
	if err != nil {
		return nil, err
	}
	if d != nil {
		return gone(m.directoryUser(ctx, d, r.Name))
	}
	return gone(m.store.Users.One(ctx, identity.By("unique_name", r.Name).And("domain_id", domain)))
}

// domainOf is the id of the domain that a reference names, "" where there is
// none.
func (m *Manager) domainOf(ctx context.Context, r UserRef) (string, error) {
	if r.DomainID != "" || r.DomainName == "" {
		return r.DomainID, nil
	}
	id, err := m.store.ProjectID(ctx, "", r.DomainName, true)
	if fault.Is(err, fault.NotFound) {
		return "", nil
	}
	return id, err
}

// gone turns NotFound into nil.
func gone[T any](v *T, err error) (*T, error) {
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	return v, err
}

// byToken takes an older token as the proof. The new one ends with it, and is
// revoked with its chain.
func (m *Manager) byToken(ctx context.Context, p *proof, text string) error {
	if text == "" {
		return unauthenticated("no token")
	}
	t, err := m.Token(ctx, text)
	if err != nil {
		return err
	}
	if t.Delegated() || t.Thumbprint != "" { // nor does one that is bound to a certificate get rid of it
		return fault.Forbiddenf("You are not authorized to perform the requested action: rescope a token of a trust, an application credential or OAuth.")
	}
	if !m.cfg.Token.AllowRescopeScopedToken && (t.Project != nil || t.Domain != nil || t.System) {
		return fault.Forbiddenf("You are not authorized to perform the requested action: rescope a scoped token.")
	}
	if err := p.is(t.User.ID); err != nil {
		return err
	}
	p.from, p.expires, p.chain = t, t.ExpiresAt, t.ChainID()
	p.groups, p.provider, p.protocol = t.GroupIDs, t.ProviderID, t.ProtocolID
	for _, name := range t.Methods {
		if !slices.Contains(p.methods, name) {
			p.methods = append(p.methods, name)
		}
	}
	return nil
}

// payload decides the scope and the life of the new token.
func (m *Manager) payload(ctx context.Context, u *identity.User, p *proof, s Scope) (*token.Payload, error) {
	now := m.now()
	pay := &token.Payload{
		UserID: u.ID, Methods: p.methods, AuditIDs: []string{token.NewAuditID()},
		IssuedAt: now, ExpiresAt: now.Add(m.cfg.TokenLife()), GroupIDs: p.groups, ProviderID: p.provider, ProtocolID: p.protocol,
	}
	if p.chain != "" {
		pay.AuditIDs = append(pay.AuditIDs, p.chain)
	}
	if !p.expires.IsZero() && p.expires.Before(pay.ExpiresAt) {
		pay.ExpiresAt = p.expires // never longer than its proof (CVE-2026-44394)
	}
	switch {
	case p.appCred != nil:
		return pay, m.scopeAppCred(pay, p.appCred, s)
	case p.access != nil:
		pay.ProjectID, pay.AccessTokenID = p.access.ProjectID, p.access.ID
		if e := p.access.ExpiresAt; e != nil && e.Before(pay.ExpiresAt) {
			pay.ExpiresAt = *e
		}
		return pay, nil
	case s.TrustID != "":
		return pay, m.scopeTrust(ctx, pay, u, s)
	}
	return pay, m.scope(ctx, pay, u, s)
}

func (m *Manager) scope(ctx context.Context, pay *token.Payload, u *identity.User, s Scope) error {
	switch {
	case s.System:
		pay.System = true
	case s.HasProject:
		project, err := m.findProject(ctx, s)
		if err != nil {
			return err
		}
		pay.ProjectID = project
	case s.HasDomain:
		q := identity.By("is_domain", true)
		if s.DomainID != "" {
			q = q.And("id", s.DomainID)
		} else {
			q = q.And("name", s.DomainName)
		}
		d, err := m.store.Projects.One(ctx, q)
		if err != nil {
			return notFoundAs(err, "no such domain")
		}
		pay.DomainID = d.ID
	case !s.Unscoped && u.DefaultProjectID != "":
		return m.scopeDefault(ctx, pay, u)
	}
	return nil
}

func (m *Manager) findProject(ctx context.Context, s Scope) (string, error) {
	if s.ProjectID != "" {
		return s.ProjectID, nil
	}
	domain := s.ProjectDomainID
	if domain == "" {
		var err error
		if domain, err = m.store.ProjectID(ctx, "", s.ProjectDomain, true); err != nil {
			return "", notFoundAs(err, "no such domain")
		}
	}
	id, err := m.store.ProjectID(ctx, domain, s.ProjectName, false)
	if err != nil {
		return "", notFoundAs(err, "no such project")
	}
	return id, nil
}

// scopeDefault takes the user's default project, if it can be had; else the
// token is unscoped.
func (m *Manager) scopeDefault(ctx context.Context, pay *token.Payload, u *identity.User) error {
	p, _, err := m.activeProject(ctx, string(u.DefaultProjectID))
	if fault.Is(err, fault.Unauthenticated) {
		return nil
	}
	if err != nil {
		return err
	}
	ids, err := m.roleIDs(ctx, u.ID, pay.GroupIDs, p, nil, false)
	if err == nil && len(ids) > 0 {
		pay.ProjectID = p.ID
	}
	return err
}
