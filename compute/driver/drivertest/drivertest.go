// Package drivertest is the conformance suite of hypervisor drivers: what the
// compute agent relies on, told as small stories. Every driver passes it, the
// fake included, so that the fake may stand in for the others.
package drivertest

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/fault"
)

// Harness is how the suite gets at a driver.
type Harness struct {
	// Open opens a driver over the same state each time, as an agent does
	// after a restart. The suite closes it.
	Open func(t *testing.T) driver.Driver
	// Image is the image of the guests; the zero value: a blank disk.
	Image driver.Image
	// VIF makes an interface that can be plugged here; nil: the driver is
	// tested without interfaces.
	VIF func(t *testing.T) driver.VIF
	// HotUnplug tells that the guests of the suite release a device.
	HotUnplug bool
	// Kill ends the guest behind the driver's back, as the kernel would when
	// memory runs out.
	Kill func(t *testing.T, id string)
	// Leaks fails the test when something of the guest is left on the host.
	Leaks func(t *testing.T, id string)
}

// deadline bounds every wait. It is long, as it only matters for failures.
const deadline = 90 * time.Second

// Run runs the suite. The tests share the harness's state, one after the other.
func Run(t *testing.T, h Harness) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *suite)
	}{
		{"Host", testHost},
		{"Unknown", testUnknown},
		{"Refuses", testRefuses},
		{"Life", testLife},
		{"Power", testPower},
		{"Pause", testPause},
		{"Suspend", testSuspend},
		{"Reopen", testReopen},
		{"Killed", testKilled},
		{"KeepDisks", testKeepDisks},
		{"Resize", testResize},
		{"Snapshot", testSnapshot},
		{"Rescue", testRescue},
		{"Consoles", testConsoles},
		{"Diagnostics", testDiagnostics},
		{"Interfaces", testInterfaces},
		{"Parallel", testParallel},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &suite{T: t, h: h}
			s.open()
			t.Cleanup(func() { s.d.Close() })
			test.run(t, s)
		})
	}
}

type suite struct {
	*testing.T
	h Harness
	d driver.Driver
}

func (s *suite) open() {
	s.Helper()
	s.d = s.h.Open(s.T)
}

// spec makes the definition of a small guest that is destroyed with the test.
func (s *suite) spec() driver.Spec {
	s.Helper()
	spec := driver.Spec{
		ID: uuid.NewString(), Name: "guest, with \"odd\" name", Hostname: "guest",
		Flavor:      driver.Flavor{VCPUs: 1, MemoryMiB: 64, RootGiB: 1},
		Image:       s.h.Image,
		ConfigDrive: map[string][]byte{"openstack/latest/meta_data.json": []byte("{}")},
		Metadata:    map[string]string{"k": "v"},
	}
	if s.h.VIF != nil {
		spec.VIFs = []driver.VIF{s.h.VIF(s.T)}
	}
	s.Cleanup(func() {
		d := s.d
		if err := d.Destroy(context.Background(), spec.ID, false); err != nil {
			d = s.h.Open(s.T) // the test closed its driver
			defer d.Close()
			s.check(d.Destroy(context.Background(), spec.ID, false), "clean up")
		}
		if s.h.Leaks != nil {
			s.h.Leaks(s.T, spec.ID)
		}
	})
	return spec
}

func (s *suite) spawn() driver.Spec {
	s.Helper()
	spec := s.spec()
	s.check(s.d.Spawn(s.Context(), spec), "spawn")
	s.state(spec.ID, driver.StateRunning)
	return spec
}

func (s *suite) check(err error, what string) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", what, err)
	}
}

func (s *suite) state(id string, want driver.State) driver.Info {
	s.Helper()
	info, err := s.d.Info(s.Context(), id)
	if err != nil || info.State != want {
		s.Fatalf("state %q, %v; want %q", info.State, err, want)
	}
	return info
}

func (s *suite) refused(err error, want fault.Kind, what string) {
	s.Helper()
	if !fault.Is(err, want) {
		s.Fatalf("%s: got %v, want a fault of kind %s", what, err, want)
	}
}

