package qemu

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/compute/driver/vif/viftest"
)

// guestImageEnv names a qcow2 image of a small Linux guest with a console on
// its serial port.
const guestImageEnv = "TROPO_TEST_GUEST_IMAGE"

// A real operating system sees its disks, takes and releases an interface,
// survives suspension and comes up again after a reboot.
func TestLinuxGuest(t *testing.T) {
	path := os.Getenv(guestImageEnv)
	if path == "" {
		t.Skipf("needs the guest image in %s", guestImageEnv)
	}
	p := viftest.Switch(t)
	state := t.TempDir()
	d := open(t, state, p)
	defer d.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	s := driver.Spec{
		ID: uuid.NewString(), Name: "linux", Hostname: "linux",
		Flavor:      driver.Flavor{VCPUs: 1, MemoryMiB: 256, RootGiB: 1, EphemeralGiB: 1},
		Image:       driver.Image{ID: uuid.NewString(), Path: path, Format: "qcow2"},
		VIFs:        []driver.VIF{viftest.VIF(t)},
		ConfigDrive: map[string][]byte{"openstack/latest/meta_data.json": []byte(`{"uuid":"` + uuid.NewString() + `","hostname":"from-the-drive","name":"linux"}`)},
	}
	ok(t, d.Spawn(ctx, s))
	defer func() { ok(t, d.Destroy(context.WithoutCancel(ctx), s.ID, false)) }()
	logins := func(n int) {
		t.Helper()
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			out, err := d.ConsoleOutput(ctx, s.ID, 0)
			ok(t, err)
			if bytes.Count(out, []byte("login:")) >= n {
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatalf("no login prompt:\n%s", out)
			}
		}
	}
	logins(1)
	diag, err := d.Diagnostics(ctx, s.ID)
	ok(t, err)
	if len(diag.NICs) != 1 || diag.NICs[0].TxPackets == 0 || diag.Disks[0].ReadBytes == 0 {
		t.Errorf("got %+v", diag)
	}
	v := viftest.VIF(t)
	ok(t, d.AttachInterface(ctx, s.ID, v))
	ok(t, d.Suspend(ctx, s.ID))
	ok(t, d.Resume(ctx, s.ID))
	ok(t, d.DetachInterface(ctx, s.ID, v.PortID))
	ok(t, d.DetachInterface(ctx, s.ID, s.VIFs[0].PortID))
	dst := filepath.Join(t.TempDir(), "snapshot")
	if _, err := d.Snapshot(ctx, s.ID, dst); err != nil {
		t.Fatal(err)
	}
	ok(t, d.Reboot(ctx, s.ID, driver.RebootSoft, time.Minute))
	logins(2)
	out, err := d.ConsoleOutput(ctx, s.ID, 0)
	ok(t, err)
	t.Logf("console:\n%s", out)
}
