package ovn

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/lib/ovsdb"
	"github.com/tropocloud/tropo/network/driver"
)

func num(n int) *int { return &n }

func TestACLMatch(t *testing.T) {
	prefix := netip.MustParsePrefix
	for want, r := range map[string]driver.Rule{
		"outport == @tropo_pg_a && ip4": {Direction: driver.Ingress},
		"inport == @tropo_pg_a && ip6":  {Direction: driver.Egress, IPv6: true, Remote: prefix("::/0")},
		"outport == @tropo_pg_a && ip4 && ip4.src == 10.1.0.0/16 && tcp && tcp.dst >= 1 && tcp.dst <= 9": {
			Direction: driver.Ingress, Remote: prefix("10.1.2.3/16"), Protocol: "TCP", PortMin: num(1), PortMax: num(9),
		},
		"inport == @tropo_pg_a && ip4 && ip4.dst == $tropo_pg_1_2_ip4 && udp && udp.dst == 53": {
			Direction: driver.Egress, RemoteGroup: "1-2", Protocol: "17", PortMin: num(53), PortMax: num(53),
		},
		"outport == @tropo_pg_a && ip6 && ip6.src == $tropo_ag6_1_2 && icmp6 && icmp6.type == 128 && icmp6.code == 0": {
			Direction: driver.Ingress, IPv6: true, RemoteAddressGroup: "1-2", Protocol: "icmp", PortMin: num(128), PortMax: num(0),
		},
		"outport == @tropo_pg_a && ip4 && ip.proto == 112": {Direction: driver.Ingress, Protocol: "vrrp"},
		"outport == @tropo_pg_a && ip4 && sctp":            {Direction: driver.Ingress, Protocol: "sctp"},
	} {
		r.ID = "r"
		if err := r.Validate(); err != nil {
			t.Errorf("%s: %v", want, err)
		}
		if got := aclMatch("a", r); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// TestIdentifiersDiffer: two ids never share a port group.
func TestIdentifiersDiffer(t *testing.T) {
	seen := map[string]string{}
	for _, id := range []string{"a-b", "a_b", "a.b", "ab", "xab", "x615f62", "x61-5f62"} {
		if other, double := seen[identifier(id)]; double {
			t.Errorf("%s and %s are both %s", id, other, identifier(id))
		}
		seen[identifier(id)] = id
	}
}

func TestPortSecurity(t *testing.T) {
	prefix, addr := netip.MustParsePrefix, netip.MustParseAddr
	base := driver.Port{ID: "p", NetworkID: "n", Kind: driver.KindVIF, MAC: "FA-16-3E-00-00-01", PortSecurity: true}
	with := func(f func(*driver.Port)) driver.Port { p := base; f(&p); return p }
	for _, c := range []struct {
		name                string
		port                driver.Port
		addresses, security []string
	}{
		{"no address, no source but DHCP", base, []string{"fa:16:3e:00:00:01"}, []string{"fa:16:3e:00:00:01 0.0.0.0"}},
		{"two families", with(func(p *driver.Port) {
			p.Addresses = []driver.PortAddress{{IP: addr("10.0.0.5")}, {IP: addr("fd00::5")}}
		}), []string{"fa:16:3e:00:00:01 10.0.0.5 fd00::5"}, []string{"fa:16:3e:00:00:01 10.0.0.5 fd00::5"}},
		{"pairs", with(func(p *driver.Port) {
			p.Addresses = []driver.PortAddress{{IP: addr("10.0.0.5")}}
			p.AllowedPairs = []driver.AddressPair{{Prefix: prefix("10.0.0.9/32")}, {Prefix: prefix("10.2.3.4/16")}, {MAC: "00:00:5e:00:01:01", Prefix: prefix("10.0.0.1/32")}}
		}), []string{"fa:16:3e:00:00:01 10.0.0.5", "unknown"}, []string{"fa:16:3e:00:00:01 10.0.0.5 10.0.0.9 10.2.0.0/16", "00:00:5e:00:01:01 10.0.0.1"}},
		{"off", with(func(p *driver.Port) { p.PortSecurity = false; p.SecurityGroups = []string{"g"} }), []string{"fa:16:3e:00:00:01", "unknown"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := renderPort(c.port)(ovsdb.View{})
			if err != nil {
				t.Fatal(err)
			}
			lsp := p.rows[len(p.rows)-1]
			got, _ := lsp.columns["port_security"].([]string)
			if d := cmp.Diff(sorted(c.security), sorted(got)); d != "" {
				t.Errorf("port_security: %s", d)
			}
			if d := cmp.Diff(c.addresses, lsp.columns["addresses"]); d != "" {
				t.Errorf("addresses: %s", d)
			}
			if secured := strings.Contains(strings.Join(lsp.groups, " "), keyDrop); secured != c.port.PortSecurity {
				t.Errorf("groups %v", lsp.groups)
			}
		})
	}
}

func sorted(s []string) map[string]bool {
	out := map[string]bool{}
	for _, e := range s {
		out[e] = true
	}
	return out
}

func TestUnreachableDatabaseIsUnavailable(t *testing.T) {
	d, err := Open(Options{Remotes: func() []string { return []string{"unix:/nonexistent/nb.sock"} }, Timeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ctx := t.Context()
	for name, err := range map[string]error{
		"ensure": d.EnsureNetwork(ctx, driver.Network{ID: "n", Type: driver.TypeGeneve}),
		"port":   d.EnsurePort(ctx, driver.Port{ID: "p"}),
		"delete": d.DeleteRouter(ctx, "r"),
		"sync":   func() error { _, err := d.Sync(ctx, driver.State{}); return err }(),
	} {
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
