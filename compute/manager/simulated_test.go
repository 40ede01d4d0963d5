package manager_test

import (
	"context"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tropocloud/tropo/compute/computetest"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/task"
)

// The tests of this file are of what the simulation (test/sim) found.

// stopAt ends a saga's goroutine where a step comes by, once, as the end of the
// process would: nothing more is stored. reached is closed then.
type stopAt struct {
	saga, step string
	when       task.When
	armed      atomic.Bool
	reached    chan struct{}
	cloud      *computetest.Cloud
}

func (s *stopAt) hook(saga, step string, undo bool, w task.When) {
	if saga == s.saga && step == s.step && !undo && w == s.when && s.armed.CompareAndSwap(true, false) {
		close(s.reached)
		runtime.Goexit()
	}
}

func (s *stopAt) idle(t *testing.T) {
	t.Helper()
	s.cloud.Wait("sagas end", func() bool { ok, err := s.cloud.Tasks.Idle(t.Context()); return ok && err == nil })
}

// TestLastStepAgain kills the process after the last step of a reboot, before
// that is stored, when the next reboot has been accepted: the first saga's last
// step runs again and must not take the second's task for its own.
func TestLastStepAgain(t *testing.T) {
	s := &stopAt{saga: "server-power", step: "finish", when: task.After, reached: make(chan struct{})}
	c := cloud(t, computetest.Options{DB: dbtest.New(t), Hook: s.hook})
	s.cloud = c
	c.Flavor()
	id := c.Boot("one", nil)
	c.Status(id, "ACTIVE")
	path := "/v2.1/servers/" + id
	s.armed.Store(true)
	reboot := m{"reboot": m{"type": "HARD"}}
	c.Must(202, computetest.Member, "", "POST", path+"/action", reboot)
	<-s.reached
	c.Must(202, computetest.Member, "", "POST", path+"/action", reboot)
	c.Stop()
	c.Start()
	s.idle(t)
	c.Status(id, "ACTIVE")
	n := 0
	for _, a := range c.Must(200, computetest.Member, "", "GET", path+"/os-instance-actions", nil).Get("instanceActions").([]any) {
		if a.(m)["action"] == "reboot" {
			n++
		}
		if a.(m)["message"] != nil {
			t.Errorf("%v failed: %v", a.(m)["action"], a.(m)["message"])
		}
	}
	if n != 2 {
		t.Errorf("%d reboots", n)
	}
}

// TestResizeCountsAtOnce asks for more than is left while a server is resized.
func TestResizeCountsAtOnce(t *testing.T) {
	s := &stopAt{saga: "server-resize", step: "guest", when: task.Before, reached: make(chan struct{})}
	c := cloud(t, computetest.Options{DB: dbtest.New(t), Hook: s.hook})
	s.cloud = c
	c.Flavor()
	c.Must(200, computetest.Admin, "", "POST", "/v2.1/flavors", m{"flavor": m{"id": "2", "name": "m1.small", "ram": 1024, "vcpus": 2, "disk": 2}})
	c.Must(200, computetest.Admin, "", "PUT", "/v2.1/os-quota-sets/"+computetest.Project, m{"quota_set": m{"cores": 2}})
	id := c.Boot("one", nil)
	c.Status(id, "ACTIVE")
	path := "/v2.1/servers/" + id + "/action"
	s.armed.Store(true)
	c.Must(202, computetest.Member, "", "POST", path, m{"resize": m{"flavorRef": "2"}})
	<-s.reached
	more := m{"server": m{"name": "two", "flavorRef": "1", "imageRef": computetest.ImageID, "networks": []m{{"uuid": computetest.NetworkID}}}}
	c.Must(403, computetest.Member, "", "POST", "/v2.1/servers", more)
	c.Stop()
	c.Start()
	c.Status(id, "VERIFY_RESIZE")
	c.Must(202, computetest.Member, "", "POST", path, m{"revertResize": nil})
	c.Status(id, "ACTIVE")
	s.idle(t)
	c.Must(202, computetest.Member, "", "POST", "/v2.1/servers", more)
}

