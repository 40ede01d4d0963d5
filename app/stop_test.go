package app

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
)

// TestStopLetsRequestsEnd: who stops takes no new requests, brings those under
// way to their end, and only then closes what they need.
func TestStopLetsRequestsEnd(t *testing.T) {
	s := &System{log: slog.New(slog.DiscardHandler), front: &front{}}
	s.ctx, s.cancel = context.WithCancelCause(t.Context())
	s.front.check = s.ready
	s.up.Store(true)
	begun, release := make(chan struct{}), make(chan struct{})
	s.front.set("identity", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-release
		_, _ = io.WriteString(w, "done")
	}))
	closed := make(chan struct{})
	s.onStop(func() error { close(closed); return nil })
	l, err := s.serve("127.0.0.1:0", newLobby(s.ctx, s.front))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer := make(chan string, 1)
	go func() {
		res, err := client.Post("http://"+l.Addr().String()+"/identity/v3/users", "", nil)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body) // a broken answer is not "done"
		answer <- string(b)
	}()
	<-begun
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	<-s.ctx.Done()
	if s.ready(t.Context()) == nil {
		t.Error("it is ready though it stops")
	}
	for { // the listener closes in a moment
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			break
		}
		_ = c.Close()
	}
	select {
	case <-closed:
		t.Error("what a request needs is closed before it has ended")
	default:
	}
	close(release)
	if got := <-answer; got != "done" {
		t.Errorf("the request under way: %s", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	<-closed
}
