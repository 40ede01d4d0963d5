package daemons

import (
	"net/netip"
	"testing"
)

func TestLinkNet(t *testing.T) {
	metadata := netip.MustParseAddr("169.254.169.254")
	for short, want := range map[string]string{
		"00000000": "169.254.128.1/30",
		"12340001": "169.254.128.5/30",
		"ffffffff": "169.254.255.253/30",
		"00000a7f": "169.254.128.1/30", // not the metadata service's
	} {
		outer, inner := (&Daemons{short: short}).linkNet()
		if outer.String() != want || outer.Addr().Next() != inner.Addr() || outer.Masked() != inner.Masked() || outer.Masked().Contains(metadata) {
			t.Errorf("%s: %s and %s, want %s", short, outer, inner, want)
		}
	}
}
