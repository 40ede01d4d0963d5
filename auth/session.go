package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"golang.org/x/sync/singleflight"

	"github.com/tropocloud/tropo/fault"
)

// SessionOptions are a service's own credentials and its way to the others.
type SessionOptions struct {
	AuthURL     string // identity's versioned URL, ending in /v3
	Username    string
	Password    func() string // a function, so that it cannot be printed
	ProjectName string        // default "service"
	DomainID    string        // of user and project; default "default"
	Region      string        // default "RegionOne"
	// Transport carries all requests: rest.InProcess within one process,
	// TCP otherwise. nil: http.DefaultTransport.
	Transport http.RoundTripper
	// Endpoints, if not nil, is asked before the catalog where a service is.
	Endpoints FixedEndpoints
}

// Session holds a service's token, renewed before it expires, and makes
// clients of the other services' REST APIs from its catalog.
type Session struct {
	opts   SessionOptions
	client *http.Client
	flight singleflight.Group

	mu      sync.Mutex
	id      *Identity
	renewAt time.Time
	refused error // the last login, if identity refused it
	retryAt time.Time
}

// refusalPause is how long a refused login is not tried again: wrong
// credentials would lock the account and load identity.
const refusalPause = time.Second

// NewSession makes a session; it logs in on first use.
func NewSession(o SessionOptions) *Session {
	if o.ProjectName == "" {
		o.ProjectName = "service"
	}
	if o.DomainID == "" {
		o.DomainID = "default"
	}
	if o.Region == "" {
		o.Region = "RegionOne"
	}
	o.AuthURL = strings.TrimRight(o.AuthURL, "/")
	return &Session{opts: o, client: &http.Client{Transport: &patient{next: o.Transport, limit: headerTimeout}}}
}

// AuthURL is identity's versioned URL without a slash at the end.
func (s *Session) AuthURL() string { return s.opts.AuthURL }

// HTTP is the client that carries the session's requests.
func (s *Session) HTTP() *http.Client { return s.client }

// Token returns a token of the session's own user that is valid for at least
// five more minutes, or a quarter of its life where that is less.
func (s *Session) Token(ctx context.Context) (string, error) {
	id, err := s.Identity(ctx)
	if err != nil {
		return "", err
	}
	return id.Token, nil
}

// Identity returns the session's own identity, logging in where needed. A
// token that could not be renewed is used for as long as it is valid.
func (s *Session) Identity(ctx context.Context) (*Identity, error) {
	id, fresh := s.current()
	if fresh {
		return id, nil
	}
	answer := s.flight.DoChan("login", func() (any, error) {
		if id, fresh := s.current(); fresh { // another was faster
			return id, nil
		}
		return s.login(context.WithoutCancel(ctx))
	})
	var err error
	select {
	case a := <-answer:
		if a.Err == nil {
			return a.Val.(*Identity), nil
		}
		err = a.Err
	case <-ctx.Done():
		err = ctx.Err()
	}
	if id != nil && time.Until(id.ExpiresAt) > 30*time.Second {
		return id, nil
	}
	return nil, err
}

func (s *Session) current() (id *Identity, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id, s.id != nil && time.Now().Before(s.renewAt)
}

// Forget drops the session's token if it still is this one, so that the next
// call logs in again.
func (s *Session) Forget(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.id != nil && s.id.Token == token {
		s.id = nil
	}
}

func (s *Session) login(ctx context.Context) (*Identity, error) {
	s.mu.Lock()
	refused, retryAt := s.refused, s.retryAt
	s.mu.Unlock()
	if refused != nil && time.Now().Before(retryAt) {
		return nil, refused
	}
	type m = map[string]any
	domain := m{"id": s.opts.DomainID}
	body, err := json.Marshal(m{"auth": m{
		"identity": m{"methods": []string{"password"}, "password": m{"user": m{
			"name": s.opts.Username, "domain": domain, "password": s.opts.Password(),
		}}},
		"scope": m{"project": m{"name": s.opts.ProjectName, "domain": domain}},
	}})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.opts.AuthURL+"/auth/tokens", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := s.client.Do(req)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "The identity service is out of reach; try again.")
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(res.Body, 4<<20))
	if err != nil || res.StatusCode != http.StatusCreated {
		err := fault.Wrap(fault.Unavailable, errors.Join(err, fmt.Errorf("login of service user %s: %s", s.opts.Username, res.Status)),
			"The identity service does not accept this service's own credentials.")
		if res.StatusCode == http.StatusUnauthorized {
			s.mu.Lock()
			s.refused, s.retryAt = err, time.Now().Add(refusalPause)
			s.mu.Unlock()
		}
		return nil, err
	}
	id, err := ParseToken(b)
	if err != nil {
		return nil, err
	}
	id.Token = res.Header.Get("X-Subject-Token")
	life := time.Until(id.ExpiresAt)
	s.mu.Lock()
	s.id, s.refused = id, nil
	s.renewAt = id.ExpiresAt.Add(-min(5*time.Minute, life/4))
	s.mu.Unlock()
	return id, nil
}

