package ovn_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tropocloud/tropo/host"
	"github.com/tropocloud/tropo/network/driver"
	"github.com/tropocloud/tropo/network/driver/drivertest"
	"github.com/tropocloud/tropo/network/driver/ovn"
)

// Two networks with the same addresses, a guest with the same address in each.
func (l *lab) testMetadata(t *testing.T) {
	prefix, addr := netip.MustParsePrefix, netip.MustParseAddr
	m := ovn.NewMetadata(l.cloud, func(w http.ResponseWriter, r *http.Request, networkID string) {
		from, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintf(w, "%s %s %s", networkID, from, r.URL.Path)
	}, nil)
	t.Cleanup(func() { m.Close() })
	var s driver.State
	var ports []ovn.MetadataPort
	networks := []string{"11111111-aaaa-4aaa-8aaa-000000000001", "22222222-aaaa-4aaa-8aaa-000000000002"}
	for i, n := range networks {
		mac := fmt.Sprintf("fa:16:3e:0b:%02x:01", i)
		s.Networks = append(s.Networks, driver.Network{ID: n, Type: driver.TypeGeneve, MTU: 1442})
		s.Subnets = append(s.Subnets, driver.Subnet{ID: "sub-" + n, NetworkID: n, CIDR: prefix("10.0.0.0/24"), DHCP: true, Metadata: addr("10.0.0.2"), MTU: 1442})
		s.Ports = append(s.Ports,
			driver.Port{ID: "md-" + n, NetworkID: n, Kind: driver.KindMetadata, MAC: mac, AdminUp: true, Addresses: []driver.PortAddress{{SubnetID: "sub-" + n, IP: addr("10.0.0.2")}}},
			driver.Port{
				ID: "vm-" + n, NetworkID: n, Kind: driver.KindVIF, MAC: fmt.Sprintf("fa:16:3e:0b:%02x:02", i), AdminUp: true, PortSecurity: true, SecurityGroups: []string{"md"},
				Addresses: []driver.PortAddress{{SubnetID: "sub-" + n, IP: addr("10.0.0.10")}},
			})
		ports = append(ports, ovn.MetadataPort{NetworkID: n, PortID: "md-" + n, MAC: mac, Addresses: []netip.Prefix{prefix("10.0.0.2/24")}, MTU: 1442})
	}
	s.SecurityGroups = []driver.SecurityGroup{{ID: "md", Rules: []driver.Rule{{ID: "md-out", Direction: driver.Egress}}}}
	if _, err := l.driver.Sync(within(t), s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := l.driver.Sync(context.Background(), driver.State{}); err != nil {
			t.Error(err)
		}
	})
	for range 2 { // again is no change
		if err := m.Sync(within(t), ports); err != nil {
			t.Fatal(err)
		}
	}
	var guests []*drivertest.Guest
	for i, n := range networks {
		g := drivertest.Plug(t, l.driver.Capabilities(), s.Ports[2*i+1])
		g.DHCP(t)
		guests = append(guests, g)
		if got, want := fetch(t, g.Netns), n+" 10.0.0.10 /openstack"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}

	// tropo went away and came back: another Metadata takes over.
	m.Close()
	again := ovn.NewMetadata(l.cloud, func(w http.ResponseWriter, _ *http.Request, n string) { io.WriteString(w, "again "+n) }, nil)
	t.Cleanup(func() { again.Close() })
	if err := again.Sync(within(t), ports); err != nil {
		t.Fatal(err)
	}
	if got := fetch(t, guests[1].Netns); got != "again "+networks[1] {
		t.Errorf("after the restart: %q", got)
	}

	// A subnet's address goes, a network goes.
	ports[1].Addresses = nil
	if err := again.Ensure(within(t), ports[1]); err != nil {
		t.Fatal(err)
	}
	if got := addresses(t, again.Namespace(networks[1])); strings.Contains(got, "10.0.0.2") || !strings.Contains(got, "169.254.169.254") {
		t.Errorf("addresses %s", got)
	}
	if err := again.Sync(within(t), ports[:1]); err != nil {
		t.Fatal(err)
	}
	left, err := l.cloud.MetadataNamespaces()
	if err != nil || !slices.Equal(left, []string{again.Namespace(networks[0])}) {
		t.Errorf("namespaces %v, %v", left, err)
	}
	for range 2 {
		if err := again.Remove(within(t), networks[0]); err != nil {
			t.Fatal(err)
		}
	}
}

// fetch asks the metadata service from a namespace until it answers.
func fetch(t *testing.T, ns string) string {
	t.Helper()
	ctx := within(t)
	client := http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(_ context.Context, network, address string) (c net.Conn, err error) {
			err = host.InNetns(ns, func() error { c, err = net.DialTimeout(network, address, 2*time.Second); return err })
			return c, err
		},
	}}
	for {
		res, err := client.Get("http://169.254.169.254/openstack")
		if err == nil {
			var b []byte
			b, err = io.ReadAll(io.LimitReader(res.Body, 4096))
			res.Body.Close()
			if err == nil {
				return string(b)
			}
		}
		if ctx.Err() != nil {
			t.Fatalf("no metadata: %v", err)
		}
	}
}

func addresses(t *testing.T, ns string) string {
	t.Helper()
	out, err := host.Run(within(t), host.Command{Path: "ip", Args: []string{"-o", "addr"}, Netns: ns})
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
