package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/manager"
	"github.com/tropocloud/tropo/rest"
)

func (a *API) authRoutes() []rest.Route {
	return []rest.Route{
		rest.GET("/", rest.Choices(http.StatusMultipleChoices, versions), rest.Open()),
		rest.GET("/v3", a.version, rest.Open()),
		rest.POST("/v3/auth/tokens", a.authenticate, rest.Open(), rest.Schema("auth"), rest.Status(http.StatusCreated)),
		rest.GET("/v3/auth/tokens", a.validateToken, a.on("identity:validate_token", loadSubject)),
		rest.HEAD("/v3/auth/tokens", a.validateToken, a.on("identity:check_token", loadSubject)),
		rest.DELETE("/v3/auth/tokens", a.revokeToken, a.on("identity:revoke_token", loadSubject)),
		rest.GET("/v3/auth/tokens/OS-PKI/revoked", gone("The revocation list of PKI tokens is gone."), rest.Open()),
		rest.GET("/v3/auth/catalog", a.authCatalog, a.on("identity:get_auth_catalog")),
		rest.GET("/v3/auth/projects", a.authProjects, a.on("identity:get_auth_projects")),
		rest.GET("/v3/OS-FEDERATION/projects", a.authProjects, a.on("identity:get_auth_projects")),
		rest.GET("/v3/auth/domains", a.authDomains, a.on("identity:get_auth_domains")),
		rest.GET("/v3/OS-FEDERATION/domains", a.authDomains, a.on("identity:get_auth_domains")),
		rest.GET("/v3/auth/system", a.authSystem, a.on("identity:get_auth_system")),
		rest.GET("/v3/OS-REVOKE/events", a.revokeEvents, a.on("identity:list_revoke_events")),
		rest.GET("/v3/OS-SIMPLE-CERT/ca", gone("This API is no longer available due to the removal of support for PKI tokens."), rest.Open()),
		rest.GET("/v3/OS-SIMPLE-CERT/certificates", gone("This API is no longer available due to the removal of support for PKI tokens."), rest.Open()),
	}
}

// gone answers for what the API had once.
func gone(message string) rest.Handler {
	return func(*rest.Request) (any, error) { return nil, fault.New(fault.Gone, "%s", message) }
}

// authDocument is the body of POST /v3/auth/tokens.
type authDocument struct {
	Auth struct {
		Identity struct {
			Methods  []string `json:"methods"`
			Password *struct {
				User userDocument `json:"user"`
			} `json:"password"`
			TOTP *struct {
				User userDocument `json:"user"`
			} `json:"totp"`
			Token *struct {
				ID string `json:"id"`
			} `json:"token"`
			AppCred *struct {
				ID     string       `json:"id"`
				Name   string       `json:"name"`
				Secret string       `json:"secret"`
				User   userDocument `json:"user"`
			} `json:"application_credential"`
		} `json:"identity"`
		Scope json.RawMessage `json:"scope"`
	} `json:"auth"`
}

type named struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type userDocument struct {
	named
	Domain   named  `json:"domain"`
	Password string `json:"password"`
	Passcode string `json:"passcode"`
}

func (u userDocument) ref() manager.UserRef {
	return manager.UserRef{ID: u.ID, Name: u.Name, DomainID: u.Domain.ID, DomainName: u.Domain.Name}
}

func (d *authDocument) request() (manager.AuthRequest, error) {
	i := &d.Auth.Identity
	in := manager.AuthRequest{Methods: i.Methods}
	if i.Password != nil {
		in.Password = &manager.PasswordProof{User: i.Password.User.ref(), Password: i.Password.User.Password}
	}
	if i.TOTP != nil {
		in.TOTP = &manager.PasscodeProof{User: i.TOTP.User.ref(), Passcode: i.TOTP.User.Passcode}
	}
	if i.Token != nil {
		in.Token = i.Token.ID
	}
	if c := i.AppCred; c != nil {
		in.AppCred = &manager.AppCredProof{ID: c.ID, Name: c.Name, Secret: c.Secret, User: c.User.ref()}
	}
	var err error
	in.Scope, err = scope(d.Auth.Scope)
	return in, err
}

func scope(raw json.RawMessage) (manager.Scope, error) {
	var s manager.Scope
	if len(raw) == 0 {
		return s, nil
	}
	if string(raw) == `"unscoped"` {
		return manager.Scope{Unscoped: true}, nil
	}
	var in struct {
		Project *struct {
			named
			Domain named `json:"domain"`
		} `json:"project"`
		Domain   *named          `json:"domain"`
		System   map[string]bool `json:"system"`
		Trust    *named          `json:"OS-TRUST:trust"`
		Unscoped *struct{}       `json:"unscoped"`
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return s, fault.Invalidf("Invalid input for field/attribute scope.")
	}
	n := 0
	if p := in.Project; p != nil {
		n++
		s.HasProject, s.ProjectID, s.ProjectName, s.ProjectDomainID, s.ProjectDomain = true, p.ID, p.Name, p.Domain.ID, p.Domain.Name
	}
	if d := in.Domain; d != nil {
		n++
		s.HasDomain, s.DomainID, s.DomainName = true, d.ID, d.Name
	}
	if in.System != nil {
		n++
		s.System = in.System["all"]
	}
	if in.Trust != nil {
		n++
		s.TrustID = in.Trust.ID
	}
	if in.Unscoped != nil {
		n++
		s.Unscoped = true
	}
	if n > 1 {
		return s, fault.Invalidf("Invalid input for field/attribute scope. A token has one scope.")
	}
	return s, nil
}

func (a *API) authenticate(r *rest.Request) (any, error) {
	var d authDocument
	if err := r.Decode(&d); err != nil {
		return nil, err
	}
	in, err := d.request()
	if err != nil {
		return nil, err
	}
	in.OAuth1, in.Receipt = oauthProof(r), r.Header(receiptHeader)
	return a.answerToken(r, in)
}

