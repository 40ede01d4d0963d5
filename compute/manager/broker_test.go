package manager_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/computetest"
	"github.com/tropocloud/tropo/fault"
)

// mute is a bus whose broker takes no notification and no hint, and notes how
// long it might have kept their senders.
type mute struct {
	bus.Bus

	mu      sync.Mutex
	asked   int
	longest time.Duration
}

func (m *mute) refuse(ctx context.Context) error {
	wait := time.Hour
	if end, ok := ctx.Deadline(); ok {
		wait = time.Until(end)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	m.longest = max(m.longest, wait)
	return fault.Unavailablef("The broker is away.")
}

func (m *mute) Notify(ctx context.Context, _ string, _ any) error { return m.refuse(ctx) }

func (m *mute) Cast(ctx context.Context, t bus.Target, method string, in any) error {
	if method == compute.MethodCancel {
		return m.refuse(ctx)
	}
	return m.Bus.Cast(ctx, t, method, in)
}

// TestUsersDoNotWaitForTheBroker: what a request has only to tell does not keep
// its user while the broker is away.
func TestUsersDoNotWaitForTheBroker(t *testing.T) {
	broker := &mute{}
	c := cloud(t, computetest.Options{Bus: func(b bus.Bus) bus.Bus { broker.Bus = b; return broker }})
	c.Flavor()
	id := c.Boot("one", nil)
	c.Status(id, "ACTIVE")
	c.Must(204, computetest.Member, "", "DELETE", "/v2.1/servers/"+id, nil)
	c.Gone(id)
	clean(t, c)
	broker.mu.Lock()
	defer broker.mu.Unlock()
	if broker.asked < 5 { // the begin and the end of both, and the hint to the host
		t.Errorf("%d things were told", broker.asked)
	}
	if broker.longest > bus.TellTimeout {
		t.Errorf("a request may wait %v for the broker", broker.longest)
	}
}
