package identity

import "time"

// Trust lets the trustee act with roles of the trustor on a project.
type Trust struct {
	ID            string     `db:"id" json:"id"`
	TrustorID     string     `db:"trustor_user_id" json:"trustor_user_id"`
	TrusteeID     string     `db:"trustee_user_id" json:"trustee_user_id"`
	ProjectID     Ref        `db:"project_id" json:"project_id"`
	Impersonation bool       `db:"impersonation" json:"impersonation"`
	ExpiresAt     *time.Time `db:"expires_at" json:"expires_at"`
	DeletedAt     *time.Time `db:"deleted_at" json:"deleted_at"`
	// RemainingUses is nil for a trust that can be used without bound.
	RemainingUses *int64 `db:"remaining_uses" json:"remaining_uses"`
	// RedelegationCount says how many trusts deep it may be handed on.
	RedelegationCount int   `db:"redelegation_count" json:"redelegation_count"`
	RedelegatedID     Ref   `db:"redelegated_trust_id" json:"redelegated_trust_id"`
	RoleIDs           List  `db:"role_ids" json:"-"`
	Extra             Extra `db:"extra" json:"-"`
}

// AppCredential lets a program log in as a user with some of the user's roles
// on one project.
type AppCredential struct {
	ID           string     `db:"id" json:"id"`
	Name         string     `db:"name" json:"name"`
	Description  string     `db:"description" json:"description"`
	UserID       string     `db:"user_id" json:"user_id"`
	ProjectID    string     `db:"project_id" json:"project_id"`
	System       Ref        `db:"system_scope" json:"system"`
	SecretHash   string     `db:"secret_hash" json:"-"`
	ExpiresAt    *time.Time `db:"expires_at" json:"expires_at"`
	Unrestricted bool       `db:"unrestricted" json:"unrestricted"`
	RoleIDs      List       `db:"role_ids" json:"-"`
	// RuleIDs are the access rules; Ruled tells an empty list (no request
	// is allowed) from none (all are).
	RuleIDs List `db:"rule_ids" json:"-"`
	Ruled   bool `db:"ruled" json:"-"`
}

// AccessRule is a kind of request that an application credential allows.
type AccessRule struct {
	ID      string `db:"id" json:"id"`
	UserID  string `db:"user_id" json:"-"`
	Service string `db:"service" json:"service"`
	Method  string `db:"http_method" json:"method"`
	Path    string `db:"url_path" json:"path"`
}

// Credential is a secret that the service keeps for a user: an EC2 key, a
// TOTP seed, a certificate. Blob is ciphertext in the database.
type Credential struct {
	ID        string `db:"id" json:"id"`
	UserID    string `db:"user_id" json:"user_id"`
	ProjectID Ref    `db:"project_id" json:"project_id"`
	Type      string `db:"credential_type" json:"type"`
	Blob      string `db:"encrypted_blob" json:"blob"`
	KeyHash   string `db:"key_hash" json:"-"` // of the key that encrypted it
	Extra     Extra  `db:"extra" json:"-"`
}

// Consumer is a program that may ask for OAuth1 tokens.
type Consumer struct {
	ID          string `db:"id" json:"id"`
	Description string `db:"description" json:"description"`
	Secret      string `db:"secret" json:"-"`
	Extra       Extra  `db:"extra" json:"-"`
}

// RequestToken is an OAuth1 request that a user may authorize.
type RequestToken struct {
	ID         string    `db:"id"`
	Secret     string    `db:"secret"`
	Verifier   string    `db:"verifier"`
	UserID     Ref       `db:"authorizing_user_id"`
	ProjectID  string    `db:"requested_project_id"`
	RoleIDs    List      `db:"role_ids"`
	ConsumerID string    `db:"consumer_id"`
	ExpiresAt  time.Time `db:"expires_at"`
}

// AccessToken is an authorized OAuth1 token.
type AccessToken struct {
	ID         string     `db:"id" json:"id"`
	Secret     string     `db:"secret" json:"-"`
	UserID     string     `db:"authorizing_user_id" json:"authorizing_user_id"`
	ProjectID  string     `db:"project_id" json:"project_id"`
	RoleIDs    List       `db:"role_ids" json:"-"`
	ConsumerID string     `db:"consumer_id" json:"consumer_id"`
	ExpiresAt  *time.Time `db:"expires_at" json:"expires_at"`
}
