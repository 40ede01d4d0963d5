package agent_test

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/bus/inproc"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/driver"
	"github.com/tropocloud/tropo/network/manager"
	"github.com/tropocloud/tropo/network/store"
)

func (l *lab) report(host string, gateway bool, physical ...string) {
	l.t.Helper()
	r := network.HostReport{
		Host: host, Connected: true, Metadata: true, Gateway: gateway, VIFType: "ovs", Bridge: "br-" + host, DatapathType: "system", PhysicalNetworks: physical,
	}
	if _, err := l.m.Report(l.t.Context(), r); err != nil {
		l.t.Fatal(err)
	}
}

// silence makes a host's agents as old as if it had died.
func (l *lab) silence(host string) {
	l.t.Helper()
	for _, a := range l.agents() {
		if a.Host != host {
			continue
		}
		if err := l.store.Seen(l.t.Context(), a.ID, a.Heartbeat, a.LastSeen-100); err != nil {
			l.t.Fatal(err)
		}
	}
}

func (l *lab) agents() []network.Agent {
	l.t.Helper()
	return must[[]network.Agent](l.t)(manager.List[network.Agent](l.t.Context(), l.m, manager.Query{}))
}

func (l *lab) bind(port, host string) *network.Port {
	l.t.Helper()
	c := must[network.Change](l.t)(network.NewChange(map[string]any{"binding:host_id": host, "device_id": "vm", "device_owner": "compute:nova"}))
	return must[*network.Port](l.t)(l.m.UpdatePort(l.t.Context(), port, c))
}

// TestBindingNeedsALivingHost: a port is bound as its host wires it, and not
// at all where no living host does.
func TestBindingNeedsALivingHost(t *testing.T) {
	l := newLab(t)
	w := l.build()
	if p := l.bind(w.port, "h1"); p.VIFType != "binding_failed" {
		t.Errorf("on an unknown host: %s", p.VIFType)
	}
	l.report("h1", false)
	// Tried again with any change, as Neutron does.
	c := must[network.Change](t)(network.NewChange(map[string]any{"description": "again"}))
	if p := must[*network.Port](t)(l.m.UpdatePort(t.Context(), w.port, c)); p.VIFType != "ovs" || p.VIFDetails["bridge_name"] != "br-h1" || p.VIFDetails["datapath_type"] != "system" {
		t.Errorf("bound: %s %v", p.VIFType, p.VIFDetails)
	}
	l.report("h2", false)
	l.silence("h2")
	if p := l.bind(w.port, "h2"); p.VIFType != "binding_failed" {
		t.Errorf("on a dead host: %s", p.VIFType)
	}
	outside := must[*network.Port](t)(l.m.CreatePort(t.Context(), change(t, map[string]any{"network_id": w.ext, "admin_state_up": true, "fixed_ips": []any{}})))
	if p := l.bind(outside.ID, "h1"); p.VIFType != "binding_failed" {
		t.Errorf("without the physical network: %s", p.VIFType)
	}
	l.report("h3", true, "public")
	if p := l.bind(outside.ID, "h3"); p.VIFType != "ovs" {
		t.Errorf("with the physical network: %s", p.VIFType)
	}
	types := []string{}
	for _, a := range l.agents() {
		if a.Host != "h2" && !l.m.Alive(&a) || a.Host == "h2" && l.m.Alive(&a) {
			t.Errorf("%s on %s: alive is %t", a.AgentType, a.Host, l.m.Alive(&a))
		}
		types = append(types, a.Host+" "+a.AgentType)
	}
	slices.Sort(types)
	want := []string{"h1 " + network.AgentMetadata, "h1 " + network.AgentController, "h2 " + network.AgentMetadata, "h2 " + network.AgentController, "h3 " + network.AgentMetadata, "h3 " + network.AgentGateway}
	slices.Sort(want)
	if !slices.Equal(types, want) {
		t.Errorf("agents %v", types)
	}
}

