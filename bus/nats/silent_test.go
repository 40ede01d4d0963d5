package nats_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/bus/broker"
	"github.com/tropocloud/tropo/bus/bustest"
	"github.com/tropocloud/tropo/bus/nats"
	"github.com/tropocloud/tropo/fault"
)

// beat is a heartbeat for tests.
const beat = 100 * time.Millisecond

// behind is a proxy before a server, and the server's URL through it.
func behind(t *testing.T, s *nats.Server) (*bustest.Proxy, string) {
	t.Helper()
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	p := bustest.NewProxy(t, u.Host)
	u.Host = p.Address()
	return p, u.String()
}

// TestHeartbeat: a server that stands still is noticed before callers give up
// on those behind it, so that it costs them one try.
func TestHeartbeat(t *testing.T) {
	if longest, silence := 3*nats.Heartbeat, (broker.Options{}).Defaults().Silence; longest >= silence {
		t.Errorf("it takes %s to notice; callers give up after %s", longest, silence)
	}
}

// TestServerStandsStill: its clients go to another server of the cluster,
// which they were not told of.
func TestServerStandsStill(t *testing.T) {
	so := nats.ServerOptions{
		Name: "a", Listen: "127.0.0.1:0", Cluster: "127.0.0.1:0", Username: "tropo", Password: "secret", Heartbeat: beat,
	}
	a := embed(t, so)
	so.Name, so.Routes = "b", []string{a.Cluster()}
	b := embed(t, so)
	proxy, through := behind(t, a)
	o := nats.Options{}
	o.Silence, o.Heartbeat = 300*time.Millisecond, beat
	caller, server := o, o
	caller.Server, server.URLs = b, []string{through}
	control, agent := open(t, caller), open(t, server)
	if _, err := agent.Serve(t.Context(), "agent", "h", func(context.Context, string, func(any) error) (any, error) {
		return nil, nil
	}); err != nil {
		t.Fatal(err)
	}
	call := func(ctx context.Context) error {
		return control.Call(ctx, bus.Target{Topic: "agent", Host: "h"}, "m", nil, nil)
	}
	eventually(t, "call", call)
	proxy.Silence()
	eventually(t, "call through the other server", call)
}

// TestClientStandsStill: a server forgets a client that does not answer, so
// that callers are told at once that nobody is there.
func TestClientStandsStill(t *testing.T) {
	s := embed(t, nats.ServerOptions{Listen: "127.0.0.1:0", Username: "tropo", Password: "secret", Heartbeat: beat})
	proxy, through := behind(t, s)
	o := nats.Options{URLs: []string{through}}
	o.Heartbeat = time.Hour // it does not notice by itself
	agent := open(t, o)
	if _, err := agent.Serve(t.Context(), "agent", "h", nil); err != nil {
		t.Fatal(err)
	}
	proxy.Silence()
	control, to := open(t, nats.Options{Server: s}), bus.Target{Topic: "agent", Host: "h"}
	eventually(t, "nobody serves", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*beat)
		defer cancel()
		err := control.Call(ctx, to, "m", nil, nil)
		if !fault.Is(err, fault.Unavailable) || errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("got %w", err)
		}
		return nil
	})
}

// TestPeerStandsStill: a server of the cluster that does not answer is no peer
// any more.
func TestPeerStandsStill(t *testing.T) {
	so := nats.ServerOptions{Name: "a", Cluster: "127.0.0.1:0", Username: "tropo", Password: "secret", Heartbeat: beat}
	a := embed(t, so)
	proxy := bustest.NewProxy(t, a.Cluster())
	so.Name, so.Routes = "b", []string{proxy.Address()}
	b := embed(t, so)
	peers := func(n int) func(context.Context) error {
		return func(context.Context) error {
			if a.Peers() != n || b.Peers() != n {
				return fmt.Errorf("a has %d peers, b %d", a.Peers(), b.Peers())
			}
			return nil
		}
	}
	eventually(t, "route", peers(1))
	proxy.Silence()
	eventually(t, "the silent peer is gone", peers(0))
	proxy.Cut()
	proxy.Heal()
	eventually(t, "the peer is back", peers(1))
}
