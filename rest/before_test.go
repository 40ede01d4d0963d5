package rest_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

// Before may give a request a token, or refuse it; open paths are not asked.
func TestBefore(t *testing.T) {
	enforcer, err := policy.NewEnforcer([]policy.Rule{{Name: "any", Check: "@"}}, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	done := func(*rest.Request) (any, error) { return nil, nil }
	a, err := rest.New(rest.Options{
		Service: "identity", Errors: rest.KeystoneErrors{}, Validator: tokens{}, Enforcer: enforcer,
		Routes: []rest.Route{rest.GET("/closed", done, rest.Policy("any")), rest.GET("/open", done, rest.Open())},
		Before: func(r *http.Request) error {
			switch r.Header.Get("X-Proof") {
			case "good":
				r.Header.Set("X-Auth-Token", "member")
			case "bad":
				return fault.Forbiddenf("No.")
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for proof, want := range map[string][2]int{"good": {204, 204}, "bad": {403, 204}, "": {401, 204}} {
		for i, path := range []string{"/closed", "/open"} {
			r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
			r.Header.Set("X-Proof", proof)
			w := httptest.NewRecorder()
			a.ServeHTTP(w, r)
			if w.Code != want[i] {
				t.Errorf("%s with proof %q: %d, want %d", path, proof, w.Code, want[i])
			}
		}
	}
}
