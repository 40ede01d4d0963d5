package manager_test

import (
	"context"
	"testing"
	"time"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/computetest"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/fault"
)

func forceDown(c *computetest.Cloud, host string, down bool) {
	c.T.Helper()
	c.Must(200, computetest.Admin, "2.11", "PUT", "/v2.1/os-services/force-down", m{"binary": "nova-compute", "host": host, "forced_down": down})
}

func other(host string) string {
	if host == "host1" {
		return "host2"
	}
	return "host1"
}

// answers waits until a host takes orders.
func answers(c *computetest.Cloud, host string) {
	c.T.Helper()
	c.Wait("the host answers", func() bool {
		return c.Bus.Call(c.T.Context(), bus.Target{Topic: compute.TopicAgent, Host: host}, compute.MethodCancel, compute.GuestRequest{}, nil) == nil
	})
}

func has(c *computetest.Cloud, host, id string) bool {
	_, err := c.Drivers[host].Info(context.Background(), id)
	return err == nil
}

// TestEvacuate moves servers away from a host that died; when it comes back it
// removes what it has of them, and only of them.
func TestEvacuate(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) { evacuation(t, d) })
}

func evacuation(t *testing.T, d *db.DB) {
	c := cloud(t, computetest.Options{DB: d, Hosts: []string{"host1", "host2"}})
	c.Flavor()
	id := c.Boot("one", nil)
	address := c.Status(id, "ACTIVE").Get("server", "addresses", "net").([]any)[0].(m)["addr"]
	host := hostOf(c, id)
	stays := c.Must(202, computetest.Admin, "2.74", "POST", "/v2.1/servers", m{"server": m{
		"name": "stays", "flavorRef": "1", "imageRef": computetest.ImageID, "networks": "none", "host": host,
	}}).Get("server", "id").(string)
	c.Status(stays, "ACTIVE")
	path := "/v2.1/servers/" + id + "/action"
	c.Must(400, computetest.Admin, "2.95", "POST", path, m{"evacuate": m{}})
	c.StopHost(host)
	forceDown(c, host, true)
	c.Must(400, computetest.Admin, "2.95", "POST", path, m{"evacuate": m{"host": host}})
	c.Must(403, computetest.Member, "2.95", "POST", path, m{"evacuate": m{}})
	c.Must(200, computetest.Admin, "2.68", "POST", path, m{"evacuate": m{"host": other(host)}})
	s := c.Status(id, "ACTIVE")
	if got := hostOf(c, id); got != other(host) || !has(c, got, id) {
		t.Errorf("the server is on %s", got)
	}
	if now := s.Get("server", "addresses", "net").([]any)[0].(m)["addr"]; now != address {
		t.Errorf("its address was %v and is %v", address, now)
	}
	c.Wait("sagas end", func() bool { ok, err := c.Tasks.Idle(t.Context()); return ok && err == nil })
	c.Peers.Do(func() {
		for _, p := range c.Peers.Ports {
			if p["binding:host_id"] != other(host) {
				t.Errorf("the port is bound to %v", p["binding:host_id"])
			}
		}
		if n := len(c.Peers.Allocations); n != 2 {
			t.Errorf("%d consumers, want the two servers", n)
		}
	})
	migration := func() any {
		return c.Must(200, computetest.Admin, "2.80", "GET", "/v2.1/os-migrations?instance_uuid="+id, nil).Get("migrations").([]any)[0].(m)["status"]
	}
	if got := migration(); got != "done" {
		t.Errorf("the migration is %v", got)
	}
	if !has(c, host, id) {
		t.Error("the dead host's guest went away by itself")
	}
	c.StartHost(host)
	c.Wait("the leftover is removed", func() bool { return !has(c, host, id) && migration() == "completed" })
	if !has(c, host, stays) || !has(c, other(host), id) {
		t.Error("a guest that was wanted is gone")
	}
	forceDown(c, host, false)
	for _, x := range []string{id, stays} {
		c.Must(204, computetest.Admin, "", "DELETE", "/v2.1/servers/"+x, nil)
		c.Gone(x)
	}
	clean(t, c)
}

// TestEvacuateStopped leaves a server stopped that was, or that shall be.
func TestEvacuateStopped(t *testing.T) {
	c := cloud(t, computetest.Options{Hosts: []string{"host1", "host2"}})
	c.Flavor()
	id := c.Boot("one", nil)
	c.Status(id, "ACTIVE")
	forceDown(c, hostOf(c, id), true)
	c.Must(200, computetest.Admin, "2.95", "POST", "/v2.1/servers/"+id+"/action", m{"evacuate": m{}})
	c.Status(id, "SHUTOFF")
	c.Must(202, computetest.Member, "", "POST", "/v2.1/servers/"+id+"/action", m{"os-start": nil})
	c.Status(id, "ACTIVE")
}

