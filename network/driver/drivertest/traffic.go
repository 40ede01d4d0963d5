package drivertest

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/tropocloud/tropo/network/driver"
)

// Lab is a dataplane that carries packets.
type Lab struct {
	Driver driver.Driver
	// External is a /24 that nobody on the machine uses; its .1 becomes the
	// host's address on the provider network "public".
	External netip.Prefix
	// HostAddress gives the host an address on that network.
	HostAddress func(t *testing.T, p netip.Prefix)
}

// town is the state that the traffic suite plays in.
type town struct {
	Lab
	state   driver.State
	ext     func(last byte) netip.Addr
	a, b, c *Guest // a and b are in the group "open", c is in "closed"
}

// Traffic runs the suite of packets: addresses by DHCP, filters, anti-spoofing,
// routers and floating IPs.
func Traffic(t *testing.T, l Lab) {
	w := newTown(t, l)
	t.Run("DHCP", w.dhcp)
	t.Run("SecurityGroups", w.securityGroups)
	t.Run("Spoofing", w.spoofing)
	t.Run("AllowedPairs", w.allowedPairs)
	t.Run("Stateless", w.stateless)
	t.Run("RouterAdvertisement", w.advertisement)
	t.Run("SNAT", w.snat)
	t.Run("FloatingIP", w.floatingIP)
	t.Run("Provider", w.provider)
	t.Run("Healing", w.healing)
	t.Cleanup(func() {
		if _, err := l.Driver.Sync(t.Context(), driver.State{}); err != nil && t.Context().Err() == nil {
			t.Errorf("empty the dataplane: %v", err)
		}
	})
}

// The addresses of the town.
const (
	macA, macB, macC = "fa:16:3e:0a:00:0a", "fa:16:3e:0a:00:0b", "fa:16:3e:0a:00:0c"
	ipA, ipB, ipC    = "10.0.0.10", "10.0.0.11", "10.0.0.12"
	ip6A, ip6B       = "fd00:a::a", "fd00:a::b"
)

func newTown(t *testing.T, l Lab) *town {
	t.Helper()
	w := &town{Lab: l}
	w.ext = func(last byte) netip.Addr {
		b := l.External.Masked().Addr().As4()
		b[3] = last
		return netip.AddrFrom4(b)
	}
	prefix, addr := netip.MustParsePrefix, netip.MustParseAddr
	port := func(id, mac, ip, ip6, group string) driver.Port {
		p := driver.Port{
			ID: id, NetworkID: "town", Kind: driver.KindVIF, MAC: mac, AdminUp: true, PortSecurity: true,
			Addresses: []driver.PortAddress{{SubnetID: "town-4", IP: addr(ip)}}, SecurityGroups: []string{group},
		}
		if ip6 != "" {
			p.Addresses = append(p.Addresses, driver.PortAddress{SubnetID: "town-6", IP: addr(ip6)})
		}
		return p
	}
	a := port("port-a", macA, ipA, ip6A, "open")
	a.DHCPOptions = []driver.DHCPOption{{Name: "bootfile-name", Value: "pxelinux.0"}}
	const macInside, macOutside = "fa:16:3e:0a:00:01", "fa:16:3e:0a:01:01"
	w.state = driver.State{
		Networks: []driver.Network{{ID: "town", Type: driver.TypeGeneve, MTU: 1442}, {ID: "outside", Type: driver.TypeFlat, Physical: "public", MTU: 1500}},
		Subnets: []driver.Subnet{
			{
				ID: "town-4", NetworkID: "town", CIDR: prefix("10.0.0.0/24"), DHCP: true, Gateway: addr("10.0.0.1"), MTU: 1442, DNS: []netip.Addr{addr("192.0.2.53")},
				HostRoutes: []driver.Route{{Destination: prefix("192.0.2.0/24"), NextHop: addr("10.0.0.1")}},
			},
			{ID: "town-6", NetworkID: "town", CIDR: prefix("fd00:a::/64")},
		},
		SecurityGroups: []driver.SecurityGroup{
			{ID: "open", Rules: []driver.Rule{{ID: "o1", Direction: driver.Egress}, {ID: "o2", Direction: driver.Egress, IPv6: true}, {ID: "o3", Direction: driver.Ingress}, {ID: "o4", Direction: driver.Ingress, IPv6: true}}},
			{ID: "closed", Rules: []driver.Rule{{ID: "c1", Direction: driver.Egress}, {ID: "c2", Direction: driver.Ingress, Protocol: "tcp", PortMin: num(80), PortMax: num(80), RemoteGroup: "open"}}},
		},
		Ports: []driver.Port{
			a, port("port-b", macB, ipB, ip6B, "open"), port("port-c", macC, ipC, "", "closed"),
			{ID: "port-in", NetworkID: "town", Kind: driver.KindRouter, MAC: macInside, AdminUp: true},
			{ID: "port-out", NetworkID: "outside", Kind: driver.KindRouter, MAC: macOutside, AdminUp: true, DeviceOwner: "network:router_gateway"},
		},
		Routers: []driver.Router{{
			ID: "gate", AdminUp: true,
			Interfaces: []driver.RouterInterface{{PortID: "port-in", NetworkID: "town", MAC: macInside, Addresses: []netip.Prefix{prefix("10.0.0.1/24")}, MTU: 1442}},
			Gateway: &driver.RouterGateway{
				PortID: "port-out", NetworkID: "outside", MAC: macOutside, Addresses: []netip.Prefix{netip.PrefixFrom(w.ext(10), 24)},
				NextHops: []netip.Addr{w.ext(1)}, SNAT: true, MTU: 1500,
			},
		}},
		FloatingIPs: []driver.FloatingIP{{ID: "fip-a", RouterID: "gate", External: w.ext(20), Fixed: addr(ipA), PortID: "port-a"}},
	}
	ensureAll(t, l.Driver, w.state)
	l.HostAddress(t, netip.PrefixFrom(w.ext(1), 24))
	caps := l.Driver.Capabilities()
	w.a, w.b, w.c = Plug(t, caps, w.state.Ports[0]), Plug(t, caps, w.state.Ports[1]), Plug(t, caps, w.state.Ports[2])
	w.b.Static(t, prefix(ipB+"/24"), addr("10.0.0.1"))
	w.c.Static(t, prefix(ipC+"/24"), addr("10.0.0.1"))
	Serve(t, w.b.Netns, ":80")
	Serve(t, w.c.Netns, ":80")
	Serve(t, w.c.Netns, ":81")
	return w
}

