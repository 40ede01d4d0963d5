package auth

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/tropocloud/tropo/fault"
)

// Validator turns a token into an identity. A token that is unknown, expired
// or revoked is fault.Unauthenticated; identity out of reach is
// fault.Unavailable.
type Validator interface {
	Validate(ctx context.Context, token string) (*Identity, error)
}

// Remote is a Validator that asks the identity API (GET /v3/auth/tokens).
type Remote struct {
	session *Session
}

// NewRemote validates through s, with s's own token as the asking one.
func NewRemote(s *Session) *Remote { return &Remote{session: s} }

var (
	_ Validator = (*Remote)(nil)
	_ Validator = (*Cache)(nil)
)

// Validate asks identity about the token.
func (r *Remote) Validate(ctx context.Context, token string) (*Identity, error) {
	for try := 0; ; try++ {
		own, err := r.session.Token(ctx)
		if err != nil {
			return nil, err
		}
		id, status, err := r.ask(ctx, own, token)
		if status == http.StatusUnauthorized && try == 0 {
			r.session.Forget(own) // our own token may have been revoked
			continue
		}
		return id, err
	}
}

func (r *Remote) ask(ctx context.Context, own, token string) (*Identity, int, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.session.AuthURL()+"/auth/tokens", nil)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("X-Auth-Token", own)
	req.Header.Set("X-Subject-Token", token)
	res, err := r.session.HTTP().Do(req)
	if err != nil {
		return nil, 0, fault.Wrap(fault.Unavailable, err, "The identity service is out of reach; try again.")
	}
	defer func() { _ = res.Body.Close() }()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusUnauthorized:
		return nil, res.StatusCode, fault.Unauthenticatedf("The request you have made requires authentication.")
	default:
		return nil, res.StatusCode, fault.Wrap(fault.Unavailable, fmt.Errorf("identity answered %s", res.Status), "The identity service cannot check the token now; try again.")
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, 4<<20))
	if err != nil {
		return nil, 0, fault.Wrap(fault.Unavailable, err, "The identity service is out of reach; try again.")
	}
	id, err := ParseToken(b)
	if err != nil {
		return nil, 0, err
	}
	id.Token = token
	id.Volatile = strings.Contains(res.Header.Get("Cache-Control"), "no-store")
	return id, res.StatusCode, nil
}

// ParseToken reads a token document, the body of GET or POST /v3/auth/tokens.
func ParseToken(body []byte) (*Identity, error) {
	type domain = Ref
	var doc struct {
		Token struct {
			User struct {
				Ref
				Domain            domain     `json:"domain"`
				PasswordExpiresAt *time.Time `json:"password_expires_at"`
			} `json:"user"`
			Project *struct {
				Ref
				Domain domain `json:"domain"`
			} `json:"project"`
			Domain   *domain         `json:"domain"`
			System   map[string]bool `json:"system"`
			IsDomain bool            `json:"is_domain"`
			IsAdmin  *bool           `json:"is_admin_project"`
			Roles    []Ref           `json:"roles"`
			Methods  []string        `json:"methods"`
			AuditIDs []string        `json:"audit_ids"`
			Issued   time.Time       `json:"issued_at"`
			Expires  time.Time       `json:"expires_at"`
			Catalog  []CatalogEntry  `json:"catalog"`
			Trust    *struct {
				ID      string `json:"id"`
				Trustor struct {
					ID string `json:"id"`
				} `json:"trustor_user"`
			} `json:"OS-TRUST:trust"`
			AppCred *struct {
				ID           string       `json:"id"`
				Restricted   bool         `json:"restricted"`
				Unrestricted *bool        `json:"unrestricted"`
				AccessRules  []AccessRule `json:"access_rules"`
			} `json:"application_credential"`
		} `json:"token"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, fmt.Errorf("read token document: %w", err)
	}
	t := doc.Token
	id := &Identity{
		User: t.User.Ref, UserDomain: t.User.Domain, PasswordExpiresAt: t.User.PasswordExpiresAt,
		Roles: t.Roles, Methods: t.Methods, AuditIDs: t.AuditIDs, IssuedAt: t.Issued, ExpiresAt: t.Expires,
		Catalog: t.Catalog, System: t.System["all"], IsDomainProject: t.IsDomain, AdminProject: t.IsAdmin,
	}
	if t.Project != nil {
		id.Project, id.ProjectDomain = t.Project.Ref, t.Project.Domain
	}
	if t.Domain != nil {
		id.Domain = *t.Domain
	}
	if t.Trust != nil {
		id.TrustID, id.TrustorID = t.Trust.ID, t.Trust.Trustor.ID
	}
	if a := t.AppCred; a != nil {
		id.AppCredentialID, id.AccessRules = a.ID, a.AccessRules
		id.AppCredUnrestrict = !a.Restricted && (a.Unrestricted == nil || *a.Unrestricted)
	}
	return id, nil
}

// Request authenticates an HTTP request by its X-Auth-Token, and its
// X-Service-Token where there is one. service is the type of the service
// asked ("compute"), against which access rules are matched, unless a service
// carries the request (as keystonemiddleware's auth_token does it).
func Request(r *http.Request, v Validator, service string) (*Identity, error) {
	token := r.Header.Get("X-Auth-Token")
	if token == "" {
		return nil, fault.Unauthenticatedf("The request you have made requires authentication.")
	}
	id, err := v.Validate(r.Context(), token)
	if err != nil {
		return nil, err
	}
	if st := r.Header.Get("X-Service-Token"); st != "" {
		s, err := v.Validate(r.Context(), st)
		if err != nil {
			return nil, err
		}
		both := *id
		both.Service = s
		id = &both
	}
	if id.AccessRules != nil && !chained(id) && !selfCheck(r, service) && !allowed(id.AccessRules, service, r.Method, r.URL.Path) {
		return nil, fault.Unauthenticatedf("The application credential's access rules do not allow this request.")
	}
	return id, nil
}

// chained reports whether a service carries on what a user asked of it: its
// request is not the one that access rules are about. (Upstream's middleware
// takes any service token for that; here it must have the service role, so
// that nobody gets rid of the rules by sending the token twice.)
func chained(id *Identity) bool { return id.Service != nil && id.Service.HasRole("service") }

// selfCheck reports whether a token is being validated, which access rules
// never forbid.
func selfCheck(r *http.Request, service string) bool {
	return service == "identity" && r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/v3/auth/tokens")
}

func allowed(rules []AccessRule, service, method, path string) bool {
	for _, a := range rules {
		if a.Service == service && a.Method == method && pathMatches(a.Path, path) {
			return true
		}
	}
	return false
}

// pathMatches compares with the patterns of access rules: {name} and * stand
// for one segment, ** for any number.
func pathMatches(pattern, path string) bool {
	return segmentsMatch(strings.Split(strings.Trim(pattern, "/"), "/"), strings.Split(strings.Trim(path, "/"), "/"))
}

func segmentsMatch(p, s []string) bool {
	for i, seg := range p {
		if seg == "**" {
			for j := i; j <= len(s); j++ {
				if segmentsMatch(p[i+1:], s[j:]) {
					return true
				}
			}
			return false
		}
		if i >= len(s) {
			return false
		}
		one := seg == "*" || strings.HasPrefix(seg, "{") && strings.HasSuffix(seg, "}")
		if !one && seg != s[i] {
			return false
		}
	}
	return len(p) == len(s)
}
