package chaos

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tropocloud/tropo/host"
)

// network is one of the three networks between machines.
type network struct {
	name   string // of its bridge, and begins its links' names
	prefix netip.Prefix
	link   string // name of the link inside a machine
}

var (
	management = network{"mgmt", netip.MustParsePrefix("10.89.0.0/24"), "eth0"}
	service    = network{"serv", netip.MustParsePrefix("10.89.1.0/24"), "eth1"}
	provider   = network{"prov", netip.MustParsePrefix("10.89.2.0/24"), "eth2"}
)

// address is the address of machine n.
func (n network) address(i int) netip.Addr {
	a := n.prefix.Addr().As4()
	a[3] = byte(i)
	return netip.AddrFrom4(a)
}

// site is where one test's machines stand: a folder, a namespace with the
// bridges of the networks, and the machines.
type site struct {
	t        testing.TB
	id       string // begins the names of all namespaces
	dir      string
	bridges  string // the namespace
	machines []*machine
	tropo    string
	guest    string
}

var sites atomic.Int32

const (
	namePrefix   = "tc"
	folderPrefix = "tropo-chaos-"
)

// newSite makes a site that is removed after the test; variable must be set,
// or the test is skipped.
func newSite(t testing.TB, variable string) *site {
	t.Helper()
	if os.Getenv(variable) == "" {
		t.Skip("runs by make chaos, its small form by make e2e")
	}
	s := &site{t: t, tropo: os.Getenv("TROPO_BIN"), guest: os.Getenv("TROPO_GUEST")}
	for _, f := range []string{s.tropo, s.guest} {
		if _, err := os.Stat(f); err != nil || !filepath.IsAbs(f) {
			t.Fatalf("TROPO_BIN and TROPO_GUEST must name files by absolute paths: %q: %v", f, err)
		}
	}
	sweep(t)
	s.id = fmt.Sprintf("%s%dx%d-", namePrefix, os.Getpid(), sites.Add(1))
	s.bridges = s.id + "sw"
	var err error
	// Not t.TempDir: its path is too long for unix sockets.
	if s.dir, err = os.MkdirTemp("", fmt.Sprintf("%s%d-", folderPrefix, os.Getpid())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.clean)
	// The database and the broker run as other users and must pass through.
	if err := os.Chmod(s.dir, 0o711); err != nil { //nolint:gosec // no file in it is readable by others
		t.Fatal(err)
	}
	if err := host.EnsureNetns(s.bridges); err != nil {
		t.Fatal(err)
	}
	for _, n := range []network{management, service, provider} {
		if err := host.EnsureBridge(s.bridges, n.name); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// add makes a machine with links to the networks. Its number is the last part
// of its addresses. A link of the provider network has no address: it is the
// cloud's, except on the workstation.
func (s *site) add(name string, number int, networks ...network) *machine {
	s.t.Helper()
	m := &machine{site: s, name: name, number: number, netns: s.id + name, dir: filepath.Join(s.dir, name), networks: networks}
	if err := os.Mkdir(m.dir, 0o711); err != nil { //nolint:gosec // as above
		s.t.Fatal(err)
	}
	s.machines = append(s.machines, m)
	if err := host.EnsureNetns(m.netns); err != nil {
		s.t.Fatal(err)
	}
	for _, n := range networks {
		if err := m.plug(n); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := m.open(); err != nil {
		s.t.Fatal(err)
	}
	return m
}

// machine finds a machine by name.
func (s *site) machine(name string) *machine {
	for _, m := range s.machines {
		if m.name == name {
			return m
		}
	}
	s.t.Fatalf("there is no machine %s", name)
	return nil
}

// clean ends and removes everything, and says what the cloud's processes
// logged if the test failed.
func (s *site) clean() {
	if s.t.Failed() {
		for _, m := range s.machines {
			m.printLogs()
		}
	}
	if keep := os.Getenv("TROPO_CHAOS_KEEP"); keep != "" && s.t.Failed() {
		if err := copyLogs(s.dir, keep); err != nil {
			s.t.Error(err)
		}
	}
	for _, m := range s.machines {
		m.close()
	}
	if err := purge(s.dir, s.id); err != nil {
		s.t.Errorf("remove what the test made: %v", err)
	}
}

// sweep removes what a run left whose process was killed.
func sweep(t testing.TB) {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), folderPrefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(d), folderPrefix), "-")
		pid, err := strconv.Atoi(owner)
		if err != nil || unix.Kill(pid, 0) == nil {
			continue
		}
		if err := purge(d, namePrefix+owner+"x"); err != nil {
			t.Errorf("remove what a killed run left: %v", err)
		}
	}
}