func (w *town) dhcp(t *testing.T) {
	ack := w.a.DHCP(t)
	if got := ack.YourIPAddr.String(); got != ipA {
		t.Errorf("leased %s", got)
	}
	if mtu, err := dhcpv4.GetUint16(dhcpv4.OptionInterfaceMTU, ack.Options); err != nil || mtu != 1442 {
		t.Errorf("MTU %d, %v", mtu, err)
	}
	if got := ack.BootFileNameOption(); got != "pxelinux.0" {
		t.Errorf("boot file %q: the port's own option is not there", got)
	}
	routes := ack.ClasslessStaticRoute()
	if len(routes) != 2 || routes[0].Dest.String() != "192.0.2.0/24" || routes[1].Router.String() != "10.0.0.1" {
		t.Errorf("routes %v", routes)
	}
	if got := Reaches(t, w.a.Netns, ipB+":80"); got != ipA {
		t.Errorf("seen as %s", got)
	}
}

func (w *town) securityGroups(t *testing.T) {
	ctx := deadline(t)
	Reaches(t, w.a.Netns, ipC+":80") // its group is allowed
	Blocked(t, w.a.Netns, ipC+":81") // this port isn't
	Reaches(t, w.c.Netns, ipB+":80") // replies need no rule
	w.a.Static(t, netip.MustParsePrefix(ip6A+"/64"), netip.Addr{})
	w.b.Static(t, netip.MustParsePrefix(ip6B+"/64"), netip.Addr{})
	if got := Reaches(t, w.a.Netns, "["+ip6B+"]:80"); got != ip6A {
		t.Errorf("seen as %s", got)
	}
	wider := w.state.SecurityGroups[1]
	wider.Rules = append(slices.Clone(wider.Rules), driver.Rule{ID: "c3", Direction: driver.Ingress, Protocol: "tcp", PortMin: num(81), PortMax: num(90), Remote: netip.MustParsePrefix(ipA + "/32")})
	must(t, w.Driver.EnsureSecurityGroup(ctx, wider))
	Reaches(t, w.a.Netns, ipC+":81")
	Blocked(t, w.b.Netns, ipC+":81")
	must(t, w.Driver.EnsureSecurityGroup(ctx, w.state.SecurityGroups[1]))
	Blocked(t, w.a.Netns, ipC+":81")

	// A peer that leaves the remote group is out (and back in).
	outsider := w.state.Ports[1]
	outsider.SecurityGroups = []string{"closed"}
	must(t, w.Driver.EnsurePort(ctx, outsider))
	Blocked(t, w.b.Netns, ipC+":80")
	must(t, w.Driver.EnsurePort(ctx, w.state.Ports[1]))
	Reaches(t, w.b.Netns, ipC+":80")

	// Another device_owner opens nothing (CVE-2015-5240), nor does having no
	// group or one that does not exist.
	for _, groups := range [][]string{nil, {"unborn"}} {
		p := w.state.Ports[2]
		p.DeviceOwner, p.SecurityGroups = "network:dhcp", groups
		must(t, w.Driver.EnsurePort(ctx, p))
		Blocked(t, w.a.Netns, ipC+":80")
	}
	must(t, w.Driver.EnsurePort(ctx, w.state.Ports[2]))
	Reaches(t, w.a.Netns, ipC+":80")

	// Without port security everything passes, and it comes back.
	free := w.state.Ports[2]
	free.PortSecurity, free.SecurityGroups = false, nil
	must(t, w.Driver.EnsurePort(ctx, free))
	Reaches(t, w.a.Netns, ipC+":81")
	must(t, w.Driver.EnsurePort(ctx, w.state.Ports[2]))
	Blocked(t, w.a.Netns, ipC+":81")
}