// event waits for an event of the guest, skipping others.
func (s *suite) event(id string, kind driver.EventKind) {
	s.Helper()
	limit := time.NewTimer(deadline)
	defer limit.Stop()
	for {
		select {
		case e, ok := <-s.d.Events():
			if !ok {
				s.Fatal("the events ended")
			}
			if e.ServerID == id && e.Kind == kind {
				return
			}
		case <-limit.C:
			s.Fatalf("no event %s", kind)
		}
	}
}

func testHost(t *testing.T, s *suite) {
	h, err := s.d.Host(t.Context())
	s.check(err, "host")
	if h.Hostname == "" || h.HypervisorType == "" || h.HypervisorVersion <= 0 {
		t.Errorf("nameless host: %+v", h)
	}
	if h.VCPUs < 1 || h.MemoryMiB < 1 || h.DiskGiB < 1 || h.CPU.Arch == "" || h.CPU.Cores < 1 {
		t.Errorf("empty host: %+v", h)
	}
	if len(h.ImageFormats) == 0 {
		t.Error("the host takes no image")
	}
}

func testUnknown(t *testing.T, s *suite) {
	ctx := t.Context()
	for _, id := range []string{uuid.NewString(), "no-uuid", "../../etc"} {
		s.check(s.d.Destroy(ctx, id, false), "destroy")
		_, err := s.d.Info(ctx, id)
		s.refused(err, fault.NotFound, "info")
		s.refused(s.d.PowerOn(ctx, id), fault.NotFound, "power on")
		s.refused(s.d.PowerOff(ctx, id, 0), fault.NotFound, "power off")
		s.refused(s.d.Reboot(ctx, id, driver.RebootHard, 0), fault.NotFound, "reboot")
		s.refused(s.d.Pause(ctx, id), fault.NotFound, "pause")
		s.refused(s.d.Resume(ctx, id), fault.NotFound, "resume")
		_, err = s.d.ConsoleOutput(ctx, id, 1)
		s.refused(err, fault.NotFound, "console output")
		_, err = s.d.Diagnostics(ctx, id)
		s.refused(err, fault.NotFound, "diagnostics")
		s.refused(s.d.Resize(ctx, id, driver.Flavor{VCPUs: 1, MemoryMiB: 64}), fault.NotFound, "resize")
	}
}

func testRefuses(t *testing.T, s *suite) {
	for name, spoil := range map[string]func(*driver.Spec){
		"id":           func(x *driver.Spec) { x.ID = "../x" },
		"flavor":       func(x *driver.Spec) { x.Flavor.VCPUs = 0 },
		"format":       func(x *driver.Spec) { x.Image = driver.Image{ID: x.ID, Path: "/nowhere", Format: "exe"} },
		"ramdisk":      func(x *driver.Spec) { x.Ramdisk = "/nowhere" },
		"port":         func(x *driver.Spec) { x.VIFs = []driver.VIF{{PortID: "eth0", MAC: "fa:16:3e:00:00:01", Type: "ovs"}} },
		"config drive": func(x *driver.Spec) { x.ConfigDrive = map[string][]byte{"../../x": nil} },
	} {
		spec := s.spec()
		spoil(&spec)
		s.refused(s.d.Spawn(t.Context(), spec), fault.Invalid, name)
		if driver.ValidID(spec.ID) {
			_, err := s.d.Info(t.Context(), spec.ID)
			s.refused(err, fault.NotFound, name)
		}
	}
}

func testLife(t *testing.T, s *suite) {
	ctx := t.Context()
	spec := s.spawn()
	s.event(spec.ID, driver.EventStarted)
	s.check(s.d.Spawn(ctx, spec), "second spawn")
	info := s.state(spec.ID, driver.StateRunning)
	if info.Name != spec.Name || info.VCPUs != 1 || info.MemoryMiB != 64 || info.ImageID != spec.Image.ID {
		t.Errorf("got %+v", info)
	}
	if len(info.VIFs) != len(spec.VIFs) {
		t.Errorf("%d interfaces", len(info.VIFs))
	}
	list, err := s.d.List(ctx)
	s.check(err, "list")
	if !contains(list, spec.ID) {
		t.Error("not listed")
	}
	s.check(s.d.Destroy(ctx, spec.ID, false), "destroy")
	s.event(spec.ID, driver.EventStopped)
	_, err = s.d.Info(ctx, spec.ID)
	s.refused(err, fault.NotFound, "info")
	list, err = s.d.List(ctx)
	s.check(err, "list")
	if contains(list, spec.ID) {
		t.Error("still listed")
	}
	s.check(s.d.Destroy(ctx, spec.ID, false), "second destroy")
}

