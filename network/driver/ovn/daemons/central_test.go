package daemons

import (
	"net/netip"
	"strings"
	"testing"
)

// TestNorthdProbesItsConnections: northd decides by the beginning of the list.
func TestNorthdProbesItsConnections(t *testing.T) {
	own := netip.MustParseAddr("10.89.0.11")
	d := &Daemons{conf: Config{Dir: "/s/ovn", Central: true, Address: own}, controls: []netip.Addr{own, netip.MustParseAddr("10.89.0.12")}}
	if got := d.probed(southbound()); got != "ssl:10.89.0.12:6642,unix:/s/ovn/run/sb.sock" {
		t.Errorf("with another control node: %s", got)
	}
	d.controls = d.controls[:1]
	if got := d.probed(southbound()); !strings.HasPrefix(got, "unix:") || strings.Contains(got, ",") {
		t.Errorf("alone: %s", got)
	}
}