// spoofing: CVE-2015-8914, CVE-2016-5362, CVE-2016-5363, CVE-2021-20267,
// CVE-2021-38598. Both guests are in a group that allows everything.
func (w *town) spoofing(t *testing.T) {
	addr := netip.MustParseAddr
	out, in := openWire(t, w.a), openWire(t, w.b)
	port := func(a netip.Addr, p uint16) netip.AddrPort { return netip.AddrPortFrom(a, p) }
	all := addr("ff02::1")
	const toAll = "33:33:00:00:00:01"
	const v4, v6, arp = 0x0800, 0x86dd, 0x0806
	const honest, spoof = "tropo-honest", "tropo-spoof"
	honest4 := ethernet(macB, macA, v4, udpPacket(port(addr(ipA), 5000), port(addr(ipB), 5000), honest))
	honest6 := ethernet(macB, macA, v6, udpPacket(port(addr(ip6A), 5000), port(addr(ip6B), 5000), honest))
	neighbour := func(target netip.Addr, mark string) []byte {
		return slices.Concat([]byte{0x60, 0, 0, 0}, target.AsSlice(), []byte{2, 1}, hw(macA), option6(mark))
	}
	for _, c := range []struct {
		name          string
		spoof, honest []byte
	}{
		{"mac", ethernet(macB, macC, v4, udpPacket(port(addr(ipA), 5000), port(addr(ipB), 5000), spoof)), honest4},
		{"ipv4", ethernet(macB, macA, v4, udpPacket(port(addr("10.0.0.99"), 5000), port(addr(ipB), 5000), spoof)), honest4},
		{"ipv6", ethernet(macB, macA, v6, udpPacket(port(addr("fd00:a::99"), 5000), port(addr(ip6B), 5000), spoof)), honest6},
		{"arp", ethernet(macB, macA, arp, arpReply(macA, addr("10.0.0.1"), macB, addr(ipB), spoof)), ethernet(macB, macA, arp, arpReply(macA, addr(ipA), macB, addr(ipB), honest))},
		{
			"neighbour-advertisement", ethernet(toAll, macA, v6, icmp6Packet(linkLocal(macA), all, 136, neighbour(addr(ip6B), spoof))),
			ethernet(toAll, macA, v6, icmp6Packet(linkLocal(macA), all, 136, neighbour(addr(ip6A), honest))),
		},
		{"dhcp-server", ethernet(macB, macA, v4, udpPacket(port(addr(ipA), 67), port(addr(ipB), 68), spoof)), honest4},
		{
			"dhcpv6-server", ethernet(macB, macA, v6, udpPacket(port(linkLocal(macA), 547), port(linkLocal(macB), 546), spoof)),
			ethernet(macB, macA, v6, udpPacket(port(linkLocal(macA), 5000), port(linkLocal(macB), 5000), honest)),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := deadline(t)
			for got := ""; got != honest; {
				out.send(c.spoof)
				out.send(c.honest)
				if got = in.first(spoof, honest); got == spoof {
					t.Fatal("the spoofed packet arrived")
				}
				if ctx.Err() != nil {
					t.Fatal("the honest packet did not arrive")
				}
			}
			if got := in.first(spoof); got != "" {
				t.Error("the spoofed packet arrived later")
			}
		})
	}
}

