package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/diskfs/go-diskfs"
	"github.com/diskfs/go-diskfs/disk"
	"github.com/diskfs/go-diskfs/filesystem"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
	"golang.org/x/crypto/ssh"

	"github.com/tropocloud/tropo/lib/qmp"
)

// bootLimit bounds one boot; a loaded machine emulates slowly.
const bootLimit = 5 * time.Minute

// guest is a running QEMU with the image.
type guest struct {
	t       *testing.T
	cmd     *exec.Cmd
	qmp     *qmp.Client
	sshAddr string
	signer  ssh.Signer
	exited  chan struct{}

	mu      sync.Mutex
	console bytes.Buffer
	more    chan struct{} // closed and renewed when console grows
}

func (g *guest) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.more)
	g.more = make(chan struct{})
	return g.console.Write(p)
}

// await waits for text on the serial console.
func (g *guest) await(text string) {
	g.t.Helper()
	deadline := time.After(bootLimit)
	for {
		g.mu.Lock()
		found, more, log := bytes.Contains(g.console.Bytes(), []byte(text)), g.more, g.console.String()
		g.mu.Unlock()
		if found {
			return
		}
		select {
		case <-more:
		case <-g.exited:
			g.t.Fatalf("guest ended before it printed %q:\n%s", text, log)
		case <-deadline:
			g.t.Fatalf("guest did not print %q:\n%s", text, log)
		}
	}
}

func (g *guest) command(name string, args, result any) {
	g.t.Helper()
	if err := g.qmp.Execute(g.t.Context(), name, args, result); err != nil {
		g.t.Fatalf("%s: %v", name, err)
	}
}

var hostForward = regexp.MustCompile(`HOST_FORWARD\]\s+\d+\s+(\S+)\s+(\d+)`)

// forwarded asks for the port that QEMU chose: one chosen before it starts
// could be another's by then.
func (g *guest) forwarded() string {
	g.t.Helper()
	var said string
	g.command("human-monitor-command", map[string]any{"command-line": "info usernet"}, &said)
	m := hostForward.FindStringSubmatch(said)
	if m == nil {
		g.t.Fatalf("QEMU forwards no port:\n%s", said)
	}
	return net.JoinHostPort(m[1], m[2])
}

// dial waits until SSH answers: QEMU accepts for the guest before it listens.
func (g *guest) dial(user string, auth ssh.AuthMethod) *ssh.Client {
	g.t.Helper()
	c, err := ssh.Dial("tcp", g.sshAddr, &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{auth}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: time.Minute,
	})
	if err != nil {
		g.t.Fatalf("ssh %s: %v", user, err)
	}
	g.t.Cleanup(func() { c.Close() })
	return c
}

func output(t *testing.T, c *ssh.Client, command string) string {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := s.CombinedOutput(command)
	if err != nil {
		t.Errorf("%s: %v: %s", command, err, out)
	}
	return strings.TrimSpace(string(out))
}

func need(t *testing.T, programs ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("boots a guest")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
}

// image builds all outputs once per machine; later runs find them fresh.
func image(t *testing.T) options {
	t.Helper()
	need(t, "qemu-system-x86_64", "qemu-img", "mke2fs", "mformat", "syslinux", "dpkg-deb", "apt-get")
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("tropo-guestimage-%d", os.Getuid()))
	o := options{
		disk: filepath.Join(dir, "guest.qcow2"), kernel: filepath.Join(dir, "vmlinuz"),
		initrd: filepath.Join(dir, "initrd.gz"), cache: defaultCache(),
	}
	if _, err := build(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	return o
}

// configDrive makes an ISO 9660 image labelled config-2.
func configDrive(t *testing.T, file string, files map[string][]byte) {
	t.Helper()
	d, err := diskfs.Create(file, 1<<20, diskfs.SectorSizeDefault)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	d.LogicalBlocksize = 2048
	fs, err := d.CreateFilesystem(disk.FilesystemSpec{FSType: filesystem.TypeISO9660, VolumeLabel: "config-2"})
	if err != nil {
		t.Fatal(err)
	}
	if err := fs.Mkdir("openstack/latest"); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		f, err := fs.OpenFile(name, os.O_CREATE|os.O_RDWR)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(content); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	iso := fs.(*iso9660.FileSystem)
	if err := iso.Finalize(iso9660.FinalizeOptions{RockRidge: true, Joliet: true, VolumeIdentifier: "config-2"}); err != nil {
		t.Fatal(err)
	}
}

