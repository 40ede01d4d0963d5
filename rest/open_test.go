package rest_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

// A path may be open for one method and closed for another.
func TestOpenIsPerMethod(t *testing.T) {
	e, err := policy.NewEnforcer([]policy.Rule{{Name: "any", Check: "@"}}, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ok := func(*rest.Request) (any, error) { return map[string]any{}, nil }
	a, err := rest.New(rest.Options{Service: "identity", Errors: rest.KeystoneErrors{}, Validator: tokens{}, Enforcer: e, Routes: []rest.Route{
		rest.POST("/tokens", ok, rest.Open()), rest.GET("/tokens", ok, rest.Policy("any")), rest.GET("/", ok, rest.Open()),
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path string
		want         int
	}{{"POST", "/tokens", 200}, {"GET", "/tokens", 401}, {"HEAD", "/tokens", 401}, {"DELETE", "/tokens", 401}, {"GET", "/", 200}, {"HEAD", "/", 200}, {"PUT", "/", 405}} {
		w := httptest.NewRecorder()
		a.ServeHTTP(w, httptest.NewRequest(c.method, c.path, http.NoBody))
		if w.Code != c.want {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, w.Code, c.want)
		}
	}
}

// A loader can put a request under another rule than its route's.
func TestUnderAnotherRule(t *testing.T) {
	enforcer, err := policy.NewEnforcer([]policy.Rule{{Name: "any", Check: "@"}, {Name: "admin", Check: "role:admin"}}, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	load := func(rule string) rest.Option {
		return rest.Load(func(r *rest.Request) (any, policy.Target, error) {
			r.Under(rule)
			return nil, policy.Target{}, nil
		})
	}
	done := func(*rest.Request) (any, error) { return nil, nil }
	a, err := rest.New(rest.Options{Service: "identity", Errors: rest.KeystoneErrors{}, Validator: tokens{}, Enforcer: enforcer, Routes: []rest.Route{
		rest.GET("/stricter", done, rest.Policy("any"), load("admin")),
		rest.GET("/looser", done, rest.Policy("admin"), load("any")),
		rest.GET("/unknown", done, rest.Policy("any"), load("none")),
	}})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]map[string]int{
		"/stricter": {"admin": 204, "member": 403}, "/looser": {"admin": 204, "member": 204}, "/unknown": {"admin": 403, "member": 403},
	} {
		for who, status := range want {
			r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
			r.Header.Set("X-Auth-Token", who)
			w := httptest.NewRecorder()
			a.ServeHTTP(w, r)
			if w.Code != status {
				t.Errorf("%s by %s: %d, want %d", path, who, w.Code, status)
			}
		}
	}
}
