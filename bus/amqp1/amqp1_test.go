package amqp1_test

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/bus/amqp1"
	"github.com/tropocloud/tropo/bus/bustest"
	"github.com/tropocloud/tropo/bus/rabbitmq/rabbitmqtest"
)

func TestAMQP1(t *testing.T) {
	b := rabbitmqtest.Start(t)
	t.Cleanup(func() {
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
	})
	var n atomic.Int64
	options := func(address string) amqp1.Options {
		o := amqp1.Options{URLs: []string{rabbitmqtest.URL10(address)}}
		o.Prefix = fmt.Sprintf("t%d-%d", os.Getpid(), n.Add(1))
		o.Discover = 150 * time.Millisecond
		return o
	}
	t.Run("conformance", func(t *testing.T) {
		bustest.Run(t, func(t *testing.T) func() bus.Bus {
			o := options(b.Address())
			return func() bus.Bus { return open(t, o) }
		})
	})
	t.Run("broker", func(t *testing.T) {
		bustest.RunBroker(t, func(t *testing.T) bustest.Hooks {
			o := options("")
			o.Patience, o.Silence, o.Heartbeat = time.Second, 3*time.Second, time.Second
			return bustest.Hooks{
				Connect: func(t *testing.T, address string) bus.Bus {
					if address == "" {
						address = b.Address()
					}
					o := o
					o.URLs = []string{rabbitmqtest.URL10(address)}
					return open(t, o)
				},
				Address:   b.Address(),
				Kill:      b.Kill,
				Boot:      func() { b.Boot(t) },
				Listeners: 10_000,
			}
		})
	})
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, o amqp1.Options) bus.Bus {
	t.Helper()
	b, err := amqp1.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}
