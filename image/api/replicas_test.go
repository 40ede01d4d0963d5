package api_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tropocloud/tropo/config"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/image"
	"github.com/tropocloud/tropo/image/api"
	"github.com/tropocloud/tropo/image/driver"
	"github.com/tropocloud/tropo/image/driver/memory"
	"github.com/tropocloud/tropo/image/manager"
	"github.com/tropocloud/tropo/image/peer"
	"github.com/tropocloud/tropo/image/store"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/task"
)

// node is a control node with a disk of its own.
type node struct {
	*service
	url  string
	down *atomic.Bool // refuses its peers
}

// control starts a control node over the cloud's database and a disk.
func control(t *testing.T, d *db.DB, name string, disk driver.Driver) *node {
	t.Helper()
	var c image.Config
	if err := config.Load(&c, config.Sources{}); err != nil {
		t.Fatal(err)
	}
	st, err := store.New(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	e, err := task.New(t.Context(), d, task.Options{Owner: name})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{down: &atomic.Bool{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.down.Load() {
			http.Error(w, "away", http.StatusServiceUnavailable)
			return
		}
		n.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	n.url = server.URL
	m, err := manager.New(t.Context(), manager.Options{
		Store: st, Drivers: map[string]driver.Driver{"file": disk}, Default: "file", Config: c, Engine: e, Host: name,
		Replicas: &manager.Replicas{URL: n.url, Peer: func(to image.Node) manager.Peer {
			return &peer.HTTP{URL: to.URL, Client: server.Client(), Token: func(context.Context) (string, error) { return "admin", nil }}
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	enforcer, err := policy.NewEnforcer(api.Policy(), policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := api.New(api.Options{Manager: m, Validator: tokens{}, Enforcer: enforcer})
	if err != nil {
		t.Fatal(err)
	}
	n.service = &service{API: a, t: t, store: st, data: disk, manager: m, engine: e}
	n.lives(true)
	return n
}

// lives gives a sign of life, or lets the node have given none for long.
func (n *node) lives(yes bool) {
	n.t.Helper()
	n.down.Store(!yes)
	at := db.Now().Add(time.Hour) // nobody gives further signs
	if !yes {
		at = db.Now().Add(-time.Hour)
	}
	host := n.name()
	if err := n.store.SeeNode(n.t.Context(), image.Node{Name: host, URL: n.url, SeenAt: at}); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) name() string { return n.manager.Host() }

func (n *node) keys() int {
	n.t.Helper()
	keys, err := n.data.Keys(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	return len(keys)
}

func (n *node) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// has demands that a node gives an image's data.
func (n *node) has(path string, data []byte) {
	n.t.Helper()
	got := n.want(200, "alice", "GET", path+"/file", nil)["text"]
	if got != string(data) {
		n.t.Errorf("%s gives %d bytes, want %d", n.name(), len(got.(string)), len(data))
	}
}

// TestImagesOutliveANode loses each node of two, and lets a new one in.
func TestImagesOutliveANode(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		a, b := control(t, d, "a", memory.New()), control(t, d, "b", memory.New())
		data := random(300 << 10)
		path := a.make(nil)
		a.want(204, "alice", "PUT", path+"/file", bytes.NewReader(data))
		if a.keys() != 1 || b.keys() != 1 {
			t.Fatalf("the nodes have %d and %d copies", a.keys(), b.keys())
		}
		a.lives(false)
		b.has(path, data)
		// The third node has to make itself a copy before it can answer.
		c := control(t, d, "c", memory.New())
		c.has(path, data)
		// Deleted while one node is away: it deletes when it is back.
		c.want(204, "alice", "DELETE", path, nil)
		b.must(b.manager.Recover(t.Context()))
		if b.keys() != 0 || c.keys() != 0 || a.keys() != 1 {
			t.Errorf("after the deletion there are %d, %d and %d copies", a.keys(), b.keys(), c.keys())
		}
		again := control(t, d, "a", a.data)
		if again.keys() != 0 {
			t.Error("the node that was away kept the data")
		}
		again.clean()
	})
}

// TestUploadWaitsForASecondNode: with the other node dead one copy is all there
// can be; it is made good when the node returns.
func TestUploadWaitsForASecondNode(t *testing.T) {
	d := dbtest.New(t)
	a, b := control(t, d, "a", memory.New()), control(t, d, "b", memory.New())
	b.lives(false)
	data := random(5000)
	path := a.make(nil)
	a.want(204, "alice", "PUT", path+"/file", bytes.NewReader(data))
	if b.keys() != 0 {
		t.Fatal("a dead node took the data")
	}
	b.lives(true)
	for _, n := range []*node{a, b} {
		n.must(n.manager.Fill(t.Context()))
	}
	a.lives(false)
	b.has(path, data)
	// A node that lives but does not answer holds the upload up until it
	// counts as dead.
	a.lives(true)
	a.down.Store(true)
	path = b.make(nil)
	dead := make(chan struct{})
	time.AfterFunc(100*time.Millisecond, func() {
		defer close(dead)
		a.lives(false)
	})
	b.want(204, "alice", "PUT", path+"/file", bytes.NewReader(data))
	<-dead
}

// TestStagedElsewhere imports on one node what was staged on another one.
func TestStagedElsewhere(t *testing.T) {
	d := dbtest.New(t)
	a, b := control(t, d, "a", memory.New()), control(t, d, "b", memory.New())
	b.lives(false)
	data := random(5000)
	path := a.make(nil)
	a.want(204, "alice", "PUT", path+"/stage", bytes.NewReader(data))
	a.want(202, "alice", "POST", path+"/import", object{"method": object{"name": "glance-direct"}})
	b.lives(true)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = b.engine.Run(ctx) // ends with the context
	}()
	defer func() { cancel(); <-ended }()
	b.await(path, func(o object) bool { return o["status"] == "active" })
	b.has(path, data)
}

// TestAudit compares files with rows: what a node has from before, what it lost,
// what is nobody's, and what is not what it was.
func TestAudit(t *testing.T) {
	d := dbtest.New(t)
	disk := memory.New()
	first := open(t, d, disk, newService(t, dbtest.New(t), nil).manager.Config()) // the only node so far
	data := random(5000)
	path := first.make(nil)
	first.want(204, "alice", "PUT", path+"/file", bytes.NewReader(data))
	put := func(key string, text []byte) {
		w, err := disk.Create(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	put("00000000-0000-4000-8000-000000000001", []byte("nobody's"))
	a := control(t, d, "a", disk)
	a.must(a.manager.Audit(t.Context()))
	if a.keys() != 1 {
		t.Errorf("%d files, want the image's", a.keys())
	}
	b := control(t, d, "b", memory.New())
	b.must(b.manager.Fill(t.Context()))
	if b.keys() != 1 {
		t.Fatal("the new node has no copy")
	}
	// The first node's disk is replaced.
	a = control(t, d, "a", memory.New())
	a.must(a.manager.Audit(t.Context()))
	a.has(path, data)
	// Its file rots: it is not taken for a copy when nobody noted it.
	i, err := a.store.Image(t.Context(), strings.TrimPrefix(path, "/v2/images/"))
	a.must(err)
	a.must(a.store.DropLocation(t.Context(), i.DataKey, "a"))
	disk = memory.New()
	put(i.DataKey, []byte("rot"))
	a = control(t, d, "a", disk)
	a.must(a.manager.Audit(t.Context()))
	if a.keys() != 0 {
		t.Error("a damaged file is kept")
	}
	a.has(path, data)
}
