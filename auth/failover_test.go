package auth_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tropocloud/tropo/auth"
)

const symbolic = "control.test"

// base is a control node that counts what it is asked.
type base struct {
	*httptest.Server
	asked  atomic.Int32
	answer http.HandlerFunc
}

func newBase(t *testing.T, answer http.HandlerFunc) *base {
	t.Helper()
	b := &base{answer: answer}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.asked.Add(1)
		b.answer(w, r)
	}))
	t.Cleanup(b.Close)
	return b
}

// gone is the URL of a node where nothing listens.
const gone = "http://127.0.0.1:1"

func echo(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }

func broken(w http.ResponseWriter, _ *http.Request) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = c.Close()
	}
}

func status(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for _, h := range header {
			w.Header().Set(h, "1")
		}
		w.WriteHeader(code)
	}
}

// stream is a body that can be sent once.
func stream(text string) io.Reader { return struct{ io.Reader }{strings.NewReader(text)} }

func send(t *testing.T, f *auth.Failover, method string, body io.Reader) (int, string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+symbolic+"/x", body)
	if err != nil {
		t.Fatal(err)
	}
	res, err := f.RoundTrip(r)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

func TestFailover(t *testing.T) {
	for _, x := range []struct {
		what   string
		first  http.HandlerFunc // nil: nothing listens
		method string
		stream bool
		want   int // status; 0: an error
		second int32
	}{
		{"a dead node, GET", nil, "GET", false, 200, 1},
		{"a dead node, POST", nil, "POST", false, 200, 1},
		{"a dead node, a stream", nil, "POST", true, 200, 1},
		{"503, GET", status(503), "GET", false, 200, 1},
		{"502, PUT", status(502), "PUT", false, 200, 1},
		{"504, DELETE", status(504), "DELETE", false, 200, 1},
		{"500, GET", status(500), "GET", false, 500, 0},
		{"503, POST", status(503), "POST", false, 503, 0},
		{"503 before it was begun, POST", status(503, auth.UnhandledHeader), "POST", false, 200, 1},
		{"a stream that was sent", status(503, auth.UnhandledHeader), "PUT", true, 503, 0},
		{"a broken connection, GET", broken, "GET", false, 200, 1},
		{"a broken connection, POST", broken, "POST", false, 0, 0},
	} {
		t.Run(x.what, func(t *testing.T) {
			first := gone
			if x.first != nil {
				first = newBase(t, x.first).URL
			}
			second := newBase(t, echo)
			// Both orders may come first: a new chooser begins with the first.
			f := &auth.Failover{Host: symbolic, Bases: func() []string { return []string{first, second.URL} }, Next: &http.Transport{DisableKeepAlives: true}}
			var body io.Reader
			switch {
			case x.stream:
				body = stream("hello")
			case x.method == "POST" || x.method == "PUT":
				body = strings.NewReader("hello")
			}
			code, text, err := send(t, f, x.method, body)
			if code != x.want || (err != nil) != (x.want == 0) || second.asked.Load() != x.second {
				t.Errorf("%d, %v, the second was asked %d times", code, err, second.asked.Load())
			}
			if code == 200 && body != nil && text != "hello" {
				t.Errorf("the second got %q", text)
			}
		})
	}
}

func TestFailoverTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // nobody's rest ends before the clock says so
		asked, code := map[string]int{}, map[string]int{"a": 200, "b": 200}
		f := &auth.Failover{Host: symbolic, Bases: func() []string { return []string{"http://a", "http://b"} }, Next: roundTrip(func(r *http.Request) (*http.Response, error) {
			asked[r.URL.Host]++
			return &http.Response{StatusCode: code[r.URL.Host], Body: http.NoBody, Request: r}, nil
		})}
		ten := func() {
			t.Helper()
			for range 10 {
				if code, _, err := send(t, f, "GET", nil); code != 200 {
					t.Fatal(code, err)
				}
			}
		}
		ten()
		if asked["a"] != 5 || asked["b"] != 5 {
			t.Errorf("asked %v", asked)
		}
		// One that fails rests, and then has its turn again.
		code["a"] = 503
		for more := range 2 {
			ten()
			if n := asked["a"]; n != 6+more {
				t.Errorf("the one that fails was asked %d times more, want %d", n-5, 1+more)
			}
			time.Sleep(time.Minute)
		}
		// When all fail, the last answer is the caller's.
		code["b"] = 503
		if code, _, err := send(t, f, "GET", nil); code != 503 || err != nil {
			t.Errorf("%d, %v", code, err)
		}
	})
}

func TestFailoverLeavesOthersAlone(t *testing.T) {
	a := newBase(t, echo)
	f := &auth.Failover{Host: symbolic, Bases: func() []string { return nil }}
	if _, _, err := send(t, f, "POST", stream("x")); err == nil {
		t.Error("sent to nobody")
	}
	r, err := http.NewRequestWithContext(t.Context(), "POST", a.URL, bytes.NewReader([]byte("x")))
	if err != nil {
		t.Fatal(err)
	}
	res, err := f.RoundTrip(r)
	if err != nil || res.StatusCode != 200 {
		t.Fatal(err)
	}
	_ = res.Body.Close()
}

func TestFailoverEndsWithItsCaller(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	a := newBase(t, func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
	b := newBase(t, echo)
	f := &auth.Failover{Host: symbolic, Bases: func() []string { return []string{a.URL, b.URL} }}
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+symbolic, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := f.RoundTrip(r)
	if err == nil {
		_ = res.Body.Close()
	}
	if !errors.Is(err, context.Canceled) || b.asked.Load() != 0 {
		t.Errorf("%v, the second was asked %d times", err, b.asked.Load())
	}
}

// TestSessionWithFixedEndpoints: the catalog's addresses are not used where
// the session has its own.
func TestSessionWithFixedEndpoints(t *testing.T) {
	a := newBase(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			w.Header().Set("X-Subject-Token", "t")
			w.WriteHeader(201)
			_, _ = w.Write([]byte(`{"token": {"expires_at": "2999-01-01T00:00:00Z", "user": {"id": "u"}, "catalog": [
				{"type": "image", "endpoints": [{"interface": "public", "region_id": "RegionOne", "url": "http://elsewhere.invalid"}]}]}}`))
			return
		}
		_, _ = w.Write([]byte(r.URL.Path))
	})
	f := &auth.Failover{Host: symbolic, Bases: func() []string { return []string{a.URL} }}
	s := auth.NewSession(auth.SessionOptions{
		AuthURL: "http://" + symbolic + "/identity/v3", Username: "u", Password: func() string { return "p" }, Transport: f,
		Endpoints: func(typ string) (string, bool) { return "http://" + symbolic + "/" + typ, typ == "image" },
	})
	c, err := s.Service(t.Context(), "image")
	if err != nil {
		t.Fatal(err)
	}
	if c.Endpoint != "http://"+symbolic+"/image/" {
		t.Errorf("image at %s", c.Endpoint)
	}
	if _, err := s.Service(t.Context(), "compute"); err == nil {
		t.Error("a service that neither has")
	}
}
