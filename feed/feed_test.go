package feed_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/feed"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

// projects is a validator: the token is the project's id; "ending" ends soon.
type projects struct{}

func (projects) Validate(_ context.Context, token string) (*auth.Identity, error) {
	id := &auth.Identity{Token: token, User: auth.Ref{ID: "u"}, Project: auth.Ref{ID: token}, ExpiresAt: time.Now().Add(time.Hour)}
	switch token {
	case "ending":
		id.ExpiresAt = time.Now().Add(200 * time.Millisecond)
	case "system":
		id.Project, id.System = auth.Ref{}, true
	}
	return id, nil
}

// serve runs a feed behind a real listener and returns its address.
func serve(t *testing.T, d *db.DB) (*feed.Feed, string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f, err := feed.New(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	e, err := policy.NewEnforcer([]policy.Rule{feed.Rule()}, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := rest.New(rest.Options{Service: "network", Errors: rest.NeutronErrors{}, Validator: projects{}, Enforcer: e, Routes: []rest.Route{f.Route()}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	s := httptest.NewServer(a)
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		s.Close()
	})
	return f, s.URL + "/feed"
}

// follower reads one stream's events.
type follower struct {
	t    *testing.T
	body *bufio.Scanner
	id   string
	resp *http.Response
}

func follow(t *testing.T, url, project, from string) *follower {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Auth-Token", project)
	if from != "" {
		r.Header.Set("Last-Event-ID", from)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	f := &follower{t: t, body: bufio.NewScanner(resp.Body), resp: resp}
	if resp.StatusCode == http.StatusOK {
		f.block() // where it begins
	}
	return f
}

// block reads up to an empty line.
func (f *follower) block() []string {
	var out []string
	for f.body.Scan() {
		line := f.body.Text()
		if line == "" {
			return out
		}
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			f.id = id
		}
		out = append(out, line)
	}
	return nil
}

// event returns the next event's type and data.
func (f *follower) event() (typ, data string) {
	f.t.Helper()
	for {
		lines := f.block()
		if lines == nil {
			f.t.Fatal("the stream ended")
		}
		for _, l := range lines {
			if v, ok := strings.CutPrefix(l, "event: "); ok {
				typ = v
			}
			if v, ok := strings.CutPrefix(l, "data: "); ok {
				data = v
			}
		}
		if typ != "" {
			return typ, data
		}
	}
}

func record(t *testing.T, d *db.DB, f *feed.Feed, project, id, status string) {
	t.Helper()
	err := d.Tx(context.Background(), func(ctx context.Context) error {
		return f.Record(ctx, project, "port", id, feed.Update, status)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFollowersSeeTheirProjectAlone(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f, url := serve(t, d)
		record(t, d, f, "mine", "p0", "DOWN") // before anybody follows
		a := follow(t, url, "mine", "")
		if ct := a.resp.Header.Get("Content-Type"); ct != "text/event-stream" {
			t.Errorf("Content-Type %q", ct)
		}
		record(t, d, f, "theirs", "p1", "ACTIVE")
		record(t, d, f, "mine", "p2", "ACTIVE")
		typ, data := a.event()
		if typ != "port.update" || !strings.Contains(data, `"id":"p2"`) || !strings.Contains(data, `"status":"ACTIVE"`) {
			t.Errorf("%s %s", typ, data)
		}
		record(t, d, f, "mine", "p3", "ACTIVE")
		record(t, d, f, "mine", "p4", "ACTIVE")
		// Whoever comes back goes on where it stopped, also at another process.
		_, elsewhere := serve(t, d)
		b := follow(t, elsewhere, "mine", a.id)
		for _, want := range []string{"p3", "p4"} {
			if _, data := b.event(); !strings.Contains(data, want) {
				t.Errorf("%s, want %s", data, want)
			}
			if _, data := a.event(); !strings.Contains(data, want) {
				t.Errorf("%s, want %s", data, want)
			}
		}
		// What another process writes is seen too.
		record(t, d, f, "mine", "p5", "ACTIVE")
		if _, data := b.event(); !strings.Contains(data, "p5") {
			t.Errorf("%s", data)
		}
	})
}

func TestChangesThatFailAreNoNews(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f, url := serve(t, d)
		a := follow(t, url, "mine", "")
		no := errors.New("no")
		err := d.Tx(context.Background(), func(ctx context.Context) error {
			if err := f.Record(ctx, "mine", "port", "never", feed.Create, ""); err != nil {
				return err
			}
			return no
		})
		if !errors.Is(err, no) {
			t.Fatal(err)
		}
		record(t, d, f, "mine", "p1", "ACTIVE") // behind a number that is missing
		if _, data := a.event(); !strings.Contains(data, "p1") {
			t.Error(data)
		}
	})
}

// TestSlowFollowerReadsFromTheDatabase begins long before what is in memory.
func TestSlowFollowerReadsFromTheDatabase(t *testing.T) {
	d := dbtest.New(t)
	f, url := serve(t, d)
	record(t, d, f, "mine", "first", "")
	err := d.Tx(context.Background(), func(ctx context.Context) error {
		for i := range 2500 {
			if err := f.Record(ctx, "mine", "port", fmt.Sprint("p", i), feed.Create, ""); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	a := follow(t, url, "mine", "1")
	for i := range 2500 {
		if _, data := a.event(); !strings.Contains(data, fmt.Sprintf(`"id":"p%d"`, i)) {
			t.Fatalf("event %d: %s", i, data)
		}
	}
}

func TestEventsThatAreForgottenAreGone(t *testing.T) {
	d := dbtest.New(t)
	f, url := serve(t, d)
	for i := range 5 {
		record(t, d, f, "mine", fmt.Sprint(i), "")
	}
	if _, err := db.Exec(context.Background(), d, "DELETE FROM feed WHERE seq <= 3"); err != nil {
		t.Fatal(err)
	}
	for from, want := range map[string]int{"1": 410, "3": 200, "x": 400, "-1": 400} {
		if a := follow(t, url, "mine", from); a.resp.StatusCode != want {
			t.Errorf("from %s: %d, want %d", from, a.resp.StatusCode, want)
		}
	}
	if a := follow(t, url, "system", ""); a.resp.StatusCode != 403 {
		t.Errorf("without a project: %d", a.resp.StatusCode)
	}
}

func TestOneProjectDoesNotTakeAllStreams(t *testing.T) {
	_, url := serve(t, dbtest.New(t))
	for range 100 {
		if a := follow(t, url, "greedy", ""); a.resp.StatusCode != 200 {
			t.Fatal(a.resp.Status)
		}
	}
	if a := follow(t, url, "greedy", ""); a.resp.StatusCode != 503 {
		t.Errorf("one more: %s", a.resp.Status)
	}
	if a := follow(t, url, "other", ""); a.resp.StatusCode != 200 {
		t.Errorf("another project: %s", a.resp.Status)
	}
}

func TestStreamEndsWithItsToken(t *testing.T) {
	_, url := serve(t, dbtest.New(t))
	a := follow(t, url, "ending", "")
	for a.block() != nil {
	}
	if err := a.body.Err(); err != nil {
		t.Errorf("it was cut: %v", err)
	}
}
