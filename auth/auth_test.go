package auth_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/fault"
)

// counting validates every token but "bad" and counts how often it is asked.
type counting struct{ n atomic.Int32 }

func (c *counting) Validate(_ context.Context, token string) (*auth.Identity, error) {
	c.n.Add(1)
	if token == "bad" {
		return nil, fault.Unauthenticatedf("no")
	}
	id := &auth.Identity{Token: token, ExpiresAt: time.Now().Add(time.Hour)}
	if token == "limited" {
		id.AccessRules = []auth.AccessRule{{Service: "compute", Method: "GET", Path: "/v2.1/servers/**"}}
	}
	return id, nil
}

func TestCacheRemembersUntilFlushOrTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &counting{}
		c := auth.NewCache(next, 10*time.Second)
		ask := func(wantAsked int32, wantCached bool) {
			t.Helper()
			id, err := c.Validate(t.Context(), "a")
			if err != nil || id.ValidatedFromCache != wantCached || next.n.Load() != wantAsked {
				t.Errorf("asked %d times, cached %v, err %v; want %d, %v", next.n.Load(), id.ValidatedFromCache, err, wantAsked, wantCached)
			}
		}
		ask(1, false)
		ask(1, true)
		c.Flush()
		ask(2, false)
		time.Sleep(11 * time.Second)
		ask(3, false)
	})
}

func TestCacheDoesNotRememberRefusals(t *testing.T) {
	next := &counting{}
	c := auth.NewCache(next, 0)
	for range 2 {
		if _, err := c.Validate(t.Context(), "bad"); !fault.Is(err, fault.Unauthenticated) {
			t.Error(err)
		}
	}
	if next.n.Load() != 2 {
		t.Errorf("asked %d times", next.n.Load())
	}
}

// TestFlushDuringValidation: an answer that was under way when a revocation
// came must not be remembered.
func TestFlushDuringValidation(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	n := 0
	c := auth.NewCache(validatorFunc(func() (*auth.Identity, error) {
		n++
		once.Do(func() { close(entered); <-release })
		return &auth.Identity{ExpiresAt: time.Now().Add(time.Hour)}, nil
	}), 0)
	done := make(chan struct{})
	go func() { defer close(done); _, _ = c.Validate(context.Background(), "a") }()
	<-entered
	c.Flush()
	close(release)
	<-done
	if _, err := c.Validate(t.Context(), "a"); err != nil || n != 2 {
		t.Errorf("asked %d times, %v; want 2", n, err)
	}
}

type validatorFunc func() (*auth.Identity, error)

func (f validatorFunc) Validate(context.Context, string) (*auth.Identity, error) { return f() }

func TestAccessRules(t *testing.T) {
	for _, tt := range []struct {
		method, path string
		ok           bool
	}{
		{"GET", "/v2.1/servers", true},
		{"GET", "/v2.1/servers/1/ips", true},
		{"GET", "/v2.1/flavors", false},
		{"DELETE", "/v2.1/servers/1", false},
	} {
		r, err := http.NewRequestWithContext(t.Context(), tt.method, "http://c"+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Auth-Token", "limited")
		if _, err := auth.Request(r, &counting{}, "compute"); (err == nil) != tt.ok {
			t.Errorf("%s %s: %v", tt.method, tt.path, err)
		}
		if _, err := auth.Request(r, &counting{}, "image"); err == nil {
			t.Errorf("%s %s of another service was let in", tt.method, tt.path)
		}
	}
}

// keystone plays identity for a session.
type keystone struct {
	logins atomic.Int32
	reject atomic.Bool // the current own token
}

func (k *keystone) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer func() { _ = r.Body.Close() }()
	}
	answer := func(code int, h http.Header, body any) *http.Response {
		b, _ := json.Marshal(body)
		if h == nil {
			h = http.Header{}
		}
		return &http.Response{StatusCode: code, Header: h, Body: io.NopCloser(strings.NewReader(string(b))), Request: r}
	}
	token := map[string]any{"token": map[string]any{
		"user": map[string]any{"id": "u", "name": "n", "domain": map[string]any{"id": "default"}}, "expires_at": time.Now().Add(time.Hour).UTC(),
		"roles": []any{map[string]any{"id": "r", "name": "service"}}, "project": map[string]any{"id": "p", "domain": map[string]any{"id": "default"}},
		"catalog": []any{map[string]any{"type": "network", "endpoints": []any{map[string]any{"interface": "public", "region_id": "RegionOne", "url": "http://c/networking"}}}},
	}}
	switch {
	case r.Method == http.MethodPost:
		k.logins.Add(1)
		return answer(201, http.Header{"X-Subject-Token": {"own" + string('0'+rune(k.logins.Load()))}}, token), nil
	case r.URL.Path == "/v3/auth/tokens":
		if k.reject.Swap(false) {
			return answer(401, nil, nil), nil
		}
		if r.Header.Get("X-Subject-Token") == "bad" {
			return answer(404, nil, nil), nil
		}
		return answer(200, nil, token), nil
	}
	return answer(409, nil, map[string]any{"NeutronError": map[string]any{"type": "IpAddressInUse", "message": "taken by " + r.Header.Get("X-Auth-Token")}}), nil
}

func TestRemoteValidationAndOwnTokenRenewal(t *testing.T) {
	k := &keystone{}
	s := auth.NewSession(auth.SessionOptions{AuthURL: "http://c/v3", Username: "nova", Password: func() string { return "x" }, Transport: k})
	v := auth.NewRemote(s)
	id, err := v.Validate(t.Context(), "tok")
	if err != nil || id.User.ID != "u" || id.Project.ID != "p" || !id.HasRole("SERVICE") || id.Token != "tok" {
		t.Fatalf("%+v %v", id, err)
	}
	if _, err := v.Validate(t.Context(), "bad"); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("bad token: %v", err)
	}
	k.reject.Store(true)
	if _, err := v.Validate(t.Context(), "tok"); err != nil || k.logins.Load() != 2 {
		t.Errorf("after the own token was revoked: %v, %d logins", err, k.logins.Load())
	}
}

func TestFaultsOfOtherServices(t *testing.T) {
	s := auth.NewSession(auth.SessionOptions{AuthURL: "http://c/v3", Username: "nova", Password: func() string { return "x" }, Transport: &keystone{}})
	c, err := s.Service(t.Context(), "network")
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Get(t.Context(), c.ServiceURL("ports"), nil, &gophercloud.RequestOpts{})
	f, ok := fault.As(auth.Fault(err))
	if !ok || f.Kind != fault.Conflict || f.Type != "IpAddressInUse" || f.Message != "taken by own1" {
		t.Errorf("%+v (%v)", f, err)
	}
	ctx := auth.With(t.Context(), &auth.Identity{Token: "user-token"})
	if c, err = s.Caller(ctx, "network"); err != nil {
		t.Fatal(err)
	}
	_, err = c.Get(ctx, c.ServiceURL("ports"), nil, &gophercloud.RequestOpts{})
	if f, _ := fault.As(auth.Fault(err)); f == nil || f.Message != "taken by user-token" {
		t.Errorf("as the caller: %v", err)
	}
}
