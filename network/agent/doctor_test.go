package agent_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/tropocloud/tropo/doctor"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/agent"
	"github.com/tropocloud/tropo/network/driver"
	"github.com/tropocloud/tropo/network/store"
)

// TestDoctor breaks one thing after the other and sees it found and healed.
func TestDoctor(t *testing.T) {
	for name, x := range map[string]struct {
		check string
		hurt  func(l *lab, w made)
	}{
		"a port is gone in the dataplane": {"dataplane-drift", func(l *lab, w made) {
			l.driver.Lose(driver.Object{Kind: driver.ObjectPort, ID: w.port})
		}},
		"a router of nobody": {"dataplane-drift", func(l *lab, _ made) {
			if err := l.driver.EnsureRouter(l.t.Context(), driver.Router{ID: "6c2cbf7c-73a4-4a5e-8f5b-0cdb3b2c8f11"}); err != nil {
				l.t.Fatal(err)
			}
		}},
		"a network was changed in the dataplane": {"dataplane-drift", func(l *lab, w made) {
			if err := l.driver.EnsureNetwork(l.t.Context(), driver.Network{ID: w.net, Name: "other", Type: driver.TypeGeneve, MTU: 900}); err != nil {
				l.t.Fatal(err)
			}
		}},
		"a floating IP leads nowhere": {"floating-ip-lost", func(l *lab, w made) {
			elsewhere := "10.1.0.77" // the port can't have it by chance
			l.change(w.fip, func(f *network.FloatingIP) { f.FixedIP = &elsewhere })
		}},
		"a floating IP without a router": {"floating-ip-lost", func(l *lab, w made) {
			l.change(w.fip, func(f *network.FloatingIP) { f.RouterID = nil })
		}},
		"a leg of no router": {"router-port-orphan", func(l *lab, w made) {
			p := must[*network.Port](l.t)(l.m.CreatePort(l.t.Context(), change(l.t, map[string]any{"network_id": w.net, "admin_state_up": true})))
			old := *p
			p.DeviceOwner, p.DeviceID = network.OwnerRouterInterface, "gone"
			if err := store.Update(l.t.Context(), l.store, &old, p, false); err != nil {
				l.t.Fatal(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			a := l.agent()
			w := l.build()
			if err := l.settle(a); err != nil {
				t.Fatal(err)
			}
			e := l.doctor(a)
			if r := l.examine(e, true); r.Code() != doctor.Clean || len(r.Healed) > 0 {
				t.Fatalf("before: %+v", r)
			}
			x.hurt(l, w)
			if err := l.settle(a); err != nil {
				t.Fatal(err)
			}
			r := l.examine(e, false)
			if !slices.ContainsFunc(r.Findings, func(f doctor.Finding) bool { return f.Check == x.check && f.Fix != "" }) {
				t.Fatalf("%+v", r)
			}
			if again := l.examine(e, false); len(again.Findings) != len(r.Findings) {
				t.Errorf("looking changed something: %+v", again)
			}
			stop := l.follow(a)
			defer stop()
			if r := l.examine(e, true); r.Code() != doctor.Clean || len(r.Healed) == 0 {
				t.Fatalf("%+v", r)
			}
		})
	}
}

// TestDoctorWaitsForTheAgent: what the agent has yet to do is no finding, what
// it never gets done is, and a dataplane out of reach has not lost anything.
func TestDoctorWaitsForTheAgent(t *testing.T) {
	l := newLab(t)
	a := l.agent()
	l.build()
	e := l.doctor(a)
	if r := l.examine(e, true); r.Code() != doctor.Clean || len(r.Healed) > 0 {
		t.Errorf("work under way: %+v", r)
	}
	if err := l.settle(a); err != nil {
		t.Fatal(err)
	}
	l.driver.Fail(fault.Unavailablef("the dataplane is away"))
	if r := l.examine(e, true); r.Code() != doctor.Incomplete || len(r.Unchecked) != 1 {
		t.Errorf("away: %+v", r)
	}
	l.driver.Fail(nil)
	n := must[*network.Network](t)(l.m.CreateNetwork(t.Context(), change(t, map[string]any{})))
	marks := must[[]network.Dirty](t)(l.store.AllMarks(t.Context()))
	for _, d := range marks {
		d.Attempts = 20
		if err := l.store.Again(t.Context(), d, time.Now().Add(time.Hour), "no such bridge"); err != nil {
			t.Fatal(err)
		}
	}
	r := l.examine(e, true)
	if !slices.ContainsFunc(r.Findings, func(f doctor.Finding) bool { return f.Check == "dataplane-refuses" && f.ID == n.ID && f.Command != "" }) {
		t.Errorf("refused: %+v", r)
	}
}

func (l *lab) doctor(a *agent.Agent) *doctor.Engine {
	e := doctor.New(doctor.Options{Pause: 10 * time.Millisecond, Settle: 30 * time.Second})
	e.Add(l.m.Checks()...)
	e.Add(a.Checks()...)
	return e
}

func (l *lab) examine(e *doctor.Engine, heal bool) *doctor.Report {
	l.t.Helper()
	r, err := e.Run(l.t.Context(), heal)
	if err != nil {
		l.t.Fatal(err)
	}
	return r
}

// change writes a floating IP's row behind the manager's back.
func (l *lab) change(id string, f func(*network.FloatingIP)) {
	l.t.Helper()
	row, err := store.Get[network.FloatingIP](l.t.Context(), l.store, id)
	if err != nil {
		l.t.Fatal(err)
	}
	old := *row
	f(row)
	if err := store.Update(l.t.Context(), l.store, &old, row, false); err != nil {
		l.t.Fatal(err)
	}
	// As if it had been so for long: the dataplane has it.
	if err := l.store.Mark(l.t.Context(), network.DirtyFloatingIP, id); err != nil {
		l.t.Fatal(err)
	}
}

// follow runs the agent's work on marks until stop is called.
func (l *lab) follow(a *agent.Agent) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if n, _, err := a.Step(ctx); err != nil || n == 0 {
				select {
				case <-ctx.Done():
				case <-l.m.Wake():
				case <-time.After(20 * time.Millisecond):
				}
			}
		}
	}()
	return func() { cancel(); <-done }
}
