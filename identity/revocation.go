package identity

import "time"

// Revocation refuses the tokens that match all of its fields that are set and
// were issued no later than IssuedBefore.
type Revocation struct {
	ID            string    `db:"id"`
	MatchKey      string    `db:"match_key"`
	DomainID      Ref       `db:"domain_id"`
	ProjectID     Ref       `db:"project_id"`
	UserID        Ref       `db:"user_id"`
	TrustID       Ref       `db:"trust_id"`
	ConsumerID    Ref       `db:"consumer_id"`
	AccessTokenID Ref       `db:"access_token_id"`
	AppCredID     Ref       `db:"app_cred_id"`
	AuditID       Ref       `db:"audit_id"`
	ChainID       Ref       `db:"audit_chain_id"`
	IssuedBefore  time.Time `db:"issued_before"`
	RevokedAt     time.Time `db:"revoked_at"`
	// ForgetAt is when every token it could match has expired.
	ForgetAt time.Time `db:"forget_at"`
}

// Key says in one text which tokens the revocation matches. A token has a
// small, fixed set of such keys, so that checking one costs the same however
// many revocations there are.
func (r *Revocation) Key() string {
	switch {
	case r.AuditID != "":
		return "audit:" + string(r.AuditID)
	case r.ChainID != "":
		return "chain:" + string(r.ChainID)
	case r.TrustID != "":
		return "trust:" + string(r.TrustID)
	case r.AppCredID != "":
		return "app_cred:" + string(r.AppCredID)
	case r.AccessTokenID != "":
		return "access_token:" + string(r.AccessTokenID)
	case r.ConsumerID != "":
		return "consumer:" + string(r.ConsumerID)
	case r.UserID != "" && r.ProjectID != "":
		return "user:" + string(r.UserID) + "/project:" + string(r.ProjectID)
	case r.UserID != "":
		return "user:" + string(r.UserID)
	case r.ProjectID != "":
		return "project:" + string(r.ProjectID)
	default:
		return "domain:" + string(r.DomainID)
	}
}
