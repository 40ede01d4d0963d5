package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/fault"
)

// personas answers with the identity of the token's name.
type personas map[string]*auth.Identity

func (p personas) Validate(_ context.Context, token string) (*auth.Identity, error) {
	if id, ok := p[token]; ok {
		return id, nil
	}
	return nil, fault.Unauthenticatedf("no")
}

// TestAccessRulesAndServiceTokens: only a service lifts the rules; the same
// token sent twice does not, and a token may always be validated.
func TestAccessRulesAndServiceTokens(t *testing.T) {
	v := personas{
		"limited": {AccessRules: []auth.AccessRule{{Service: "compute", Method: "GET", Path: "/v2.1/servers"}}},
		"empty":   {AccessRules: []auth.AccessRule{}},
		"nova":    {Roles: []auth.Ref{{Name: "service"}}},
		"member":  {Roles: []auth.Ref{{Name: "member"}}},
	}
	for _, tt := range []struct {
		token, service, typ, path string
		ok                        bool
	}{
		{"limited", "", "image", "/v2/images", false},
		{"limited", "nova", "image", "/v2/images", true},
		{"limited", "limited", "image", "/v2/images", false},
		{"limited", "member", "image", "/v2/images", false},
		{"limited", "unknown", "image", "/v2/images", false},
		{"limited", "", "compute", "/v2.1/servers", true},
		{"empty", "", "compute", "/v2.1/servers", false},
		{"empty", "", "identity", "/v3/auth/tokens", true},
		{"empty", "", "identity", "/v3/users", false},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://c"+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Auth-Token", tt.token)
		if tt.service != "" {
			r.Header.Set("X-Service-Token", tt.service)
		}
		if _, err := auth.Request(r, v, tt.typ); (err == nil) != tt.ok {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

func TestIdentityKeepsItsToken(t *testing.T) {
	id := &auth.Identity{Token: "secret", User: auth.Ref{ID: "u"}, Project: auth.Ref{ID: "p"}}
	for _, s := range []string{fmt.Sprint(id), fmt.Sprintf("%+v", id), id.LogValue().String(), (*auth.Identity)(nil).String()} {
		if strings.Contains(s, "secret") {
			t.Error(s)
		}
	}
}

// TestCacheNeverOutlivesTheToken, and drops what is over.
func TestCacheNeverOutlivesTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		c := auth.NewCache(validatorFunc(func() (*auth.Identity, error) {
			n++
			return &auth.Identity{ExpiresAt: time.Now().Add(2 * time.Second)}, nil
		}), time.Minute)
		for range 4 {
			if _, err := c.Validate(t.Context(), "a"); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
		}
		if n != 2 {
			t.Errorf("asked %d times", n)
		}
	})
}

// TestCacheWaiterGivesUp: a caller need not wait for a question that hangs,
// and the question itself ends.
func TestCacheWaiterGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Bool
		c := auth.NewCache(hanging{&ended}, 0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Validate(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if !ended.Load() {
			t.Error("the question hangs for ever")
		}
	})
}

type hanging struct{ ended *atomic.Bool }

func (h hanging) Validate(ctx context.Context, _ string) (*auth.Identity, error) {
	<-ctx.Done()
	h.ended.Store(true)
	return nil, ctx.Err()
}

// roundTrip is a transport made of a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestHangingIdentity: a service that never answers costs a bounded time.
func TestHangingIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := auth.NewSession(auth.SessionOptions{AuthURL: "http://c/v3", Password: func() string { return "x" }, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})})
		began := time.Now()
		if _, err := s.Token(t.Context()); !fault.Is(err, fault.Unavailable) {
			t.Error(err)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://c/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.HTTP().Do(r); !errors.Is(err, context.DeadlineExceeded) { //nolint:bodyclose // fails
			t.Error(err)
		}
		if took := time.Since(began); took > 2*time.Minute {
			t.Errorf("took %v", took)
		}
	})
}

// TestLoginsAreFew: neither many callers, nor tokens that live shortly, nor
// wrong credentials make a storm of logins.
func TestLoginsAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &keystone{}
		var refuse atomic.Bool
		var logins atomic.Int32
		s := auth.NewSession(auth.SessionOptions{AuthURL: "http://c/v3", Password: func() string { return "x" }, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			logins.Add(1)
			if refuse.Load() {
				return &http.Response{StatusCode: 401, Status: "401 Unauthorized", Header: http.Header{}, Body: http.NoBody, Request: r}, nil
			}
			return k.RoundTrip(r)
		})})
		refuse.Store(true)
		for range 50 {
			if _, err := s.Token(t.Context()); !fault.Is(err, fault.Unavailable) {
				t.Error(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if n := logins.Load(); n != 1 {
			t.Errorf("%d logins with wrong credentials", n)
		}
		time.Sleep(time.Second)
		refuse.Store(false)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if _, err := s.Token(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := logins.Load(); n != 2 {
			t.Errorf("%d logins", n)
		}
		// Near its end a token that cannot be renewed still serves.
		time.Sleep(57 * time.Minute)
		refuse.Store(true)
		if tok, err := s.Token(t.Context()); err != nil || tok != "own1" {
			t.Errorf("%q %v", tok, err)
		}
	})
}

func BenchmarkValidateCached(b *testing.B) {
	c := auth.NewCache(&counting{}, time.Hour)
	token := strings.Repeat("x", 200)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Validate(b.Context(), token); err != nil {
			b.Fatal(err)
		}
	}
}

// ExampleNewCache shows how a service validates its callers' tokens.
func ExampleNewCache() {
	v := auth.NewCache(personas{"t": {User: auth.Ref{ID: "alice"}, ExpiresAt: time.Now().Add(time.Hour)}}, 10*time.Second)
	for range 2 {
		id, err := v.Validate(context.Background(), "t")
		fmt.Println(id, id.ValidatedFromCache, err)
	}
	// Output:
	// user alice false <nil>
	// user alice true <nil>
}