func contains(list []driver.Info, id string) bool {
	for _, i := range list {
		if i.ID == id {
			return true
		}
	}
	return false
}

func testPower(t *testing.T, s *suite) {
	ctx := t.Context()
	spec := s.spawn()
	s.check(s.d.PowerOn(ctx, spec.ID), "power on while running")
	for range 2 {
		s.check(s.d.PowerOff(ctx, spec.ID, 0), "power off")
		s.state(spec.ID, driver.StateShutdown)
	}
	s.event(spec.ID, driver.EventStopped)
	s.check(s.d.PowerOn(ctx, spec.ID), "power on")
	s.state(spec.ID, driver.StateRunning)
	// The suite's guest has no operating system that reacts, so grace runs out.
	s.check(s.d.PowerOff(ctx, spec.ID, 100*time.Millisecond), "power off with grace")
	s.state(spec.ID, driver.StateShutdown)
	s.check(s.d.Reboot(ctx, spec.ID, driver.RebootHard, 0), "reboot a stopped guest")
	s.state(spec.ID, driver.StateRunning)
	s.check(s.d.Reboot(ctx, spec.ID, driver.RebootSoft, 100*time.Millisecond), "soft reboot")
	s.state(spec.ID, driver.StateRunning)
	s.refused(s.d.Reboot(ctx, spec.ID, "WARM", 0), fault.Invalid, "unknown reboot")
}

func testPause(t *testing.T, s *suite) {
	ctx := t.Context()
	spec := s.spawn()
	for range 2 {
		s.check(s.d.Pause(ctx, spec.ID), "pause")
		s.state(spec.ID, driver.StatePaused)
	}
	s.event(spec.ID, driver.EventPaused)
	for range 2 {
		s.check(s.d.Unpause(ctx, spec.ID), "unpause")
		s.state(spec.ID, driver.StateRunning)
	}
	s.event(spec.ID, driver.EventResumed)
	s.check(s.d.PowerOff(ctx, spec.ID, 0), "power off")
	s.refused(s.d.Pause(ctx, spec.ID), fault.Conflict, "pause a stopped guest")
}

func testSuspend(t *testing.T, s *suite) {
	ctx := t.Context()
	spec := s.spawn()
	for range 2 {
		s.check(s.d.Suspend(ctx, spec.ID), "suspend")
		s.state(spec.ID, driver.StateSuspended)
	}
	s.refused(s.d.Pause(ctx, spec.ID), fault.Conflict, "pause a suspended guest")
	for range 2 {
		s.check(s.d.Resume(ctx, spec.ID), "resume")
		s.state(spec.ID, driver.StateRunning)
	}
	s.check(s.d.Suspend(ctx, spec.ID), "suspend")
	s.check(s.d.PowerOff(ctx, spec.ID, 0), "power off")
	s.state(spec.ID, driver.StateShutdown)
	s.refused(s.d.Resume(ctx, spec.ID), fault.Conflict, "resume a stopped guest")
}

// Guests outlive the agent, and the next one finds them in their states.
func testReopen(t *testing.T, s *suite) {
	ctx := t.Context()
	running, stopped, suspended := s.spawn(), s.spawn(), s.spawn()
	s.check(s.d.PowerOff(ctx, stopped.ID, 0), "power off")
	s.check(s.d.Suspend(ctx, suspended.ID), "suspend")
	s.check(s.d.Close(), "close")
	s.check(s.d.Close(), "second close")
	s.open()
	s.state(running.ID, driver.StateRunning)
	s.state(stopped.ID, driver.StateShutdown)
	s.state(suspended.ID, driver.StateSuspended)
	s.check(s.d.Spawn(ctx, running), "spawn again")
	s.check(s.d.PowerOn(ctx, stopped.ID), "power on")
	s.check(s.d.Resume(ctx, suspended.ID), "resume")
	for _, spec := range []driver.Spec{running, stopped, suspended} {
		s.state(spec.ID, driver.StateRunning)
	}
}

