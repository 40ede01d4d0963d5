package driver

import (
	"net/netip"
	"testing"

	"github.com/tropocloud/tropo/fault"
)

func TestExtraDHCPOptions(t *testing.T) {
	for _, c := range []struct {
		option      DHCPOption
		name, value string
		supported   bool
		bad         bool
	}{
		{DHCPOption{Name: "bootfile-name", Value: "pxe/linux.0"}, "bootfile_name", `"pxe/linux.0"`, true, false},
		{DHCPOption{Name: "67", Value: "x"}, "bootfile_name", `"x"`, true, false},
		{DHCPOption{Name: "option:ntp-server", Value: "192.0.2.1, 192.0.2.2"}, "ntp_server", "{192.0.2.1, 192.0.2.2}", true, false},
		{DHCPOption{Name: "mtu", Value: "1400"}, "mtu", "1400", true, false},
		{DHCPOption{Name: "dns-server", Value: "fd00::53", IPv6: true}, "dns_server", "fd00::53", true, false},
		{DHCPOption{Name: "unheard-of", Value: "x\ny"}, "", "", false, false},
		// CVE-2021-40085: values that end their own option.
		{DHCPOption{Name: "bootfile-name", Value: "x\ndhcp-script=/bin/sh"}, "", "", true, true},
		{DHCPOption{Name: "domain-name", Value: `a", router="b`}, "", "", true, true},
		{DHCPOption{Name: "wpad", Value: ""}, "", "", true, true},
		{DHCPOption{Name: "mtu", Value: "-1"}, "", "", true, true},
		{DHCPOption{Name: "mtu", Value: "70000"}, "", "", true, true},
		{DHCPOption{Name: "router", Value: "192.0.2.1,192.0.2.2"}, "", "", true, true},
		{DHCPOption{Name: "dns-server", Value: "fd00::53"}, "", "", true, true},
		{DHCPOption{Name: "ip-forward-enable", Value: "yes"}, "", "", true, true},
	} {
		name, value, supported, err := c.option.Translate()
		if supported != c.supported || (err != nil) != c.bad || !c.bad && (name != c.name || value != c.value) {
			t.Errorf("%+v: got %q %q %v %v", c.option, name, value, supported, err)
		}
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", c.option, err)
		}
	}
}

func TestValidation(t *testing.T) {
	if mac, ok := NormalMAC("FA-16-3E-00-00-01"); !ok || mac != "fa:16:3e:00:00:01" {
		t.Errorf("got %q %v", mac, ok)
	}
	for _, mac := range []string{"", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "fa:16:3e:00:00:01:02:03", "fa:16:3e:00:00:01 10.0.0.1"} {
		if _, ok := NormalMAC(mac); ok {
			t.Errorf("%q is taken for a MAC address", mac)
		}
	}
	for _, id := range []string{"", "a b", "a\n", `a"`, "a/b", "a,b", string(make([]byte, 65))} {
		if ValidID(id) {
			t.Errorf("%q is taken for an id", id)
		}
	}
	one := 1
	for _, r := range []Rule{
		{ID: "r", Direction: "sideways"},
		{ID: "r", Direction: Ingress, Protocol: "256"},
		{ID: "r", Direction: Ingress, Protocol: "icmpv6"},
		{ID: "r", Direction: Ingress, PortMin: &one},
		{ID: "r", Direction: Ingress, IPv6: true, Remote: netip.MustParsePrefix("10.0.0.0/8")},
		{ID: "r", Direction: Ingress, RemoteGroup: "x || 1"},
		{ID: "", Direction: Ingress},
	} {
		if err := r.Validate(); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}
