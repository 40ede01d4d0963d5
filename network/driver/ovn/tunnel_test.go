package ovn_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/tropocloud/tropo/host"
	"github.com/tropocloud/tropo/network/driver"
	"github.com/tropocloud/tropo/network/driver/drivertest"
	"github.com/tropocloud/tropo/network/driver/ovn/daemons"
)

// lan is a network with a guest of the same name as each host that it is on.
func lan(hosts ...string) driver.State {
	prefix, addr := netip.MustParsePrefix("10.9.0.0/24"), netip.MustParseAddr("10.9.0.1")
	s := driver.State{
		Networks:       []driver.Network{{ID: "lan", Type: driver.TypeGeneve, MTU: 1442}},
		Subnets:        []driver.Subnet{{ID: "lan-v4", NetworkID: "lan", CIDR: prefix, DHCP: true, Gateway: addr, MTU: 1442}},
		SecurityGroups: []driver.SecurityGroup{open()},
	}
	for i, h := range hosts {
		s.Ports = append(s.Ports, driver.Port{
			ID: "lan-" + h, NetworkID: "lan", Kind: driver.KindVIF, MAC: fmt.Sprintf("fa:16:3e:0d:00:%02x", i+16), AdminUp: true, PortSecurity: true,
			Host: h, Addresses: []driver.PortAddress{{SubnetID: "lan-v4", IP: netip.AddrFrom4([4]byte{10, 9, 0, byte(16 + i)})}}, SecurityGroups: []string{"open"},
		})
	}
	return s
}

// TestTunnels: guests on hosts without databases reach each other, whether a
// host's tunnels have a link of their own or share the host's stack. What was
// taken from a host is given back.
func TestTunnels(t *testing.T) {
	s := newSite(t, 3)
	s.controls(1)
	s.hosts[0].conf.NoChassis = true
	s.hosts[1].conf.ServiceLink = "eth1"
	must(t, host.EnsureRoute(s.hosts[1].netns, "eth1", netip.MustParsePrefix("10.90.0.0/16"), netip.MustParseAddr("10.89.1.254")))
	for i := range s.hosts {
		s.start(t, i)
	}
	state := lan("h2", "h3")
	if _, err := s.driver(t, 0).Sync(within(t), state); err != nil {
		t.Fatal(err)
	}
	var guests []*drivertest.Guest
	for i, p := range state.Ports {
		g := drivertest.Plug(t, s.hosts[i+1].cloud.Capabilities(), p)
		g.DHCP(t)
		drivertest.Serve(t, g.Netns, ":80")
		guests = append(guests, g)
	}
	if got := drivertest.Reaches(t, guests[0].Netns, "10.9.0.17:80"); got != "10.9.0.16" {
		t.Errorf("seen as %s", got)
	}
	if got := drivertest.Reaches(t, guests[1].Netns, "10.9.0.16:80"); got != "10.9.0.17" {
		t.Errorf("seen as %s", got)
	}

	// Both switches die, and their bridges' own ports with them.
	for _, h := range s.hosts[1:] {
		l := lab{config: h.conf}
		l.kill(t, map[string]int{"vswitchd": l.pids(t)["vswitchd"]})
	}
	drivertest.Reaches(t, guests[0].Netns, "10.9.0.17:80")
	drivertest.Reaches(t, guests[1].Netns, "10.9.0.16:80")

	// Each gets the other way: what was taken is given back.
	s.hosts[1].conf.ServiceLink, s.hosts[2].conf.ServiceLink = "", "eth1"
	for i := range s.hosts[1:] {
		s.hosts[i+1].rest()
		s.start(t, i+1)
	}
	drivertest.Reaches(t, guests[0].Netns, "10.9.0.17:80")
	drivertest.Reaches(t, guests[1].Netns, "10.9.0.16:80")
	if !host.LinkExists(s.hosts[1].netns, "eth1") || host.LinkExists(s.hosts[2].netns, "eth1") {
		t.Error("the service interfaces are not where they should be")
	}
	s.hosts[1].conf.ServiceLink = "eth1"
	s.hosts[1].rest()
	s.start(t, 1)
	drivertest.Reaches(t, guests[0].Netns, "10.9.0.17:80")

	h2 := s.hosts[1]
	if host.LinkExists(h2.netns, "eth1") {
		t.Error("the service interface is still the host's")
	}
	for _, g := range guests {
		g.Unplug(t)
	}
	h2.rest()
	again, err := daemons.New(daemons.Config{ID: h2.conf.ID, Dir: h2.conf.Dir, Central: true, HostNetns: h2.netns})
	must(t, err)
	for range 2 {
		must(t, again.Stop(within(t)))
	}
	out, err := host.Run(within(t), host.Command{Path: "ip", Args: []string{"-4", "-o", "addr", "show", "eth1"}, Netns: h2.netns})
	must(t, err)
	routes, err := host.Run(within(t), host.Command{Path: "ip", Args: []string{"route"}, Netns: h2.netns})
	must(t, err)
	if !contains(out, "10.89.1.2/24") {
		t.Errorf("eth1 has %s", out)
	}
	if !contains(routes, "10.90.0.0/16 via 10.89.1.254") {
		t.Errorf("routes are %s", routes)
	}
}

func contains(b []byte, s string) bool { return strings.Contains(string(b), s) }
