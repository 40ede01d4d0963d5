// Package drivertest holds the conformance suites of network dataplanes: Run
// checks the contract of driver.Driver, Traffic that packets go where they
// should and nowhere else.
package drivertest

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network/driver"
)

// Harness is one dataplane, empty at first.
type Harness struct {
	Driver driver.Driver
	// Plug wires something to a port of kind KindVIF, so that it comes up;
	// the function returned unplugs it.
	Plug func(t *testing.T, p driver.Port) (unplug func())
	// Damage removes an object, or a part of it, behind the driver's back.
	Damage func(t *testing.T, o driver.Object)
}

// patience bounds every wait.
const patience = 2 * time.Minute

// deadline is the context of a test.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// Run runs the contract suite. open makes a dataplane for each test, or gives
// the same one each time: every test leaves it empty.
func Run(t *testing.T, open func(*testing.T) Harness) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Harness)
	}{
		{"EnsureIsIdempotent", ensureIsIdempotent},
		{"MissingContainers", missingContainers},
		{"BadPartsStopNothing", badPartsStopNothing},
		{"SyncHealsAndDeletes", syncHealsAndDeletes},
		{"SyncSparesTheUnknown", syncSparesTheUnknown},
		{"SyncGoesOnAfterBadObjects", syncGoesOn},
		{"PortEvents", portEvents},
		{"DeleteIsIdempotent", deleteIsIdempotent},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := open(t)
			c.test(t, h)
			if _, err := h.Driver.Sync(context.WithoutCancel(t.Context()), driver.State{}); err != nil {
				t.Errorf("empty the dataplane: %v", err)
			}
			expectOwned(t, h.Driver)
		})
	}
}

func num(n int) *int { return &n }

// Sample is a state with every kind of object.
func Sample() driver.State {
	prefix, addr := netip.MustParsePrefix, netip.MustParseAddr
	return driver.State{
		Networks: []driver.Network{
			{ID: "net-a", Name: "a", Type: driver.TypeGeneve, MTU: 1442},
			{ID: "net-ext", Name: "ext", Type: driver.TypeFlat, Physical: "public", MTU: 1500},
			{ID: "net-vlan", Name: "vlan", Type: driver.TypeVLAN, Physical: "public", VLAN: 100, MTU: 1500},
		},
		Subnets: []driver.Subnet{
			{
				ID: "sub-a", NetworkID: "net-a", CIDR: prefix("10.0.0.0/24"), DHCP: true, Gateway: addr("10.0.0.1"), Metadata: addr("10.0.0.2"),
				DNS: []netip.Addr{addr("192.0.2.53"), addr("192.0.2.54")}, Domain: "openstacklocal", MTU: 1442,
				HostRoutes: []driver.Route{{Destination: prefix("203.0.113.0/24"), NextHop: addr("10.0.0.9")}},
			},
			{ID: "sub-a6", NetworkID: "net-a", CIDR: prefix("fd00:a::/64"), DHCP: true, Gateway: addr("fd00:a::1"), Stateless: true},
		},
		AddressGroups: []driver.AddressGroup{{ID: "ag", Name: "office", Prefixes: []netip.Prefix{prefix("198.51.100.0/24"), prefix("2001:db8::/32")}}},
		SecurityGroups: []driver.SecurityGroup{
			{ID: "sg-web", Name: "web", Rules: []driver.Rule{
				{ID: "r1", Direction: driver.Egress},
				{ID: "r2", Direction: driver.Egress, IPv6: true},
				{ID: "r3", Direction: driver.Ingress, Protocol: "tcp", PortMin: num(80), PortMax: num(80)},
				{ID: "r4", Direction: driver.Ingress, Protocol: "icmp", PortMin: num(8), PortMax: num(0), Remote: prefix("10.0.0.0/8")},
				{ID: "r5", Direction: driver.Ingress, RemoteGroup: "sg-web"},
				{ID: "r6", Direction: driver.Ingress, Protocol: "udp", RemoteAddressGroup: "ag", PortMin: num(1000), PortMax: num(2000)},
				{ID: "r7", Direction: driver.Ingress, Protocol: "112"},
			}},
			{ID: "sg-raw", Stateless: true, Rules: []driver.Rule{{ID: "s1", Direction: driver.Ingress, IPv6: true, Protocol: "icmp"}}},
		},
		Ports: []driver.Port{
			{
				ID: "port-1", NetworkID: "net-a", Kind: driver.KindVIF, MAC: "fa:16:3e:00:00:01", AdminUp: true, PortSecurity: true, DeviceOwner: "compute:nova",
				Addresses:      []driver.PortAddress{{SubnetID: "sub-a", IP: addr("10.0.0.11")}, {SubnetID: "sub-a6", IP: addr("fd00:a::11")}},
				SecurityGroups: []string{"sg-web", "sg-raw"}, AllowedPairs: []driver.AddressPair{{Prefix: prefix("10.0.0.100/32")}, {MAC: "00:00:5e:00:01:01", Prefix: prefix("10.0.0.128/25")}},
				DHCPOptions: []driver.DHCPOption{{Name: "bootfile-name", Value: "pxelinux.0"}, {Name: "unheard-of", Value: "x"}, {Name: "ntp-server", Value: "192.0.2.1"}},
			},
			{ID: "port-2", NetworkID: "net-a", Kind: driver.KindVIF, MAC: "fa:16:3e:00:00:02", AdminUp: false, Addresses: []driver.PortAddress{{SubnetID: "sub-a", IP: addr("10.0.0.12")}}},
			{ID: "port-md", NetworkID: "net-a", Kind: driver.KindMetadata, MAC: "fa:16:3e:00:00:03", AdminUp: true, Addresses: []driver.PortAddress{{SubnetID: "sub-a", IP: addr("10.0.0.2")}}},
			{ID: "port-r", NetworkID: "net-a", Kind: driver.KindRouter, MAC: "fa:16:3e:00:00:04", AdminUp: true, DeviceOwner: "network:router_interface", Addresses: []driver.PortAddress{{SubnetID: "sub-a", IP: addr("10.0.0.1")}}},
			{ID: "port-gw", NetworkID: "net-ext", Kind: driver.KindRouter, MAC: "fa:16:3e:00:00:05", AdminUp: true, DeviceOwner: "network:router_gateway", Addresses: []driver.PortAddress{{IP: addr("192.0.2.10")}}},
			{ID: "port-fip", NetworkID: "net-ext", Kind: driver.KindReserved, MAC: "fa:16:3e:00:00:06", Addresses: []driver.PortAddress{{IP: addr("192.0.2.20")}}},
		},
		Routers: []driver.Router{{
			ID: "router", Name: "r", AdminUp: true,
			Interfaces: []driver.RouterInterface{{PortID: "port-r", NetworkID: "net-a", MAC: "fa:16:3e:00:00:04", Addresses: []netip.Prefix{prefix("10.0.0.1/24"), prefix("fd00:a::1/64")}, MTU: 1442, IPv6RA: "slaac"}},
			Gateway: &driver.RouterGateway{
				PortID: "port-gw", NetworkID: "net-ext", MAC: "fa:16:3e:00:00:05", Addresses: []netip.Prefix{prefix("192.0.2.10/24")},
				NextHops: []netip.Addr{addr("192.0.2.1")}, SNAT: true, MTU: 1500,
			},
			Routes: []driver.Route{{Destination: prefix("203.0.113.0/24"), NextHop: addr("10.0.0.9")}},
		}},
		FloatingIPs: []driver.FloatingIP{{ID: "fip", RouterID: "router", External: addr("192.0.2.20"), Fixed: addr("10.0.0.11"), PortID: "port-1"}},
	}
}

