package qemu

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/fault"
)

// patience bounds waits that end far sooner.
const patience = 2 * time.Minute

func newSpec(t *testing.T) driver.Spec {
	return driver.Spec{
		ID: uuid.NewString(), Name: "guest", Flavor: driver.Flavor{VCPUs: 1, MemoryMiB: 64}, Image: guestImage(t),
	}
}

// openOne opens a driver on fresh state, all of whose guests end with the test.
func openOne(t *testing.T) (*QEMU, context.Context) {
	t.Helper()
	d := open(t, t.TempDir(), nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(func() {
		cancel()
		destroyAll(t, d.conf.State)
		d.Close()
	})
	return d, ctx
}

func destroyAll(t *testing.T, state string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(state, "instances"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		g := newGuest(e.Name(), filepath.Join(state, "instances", e.Name()))
		if p := g.find(); p != nil {
			if err := p.signal(9); err != nil {
				t.Error(err)
			}
			p.release()
		}
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// upTimes waits until the guest has said n times that it is up.
func upTimes(ctx context.Context, t *testing.T, d *QEMU, id string, n int) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		out, err := d.ConsoleOutput(ctx, id, 0)
		ok(t, err)
		if bytes.Count(out, []byte("guest is up\r\n")) >= n {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the guest is not up: %q", out)
		}
	}
}

func waitFor(ctx context.Context, t *testing.T, d *QEMU, kind driver.EventKind) {
	t.Helper()
	for {
		select {
		case e := <-d.Events():
			if e.Kind == kind {
				return
			}
		case <-ctx.Done():
			t.Fatalf("no event %s", kind)
		}
	}
}

// A guest that powers itself off is told as stopped, not as crashed, and starts
// again from its definition, with its console log going on.
func TestGuestPowersOff(t *testing.T) {
	d, ctx := openOne(t)
	s := newSpec(t)
	ok(t, d.Spawn(ctx, s))
	upTimes(ctx, t, d, s.ID, 1)
	m, err := d.connect(ctx, d.guest(s.ID))
	ok(t, err)
	ok(t, command(ctx, m, "system_powerdown", nil, nil))
	waitFor(ctx, t, d, driver.EventStopped)
	info, err := d.Info(ctx, s.ID)
	if err != nil || info.State != driver.StateShutdown {
		t.Fatalf("state %s, %v", info.State, err)
	}
	ok(t, d.PowerOn(ctx, s.ID))
	upTimes(ctx, t, d, s.ID, 2)
	// Far more grace than the test has: only the guest's own end is in time.
	ok(t, d.PowerOff(ctx, s.ID, time.Hour))
	ok(t, d.PowerOn(ctx, s.ID))
	upTimes(ctx, t, d, s.ID, 3)
	ok(t, d.Reboot(ctx, s.ID, driver.RebootSoft, time.Hour))
	upTimes(ctx, t, d, s.ID, 4)
	if out, err := d.ConsoleOutput(ctx, s.ID, 1); err != nil || string(out) != "guest is up\r\n" {
		t.Errorf("last line %q, %v", out, err)
	}
}

// Destroy does not wait for a shutdown that takes its time.
func TestDestroyPreempts(t *testing.T) {
	d, ctx := openOne(t)
	s := newSpec(t)
	ok(t, d.Spawn(ctx, s))
	m, err := d.connect(ctx, d.guest(s.ID))
	ok(t, err)
	sub := m.Subscribe("POWERDOWN")
	off := make(chan error, 1)
	s2 := s.ID
	go func() { off <- d.PowerOff(ctx, s2, time.Hour) }()
	_, err = sub.Next(ctx, nil)
	ok(t, err)
	ok(t, d.Destroy(ctx, s.ID, false))
	<-off // whether the guest or the Destroy was faster
	checkLeaks(t, d.conf.State, nil, s.ID)
}

// Wherever the agent was killed in a Spawn, a second one or a Destroy finishes.
func TestSpawnCutShort(t *testing.T) {
	steps := map[string]func(context.Context, *testing.T, *QEMU, driver.Spec){
		"directory": func(_ context.Context, t *testing.T, d *QEMU, s driver.Spec) {
			ok(t, os.Mkdir(d.guest(s.ID).dir, 0o700))
		},
		"definition": func(ctx context.Context, t *testing.T, d *QEMU, s driver.Spec) {
			_, err := d.define(ctx, d.guest(s.ID), s)
			ok(t, err)
			ok(t, os.WriteFile(d.guest(s.ID).path(rootFile+".part1"), []byte("half"), 0o600))
		},
		"disks": func(ctx context.Context, t *testing.T, d *QEMU, s driver.Spec) {
			def, err := d.define(ctx, d.guest(s.ID), s)
			ok(t, err)
			ok(t, d.makeDisks(ctx, d.guest(s.ID), def, nil))
		},
		"process": func(ctx context.Context, t *testing.T, d *QEMU, s driver.Spec) {
			g := d.guest(s.ID)
			def, err := d.define(ctx, g, s)
			ok(t, err)
			ok(t, d.makeDisks(ctx, g, def, nil))
			_, err = d.launch(ctx, g, def, false)
			ok(t, err)
			ok(t, os.Remove(g.path(pidFile))) // as if not yet written
		},
	}
	for name, cut := range steps {
		for _, finish := range []string{"spawn", "destroy"} {
			t.Run(name+" "+finish, func(t *testing.T) {
				d, ctx := openOne(t)
				s := newSpec(t)
				cut(ctx, t, d, s)
				d.Close()
				d = open(t, d.conf.State, nil)
				defer d.Close()
				list, err := d.List(ctx)
				if err != nil || len(list) != 1 || list[0].ID != s.ID {
					t.Fatalf("listed %+v, %v", list, err)
				}
				if finish == "spawn" {
					ok(t, d.Spawn(ctx, s))
					upTimes(ctx, t, d, s.ID, 1)
				}
				ok(t, d.Destroy(ctx, s.ID, false))
				checkLeaks(t, d.conf.State, nil, s.ID)
			})
		}
	}
}

// A pid that now belongs to another process is left alone.
func TestRecycledPid(t *testing.T) {
	d, ctx := openOne(t)
	s := newSpec(t)
	ok(t, d.Spawn(ctx, s))
	ok(t, d.PowerOff(ctx, s.ID, 0))
	other := exec.CommandContext(ctx, "sleep", "1000")
	other.Dir = d.guest(s.ID).dir // even in the right place
	ok(t, other.Start())
	ok(t, os.WriteFile(d.guest(s.ID).path(pidFile), []byte(strconv.Itoa(other.Process.Pid)), 0o600))
	info, err := d.Info(ctx, s.ID)
	if err != nil || info.State != driver.StateShutdown {
		t.Errorf("state %s, %v", info.State, err)
	}
	ok(t, d.Destroy(ctx, s.ID, false))
	p, err := openProcess(other.Process.Pid)
	ok(t, err)
	defer p.release()
	if !p.alive() {
		t.Error("killed a process that is not the guest's")
	}
	ok(t, other.Process.Kill())
	if err := other.Wait(); err == nil {
		t.Error("not killed")
	}
}

// All disks of a flavor are there; an ISO image boots as a CD beside an empty
// disk, which does not boot.
func TestDisks(t *testing.T) {
	d, ctx := openOne(t)
	s := newSpec(t)
	s.Image.Format = "iso"
	s.Flavor = driver.Flavor{VCPUs: 1, MemoryMiB: 64, RootGiB: 1, EphemeralGiB: 1, SwapMiB: 16}
	s.ConfigDrive = map[string][]byte{"openstack/latest/user_data": []byte("#!/bin/sh\n")}
	ok(t, d.Spawn(ctx, s))
	diag, err := d.Diagnostics(ctx, s.ID)
	ok(t, err)
	var names []string
	for _, k := range diag.Disks {
		names = append(names, k.Device)
	}
	if got := strings.Join(names, " "); got != "vda vdb vdc vdd" {
		t.Errorf("disks %s", got)
	}
	ok(t, d.Destroy(ctx, s.ID, false))
	checkLeaks(t, d.conf.State, nil, s.ID)
}

// A flavor's disk that is smaller than the image would cut it off.
func TestDiskTooSmall(t *testing.T) {
	d, ctx := openOne(t)
	s := newSpec(t)
	ok(t, os.Chmod(s.Image.Path, 0o600))
	ok(t, os.Truncate(s.Image.Path, 2<<30))
	s.Flavor.RootGiB = 1
	if err := d.Spawn(ctx, s); !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}
}

