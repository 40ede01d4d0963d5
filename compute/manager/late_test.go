package manager_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/tropocloud/tropo/compute/computetest"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/task"
)

// late keeps the first request of a kind back: its sender sees a failure, and
// it is handled when the test says so, as one that was stuck on its way.
type late struct {
	c            *computetest.Cloud
	method, path string

	mu    sync.Mutex
	stuck *http.Request
	body  []byte
}

func (l *late) other(r *http.Request) http.Handler {
	if r.Method != l.method || r.URL.Path != l.path {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stuck != nil {
		return nil
	}
	l.stuck = r.Clone(context.WithoutCancel(r.Context()))
	l.body, _ = io.ReadAll(r.Body) // an in-memory body
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
}

func (l *late) arrive(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	r := l.stuck
	l.mu.Unlock()
	if r == nil {
		t.Fatalf("no request %s %s came", l.method, l.path)
	}
	r.Body = io.NopCloser(bytes.NewReader(l.body))
	l.c.Peers.ServeHTTP(httptest.NewRecorder(), r)
}

// hold has the sender wait for the failure until goOn is closed; came is closed
// when the request is there.
func (l *late) hold(came, goOn chan struct{}) func(r *http.Request) http.Handler {
	return func(r *http.Request) http.Handler {
		h := l.other(r)
		if h != nil {
			close(came)
			<-goOn
		}
		return h
	}
}

// TestLateClaim has the claim of a server that cannot be built arrive when the
// claim was given up.
func TestLateClaim(t *testing.T) {
	c := cloud(t, computetest.Options{Fail: func(_ context.Context, method, _ string) error {
		if method == "Spawn" {
			return fault.New(fault.Internal, "made to fail")
		}
		return nil
	}})
	l := &late{c: c, method: "POST", path: "/placement/allocations"}
	c.Peers.Do(func() { c.Peers.Other = l.other })
	c.Flavor()
	id := c.Boot("one", nil)
	c.Status(id, "ERROR")
	l.arrive(t)
	c.Peers.Do(func() {
		if a := c.Peers.Allocations[id]; a != nil {
			t.Errorf("the server in error holds %v", a.By)
		}
	})
}

// TestLateClaimOfDeleted deletes a server whose claim is on its way.
func TestLateClaimOfDeleted(t *testing.T) {
	c := cloud(t, computetest.Options{})
	l := &late{c: c, method: "POST", path: "/placement/allocations"}
	came, goOn := make(chan struct{}), make(chan struct{})
	c.Peers.Do(func() { c.Peers.Other = l.hold(came, goOn) })
	c.Flavor()
	id := c.Boot("one", nil)
	<-came
	c.Must(204, computetest.Member, "", "DELETE", "/v2.1/servers/"+id, nil)
	close(goOn)
	c.Gone(id)
	l.arrive(t)
	clean(t, c)
}

// TestLateImage has the request for the image of a server arrive that was
// deleted while it was shelved.
func TestLateImage(t *testing.T) {
	c := cloud(t, computetest.Options{})
	c.Flavor()
	id := c.Boot("one", nil)
	c.Status(id, "ACTIVE")
	l := &late{c: c, method: "POST", path: "/image/v2/images"}
	came, goOn := make(chan struct{}), make(chan struct{})
	c.Peers.Do(func() { c.Peers.Other = l.hold(came, goOn) })
	c.Must(202, computetest.Member, "", "POST", "/v2.1/servers/"+id+"/action", m{"shelve": nil})
	<-came
	c.Must(204, computetest.Member, "", "DELETE", "/v2.1/servers/"+id, nil)
	close(goOn)
	c.Gone(id)
	l.arrive(t)
	noImagesLeft(t, c)
	clean(t, c)
}

// noImagesLeft checks that there is only the image that was there at first.
func noImagesLeft(t *testing.T, c *computetest.Cloud) {
	t.Helper()
	c.Peers.Do(func() {
		if len(c.Peers.Images) != 1 {
			t.Errorf("images are left: %v", c.Peers.Images)
		}
	})
}

// TestPortChangedAsSeen: a port is bound, and a given one let go, as it was seen
// alone, so that a request that arrives late does not touch what became of it.
func TestPortChangedAsSeen(t *testing.T) {
	c := cloud(t, computetest.Options{})
	c.Flavor()
	port := c.Peers.AddPort()
	id := c.Boot("one", m{"networks": []m{{"uuid": computetest.NetworkID}, {"port": port}}})
	c.Status(id, "ACTIVE")
	var changes, loose []string
	c.Peers.Do(func() {
		for _, p := range c.Peers.Ports {
			p["revision_number"] = 7
		}
		c.Peers.Other = func(r *http.Request) http.Handler {
			if r.Method == "PUT" && strings.HasPrefix(r.URL.Path, "/networking/v2.0/ports/") {
				changes = append(changes, r.URL.Path)
				if r.Header.Get("If-Match") != "revision_number=7" {
					loose = append(loose, r.URL.Path)
				}
			}
			return nil
		}
	})
	path := "/v2.1/servers/" + id
	c.Must(202, computetest.Member, "", "POST", path+"/action", m{"shelve": nil})
	c.Status(id, "SHELVED_OFFLOADED")
	c.Must(202, computetest.Member, "", "POST", path+"/action", m{"unshelve": nil})
	c.Status(id, "ACTIVE")
	c.Must(204, computetest.Member, "", "DELETE", path, nil)
	c.Gone(id)
	if len(changes) != 3 || len(loose) > 0 {
		t.Errorf("of the changes %v these are of whatever the port had become: %v", changes, loose)
	}
}

// TestSnapshotNeverBegun deletes a server whose snapshot waits for an earlier
// operation.
func TestSnapshotNeverBegun(t *testing.T) {
	gate := make(chan struct{})
	c := cloud(t, computetest.Options{Hook: func(saga, step string, undo bool, w task.When) {
		if saga == "interface-detach" && step == "guest" && !undo && w == task.Before {
			<-gate
		}
	}})
	c.Flavor()
	id := c.Boot("one", nil)
	c.Status(id, "ACTIVE")
	path := "/v2.1/servers/" + id
	port := c.Must(200, computetest.Member, "", "GET", path+"/os-interface", nil).Get("interfaceAttachments").([]any)[0].(m)["port_id"].(string)
	c.Must(202, computetest.Member, "", "DELETE", path+"/os-interface/"+port, nil)
	c.Must(202, computetest.Member, "", "POST", path+"/action", m{"createImage": m{"name": "snapshot"}})
	c.Must(204, computetest.Member, "", "DELETE", path, nil)
	close(gate)
	c.Gone(id)
	noImagesLeft(t, c)
	clean(t, c)
}

// TestConfirmCutShort deletes a server while the confirmation of its resize
// gives the old size back: the record of both actions ends.
func TestConfirmCutShort(t *testing.T) {
	var first sync.Once
	came, gate := make(chan struct{}), make(chan struct{})
	c := cloud(t, computetest.Options{Hook: func(saga, step string, undo bool, w task.When) {
		if saga == "server-resize-confirm" && step == "claim" && w == task.After {
			first.Do(func() { close(came) })
			<-gate
		}
	}})
	c.Flavor()
	c.Must(200, computetest.Admin, "", "POST", "/v2.1/flavors", m{"flavor": m{"id": "2", "name": "m1.small", "ram": 1024, "vcpus": 2, "disk": 2}})
	id := c.Boot("one", nil)
	c.Status(id, "ACTIVE")
	path := "/v2.1/servers/" + id
	c.Must(202, computetest.Member, "", "POST", path+"/action", m{"resize": m{"flavorRef": "2"}})
	c.Status(id, "VERIFY_RESIZE")
	c.Must(204, computetest.Member, "", "POST", path+"/action", m{"confirmResize": nil})
	<-came
	c.Must(204, computetest.Member, "", "DELETE", path, nil)
	close(gate)
	c.Gone(id)
	c.Wait("sagas end", func() bool { ok, err := c.Tasks.Idle(t.Context()); return ok && err == nil })
	ended := 0
	for _, a := range c.Must(200, computetest.Admin, "2.21", "GET", path+"/os-instance-actions", nil).Get("instanceActions").([]any) {
		action := c.Must(200, computetest.Admin, "2.21", "GET", path+"/os-instance-actions/"+a.(m)["request_id"].(string), nil)
		for _, e := range action.Get("instanceAction", "events").([]any) {
			if ended++; e.(m)["finish_time"] == nil {
				t.Errorf("%v of %v has not ended", e.(m)["event"], a.(m)["action"])
			}
		}
	}
	if ended < 4 {
		t.Errorf("%d parts of create, resize, confirmResize and delete", ended)
	}
	clean(t, c)
}

// TestRebuildOfWhatItWas resizes a server while a request to rebuild it waits for
// the image service: the rebuild must not bring back what was before.
func TestRebuildOfWhatItWas(t *testing.T) {
	c := cloud(t, computetest.Options{})
	c.Flavor()
	c.Must(200, computetest.Admin, "", "POST", "/v2.1/flavors", m{"flavor": m{"id": "2", "name": "m1.small", "ram": 1024, "vcpus": 2, "disk": 2}})
	id := c.Boot("one", nil)
	c.Status(id, "ACTIVE")
	var once sync.Once
	came, goOn := make(chan struct{}), make(chan struct{})
	c.Peers.Do(func() {
		c.Peers.Other = func(r *http.Request) http.Handler {
			if r.Method == "GET" && r.URL.Path == "/image/v2/images/"+computetest.ImageID {
				once.Do(func() { close(came); <-goOn })
			}
			return nil
		}
	})
	path := "/v2.1/servers/" + id + "/action"
	done := make(chan computetest.Answer)
	go func() {
		done <- c.Call(computetest.Member, "", "POST", path, m{"rebuild": m{"imageRef": computetest.ImageID}})
	}()
	<-came
	c.Must(202, computetest.Member, "", "POST", path, m{"resize": m{"flavorRef": "2"}})
	c.Status(id, "VERIFY_RESIZE")
	c.Must(204, computetest.Member, "", "POST", path, m{"confirmResize": nil})
	c.Status(id, "ACTIVE")
	c.Wait("sagas end", func() bool { ok, err := c.Tasks.Idle(t.Context()); return ok && err == nil })
	close(goOn)
	if a := <-done; a.Code != 409 {
		t.Errorf("the rebuild: %d %s", a.Code, a.Text)
	}
	s, err := c.Store.Server(t.Context(), id)
	if err != nil || s.Spec.Flavor.VCPUs != 2 || s.VCPUs != 2 {
		t.Errorf("the server's flavor is %+v, %v", s.Spec.Flavor, err)
	}
}