// sampleObjects are those of Sample that a dataplane holds.
func sampleObjects() []driver.Object {
	var out []driver.Object
	for _, o := range []struct {
		kind driver.ObjectKind
		ids  []string
	}{
		{driver.ObjectAddressGroup, []string{"ag"}},
		{driver.ObjectFloatingIP, []string{"fip"}},
		{driver.ObjectNetwork, []string{"net-a", "net-ext", "net-vlan"}},
		{driver.ObjectPort, []string{"port-1", "port-2", "port-gw", "port-md", "port-r"}},
		{driver.ObjectRouter, []string{"router"}},
		{driver.ObjectSecurityGroup, []string{"sg-raw", "sg-web"}},
		{driver.ObjectSubnet, []string{"sub-a", "sub-a6"}},
	} {
		for _, id := range o.ids {
			out = append(out, driver.Object{Kind: o.kind, ID: id})
		}
	}
	return out
}

// ensureAll applies a state call by call, ports and groups in an order that
// makes them name what is not there yet.
func ensureAll(t *testing.T, d driver.Driver, s driver.State) {
	t.Helper()
	ctx := deadline(t)
	for _, n := range s.Networks {
		must(t, d.EnsureNetwork(ctx, n))
	}
	for _, p := range s.Ports {
		must(t, d.EnsurePort(ctx, p))
	}
	for _, g := range s.SecurityGroups {
		must(t, d.EnsureSecurityGroup(ctx, g))
	}
	for _, g := range s.AddressGroups {
		must(t, d.EnsureAddressGroup(ctx, g))
	}
	for _, n := range s.Subnets {
		must(t, d.EnsureSubnet(ctx, n))
	}
	for _, r := range s.Routers {
		must(t, d.EnsureRouter(ctx, r))
	}
	for _, f := range s.FloatingIPs {
		must(t, d.EnsureFloatingIP(ctx, f))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func expectOwned(t *testing.T, d driver.Driver, want ...driver.Object) {
	t.Helper()
	got, err := d.Owned(context.WithoutCancel(t.Context()))
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("owned %v, %v; want %v", got, err, want)
	}
}

func expectDrift(t *testing.T, d driver.Driver, s driver.State, want driver.Drift) {
	t.Helper()
	got, err := d.Sync(deadline(t), s)
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("drift differs: %s", diff)
	}
}

func expectKind(t *testing.T, err error, want fault.Kind) {
	t.Helper()
	if !fault.Is(err, want) {
		t.Errorf("error %v, want kind %s", err, want)
	}
}
