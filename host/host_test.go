package host

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

// testNetns makes a namespace whose name is this process's own.
func testNetns(t *testing.T, suffix string) string {
	t.Helper()
	needRoot(t)
	name := "tropo-t" + strconv.Itoa(os.Getpid()) + suffix
	if err := EnsureNetns(name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := DeleteNetns(name); err != nil {
			t.Error(err)
		}
	})
	return name
}

func TestNetnsIsIdempotentAndMendsLeftovers(t *testing.T) {
	name := testNetns(t, "a")
	if err := EnsureNetns(name); err != nil {
		t.Fatal(err)
	}
	if err := DeleteNetns(name); err != nil {
		t.Fatal(err)
	}
	if err := DeleteNetns(name); err != nil {
		t.Fatal("second delete:", err)
	}
	// A crash between the file and its mount.
	if err := os.WriteFile(filepath.Join(netnsDir, name), nil, 0o444); err != nil {
		t.Fatal(err)
	}
	if NetnsExists(name) {
		t.Fatal("a plain file counts as a namespace")
	}
	if err := EnsureNetns(name); err != nil {
		t.Fatal(err)
	}
	links, err := Links(name)
	if err != nil || len(links) == 0 || links[0].Name != "lo" || !links[0].Up {
		t.Fatalf("links %+v, %v; want lo, up", links, err)
	}
}

// TestNetnsBesideTheFirstOfIP: the first `ip netns add` of a machine covers no
// name that was there before.
func TestNetnsBesideTheFirstOfIP(t *testing.T) {
	needRoot(t)
	done := make(chan error, 1)
	go func() { // its thread ends with it, and with that its mounts
		runtime.LockOSThread()
		done <- func() error {
			name := filepath.Join(netnsDir, "a")
			for _, f := range []func() error{
				func() error { return unix.Unshare(unix.CLONE_NEWNS) },
				func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
				func() error { return unix.Mount("none", "/run", "tmpfs", 0, "") },
				shareNetnsDir,
				func() error { return os.WriteFile(name, nil, 0o444) },
				func() error { return unix.Mount("/proc/thread-self/ns/net", name, "", unix.MS_BIND, "") },
				func() error { return exec.Command("ip", "netns", "add", "b").Run() },
				shareNetnsDir,
				func() error { return DeleteNetns("a") },
				func() error { return DeleteNetns("b") },
			} {
				if err := f(); err != nil {
					return err
				}
			}
			return nil
		}()
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestNetnsRefusesPaths(t *testing.T) {
	for _, name := range []string{"..", ".", "a/b", "", "a b"} {
		if EnsureNetns(name) == nil || DeleteNetns(name) == nil {
			t.Errorf("%q is taken for a name", name)
		}
	}
}

func TestInNetnsReturnsHomeAfterPanic(t *testing.T) {
	name := testNetns(t, "p")
	before, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if recover() != "boom" {
				t.Error("the panic was lost")
			}
		}()
		_ = InNetns(name, func() error { panic("boom") })
	}()
	var inside string
	if err := InNetns(name, func() (err error) { inside, err = os.Readlink("/proc/thread-self/ns/net"); return err }); err != nil {
		t.Fatal(err)
	}
	after, _ := os.Readlink("/proc/thread-self/ns/net")
	if inside == before || after != before {
		t.Fatalf("home %s, inside %s, after %s", before, inside, after)
	}
}

func TestVethCarriesPacketsBetweenNamespaces(t *testing.T) {
	a, b := testNetns(t, "x"), testNetns(t, "y")
	v := Veth{Netns: a, Name: "va", PeerNetns: b, PeerName: "vb", MTU: 1400, PeerMAC: net.HardwareAddr{0xfa, 0x16, 0x3e, 1, 2, 3}}
	for range 2 { // the second time changes nothing
		if err := EnsureVeth(v); err != nil {
			t.Fatal(err)
		}
	}
	peer, err := FindLink(b, "vb")
	if err != nil || peer.MTU != 1400 || peer.MAC.String() != "fa:16:3e:01:02:03" || !peer.Up {
		t.Fatalf("peer %+v, %v", peer, err)
	}
	for _, e := range []struct{ ns, link, addr string }{{a, "va", "192.0.2.1/24"}, {b, "vb", "192.0.2.2/24"}} {
		if err := EnsureAddr(e.ns, e.link, netip.MustParsePrefix(e.addr)); err != nil {
			t.Fatal(err)
		}
		if err := EnsureAddr(e.ns, e.link, netip.MustParsePrefix(e.addr)); err != nil {
			t.Fatal("second time:", err)
		}
		if err := DisableOffload(e.ns, e.link); err != nil {
			t.Fatal(err)
		}
	}
	if err := EnsureRoute(a, "va", netip.MustParsePrefix("198.51.100.0/24"), netip.MustParseAddr("192.0.2.2")); err != nil {
		t.Fatal(err)
	}
	echo(t, a, b)
	if err := DeleteAddr(a, "va", netip.MustParsePrefix("192.0.2.1/24")); err != nil {
		t.Fatal(err)
	}
	if err := DeleteLink(a, "va"); err != nil {
		t.Fatal(err)
	}
	if err := DeleteLink(a, "va"); err != nil {
		t.Fatal("second delete:", err)
	}
	if LinkExists(b, "vb") {
		t.Fatal("the peer stayed")
	}
}

