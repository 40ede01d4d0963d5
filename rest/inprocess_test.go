package rest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tropocloud/tropo/rest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ask calls a handler through the in-process transport.
func ask(t *testing.T, ctx context.Context, method, body string, h http.HandlerFunc) (*http.Response, error) {
	t.Helper()
	tr := &rest.InProcess{}
	tr.Add("cloud:1", h)
	req, err := http.NewRequestWithContext(ctx, method, "http://cloud:1/a?b=c", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return (&http.Client{Transport: tr}).Do(req)
}

func read(t *testing.T, res *http.Response, err error) (string, error) {
	t.Helper()
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	return string(b), err
}

func TestInProcessAnswers(t *testing.T) {
	big := strings.Repeat("x", 100<<10)
	for name, tt := range map[string]struct {
		h    http.HandlerFunc
		code int
		body string
		cut  bool
	}{
		"small": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hi") }, 200, "hi", false},
		"big": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "hi")
			_, _ = io.WriteString(w, big)
		}, 200, "hi" + big, false},
		"nothing": {func(http.ResponseWriter, *http.Request) {}, 200, "", false},
		"status": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(103)
			w.WriteHeader(404)
			w.WriteHeader(200)
		}, 404, "", false},
		"panic": {func(http.ResponseWriter, *http.Request) { panic("x") }, 500, "", false},
		"cut": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "hi")
			panic(http.ErrAbortHandler)
		}, 200, "hi", true},
		"cut stream": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, big)
			panic(http.ErrAbortHandler)
		}, 200, big, true},
		"too short": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			_, _ = io.WriteString(w, "hi")
		}, 200, "hi", true},
		"flushed":    {func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush(); _, _ = io.WriteString(w, "hi") }, 200, "hi", false},
		"no content": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204); _, _ = io.WriteString(w, "hi") }, 204, "", false},
		"echo":       {func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }, 200, "sent", false},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := ask(t, t.Context(), http.MethodPost, "sent", tt.h)
			if err != nil {
				t.Fatal(err)
			}
			body, err := read(t, res, nil)
			if res.StatusCode != tt.code || body != tt.body || (err != nil) != tt.cut {
				t.Errorf("%d, %d bytes, %v", res.StatusCode, len(body), err)
			}
		})
	}
}

func TestInProcessHead(t *testing.T) {
	res, err := ask(t, t.Context(), http.MethodHead, "", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		_, _ = io.WriteString(w, strings.Repeat("x", 100<<10))
	})
	if body, err := read(t, res, err); err != nil || body != "" || res.ContentLength != 5 {
		t.Errorf("%q %v", body, err)
	}
}

// TestInProcessReaderGoesAway: a handler with more to say ends when the caller
// closes the body, or its context ends. goleak watches.
func TestInProcessReaderGoesAway(t *testing.T) {
	for _, how := range []string{"close", "cancel"} {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		res, err := ask(t, ctx, http.MethodGet, "", func(w http.ResponseWriter, r *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 10<<10)); err != nil {
					<-r.Context().Done()
					ended <- err
					return
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if how == "cancel" {
			cancel()
		} else {
			_ = res.Body.Close()
		}
		if err := <-ended; err == nil {
			t.Error("no error")
		}
		cancel()
		_ = res.Body.Close()
	}
}

func TestInProcessCallerGoesAwayFirst(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	_, err := ask(t, ctx, http.MethodGet, "", func(w http.ResponseWriter, r *http.Request) { //nolint:bodyclose // fails
		defer close(ended)
		cancel()
		<-r.Context().Done()
		_, _ = w.Write(make([]byte, 1<<20)) // nobody reads
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	<-ended
}