// Faults tell no path (CVE-2019-14433: threat 24), and a broken start leaves no
// process.
func TestStartFails(t *testing.T) {
	d, ctx := openOne(t)
	s := newSpec(t)
	ok(t, d.Spawn(ctx, s))
	ok(t, d.PowerOff(ctx, s.ID, 0))
	ok(t, os.Remove(d.guest(s.ID).path(rootFile)))
	err := d.PowerOn(ctx, s.ID)
	f, isFault := fault.As(err)
	if !isFault || strings.Contains(f.Message, "/") || !strings.Contains(err.Error(), rootFile) {
		t.Errorf("got %v", err)
	}
	info, err := d.Info(ctx, s.ID)
	if err != nil || info.State != driver.StateShutdown {
		t.Errorf("state %s, %v", info.State, err)
	}
}

// A guest that prints without end does not fill the disk.
func TestTrimConsole(t *testing.T) {
	d, ctx := openOne(t)
	s := newSpec(t)
	ok(t, d.Spawn(ctx, s))
	upTimes(ctx, t, d, s.ID, 1)
	g := d.guest(s.ID)
	ok(t, g.trimConsole(4))
	out, err := d.ConsoleOutput(ctx, s.ID, 0)
	if err != nil || !strings.Contains(string(out), "guest is up") {
		t.Errorf("got %q, %v", out, err)
	}
	if info, err := os.Stat(g.path(consoleFile)); err != nil || info.Size() != 0 {
		t.Errorf("size %d, %v", info.Size(), err)
	}
	ok(t, d.Reboot(ctx, s.ID, driver.RebootHard, 0))
	upTimes(ctx, t, d, s.ID, 2)
}

