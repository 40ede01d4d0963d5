package daemons

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/tropocloud/tropo/host"
)

// TestTwoCloudsInOneSubnet: the host is told, once, that its way to a provider
// network is not the only one.
func TestTwoCloudsInOneSubnet(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("makes a network namespace with links in it, which only root may")
	}
	ns := fmt.Sprintf("tropo-t%dbr", os.Getpid())
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(host.EnsureNetns(ns))
	t.Cleanup(func() { _ = host.DeleteNetns(ns) })
	var log bytes.Buffer
	dir := t.TempDir()
	d, err := New(Config{ID: dir, Dir: dir, Central: true, HostNetns: ns, Log: slog.New(slog.NewTextHandler(&log, nil))})
	must(err)
	for _, name := range []string{d.HostLink(), "other"} {
		must(host.EnsureTap(host.Tap{Netns: ns, Name: name}))
	}
	must(host.EnsureAddr(ns, "other", netip.MustParsePrefix("10.89.2.1/24")))

	for range 2 {
		must(d.EnsureProviderAddress(t.Context(), netip.MustParsePrefix("10.89.3.1/24")))
	}
	if log.Len() > 0 {
		t.Errorf("a subnet of its own: %s", &log)
	}
	shared := netip.MustParsePrefix("10.89.2.254/24")
	for range 2 {
		must(d.EnsureProviderAddress(t.Context(), shared))
	}
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "links=other") || !strings.Contains(got, shared.String()) {
		t.Errorf("told: %s", got)
	}
}