const userData = `#!/bin/sh
echo "user data says $(hostname)"
date > /root/user-data-ran
`

// identity is what the metadata tells the guest.
func identity(t *testing.T, key ssh.PublicKey) map[string][]byte {
	t.Helper()
	meta, err := json.Marshal(map[string]any{
		"uuid": "4f2e1f5e-0000-4000-8000-000000000001", "hostname": "first-guest.novalocal", "name": "first-guest",
		"public_keys": map[string]string{"mine": string(ssh.MarshalAuthorizedKey(key))},
	})
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{"openstack/latest/meta_data.json": meta, "openstack/latest/user_data": []byte(userData)}
}

// overDrive gives the identity on a config drive.
func overDrive(t *testing.T, files map[string][]byte) (network string, args []string) {
	t.Helper()
	iso := filepath.Join(t.TempDir(), "config.iso")
	configDrive(t, iso, files)
	return "", []string{"-drive", "if=none,id=cd,format=raw,readonly=on,file=" + iso, "-device", "virtio-blk-pci,drive=cd"}
}

// overHTTP gives the identity at 169.254.169.254, as the metadata service does.
func overHTTP(t *testing.T, files map[string][]byte) (network string, args []string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, ok := files[strings.TrimPrefix(r.URL.Path, "/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Write(b)
	}))
	t.Cleanup(s.Close)
	return ",net=169.254.169.0/24,guestfwd=tcp:169.254.169.254:80-cmd:busybox nc " +
		strings.Replace(s.Listener.Addr().String(), ":", " ", 1), nil
}

// start boots a guest with an identity, QMP, and SSH on a loopback port.
func start(t *testing.T, over func(*testing.T, map[string][]byte) (string, []string), args ...string) *guest {
	t.Helper()
	dir := t.TempDir()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	network, more := over(t, identity(t, key))
	monitor, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "qmp"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer monitor.Close()
	g := &guest{t: t, signer: signer, exited: make(chan struct{}), more: make(chan struct{})}
	g.cmd = exec.Command("qemu-system-x86_64", append([]string{
		"-M", "q35", "-accel", "tcg", "-cpu", "qemu64", "-smp", "1", "-m", "256",
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio",
		"-netdev", "user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:0-:22" + network, "-device", "virtio-net-pci,netdev=n0,romfile=",
		"-device", "pcie-root-port,id=p1,chassis=1", "-device", "virtio-rng-pci",
		"-qmp", "unix:" + filepath.Join(dir, "qmp"),
	}, append(more, args...)...)...)
	g.cmd.Stdout, g.cmd.Stderr = g, g
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.cmd.Process.Kill()
		<-g.exited
		if t.Failed() {
			t.Logf("console:\n%s", g.console.String())
		}
	})
	go func() {
		g.cmd.Wait()
		monitor.Close() // where it ended before it spoke
		close(g.exited)
	}()
	conn, err := monitor.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if g.qmp, err = qmp.New(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.qmp.Close() })
	g.sshAddr = g.forwarded()
	return g
}

// powerDown presses the power button and reports the processor time used.
func (g *guest) powerDown() {
	g.t.Helper()
	g.command("system_powerdown", nil, nil)
	select {
	case <-g.exited:
	case <-time.After(bootLimit):
		g.t.Fatal("guest ignores the power button")
	}
	ps := g.cmd.ProcessState
	g.t.Logf("%.1f CPU-seconds in all", (ps.UserTime() + ps.SystemTime()).Seconds())
}

// cpu reads the processor time that QEMU has used.
func (g *guest) cpu() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", g.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	var user, system int64
	fmt.Sscan(f[11], &user)
	fmt.Sscan(f[12], &system)
	return time.Duration(user+system) * 10 * time.Millisecond
}

