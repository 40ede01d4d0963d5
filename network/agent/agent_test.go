package agent_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/agent"
	"github.com/tropocloud/tropo/network/driver"
	"github.com/tropocloud/tropo/network/driver/fake"
	"github.com/tropocloud/tropo/network/manager"
	"github.com/tropocloud/tropo/network/store"
)

// served is a host with provider addresses that keeps what it is told.
type served struct {
	mu        sync.Mutex
	addresses map[netip.Prefix]bool
}

func (s *served) EnsureProviderAddress(_ context.Context, p netip.Prefix) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addresses[p] = true
	return nil
}

func (s *served) RemoveProviderAddress(_ context.Context, p netip.Prefix) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.addresses, p)
	return nil
}

// lab is a manager over a database, a fake dataplane, and agents that come
// and go.
type lab struct {
	t      *testing.T
	m      *manager.Manager
	store  *store.Store
	driver *fake.Driver
	served *served
	hook   func(driver.Object, bool) error
}

func newLab(t *testing.T) *lab {
	t.Helper()
	ctx := t.Context()
	st, err := store.New(ctx, dbtest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	conf := network.Config{
		GlobalMTU: 1500, AgentDownTime: 75, BaseMAC: "fa:16:3e:00:00:00", MaxFixedIPs: 5, MaxRoutes: 30, MaxDNS: 5, MaxHostRoutes: 20, MaxAddressPairs: 10, Zone: "nova", ExternalPhysical: "public", FlatNetworks: []string{"*"},
		Quota: network.Quotas{Network: -1, Subnet: -1, Port: -1, Router: -1, FloatingIP: -1, SecurityGroup: -1, SecurityGroupRule: -1, SubnetPool: -1, RBACPolicy: -1, AddressGroup: -1},
	}
	m, err := manager.New(ctx, manager.Options{
		Store: st, Config: conf, Log: slog.New(slog.DiscardHandler),
		Dataplane: network.Dataplane{VIFType: "ovs", NetworkTypes: []string{"geneve", "flat"}, PhysicalNetworks: []string{"public"}, TunnelMTU: 1442, PhysicalMTU: 1500},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &lab{t: t, m: m, store: st, driver: fake.New(), served: &served{addresses: map[netip.Prefix]bool{}}}
}

// agent makes a new one, as after a restart.
func (l *lab) agent() *agent.Agent {
	return agent.New(agent.Options{
		Rows: l.store, Manager: l.m, Driver: l.driver, Provider: l.served, Wake: l.m.Wake(),
		Log: slog.New(slog.DiscardHandler), Domain: "openstacklocal.", External: "public", Hook: l.hook,
	})
}

func change(t *testing.T, v map[string]any) network.Change {
	t.Helper()
	v["project_id"] = "p"
	c, err := network.NewChange(v)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

type made struct{ ext, extSub, net, sub, router, port, fip string }

// build makes one of each; the agent has not looked yet.
func (l *lab) build() made {
	t, ctx, m := l.t, l.t.Context(), l.m
	t.Helper()
	ext := must[*network.Network](t)(m.CreateNetwork(ctx, change(t, map[string]any{"router:external": true, "admin_state_up": true})))
	es := must[*network.Subnet](t)(m.CreateSubnet(ctx, change(t, map[string]any{"network_id": ext.ID, "ip_version": 4, "cidr": "203.0.113.0/24"})))
	n := must[*network.Network](t)(m.CreateNetwork(ctx, change(t, map[string]any{"port_security_enabled": true})))
	s := must[*network.Subnet](t)(m.CreateSubnet(ctx, change(t, map[string]any{"network_id": n.ID, "ip_version": 4, "cidr": "10.0.0.0/24", "enable_dhcp": true})))
	r := must[*network.Router](t)(m.CreateRouter(ctx, change(t, map[string]any{"external_gateway_info": map[string]any{"network_id": ext.ID}})))
	must[*manager.Interface](t)(m.AddInterface(ctx, r.ID, s.ID, ""))
	p := must[*network.Port](t)(m.CreatePort(ctx, change(t, map[string]any{"network_id": n.ID, "admin_state_up": true})))
	f := must[*network.FloatingIP](t)(m.CreateFloatingIP(ctx, change(t, map[string]any{"floating_network_id": ext.ID, "port_id": p.ID})))
	return made{ext.ID, es.ID, n.ID, s.ID, r.ID, p.ID, f.ID}
}

func (l *lab) settle(a *agent.Agent) error {
	for {
		n, _, err := a.Step(l.t.Context())
		if err != nil || n == 0 {
			return err
		}
	}
}

// tear deletes everything.
func (l *lab) tear(w made) {
	t, ctx, m := l.t, l.t.Context(), l.m
	t.Helper()
	for _, err := range []error{
		m.DeleteFloatingIP(ctx, w.fip, 0), m.DeletePort(ctx, w.port, 0), m.DeleteNetwork(ctx, w.net, 0),
	} {
		if err != nil && !fault.Is(err, fault.Conflict) {
			t.Fatal(err)
		}
	}
	must[*manager.Interface](t)(m.RemoveInterface(ctx, w.router, w.sub, ""))
	for _, err := range []error{m.DeleteRouter(ctx, w.router, 0), m.DeleteNetwork(ctx, w.net, 0), m.DeleteNetwork(ctx, w.ext, 0)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	groups := must[[]network.SecurityGroup](t)(manager.List[network.SecurityGroup](ctx, m, manager.Query{}))
	for _, g := range groups {
		if err := m.DeleteSecurityGroup(ctx, g.ID, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// equal checks that the dataplane has what the rows say, and nothing else.
func (l *lab) equal(a *agent.Agent) {
	l.t.Helper()
	drift, err := a.Sync(l.t.Context())
	if err != nil || len(drift.Healed)+len(drift.Deleted) != 0 {
		l.t.Errorf("the dataplane differed: %+v %v", drift, err)
	}
}

// TestKilledAnywhere ends the agent before and after every call of the
// driver, while things are made and while they are deleted: the next agent
// finishes, and nothing is left or missing.
func TestKilledAnywhere(t *testing.T) {
	killed := errors.New("killed")
	each := 1
	if testing.Short() {
		each = 5
	}
	for stop := 0; ; stop += each {
		l := newLab(t)
		calls, died := 0, false
		l.hook = func(driver.Object, bool) error {
			if calls++; calls == stop+1 {
				died = true
				return killed
			}
			return nil
		}
		w := l.build()
		err := l.settle(l.agent())
		if died != errors.Is(err, killed) {
			t.Fatalf("stop %d: %v", stop, err)
		}
		if stop%2 == 0 { // a restart looks at everything, or only follows marks
			if _, err := l.agent().Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.settle(l.agent()); err != nil && !errors.Is(err, killed) {
			t.Fatal(err)
		}
		if err := l.settle(l.agent()); err != nil {
			t.Fatal(err)
		}
		l.equal(l.agent())
		l.tear(w)
		for range 3 {
			if err := l.settle(l.agent()); err != nil && !errors.Is(err, killed) {
				t.Fatal(err)
			}
		}
		if left := must[[]driver.Object](t)(l.driver.Owned(t.Context())); len(left) != 0 {
			t.Fatalf("stop %d: left in the dataplane: %v", stop, left)
		}
		if len(l.served.addresses) != 0 {
			t.Fatalf("stop %d: left on the host: %v", stop, l.served.addresses)
		}
		if n := must[int](t)(l.store.DirtyCount(t.Context())); n != 0 {
			t.Fatalf("stop %d: %d marks left", stop, n)
		}
		if !died {
			return
		}
	}
}

func TestHostServes(t *testing.T) {
	l := newLab(t)
	w := l.build()
	if err := l.settle(l.agent()); err != nil {
		t.Fatal(err)
	}
	if !l.served.addresses[netip.MustParsePrefix("203.0.113.1/24")] {
		t.Errorf("the host has %v", l.served.addresses)
	}
	var p driver.Port
	for _, row := range must[*network.State](t)(l.store.All(t.Context())).Ports {
		if row.NetworkID == w.net && row.DeviceOwner == network.OwnerDistributed {
			p, _ = l.driver.Object(driver.Object{Kind: driver.ObjectPort, ID: row.ID}).(driver.Port)
		}
	}
	if p.Kind != driver.KindMetadata || len(p.Addresses) != 1 || p.Addresses[0].Bits != 24 || p.MTU != 1442 {
		t.Errorf("metadata is served on %+v", p)
	}
	s, _ := l.driver.Object(driver.Object{Kind: driver.ObjectSubnet, ID: w.sub}).(driver.Subnet)
	if s.Metadata != p.Addresses[0].IP {
		t.Errorf("DHCP tells %s, metadata is at %s", s.Metadata, p.Addresses[0].IP)
	}
	c := must[network.Change](t)(network.NewChange(map[string]any{"enable_dhcp": false}))
	must[*network.Subnet](t)(l.m.UpdateSubnet(t.Context(), w.sub, c))
	c = must[network.Change](t)(network.NewChange(map[string]any{"gateway_ip": nil}))
	must[*network.Subnet](t)(l.m.UpdateSubnet(t.Context(), w.extSub, c))
	if err := l.settle(l.agent()); err != nil {
		t.Fatal(err)
	}
	if len(l.served.addresses) != 0 {
		t.Errorf("the host keeps %v", l.served.addresses)
	}
	if s, _ = l.driver.Object(driver.Object{Kind: driver.ObjectSubnet, ID: w.sub}).(driver.Subnet); s.DHCP || s.Metadata.IsValid() {
		t.Errorf("the dataplane has %+v", s)
	}
	l.equal(l.agent())
}

// TestDataplaneAway keeps the marks while the dataplane does not answer.
func TestDataplaneAway(t *testing.T) {
	l := newLab(t)
	l.driver.Fail(fault.Unavailablef("no answer"))
	l.build()
	a, began := l.agent(), time.Now()
	n, _, err := a.Step(t.Context())
	if err != nil || n == 0 {
		t.Fatal(n, err)
	}
	marks := must[[]network.Dirty](t)(l.store.AllMarks(t.Context()))
	if len(marks) != n {
		t.Errorf("%d marks of %d are left", len(marks), n)
	}
	for _, d := range marks {
		if d.Attempts != 1 || d.DueAt.Before(began.Add(100*time.Millisecond)) {
			t.Errorf("tried again at once: %+v", d)
		}
		if err := l.store.Again(t.Context(), d, time.Now().Add(time.Hour), "no answer"); err != nil {
			t.Fatal(err)
		}
	}
	if again, next, err := a.Step(t.Context()); err != nil || again != 0 || !next.After(time.Now()) {
		t.Errorf("tried before its time: %d %s %v", again, next, err)
	}
	l.driver.Fail(nil)
	drift := must[driver.Drift](t)(a.Sync(t.Context()))
	if len(drift.Healed) == 0 {
		t.Error("nothing was healed")
	}
	l.equal(a)
}

func TestDriftIsHealed(t *testing.T) {
	l := newLab(t)
	w := l.build()
	a := l.agent()
	if err := l.settle(a); err != nil {
		t.Fatal(err)
	}
	lost := driver.Object{Kind: driver.ObjectRouter, ID: w.router}
	l.driver.Lose(lost)
	if err := l.driver.EnsureNetwork(t.Context(), driver.Network{ID: "stray", Type: driver.TypeGeneve}); err != nil {
		t.Fatal(err)
	}
	drift := must[driver.Drift](t)(a.Sync(t.Context()))
	if !slices.Contains(drift.Healed, lost) || len(drift.Deleted) != 1 || drift.Deleted[0].ID != "stray" {
		t.Errorf("%+v", drift)
	}
}

// TestRunFollows runs the agent as the service does: rows are followed, and
// plugged ports come up.
func TestRunFollows(t *testing.T) {
	l := newLab(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.agent().Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}()
	w := l.build()
	until(t, func() bool { return l.driver.Object(driver.Object{Kind: driver.ObjectPort, ID: w.port}) != nil })
	if err := l.m.Heartbeat(ctx, "host1"); err != nil {
		t.Fatal(err)
	}
	c := must[network.Change](t)(network.NewChange(map[string]any{"binding:host_id": "host1", "device_id": "vm", "device_owner": "compute:nova"}))
	if p := must[*network.Port](t)(l.m.UpdatePort(ctx, w.port, c)); p.VIFType != "ovs" || p.Status != network.StatusDown {
		t.Errorf("bound port %+v", p)
	}
	status := func(want string) func() bool {
		return func() bool {
			return must[*network.Port](t)(manager.Show[network.Port](ctx, l.m, w.port)).Status == want
		}
	}
	l.driver.Plug(w.port, true)
	until(t, status(network.StatusActive))
	l.driver.Plug(w.port, false)
	until(t, status(network.StatusDown))
}

// forgetful is a manager that can't write for a while.
type forgetful struct {
	agent.Manager
	left atomic.Int32
}

func (f *forgetful) PortUp(ctx context.Context, id string, up bool) error {
	if f.left.Add(-1) >= 0 {
		return fault.Unavailablef("the database is away")
	}
	return f.Manager.PortUp(ctx, id, up)
}

// TestPortEventsAreNotLost: what could not be written when a port came up is
// written as soon as that is possible.
func TestPortEventsAreNotLost(t *testing.T) {
	l := newLab(t)
	m := &forgetful{Manager: l.m}
	m.left.Store(3)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	a := agent.New(agent.Options{Rows: l.store, Manager: m, Driver: l.driver, Wake: l.m.Wake(), Log: slog.New(slog.DiscardHandler)})
	go func() { done <- a.Run(ctx) }()
	defer func() { cancel(); <-done }()
	w := l.build()
	l.report("h1", false)
	l.bind(w.port, "h1")
	l.driver.Plug(w.port, true)
	until(t, func() bool {
		return must[*network.Port](t)(manager.Show[network.Port](ctx, l.m, w.port)).Status == network.StatusActive
	})
}

// until waits for a condition that other goroutines bring about.
func until(t *testing.T, f func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-deadline:
			t.Fatal("did not happen in time")
		case <-tick.C:
		}
	}
}