// answerToken authenticates and answers with the token's document.
func (a *API) answerToken(r *rest.Request, in manager.AuthRequest) (any, error) {
	text, t, err := a.m.Authenticate(r.Context(), in)
	var more *manager.MoreFactors
	if errors.As(err, &more) {
		return receiptResponse(more), nil
	}
	if err != nil {
		return nil, err
	}
	return tokenResponse(r, text, t, http.StatusCreated)
}

// receiptHeader carries a receipt both ways.
const receiptHeader = "Openstack-Auth-Receipt"

// receiptResponse tells who passed some of several factors which are needed.
func receiptResponse(e *manager.MoreFactors) *rest.Response {
	return &rest.Response{
		Status: http.StatusUnauthorized, Header: http.Header{receiptHeader: {e.Text}},
		Body: doc{
			"receipt": doc{
				"methods": e.Receipt.Methods, "issued_at": stamp(e.Receipt.IssuedAt), "expires_at": stamp(e.Receipt.ExpiresAt),
				"user": doc{"id": e.User.ID, "name": e.User.Name, "domain": pair(e.UserDomain)},
			},
			"required_auth_methods": e.Rules,
		},
	}
}

func tokenResponse(r *rest.Request, text string, t *identity.Token, status int) (any, error) {
	b, err := renderToken(t, !r.Query().Has("nocatalog"))
	if err != nil {
		return nil, err
	}
	return &rest.Response{Status: status, Body: b, Header: http.Header{
		"Content-Type": {"application/json"}, "X-Subject-Token": {text}, "Vary": {"X-Auth-Token"},
	}}, nil
}

func (a *API) validateToken(r *rest.Request) (any, error) {
	if manager.Live(found(r).token) {
		r.Answer().Set("Cache-Control", "no-store")
	}
	return tokenResponse(r, r.Header("X-Subject-Token"), found(r).token, http.StatusOK)
}

func (a *API) revokeToken(r *rest.Request) (any, error) {
	return nil, a.m.RevokeToken(r.Context(), r.Header("X-Subject-Token"), false)
}

func (a *API) authCatalog(r *rest.Request) (any, error) {
	t, err := a.caller(r)
	if err != nil {
		return nil, err
	}
	c, err := a.m.Catalog(r.Context(), t)
	if err != nil {
		return nil, err
	}
	return doc{"catalog": viewCatalog(c), "links": doc{"self": r.Link("/v3/auth/catalog"), "next": nil, "previous": nil}}, nil
}

// caller is the caller's token with all that it means.
func (a *API) caller(r *rest.Request) (*identity.Token, error) {
	return a.m.Token(r.Context(), r.Caller().Token)
}

func (a *API) authProjects(r *rest.Request) (any, error) {
	t, err := a.caller(r)
	if err != nil {
		return nil, err
	}
	list, err := a.m.ReachableProjects(r.Context(), t.User.ID, t.GroupIDs)
	if err != nil {
		return nil, err
	}
	return viewProjects(r, list), nil
}

func (a *API) authDomains(r *rest.Request) (any, error) {
	t, err := a.caller(r)
	if err != nil {
		return nil, err
	}
	list, err := a.m.ReachableDomains(r.Context(), t.User.ID, t.GroupIDs)
	if err != nil {
		return nil, err
	}
	return viewDomains(r, list), nil
}

func (a *API) authSystem(r *rest.Request) (any, error) {
	t, err := a.caller(r)
	if err != nil {
		return nil, err
	}
	ok, err := a.m.ReachesSystem(r.Context(), t.User.ID, t.GroupIDs)
	system := []doc{}
	if ok {
		system = append(system, doc{"all": true})
	}
	return doc{"system": system, "links": doc{"self": r.Link("/v3/auth/system")}}, err
}

func (a *API) revokeEvents(r *rest.Request) (any, error) {
	var since time.Time
	if s := r.Query().Get("since"); s != "" {
		t, err := parseTime("since", s)
		if err != nil {
			return nil, err
		}
		since = *t
	}
	list, err := a.m.Revocations(r.Context(), since)
	if err != nil {
		return nil, err
	}
	events := make([]doc, len(list))
	for i, e := range list {
		d := doc{"issued_before": stamp(e.IssuedBefore)}
		for k, v := range map[string]identity.Ref{
			"OS-TRUST:trust_id": e.TrustID, "OS-OAUTH1:consumer_id": e.ConsumerID, "OS-OAUTH1:access_token_id": e.AccessTokenID,
			"user_id": e.UserID, "project_id": e.ProjectID, "domain_id": e.DomainID, "audit_id": e.AuditID, "audit_chain_id": e.ChainID,
		} {
			if v != "" {
				d[k] = v
			}
		}
		events[i] = d
	}
	return doc{"events": events, "links": doc{"next": nil, "self": r.Link("/v3/OS-REVOKE/events"), "previous": nil}}, nil
}

func versionDoc(r *rest.Request) doc {
	return doc{
		"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z",
		"links":       []doc{{"rel": "self", "href": r.Link("/v3/")}},
		"media-types": []doc{{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}},
	}
}

func versions(r *rest.Request) any {
	if strings.Contains(r.Header("Accept"), "application/json-home") {
		return homeDocument()
	}
	return doc{"versions": doc{"values": []doc{versionDoc(r)}}}
}

func (a *API) version(r *rest.Request) (any, error) {
	if strings.Contains(r.Header("Accept"), "application/json-home") {
		return &rest.Response{Body: homeDocument(), Header: http.Header{"Content-Type": {"application/json-home"}}}, nil
	}
	return doc{"version": versionDoc(r)}, nil
}
