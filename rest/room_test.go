package rest_test

import (
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/rest"
)

// TestOneUserDoesNotFillTheDatabase: new keys beyond the bound are refused, what
// is kept stays, and nobody else notices.
func TestOneUserDoesNotFillTheDatabase(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := newShop(t, d)
		s.most = 4000 // three keys of a bit more than 1 KiB each are less
		for i := range 3 {
			if w := post(s.api(t, d), "member", fmt.Sprint("k", i), lamp); w.Code != 201 {
				t.Fatalf("key %d: %d %s", i, w.Code, w.Body)
			}
		}
		post(s.api(t, d), "member", "k3", lamp)
		made := s.made.Load()
		a := s.api(t, d) // a process that has to look
		for range 2 {
			w := post(a, "member", "new", lamp)
			if w.Code != 403 || !strings.Contains(w.Body.String(), "without the header") || s.made.Load() != made {
				t.Errorf("%d %s, %d made", w.Code, w.Body, s.made.Load()-made)
			}
		}
		if w := post(a, "member", "k0", lamp); w.Code != 201 || w.Header().Get("Idempotent-Replayed") != "true" {
			t.Errorf("a repetition: %d %s", w.Code, w.Body)
		}
		for what, w := range map[string]*httptest.ResponseRecorder{
			"without a key": post(a, "member", "", lamp), "another user": post(a, "admin", "new", lamp),
		} {
			if w.Code != 201 {
				t.Errorf("%s: %d %s", what, w.Code, w.Body)
			}
		}
		for i := range 5 { // on behalf of all
			if w := post(s.api(t, d), "service", fmt.Sprint("k", i), lamp); w.Code != 201 {
				t.Errorf("a service: %d %s", w.Code, w.Body)
			}
		}
		if _, err := db.Exec(context.Background(), d, "UPDATE idempotency SET created_at = ?", db.Now().Add(-25*time.Hour)); err != nil {
			t.Fatal(err)
		}
		again := s.api(t, d)
		post(again, "admin", "other", lamp) // prunes
		if w := post(again, "member", "new", lamp); w.Code != 201 {
			t.Errorf("a day later: %d %s", w.Code, w.Body)
		}
		// A process that goes on looks now and then.
		last := 201
		for i := 0; i < 200 && last == 201; i++ {
			last = post(again, "member", fmt.Sprint("many", i), lamp).Code
		}
		if last != 403 {
			t.Errorf("200 keys in one process: %d", last)
		}
	})
}

// TestAnswerThatIsNotKeptIsNotMadeTwice: of what cannot be kept the repetition
// gets the status.
func TestAnswerThatIsNotKeptIsNotMadeTwice(t *testing.T) {
	for what, answer := range map[string]func() any{
		"no JSON":  func() any { return &rest.Response{Body: []byte("plain text")} },
		"too long": func() any { return map[string]string{"text": strings.Repeat("x", 65<<10)} },
		"a stream": func() any { return &rest.Response{Stream: io.NopCloser(strings.NewReader("streamed"))} },
		"not to be rendered": func() any {
			return map[string]any{"f": func() {}}
		},
	} {
		t.Run(what, func(t *testing.T) {
			d := dbtest.New(t)
			s := newShop(t, d)
			s.answer = answer
			a := s.api(t, d)
			first := post(a, "member", "k", lamp)
			again := post(a, "member", "k", lamp)
			if what != "not to be rendered" && first.Code != 201 || again.Code != 201 || again.Body.Len() > 0 || s.made.Load() != 1 {
				t.Errorf("%d, then %d %s; %d made", first.Code, again.Code, again.Body, s.made.Load())
			}
			if again.Header().Get("Location") == "" || again.Header().Get("Idempotent-Replayed") != "true" {
				t.Errorf("headers %v", again.Header())
			}
		})
	}
}

// TestAnswerThatTheDatabaseDoesNotTake: then it takes the status.
func TestAnswerThatTheDatabaseDoesNotTake(t *testing.T) {
	d := dbtest.New(t)
	if d.Dialect() != db.SQLite {
		t.Skip("what refuses the answer is a trigger in SQLite's own SQL; what the test is about is the same on every engine")
	}
	s := newShop(t, d)
	s.answer = func() any { return map[string]string{"text": strings.Repeat("x", 10<<10)} }
	a := s.api(t, d)
	if _, err := db.Exec(context.Background(), d, "CREATE TRIGGER small BEFORE UPDATE ON idempotency WHEN length(NEW.answer) > 2000 BEGIN SELECT RAISE(ABORT, 'too large'); END"); err != nil {
		t.Fatal(err)
	}
	first, again := post(a, "member", "k", lamp), post(a, "member", "k", lamp)
	if first.Code != 201 || again.Code != 201 || first.Body.Len() < 10<<10 || again.Body.Len() > 0 || s.made.Load() != 1 {
		t.Errorf("%d, then %d %s; %d made", first.Code, again.Code, again.Body, s.made.Load())
	}
}
