package identity

import "time"

// User is somebody who can log in.
type User struct {
	ID               string `db:"id" json:"id"`
	Name             string `db:"name" json:"name"`
	DomainID         string `db:"domain_id" json:"domain_id"`
	Description      string `db:"description" json:"description"`
	DefaultProjectID Ref    `db:"default_project_id" json:"default_project_id"`
	Enabled          bool   `db:"enabled" json:"enabled"`
	Options          Extra  `db:"options" json:"options"`
	Extra            Extra  `db:"extra" json:"-"`
	// UniqueName is what a domain holds once: the name of a local user, the
	// id of a federated one.
	UniqueName string    `db:"unique_name" json:"-"`
	CreatedAt  time.Time `db:"created_at" json:"-"`
	// LastActiveAt is the last login, for disable_user_account_days_inactive.
	LastActiveAt *time.Time `db:"last_active_at" json:"-"`
	// FailedAuths counts wrong passwords since the last right one.
	FailedAuths  int        `db:"failed_auths" json:"-"`
	FailedAuthAt *time.Time `db:"failed_auth_at" json:"-"`
	// Directory says that the user is an entry of the domain's directory, and
	// must be asked for there at every use.
	Directory bool `db:"-" json:"-"`
}

// Option reports whether a boolean user option is set.
func (u *User) Option(name string) bool {
	v, _ := u.Options[name].(bool)
	return v
}

// The options of a user that the service knows (resource options).
const (
	OptionIgnoreChangePassword  = "ignore_change_password_upon_first_use"
	OptionIgnorePasswordExpiry  = "ignore_password_expiry"
	OptionIgnoreLockout         = "ignore_lockout_failure_attempts"
	OptionIgnoreInactivity      = "ignore_user_inactivity"
	OptionLockPassword          = "lock_password"
	OptionMultiFactorEnabled    = "multi_factor_auth_enabled"
	OptionMultiFactorRules      = "multi_factor_auth_rules"
	OptionImmutable             = "immutable"
	SystemAll                   = "system"
	ActorUser                   = "user"
	ActorGroup                  = "group"
	TargetProject               = "project"
	TargetDomain                = "domain"
	TargetSystem                = "system"
	MethodPassword              = "password"
	MethodToken                 = "token"
	MethodTOTP                  = "totp"
	MethodMapped                = "mapped"
	MethodSAML2                 = "saml2"
	MethodOpenID                = "openid"
	MethodOAuth1                = "oauth1"
	MethodExternal              = "external"
	MethodApplicationCredential = "application_credential"
)

// Password is one entry of a user's history; the newest is in force.
type Password struct {
	ID          string     `db:"id"`
	UserID      string     `db:"user_id"`
	Hash        string     `db:"hash"`
	SelfService bool       `db:"self_service"`
	CreatedAt   time.Time  `db:"created_at"`
	ExpiresAt   *time.Time `db:"expires_at"`
}

// Group is a set of users.
type Group struct {
	ID          string `db:"id" json:"id"`
	Name        string `db:"name" json:"name"`
	DomainID    string `db:"domain_id" json:"domain_id"`
	Description string `db:"description" json:"description"`
	Extra       Extra  `db:"extra" json:"-"`
}

// Membership is one user in one group.
type Membership struct {
	GroupID string `db:"group_id"`
	UserID  string `db:"user_id"`
}
