package nats_test

import (
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/bus/bustest"
	"github.com/tropocloud/tropo/bus/nats"
)

func TestConformance(t *testing.T) {
	bustest.Run(t, func(t *testing.T) func() bus.Bus {
		s, err := nats.Embed(nats.ServerOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		return func() bus.Bus { return open(t, nats.Options{Server: s}) }
	})
}

func open(t *testing.T, o nats.Options) bus.Bus {
	t.Helper()
	b, err := nats.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func TestBroker(t *testing.T) {
	if os.Getenv("TROPO_TEST_BROKERS") == "" {
		t.Skip("a broker and its faults take minutes: make test-brokers runs them")
	}
	bustest.RunBroker(t, func(t *testing.T) bustest.Hooks {
		so := nats.ServerOptions{Listen: "127.0.0.1:0", Username: "tropo", Password: "secret"}
		s := embed(t, so)
		u, err := url.Parse(s.URL())
		if err != nil {
			t.Fatal(err)
		}
		so.Listen = u.Host
		return bustest.Hooks{
			Connect: func(t *testing.T, address string) bus.Bus {
				to := *u
				if address != "" {
					to.Host = address
				}
				o := nats.Options{URLs: []string{to.String()}}
				o.Patience, o.Silence, o.Heartbeat = time.Second, 3*time.Second, 200*time.Millisecond
				return open(t, o)
			},
			Address:   u.Host,
			Kill:      s.Close,
			Boot:      func() { embed(t, so) },
			Listeners: 10_000,
		}
	})
}

func embed(t *testing.T, o nats.ServerOptions) *nats.Server {
	t.Helper()
	s, err := nats.Embed(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}
