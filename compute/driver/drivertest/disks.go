package drivertest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/fault"
)

func testKeepDisks(t *testing.T, s *suite) {
	ctx := t.Context()
	spec := s.spawn()
	for range 2 {
		s.check(s.d.Destroy(ctx, spec.ID, true), "destroy")
		s.state(spec.ID, driver.StateShutdown)
	}
	s.check(s.d.PowerOn(ctx, spec.ID), "power on")
	s.state(spec.ID, driver.StateRunning)
}

func testResize(t *testing.T, s *suite) {
	ctx := t.Context()
	spec := s.spawn()
	larger := driver.Flavor{VCPUs: 2, MemoryMiB: 96, RootGiB: 2}
	s.refused(s.d.Resize(ctx, spec.ID, larger), fault.Conflict, "resize a running guest")
	s.check(s.d.PowerOff(ctx, spec.ID, 0), "power off")
	for range 2 {
		s.check(s.d.Resize(ctx, spec.ID, larger), "resize")
	}
	smaller := larger
	smaller.RootGiB = 1
	s.refused(s.d.Resize(ctx, spec.ID, smaller), fault.Invalid, "shrink")
	s.check(s.d.PowerOn(ctx, spec.ID), "power on")
	info := s.state(spec.ID, driver.StateRunning)
	if info.VCPUs != 2 || info.MemoryMiB != 96 {
		t.Errorf("got %+v", info)
	}
}

func testRescue(t *testing.T, s *suite) {
	ctx := t.Context()
	spec := s.spawn()
	img := s.h.Image
	img.ID = uuid.NewString()
	r := driver.Rescue{Image: img}
	bad := driver.Rescue{Image: img, Ramdisk: "ramdisk"}
	s.refused(s.d.Rescue(ctx, spec.ID, bad), fault.Invalid, "a ramdisk without kernel")
	s.refused(s.d.Rescue(ctx, uuid.NewString(), r), fault.NotFound, "rescue an unknown guest")
	for range 2 {
		s.check(s.d.Rescue(ctx, spec.ID, r), "rescue")
		if info := s.state(spec.ID, driver.StateRunning); info.RescueID != img.ID || info.ImageID != s.h.Image.ID {
			t.Errorf("rescued: %+v", info)
		}
	}
	s.check(s.d.PowerOff(ctx, spec.ID, 0), "power off")
	s.check(s.d.PowerOn(ctx, spec.ID), "power on")
	if info := s.state(spec.ID, driver.StateRunning); info.RescueID != img.ID {
		t.Errorf("after a power cycle: %+v", info)
	}
	for range 2 {
		s.check(s.d.Unrescue(ctx, spec.ID), "unrescue")
		if info := s.state(spec.ID, driver.StateRunning); info.RescueID != "" {
			t.Errorf("unrescued: %+v", info)
		}
	}
	s.check(s.d.PowerOff(ctx, spec.ID, 0), "power off")
	s.check(s.d.Rescue(ctx, spec.ID, r), "rescue a stopped guest")
	s.state(spec.ID, driver.StateRunning)
}

func testSnapshot(t *testing.T, s *suite) {
	ctx := t.Context()
	spec := s.spawn()
	dir := t.TempDir()
	take := func(name string) {
		t.Helper()
		dst := filepath.Join(dir, name)
		format, err := s.d.Snapshot(ctx, spec.ID, dst)
		s.check(err, "snapshot")
		info, err := os.Stat(dst)
		s.check(err, "snapshot")
		if format == "" || info.Size() == 0 {
			t.Errorf("format %q, %d bytes", format, info.Size())
		}
		if _, err := s.d.Snapshot(ctx, spec.ID, dst); err == nil {
			t.Error("overwrote a file")
		}
	}
	take("running")
	s.state(spec.ID, driver.StateRunning)
	take("again")
	s.check(s.d.PowerOff(ctx, spec.ID, 0), "power off")
	take("stopped")
	left, err := os.ReadDir(dir)
	s.check(err, "list")
	if len(left) != 3 {
		t.Errorf("left %v", left)
	}
}
