package ovn_test

import (
	"fmt"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/tropocloud/tropo/lib/ovsdb"
	"github.com/tropocloud/tropo/network/driver"
	"github.com/tropocloud/tropo/network/driver/drivertest"
	"github.com/tropocloud/tropo/network/driver/ovn"
)

func TestOVN(t *testing.T) {
	l := newLab(t)
	t.Run("Contract", func(t *testing.T) { drivertest.Run(t, l.harness) })
	t.Run("TwoWriters", l.testTwoWriters)
	t.Run("Traffic", func(t *testing.T) {
		drivertest.Traffic(t, drivertest.Lab{Driver: l.driver, External: external(), HostAddress: l.hostAddress})
	})
	t.Run("Metadata", l.testMetadata)
	t.Run("Restart", l.testRestart)
	t.Run("Stop", l.testStop)
}

// external is a range for benchmarks (RFC 2544) that differs between test
// processes, as the host has one routing table.
func external() netip.Prefix {
	return netip.MustParsePrefix(fmt.Sprintf("198.18.%d.0/24", os.Getpid()%250))
}

func (l *lab) hostAddress(t *testing.T, p netip.Prefix) {
	t.Helper()
	if err := l.cloud.EnsureProviderAddress(within(t), p); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.cloud.RemoveProviderAddress(within(t), p); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
}

// testTwoWriters: two control nodes apply the same objects at the same time,
// and each row is there once.
func (l *lab) testTwoWriters(t *testing.T) {
	other, err := ovn.Open(ovn.Options{Remotes: l.cloud.NorthboundRemotes, GatewayChassis: []string{l.cloud.Chassis()}})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	s := drivertest.Sample()
	for range 10 {
		var group errgroup.Group
		for _, d := range []*ovn.Driver{l.driver, other} {
			group.Go(func() error { _, err := d.Sync(within(t), s); return err })
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		for _, table := range []string{"ACL", "NAT", "DHCP_Options", "Logical_Switch", "Logical_Router_Port", "Logical_Router_Static_Route"} {
			res, err := l.nb.Transact(within(t), ovsdb.Select(table, nil, "external_ids"))
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for _, r := range res[0].Rows {
				key := r.Get("external_ids", "tropo:key")
				if seen[key] {
					t.Errorf("%s %s is there twice", table, key)
				}
				seen[key] = true
			}
		}
		if _, err := l.driver.Sync(within(t), driver.State{}); err != nil {
			t.Fatal(err)
		}
	}
}
