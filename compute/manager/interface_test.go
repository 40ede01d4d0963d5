package manager_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/computetest"
	"github.com/tropocloud/tropo/task"
)

// TestRefusedInterface attaches an interface whose port the network refuses, as
// for an address in use: the caller is told, and nothing is left.
func TestRefusedInterface(t *testing.T) {
	c := cloud(t, computetest.Options{})
	c.Flavor()
	id := c.Boot("one", nil)
	c.Status(id, "ACTIVE")
	fail := func(code int) func(method, path string) int {
		return func(method, path string) int {
			if method == "POST" && path == "/networking/v2.0/ports" {
				return code
			}
			return 0
		}
	}
	c.Peers.Do(func() { c.Peers.Fail = fail(409) })
	path := "/v2.1/servers/" + id + "/os-interface"
	c.Must(400, computetest.Member, "", "POST", path, m{"interfaceAttachment": m{"net_id": computetest.NetworkID}})
	c.Peers.Do(func() { c.Peers.Fail = nil })
	if got := c.Must(200, computetest.Member, "", "GET", path, nil).Get("interfaceAttachments").([]any); len(got) != 1 {
		t.Errorf("%d interfaces, want that of the birth alone", len(got))
	}
	c.Must(200, computetest.Member, "", "POST", path, m{"interfaceAttachment": m{"net_id": computetest.NetworkID}})
}

// TestPortOfShelvedServerDeleted deletes the given ports of a shelved server,
// one with the network's word about it and one without: it keeps neither, so it
// can be brought back.
func TestPortOfShelvedServerDeleted(t *testing.T) {
	for name, told := range map[string]bool{"told": true, "healed": false} {
		t.Run(name, func(t *testing.T) {
			c := cloud(t, computetest.Options{Config: func(conf *compute.Config) {
				if conf.HealInterval = 50 * time.Millisecond; told {
					conf.HealInterval = time.Hour
				}
			}})
			c.Flavor()
			port := c.Peers.AddPort()
			id := c.Boot("one", m{"networks": []m{{"port": port}}})
			c.Status(id, "ACTIVE")
			path := "/v2.1/servers/" + id
			c.Must(202, computetest.Member, "", "POST", path+"/action", m{"shelve": nil})
			c.Status(id, "SHELVED_OFFLOADED")
			c.Peers.Do(func() { delete(c.Peers.Ports, port) })
			if told {
				c.Must(200, computetest.Service, "", "POST", "/v2.1/os-server-external-events", m{"events": []m{{"server_uuid": id, "name": "network-vif-deleted", "tag": port}}})
			}
			c.Wait("the interface is gone", func() bool {
				rows, err := c.Store.ServerPorts(t.Context(), id)
				return err == nil && len(rows) == 0
			})
			c.Must(202, computetest.Member, "", "POST", path+"/action", m{"unshelve": nil})
			c.Status(id, "ACTIVE")
		})
	}
}

// TestPortGivenTwice asks for two servers with one port at once: one gets it,
// the other one fails, and neither shows nor lets go what the other one has.
func TestPortGivenTwice(t *testing.T) {
	gate := make(chan struct{})
	c := cloud(t, computetest.Options{Hook: func(saga, step string, undo bool, w task.When) {
		if saga == "server-build" && step == "schedule" && w == task.Before {
			<-gate
		}
	}})
	c.Flavor()
	port := c.Peers.AddPort()
	ids := []string{c.Boot("one", m{"networks": []m{{"port": port}}}), c.Boot("two", m{"networks": []m{{"port": port}}})}
	close(gate)
	c.Wait("builds end", func() bool { ok, err := c.Tasks.Idle(t.Context()); return ok && err == nil })
	path := "/v2.1/servers/"
	if c.Must(200, computetest.Member, "", "GET", path+ids[0], nil).Get("server", "status") != "ACTIVE" {
		ids[0], ids[1] = ids[1], ids[0]
	}
	c.Status(ids[0], "ACTIVE")
	if f := c.Status(ids[1], "ERROR").Get("server", "fault", "message"); f != "Port "+port+" is still in use." {
		t.Errorf("the second server's fault: %v", f)
	}
	for i, id := range ids {
		if n := len(c.Must(200, computetest.Member, "", "GET", path+id+"/os-interface", nil).Get("interfaceAttachments").([]any)); n != 1-i {
			t.Errorf("server %d has %d interfaces", i, n)
		}
	}
	owner := func() (id any) {
		c.Peers.Do(func() { id = c.Peers.Ports[port]["device_id"] })
		return id
	}
	if got := owner(); got != ids[0] {
		t.Errorf("the port is of %v", got)
	}
	c.Must(204, computetest.Member, "", "DELETE", path+ids[1], nil)
	c.Gone(ids[1])
	if got := owner(); got != ids[0] {
		t.Errorf("the port is of %v when the server without it was deleted", got)
	}
	c.Must(204, computetest.Member, "", "DELETE", path+ids[0], nil)
	c.Gone(ids[0])
	clean(t, c, port)
}

// TestPortChangedMeanwhile changes a port between the look at it and its
// binding: what was seen does not count any more.
func TestPortChangedMeanwhile(t *testing.T) {
	c := cloud(t, computetest.Options{})
	c.Flavor()
	port := c.Peers.AddPort()
	var tries atomic.Int32
	c.Peers.Do(func() {
		c.Peers.Ports[port]["revision_number"] = 3
		c.Peers.Fail = func(method, path string) int {
			if method == "PUT" && path == "/networking/v2.0/ports/"+port && tries.Add(1) == 1 {
				return 412
			}
			return 0
		}
	})
	c.Status(c.Boot("one", m{"networks": []m{{"port": port}}}), "ACTIVE")
	if n := tries.Load(); n != 2 {
		t.Errorf("%d tries to bind", n)
	}
}

// TestPortAttachedTwice asks for the same port again while it is being attached.
func TestPortAttachedTwice(t *testing.T) {
	came, gate := make(chan struct{}), make(chan struct{})
	var first sync.Once // the step may be tried again
	c := cloud(t, computetest.Options{Hook: func(saga, step string, undo bool, w task.When) {
		if saga == "interface-attach" && step == "port" && w == task.Before {
			first.Do(func() { close(came) })
			<-gate
		}
	}})
	c.Flavor()
	id := c.Boot("one", nil)
	c.Status(id, "ACTIVE")
	port := c.Peers.AddPort()
	path := "/v2.1/servers/" + id + "/os-interface"
	in := m{"interfaceAttachment": m{"port_id": port}}
	done := make(chan computetest.Answer)
	go func() { done <- c.Call(computetest.Member, "", "POST", path, in) }()
	<-came
	c.Must(409, computetest.Member, "", "POST", path, in)
	close(gate)
	if a := <-done; a.Code != 200 {
		t.Errorf("the first request: %d %s", a.Code, a.Text)
	}
	if list := c.Must(200, computetest.Member, "", "GET", path, nil).Get("interfaceAttachments").([]any); len(list) != 2 {
		t.Errorf("the interfaces are %v", list)
	}
}
