package app

import (
	"context"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/host"
)

// TestDownAfterThePowerWasCut: the machine has started again, so neither the
// switch nor the namespace of its taps is there, but the folder knows of both
// and of guests. A second round has the namespace with a tap, and a switch that
// has ended without taking its socket away.
func TestDownAfterThePowerWasCut(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	for _, program := range []string{"qemu-system-x86_64", "ovs-vsctl", "ip"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s", program)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	// Not t.TempDir: its path may be too long for a socket.
	dir, err := os.MkdirTemp("", "down")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	state, err := OpenState(dir)
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := state.Secrets("")
	if err != nil {
		t.Fatal(err)
	}
	d, err := stoppedDaemons(state, secrets, nil)
	if err != nil {
		t.Fatal(err)
	}
	id, port := uuid.NewString(), uuid.NewString()
	spec := state.Path("compute", "instances", id, "spec.json")
	guest := func() {
		t.Helper()
		if err := os.MkdirAll(state.Path("compute", "instances", id), 0o700); err != nil {
			t.Fatal(err)
		}
		text := `{"Spec": {"ID": "` + id + `", "Name": "g", "VIFs": [{"PortID": "` + port + `", "MAC": "fa:16:3e:00:00:01", "Type": "ovs", "Bridge": "br-int"}]}}`
		if err := os.WriteFile(spec, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(state.Path("ovn", "run"), 0o700); err != nil {
			t.Fatal(err)
		}
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: d.Capabilities().OVSDB, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	down := func() {
		t.Helper()
		var said []string
		if err := Down(ctx, dir, func(s string) { said = append(said, s) }); err != nil {
			t.Errorf("%v, after %q", err, said)
		}
		if text := strings.Join(said, "; "); !strings.Contains(text, "guest "+id+" ends") {
			t.Errorf("said %s", text)
		}
		if _, err := os.Stat(spec); err != nil {
			t.Errorf("the guest's folder is gone: %v", err)
		}
		if host.NetnsExists(d.Netns()) {
			t.Error("the namespace is left")
		}
	}
	guest()
	down()
	guest()
	if err := host.EnsureNetns(d.Netns()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = host.DeleteNetns(d.Netns()) }()
	if _, err := host.Run(ctx, host.Command{Path: "ip", Args: []string{"tuntap", "add", "dev", "tap" + port[:11], "mode", "tap"}, Netns: d.Netns()}); err != nil {
		t.Fatal(err)
	}
	down()
}
