package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// openstack runs the unmodified command line with nothing but clouds.yaml.
func (c *cloud) openstack(args ...string) string {
	c.t.Helper()
	out, err := c.openstackTry(args...)
	if err != nil {
		c.t.Fatalf("openstack %s: %v", strings.Join(args, " "), err)
	}
	return out
}

func (c *cloud) openstackTry(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/usr/bin/openstack", args...)
	cmd.Env = []string{
		"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + c.dir, "PYTHONWARNINGS=ignore", "LC_ALL=C.UTF-8",
		"OS_CLIENT_CONFIG_FILE=" + filepath.Join(c.dir, "clouds.yaml"), "OS_CLOUD=tropo",
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("%w: %s", err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// value asks for one column of one thing.
func (c *cloud) value(column string, args ...string) string {
	c.t.Helper()
	return c.openstack(append(args, "-f", "value", "-c", column)...)
}

// ssh runs a command in a guest. To agree on a key is work for one that is
// emulated, and counts as connecting.
func (c *cloud) ssh(ip, command string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ssh", "-i", filepath.Join(c.dir, "key"), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
		"-o", "LogLevel=ERROR", "-o", "ConnectTimeout=30", "-o", "BatchMode=yes", "cirros@"+ip, command).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// TestUnmodifiedCommandLine is the story of a user with Debian's
// python3-openstackclient, from the token to the deleted server.
func TestUnmodifiedCommandLine(t *testing.T) {
	c := newCloud(t)
	c.up()
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(c.dir, "key")).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if err := os.WriteFile(filepath.Join(c.dir, "user-data"), []byte("#!/bin/sh\necho \"user-data on $(hostname)\" > /tmp/ran\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	// identity
	if c.value("id", "token", "issue") == "" {
		t.Error("no token")
	}
	for _, s := range []string{"identity", "image", "placement", "compute", "network"} {
		if !strings.Contains(c.openstack("catalog", "list", "-f", "value", "-c", "Type"), s) {
			t.Errorf("%s is not in the catalog", s)
		}
	}
	c.openstack("project", "create", "p1")
	c.openstack("user", "create", "u1", "--project", "p1", "--password", "secret1")
	c.openstack("role", "create", "r1")
	c.openstack("role", "add", "--project", "p1", "--user", "u1", "r1")
	if out := c.openstack("role", "assignment", "list", "--user", "u1", "--names", "-f", "value"); !strings.Contains(out, "r1 u1@Default") {
		t.Errorf("role assignments: %s", out)
	}

	// what a server needs
	c.openstack("image", "create", "guest", "--disk-format", "qcow2", "--container-format", "bare", "--public", "--file", os.Getenv("TROPO_GUEST"))
	c.openstack("flavor", "create", "tiny", "--ram", "256", "--vcpus", "1", "--disk", "1")
	c.openstack("network", "create", "public", "--external")
	outside := freeSubnet(t)
	c.openstack("subnet", "create", "public", "--network", "public", "--subnet-range", outside+".0/24", "--no-dhcp",
		"--gateway", outside+".1", "--allocation-pool", "start="+outside+".10,end="+outside+".250")
	c.openstack("network", "create", "private")
	c.openstack("subnet", "create", "private", "--network", "private", "--subnet-range", "10.11.12.0/24")
	c.openstack("router", "create", "r")
	c.openstack("router", "set", "r", "--external-gateway", "public")
	c.openstack("router", "add", "subnet", "r", "private")
	c.openstack("security", "group", "create", "login")
	ssh := c.value("id", "security", "group", "rule", "create", "login", "--protocol", "tcp", "--dst-port", "22")
	c.openstack("security", "group", "rule", "create", "login", "--protocol", "icmp")
	c.openstack("keypair", "create", "k", "--public-key", filepath.Join(c.dir, "key.pub"))

	// two servers
	for _, name := range []string{"one", "two"} {
		c.openstack("server", "create", name, "--image", "guest", "--flavor", "tiny", "--network", "private", "--key-name", "k",
			"--security-group", "login", "--user-data", filepath.Join(c.dir, "user-data"), "--wait")
	}
	if out := c.openstack("server", "list", "-f", "value", "-c", "Name", "-c", "Status"); !strings.Contains(out, "one ACTIVE") {
		t.Errorf("server list: %s", out)
	}
	address := func(name string) string {
		out := c.value("addresses", "server", "show", name)
		i := strings.Index(out, "10.11.12.")
		if i < 0 {
			t.Fatalf("addresses of %s: %s", name, out)
		}
		return strings.FieldsFunc(out[i:], func(r rune) bool { return r != '.' && (r < '0' || r > '9') })[0]
	}
	fip := c.value("floating_ip_address", "floating", "ip", "create", "public")
	c.openstack("server", "add", "floating", "ip", "one", fip)
	c.until("ssh to "+fip, 10*time.Minute, func() bool { _, err := c.ssh(fip, "true"); return err == nil })

	// what the guest sees
	for command, want := range map[string]string{
		"hostname":     "one",
		"cat /tmp/ran": "user-data on one",
		"timeout 20 wget -q -O - http://169.254.169.254/openstack/latest/meta_data.json": "\"hostname\"",
		"timeout 20 wget -q -O - http://169.254.169.254/latest/meta-data/local-ipv4":     address("one"),
	} {
		c.until(command+" says "+want, 5*time.Minute, func() bool {
			out, _ := c.ssh(fip, command)
			return strings.Contains(out, want)
		})
	}
	c.until("the second guest answers the first", 5*time.Minute, func() bool {
		_, err := c.ssh(fip, "ping -c 1 -W 2 "+address("two"))
		return err == nil
	})
	c.until("the console shows a login prompt", 2*time.Minute, func() bool {
		return strings.Contains(c.openstack("console", "log", "show", "one"), "login:")
	})

	// the firewall
	c.openstack("security", "group", "rule", "delete", ssh)
	c.until("port 22 is closed", 2*time.Minute, func() bool { _, err := c.ssh(fip, "true"); return err != nil })
	c.openstack("security", "group", "rule", "create", "login", "--protocol", "tcp", "--dst-port", "22")
	c.until("port 22 is open again", 3*time.Minute, func() bool { _, err := c.ssh(fip, "true"); return err == nil })

	// its life
	trace := exec.Command(os.Getenv("TROPO_BIN"), "trace", "--state", c.dir, "one")
	trace.Env = []string{"HOME=" + c.dir} // nothing of another cloud
	out, err := trace.CombinedOutput()
	if err != nil {
		t.Errorf("tropo trace: %v\n%s", err, out)
	}
	for step := 1; step <= 29; step++ {
		if !strings.Contains(string(out), fmt.Sprintf("\n%d ", step)) {
			t.Errorf("tropo trace lacks step %d", step)
		}
	}
	t.Logf("%s", out)
	c.openstack("server", "reboot", "one", "--wait")
	c.until("ssh after the reboot", 10*time.Minute, func() bool { _, err := c.ssh(fip, "true"); return err == nil })
	c.openstack("server", "stop", "one")
	c.until("SHUTOFF", 5*time.Minute, func() bool { return c.value("status", "server", "show", "one") == "SHUTOFF" })
	c.openstack("server", "start", "one")
	c.until("ACTIVE", 5*time.Minute, func() bool { return c.value("status", "server", "show", "one") == "ACTIVE" })
	c.openstack("server", "delete", "one", "two", "--wait")
	c.until("nothing is left", time.Minute, func() bool { return len(c.leaks()) == 0 })
}
