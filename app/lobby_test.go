package app

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tropocloud/tropo/auth"
)

func answers(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) })
}

// asks sends a request through the lobby and returns where its answer will be.
func asks(ctx context.Context, l *lobby, path string) <-chan *httptest.ResponseRecorder {
	out := make(chan *httptest.ResponseRecorder, 1)
	go func() {
		w := httptest.NewRecorder()
		l.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodPost, path, nil))
		out <- w
	}()
	return out
}

func TestRequestsWaitForStartingService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &front{}
		l := newLobby(t.Context(), f)
		server, token := asks(t.Context(), l, "/compute/v2.1/servers"), asks(t.Context(), l, "/v3/auth/tokens")
		time.Sleep(lobbyLimit / 2)
		f.set("identity", answers("identity"))
		if w := <-token; w.Code != http.StatusOK || w.Body.String() != "identity" {
			t.Errorf("the service that started: %d %q", w.Code, w.Body)
		}
		synctest.Wait()
		select {
		case w := <-server:
			t.Fatalf("the service that still starts: %d", w.Code)
		default:
		}
		f.set("compute", answers("compute"))
		if w := <-server; w.Code != http.StatusOK || w.Body.String() != "compute" {
			t.Errorf("the last service: %d %q", w.Code, w.Body)
		}
		if w := <-asks(t.Context(), l, "/nothing"); w.Code != http.StatusNotFound {
			t.Errorf("no service: %d", w.Code)
		}
	})
}

func TestRequestsDoNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		system, end := context.WithCancel(t.Context())
		defer end()
		l := newLobby(system, &front{})
		l.seats = make(chan struct{}, 1)
		begin := time.Now()
		unhandled := func(what string, w *httptest.ResponseRecorder, after time.Duration) {
			t.Helper()
			if took := time.Since(begin); w.Code != http.StatusServiceUnavailable || w.Header().Get(auth.UnhandledHeader) == "" || took != after {
				t.Errorf("%s: %d after %s", what, w.Code, took)
			}
			begin = time.Now()
		}
		first := asks(t.Context(), l, "/image/v2")
		synctest.Wait()
		unhandled("no seat", <-asks(t.Context(), l, "/image/v2"), 0)
		unhandled("too long", <-first, lobbyLimit)
		client, gone := context.WithCancel(t.Context())
		first = asks(client, l, "/image/v2")
		synctest.Wait()
		gone()
		unhandled("a client that went away", <-first, 0)
		first = asks(t.Context(), l, "/image/v2")
		synctest.Wait()
		end()
		unhandled("the system stops", <-first, 0)
	})
}
