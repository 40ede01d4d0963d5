package nats_test

import (
	"testing"

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