// TestDetachFailsHalfWay kills the process when the guest has lost an interface,
// and refuses the second try: the interface is there again, as the row says.
func TestDetachFailsHalfWay(t *testing.T) {
	s := &stopAt{saga: "interface-detach", step: "guest", when: task.After, reached: make(chan struct{})}
	var refuse atomic.Bool
	c := cloud(t, computetest.Options{DB: dbtest.New(t), Hook: s.hook, Fail: func(_ context.Context, method, _ string) error {
		if method == "DetachInterface" && refuse.CompareAndSwap(true, false) {
			return fault.New(fault.Internal, "made to fail")
		}
		return nil
	}})
	s.cloud = c
	c.Flavor()
	id := c.Boot("one", nil)
	c.Status(id, "ACTIVE")
	path := "/v2.1/servers/" + id + "/os-interface"
	port := c.Must(200, computetest.Member, "", "GET", path, nil).Get("interfaceAttachments").([]any)[0].(m)["port_id"].(string)
	s.armed.Store(true)
	c.Must(202, computetest.Member, "", "DELETE", path+"/"+port, nil)
	<-s.reached
	refuse.Store(true)
	c.Stop()
	c.Start()
	s.idle(t)
	g, err := c.Drivers["host1"].Info(t.Context(), id)
	if err != nil || len(g.VIFs) != 1 || g.VIFs[0].PortID != port {
		t.Errorf("the guest has %v, %v", g.VIFs, err)
	}
	if list := c.Must(200, computetest.Member, "", "GET", path, nil).Get("interfaceAttachments").([]any); len(list) != 1 {
		t.Errorf("the rows have %v", list)
	}
}

