package ovn_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tropocloud/tropo/host"
	"github.com/tropocloud/tropo/lib/ovsdb"
	"github.com/tropocloud/tropo/network/driver/ovn"
)

// TestWhoMayUseTheDatabases: a compute node reads the southbound database and
// nothing else, certificate or not; one that was removed reads nothing, and
// leaves the dataplane.
func TestWhoMayUseTheDatabases(t *testing.T) {
	s := newSite(t, 2)
	s.controls(1)
	s.hosts[0].conf.NoChassis = true
	var removed atomic.Bool
	s.hosts[0].conf.Removed = func() []netip.Addr {
		if removed.Load() {
			return []netip.Addr{s.management(1)}
		}
		return nil
	}
	s.start(t, 0)
	h2 := s.start(t, 1)
	await(t, "h2 has no southbound database", func() bool { return h2.Connected(within(t)) })
	for _, port := range []string{"6641", "6643", "6644"} {
		address := net.JoinHostPort(s.management(0).String(), port)
		err := host.InNetns(s.hosts[1].netns, func() error {
			c, err := net.DialTimeout("tcp", address, 300*time.Millisecond)
			if err == nil {
				c.Close()
			}
			return err
		})
		if err == nil {
			t.Errorf("h2 reaches port %s", port)
		}
	}
	// Without a certificate nobody gets in.
	anonymous := func() (*tls.Config, error) {
		conf, err := s.tls(1)()
		conf.Certificates = nil
		return conf, err
	}
	stranger, err := ovsdb.Open(ovsdb.Options{
		Remotes: []string{"ssl:" + net.JoinHostPort(s.management(0).String(), "6642")}, TLS: anonymous, Dial: s.dial(1), Database: "OVN_Southbound",
	})
	must(t, err)
	defer stranger.Close()
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := stranger.Wait(short); err == nil {
		t.Error("a stranger reads the southbound database")
	}

	d, err := ovn.Open(ovn.Options{Remotes: s.hosts[0].cloud.NorthboundRemotes, Southbound: s.hosts[0].cloud.SouthboundRemotes})
	must(t, err)
	defer d.Close()
	chassis := func() (n int) {
		south, err := ovsdb.Open(ovsdb.Options{Remotes: s.hosts[0].cloud.SouthboundRemotes(), Database: "OVN_Southbound", Tables: map[string][]string{"Chassis": {"name"}}})
		must(t, err)
		defer south.Close()
		must(t, south.View(within(t), func(v ovsdb.View) error { n = len(v.Rows("Chassis")); return nil }))
		return n
	}
	await(t, "no chassis", func() bool { return chassis() == 1 })
	removed.Store(true)
	await(t, "h2 still has the southbound database", func() bool { return !h2.Connected(within(t)) })
	for range 2 {
		must(t, d.RemoveHost(within(t), "h2"))
	}
	if n := chassis(); n != 0 {
		t.Errorf("%d chassis are left", n)
	}
}
