package nats_test

import (
	"context"
	"crypto/x509"
	"sync/atomic"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/bus/nats"
	"github.com/tropocloud/tropo/fault"
)

// TestNodesAreLimited: a node serves as itself and calls the managers. It reads
// nothing that others are sent, reaches no other host, and announces nothing.
func TestNodesAreLimited(t *testing.T) {
	a := newAuthority(t)
	server := embed(t, nats.ServerOptions{
		Name: "c0", Listen: "127.0.0.1:0", TLS: a.node("c0").Server(true, nil), Admit: a.admit,
		Limit: func(c *x509.Certificate) *nats.Limits {
			return &nats.Limits{Host: c.Subject.CommonName, Serves: []string{"compute"}, Calls: []string{"conductor"}}
		},
	})
	control := open(t, nats.Options{Server: server, Name: "c0"})
	h1, h2 := a.agent("h.1", server), a.agent("h2", server)
	var reached atomic.Int32
	answer := func(context.Context, string, func(any) error) (any, error) { reached.Add(1); return "ok", nil }
	defer control.Subscribe("cluster.changed", func(context.Context, bus.Event) { reached.Add(100) })()
	for _, s := range []struct {
		b           bus.Bus
		topic, host string
	}{{h1, "compute", "h.1"}} {
		if _, err := s.b.Serve(t.Context(), s.topic, s.host, answer); err != nil {
			t.Fatal(err)
		}
	}
	spy, err := natsgo.Connect(server.URL(), natsgo.Secure(a.node("h2").Client()), natsgo.ErrorHandler(func(*natsgo.Conn, *natsgo.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	defer spy.Close()
	var seen atomic.Int32
	for _, subject := range []string{">", "tropo.>", "tropo.host.compute.h%2E1", "tropo.in.>", "tropo.in.h%2E1.>", "tropo.any.conductor.*", "tropo.event.>"} {
		if _, err := spy.Subscribe(subject, func(*natsgo.Msg) { seen.Add(1) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := spy.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := control.Serve(t.Context(), "compute", "c0", answer); err != nil {
		t.Fatal(err)
	}
	// The manager's method is about its sender.
	mux := &bus.Mux{}
	bus.Handle(mux, "beat", bus.Own(func(host string) string { return host }, func(context.Context, string) (string, error) { return "ok", nil }))
	if _, err := control.Serve(t.Context(), "conductor", "c0", func(ctx context.Context, method string, decode func(any) error) (any, error) {
		if method == "beat" {
			return mux.Serve(ctx, method, decode)
		}
		return answer(ctx, method, decode)
	}); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]bool{"h.1": true, "h2": false, "c0": false} {
		err := h1.Call(t.Context(), bus.Target{Topic: "conductor"}, "beat", host, nil)
		if (err == nil) != want || err != nil && !fault.Is(err, fault.Forbidden) {
			t.Errorf("h.1 speaks for %s: %v", host, err)
		}
	}
	for what, call := range map[string]func(context.Context) error{
		"the manager calls a host": func(ctx context.Context) error {
			return control.Call(ctx, bus.Target{Topic: "compute", Host: "h.1"}, "m", nil, nil)
		},
		"a host calls a manager": func(ctx context.Context) error {
			return h1.Call(ctx, bus.Target{Topic: "conductor"}, "m", nil, nil)
		},
	} {
		if err := call(t.Context()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := spy.Flush(); err != nil || seen.Load() > 0 {
		t.Errorf("a node saw %d messages of others, %v", seen.Load(), err)
	}
	before := reached.Load()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := h2.Call(ctx, bus.Target{Topic: "compute", Host: "h.1"}, "destroy", nil, nil); err == nil {
		t.Error("a host called another one")
	}
	_ = h2.Notify(t.Context(), "cluster.changed", nil)
	// What may be written to an address cannot say that it is for another one.
	for _, forged := range []string{
		`{"kind":"call","id":"x","from":"h2.x","topic":"compute","host":"c0","message":{"id":"x","method":"destroy"}}`,
		`{"kind":"cast","id":"y","from":"h2.x","topic":"compute","host":"c0","message":{"id":"y","method":"destroy"}}`,
	} {
		if err := spy.Publish("tropo.any.conductor.h2", []byte(forged)); err != nil {
			t.Fatal(err)
		}
	}
	if err := spy.Publish("tropo.any.conductor.c0", []byte(`{"kind":"cast","id":"z","from":"h2.x","topic":"conductor","message":{"id":"z","method":"m"}}`)); err != nil {
		t.Fatal(err)
	}
	if err := spy.Flush(); err != nil {
		t.Fatal(err)
	}
	// What comes after on the same connection has passed what came before.
	if err := h2.Call(t.Context(), bus.Target{Topic: "conductor"}, "m", nil, nil); err != nil {
		t.Error(err)
	}
	if n := reached.Load() - before; n != 1 {
		t.Errorf("%d messages arrived; 1 was allowed", n)
	}
}