// TestPhysicalNetworksOfAHostThatIsNotUpYet: networks can be made on what a host
// told with its first report, but it counts as down and holds no gateways until
// its controller speaks with the database.
func TestPhysicalNetworksOfAHostThatIsNotUpYet(t *testing.T) {
	l := newLab(t)
	plane := l.m.Dataplane()
	plane.PhysicalNetworks = nil // they are on other machines
	l.m = must[*manager.Manager](t)(manager.New(t.Context(), manager.Options{
		Store: l.store, Config: l.m.Config(), Dataplane: plane, Log: slog.New(slog.DiscardHandler),
	}))
	flat := map[string]any{"provider:network_type": "flat", "provider:physical_network": "wire", "admin_state_up": true}
	if _, err := l.m.CreateNetwork(t.Context(), change(t, flat)); err == nil {
		t.Fatal("a network on a wire that nobody has was made")
	}
	r := network.HostReport{Host: "h1", Gateway: true, VIFType: "ovs", Bridge: "br-int", PhysicalNetworks: []string{"wire"}}
	for range 2 {
		must[network.HostOrders](t)(l.m.Report(t.Context(), r))
	}
	n := must[*network.Network](t)(l.m.CreateNetwork(t.Context(), change(t, flat)))
	p := must[*network.Port](t)(l.m.CreatePort(t.Context(), change(t, map[string]any{"network_id": n.ID, "admin_state_up": true})))
	if list := l.agents(); len(list) != 1 || l.m.Alive(&list[0]) {
		t.Errorf("agents %+v", list)
	}
	if hosts := must[[]string](t)(l.store.GatewayHosts(t.Context())); len(hosts) != 0 {
		t.Errorf("gateways may be on %v", hosts)
	}
	if b := l.bind(p.ID, "h1"); b.VIFType != "binding_failed" {
		t.Errorf("before the host is up: %s", b.VIFType)
	}
	r.Connected = true
	must[network.HostOrders](t)(l.m.Report(t.Context(), r))
	if list := l.agents(); len(list) != 1 || !l.m.Alive(&list[0]) || list[0].AgentType != network.AgentGateway {
		t.Errorf("agents %+v", list)
	}
	if b := l.bind(p.ID, "h1"); b.VIFType != "ovs" {
		t.Errorf("when the host is up: %s", b.VIFType)
	}
	// A controller that is cut off for a while stays what it was.
	r.Connected = false
	must[network.HostOrders](t)(l.m.Report(t.Context(), r))
	if hosts := must[[]string](t)(l.store.GatewayHosts(t.Context())); !slices.Equal(hosts, []string{"h1"}) {
		t.Errorf("gateways may be on %v", hosts)
	}
}

// TestManagersWakeEachOther: the reconciler runs on one control node, and hears
// of what the others write.
func TestManagersWakeEachOther(t *testing.T) {
	l := newLab(t)
	var managers []*manager.Manager
	hub := inproc.New(inproc.Options{})
	t.Cleanup(func() { hub.Close() })
	for _, host := range []string{"c1", "c2"} {
		m := must[*manager.Manager](t)(manager.New(t.Context(), manager.Options{
			Store: l.store, Config: l.m.Config(), Dataplane: l.m.Dataplane(), Log: slog.New(slog.DiscardHandler), Bus: hub, Host: host,
		}))
		t.Cleanup(must[func()](t)(m.Serve(t.Context())))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- m.Run(ctx) }()
		t.Cleanup(func() { cancel(); <-ended })
		managers = append(managers, m)
	}
	must[*network.Network](t)(managers[1].CreateNetwork(t.Context(), change(t, map[string]any{})))
	select {
	case <-managers[0].Wake():
	case <-time.After(time.Minute):
		t.Error("c1 was not woken")
	}
	if _, err := bus.Do[network.HostOrders](t.Context(), hub, bus.Target{Topic: network.TopicManager}, network.MethodReport, network.HostReport{Host: "h9", Connected: true}); err != nil {
		t.Fatal(err)
	}
	if list := l.agents(); len(list) != 1 || list[0].Host != "h9" {
		t.Errorf("agents %v", list)
	}
}

// TestGatewaysFollowHosts: routers' gateways are on all hosts that may have
// them, spread, and leave one that is drained or removed.
func TestGatewaysFollowHosts(t *testing.T) {
	l := newLab(t)
	w := l.build()
	a := l.agent()
	hosts := func() []string {
		t.Helper()
		if err := l.settle(a); err != nil {
			t.Fatal(err)
		}
		r, _ := l.driver.Object(driver.Object{Kind: driver.ObjectRouter, ID: w.router}).(driver.Router)
		if r.Gateway == nil {
			t.Fatal("no gateway")
		}
		return r.Gateway.Hosts
	}
	l.report("c1", false, "public")
	l.report("n1", true, "public")
	if got := hosts(); !slices.Equal(got, []string{"n1"}) {
		t.Errorf("one host: %v", got)
	}
	l.report("n2", true, "public")
	l.report("n3", true, "public")
	three := hosts()
	if got := slices.Sorted(slices.Values(three)); !slices.Equal(got, []string{"n1", "n2", "n3"}) {
		t.Errorf("three hosts: %v", three)
	}
	drained := three[1]
	for _, g := range l.agents() {
		if g.Host == drained && g.AgentType == network.AgentGateway {
			c := must[network.Change](t)(network.NewChange(map[string]any{"admin_state_up": false}))
			must[*network.Agent](t)(l.m.UpdateAgent(t.Context(), g.ID, c))
		}
	}
	if got := hosts(); !slices.Equal(got, []string{three[0], three[2]}) {
		t.Errorf("without the drained %s of %v: %v", drained, three, got)
	}
	l.bind(w.port, three[0])
	for range 2 {
		if err := l.m.RemoveHost(t.Context(), three[0]); err != nil {
			t.Fatal(err)
		}
	}
	if got := hosts(); !slices.Equal(got, []string{three[2]}) {
		t.Errorf("without the removed %s: %v", three[0], got)
	}
	p := must[*network.Port](t)(store.Get[network.Port](t.Context(), l.store, w.port))
	if p.VIFType != "binding_failed" || p.Status != network.StatusDown {
		t.Errorf("the port there is %s, %s", p.VIFType, p.Status)
	}
	if list := l.agents(); slices.ContainsFunc(list, func(a network.Agent) bool { return a.Host == three[0] }) {
		t.Errorf("agents %v", list)
	}
	l.equal(a)
}
