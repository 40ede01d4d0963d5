package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tropocloud/tropo/doctor"
)

// doctor runs tropo doctor and returns its report and exit code.
func (c *cloud) doctor(args ...string) (*doctor.Report, int) {
	c.t.Helper()
	out, err := exec.Command(os.Getenv("TROPO_BIN"), append([]string{"doctor", "--json", "--state", c.dir}, args...)...).Output()
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	r := &doctor.Report{}
	if err := json.Unmarshal(out, r); err != nil {
		c.t.Fatalf("tropo doctor: exit code %d, %v\n%s", code, err, out)
	}
	return r, code
}

func checksOf(list []doctor.Finding) []string {
	var out []string
	for _, f := range list {
		out = append(out, f.Check)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// TestDoctor breaks a cloud with other tools' means, has the doctor find it,
// heal what he may, and leave the rest.
func TestDoctor(t *testing.T) {
	c := newCloud(t)
	// Nothing that looks now and then must see the wounds before he does.
	c.flags = []string{
		"--set", "compute.sync_power_state_interval=3600", "--set", "compute.heal_instance_info_cache_interval=3600", "--set", "network.sync_interval=3600",
	}
	c.up()
	image, flavor, network := c.guestImage(), c.flavor(128), c.tenantNetwork("n", "10.20.0.0/24")
	var ids []string
	for _, name := range []string{"one", "two"} {
		var made struct{ Server struct{ ID string } }
		c.call(c.compute, "POST", "servers", m{"server": m{"name": name, "imageRef": image, "flavorRef": flavor, "networks": []m{{"uuid": network}}}}, &made)
		c.active(made.Server.ID)
		ids = append(ids, made.Server.ID)
	}
	time.Sleep(2500 * time.Millisecond) // what was just made counts as work under way
	if r, code := c.doctor(); code != 0 || r.Checks < 20 {
		t.Fatalf("before: code %d %+v", code, r)
	}

	// What a person with the wrong commands does.
	c.call(c.placement, "DELETE", "allocations/"+ids[0], nil, nil)
	var rp struct {
		Providers []struct{ UUID string } `json:"resource_providers"`
	}
	c.call(c.placement, "GET", "resource_providers", nil, &rp)
	c.call(c.placement, "PUT", "allocations/11111111-2222-4333-8444-555555555555", m{
		"allocations": m{rp.Providers[0].UUID: m{"resources": m{"VCPU": 1}}}, "project_id": "p", "user_id": "u", "consumer_generation": nil, "consumer_type": "INSTANCE",
	}, nil)
	var ports struct{ Ports []struct{ ID string } }
	c.call(c.network, "GET", "ports?device_id="+ids[0], nil, &ports)
	c.run("ovn-nbctl", "--db=unix:"+filepath.Join(c.dir, "ovn", "run", "nb.sock"), "lsp-del", ports.Ports[0].ID)
	c.call(c.network, "POST", "ports", m{"port": m{"network_id": network, "device_id": "99999999-2222-4333-8444-555555555555", "device_owner": "compute:nova"}}, nil)
	ns := c.netns()
	c.run("ip", "-n", ns, "tuntap", "add", "tapdeadbeef-00", "mode", "tap")
	c.run("ip", "netns", "exec", ns, "ovs-vsctl", "--db=unix:"+filepath.Join(c.dir, "ovn", "run", "db.sock"), "add-port", "br-int", "tapdeadbeef-00",
		"--", "set", "interface", "tapdeadbeef-00", "external_ids:vm-uuid=88888888-2222-4333-8444-555555555555")
	if err := os.WriteFile(filepath.Join(c.dir, "images", "deadbeef-0000-4000-8000-000000000000"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The second server's folder: its process runs on, with the only copy of
	// its disk.
	if err := os.RemoveAll(filepath.Join(c.dir, "compute", "instances", ids[1])); err != nil {
		t.Fatal(err)
	}

	want := []string{"allocation-orphan", "allocation-wrong", "dataplane-drift", "guest-missing", "host-stray", "image-data-orphan", "port-orphan"}
	r, code := c.doctor()
	if got := checksOf(r.Findings); code != 1 || !slices.Equal(got, want) {
		t.Fatalf("code %d, found %q, want %q", code, got, want)
	}
	text, err := exec.Command(os.Getenv("TROPO_BIN"), "doctor", "--state", c.dir).CombinedOutput()
	if err == nil || !strings.Contains(string(text), "--fix would heal allocation 11111111") {
		t.Errorf("%v\n%s", err, text)
	}
	t.Logf("tropo doctor\n%s", text)
	r, code = c.doctor("--fix")
	left := checksOf(r.Findings)
	if code != 1 || !slices.Equal(left, []string{"guest-missing", "host-stray"}) || len(r.Healed) < 6 {
		t.Errorf("code %d, left %q, healed %q", code, left, checksOf(r.Healed))
	}
	if p := c.processes("qemu-system"); len(p) != 2 {
		t.Errorf("%d guests run; the doctor must not end the one that holds the only copy of its disk", len(p))
	}

	// The owner decides; then nothing is left.
	for _, id := range ids {
		c.call(c.compute, "DELETE", "servers/"+id, nil, nil)
		c.gone(id)
	}
	time.Sleep(2500 * time.Millisecond)
	if r, code = c.doctor("--fix"); code != 0 {
		t.Errorf("at the end: code %d %+v", code, r)
	}
	if p := c.processes("qemu-system"); len(p) != 0 {
		t.Errorf("guests left: %q", p)
	}

	// A process that does not run cannot be asked.
	c.stop()
	out, err := exec.Command(os.Getenv("TROPO_BIN"), "doctor", "--state", c.dir).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Errorf("without a process: %v\n%s", err, out)
	}
}

// run runs a program that must succeed.
func (c *cloud) run(name string, args ...string) {
	c.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		c.t.Fatal(fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out))
	}
}