func TestLastLines(t *testing.T) {
	for _, tt := range []struct {
		in   string
		n    int
		want string
	}{
		{"", 3, ""}, {"a\nb\nc\n", 2, "b\nc\n"}, {"a\nb\nc", 2, "b\nc"}, {"a\nb", 5, "a\nb"}, {"a\nb\n", 0, "a\nb\n"}, {"\n\n", 1, "\n"},
	} {
		if got := string(lastLines([]byte(tt.in), tt.n)); got != tt.want {
			t.Errorf("lastLines(%q, %d) = %q, want %q", tt.in, tt.n, got, tt.want)
		}
	}
}

// The consoles listen, however deep the state directory lies.
func TestDeepState(t *testing.T) {
	state := filepath.Join(t.TempDir(), strings.Repeat("deep/", 30))
	d := open(t, state, nil)
	defer d.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := newSpec(t)
	ok(t, d.Spawn(ctx, s))
	defer func() { ok(t, d.Destroy(ctx, s.ID, false)) }()
	c, err := d.Console(ctx, s.ID)
	ok(t, err)
	vnc, err := driver.DialUnix(ctx, c.VNC)
	ok(t, err)
	defer vnc.Close()
	hello := make([]byte, 12)
	if _, err := vnc.Read(hello); err != nil || !strings.HasPrefix(string(hello), "RFB 003.") {
		t.Errorf("got %q, %v", hello, err)
	}
	serial, err := driver.DialUnix(ctx, c.Serial)
	ok(t, err)
	ok(t, serial.Close())
}

