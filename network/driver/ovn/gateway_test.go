package ovn_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/bus/inproc"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/host"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/agent/chassis"
	"github.com/tropocloud/tropo/network/driver"
	"github.com/tropocloud/tropo/network/driver/drivertest"
	"github.com/tropocloud/tropo/network/driver/ovn"
)

// outside adds to a lan the provider network 10.89.2.0/24, a router with
// gateways on hosts, and a floating IP for the lan's first port.
func outside(s driver.State, hosts ...string) driver.State {
	addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
	s.Networks = append(s.Networks, driver.Network{ID: "ext", Type: driver.TypeFlat, Physical: "public", MTU: 1500})
	s.Ports = append(s.Ports,
		driver.Port{ID: "lan-gw", NetworkID: "lan", Kind: driver.KindRouter, DeviceOwner: "network:router_interface", MAC: "fa:16:3e:0e:00:01", AdminUp: true, Addresses: []driver.PortAddress{{SubnetID: "lan-v4", IP: addr("10.9.0.1")}}},
		driver.Port{ID: "ext-gw", NetworkID: "ext", Kind: driver.KindRouter, DeviceOwner: "network:router_gateway", MAC: "fa:16:3e:0e:00:02", AdminUp: true, Addresses: []driver.PortAddress{{SubnetID: "ext-v4", IP: addr("10.89.2.2")}}},
	)
	s.Routers = []driver.Router{{
		ID: "r", AdminUp: true,
		Interfaces: []driver.RouterInterface{{PortID: "lan-gw", NetworkID: "lan", MAC: "fa:16:3e:0e:00:01", Addresses: []netip.Prefix{prefix("10.9.0.1/24")}, MTU: 1442}},
		Gateway: &driver.RouterGateway{
			PortID: "ext-gw", NetworkID: "ext", MAC: "fa:16:3e:0e:00:02", Addresses: []netip.Prefix{prefix("10.89.2.2/24")}, NextHops: []netip.Addr{addr("10.89.2.254")},
			SNAT: true, MTU: 1500, Hosts: hosts,
		},
	}}
	s.FloatingIPs = []driver.FloatingIP{{ID: "fip", RouterID: "r", External: addr("10.89.2.50"), PortID: s.Ports[0].ID, Fixed: addr("10.9.0.16")}}
	return s
}

// TestGateways: a guest on a compute node has a floating IP over a network
// node, which goes on without the central databases, and moves to another
// network node when that one dies.
func TestGateways(t *testing.T) {
	s := newSite(t, 4)
	must(t, host.EnsureAddr(s.wires(), "prov", netip.MustParsePrefix("10.89.2.254/24")))
	must(t, host.DisableOffload(s.wires(), "prov")) // a wire has whole checksums
	s.controls(1)
	s.hosts[0].conf.NoChassis = true
	for _, i := range []int{1, 2} {
		c := &s.hosts[i].conf
		c.PhysicalNetworks, c.Gateway, c.ProviderLink = nil, true, "eth2"
	}
	for i := range s.hosts {
		s.start(t, i)
	}
	state := outside(lan("h4"), "h2", "h3")
	if _, err := s.driver(t, 0).Sync(within(t), state); err != nil {
		t.Fatal(err)
	}
	g := drivertest.Plug(t, s.hosts[3].cloud.Capabilities(), state.Ports[0])
	g.Static(t, netip.MustParsePrefix("10.9.0.16/24"), netip.MustParseAddr("10.9.0.1"))
	drivertest.Serve(t, g.Netns, ":80")
	if got := drivertest.Reaches(t, s.wires(), "10.89.2.50:80"); got != "10.89.2.254" {
		t.Errorf("seen as %s", got)
	}
	drivertest.Serve(t, s.wires(), "10.89.2.254:8080")
	if got := drivertest.Reaches(t, g.Netns, "10.89.2.254:8080"); got != "10.89.2.50" {
		t.Errorf("seen from outside as %s", got)
	}

	// The central databases and northd are gone: what is there goes on.
	s.hosts[0].rest()
	s.killCentral(t, 0)
	for range 5 {
		if err := dialOnce(s.wires(), "10.89.2.50:80"); err != nil {
			t.Errorf("without central databases: %v", err)
		}
	}
	s.start(t, 0)

	// The network node that has the gateway dies.
	h2 := s.hosts[1]
	h2.rest()
	l := lab{config: h2.conf}
	l.kill(t, l.pids(t))
	if got := drivertest.Reaches(t, s.wires(), "10.89.2.50:80"); got != "10.89.2.254" {
		t.Errorf("after the failover seen as %s", got)
	}
	s.start(t, 1)
	drivertest.Reaches(t, s.wires(), "10.89.2.50:80")
}

// dialOnce connects once from a namespace.
func dialOnce(netns, address string) error {
	return host.InNetns(netns, func() error {
		c, err := net.DialTimeout("tcp", address, 30*time.Second)
		if err != nil {
			return err
		}
		return c.Close()
	})
}