// TestSilentHostIsGivenUp builds a server whose first host does not answer: it
// goes to another one, and the first is not told any more when it is late.
func TestSilentHostIsGivenUp(t *testing.T) {
	c := cloud(t, computetest.Options{Hosts: []string{"host1", "host2"}})
	c.Flavor()
	for _, h := range []string{"host1", "host2"} { // whichever is chosen first
		c.StopHost(h)
		id := c.Boot("one", nil)
		c.Status(id, "ACTIVE")
		if got := hostOf(c, id); got != other(h) {
			t.Errorf("the server is on %s", got)
		}
		c.StartHost(h)
		answers(c, h)
		late := compute.SpawnRequest{ServerID: id, Order: "an earlier one", Name: "one", Flavor: compute.Flavor{VCPUs: 1, MemoryMB: 512}, ImageID: computetest.ImageID}
		err := c.Bus.Call(t.Context(), bus.Target{Topic: compute.TopicAgent, Host: h, Key: id}, compute.MethodSpawn, late, nil)
		if !fault.Is(err, fault.Conflict) || has(c, h, id) {
			t.Errorf("a late order: %v, guest: %v", err, has(c, h, id))
		}
		c.Must(204, computetest.Member, "", "DELETE", "/v2.1/servers/"+id, nil)
		c.Gone(id)
	}
	clean(t, c)
}

// TestDeleteOnDeadHost deletes a server whose host gives no sign of life: it is
// gone for its owner as soon as the host counts as down.
func TestDeleteOnDeadHost(t *testing.T) {
	d := dbtest.New(t)
	c := cloud(t, computetest.Options{DB: d, Hosts: []string{"host1", "host2"}, Config: func(o *compute.Config) { o.DownTime = 20 * time.Second }})
	c.Flavor()
	id := c.Boot("one", nil)
	c.Status(id, "ACTIVE")
	host := hostOf(c, id)
	c.StopHost(host)
	c.Must(204, computetest.Member, "", "DELETE", "/v2.1/servers/"+id, nil)
	exec(t, d, "UPDATE services SET seen_at = ? WHERE host = ?", db.Now().Add(-time.Minute), host)
	c.Gone(id)
	if !has(c, host, id) {
		t.Error("the guest went away by itself")
	}
	c.StartHost(host)
	clean(t, c)
}

// TestOrders says who may make a guest.
func TestOrders(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		c := cloud(t, computetest.Options{DB: d})
		c.Flavor()
		id := c.Boot("one", nil)
		c.Status(id, "ACTIVE")
		st, ctx := c.Store, t.Context()
		if never, err := st.RevokeOrder(ctx, id, "host1"); err != nil || never {
			t.Errorf("an order that was taken was revoked: %v", err)
		}
		if err := st.IssueOrder(ctx, id, "host2", "b"); !fault.Is(err, fault.Conflict) {
			t.Errorf("a second host may have it too: %v", err)
		}
		if ok, err := st.TakeOrder(ctx, id, "host2", "b"); err != nil || ok {
			t.Errorf("and takes it: %v", err)
		}
		if err := st.DropOrder(ctx, id, "host1"); err != nil {
			t.Fatal(err)
		}
		for _, order := range []string{"c", "d"} {
			if err := st.IssueOrder(ctx, id, "host1", order); err != nil {
				t.Fatal(err)
			}
		}
		if ok, err := st.TakeOrder(ctx, id, "host1", "c"); err != nil || ok {
			t.Errorf("an order that another one replaced was taken: %v", err)
		}
		for range 2 {
			if ok, err := st.TakeOrder(ctx, id, "host1", "d"); err != nil || !ok {
				t.Errorf("the order was not taken: %v", err)
			}
		}
		c.Must(204, computetest.Member, "", "DELETE", "/v2.1/servers/"+id, nil)
		c.Gone(id)
		clean(t, c)
	})
}

// TestHostRestarts starts the guests again that ran when their host went down,
// unless it is told not to, and one that was being worked on too.
func TestHostRestarts(t *testing.T) {
	for name, resume := range map[string]bool{"resume": true, "leave": false} {
		t.Run(name, func(t *testing.T) {
			c := cloud(t, computetest.Options{Config: func(o *compute.Config) { o.ResumeGuests = resume }})
			c.Flavor()
			ran, stopped, busy := c.Boot("ran", nil), c.Boot("stopped", nil), c.Boot("busy", nil)
			for _, id := range []string{ran, stopped, busy} {
				c.Status(id, "ACTIVE")
			}
			c.Must(202, computetest.Member, "", "POST", "/v2.1/servers/"+stopped+"/action", m{"os-stop": nil})
			c.Status(stopped, "SHUTOFF")
			c.StopHost("host1")
			for _, id := range []string{ran, busy} {
				if err := c.Drivers["host1"].PowerOff(t.Context(), id, 0); err != nil {
					t.Fatal(err)
				}
			}
			task := func(s compute.TaskState) {
				if _, err := db.Update(t.Context(), c.Store.DB(), "servers", db.Set{"task_state": s}, db.ByID(busy)); err != nil {
					t.Fatal(err)
				}
			}
			task(compute.TaskSnapshot)
			c.BootID = "another"
			c.StartHost("host1")
			want := "SHUTOFF"
			if resume {
				want = "ACTIVE"
			}
			running := func(id string) bool {
				i, err := c.Drivers["host1"].Info(t.Context(), id)
				return err == nil && i.State == "running"
			}
			c.Wait("the guest is as it should be", func() bool { return running(ran) == resume })
			c.Status(ran, want)
			task("")
			c.Wait("the other guest is as it should be", func() bool { return running(busy) == resume })
			c.Status(busy, want)
			c.Status(stopped, "SHUTOFF")
			if running(stopped) {
				t.Error("a guest was started that was stopped before")
			}
		})
	}
}
