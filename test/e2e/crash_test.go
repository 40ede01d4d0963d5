package e2e

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// sagaSteps asks the running cloud for "service: saga/step" of every saga.
func (c *cloud) sagaSteps() []string {
	c.t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", filepath.Join(c.dir, "run", "admin.sock"))
	}}}
	res, err := client.Get("http://tropo/sagas")
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var steps []string
	if err := json.NewDecoder(res.Body).Decode(&steps); err != nil {
		c.t.Fatal(err)
	}
	return steps
}

// TestKillAtEveryStep ends the process by SIGKILL before and after every step
// of the boot and delete sagas, starts it again, and expects the work to be
// finished and nothing to be left.
func TestKillAtEveryStep(t *testing.T) {
	c := newCloud(t)
	c.up()
	image, flavor, network := c.guestImage(), c.flavor(128), c.tenantNetwork("n", "10.20.0.0/24")
	steps := c.sagaSteps()
	var create, remove []string
	for _, s := range steps {
		switch {
		case strings.HasPrefix(s, "server-build/"):
			create = append(create, s)
		case strings.HasPrefix(s, "server-delete/"):
			remove = append(remove, s)
		}
	}
	if len(create) < 3 || len(remove) < 2 {
		t.Fatalf("the sagas are not as expected: %q", steps)
	}
	c.stop()
	for _, s := range append(slices.Clone(create), remove...) {
		for _, when := range []string{"before", "after"} {
			at := s + "/" + when
			t.Run(strings.ReplaceAll(at, "/", "_"), func(t *testing.T) {
				c.t = t
				c.killAt(at, slices.Contains(create, s), image, flavor, network)
			})
			if t.Failed() {
				c.t = t
				return
			}
		}
	}
	c.t = t
}

// killAt lets one server live through a crash at the given place.
func (c *cloud) killAt(at string, creating bool, image, flavor, network string) {
	c.t.Helper()
	c.up("TROPO_CRASH_AT=" + at)
	// The saga begins when its row is committed, so the process may be dead
	// before it has answered.
	var made struct{ Server struct{ ID string } }
	_, err := c.try(c.compute, "POST", "servers", m{"server": m{"name": "s", "imageRef": image, "flavorRef": flavor, "networks": []m{{"uuid": network}}}}, &made)
	if err != nil && !creating {
		c.t.Fatal(err)
	}
	id := made.Server.ID
	if !creating {
		c.active(id)
		if _, err := c.try(c.compute, "DELETE", "servers/"+id, nil, nil); err != nil {
			c.t.Logf("the answer to DELETE is lost: %v", err)
		}
	}
	select {
	case <-c.exited:
		c.exited = nil
	case <-time.After(90 * time.Second):
		c.t.Fatalf("the process did not reach %s", at)
	}
	c.up()
	if id == "" {
		id = c.serverNamed("s")
	}
	if creating {
		c.active(id)
		if n := len(c.processes("qemu-system")); n != 1 {
			c.t.Errorf("%d guests run, want 1", n)
		}
		c.call(c.compute, "DELETE", "servers/"+id, nil, nil)
	}
	c.gone(id)
	c.until("nothing is left: "+strings.Join(c.leaks(), "; "), 20*time.Second, func() bool { return len(c.leaks()) == 0 })
	c.stop()
}

// serverNamed finds the one server of a name.
func (c *cloud) serverNamed(name string) string {
	c.t.Helper()
	var list struct{ Servers []struct{ ID, Name string } }
	c.call(c.compute, "GET", "servers", nil, &list)
	for _, s := range list.Servers {
		if s.Name == name {
			return s.ID
		}
	}
	c.t.Fatalf("there is no server %s: its request was lost though its saga had begun", name)
	return ""
}

func (c *cloud) active(id string) {
	c.t.Helper()
	last := ""
	defer func() {
		if c.t.Failed() {
			c.t.Logf("server %s is %s", id, last)
		}
	}()
	c.until("server is ACTIVE", 90*time.Second, func() bool {
		var s struct {
			Server struct {
				Status string
				Fault  m
			}
		}
		c.call(c.compute, "GET", "servers/"+id, nil, &s)
		last = s.Server.Status
		if s.Server.Status == "ERROR" {
			c.t.Fatalf("server is in ERROR: %v", s.Server.Fault)
		}
		return s.Server.Status == "ACTIVE"
	})
}

func (c *cloud) gone(id string) {
	c.t.Helper()
	c.until("server is deleted", 90*time.Second, func() bool {
		return c.call(c.compute, "GET", "servers/"+id, nil, nil, 200, 404) == 404
	})
}

// TestKilledProcessFindsItsGuests: guests and the network outlive kill -9 and
// are found again, under the same process.
func TestKilledProcessFindsItsGuests(t *testing.T) {
	c := newCloud(t)
	c.up()
	image, flavor, network := c.guestImage(), c.flavor(128), c.tenantNetwork("n", "10.20.0.0/24")
	var made struct{ Server struct{ ID string } }
	c.call(c.compute, "POST", "servers", m{"server": m{"name": "s", "imageRef": image, "flavorRef": flavor, "networks": []m{{"uuid": network}}}}, &made)
	c.active(made.Server.ID)
	pid := func() string {
		b, err := os.ReadFile(filepath.Join(c.dir, "compute", "instances", made.Server.ID, "qemu.pid"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	before := pid()
	c.kill()
	c.up()
	c.active(made.Server.ID)
	if after := pid(); after != before {
		t.Errorf("the guest was started anew: %q, then %q", before, after)
	}
	c.call(c.compute, "DELETE", "servers/"+made.Server.ID, nil, nil)
	c.gone(made.Server.ID)
	c.until("nothing is left", 20*time.Second, func() bool { return len(c.leaks()) == 0 })
}