// echo sends a datagram from a to a listener in b at 192.0.2.2.
func echo(t *testing.T, a, b string) {
	t.Helper()
	var l net.PacketConn
	if err := InNetns(b, func() (err error) { l, err = net.ListenPacket("udp", "192.0.2.2:0"); return err }); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var c net.Conn
	if err := InNetns(a, func() (err error) { c, err = net.Dial("udp", l.LocalAddr().String()); return err }); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	_ = l.SetReadDeadline(time.Now().Add(time.Minute))
	n, from, err := l.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "hello" || !strings.HasPrefix(from.String(), "192.0.2.1:") {
		t.Fatalf("got %q from %v, %v", buf[:n], from, err)
	}
}

func TestTapAndBridge(t *testing.T) {
	ns := testNetns(t, "t")
	tap := Tap{Netns: ns, Name: "tap0", VNetHdr: true, MTU: 1442, MAC: net.HardwareAddr{0xfe, 0x16, 0x3e, 0, 0, 1}}
	for range 2 {
		if err := EnsureTap(tap); err != nil {
			t.Fatal(err)
		}
		if err := EnsureBridge(ns, "br0"); err != nil {
			if errors.Is(err, unix.EOPNOTSUPP) {
				t.Skip("the kernel has no bridges")
			}
			t.Fatal(err)
		}
	}
	if err := SetLinkMaster(ns, "tap0", "br0"); err != nil {
		t.Fatal(err)
	}
	if err := SetLinkMaster(ns, "tap0", ""); err != nil {
		t.Fatal(err)
	}
	l, err := FindLink(ns, "tap0")
	if err != nil || l.MTU != 1442 || l.MAC.String() != "fe:16:3e:00:00:01" || !l.Up {
		t.Fatalf("tap %+v, %v", l, err)
	}
	if err := SetLinkDown(ns, "tap0"); err != nil {
		t.Fatal(err)
	}
}

func TestOverlapping(t *testing.T) {
	ns := testNetns(t, "o")
	for name, p := range map[string]string{"a0": "192.0.2.1/24", "a1": "198.51.100.1/25", "a2": "fd00:1::1/64"} {
		if err := EnsureTap(Tap{Netns: ns, Name: name}); err != nil {
			t.Fatal(err)
		}
		if err := EnsureAddr(ns, name, netip.MustParsePrefix(p)); err != nil {
			t.Fatal(err)
		}
	}
	for p, want := range map[string]string{
		"192.0.2.9/24": "", "192.0.0.0/16": "", "198.51.100.9/24": "a1", "198.51.100.129/25": "", "fd00:1::9/48": "a2", "10.0.0.1/8": "",
	} {
		got, err := Overlapping(ns, "a0", netip.MustParsePrefix(p))
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s overlaps with %q, %v; want %q", p, got, err, want)
		}
	}
}

func TestDeleteLinkOfMissingNamespace(t *testing.T) {
	if err := DeleteLink("tropo-no-such-namespace", "x"); err != nil {
		t.Fatal(err)
	}
}