func testKilled(t *testing.T, s *suite) {
	if s.h.Kill == nil {
		t.Skip("the harness cannot kill guests")
	}
	spec := s.spawn()
	s.h.Kill(t, spec.ID)
	s.event(spec.ID, driver.EventCrashed)
	s.state(spec.ID, driver.StateShutdown)
	s.check(s.d.PowerOn(t.Context(), spec.ID), "power on")
	s.state(spec.ID, driver.StateRunning)
}

func testConsoles(t *testing.T, s *suite) {
	ctx := t.Context()
	spec := s.spawn()
	out, err := s.d.ConsoleOutput(ctx, spec.ID, 0)
	s.check(err, "console output")
	if len(out) > driver.MaxConsoleBytes {
		t.Errorf("%d bytes", len(out))
	}
	c, err := s.d.Console(ctx, spec.ID)
	s.check(err, "console")
	if c.VNC == "" {
		t.Error("no address")
	}
	s.check(s.d.PowerOff(ctx, spec.ID, 0), "power off")
	_, err = s.d.Console(ctx, spec.ID)
	s.refused(err, fault.Conflict, "console of a stopped guest")
	_, err = s.d.ConsoleOutput(ctx, spec.ID, 1)
	s.check(err, "console output of a stopped guest")
}

func testDiagnostics(t *testing.T, s *suite) {
	ctx := t.Context()
	spec := s.spawn()
	diag, err := s.d.Diagnostics(ctx, spec.ID)
	s.check(err, "diagnostics")
	if diag.State != driver.StateRunning || len(diag.CPUs) != 1 || len(diag.Disks) == 0 ||
		len(diag.NICs) != len(spec.VIFs) || !diag.ConfigDrive || diag.MemoryMaxMiB != 64 || diag.Uptime < 0 {
		t.Errorf("got %+v", diag)
	}
	s.check(s.d.PowerOff(ctx, spec.ID, 0), "power off")
	_, err = s.d.Diagnostics(ctx, spec.ID)
	s.refused(err, fault.Conflict, "diagnostics of a stopped guest")
}

func testInterfaces(t *testing.T, s *suite) {
	if s.h.VIF == nil {
		t.Skip("the harness has no network")
	}
	ctx := t.Context()
	spec := s.spawn()
	count := func(want int) {
		t.Helper()
		if info := s.state(spec.ID, driver.StateRunning); len(info.VIFs) != want {
			t.Fatalf("%d interfaces, want %d", len(info.VIFs), want)
		}
	}
	v := s.h.VIF(t)
	for range 2 {
		s.check(s.d.AttachInterface(ctx, spec.ID, v), "attach")
		count(2)
	}
	s.refused(s.d.AttachInterface(ctx, spec.ID, driver.VIF{PortID: "x"}), fault.Invalid, "bad interface")
	if !s.h.HotUnplug {
		s.check(s.d.PowerOff(ctx, spec.ID, 0), "power off")
	}
	for range 2 {
		s.check(s.d.DetachInterface(ctx, spec.ID, v.PortID), "detach")
	}
	s.check(s.d.PowerOn(ctx, spec.ID), "power on")
	count(1)
}

// Guests do not wait for each other, and a guest's calls come one by one.
func testParallel(t *testing.T, s *suite) {
	ctx := t.Context()
	a, b := s.spec(), s.spec()
	errs := make(chan error)
	for range 2 {
		for _, spec := range []driver.Spec{a, b} {
			go func() { errs <- s.d.Spawn(ctx, spec) }()
		}
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Errorf("spawn: %v", err)
		}
	}
	for range 2 {
		for _, spec := range []driver.Spec{a, b} {
			go func() { errs <- s.d.Destroy(ctx, spec.ID, false) }()
		}
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Errorf("destroy: %v", err)
		}
	}
}
