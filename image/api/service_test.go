package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/config"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image"
	"github.com/tropocloud/tropo/image/api"
	"github.com/tropocloud/tropo/image/driver"
	"github.com/tropocloud/tropo/image/driver/memory"
	"github.com/tropocloud/tropo/image/manager"
	"github.com/tropocloud/tropo/image/store"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
	"github.com/tropocloud/tropo/rest/resttest"
	"github.com/tropocloud/tropo/task"
)

// The projects of the tests' callers.
const (
	projectA = "a0000000000000000000000000000001"
	projectB = "b0000000000000000000000000000002"
)

// tokens knows five callers by their token.
type tokens struct{}

func (tokens) Validate(_ context.Context, token string) (*auth.Identity, error) {
	roles := map[string][]string{"admin": {"admin", "member", "reader"}, "alice": {"member", "reader"}, "bob": {"member", "reader"}, "rita": {"reader"}, "node": {"tropo_node"}}[token]
	if roles == nil {
		return nil, fault.Unauthenticatedf("The request you have made requires authentication.")
	}
	id := &auth.Identity{Token: token, User: auth.Ref{ID: token, Name: token}, Project: auth.Ref{ID: projectA}, ExpiresAt: time.Now().Add(time.Hour)}
	if token == "bob" || token == "node" {
		id.Project.ID = projectB
	}
	for _, r := range roles {
		id.Roles = append(id.Roles, auth.Ref{ID: r, Name: r})
	}
	return id, nil
}

// service is the image service over one database.
type service struct {
	*rest.API
	t       testing.TB
	store   *store.Store
	data    driver.Driver
	manager *manager.Manager
	engine  *task.Engine
	ended   chan struct{} // closed when the engine has ended
}

func newService(t testing.TB, d *db.DB, change func(*image.Config)) *service {
	t.Helper()
	var c image.Config
	if err := config.Load(&c, config.Sources{}); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&c)
	}
	return open(t, d, memory.New(), c)
}

func open(t testing.TB, d *db.DB, data driver.Driver, c image.Config) *service {
	t.Helper()
	return openWith(t, d, data, c, context.Background(), task.Options{Owner: "here"})
}

// openWith runs the engine until ctx ends.
func openWith(t testing.TB, d *db.DB, data driver.Driver, c image.Config, ctx context.Context, o task.Options) *service {
	t.Helper()
	s, err := store.New(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	e, err := task.New(t.Context(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	m, err := manager.New(t.Context(), manager.Options{Store: s, Drivers: map[string]driver.Driver{"file": data}, Default: "file", Config: c, Engine: e, Host: "here"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = e.Run(ctx) // ends with the context
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	enforcer, err := policy.NewEnforcer(api.Policy(), policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := api.New(api.Options{Manager: m, Validator: tokens{}, Enforcer: enforcer})
	if err != nil {
		t.Fatal(err)
	}
	return &service{API: a, t: t, store: s, data: data, manager: m, engine: e, ended: ended}
}

// do sends a request as a caller; body is JSON unless it is a reader.
func (s *service) do(token, method, path string, body any, header ...string) *http.Response {
	s.t.Helper()
	var r io.Reader
	kind := "application/json"
	switch b := body.(type) {
	case nil:
	case io.Reader:
		r, kind = b, "application/octet-stream"
	case string:
		r = strings.NewReader(b)
	default:
		j, err := json.Marshal(b)
		if err != nil {
			s.t.Fatal(err)
		}
		r = bytes.NewReader(j)
	}
	req := httptest.NewRequestWithContext(s.t.Context(), method, path, r)
	req.Header.Set("X-Auth-Token", token)
	req.Header.Set("Content-Type", kind)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, req)
	return w.Result()
}

type object = map[string]any

// want sends a request, demands a status, and returns the JSON answer.
func (s *service) want(status int, token, method, path string, body any, header ...string) object {
	s.t.Helper()
	res := s.do(token, method, path, body, header...)
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if res.StatusCode != status {
		s.t.Fatalf("%s %s as %s: %d, want %d: %s", method, path, token, res.StatusCode, status, b)
	}
	var out object
	if len(b) > 0 && strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(b, &out); err != nil {
			s.t.Fatal(err)
		}
		return out
	}
	return object{"text": string(b)}
}

// make creates an image of alice's and returns its path.
func (s *service) make(attributes object) string {
	s.t.Helper()
	in := object{"name": "image", "disk_format": "raw", "container_format": "bare"}
	for k, v := range attributes {
		in[k] = v
	}
	return fmt.Sprint(s.want(201, "alice", "POST", "/v2/images", in)["self"])
}

// clean demands that the stores hold exactly what images refer to.
func (s *service) clean() {
	s.t.Helper()
	have, err := s.data.Keys(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	want, err := s.store.Keys(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	garbage, err := s.store.Garbages(s.t.Context(), 10)
	if err != nil {
		s.t.Fatal(err)
	}
	if len(have) != len(want) || len(garbage) != 0 {
		s.t.Errorf("the store holds %v, images refer to %v, garbage %v", have, want, garbage)
	}
}

// await reads path until ok is content with the answer.
func (s *service) await(path string, ok func(object) bool) object {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		got := s.want(200, "alice", "GET", path, nil)
		if ok(got) {
			return got
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s stays %v", path, got)
		}
	}
	return nil
}

func TestGoldenExchanges(t *testing.T) {
	resttest.Run(t, "testdata", func(t *testing.T) (http.Handler, map[string]string) {
		return newService(t, dbtest.New(t), nil), map[string]string{"admin": "admin", "alice": "alice", "bob": "bob", "project-a": projectA, "project-b": projectB}
	})
}

func TestEveryRouteHasAnExchange(t *testing.T) {
	resttest.Covered(t, newService(t, dbtest.New(t), nil).API, "testdata")
}
