package ovn_test

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/host"
	"github.com/tropocloud/tropo/network/driver"
	"github.com/tropocloud/tropo/network/driver/drivertest"
	"github.com/tropocloud/tropo/network/driver/ovn/daemons"
)

// pids reads the daemons' pid files.
func (l *lab) pids(t *testing.T) map[string]int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(l.config.Dir, "run", "*.pid"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // between two lives
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err != nil {
			continue
		}
		out[strings.TrimSuffix(filepath.Base(f), ".pid")] = pid
	}
	return out
}

// kill ends daemons like the kernel would that runs out of memory; one may be
// gone already.
func (l *lab) kill(t *testing.T, pids map[string]int) {
	t.Helper()
	for name, pid := range pids {
		p, err := host.FindProcess(pid)
		if err == nil {
			err = p.Signal(unix.SIGKILL)
		}
		if errors.Is(err, host.ErrGone) {
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := p.Wait(within(t)); err != nil {
			t.Fatal(err)
		}
	}
}

// another is the Daemons of a tropo that was started again.
func (l *lab) another(t *testing.T) *daemons.Daemons {
	t.Helper()
	d, err := daemons.New(l.config)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (l *lab) testRestart(t *testing.T) {
	s := driver.State{
		Networks:       []driver.Network{{ID: "lan", Type: driver.TypeGeneve}},
		SecurityGroups: []driver.SecurityGroup{{ID: "any", Rules: []driver.Rule{{ID: "any-in", Direction: driver.Ingress}, {ID: "any-out", Direction: driver.Egress}}}},
	}
	var guests []*drivertest.Guest
	for i, ip := range []string{"10.9.0.1", "10.9.0.2"} {
		s.Ports = append(s.Ports, driver.Port{
			ID: "lan-" + ip, NetworkID: "lan", Kind: driver.KindVIF, MAC: "fa:16:3e:0c:00:0" + strconv.Itoa(i), AdminUp: true, PortSecurity: true,
			Host: l.cloud.Chassis(), Addresses: []driver.PortAddress{{IP: netip.MustParseAddr(ip)}}, SecurityGroups: []string{"any"},
		})
	}
	if _, err := l.driver.Sync(within(t), s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := l.driver.Sync(context.Background(), driver.State{}); err != nil {
			t.Error(err)
		}
	})
	for _, p := range s.Ports {
		g := drivertest.Plug(t, l.driver.Capabilities(), p)
		g.Static(t, netip.PrefixFrom(p.Addresses[0].IP, 24), netip.Addr{})
		guests = append(guests, g)
	}
	drivertest.Serve(t, guests[1].Netns, ":80")
	drivertest.Reaches(t, guests[0].Netns, "10.9.0.2:80")

	before := l.pids(t)
	if len(before) != 6 {
		t.Fatalf("daemons %v", before)
	}
	again := l.another(t)
	if err := again.Start(within(t)); err != nil {
		t.Fatal(err)
	}
	if after := l.pids(t); !maps.Equal(before, after) {
		t.Errorf("daemons were %v, are %v", before, after)
	}
	if got := again.Capabilities().DatapathType; got != l.cloud.Capabilities().DatapathType {
		t.Errorf("datapath type %q", got)
	}

	// Every daemon is killed; Run brings it back and traffic goes on.
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- again.Run(ctx) }()
	l.kill(t, before)
	drivertest.Reaches(t, guests[0].Netns, "10.9.0.2:80")
	if drift, err := l.driver.Sync(within(t), s); err != nil || len(drift.Healed)+len(drift.Deleted) > 0 {
		t.Errorf("the northbound database lost something: %v, %v", drift, err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
}

func (l *lab) testStop(t *testing.T) {
	before := l.pids(t)
	for range 2 {
		if err := l.another(t).Stop(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	for name, pid := range before {
		if b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline"); err == nil && strings.Contains(string(b), l.config.Dir) {
			t.Errorf("%s still runs", name)
		}
	}
	if host.NetnsExists(l.cloud.Netns()) || host.LinkExists("", l.cloud.HostLink()) {
		t.Error("namespace or link left")
	}
	if _, err := os.Stat(l.config.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("directory left: %v", err)
	}
}

// TestTwoClouds: clouds stand side by side, and the end of one does not touch
// the other.
func TestTwoClouds(t *testing.T) {
	a, b := newLab(t), newLab(t)
	before := b.pids(t)
	if err := a.cloud.Stop(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := b.cloud.Start(within(t)); err != nil {
		t.Fatal(err)
	}
	if after := b.pids(t); len(after) != 6 || !maps.Equal(before, after) {
		t.Errorf("daemons were %v, are %v", before, after)
	}
}

// TestStartAfterReboot: without the namespace the switch begins anew, and the
// northbound rows are still there.
func TestStartAfterReboot(t *testing.T) {
	l := newLab(t)
	n := driver.Network{ID: "kept", Type: driver.TypeGeneve}
	if err := l.driver.EnsureNetwork(within(t), n); err != nil {
		t.Fatal(err)
	}
	l.kill(t, l.pids(t))
	if err := errors.Join(host.DeleteLink("", l.cloud.HostLink()), host.DeleteNetns(l.cloud.Netns())); err != nil {
		t.Fatal(err)
	}
	again := l.another(t)
	if err := again.Start(within(t)); err != nil {
		t.Fatal(err)
	}
	if !host.LinkExists("", l.cloud.HostLink()) {
		t.Error("no link to the host")
	}
	drift, err := l.driver.Sync(within(t), driver.State{Networks: []driver.Network{n}})
	if err != nil || len(drift.Healed) > 0 {
		t.Errorf("drift %v, %v", drift, err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, c := range map[string]daemons.Config{
		"no id":      {Dir: "/tmp/x", Central: true},
		"no dir":     {ID: "x", Central: true},
		"long dir":   {ID: "x", Dir: "/" + strings.Repeat("d", 90), Central: true},
		"comma":      {ID: "x", Dir: "/tmp/a,b", Central: true},
		"no central": {ID: "x", Dir: "/tmp/x"},
		"encap":      {ID: "x", Dir: "/tmp/x", Central: true, EncapIP: "localhost"},
		"type":       {ID: "x", Dir: "/tmp/x", Central: true, EncapType: "gre"},
		"bridge":     {ID: "x", Dir: "/tmp/x", Central: true, PhysicalNetworks: map[string]string{"public": "br-int"}},
		"chassis":    {ID: "x", Dir: "/tmp/x", Central: true, Chassis: "a b"},
	} {
		if _, err := daemons.New(c); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