// allowedPairs: a pair opens what spoofing's rules close, and only that; a port
// without any address may not send from one.
func (w *town) allowedPairs(t *testing.T) {
	addr := netip.MustParseAddr
	out, in := openWire(t, w.a), openWire(t, w.b)
	from := func(ip, mark string) []byte {
		return ethernet(macB, macA, 0x0800, udpPacket(netip.AddrPortFrom(addr(ip), 5000), netip.AddrPortFrom(addr(ipB), 5000), mark))
	}
	const inside, outside, own = "tropo-inside", "tropo-outside", "tropo-own"
	arrives := func(want string) {
		t.Helper()
		ctx := deadline(t)
		for got := ""; got != want; got = in.first(inside, outside, own) {
			out.send(from("10.0.0.99", outside))
			out.send(from("10.0.0.130", inside))
			out.send(from(ipA, own))
			if ctx.Err() != nil {
				t.Fatalf("%s does not arrive", want)
			}
		}
	}
	paired := w.state.Ports[0]
	paired.AllowedPairs = []driver.AddressPair{{Prefix: netip.MustParsePrefix("10.0.0.128/25")}}
	must(t, w.Driver.EnsurePort(deadline(t), paired))
	arrives(inside)
	if got := in.first(outside); got != "" {
		t.Error("an address beside the pair arrived")
	}
	bare := w.state.Ports[0]
	bare.Addresses = nil
	must(t, w.Driver.EnsurePort(deadline(t), bare))
	ctx := deadline(t)
	for silent := false; !silent; {
		for in.first(inside, outside, own) != "" { // what was under way
		}
		out.send(from(ipA, own))
		silent = in.first(own) == ""
		if ctx.Err() != nil {
			t.Fatal("a port without addresses sends")
		}
	}
	must(t, w.Driver.EnsurePort(deadline(t), w.state.Ports[0]))
	arrives(own)
}

// stateless: replies need a rule of their own.
func (w *town) stateless(t *testing.T) {
	ctx := deadline(t)
	group := driver.SecurityGroup{ID: "stateless", Stateless: true, Rules: []driver.Rule{
		{ID: "n1", Direction: driver.Ingress, Protocol: "tcp", PortMin: num(80), PortMax: num(80)},
	}}
	must(t, w.Driver.EnsureSecurityGroup(ctx, group))
	p := w.state.Ports[2]
	p.SecurityGroups = []string{"stateless"}
	must(t, w.Driver.EnsurePort(ctx, p))
	Blocked(t, w.a.Netns, ipC+":80")
	group.Rules = append(group.Rules, driver.Rule{ID: "n2", Direction: driver.Egress, Protocol: "tcp"})
	must(t, w.Driver.EnsureSecurityGroup(ctx, group))
	Reaches(t, w.a.Netns, ipC+":80")
	must(t, w.Driver.EnsurePort(ctx, w.state.Ports[2]))
	must(t, w.Driver.DeleteSecurityGroup(ctx, "stateless"))
	Reaches(t, w.a.Netns, ipC+":80")
}