// TestGuestIsBelieved: a guest that was suspended or resumed although the answer
// was lost and the operation has failed.
func TestGuestIsBelieved(t *testing.T) {
	c := cloud(t, computetest.Options{})
	c.Flavor()
	id := c.Boot("one", nil)
	c.Status(id, "ACTIVE")
	d := c.Drivers["host1"]
	for _, want := range []string{"SUSPENDED", "ACTIVE", "PAUSED", "SHUTOFF"} {
		err := map[string]func(context.Context, string) error{"SUSPENDED": d.Suspend, "ACTIVE": d.Resume, "PAUSED": d.Pause, "SHUTOFF": func(context.Context, string) error { return d.ShutDown(id) }}[want](t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		c.Status(id, want)
	}
}

// TestPlacedElsewhereWithItsPorts interrupts a build that leaves a silent host
// when its ports are to be bound to the next one.
func TestPlacedElsewhereWithItsPorts(t *testing.T) {
	peers := computetest.NewPeers()
	var bound, refused atomic.Int32
	peers.Fail = func(method, path string) int {
		if method == "PUT" && strings.HasPrefix(path, "/networking/v2.0/ports/") && bound.Add(1) == 1 {
			refused.Add(1)
			return 503
		}
		return 0
	}
	c := cloud(t, computetest.Options{Hosts: []string{"host1", "host2"}, Peers: peers})
	c.Flavor()
	for _, h := range []string{"host1", "host2"} { // whichever is chosen first
		bound.Store(0)
		c.StopHost(h)
		id := c.Boot("one", nil)
		c.Status(id, "ACTIVE")
		if got := hostOf(c, id); got != other(h) {
			t.Errorf("the server is on %s", got)
		}
		c.Peers.Do(func() {
			for _, p := range c.Peers.Ports {
				if p["device_id"] == id && p["binding:host_id"] != other(h) {
					t.Errorf("the port is bound to %v, the server is on %s", p["binding:host_id"], other(h))
				}
			}
			if c.Peers.Allocations[id] == nil {
				t.Error("the server claims nothing")
			}
		})
		c.StartHost(h)
		answers(c, h) // it is the only one for the next
		c.Must(204, computetest.Member, "", "DELETE", "/v2.1/servers/"+id, nil)
		c.Gone(id)
	}
	if refused.Load() == 0 {
		t.Error("no build left a host")
	}
	clean(t, c)
}

// TestDiskStaysLarge resizes a server to a larger disk and back: whatever is done
// to it then, what it claims and what it has is the larger one.
func TestDiskStaysLarge(t *testing.T) {
	c := cloud(t, computetest.Options{Hosts: []string{"host1", "host2"}})
	c.Flavor()
	for id, size := range map[string]int{"2": 3, "3": 1} {
		c.Must(200, computetest.Admin, "", "POST", "/v2.1/flavors", m{"flavor": m{"id": id, "name": "f" + id, "ram": 1024, "vcpus": 1, "disk": size}})
	}
	id := c.Boot("one", nil)
	c.Status(id, "ACTIVE")
	act := func(want string, action m) {
		t.Helper()
		if a := c.Call(computetest.Member, "", "POST", "/v2.1/servers/"+id+"/action", action); a.Code >= 300 {
			t.Fatalf("%v: %d %s", action, a.Code, a.Text)
		}
		c.Status(id, want)
		c.Wait("sagas end", func() bool { ok, err := c.Tasks.Idle(t.Context()); return ok && err == nil })
		c.Peers.Do(func() {
			for _, res := range c.Peers.Allocations[id].By {
				if res["DISK_GB"] != 3 {
					t.Errorf("after %v it claims %v", action, res)
				}
			}
		})
	}
	act("VERIFY_RESIZE", m{"resize": m{"flavorRef": "2"}})
	act("ACTIVE", m{"revertResize": nil})
	act("VERIFY_RESIZE", m{"resize": m{"flavorRef": "3"}})
	act("ACTIVE", m{"confirmResize": nil})
	c.Must(202, computetest.Member, "", "POST", "/v2.1/servers/"+id+"/action", m{"shelve": nil})
	c.Status(id, "SHELVED_OFFLOADED")
	act("ACTIVE", m{"unshelve": nil})
	host := hostOf(c, id)
	c.StopHost(host)
	forceDown(c, host, true)
	c.Must(200, computetest.Admin, "2.68", "POST", "/v2.1/servers/"+id+"/action", m{"evacuate": m{}})
	c.Status(id, "ACTIVE")
	act("ACTIVE", m{"reboot": m{"type": "HARD"}})
}

// TestRevertFails: the server keeps the claim of its new flavor alone.
func TestRevertFails(t *testing.T) {
	var refuse atomic.Bool
	c := cloud(t, computetest.Options{Fail: func(_ context.Context, method, _ string) error {
		if method == "Resize" && refuse.Load() {
			return fault.New(fault.Internal, "made to fail")
		}
		return nil
	}})
	c.Flavor()
	c.Must(200, computetest.Admin, "", "POST", "/v2.1/flavors", m{"flavor": m{"id": "2", "name": "m1.small", "ram": 1024, "vcpus": 2, "disk": 2}})
	id := c.Boot("one", nil)
	c.Status(id, "ACTIVE")
	path := "/v2.1/servers/" + id + "/action"
	c.Must(202, computetest.Member, "", "POST", path, m{"resize": m{"flavorRef": "2"}})
	c.Status(id, "VERIFY_RESIZE")
	refuse.Store(true)
	c.Must(202, computetest.Member, "", "POST", path, m{"revertResize": nil})
	c.Status(id, "ERROR")
	c.Peers.Do(func() {
		if len(c.Peers.Allocations) != 1 || c.Peers.Allocations[id] == nil {
			t.Errorf("claims: %v", c.Peers.Allocations)
		}
	})
	c.Must(202, computetest.Member, "", "POST", path, m{"rebuild": m{"imageRef": computetest.ImageID}})
	c.Status(id, "ACTIVE")
}