func TestProcessIsNeverAnother(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := FindProcess(cmd.Process.Pid)
	if err != nil || !p.Alive() {
		t.Fatalf("%+v, %v", p, err)
	}
	// The same number, started at another time or boot: as if recycled.
	for _, other := range []Process{{p.PID, p.StartTime - 1, p.BootID}, {p.PID, p.StartTime, "another"}, {0, 0, ""}, {-1, 0, ""}} {
		if other.Alive() {
			t.Errorf("%+v counts as alive", other)
		}
		if err := other.Signal(unix.SIGKILL); !errors.Is(err, ErrGone) {
			t.Errorf("%+v was signalled: %v", other, err)
		}
	}
	if !p.Alive() {
		t.Fatal("the process was hit")
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	if err := p.Stop(t.Context(), 5*time.Second); err != nil {
		t.Fatal(err)
	}
	<-exited
	if p.Alive() || p.Stop(t.Context(), time.Second) != nil || p.Wait(t.Context()) != nil {
		t.Fatal("an ended process is not seen as ended")
	}
}

func TestStopKillsAfterGrace(t *testing.T) {
	cmd := exec.Command("sh", "-c", `trap "" TERM; echo ready; while :; do read x; done`)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe() // keeps read waiting
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	p, err := FindProcess(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(t.Context(), 10*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if got := cmd.ProcessState.Sys().(interface{ Signal() unix.Signal }).Signal(); got != unix.SIGKILL {
		t.Fatalf("ended by %v", got)
	}
}

func TestWaitEndsWithContext(t *testing.T) {
	p, err := FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestParseStat(t *testing.T) {
	tail := " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21"
	for _, c := range []struct {
		in    string
		start uint64
		ok    bool
	}{
		{"7 (sh)" + tail, 4242, true},
		{"7 (a) Z (b) c)" + tail, 4242, true},
		{"7 (sh) S 1", 0, false},
		{"", 0, false},
	} {
		start, _, err := parseStat([]byte(c.in))
		if start != c.start || (err == nil) != c.ok {
			t.Errorf("%q: %d, %v", c.in, start, err)
		}
	}
}

func TestPidfile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pid")
	if _, err := ReadPidfile(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	p, err := FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := WritePidfile(path, p); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadPidfile(path); err != nil || got != p {
		t.Fatalf("%+v, %v; want %+v", got, err, p)
	}
	for _, bad := range []string{"", "12\n", "x 1 b", "-1 1 b", "1 -1 b"} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadPidfile(path); err == nil {
			t.Errorf("%q is taken for a pid file", bad)
		}
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	for _, text := range []string{"one", "two"} {
		if err := WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		st, _ := os.Stat(path)
		if err != nil || string(got) != text || st.Mode().Perm() != 0o640 {
			t.Fatalf("%q, %v, %v", got, st.Mode(), err)
		}
	}
	// A failure leaves the old content and no litter.
	if err := os.Mkdir(filepath.Join(dir, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "full", "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if WriteFile(filepath.Join(dir, "full"), []byte("x"), 0o600) == nil {
		t.Fatal("a folder was overwritten")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".full*")); len(left) != 0 {
		t.Fatalf("left %v", left)
	}
}

func TestLockDir(t *testing.T) {
	dir := t.TempDir()
	l, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var locked *LockedError
	if _, err := LockDir(dir); !errors.As(err, &locked) || locked.Owner == "" {
		t.Fatal(err)
	}
	// A child has the file for a moment.
	child, err := unix.Dup(int(l.f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(child)
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	l, err = LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Unlock()
}

func TestRunLimits(t *testing.T) {
	if _, err := Run(t.Context(), Command{Path: "sleep", Args: []string{"60"}, Timeout: 20 * time.Millisecond}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error("timeout:", err)
	}
	if _, err := Run(t.Context(), Command{Path: "cat", Args: []string{"/dev/zero"}, MaxOutput: 1000}); err == nil {
		t.Error("endless output is taken")
	}
	var exit *ExitError
	if _, err := Run(t.Context(), Command{Path: "sh", Args: []string{"-c", "echo no >&2; exit 3"}}); !errors.As(err, &exit) || exit.Code != 3 || !strings.Contains(exit.Error(), "no") {
		t.Error("exit code:", err)
	}
	out, err := Run(t.Context(), Command{Path: "cat", Stdin: []byte("in")})
	if err != nil || string(out) != "in" {
		t.Errorf("stdin: %q, %v", out, err)
	}
}

func TestRunInNetns(t *testing.T) {
	ns := testNetns(t, "r")
	out, err := Run(t.Context(), Command{Path: "ip", Args: []string{"-o", "link"}, Netns: ns})
	if err != nil || strings.Count(string(out), "\n") == 0 || strings.Contains(string(out), "eth0") {
		t.Fatalf("%s, %v", out, err)
	}
}