// TestMain also plays the agent that is killed.
func TestMain(m *testing.M) {
	if state := os.Getenv(agentEnv); state != "" {
		os.Exit(agent(state, os.Getenv(agentEnv+"_ID"), os.Getenv(agentEnv+"_IMAGE")))
	}
	os.Exit(m.Run())
}

// agentEnv makes the test's program an agent that starts a guest and waits.
const agentEnv = "QEMU_TEST_AGENT"

func agent(state, id, image string) int {
	d, err := New(context.Background(), Config{State: state, Accelerator: "tcg"})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	err = d.Spawn(context.Background(), driver.Spec{
		ID: id, Flavor: driver.Flavor{VCPUs: 1, MemoryMiB: 64}, Image: driver.Image{ID: id, Path: image, Format: "raw"},
	})
	fmt.Println("spawned:", err)
	select {}
}

// Guests outlive an agent that is killed, and the next one finds them.
func TestAgentKilled(t *testing.T) {
	needPrograms(t)
	state, s := t.TempDir(), newSpec(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), agentEnv+"="+state, agentEnv+"_ID="+s.ID, agentEnv+"_IMAGE="+s.Image.Path)
	out, err := cmd.StdoutPipe()
	ok(t, err)
	ok(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "spawned: <nil>\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	ok(t, cmd.Process.Kill())
	if err := cmd.Wait(); err == nil {
		t.Error("not killed")
	}
	d := open(t, state, nil)
	defer d.Close()
	info, err := d.Info(ctx, s.ID)
	if err != nil || info.State != driver.StateRunning {
		t.Fatalf("state %s, %v", info.State, err)
	}
	upTimes(ctx, t, d, s.ID, 1)
	ok(t, d.PowerOff(ctx, s.ID, time.Hour))
	waitFor(ctx, t, d, driver.EventStopped)
	ok(t, d.Destroy(ctx, s.ID, false))
	checkLeaks(t, state, nil, s.ID)
}

// Resize makes a swap disk anew and keeps the ephemeral disk.
func TestResizeDisks(t *testing.T) {
	d, ctx := openOne(t)
	s := newSpec(t)
	s.Flavor = driver.Flavor{VCPUs: 1, MemoryMiB: 64, EphemeralGiB: 1, SwapMiB: 16}
	ok(t, d.Spawn(ctx, s))
	upTimes(ctx, t, d, s.ID, 1)
	ok(t, d.PowerOff(ctx, s.ID, 0))
	ok(t, d.Resize(ctx, s.ID, driver.Flavor{VCPUs: 1, MemoryMiB: 64, EphemeralGiB: 4, SwapMiB: 32}))
	for name, want := range map[string]int64{swapFile: 32 * mib, ephemeralFile: 1 * gib} {
		if info, err := os.Stat(d.guest(s.ID).path(name)); err != nil || info.Size() != want {
			t.Errorf("%s: %d bytes, %v", name, info.Size(), err)
		}
	}
	ok(t, d.PowerOn(ctx, s.ID))
	upTimes(ctx, t, d, s.ID, 2)
}

// The probe's guest runs under emulation; an accelerator that does not exist is
// an error, not a guess.
func TestProbe(t *testing.T) {
	needPrograms(t)
	_, err := New(t.Context(), Config{State: t.TempDir(), Accelerator: "abacus"})
	if err == nil {
		t.Fatal("a machine without accelerator")
	}
	// Left to itself it comes to a decision, whatever this host has.
	free, err := New(t.Context(), Config{State: t.TempDir()})
	ok(t, err)
	defer free.Close()
	if a := free.machine.accelerator; a != "kvm" && a != "tcg" {
		t.Errorf("accelerator %q", a)
	}
	d, _ := openOne(t)
	if !d.machine.sandbox || d.machine.accelerator != "tcg" || d.machine.version < 4000000 {
		t.Errorf("got %+v", d.machine)
	}
	_, err = New(t.Context(), Config{State: t.TempDir(), Binary: "no-such-qemu"})
	if !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}