// TestMetadataFollowsGuests: the metadata service is on the hosts where a
// network has guests, and tells them apart by what the southbound database
// says (threats 38 and 40).
func TestMetadataFollowsGuests(t *testing.T) {
	s := newSite(t, 3)
	s.controls(1)
	s.hosts[0].conf.NoChassis = true
	for i := range s.hosts {
		s.start(t, i)
	}
	const id = "11111111-aaaa-4aaa-8aaa-000000000001"
	addr := netip.MustParseAddr
	state := lan("h2", "h3")
	state.Networks[0].ID, state.Subnets[0].NetworkID, state.Subnets[0].Metadata = id, id, addr("10.9.0.2")
	for i := range state.Ports {
		p := &state.Ports[i]
		p.NetworkID, p.DeviceID, p.DeviceOwner, p.ProjectID = id, "server-"+p.Host, "compute:nova", "project-"+p.Host
	}
	state.Ports = append(state.Ports, driver.Port{
		ID: "md", NetworkID: id, Kind: driver.KindMetadata, MAC: "fa:16:3e:0f:00:01", AdminUp: true, DeviceOwner: "network:distributed", MTU: 1442,
		Addresses: []driver.PortAddress{{SubnetID: "lan-v4", IP: addr("10.9.0.2"), Bits: 24}},
	})
	d := s.driver(t, 0)
	if _, err := d.Sync(within(t), state); err != nil {
		t.Fatal(err)
	}
	for i := 1; i < 3; i++ {
		south := s.metadata(t, i)
		p := state.Ports[i-1]
		g := drivertest.Plug(t, s.hosts[i].cloud.Capabilities(), p)
		g.DHCP(t)
		if got, want := fetch(t, g.Netns), fmt.Sprintf("h%d %s server-%s project-%s", i+1, id, p.Host, p.Host); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		// A guest of another host is none of ours, whatever address comes.
		other := state.Ports[2-i].Addresses[0].IP
		if server, _, err := south.GuestAt(within(t), id, other); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s on h%d is %s, %v", other, i+1, server, err)
		}
		if server, _, err := south.GuestAt(within(t), id, addr("fe80::f816:3eff:fe0d:0010")); i == 1 && (err != nil || server != "server-h2") {
			t.Errorf("by link-local address: %s, %v", server, err)
		}
		if server, _, err := south.GuestAt(within(t), "other", p.Addresses[0].IP); !fault.Is(err, fault.NotFound) {
			t.Errorf("in another network: %s, %v", server, err)
		}
		if server, _, err := south.GuestAt(within(t), id, addr("10.9.0.2")); !fault.Is(err, fault.NotFound) {
			t.Errorf("the service itself: %s, %v", server, err)
		}
	}
	// A guest leaves for good: the host serves its network no more.
	state.Ports = state.Ports[1:]
	if _, err := d.Sync(within(t), state); err != nil {
		t.Fatal(err)
	}
	await(t, "namespaces left on h2", func() bool {
		left, err := s.hosts[1].cloud.MetadataNamespaces()
		return err == nil && len(left) == 0
	})
}

// metadata serves a host's guests until the test ends; the answer tells the
// host, and who it takes the guest for.
func (s *site) metadata(t *testing.T, i int) *ovn.Southbound {
	t.Helper()
	h := s.hosts[i]
	south, err := ovn.OpenSouthbound(ovn.SouthboundOptions{
		Remotes: h.cloud.SouthboundRemotes, TLS: s.tls(i), Dial: s.dial(i), Chassis: h.conf.Chassis, Timeout: time.Minute,
	})
	must(t, err)
	t.Cleanup(func() { south.Close() })
	m := ovn.NewMetadata(h.cloud, func(w http.ResponseWriter, r *http.Request, networkID string) {
		from := netip.MustParseAddrPort(r.RemoteAddr).Addr().Unmap()
		server, project, err := south.GuestAt(r.Context(), networkID, from)
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		fmt.Fprintf(w, "%s %s %s %s", h.conf.Chassis, networkID, server, project)
	}, nil)
	t.Cleanup(func() { m.Close() })
	b := inproc.New(inproc.Options{})
	t.Cleanup(func() { b.Close() })
	reports := make(chan network.HostReport, 64)
	mux := &bus.Mux{}
	bus.Handle(mux, network.MethodReport, func(_ context.Context, r network.HostReport) (network.HostOrders, error) {
		reports <- r
		return network.HostOrders{}, nil
	})
	stop, err := b.Serve(t.Context(), network.TopicManager, "manager", mux.Serve)
	must(t, err)
	t.Cleanup(stop)
	a := chassis.New(chassis.Options{
		Report: network.HostReport{Host: h.conf.Chassis}, Bus: b, Switch: h.cloud, Guests: south, Metadata: m, Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	if r := <-reports; r.Host != h.conf.Chassis {
		t.Errorf("heartbeat %+v", r)
	}
	return south
}

// await waits for a condition that other processes bring about.
func await(t *testing.T, what string, f func() bool) {
	t.Helper()
	ctx := within(t)
	for !f() {
		select {
		case <-ctx.Done():
			t.Fatal(what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
