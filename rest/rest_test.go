package rest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
	"github.com/tropocloud/tropo/rest/resttest"
)

// tokens is a validator for tests: the token is the caller's role.
type tokens struct{}

func (tokens) Validate(_ context.Context, token string) (*auth.Identity, error) {
	if token != "admin" && token != "member" && token != "service" {
		return nil, fault.Unauthenticatedf("The request you have made requires authentication.")
	}
	return &auth.Identity{Token: token, User: auth.Ref{ID: token}, Project: auth.Ref{ID: "p-" + token}, Roles: []auth.Ref{{Name: token}}, ExpiresAt: time.Now().Add(time.Hour)}, nil
}

func newAPI(t testing.TB) *rest.API {
	t.Helper()
	enforcer, err := policy.NewEnforcer([]policy.Rule{
		{Name: "any", Check: "@"}, {Name: "admin", Check: "role:admin"}, {Name: "owner", Check: "project_id:%(project_id)s"},
	}, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	say := func(s string) rest.Handler {
		return func(r *rest.Request) (any, error) {
			return map[string]any{"said": s, "id": r.Var("id"), "version": r.Version().String(), "object": r.Object()}, nil
		}
	}
	load := func(r *rest.Request) (any, policy.Target, error) {
		if r.Var("id") == "none" {
			return nil, nil, fault.Missing("Thing", "none")
		}
		return "thing", policy.Target{"project_id": "p-" + r.Var("id")}, nil
	}
	a, err := rest.New(rest.Options{
		Service: "compute", Errors: rest.NovaErrors{}, Validator: tokens{}, Enforcer: enforcer, OptionalProject: true,
		Microversions: &rest.Microversions{Service: "compute", Legacy: "X-OpenStack-Nova-API-Version", Min: rest.V("2.1"), Max: rest.V("2.50")},
		Schemas: fstest.MapFS{"thing.json": {Data: []byte(`{"type":"object","required":["name"],"additionalProperties":false,
			"properties":{"name":{"type":"string","minLength":1,"maxLength":5}}}`)}},
		Routes: []rest.Route{
			rest.GET("/", say("root"), rest.Open()),
			rest.GET("/v2.1/things/{id}", say("one"), rest.Policy("owner"), rest.Load(load)),
			rest.GET("/v2.1/hidden/{id}", say("hidden"), rest.Policy("owner"), rest.Load(load), rest.Hide()),
			rest.GET("/v2.1/things/detail", say("detail"), rest.Policy("any")),
			rest.GET("/v2.1/things/{id}/a/fixed", say("fixed"), rest.Policy("any")),
			rest.GET("/v2.1/things/special/{b}/x", say("special"), rest.Policy("any")),
			rest.POST("/v2.1/things", say("made"), rest.Policy("any"), rest.Schema("thing"), rest.Status(202)),
			rest.POST("/v2.1/things/{id}/action#start", say("started"), rest.Policy("any")),
			rest.POST("/v2.1/things/{id}/action#stop", say("stopped"), rest.Policy("any"), rest.Since("2.10")),
			rest.DELETE("/v2.1/things/{id}", func(*rest.Request) (any, error) { return nil, nil }, rest.Policy("admin")),
			rest.GET("/v2.1/broken", func(*rest.Request) (any, error) { return nil, errors.New("secret") }, rest.Policy("any")),
			rest.GET("/v2.1/panics", func(*rest.Request) (any, error) { panic("secret") }, rest.Policy("any")),
			rest.PUT("/v2.1/echo", func(r *rest.Request) (any, error) {
				return &rest.Response{Stream: r.HTTP.Body}, nil
			}, rest.Policy("any"), rest.RawBody()),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestExchanges(t *testing.T) {
	resttest.Run(t, "testdata", func(t *testing.T) (http.Handler, map[string]string) {
		return rest.Mount("/compute", newAPI(t)), nil
	})
}

func TestInternalErrorsKeepTheirCause(t *testing.T) {
	for _, path := range []string{"/v2.1/broken", "/v2.1/panics"} {
		w := httptest.NewRecorder()
		req := httptest.NewRequest(http.MethodGet, path, nil)
		req.Header.Set("X-Auth-Token", "admin")
		newAPI(t).ServeHTTP(w, req)
		if w.Code != 500 || strings.Contains(w.Body.String(), "secret") || !strings.Contains(w.Body.String(), "req-") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestRoutesAreChecked(t *testing.T) {
	ok := func(*rest.Request) (any, error) { return nil, nil }
	for name, routes := range map[string][]rest.Route{
		"no policy":      {rest.GET("/a", ok)},
		"unknown policy": {rest.GET("/a", ok, rest.Policy("none"))},
		"twice":          {rest.GET("/a", ok, rest.Open()), rest.GET("/a", ok, rest.Open())},
		"no schema":      {rest.POST("/a", ok, rest.Open(), rest.Schema("none"))},
	} {
		if _, err := rest.New(rest.Options{Service: "x", Errors: rest.NovaErrors{}, Routes: routes}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestInProcessStreams sends a body larger than any buffer through the
// in-process transport and back.
func TestInProcessStreams(t *testing.T) {
	tr := &rest.InProcess{}
	tr.Add("cloud:1", newAPI(t))
	const size = 8 << 20
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://cloud:1/v2.1/echo", io.LimitReader(zero{}, size))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", "admin")
	res, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, res.Body)
	if err != nil || n != size || res.StatusCode != 200 {
		t.Errorf("%d, %d bytes, %v", res.StatusCode, n, err)
	}
}

type zero struct{}

func (zero) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestInProcessEndsWithTheCaller(t *testing.T) {
	entered, left := make(chan struct{}), make(chan struct{})
	tr := &rest.InProcess{}
	tr.Add("cloud:1", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
		close(left)
	}))
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://cloud:1/", nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { _, err := tr.RoundTrip(req); done <- err }() //nolint:bodyclose // fails
	<-entered
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	<-left
}

func TestVersions(t *testing.T) {
	for _, bad := range []string{"2", "2.x", "-2.1", "2.01", "", "0.1", "2.1.1", " 2.1"} {
		if v, err := rest.ParseVersion(bad); err == nil {
			t.Errorf("%q reads as %v", bad, v)
		}
	}
	if v, err := rest.ParseVersion("2.53"); err != nil || v != (rest.Version{Major: 2, Minor: 53}) || !rest.V("2.9").Less(v) {
		t.Errorf("%v %v", v, err)
	}
}