func TestDiskBootsFromQ35(t *testing.T) {
	o := image(t)
	disk := filepath.Join(t.TempDir(), "root.qcow2")
	if out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", o.disk, disk, "400M").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	began := time.Now()
	g := start(t, overDrive, "-drive", "if=none,id=root,format=qcow2,file="+disk, "-device", "virtio-blk-pci,drive=root,bootindex=1")
	g.await("guest: ssh ready")
	t.Logf("ssh ready after %.1f s, %.1f CPU-seconds", time.Since(began).Seconds(), g.cpu().Seconds())
	g.await("user data says first-guest")
	g.await("guest: user-data ends with 0")
	g.await("first-guest login:")

	c := g.dial("cirros", ssh.PublicKeys(g.signer))
	for command, want := range map[string]string{
		"hostname":      "first-guest",
		"id -un":        "cirros",
		"sudo -n id -u": "0",
		"ping -c 1 -W 9 127.0.0.1 | sed -n 's/ packets transmitted.*//p'":                               "1",
		"set -eu -o pipefail; sudo sh -c 'test -s /root/user-data-ran' && echo ran":                     "ran",
		"ip -4 -o addr show dev eth0 | awk '{print $4}'":                                                "10.0.2.15/24",
		"dd if=/dev/zero of=/tmp/f bs=1M count=8 2>/dev/null; sudo mkfs.ext4 -q -F /tmp/f && echo made": "made",
		"sudo modprobe 8021q && grep -c ^8021q /proc/modules":                                           "1",
	} {
		if got := output(t, c, command); got != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
	// A 400 MB disk: partition and file system grew.
	var kb int
	fmt.Sscan(output(t, c, "df -k / | awk 'NR==2 {print $2}'"), &kb)
	if kb < 300<<10 {
		t.Errorf("root file system has %d KiB, want more than 300 MiB", kb)
	}
	if out := output(t, c, "lsblk -lb --nodeps"); !strings.Contains(out, "419430400") {
		t.Errorf("lsblk: %s", out)
	}
	output(t, g.dial("root", ssh.PublicKeys(g.signer)), "true")
	output(t, g.dial("cirros", ssh.Password("gocubsgo")), "true")

	g.command("netdev_add", map[string]any{"type": "user", "id": "n1", "restrict": true, "net": "10.9.9.0/24"}, nil)
	g.command("device_add", map[string]any{"driver": "virtio-net-pci", "netdev": "n1", "id": "hot", "bus": "p1", "romfile": ""}, nil)
	g.await("guest: lease 10.9.9.15 on eth1")
	g.powerDown()
}

func TestKernelAndRamdiskBoot(t *testing.T) {
	o := image(t)
	began := time.Now()
	g := start(t, overDrive, "-kernel", o.kernel, "-initrd", o.initrd, "-append", commandLine)
	g.await("guest: ssh ready")
	t.Logf("ssh ready after %.1f s, %.1f CPU-seconds", time.Since(began).Seconds(), g.cpu().Seconds())
	if got := output(t, g.dial("cirros", ssh.PublicKeys(g.signer)), "hostname"); got != "first-guest" {
		t.Errorf("hostname = %q", got)
	}
	g.powerDown()
}

func TestMetadataOverHTTPInSmallMemory(t *testing.T) {
	o := image(t)
	need(t, "busybox")
	g := start(t, overHTTP, "-kernel", o.kernel, "-initrd", o.initrd, "-append", commandLine, "-m", "128")
	g.await("guest: metadata over HTTP")
	g.await("user data says first-guest")
	g.await("guest: user-data ends with 0")
	c := g.dial("cirros", ssh.PublicKeys(g.signer))
	if got := output(t, c, "curl -s http://169.254.169.254/openstack/latest/user_data | head -n 1"); got != "#!/bin/sh" {
		t.Errorf("curl = %q", got)
	}
	g.powerDown()
}

func TestFreshNeedsTheSameKeyAndFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "guest.qcow2")
	make := func(_ context.Context, f string) error { return os.WriteFile(f, []byte("image"), 0o644) }
	if err := replace(context.Background(), file, "key", make); err != nil {
		t.Fatal(err)
	}
	if !fresh([]string{file}, "key") || fresh([]string{file}, "other key") {
		t.Error("freshness does not follow the key")
	}
	fails := func(_ context.Context, f string) error {
		os.WriteFile(f, []byte("half"), 0o644)
		return os.ErrInvalid
	}
	if err := replace(context.Background(), file, "key2", fails); err == nil {
		t.Error("a failed build was reported as made")
	}
	if b, _ := os.ReadFile(file); string(b) != "image" {
		t.Errorf("a failed build left %q", b)
	}
	if _, err := os.Stat(file + ".part"); err == nil {
		t.Error("a failed build left its part")
	}
}
