package manager_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tropocloud/tropo/compute/computetest"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/task"
)

// story is what a test does to make a saga run, and how the server must end.
type story struct {
	saga   string
	undo   bool
	before []string // actions that bring the server to where the saga begins
	act    any      // the action; nil: the creation itself; "delete"
	want   string   // status; empty: gone
	fail   string   // method of the driver that fails while act runs
	last   string   // with undo: the step that fails, later ones never run
}

// stories cover every saga; steps that run only backwards have a story whose
// driver fails.
func stories() []story {
	resize := m{"resize": m{"flavorRef": "2"}}
	return []story{
		{saga: "server-build", want: "ACTIVE"},
		{saga: "server-build", undo: true, want: "ERROR", fail: "Spawn", last: "spawn"},
		{saga: "server-delete", act: "delete"},
		{saga: "server-power", act: m{"os-stop": nil}, want: "SHUTOFF"},
		{saga: "server-rebuild", act: m{"rebuild": m{"imageRef": computetest.ImageID}}, want: "ACTIVE"},
		{saga: "server-evacuate", before: []string{"down"}, act: m{"evacuate": m{"onSharedStorage": false}}, want: "ACTIVE"},
		{saga: "server-evacuate", undo: true, before: []string{"down"}, act: m{"evacuate": m{"onSharedStorage": false}}, want: "ERROR", fail: "Spawn", last: "guest"},
		{saga: "server-rescue", act: m{"rescue": nil}, want: "RESCUE"},
		{saga: "server-rescue", undo: true, act: m{"rescue": nil}, want: "ERROR", fail: "Rescue", last: "guest"},
		{saga: "server-unrescue", before: []string{"rescue"}, act: m{"unrescue": nil}, want: "ACTIVE"},
		{saga: "server-resize", act: resize, want: "VERIFY_RESIZE"},
		{saga: "server-resize", undo: true, act: resize, want: "ACTIVE", fail: "Resize", last: "guest"},
		{saga: "server-resize-confirm", before: []string{"resize"}, act: m{"confirmResize": nil}, want: "ACTIVE"},
		{saga: "server-resize-revert", before: []string{"resize"}, act: m{"revertResize": nil}, want: "ACTIVE"},
		{saga: "server-snapshot", act: m{"createImage": m{"name": "snap"}}, want: "ACTIVE"},
		{saga: "server-snapshot", undo: true, act: m{"createImage": m{"name": "snap"}}, want: "ACTIVE", fail: "Snapshot", last: "copy"},
		{saga: "server-snapshot", act: m{"createBackup": m{"name": "b", "backup_type": "daily", "rotation": 1}}, want: "ACTIVE"},
		{saga: "server-shelve", act: m{"shelve": nil}, want: "SHELVED_OFFLOADED"},
		{saga: "server-unshelve", before: []string{"shelve"}, act: m{"unshelve": nil}, want: "ACTIVE"},
		{saga: "server-unshelve", undo: true, before: []string{"shelve"}, act: m{"unshelve": nil}, want: "SHELVED_OFFLOADED", fail: "Spawn", last: "spawn"},
		{saga: "interface-attach", act: "attach", want: "ACTIVE"},
		{saga: "interface-attach", undo: true, act: "attach", want: "ACTIVE", fail: "AttachInterface", last: "guest"},
		{saga: "interface-detach", act: "detach", want: "ACTIVE"},
	}
}

// TestSagasSurviveCrashes ends the service before and after every step of every
// saga, forwards and backwards, starts it again and looks for leftovers.
func TestSagasSurviveCrashes(t *testing.T) {
	steps := cloud(t, computetest.Options{}).Tasks.Steps()
	covered := map[string]bool{}
	for _, st := range stories() {
		covered[st.saga] = true
		over := false
		for _, s := range steps {
			if s.Saga != st.saga || over {
				continue
			}
			over = s.Step == st.last
			for _, when := range []task.When{task.Before, task.After} {
				t.Run(fmt.Sprintf("%s/%s/undo=%v/%s", s.Saga, s.Step, st.undo, when), func(t *testing.T) {
					t.Parallel()
					crash(t, st, s.Step, when)
				})
			}
		}
	}
	for _, s := range steps {
		if !covered[s.Saga] {
			t.Errorf("no story crashes the saga %s", s.Saga)
		}
	}
}

