package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tropocloud/tropo/config"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/api"
	"github.com/tropocloud/tropo/identity/manager"
	"github.com/tropocloud/tropo/identity/store"
	"github.com/tropocloud/tropo/rest"
)

type doc = map[string]any

// cloud is an identity service of its own, with the clock in the test's hand.
type cloud struct {
	t     testing.TB
	m     *manager.Manager
	api   *rest.API
	now   time.Time
	admin string
	log   *bytes.Buffer
	front http.Handler // stands before the API, to watch it; nil: none
}

// newCloud starts a service on a database; set changes options before.
func newCloud(t testing.TB, d *db.DB, set func(*identity.Config)) *cloud {
	t.Helper()
	ctx := context.Background()
	var cfg identity.Config
	if err := config.Load(&cfg, config.Sources{}); err != nil {
		t.Fatal(err)
	}
	cfg.Identity.PasswordHashRounds = 4
	cfg.FernetTokens.KeyRepository, cfg.Credential.KeyRepository = t.TempDir(), t.TempDir()
	if set != nil {
		set(&cfg)
	}
	s, err := store.New(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	c := &cloud{t: t, now: db.Now().Truncate(time.Second), log: &bytes.Buffer{}}
	log := slog.New(slog.NewTextHandler(c.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if c.m, err = manager.New(ctx, manager.Options{Store: s, Config: cfg, Log: log, Now: func() time.Time { return c.now }}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it is safe to run twice
		err := c.m.Bootstrap(ctx, manager.BootstrapOptions{
			AdminPassword: "admin-secret", Users: []manager.BootstrapUser{{Name: "nova", Password: "nova-secret", HashRounds: 4}},
			Services: []manager.BootstrapService{{Type: "identity", Name: "keystone", Public: "http://cloud.test/identity/v3", Internal: "http://cloud.test/identity/v3", Admin: "http://cloud.test/identity/v3"}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if c.api, err = api.New(c.m, api.Options{Log: log, AuthURL: "http://cloud.test/identity/v3"}); err != nil {
		t.Fatal(err)
	}
	c.admin = c.login("admin", "admin-secret", doc{"project": doc{"name": "admin", "domain": doc{"id": "default"}}})
	return c
}

// answer is what the service answered.
type answer struct {
	status int
	header http.Header
	body   doc
	text   string
}

// do sends a request; headers are pairs.
func (c *cloud) do(method, path, token string, body any, headers ...string) answer {
	c.t.Helper()
	var in io.Reader = http.NoBody
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			c.t.Fatal(err)
		}
		in = bytes.NewReader(b)
	}
	r := httptest.NewRequest(method, path, in)
	r.Host = "cloud.test"
	if token != "" {
		r.Header.Set("X-Auth-Token", token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	if c.front != nil {
		c.front.ServeHTTP(w, r)
	} else {
		c.api.ServeHTTP(w, r)
	}
	a := answer{status: w.Code, header: w.Header(), text: w.Body.String()}
	_ = json.Unmarshal(w.Body.Bytes(), &a.body)
	return a
}

// must is do that wants a status.
func (c *cloud) must(status int, method, path, token string, body any, headers ...string) doc {
	c.t.Helper()
	a := c.do(method, path, token, body, headers...)
	if a.status != status {
		c.t.Fatalf("%s %s: %d, want %d: %s", method, path, a.status, status, a.text)
	}
	return a.body
}

func passwordAuth(user, pw string, scope any) doc {
	id := doc{"methods": []string{"password"}, "password": doc{"user": doc{"name": user, "domain": doc{"id": "default"}, "password": pw}}}
	if len(user) == 32 && strings.Trim(user, "0123456789abcdef") == "" {
		id["password"] = doc{"user": doc{"id": user, "password": pw}}
	}
	auth := doc{"identity": id}
	if scope != nil {
		auth["scope"] = scope
	}
	return doc{"auth": auth}
}

// login returns a token of a user (name in the default domain, or id).
func (c *cloud) login(user, pw string, scope any) string {
	c.t.Helper()
	a := c.do("POST", "/v3/auth/tokens", "", passwordAuth(user, pw, scope))
	if a.status != http.StatusCreated {
		c.t.Fatalf("login of %s: %d %s", user, a.status, a.text)
	}
	return a.header.Get("X-Subject-Token")
}

// make creates something and returns its id: make("users", "user", {...}).
func (c *cloud) make(path, key string, body doc) string {
	c.t.Helper()
	d := c.must(http.StatusCreated, "POST", "/v3/"+path, c.admin, doc{key: body})
	id, _ := d[key].(doc)["id"].(string)
	return id
}

// role returns the id of a role.
func (c *cloud) role(name string) string {
	c.t.Helper()
	list, _ := c.must(200, "GET", "/v3/roles?name="+name, c.admin, nil)["roles"].([]any)
	if len(list) != 1 {
		c.t.Fatalf("role %s: %v", name, list)
	}
	id, _ := list[0].(doc)["id"].(string)
	return id
}

// grant gives a user a role: grant(user, "member", "projects/"+id).
func (c *cloud) grant(user, role, target string) {
	c.t.Helper()
	c.must(204, "PUT", "/v3/"+target+"/users/"+user+"/roles/"+c.role(role), c.admin, nil)
}

func inProject(id string) doc { return doc{"project": doc{"id": id}} }
func inDomain(id string) doc  { return doc{"domain": doc{"id": id}} }

// valid reports whether a token is.
func (c *cloud) valid(token string) bool {
	c.t.Helper()
	return c.do("GET", "/v3/auth/tokens", c.admin, nil, "X-Subject-Token", token).status == http.StatusOK
}
