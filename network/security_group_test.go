package network

import (
	"testing"

	"github.com/tropocloud/tropo/fault"
)

func ptr[T any](v T) *T { return &v }

func TestRuleValidate(t *testing.T) {
	for _, c := range []struct {
		name string
		rule SecurityGroupRule
		want string // type of the fault, or ""
		same string // the protocol afterwards
	}{
		{"any", SecurityGroupRule{}, "", ""},
		{"any by name", SecurityGroupRule{Protocol: ptr("any")}, "", ""},
		{"icmp of IPv6", SecurityGroupRule{Ethertype: "IPv6", Protocol: ptr("icmp")}, "", "ipv6-icmp"},
		{"legacy name", SecurityGroupRule{Ethertype: "IPv6", Protocol: ptr("icmpv6")}, "", "ipv6-icmp"},
		{"number stays", SecurityGroupRule{Protocol: ptr("6"), PortMin: ptr(1), PortMax: ptr(1)}, "", "6"},
		{"one port", SecurityGroupRule{Protocol: ptr("tcp"), PortMin: ptr(22)}, "", "tcp"},
		{"icmpv6 over IPv4", SecurityGroupRule{Protocol: ptr("ipv6-icmp")}, "SecurityGroupEthertypeConflictWithProtocol", ""},
		{"ICMP type", SecurityGroupRule{Protocol: ptr("icmp"), PortMin: ptr(256)}, "SecurityGroupInvalidIcmpValue", ""},
		{"port 0", SecurityGroupRule{Protocol: ptr("udp"), PortMin: ptr(0), PortMax: ptr(9)}, "SecurityGroupInvalidPortValue", ""},
		{"prefix", SecurityGroupRule{RemoteIP: ptr("10.0.0.300")}, "InvalidCIDR", ""},
		{"zone", SecurityGroupRule{Ethertype: "IPv6", RemoteIP: ptr("fe80::1%eth0")}, "InvalidCIDR", ""},
	} {
		r := c.rule
		err := r.Validate()
		f, _ := fault.As(err)
		switch {
		case c.want == "" && err != nil, c.want != "" && (f == nil || f.Type != c.want):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		case c.same != "" && (r.Protocol == nil || *r.Protocol != c.same):
			t.Errorf("%s: protocol %v", c.name, r.Protocol)
		}
	}
}

func TestRuleSame(t *testing.T) {
	a := SecurityGroupRule{GroupID: "g", Direction: "ingress", Ethertype: "IPv4", Protocol: ptr("tcp"), RemoteIP: ptr("0.0.0.0/0")}
	b := SecurityGroupRule{GroupID: "g", Direction: "ingress", Ethertype: "IPv4", Protocol: ptr("6")}
	if a.Same() != b.Same() {
		t.Errorf("%s is not %s", a.Same(), b.Same())
	}
	b.RemoteIP = ptr("10.0.0.7/24")
	c := b
	c.RemoteIP = ptr("10.0.0.0/24")
	if b.Same() != c.Same() || a.Same() == b.Same() {
		t.Errorf("%s, %s", b.Same(), c.Same())
	}
}

func TestChangeLeavesTheOldAlone(t *testing.T) {
	old := Port{Groups: List[string]{"a", "b"}, Profile: Map{"x": 1}, Name: "p"}
	c, err := NewChange(map[string]any{"security_groups": []string{"c"}, "binding:profile": map[string]any{"y": 2}})
	if err != nil {
		t.Fatal(err)
	}
	now := old
	if err := c.Into(&now); err != nil {
		t.Fatal(err)
	}
	if old.Groups[0] != "a" || len(old.Profile) != 1 || len(now.Groups) != 1 || now.Profile["x"] != nil || now.Name != "p" {
		t.Errorf("old %+v now %+v", old, now)
	}
}
