package identity

import (
	"sync"
	"time"
)

// Token is a validated token with all that its document tells. It is shared
// among requests and must not be changed.
type Token struct {
	Methods   []string
	AuditIDs  []string
	IssuedAt  time.Time
	ExpiresAt time.Time

	User       *User
	UserDomain *Project
	// PasswordExpiresAt is nil for a password that lasts, and for users
	// without one.
	PasswordExpiresAt *time.Time

	// At most one scope is set.
	Project       *Project
	ProjectDomain *Project
	Domain        *Project
	System        bool
	// AdminProject tells whether Project is the one that stands for the whole
	// cloud; nil where none is configured.
	AdminProject *bool

	Roles   []Role
	Catalog []CatalogEntry

	Trust       *Trust
	AppCred     *AppCredential
	AccessRules []AccessRule
	AccessToken *AccessToken
	// GroupIDs, ProviderID and ProtocolID are of a federated login.
	GroupIDs   []string
	ProviderID string
	ProtocolID string
	Thumbprint string

	memo sync.Map
	kin  *Token // nil: none
}

// ShareWith makes Common of t that of a token of the same user on the same
// scope, with the same roles and catalog.
func (t *Token) ShareWith(kin *Token) {
	if kin.kin != nil {
		kin = kin.kin
	}
	t.kin = kin
}

// Common is Memo for what is made of the roles and the catalog alone, which
// many tokens share. What f returns must not be changed.
func (t *Token) Common(name string, f func() (any, error)) (any, error) {
	if t.kin != nil {
		t = t.kin
	}
	if v, ok := t.memo.Load(name); ok {
		return v, nil
	}
	v, err := f()
	if err != nil {
		return nil, err
	}
	t.memo.Store(name, v)
	return v, nil
}

// CatalogEntry is a service with the endpoints that a token may see.
type CatalogEntry struct {
	Service   Service
	Endpoints []Endpoint
}

// Memo returns what f made for this token before, or calls it; for rendered
// forms of a token that is read over and over.
func (t *Token) Memo(name string, f func() ([]byte, error)) ([]byte, error) {
	if v, ok := t.memo.Load(name); ok {
		b, _ := v.([]byte)
		return b, nil
	}
	b, err := f()
	if err != nil {
		return nil, err
	}
	t.memo.Store(name, b)
	return b, nil
}

// Delegated reports whether the token stands for less than its user: it was
// made from a trust, an application credential or an OAuth1 token. Such a
// token must never gain anything.
func (t *Token) Delegated() bool {
	return t.Trust != nil || t.AppCred != nil || t.AccessToken != nil
}

// ChainID is the audit id of the first token of the chain.
func (t *Token) ChainID() string {
	if len(t.AuditIDs) == 0 {
		return ""
	}
	return t.AuditIDs[len(t.AuditIDs)-1]
}

// RevocationKeys are the keys of every revocation that could match a token
// (see Revocation.Key). They depend on what the token says alone.
func RevocationKeys(userID, userDomainID, projectID, projectDomainID, domainID, trustID, appCredID, accessTokenID, consumerID string, auditIDs []string) []string {
	keys := []string{"user:" + userID}
	add := func(kind, id string) {
		if id != "" {
			keys = append(keys, kind+id)
		}
	}
	add("project:", projectID)
	add("trust:", trustID)
	add("app_cred:", appCredID)
	add("access_token:", accessTokenID)
	add("consumer:", consumerID)
	if projectID != "" {
		keys = append(keys, "user:"+userID+"/project:"+projectID)
	}
	seen := map[string]bool{}
	for _, d := range []string{userDomainID, projectDomainID, domainID} {
		if d != "" && !seen[d] {
			seen[d] = true
			keys = append(keys, "domain:"+d)
		}
	}
	if len(auditIDs) > 0 {
		keys = append(keys, "audit:"+auditIDs[0], "chain:"+auditIDs[len(auditIDs)-1])
	}
	return keys
}
