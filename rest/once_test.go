package rest_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

// shop sells things: POST makes one, after "before" and before "after" ran.
type shop struct {
	d             *db.DB
	made          atomic.Int64
	before, after func() error
	answer        func() any // instead of the thing; nil: that
	vague         bool       // answers for things that it has not got
	most          int        // bytes kept for a user; 0: as many as usual
}

func (s *shop) api(t *testing.T, view *db.DB) *rest.API {
	t.Helper()
	return s.holding(t, view, time.Minute)
}

// holding is a process that keeps its keys for so long when nothing more is
// heard of it.
func (s *shop) holding(t *testing.T, view *db.DB, d time.Duration) *rest.API {
	t.Helper()
	once, err := rest.NewOnce(context.Background(), view)
	if err != nil {
		t.Fatal(err)
	}
	once.Hold(d)
	if s.most > 0 {
		once.Bound(s.most)
	}
	enforcer, err := policy.NewEnforcer([]policy.Rule{{Name: "any", Check: "@"}}, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	show := func(r *rest.Request) (any, error) {
		row, err := db.Get[struct {
			Name string `db:"name"`
		}](r.Context(), view, "SELECT name FROM things WHERE id = ?", r.Var("id"))
		if err != nil && s.vague {
			return map[string]any{"thing": map[string]string{}}, nil
		}
		if err != nil {
			return nil, fault.Missing("Thing", r.Var("id"))
		}
		return map[string]any{"thing": map[string]string{"id": r.Var("id"), "name": row.Name}}, nil
	}
	a, err := rest.New(rest.Options{
		Service: "shop", Errors: rest.NovaErrors{}, Validator: tokens{}, Enforcer: enforcer, Once: once,
		Routes: []rest.Route{
			rest.POST("/things", func(r *rest.Request) (any, error) { return s.create(r, view) }, rest.Policy("any"), rest.Status(201)),
			rest.GET("/things/{id}", show, rest.Policy("any")),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (s *shop) create(r *rest.Request, d *db.DB) (any, error) {
	var in struct {
		Thing struct {
			Name string `json:"name"`
		} `json:"thing"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if s.before != nil {
		if err := s.before(); err != nil {
			return nil, err
		}
	}
	id := db.NewID(r.Context())
	if _, err := db.Exec(r.Context(), d, "INSERT INTO things (id, name) VALUES (?, ?)", id, in.Thing.Name); err != nil {
		return nil, err
	}
	s.made.Add(1)
	if s.after != nil {
		if err := s.after(); err != nil {
			return nil, err
		}
	}
	r.Answer().Set("Location", "/things/"+id)
	if s.answer != nil {
		return s.answer(), nil
	}
	return map[string]any{"thing": map[string]string{"id": id, "name": in.Thing.Name, "password": "s3cr3t-of-the-shop"}}, nil
}

func post(a http.Handler, caller, key, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/things", strings.NewReader(body))
	r.Header.Set("X-Auth-Token", caller)
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w
}

const lamp = `{"thing":{"name":"lamp"}}`

func newShop(t *testing.T, d *db.DB) *shop {
	t.Helper()
	if _, err := db.Exec(context.Background(), d, "CREATE TABLE things (id VARCHAR(64) PRIMARY KEY, name VARCHAR(64))"); err != nil {
		t.Fatal(err)
	}
	return &shop{d: d}
}

func TestRepeatedRequestGetsTheFirstAnswer(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := newShop(t, d)
		a := s.api(t, d)
		first := post(a, "member", "k1", lamp)
		again := post(s.api(t, d), "member", "k1", lamp) // another process
		if first.Code != 201 || again.Code != 201 || again.Body.String() != first.Body.String() {
			t.Errorf("answers: %d %s, then %d %s", first.Code, first.Body, again.Code, again.Body)
		}
		if l := first.Header().Get("Location"); l == "" || again.Header().Get("Location") != l {
			t.Errorf("Location: %q, then %q", l, again.Header().Get("Location"))
		}
		if first.Header().Get("Idempotent-Replayed") != "" || again.Header().Get("Idempotent-Replayed") != "true" {
			t.Error("a repeated answer must say so, and only it")
		}
		if x := again.Header().Get("X-Openstack-Request-Id"); x == "" || x == first.Header().Get("X-Openstack-Request-Id") {
			t.Error("each request has its own id")
		}
		if n := s.made.Load(); n != 1 {
			t.Errorf("%d things were made", n)
		}
		for what, w := range map[string]*httptest.ResponseRecorder{
			"another key":     post(a, "member", "k2", lamp),
			"another caller":  post(a, "admin", "k1", lamp),
			"no key":          post(a, "member", "", lamp),
			"no key, a blank": post(a, "member", " ", lamp),
		} {
			if w.Code != 201 || w.Body.String() == first.Body.String() {
				t.Errorf("%s: %d %s", what, w.Code, w.Body)
			}
		}
	})
}

func TestKeyOfAnotherRequestIsRefused(t *testing.T) {
	d := dbtest.New(t)
	s := newShop(t, d)
	a := s.api(t, d)
	post(a, "member", "k1", lamp)
	w := post(a, "member", "k1", `{"thing":{"name":"vase"}}`)
	if w.Code != 422 || !strings.Contains(w.Body.String(), "Use a new key") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := post(a, "member", strings.Repeat("x", 256), lamp); w.Code != 400 {
		t.Errorf("a long key: %d", w.Code)
	}
	if n := s.made.Load(); n != 1 {
		t.Errorf("%d things were made", n)
	}
}

func TestConcurrentRequestsWithAKeyMakeOneThing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := newShop(t, d)
		begun, finish := make(chan struct{}), make(chan struct{})
		s.before = func() error { close(begun); <-finish; return nil }
		apis := []*rest.API{s.api(t, d), s.api(t, d)}
		bodies := make([]string, 6)
		var wg sync.WaitGroup
		for i := range bodies {
			wg.Go(func() {
				w := post(apis[i%2], "member", "k", lamp)
				bodies[i] = fmt.Sprint(w.Code, w.Body)
			})
		}
		<-begun
		close(finish)
		wg.Wait()
		for _, b := range bodies {
			if b != bodies[0] || !strings.HasPrefix(b, "201") {
				t.Errorf("answers differ: %s and %s", bodies[0], b)
			}
		}
		if n := s.made.Load(); n != 1 {
			t.Errorf("%d things were made", n)
		}
	})
}

func TestRefusedRequestMayBeMended(t *testing.T) {
	d := dbtest.New(t)
	s := newShop(t, d)
	a := s.api(t, d)
	s.before = func() error { return fault.OverQuotaf("no more lamps") }
	if w := post(a, "member", "k", lamp); w.Code != 403 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	s.before = nil
	if w := post(a, "member", "k", `{"thing":{"name":"vase"}}`); w.Code != 201 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// A process that dies after it made the thing and before it kept its answer
// leaves a key that finds the thing; one that dies before leaves one that makes
// it.
func TestKeyOutlivesItsProcess(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		for _, when := range []string{"before", "before, vague", "after"} {
			s := newShop(t, d)
			view := d.View()
			die := func() error { _ = view.Close(); return fault.Unavailablef("killed") }
			if s.vague = when == "before, vague"; when != "after" {
				s.before = die
			} else {
				s.after = die
			}
			if w := post(s.holding(t, view, 300*time.Millisecond), "member", "k "+when, lamp); w.Code != 503 {
				t.Fatalf("%s: %d %s", when, w.Code, w.Body)
			}
			s.before, s.after = nil, nil
			w := post(s.api(t, d), "member", "k "+when, lamp)
			if w.Code != 201 || !strings.Contains(w.Body.String(), `"name":"lamp"`) {
				t.Errorf("%s: %d %s", when, w.Code, w.Body)
			}
			if n := s.made.Load(); n != 1 {
				t.Errorf("%s: %d things were made", when, n)
			}
			if again := post(s.api(t, d), "member", "k "+when, lamp); again.Body.String() != w.Body.String() {
				t.Errorf("%s: the answer changed: %s and %s", when, w.Body, again.Body)
			}
			if _, err := db.Exec(context.Background(), d, "DROP TABLE things"); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestLateRefusalLeavesTheClaimOfAnother: a process that stood still comes to its
// end when another one has taken its claim over.
func TestLateRefusalLeavesTheClaimOfAnother(t *testing.T) {
	d := dbtest.New(t)
	s := newShop(t, d)
	a := s.api(t, d)
	s.before = func() error {
		if _, err := db.Exec(context.Background(), d, "UPDATE idempotency SET holder = 'another'"); err != nil {
			return err
		}
		return fault.Conflictf("too late")
	}
	if w := post(a, "member", "k", lamp); w.Code != 409 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if n, err := db.Count(context.Background(), d, "SELECT count(*) FROM idempotency WHERE holder = 'another'"); err != nil || n != 1 {
		t.Errorf("%d claims are left, %v", n, err)
	}
}

func TestKeptAnswersAreUnreadable(t *testing.T) {
	d := dbtest.New(t)
	s := newShop(t, d)
	if w := post(s.api(t, d), "member", "k", lamp); !strings.Contains(w.Body.String(), "s3cr3t") {
		t.Fatal(w.Body)
	}
	row, err := db.Get[struct {
		Answer []byte `db:"answer"`
	}](context.Background(), d, "SELECT answer FROM idempotency")
	if err != nil || len(row.Answer) == 0 || bytes.Contains(row.Answer, []byte("s3cr3t")) {
		t.Errorf("%q %v", row.Answer, err)
	}
}
