package chaos

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// openstack runs the unmodified command line on the workstation, with what the
// first node wrote for it.
func (c *cloud) openstack(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	env := []string{"OS_CLIENT_CONFIG_FILE=" + filepath.Join(c.nodes[0].state(), "clouds.yaml"), "OS_CLOUD=tropo"}
	out, err := c.outside.run(ctx, env, "/usr/bin/openstack", args...)
	return strings.TrimSpace(out), err
}

// TestTwoNodes: a guest boots on the second node by the unmodified command
// line, reaches a guest on the first through the tunnel, and keeps its floating
// IP while the process of the control node is down.
func TestTwoNodes(t *testing.T) {
	ctx := t.Context()
	s := newSite(t, "TROPO_E2E")
	c := newCloud(ctx, s, spec{nodes: []nodeSpec{
		{"n1", 11, []string{"control", "compute", "network", "storage"}}, {"n2", 12, []string{"compute"}},
	}})
	tn, err := newTenant(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	first, err := tn.witness(ctx, "first", "n1")
	if err != nil {
		t.Fatal(err)
	}
	id, err := c.openstack(ctx, "--os-compute-api-version", "2.74", "server", "create", "second", "--host", "n2", "--image", "guest",
		"--flavor", "small", "--network", "private", "--security-group", "reachable", "--key-name", "k", "-f", "value", "-c", "id")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.active(ctx, id); err != nil {
		t.Fatal(err)
	}
	second, err := tn.watch(ctx, &witness{name: "second", id: id, host: "n2"})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := c.server(ctx, id); err != nil || v.Host != "n2" {
		t.Fatalf("the second server is on %q (%v)", v.Host, err)
	}
	if err := tn.remember(ctx, second); err != nil {
		t.Fatal(err)
	}
	if err := tn.reach(ctx, second, first); err != nil {
		t.Fatal(err)
	}

	down := time.Now()
	c.nodes[0].proc.kill()
	if err := tn.recall(ctx, second); err != nil {
		t.Errorf("while the control node's process is down: %v", err)
	}
	if err := tn.reach(ctx, second, first); err != nil {
		t.Errorf("while the control node's process is down: %v", err)
	}
	if err := c.nodes[0].restart(ctx); err != nil {
		t.Fatal(err)
	}
	for _, w := range tn.witnesses {
		if o := w.outage(down, time.Now()); o > outageMargin {
			t.Errorf("%s did not answer for %s", w.name, o)
		}
	}
	if _, err := tn.recover(ctx, time.Now(), nil); err != nil {
		t.Error(err)
	}
	if f := tn.settle(ctx, settleLimit); !f.none() {
		t.Error(f)
	}
	if err := c.diagnose(ctx, c.nodes[0]); err != nil {
		t.Error(err)
	}
}
