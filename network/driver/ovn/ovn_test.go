package ovn_test

import (
	"fmt"
	"net/netip"
	"os"
	"testing"

	"github.com/tropocloud/tropo/network/driver/drivertest"
)

func TestOVN(t *testing.T) {
	l := newLab(t)
	t.Run("Contract", func(t *testing.T) { drivertest.Run(t, l.harness) })
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
