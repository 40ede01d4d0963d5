package rabbitmq_test

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/bus/bustest"
	"github.com/tropocloud/tropo/bus/rabbitmq"
	"github.com/tropocloud/tropo/bus/rabbitmq/rabbitmqtest"
)

func TestRabbitMQ(t *testing.T) {
	b := rabbitmqtest.Start(t)
	t.Cleanup(func() {
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
	})
	var n atomic.Int64
	t.Run("conformance", func(t *testing.T) {
		bustest.Run(t, func(t *testing.T) func() bus.Bus {
			o := rabbitmq.Options{URLs: []string{rabbitmqtest.URL(b.Address())}}
			o.Prefix = fmt.Sprintf("t%d-%d", os.Getpid(), n.Add(1))
			return func() bus.Bus { return open(t, o) }
		})
	})
}

func open(t *testing.T, o rabbitmq.Options) bus.Bus {
	t.Helper()
	b, err := rabbitmq.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}
