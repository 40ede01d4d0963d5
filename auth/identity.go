// Package auth says who is calling: the identity behind a token, the checks
// that turn a token into one, and the sessions with which a service calls
// another under its own or its caller's token.
package auth

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/tropocloud/tropo/policy"
)

// Ref names a thing by id and name.
type Ref struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Endpoint is one address of a catalog entry.
type Endpoint struct {
	ID        string `json:"id"`
	Interface string `json:"interface"` // public, internal, admin
	Region    string `json:"region"`
	RegionID  string `json:"region_id"`
	URL       string `json:"url"`
}

// CatalogEntry is one service of the catalog.
type CatalogEntry struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Type      string     `json:"type"`
	Endpoints []Endpoint `json:"endpoints"`
}

// AccessRule limits an application credential to one kind of request.
type AccessRule struct {
	ID      string `json:"id,omitempty"`
	Service string `json:"service"`
	Method  string `json:"method"`
	Path    string `json:"path"`
}

// Identity is the caller as its validated token tells. It is read-only:
// caches share it among requests.
type Identity struct {
	// Token is the token itself, to act as the caller in other services.
	Token string

	User       Ref
	UserDomain Ref
	// Exactly one of Project, Domain, System is set, or none for an
	// unscoped token.
	Project       Ref
	ProjectDomain Ref
	Domain        Ref
	System        bool

	Roles     []Ref
	Methods   []string
	AuditIDs  []string
	IssuedAt  time.Time
	ExpiresAt time.Time
	Catalog   []CatalogEntry

	// TrustID and AppCredentialID are set for delegated tokens.
	TrustID           string
	TrustorID         string
	AppCredentialID   string
	AppCredUnrestrict bool
	AccessRules       []AccessRule // nil: none; non-nil: only these requests
	IsDomainProject   bool
	AdminProject      *bool // whether the project stands for the whole cloud; nil: the cloud has no such
	PasswordExpiresAt *time.Time
	Service           *Identity // who carries the request (X-Service-Token)
	// Volatile says that the answer must not be remembered: what it rests on
	// can end without anybody being told (a user of a directory).
	Volatile           bool
	ValidatedFromCache bool // for the birth timeline: no call was needed
}

// String names the caller without its token, for whatever prints it.
func (i *Identity) String() string {
	if i == nil {
		return "nobody"
	}
	switch {
	case i.System:
		return "user " + i.User.ID + " of the system"
	case i.Project.ID != "":
		return "user " + i.User.ID + " in project " + i.Project.ID
	case i.Domain.ID != "":
		return "user " + i.User.ID + " in domain " + i.Domain.ID
	}
	return "user " + i.User.ID
}

// LogValue keeps the token out of logs.
func (i *Identity) LogValue() slog.Value { return slog.StringValue(i.String()) }

// HasRole reports whether the caller has a role of this name.
func (i *Identity) HasRole(name string) bool {
	for _, r := range i.Roles {
		if strings.EqualFold(r.Name, name) {
			return true
		}
	}
	return false
}

// RoleNames returns the names of the caller's roles.
func (i *Identity) RoleNames() []string {
	names := make([]string, len(i.Roles))
	for n, r := range i.Roles {
		names[n] = r.Name
	}
	return names
}

// IsAdmin reports whether the caller has the admin role. Rules decide what it
// may do; this is for what a rule cannot express (all_tenants, hidden fields).
func (i *Identity) IsAdmin() bool { return i.HasRole("admin") }

// Delegated reports whether the token was made from a trust or an application
// credential, and so must never gain anything (threats.md, defence d).
func (i *Identity) Delegated() bool { return i.TrustID != "" || i.AppCredentialID != "" }

// Creds returns the caller as the policy language sees it.
func (i *Identity) Creds() policy.Creds {
	c := policy.Creds{
		UserID: i.User.ID, UserDomainID: i.UserDomain.ID,
		ProjectID: i.Project.ID, ProjectDomainID: i.ProjectDomain.ID,
		DomainID: i.Domain.ID, Roles: i.RoleNames(), IsAdmin: i.IsAdmin(),
	}
	c.TokenDocument = i.tokenDocument
	if i.System {
		c.SystemScope = "all"
	}
	if i.AdminProject != nil {
		c.Extra = map[string]any{"is_admin_project": *i.AdminProject}
	}
	if s := i.Service; s != nil {
		c.ServiceUserID, c.ServiceUserDomainID = s.User.ID, s.UserDomain.ID
		c.ServiceProjectID, c.ServiceProjectDomainID = s.Project.ID, s.ProjectDomain.ID
		c.ServiceRoles = s.RoleNames()
	}
	return c
}

type callerKey struct{}

// With puts the caller into the context.
func With(ctx context.Context, i *Identity) context.Context {
	return context.WithValue(ctx, callerKey{}, i)
}

// From returns the caller, or nil where nobody was authenticated.
func From(ctx context.Context) *Identity {
	i, _ := ctx.Value(callerKey{}).(*Identity)
	return i
}
