package nats_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/bus/nats"
	"github.com/tropocloud/tropo/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// eventually tries f until it succeeds: what one server knows takes a moment
// to reach the others.
func eventually(t *testing.T, what string, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f(ctx)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		}
	}
}

func cluster(t *testing.T, n int) []*nats.Server {
	t.Helper()
	var list []*nats.Server
	o := nats.ServerOptions{Cluster: "127.0.0.1:0", Username: "tropo", Password: "secret"}
	for i := range n {
		o.Name = fmt.Sprintf("node%d", i)
		s := embed(t, o)
		o.Routes = append(o.Routes, s.Cluster())
		list = append(list, s)
	}
	for _, s := range list {
		eventually(t, "routes", func(context.Context) error {
			if s.Peers() < n-1 {
				return fmt.Errorf("%d of %d", s.Peers(), n-1)
			}
			return nil
		})
	}
	return list
}

func TestCluster(t *testing.T) {
	servers := cluster(t, 3)
	var nodes []bus.Bus
	for _, s := range servers {
		nodes = append(nodes, open(t, nats.Options{Server: s}))
	}
	for i, b := range nodes {
		host := fmt.Sprintf("node%d", i)
		if _, err := b.Serve(t.Context(), "conductor", host, func(context.Context, string, func(any) error) (any, error) {
			return host, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	for from, b := range nodes {
		for to := range nodes {
			eventually(t, fmt.Sprintf("call from %d to %d", from, to), func(ctx context.Context) error {
				return b.Call(ctx, bus.Target{Topic: "conductor", Host: fmt.Sprintf("node%d", to)}, "m", nil, nil)
			})
		}
	}
	if _, err := nodes[2].Serve(t.Context(), "conductor", "node0", nil); !fault.Is(err, fault.Conflict) {
		t.Errorf("second server of a host on another node: %v", err)
	}
	servers[1].Close()
	for range 30 { // any server of the topic: those that live
		eventually(t, "call after a node died", func(ctx context.Context) error {
			host, err := bus.Do[string](ctx, nodes[0], bus.Target{Topic: "conductor"}, "m", nil)
			if err == nil && host == "node1" {
				t.Error("a dead node answered")
			}
			return err
		})
	}
	eventually(t, "the dead node's server", func(ctx context.Context) error {
		if err := nodes[0].Call(ctx, bus.Target{Topic: "conductor", Host: "node1"}, "m", nil, nil); !fault.Is(err, fault.Unavailable) {
			return fmt.Errorf("got %w", err)
		}
		return nil
	})
}

// TestSubjects: topics and hosts with dots and other special characters do
// not meet.
func TestSubjects(t *testing.T) {
	b := open(t, nats.Options{Server: embed(t, nats.ServerOptions{})})
	targets := []bus.Target{
		{Topic: "a", Host: "b.c"},
		{Topic: "a.b", Host: "c"},
		{Topic: "a", Host: "b%2Ec"},
		{Topic: "ä", Host: "$SYS"},
		{Topic: ".", Host: ".."},
		{Topic: "_INBOX.x", Host: "?{}"},
	}
	for _, at := range targets {
		if _, err := b.Serve(t.Context(), at.Topic, at.Host, func(context.Context, string, func(any) error) (any, error) {
			return at.String(), nil
		}); err != nil {
			t.Fatalf("%q: %v", at, err)
		}
	}
	for _, at := range targets {
		for _, host := range []string{at.Host, ""} {
			to := bus.Target{Topic: at.Topic, Host: host}
			got, err := bus.Do[string](t.Context(), b, to, "m", nil)
			if err != nil || host != "" && got != at.String() {
				t.Errorf("%q answered for %q: %v", got, to, err)
			}
		}
	}
	if _, err := b.Serve(t.Context(), "\x80", "a", nil); err == nil {
		t.Error("served a topic that is not UTF-8")
	}
	events := make(chan bus.Event, 10)
	stop := b.Subscribe("a..b.", func(_ context.Context, e bus.Event) { events <- e })
	defer stop()
	defer b.Subscribe("a b", func(context.Context, bus.Event) { t.Error("an event that cannot be") })()
	for _, name := range []string{"a.b.c", "a..b.", "a..b.%.c"} {
		if err := b.Notify(t.Context(), name, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"a..b.", "a..b.%.c"} {
		select {
		case e := <-events:
			if e.Type != want {
				t.Errorf("got %q; want %q", e.Type, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%q did not come", want)
		}
	}
}

func TestEmbedRefuses(t *testing.T) {
	for _, o := range []nats.ServerOptions{
		{Listen: "127.0.0.1:0"},
		{Listen: "127.0.0.1", Username: "u", Password: "p"},
		{Cluster: "127.0.0.1:x", Username: "u", Password: "p"},
		{Cluster: "127.0.0.1:0", Routes: []string{"h"}, Username: "u", Password: "p"},
	} {
		if s, err := nats.Embed(o); err == nil {
			s.Close()
			t.Errorf("%+v: started", o)
		}
	}
	s := embed(t, nats.ServerOptions{Listen: "127.0.0.1:0", Username: "u", Password: "p"})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := nats.Open(ctx, nats.Options{URLs: []string{"nats://u:wrong@" + s.URL()[len("nats://u:p@"):]}}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("with a wrong password: %v", err)
	}
}
