// Package viftest gives tests an Open vSwitch of their own, in a network
// namespace of its own.
package viftest

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/compute/driver/vif"
	"github.com/tropocloud/tropo/host"
)

// Bridge is the integration bridge of the switch, with a userspace datapath,
// which works without a kernel module.
const Bridge = "br-int"

// schema is where Debian keeps the switch's database schema.
const schema = "/usr/share/openvswitch/vswitch.ovsschema"

// Switch starts a switch for the test and returns how to plug into it. The test
// is skipped where it cannot run.
func Switch(t *testing.T) *vif.Plugger {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	for _, program := range []string{"ovsdb-server", "ovsdb-tool", "ovs-vswitchd", "ovs-vsctl", "ovs-appctl", "ip"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s", program)
		}
	}
	// Not t.TempDir: its path may be too long for a socket.
	dir, err := os.MkdirTemp("", "ovs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &vif.Plugger{OVSDB: filepath.Join(dir, "db.sock"), Netns: "t" + token(t)}
	run := func(netns, path string, args ...string) {
		t.Helper()
		_, err := host.Run(t.Context(), host.Command{
			Path: path, Args: args, Netns: netns, Timeout: time.Minute,
			Env: append(os.Environ(), "OVS_RUNDIR="+dir, "OVS_LOGDIR="+dir, "OVS_DBDIR="+dir),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	quit := func(ctl string) {
		cmd := exec.Command("ovs-appctl", "-T", "20", "-t", filepath.Join(dir, ctl), "exit")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", ctl, err, out)
		}
	}
	run("", "ip", "netns", "add", p.Netns)
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "delete", p.Netns).CombinedOutput(); err != nil {
			t.Errorf("netns: %v: %s", err, out)
		}
	})
	run(p.Netns, "ip", "link", "set", "dev", "lo", "up")
	db := filepath.Join(dir, "conf.db")
	run("", "ovsdb-tool", "create", db, schema)
	run(p.Netns, "ovsdb-server", db, "--remote=punix:"+p.OVSDB, "--unixctl="+filepath.Join(dir, "db.ctl"),
		"--pidfile="+filepath.Join(dir, "db.pid"), "--log-file="+filepath.Join(dir, "db.log"), "--detach", "--no-chdir")
	t.Cleanup(func() { quit("db.ctl") })
	run("", "ovs-vsctl", "--db=unix:"+p.OVSDB, "--no-wait", "init")
	run(p.Netns, "ovs-vswitchd", "unix:"+p.OVSDB, "--unixctl="+filepath.Join(dir, "vs.ctl"),
		"--pidfile="+filepath.Join(dir, "vs.pid"), "--log-file="+filepath.Join(dir, "vs.log"), "--detach", "--no-chdir")
	t.Cleanup(func() { quit("vs.ctl") })
	run(p.Netns, "ovs-vsctl", "--db=unix:"+p.OVSDB, "--timeout=30", "add-br", Bridge,
		"--", "set", "bridge", Bridge, "datapath_type=netdev", "fail-mode=secure")
	return p
}

// VIF makes an interface of a new port on the switch's bridge.
func VIF(t *testing.T) driver.VIF {
	t.Helper()
	tail := token(t)
	return driver.VIF{
		PortID: uuid.NewString(), MAC: "fa:16:3e:" + tail[0:2] + ":" + tail[2:4] + ":" + tail[4:6],
		Type: driver.VIFTypeOVS, Bridge: Bridge, Datapath: "netdev", MTU: 1442,
	}
}

func token(t *testing.T) string {
	t.Helper()
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b[:])
}