// advertisement: a guest that asks is told the prefix of its subnet.
func (w *town) advertisement(t *testing.T) {
	ctx := deadline(t)
	r := w.state.Routers[0]
	r.Interfaces = slices.Clone(r.Interfaces)
	leg := &r.Interfaces[0]
	leg.Addresses, leg.IPv6RA = append(slices.Clone(leg.Addresses), netip.MustParsePrefix("fd00:a::1/64")), "slaac"
	must(t, w.Driver.EnsureRouter(ctx, r))
	wire := openWire(t, w.b)
	toRouters := ethernet("33:33:00:00:00:02", macB, 0x86dd, icmp6Packet(linkLocal(macB), netip.MustParseAddr("ff02::2"), 133, append([]byte{0, 0, 0, 0, 1, 1}, hw(macB)...)))
	// The end of the prefix option (RFC 4861 §4.6.2).
	prefix := string([]byte{0xfd, 0x00, 0x00, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	for wire.first(prefix) == "" {
		wire.send(toRouters)
		if ctx.Err() != nil {
			t.Fatal("no router advertisement")
		}
	}
	must(t, w.Driver.EnsureRouter(ctx, w.state.Routers[0]))
}

func (w *town) snat(t *testing.T) {
	server := Serve(t, "", w.ext(1).String()+":0")
	if got := Reaches(t, w.b.Netns, server); got != w.ext(10).String() {
		t.Errorf("seen as %s, not as the router", got)
	}
	if got := Reaches(t, w.a.Netns, server); got != w.ext(20).String() {
		t.Errorf("seen as %s, not by its floating IP", got)
	}
}

func (w *town) floatingIP(t *testing.T) {
	ctx := deadline(t)
	Serve(t, w.a.Netns, ":8080")
	fip := w.ext(20).String() + ":8080"
	if got := Reaches(t, "", fip); got != w.ext(1).String() {
		t.Errorf("the guest saw %s", got)
	}
	Reaches(t, w.b.Netns, fip) // from inside, by the router
	must(t, w.Driver.DeleteFloatingIP(ctx, "fip-a"))
	Blocked(t, "", fip)
	moved := w.state.FloatingIPs[0]
	moved.Fixed, moved.PortID = netip.MustParseAddr(ipB), "port-b"
	must(t, w.Driver.EnsureFloatingIP(ctx, moved))
	Reaches(t, "", w.ext(20).String()+":80")
	must(t, w.Driver.EnsureFloatingIP(ctx, w.state.FloatingIPs[0]))
	Reaches(t, "", fip)

	spread := w.state.FloatingIPs[0]
	spread.External, spread.Distributed, spread.MAC = w.ext(21), true, "fa:16:3e:0a:02:15"
	must(t, w.Driver.EnsureFloatingIP(ctx, spread))
	Reaches(t, "", w.ext(21).String()+":8080")
	must(t, w.Driver.EnsureFloatingIP(ctx, w.state.FloatingIPs[0]))
}

// provider: a guest on the physical network itself, and its filters there.
func (w *town) provider(t *testing.T) {
	p := driver.Port{
		ID: "port-d", NetworkID: "outside", Kind: driver.KindVIF, MAC: "fa:16:3e:0a:00:0d", AdminUp: true, PortSecurity: true,
		Addresses: []driver.PortAddress{{IP: w.ext(30)}}, SecurityGroups: []string{"open"},
	}
	must(t, w.Driver.EnsurePort(deadline(t), p))
	g := Plug(t, w.Driver.Capabilities(), p)
	g.Static(t, netip.PrefixFrom(w.ext(30), 24), w.ext(1))
	Serve(t, g.Netns, ":80")
	address := w.ext(30).String() + ":80"
	if got := Reaches(t, "", address); got != w.ext(1).String() {
		t.Errorf("seen as %s", got)
	}
	p.SecurityGroups = []string{"closed"}
	must(t, w.Driver.EnsurePort(deadline(t), p))
	Blocked(t, "", address)
	p.AdminUp, p.PortSecurity = false, false
	must(t, w.Driver.EnsurePort(deadline(t), p))
	Blocked(t, "", address)
	p.AdminUp = true
	must(t, w.Driver.EnsurePort(deadline(t), p))
	Reaches(t, "", address)
	must(t, w.Driver.DeletePort(deadline(t), p.ID))
	Blocked(t, "", address)
}

// healing takes the dataplane apart by an empty Sync and puts it together.
func (w *town) healing(t *testing.T) {
	ctx := deadline(t)
	_, err := w.Driver.Sync(ctx, driver.State{})
	must(t, err)
	Blocked(t, w.a.Netns, ipB+":80")
	_, err = w.Driver.Sync(ctx, w.state)
	must(t, err)
	Reaches(t, w.a.Netns, ipB+":80")
	Blocked(t, w.a.Netns, ipC+":81")
}