// crash plays a story with the service dying once at a step.
func crash(t *testing.T, st story, step string, when task.When) {
	var c *computetest.Cloud
	var mu sync.Mutex
	armed, failing := false, ""
	dead := make(chan struct{})
	hook := func(saga, name string, undo bool, w task.When) {
		mu.Lock()
		hit := armed && saga == st.saga && name == step && undo == st.undo && w == when
		if hit {
			armed = false
		}
		mu.Unlock()
		if hit {
			close(dead)
			<-c.Ended()
		}
	}
	fail := func(_ context.Context, method, _ string) error {
		mu.Lock()
		defer mu.Unlock()
		if method == failing {
			if failing == "Resize" { // the way back needs it as well
				failing = ""
			}
			return fault.New(fault.Internal, "made to fail")
		}
		return nil
	}
	o := computetest.Options{DB: dbtest.New(t), Hook: hook, Fail: fail}
	if st.saga == "server-evacuate" {
		o.Hosts = []string{"host1", "host2"}
	}
	c = cloud(t, o)
	c.Flavor()
	c.Must(200, computetest.Admin, "", "POST", "/v2.1/flavors", m{"flavor": m{"id": "2", "name": "m1.small", "ram": 1024, "vcpus": 2, "disk": 2}})
	port := c.Peers.AddPort()
	given := m{"networks": []m{{"port": port}, {"uuid": computetest.NetworkID}}}
	id := ""
	if st.act != nil {
		id = prepare(t, c, st, given)
	}
	mu.Lock()
	armed, failing = true, st.fail
	mu.Unlock()
	switch act := st.act.(type) {
	case nil:
		id = c.Boot("one", given)
	case string:
		special(t, c, id, act)
	default:
		who := computetest.Member
		if st.saga == "server-evacuate" {
			who = computetest.Admin
		}
		if a := c.Call(who, "", "POST", "/v2.1/servers/"+id+"/action", act); a.Code >= 300 {
			t.Fatalf("%v: %d %s", act, a.Code, a.Text)
		}
	}
	select {
	case <-dead:
	case <-time.After(time.Minute):
		t.Fatal("the step was not reached")
	}
	c.Stop()
	c.Start()
	if st.want != "" {
		c.Wait("sagas end", func() bool { ok, err := c.Tasks.Idle(t.Context()); return ok && err == nil })
		c.Status(id, st.want)
		mu.Lock()
		failing = ""
		mu.Unlock()
		c.Must(204, computetest.Member, "", "DELETE", "/v2.1/servers/"+id, nil)
	}
	c.Gone(id)
	clean(t, c, port)
}

func prepare(t *testing.T, c *computetest.Cloud, st story, more m) string {
	t.Helper()
	id := c.Boot("one", more)
	c.Status(id, "ACTIVE")
	for _, b := range st.before {
		switch b {
		case "resize":
			c.Must(202, computetest.Member, "", "POST", "/v2.1/servers/"+id+"/action", m{"resize": m{"flavorRef": "2"}})
			c.Status(id, "VERIFY_RESIZE")
		case "rescue":
			c.Must(200, computetest.Member, "", "POST", "/v2.1/servers/"+id+"/action", m{"rescue": nil})
			c.Status(id, "RESCUE")
		case "down":
			c.Must(200, computetest.Admin, "2.11", "PUT", "/v2.1/os-services/force-down", m{"binary": "nova-compute", "host": hostOf(c, id), "forced_down": true})
		case "shelve":
			c.Must(202, computetest.Member, "", "POST", "/v2.1/servers/"+id+"/action", m{"shelve": nil})
			c.Status(id, "SHELVED_OFFLOADED")
		}
	}
	c.Wait("sagas end", func() bool { ok, err := c.Tasks.Idle(t.Context()); return ok && err == nil })
	return id
}

// special does what is no action. An attachment is asked for in the background:
// its request waits for the interface.
func special(t *testing.T, c *computetest.Cloud, id, act string) {
	t.Helper()
	switch act {
	case "delete":
		c.Must(204, computetest.Member, "", "DELETE", "/v2.1/servers/"+id, nil)
	case "detach":
		a := c.Must(200, computetest.Member, "", "GET", "/v2.1/servers/"+id+"/os-interface", nil)
		port := a.Get("interfaceAttachments").([]any)[1].(m)["port_id"].(string)
		c.Must(202, computetest.Member, "", "DELETE", "/v2.1/servers/"+id+"/os-interface/"+port, nil)
	case "attach":
		var wg sync.WaitGroup
		wg.Go(func() {
			c.Call(computetest.Member, "", "POST", "/v2.1/servers/"+id+"/os-interface", m{"interfaceAttachment": m{"net_id": computetest.NetworkID}})
		})
		t.Cleanup(wg.Wait)
	}
}

func hostOf(c *computetest.Cloud, id string) string {
	c.T.Helper()
	host, _ := c.Must(200, computetest.Admin, "", "GET", "/v2.1/servers/"+id, nil).Get("server", "OS-EXT-SRV-ATTR:host").(string)
	return host
}
