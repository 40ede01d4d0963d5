package manager

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
)

// byPassword checks a password. Unknown user, wrong password, locked, expired:
// all cost one hash and get one answer, but that an expired password is named
// to who knew it.
func (m *Manager) byPassword(ctx context.Context, p *proof, in *PasswordProof) error {
	if in == nil {
		return unauthenticated("no password")
	}
	u, err := m.CheckPassword(ctx, in.User, in.Password)
	if err != nil {
		return err
	}
	return p.is(u.ID)
}

// CheckPassword returns the user if the password is right.
func (m *Manager) CheckPassword(ctx context.Context, who UserRef, pw string) (*identity.User, error) {
	u, err := m.findUser(ctx, who)
	if err != nil {
		return nil, err
	}
	if u == nil {
		return nil, m.refuseUnknown(ctx, who, pw)
	}
	if u.Directory {
		return u, m.checkDirectoryPassword(ctx, u, pw)
	}
	pws, err := m.store.PasswordsOf(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	if len(pws) == 0 || pws[0].Hash == "" || m.rules.locked(u, m.now()) {
		m.hash.Dummy(pw)
		return nil, unauthenticated("no password, or the user is locked")
	}
	ok, err := m.hash.Verify(pw, pws[0].Hash)
	if err != nil {
		return nil, fmt.Errorf("verify password of %s: %w", u.ID, err)
	}
	if !ok {
		if m.rules.lockout > 0 {
			if err := m.store.AuthFailed(ctx, u.ID, m.now()); err != nil {
				return nil, err
			}
		}
		return nil, unauthenticated("wrong password")
	}
	if e := m.rules.expiry(u, &pws[0]); e != nil && !e.After(m.now()) {
		return nil, fault.New(fault.Unauthenticated, "The password is expired and must be changed for user: %s.", u.ID)
	}
	return u, m.noteLogin(ctx, u)
}

// refuseUnknown costs what a wrong password of the user would.
func (m *Manager) refuseUnknown(ctx context.Context, who UserRef, pw string) error {
	d, err := m.directoryOfUnknown(ctx, who)
	if err != nil {
		return err
	}
	if d == nil {
		m.hash.Dummy(pw)
		return unauthenticated("no such user")
	}
	if err := d.dir.BindNobody(ctx, pw); err != nil {
		return d.explain(err, "user", "")
	}
	return unauthenticated("no such user")
}

// directoryOfUnknown is the directory that the user would stand in. An id that
// is not known might be of any: one of them is as slow as another.
func (m *Manager) directoryOfUnknown(ctx context.Context, who UserRef) (*domainDirectory, error) {
	if who.ID == "" {
		domain, err := m.domainOf(ctx, who)
		if err != nil {
			return nil, err
		}
		return m.directoryOf(ctx, domain)
	}
	if !identity.MaybePublicID(who.ID) {
		return nil, nil
	}
	all, err := m.directories(ctx)
	if err != nil {
		return nil, err
	}
	for _, d := range all.by {
		if d.dir != nil {
			return d, nil
		}
	}
	return nil, nil
}

func (m *Manager) noteLogin(ctx context.Context, u *identity.User) error {
	var active *time.Time
	if m.rules.inactiveDays > 0 {
		day := m.now().Truncate(24 * time.Hour)
		if u.LastActiveAt == nil || u.LastActiveAt.Before(day) {
			active = &day
		}
	}
	if u.FailedAuths == 0 && active == nil {
		return nil
	}
	return m.store.AuthSucceeded(ctx, u.ID, active)
}

// passwordRules are the security compliance options.
type passwordRules struct {
	lockout, history, inactiveDays int
	lockFor, expires, minAge       time.Duration
	firstUse                       bool
	pattern                        *regexp.Regexp
	patternText                    string
}

func newPasswordRules(c *identity.Config) (*passwordRules, error) {
	s := &c.SecurityCompliance
	day := 24 * time.Hour
	r := &passwordRules{
		lockout: s.LockoutFailureAttempts, history: s.UniqueLastPasswordCount, inactiveDays: s.DisableUserInactivityDays,
		lockFor: time.Duration(s.LockoutDuration) * time.Second, expires: time.Duration(s.PasswordExpiresDays) * day,
		minAge: time.Duration(s.MinimumPasswordAge) * day, firstUse: s.ChangeUponFirstUse, patternText: s.PasswordRegexDescription,
	}
	if s.PasswordRegex != "" {
		var err error
		// re.match: anchored at the start alone.
		if r.pattern, err = regexp.Compile("^(?:" + s.PasswordRegex + ")"); err != nil {
			return nil, fmt.Errorf("security_compliance password_regex: %w", err)
		}
	}
	return r, nil
}

func (r *passwordRules) locked(u *identity.User, now time.Time) bool {
	return r.lockout > 0 && !u.Option(identity.OptionIgnoreLockout) && u.FailedAuths >= r.lockout &&
		u.FailedAuthAt != nil && now.Before(u.FailedAuthAt.Add(r.lockFor))
}

func (r *passwordRules) inactive(u *identity.User, now time.Time) bool {
	if r.inactiveDays == 0 || u.Option(identity.OptionIgnoreInactivity) {
		return false
	}
	last := u.CreatedAt
	if u.LastActiveAt != nil {
		last = *u.LastActiveAt
	}
	return now.Sub(last) > time.Duration(r.inactiveDays+1)*24*time.Hour
}

// expiry is when a password ends, or nil.
func (r *passwordRules) expiry(u *identity.User, p *identity.Password) *time.Time {
	if p.ExpiresAt == nil || u.Option(identity.OptionIgnorePasswordExpiry) {
		return nil
	}
	return p.ExpiresAt
}

// checkPattern refuses what the pattern does not allow.
func (r *passwordRules) checkPattern(pw string) error {
	if r.pattern != nil && !r.pattern.MatchString(pw) {
		return fault.Invalidf("The password does not match the requirements: %s.", r.patternText)
	}
	return nil
}

// setPassword stores a new password. self says that the user changed it.
func (m *Manager) setPassword(ctx context.Context, u *identity.User, pw, hash string, self bool) error {
	old, err := m.store.PasswordsOf(ctx, u.ID)
	if err != nil {
		return err
	}
	if self && m.rules.minAge > 0 && len(old) > 0 && old[0].SelfService && m.now().Before(old[0].CreatedAt.Add(m.rules.minAge)) {
		return fault.Invalidf("Cannot change password before minimum age is met.")
	}
	if self && m.rules.history > 1 {
		for _, o := range old[:min(len(old), m.rules.history-1)] {
			same, err := m.hash.Verify(pw, o.Hash)
			if err != nil {
				return err
			}
			if same {
				return fault.Invalidf("The new password cannot be identical to a previous password. The total number which includes the new password must be unique is %d.", m.rules.history)
			}
		}
	}
	now := m.now()
	if len(old) > 0 && !now.After(old[0].CreatedAt) {
		now = old[0].CreatedAt.Add(time.Microsecond)
	}
	p := identity.Password{ID: NewID(), UserID: u.ID, Hash: hash, SelfService: self, CreatedAt: now}
	switch {
	case !self && m.rules.firstUse && !u.Option(identity.OptionIgnoreChangePassword):
		p.ExpiresAt = &now
	case m.rules.expires > 0:
		e := now.Add(m.rules.expires)
		p.ExpiresAt = &e
	}
	if err := m.store.Passwords.Create(ctx, &p); err != nil {
		return err
	}
	return m.store.TrimPasswords(ctx, u.ID, max(m.rules.history, 1))
}

// ChangeOwnPassword changes a password for who knows the old one, even an
// expired one; no token is needed.
func (m *Manager) ChangeOwnPassword(ctx context.Context, userID, original, pw string) error {
	u, err := gone(m.userByID(ctx, userID))
	if err != nil {
		return err
	}
	if u == nil {
		m.hash.Dummy(original)
		return unauthenticated("no such user")
	}
	if _, _, err := m.activeUser(ctx, u.ID); err != nil {
		m.hash.Dummy(original)
		return err
	}
	_, err = m.CheckPassword(ctx, UserRef{ID: userID}, original)
	if err != nil && !expiredOnly(err) {
		return err
	}
	if u.Directory {
		return m.readOnly(ctx, u.DomainID)
	}
	if u.Option(identity.OptionLockPassword) {
		return fault.Invalidf("The password of this user may not be changed by the user.")
	}
	if pw == original && m.rules.history > 0 {
		return fault.Invalidf("The new password must differ from the old one.")
	}
	if err := m.rules.checkPattern(pw); err != nil {
		return err
	}
	hash, err := m.hash.Hash(pw)
	if err != nil {
		return err
	}
	return m.change(ctx, func(ctx context.Context) error {
		if err := m.setPassword(ctx, u, pw, hash, true); err != nil {
			return err
		}
		return m.revoke(ctx, identity.Revocation{UserID: identity.Ref(u.ID)})
	})
}

// expiredOnly reports whether a right password was refused for its age.
func expiredOnly(err error) bool {
	f, ok := fault.As(err)
	return ok && f.Kind == fault.Unauthenticated && f.Err == nil
}
