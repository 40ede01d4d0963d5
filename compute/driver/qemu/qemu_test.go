package qemu

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/compute/driver/drivertest"
	"github.com/tropocloud/tropo/compute/driver/vif"
	"github.com/tropocloud/tropo/compute/driver/vif/viftest"
	"github.com/tropocloud/tropo/host"
)

// open opens a driver for a test. Emulation is forced: the tests shall mean the
// same on every machine.
func open(t *testing.T, state string, p *vif.Plugger) *QEMU {
	t.Helper()
	needPrograms(t)
	conf := Config{State: state, Accelerator: "tcg", Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	if p != nil {
		conf.Netns, conf.OVSDB = p.Netns, p.OVSDB
	}
	d, err := New(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func needPrograms(t *testing.T) {
	t.Helper()
	for _, program := range []string{"qemu-system-x86_64", "qemu-img", "prlimit"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s", program)
		}
	}
}

func TestConformance(t *testing.T) {
	needPrograms(t)
	p := viftest.Switch(t)
	state := t.TempDir()
	var current *QEMU
	drivertest.Run(t, drivertest.Harness{
		Open: func(t *testing.T) driver.Driver {
			current = open(t, state, p)
			return current
		},
		Image:     guestImage(t),
		VIF:       viftest.VIF,
		HotUnplug: true,
		Kill: func(t *testing.T, id string) {
			if err := current.process(current.guest(id)).signal(unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
		},
		Leaks: func(t *testing.T, id string) { checkLeaks(t, state, p, id) },
	})
	checkTaps(t, p)
	left, err := os.ReadDir(filepath.Join(state, "instances"))
	if err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// checkLeaks looks for processes, taps and files of the guest (threat 19:
// CVE-2015-3241, CVE-2015-3280, CVE-2016-7498).
func checkLeaks(t *testing.T, state string, p *vif.Plugger, id string) {
	t.Helper()
	if _, err := os.Lstat(filepath.Join(state, "instances", id)); !os.IsNotExist(err) {
		t.Errorf("the directory is left: %v", err)
	}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range lines {
		if text, err := os.ReadFile(name); err == nil && strings.Contains(string(text), id) {
			t.Errorf("%s: %q is left", name, text)
		}
	}
	if p == nil {
		return
	}
	if taps, err := p.Plugged(context.WithoutCancel(t.Context()), id); err != nil || len(taps) > 0 {
		t.Errorf("taps %v, %v", taps, err)
	}
}

// checkTaps looks for taps that nobody plugged any more.
func checkTaps(t *testing.T, p *vif.Plugger) {
	t.Helper()
	out, err := host.Run(t.Context(), host.Command{Path: "ip", Args: []string{"-o", "link"}, Netns: p.Netns})
	if err != nil || strings.Contains(string(out), ": tap") {
		t.Errorf("links: %s, %v", out, err)
	}
}