// Service returns a client of another service's API that acts as this
// service. typ is a catalog type: compute, image, network, placement,
// identity, block-storage.
func (s *Session) Service(ctx context.Context, typ string) (*gophercloud.ServiceClient, error) {
	id, err := s.Identity(ctx)
	if err != nil {
		return nil, err
	}
	p := s.provider(id.Token)
	p.ReauthFunc = func(ctx context.Context) error {
		s.Forget(p.Token())
		fresh, err := s.Token(ctx)
		if err != nil {
			return err
		}
		p.SetToken(fresh)
		return nil
	}
	return s.connect(p, id.Catalog, typ)
}

// Caller returns a client that acts as the caller in ctx, with this service's
// token beside it (X-Service-Token), so that the other service knows who asks.
func (s *Session) Caller(ctx context.Context, typ string) (*gophercloud.ServiceClient, error) {
	caller := From(ctx)
	if caller == nil {
		return nil, fault.Unauthenticatedf("The request you have made requires authentication.")
	}
	own, err := s.Identity(ctx)
	if err != nil {
		return nil, err
	}
	c, err := s.connect(s.provider(caller.Token), own.Catalog, typ)
	if err != nil {
		return nil, err
	}
	c.MoreHeaders = map[string]string{"X-Service-Token": own.Token}
	return c, nil
}

func (s *Session) provider(token string) *gophercloud.ProviderClient {
	p := &gophercloud.ProviderClient{HTTPClient: *s.client}
	p.UseTokenLock()
	p.SetToken(token)
	return p
}

func (s *Session) connect(p *gophercloud.ProviderClient, catalog []CatalogEntry, typ string) (*gophercloud.ServiceClient, error) {
	p.EndpointLocator = func(gophercloud.EndpointOpts) (string, error) {
		if u := s.fixed(typ); u != "" {
			return gophercloud.NormalizeURL(u), nil
		}
		for _, e := range catalog {
			if e.Type != typ {
				continue
			}
			for _, ep := range e.Endpoints {
				if ep.Interface == "internal" && ep.RegionID == s.opts.Region {
					return gophercloud.NormalizeURL(ep.URL), nil
				}
			}
			for _, ep := range e.Endpoints {
				if ep.Interface == "public" && ep.RegionID == s.opts.Region {
					return gophercloud.NormalizeURL(ep.URL), nil
				}
			}
		}
		return "", fault.Unavailablef("The catalog has no %s service in region %s.", typ, s.opts.Region)
	}
	eo := gophercloud.EndpointOpts{Type: typ, Region: s.opts.Region}
	switch typ {
	case "network":
		return openstack.NewNetworkV2(p, eo)
	case "image":
		return openstack.NewImageV2(p, eo)
	case "identity":
		return openstack.NewIdentityV3(p, eo)
	case "placement":
		return openstack.NewPlacementV1(p, eo)
	case "compute":
		return openstack.NewComputeV2(p, eo)
	}
	url, err := p.EndpointLocator(eo)
	if err != nil {
		return nil, err
	}
	return &gophercloud.ServiceClient{ProviderClient: p, Endpoint: url, Type: typ}, nil
}

// Fault turns the error of another service's client into a fault of the same
// kind, with the message that the other service gave.
func Fault(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := fault.As(err); ok {
		return err
	}
	var u gophercloud.ErrUnexpectedResponseCode
	if !errors.As(err, &u) {
		if errors.Is(err, context.Canceled) {
			return err
		}
		return fault.Wrap(fault.Unavailable, err, "A service that this one needs is out of reach; try again.")
	}
	kind := map[int]fault.Kind{
		400: fault.Invalid, 401: fault.Unauthenticated, 403: fault.Forbidden, 404: fault.NotFound, 405: fault.NotAllowed,
		406: fault.NotAcceptable, 409: fault.Conflict, 410: fault.Gone, 412: fault.Precondition, 413: fault.TooLarge,
		415: fault.UnsupportedType, 422: fault.Unprocessable, 429: fault.OverQuota, 503: fault.Unavailable,
	}[u.Actual]
	if kind == "" {
		return fmt.Errorf("%s %s: %d: %s", u.Method, u.URL, u.Actual, u.Body)
	}
	msg, typ := message(u.Body)
	f := fault.Wrap(kind, err, "%s", msg)
	f.Type = typ
	return f
}

// message finds the human part (and the fault's type) in any service's error
// document.
func message(body []byte) (msg, typ string) {
	var doc any
	if json.Unmarshal(body, &doc) != nil {
		s := strings.TrimSpace(string(body))
		if s == "" || strings.HasPrefix(s, "<") {
			return "The request was refused by another service.", ""
		}
		if len(s) > 500 {
			s = strings.ToValidUTF8(s[:500], "") + "…"
		}
		return s, ""
	}
	var find func(v any) bool
	find = func(v any) bool {
		switch t := v.(type) {
		case map[string]any:
			for _, k := range []string{"message", "detail"} {
				if s, ok := t[k].(string); ok && s != "" {
					msg = s
					typ, _ = t["type"].(string)
					if c, ok := t["code"].(string); ok && typ == "" {
						typ = c
					}
					return true
				}
			}
			for _, x := range t {
				if find(x) {
					return true
				}
			}
		case []any:
			for _, x := range t {
				if find(x) {
					return true
				}
			}
		}
		return false
	}
	if !find(doc) {
		msg = "The request was refused by another service."
	}
	return msg, typ
}
