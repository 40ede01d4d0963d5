package manager

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/store"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
)

// agent calls a host's agent about a server. A host that goes down meanwhile
// ends the call as fault.Unavailable: nothing waits for it longer than it takes
// to find that out.
func (m *Manager) agent(ctx context.Context, host, method, serverID string, in, out any) error {
	if host == "" { // to the bus that is any host, also one that a failed build left its guest on
		return notReady(serverID)
	}
	ctx, end := m.whileUp(ctx, host)
	err := end(m.bus.Call(ctx, bus.Target{Topic: compute.TopicAgent, Host: host, Key: serverID}, method, in, out))
	if fault.Is(err, fault.Unavailable) {
		m.doubts.Store(host, true)
	}
	return err
}

// notReady refuses what needs a guest for a server that is on no host: its build
// failed, or gave the host up.
func notReady(serverID string) error { return fault.Conflictf("Instance %s is not ready", serverID) }

// doubted reports whether a host did not answer lately: what it was asked to do
// it may have done, so all its guests are to be compared.
func (m *Manager) doubted(host string) bool {
	_, yes := m.doubts.LoadAndDelete(host)
	return yes
}

// ask is agent for questions, which need not wait for work on the server.
func (m *Manager) ask(ctx context.Context, host, method string, in, out any) error {
	return m.bus.Call(ctx, bus.Target{Topic: compute.TopicAgent, Host: host}, method, in, out)
}

// firstLook is how long a call runs before the host is looked at.
const firstLook = 2 * time.Second

// whileUp ends the context when the host turns out to be down. end gives what
// the context guarded its error.
func (m *Manager) whileUp(ctx context.Context, host string) (context.Context, func(error) error) {
	ctx, cancel := context.WithCancel(ctx)
	var down atomic.Bool
	var look func()
	timer := make(chan *time.Timer, 1)
	look = func() {
		if gone, err := m.hostDown(ctx, host); err == nil && gone {
			down.Store(true)
			cancel()
			return
		}
		t := <-timer
		if ctx.Err() == nil {
			t.Reset(min(m.conf.ReportInterval, 10*time.Second))
		}
		timer <- t
	}
	timer <- time.AfterFunc(firstLook, look)
	return ctx, func(err error) error {
		cancel()
		t := <-timer
		t.Stop()
		timer <- t
		if err != nil && down.Load() && errors.Is(err, context.Canceled) {
			return fault.Wrap(fault.Unavailable, err, "The server's host is down.")
		}
		return err
	}
}

// hostDown reports whether the agent of a host gave no sign of life lately, or
// an operator says so.
func (m *Manager) hostDown(ctx context.Context, host string) (bool, error) {
	svc, err := m.store.ServiceOn(ctx, host, compute.BinaryCompute)
	if err != nil {
		if isMissing(err) {
			return true, nil
		}
		return false, err
	}
	return !svc.Up(db.Now(), m.conf.DownTime), nil
}

// destroyGuest has the agent remove the guest. When the host is down, it does
// so when it comes back: the server is in the history (or elsewhere) then, and
// orders for the guest are void.
func (m *Manager) destroyGuest(ctx context.Context, s *compute.Server) error {
	if s.Host == "" {
		return nil
	}
	err := m.agent(ctx, s.Host, compute.MethodDestroy, s.ID, compute.GuestRequest{ServerID: s.ID}, nil)
	if fault.Is(err, fault.Unavailable) {
		down, derr := m.hostDown(ctx, s.Host)
		if derr != nil || !down {
			return err
		}
	} else if err != nil && !isMissing(err) {
		return err
	}
	return m.store.DropOrder(ctx, s.ID, s.Host)
}

// undoSpawn removes the guest that an order may have made. An order that the
// host has not begun is revoked: then there is nothing to remove, whether the
// host answers or not.
func (m *Manager) undoSpawn(ctx context.Context, st *buildState) error {
	s, err := m.store.Server(ctx, st.ServerID)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if s.Host == "" {
		return nil
	}
	never, err := m.store.RevokeOrder(ctx, s.ID, s.Host)
	if err != nil {
		return err
	}
	if err := m.destroyGuest(ctx, s); err != nil && !(never && fault.Is(err, fault.Unavailable)) {
		return err
	}
	return nil
}

// spawnSomewhere has the chosen host make the guest. A host that does not
// answer is given up for another one when the order has surely not reached it:
// it is revoked then, so that it is void when it comes late.
func (m *Manager) spawnSomewhere(ctx context.Context, s *compute.Server, st *buildState) error {
	for {
		if s.Host == "" { // given up before the process died
			if err := m.place(ctx, s, st); err != nil {
				return err
			}
		}
		err := m.spawn(ctx, s, s.ImageID)
		if err == nil || !fault.Is(err, fault.Unavailable) || ctx.Err() != nil {
			return err
		}
		left, lerr := m.leaveHost(ctx, s, st)
		if lerr != nil || !left {
			return errors.Join(err, lerr)
		}
	}
}

// leaveHost gives a host up that did not answer to an order, if there is
// another one for the server and the order could be revoked.
func (m *Manager) leaveHost(ctx context.Context, s *compute.Server, st *buildState) (bool, error) {
	ignore := map[string]string{s.Host: "the host does not answer"}
	for h, why := range st.Ignore {
		ignore[h] = why
	}
	found, _, err := m.selectHosts(ctx, s, &s.Spec.Flavor, s.Spec.ImageProps, ignore)
	if err != nil || len(found) == 0 {
		return false, err
	}
	never, err := m.store.RevokeOrder(ctx, s.ID, s.Host)
	if err != nil || !never {
		return false, err
	}
	st.Ignore, st.Hosts = ignore, found
	// A server that has a host has its claim there: the host goes first. The
	// next claim takes the place of this one.
	if _, err := m.store.ChangeServer(ctx, s.ID, store.Expect{}, db.Set{"host": "", "node": ""}); err != nil {
		return false, err
	}
	s.Host, s.Node = "", ""
	return true, nil
}

// place claims a host for a server that has none, and binds its ports there. The
// host is written down last: a server that has one has its ports there.
func (m *Manager) place(ctx context.Context, s *compute.Server, st *buildState) error {
	err := m.claimHost(ctx, s, st, func(h *chosen) error {
		there := *s
		there.Host, there.Node, there.Zone = h.Host, h.Node, h.Zone
		return m.bindPorts(ctx, &there, st.ActionID)
	})
	if err != nil {
		return err
	}
	now, err := m.store.Server(ctx, s.ID)
	if err != nil {
		return err
	}
	*s = *now
	return nil
}
