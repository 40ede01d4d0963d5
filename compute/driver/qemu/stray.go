package qemu

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/fault"
)

var _ driver.Strays = (*QEMU)(nil)

// Strays implements driver.Strays: processes of this driver's folder whose
// guest's folder is gone, and interfaces that the switch holds for a server
// whose definition does not name them.
func (d *QEMU) Strays(ctx context.Context) ([]driver.Stray, error) {
	out, err := d.strayProcesses()
	if err != nil || !d.switched() {
		return out, err
	}
	taps, err := d.plugger.All(ctx)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "The plugged interfaces could not be listed.")
	}
	for _, t := range taps {
		if !d.plugs(t.ServerID, t.Device) {
			out = append(out, driver.Stray{Kind: "tap", Name: t.Device, ServerID: t.ServerID})
		}
	}
	return out, nil
}

// plugs reports whether the definition of a guest here names the device.
func (d *QEMU) plugs(id, device string) bool {
	if !driver.ValidID(id) {
		return false
	}
	def, err := d.guest(id).load()
	if fault.Is(err, fault.NotFound) {
		return false
	}
	// One that cannot be read may name it.
	return err != nil || slices.ContainsFunc(def.Spec.VIFs, func(v driver.VIF) bool { return v.Device() == device })
}

// strayProcesses are those whose working directory was a guest's folder that
// is gone: the kernel marks it as deleted.
func (d *QEMU) strayProcesses() ([]driver.Stray, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, internal(err, "The processes of the host could not be listed.")
	}
	var out []driver.Stray
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if id := d.strayOf(pid); id != "" {
			out = append(out, driver.Stray{Kind: "process", Name: e.Name(), ServerID: id})
		}
	}
	return out, nil
}

// strayOf is the server whose QEMU the process is, if its folder is gone.
func (d *QEMU) strayOf(pid int) string {
	cwd, err := os.Readlink(procPath(pid, "cwd"))
	if err != nil {
		return ""
	}
	dir, gone := strings.CutSuffix(cwd, " (deleted)")
	id := filepath.Base(dir)
	if !gone || filepath.Dir(dir) != d.instances() || !driver.ValidID(id) {
		return ""
	}
	line, err := os.ReadFile(procPath(pid, "cmdline"))
	if err != nil || !strings.Contains(string(line), "\x00-uuid\x00"+id+"\x00") {
		return ""
	}
	return id
}

// RemoveStray implements driver.Strays.
func (d *QEMU) RemoveStray(ctx context.Context, s driver.Stray) error {
	switch s.Kind {
	case "process":
		pid, err := strconv.Atoi(s.Name)
		if err != nil {
			return fault.Invalidf("%q is no process.", s.Name)
		}
		p, err := openProcess(pid)
		if err != nil {
			return nil //nolint:nilerr // it has ended
		}
		defer p.release()
		if d.strayOf(pid) != s.ServerID || s.ServerID == "" || !p.alive() {
			return nil
		}
		return p.signal(unix.SIGKILL)
	case "tap":
		if !d.switched() {
			return nil
		}
		taps, err := d.plugger.All(ctx)
		if err != nil {
			return fault.Wrap(fault.Internal, err, "The plugged interfaces could not be listed.")
		}
		for _, t := range taps {
			if t.Device == s.Name && t.ServerID == s.ServerID && !d.plugs(t.ServerID, t.Device) {
				return d.plugger.Remove(ctx, t.Device)
			}
		}
		return nil
	}
	return fault.Invalidf("%q is no kind of stray.", s.Kind)
}
