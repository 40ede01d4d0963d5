package ovn_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tropocloud/tropo/host"
	"github.com/tropocloud/tropo/network/driver"
)

// TestThreeControlNodes: a cloud of one machine gets an address and keeps what
// it had; two more control nodes join; killing the daemons of any one does not
// stop writes, also when it led; a control node that leaves is thrown out.
func TestThreeControlNodes(t *testing.T) {
	s := newSite(t, 3)
	for _, h := range s.hosts {
		h.conf.NoChassis = true
	}
	first := s.hosts[0]
	first.conf.Central = true
	alone := s.start(t, 0)
	kept := driver.Network{ID: "kept", Type: driver.TypeGeneve}
	must(t, s.driver(t, 0).EnsureNetwork(within(t), kept))
	first.rest()
	_ = alone

	s.controls(1)
	s.start(t, 0)
	s.controls(3)
	s.start(t, 1)
	s.start(t, 2)
	d := s.driver(t, 2)
	if drift, err := d.Sync(within(t), driver.State{Networks: []driver.Network{kept}}); err != nil || len(drift.Healed)+len(drift.Deleted) > 0 {
		t.Fatalf("after it got an address: %+v, %v", drift, err)
	}
	leader := s.leader(t, 3)
	for _, victim := range []int{leader, (leader + 1) % 3} {
		h := s.hosts[victim]
		h.rest()
		s.killCentral(t, victim)
		writer := (victim + 1) % 3
		w := s.driver(t, writer)
		must(t, w.EnsureNetwork(within(t), driver.Network{ID: "without-" + h.conf.Chassis, Type: driver.TypeGeneve}))
		// Back again, it has what was written meanwhile.
		s.start(t, victim)
		own := s.driver(t, victim)
		there, err := own.Owned(within(t))
		if err != nil || !slices.Contains(there, driver.Object{Kind: driver.ObjectNetwork, ID: "without-" + h.conf.Chassis}) {
			t.Errorf("%s has %v, %v", h.conf.Chassis, there, err)
		}
	}

	// The third leaves the cloud.
	s.hosts[2].rest()
	must(t, s.hosts[2].cloud.Stop(within(t)))
	s.controls(2)
	for i := range 2 {
		s.hosts[i].rest()
		s.hosts[i].conf.LeaveTime = time.Millisecond
		s.start(t, i)
	}
	s.leader(t, 2)
	must(t, s.driver(t, 0).EnsureNetwork(within(t), driver.Network{ID: "two-left", Type: driver.TypeGeneve}))
}

// leader waits until one control node leads the northbound database, which has
// so many members.
func (s *site) leader(t *testing.T, many int) int {
	t.Helper()
	ctx := within(t)
	for {
		for i, h := range s.hosts {
			members, leads, err := h.cloud.Members(ctx, false)
			if err == nil && leads && len(members) == many {
				return i
			}
		}
		select {
		case <-ctx.Done():
			t.Fatal("nobody leads")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// killCentral ends the central daemons of a host like a crash.
func (s *site) killCentral(t *testing.T, i int) {
	t.Helper()
	l := lab{config: s.hosts[i].conf}
	for name, pid := range l.pids(t) {
		if !strings.Contains("nb sb northd", name) {
			continue
		}
		p, err := host.FindProcess(pid)
		if err == nil {
			err = p.Signal(unix.SIGKILL)
		}
		if err != nil && !errors.Is(err, host.ErrGone) {
			t.Fatal(err)
		}
		if err == nil {
			must(t, p.Wait(within(t)))
		}
	}
}
