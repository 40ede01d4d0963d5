package e2e

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
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

func (c *cloud) active(id string) {
	c.t.Helper()
	last := ""
	defer func() {
		if c.t.Failed() {
			c.t.Logf("server %s is %s", id, last)
		}
	}()
	c.until("server is ACTIVE", 5*time.Minute, func() bool {
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
	c.until("server is deleted", 5*time.Minute, func() bool {
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
	c.until("nothing is left", time.Minute, func() bool { return len(c.leaks()) == 0 })
}
