package ipam

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/tropocloud/tropo/network"
)

func TestDefaultPools(t *testing.T) {
	for _, c := range []struct {
		cidr, gateway string
		want          []network.Pool
	}{
		{"10.0.0.0/24", "10.0.0.1", []network.Pool{{Start: "10.0.0.2", End: "10.0.0.254"}}},
		{"10.0.0.0/24", "10.0.0.5", []network.Pool{{Start: "10.0.0.1", End: "10.0.0.4"}, {Start: "10.0.0.6", End: "10.0.0.254"}}},
		{"10.0.0.0/24", "", []network.Pool{{Start: "10.0.0.1", End: "10.0.0.254"}}},
		{"10.0.0.0/31", "", []network.Pool{{Start: "10.0.0.0", End: "10.0.0.1"}}},
		{"10.0.0.0/30", "10.0.0.2", []network.Pool{{Start: "10.0.0.1", End: "10.0.0.1"}}},
		{"2001:db8::/64", "2001:db8::1", []network.Pool{{Start: "2001:db8::2", End: "2001:db8::ffff:ffff:ffff:ffff"}}},
		{"0.0.0.0/0", "", []network.Pool{{Start: "0.0.0.1", End: "255.255.255.254"}}},
	} {
		var gw netip.Addr
		if c.gateway != "" {
			gw = netip.MustParseAddr(c.gateway)
		}
		if got := DefaultPools(netip.MustParsePrefix(c.cidr), gw); !slices.Equal(got, c.want) {
			t.Errorf("%s gateway %q: got %v, want %v", c.cidr, c.gateway, got, c.want)
		}
	}
}

func TestCandidatesStayInside(t *testing.T) {
	pools := Ranges([]network.Pool{{Start: "10.0.0.2", End: "10.0.0.3"}, {Start: "10.0.0.9", End: "10.0.0.9"}})
	for _, a := range Candidates(pools, 100) {
		if !pools[0].Contains(a) && !pools[1].Contains(a) {
			t.Errorf("%s is in no pool", a)
		}
	}
	if n := len(Candidates(pools, 1000)); n != 3 {
		t.Errorf("%d of 3 addresses found", n)
	}
	if len(Candidates(nil, 5)) != 0 {
		t.Error("no pool gives addresses")
	}
}

func TestFirst(t *testing.T) {
	pools := Ranges([]network.Pool{{Start: "255.255.255.254", End: "255.255.255.255"}})
	taken := map[netip.Addr]bool{}
	for range 2 {
		a, ok := First(pools, taken)
		if !ok {
			t.Fatal("pool is not yet full")
		}
		taken[a] = true
	}
	if a, ok := First(pools, taken); ok {
		t.Errorf("full pool gave %s", a)
	}
}

func TestEUI64(t *testing.T) {
	a, ok := EUI64(netip.MustParsePrefix("2001:db8::/64"), "fa:16:3e:12:34:56")
	if !ok || a.String() != "2001:db8::f816:3eff:fe12:3456" {
		t.Errorf("got %s", a)
	}
}

func TestCarve(t *testing.T) {
	px := func(s ...string) (out []netip.Prefix) {
		for _, v := range s {
			out = append(out, netip.MustParsePrefix(v))
		}
		return out
	}
	for _, c := range []struct {
		pool, used []netip.Prefix
		length     int
		want       string
	}{
		{px("10.0.0.0/16"), nil, 24, "10.0.0.0/24"},
		{px("10.0.0.0/16"), px("10.0.0.0/24", "10.0.2.0/24"), 24, "10.0.1.0/24"},
		{px("10.0.0.0/16"), px("10.0.0.0/26"), 24, "10.0.1.0/24"},
		{px("10.0.0.0/24"), px("10.0.0.64/27"), 26, "10.0.0.0/26"},
		{px("10.0.0.0/25"), px("10.0.0.0/26", "10.0.0.64/27"), 26, ""},
		{px("10.0.0.0/24", "10.1.0.0/24"), px("10.0.0.0/24"), 24, "10.1.0.0/24"},
		{px("2001:db8::/48"), px("2001:db8::/64"), 64, "2001:db8:0:1::/64"},
	} {
		got, ok := Carve(c.pool, c.used, c.length)
		if ok != (c.want != "") || ok && got.String() != c.want {
			t.Errorf("%v - %v /%d: got %s %v, want %s", c.pool, c.used, c.length, got, ok, c.want)
		}
	}
}

func TestCompact(t *testing.T) {
	in := []netip.Prefix{netip.MustParsePrefix("10.0.1.0/24"), netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("10.0.0.128/25")}
	if got := Compact(in); len(got) != 1 || got[0].String() != "10.0.0.0/23" {
		t.Errorf("got %v", got)
	}
}
