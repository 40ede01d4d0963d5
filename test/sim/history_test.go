package sim

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// nets are the networks that every history begins with.
type nets struct{ private, public string }

// genesis is what every history begins with: databases with flavors, networks
// and hosts, as files.
type genesis struct {
	files map[string][]byte
	nets  nets
	age   time.Duration
}

const maxHosts = 3

// prepare makes the genesis by the services themselves.
func prepare(t *testing.T) *genesis {
	t.Helper()
	dir, err := scratch()
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	g := &genesis{files: map[string][]byte{}}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := newWorld(t, &plan{}, dir)
		w.calm.Store(true)
		func() {
			defer w.close()
			w.begin(t, 1, maxHosts)
			g.nets = w.furnish(t)
		}()
		g.age = time.Since(start)
	})
	for _, s := range services {
		if g.files[s], err = os.ReadFile(filepath.Join(dir, s+".db")); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

// begin starts the processes.
func (w *world) begin(t *testing.T, controls, hosts int) {
	t.Helper()
	for i := range controls {
		c := &control{w: w, name: fmt.Sprintf("c%d", i+1)}
		w.controls = append(w.controls, c)
	}
	for i := range hosts {
		h, err := w.newMachine(fmt.Sprintf("h%d", i+1))
		if err != nil {
			t.Fatal(err)
		}
		w.hosts = append(w.hosts, h)
	}
	for _, c := range w.controls {
		if err := c.start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range w.hosts {
		if err := h.start(); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		ready := rowsOf[int](w, "compute", "SELECT count(*) FROM nodes WHERE synced")[0]
		wired := rowsOf[int](w, "network", "SELECT count(*) FROM agents WHERE last_seen > ?", time.Now().Unix()-60)[0]
		if ready >= hosts && wired >= hosts {
			return
		}
		time.Sleep(time.Second)
	}
	t.Fatal("the hosts do not come up")
}

// furnish makes flavors and networks.
func (w *world) furnish(t *testing.T) nets {
	t.Helper()
	ctx := context.Background()
	ask := func(token, method, path string, body any, keys ...string) string {
		u := &user{w: w, token: token, id: "genesis"}
		code, out := u.ask(ctx, method, path, body)
		if code >= 300 {
			t.Fatalf("%s %s: %d %v", method, path, code, out)
		}
		return text(out, keys...)
	}
	for i, f := range []doc{{"ram": 512, "vcpus": 1, "disk": 1}, {"ram": 1024, "vcpus": 2, "disk": 2}, {"ram": 2048, "vcpus": 3, "disk": 2}} {
		f["id"], f["name"] = fmt.Sprint(i+1), fmt.Sprint("f", i+1)
		ask(tokenAdmin, "POST", "/compute/v2.1/flavors", doc{"flavor": f})
	}
	const v2 = "/networking/v2.0/"
	private := ask(member(0), "POST", v2+"networks", doc{"network": doc{"name": "private"}}, "network", "id")
	sub := ask(member(0), "POST", v2+"subnets", doc{"subnet": doc{"network_id": private, "ip_version": 4, "cidr": "10.0.0.0/28"}}, "subnet", "id")
	public := ask(tokenAdmin, "POST", v2+"networks", doc{"network": doc{"name": "public", "router:external": true}}, "network", "id")
	ask(tokenAdmin, "POST", v2+"subnets", doc{"subnet": doc{"network_id": public, "ip_version": 4, "cidr": "198.51.100.0/29", "enable_dhcp": false}})
	router := ask(member(0), "POST", v2+"routers", doc{"router": doc{"name": "router", "external_gateway_info": doc{"network_id": public}}}, "router", "id")
	ask(member(0), "PUT", v2+"routers/"+router+"/add_router_interface", doc{"subnet_id": sub})
	for range 100 {
		if n := rowsOf[int](w, "network", "SELECT count(*) FROM dirty"); n[0] == 0 {
			break
		}
		time.Sleep(time.Second)
	}
	return nets{private, public}
}

// result is what the summary tells of a history.
type result struct {
	seed        uint64
	ops, faults int
	rest        time.Duration // from the last fault until all was at rest
	bad         finding
}

// bounds of simulated time
const (
	restWithin  = 10 * time.Minute
	cleanWithin = 10 * time.Minute
)

// play runs the history of a seed in a bubble.
// told gets the result, also of a history that failed: synctest then ends the
// goroutine.
func (g *genesis) play(t *testing.T, seed uint64, told func(result)) {
	t.Helper()
	dir, err := scratch()
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for s, data := range g.files {
		if err := os.WriteFile(filepath.Join(dir, s+".db"), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(g.age + 5*time.Minute) // what began everything is over
		p := newPlan(seed)
		w := newWorld(t, p, dir)
		w.net = g.nets
		w.known.gone, w.known.unsure = map[string]bool{}, map[string]bool{}
		defer func() {
			w.close()
			told(result{seed, w.journal.ops, w.journal.faults, w.rested, w.bad})
			if len(w.bad) > 0 {
				t.Errorf("%v\n%s\n%v", p, w.journal, w.bad)
			} else if os.Getenv("SIM_PRINT") != "" {
				t.Logf("%v\n%s", p, w.journal)
			}
		}()
		w.history(t)
	})
}

func (w *world) history(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w.ctx = ctx
	w.begin(t, w.plan.Controls, w.plan.Hosts)
	var wg sync.WaitGroup
	for _, e := range w.plan.Events {
		wg.Go(func() {
			if sleep(ctx, e.At) == nil {
				w.befall(ctx, e)
			}
		})
	}
	for i, ops := range w.plan.Users {
		wg.Go(func() {
			u := &user{w: w, n: i, token: member(i), id: fmt.Sprint(i)}
			for _, o := range ops {
				_ = sleep(ctx, o.Pause)
				u.do(ctx, o)
				w.wrong(w.always())
			}
		})
	}
	wg.Wait()
	w.peace(t)
	if w.bad = append(w.bad, w.until(restWithin, w.atRest)...); len(w.bad) > 0 {
		return
	}
	w.wrong(w.always())
	w.clean(ctx)
	w.bad = append(w.bad, w.until(cleanWithin, w.leaks)...)
}

func (w *world) wrong(f finding) {
	if len(f) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, text := range f {
		if !slices.Contains(w.bad, text) {
			w.journal.note("WRONG: %s", text)
			w.bad = append(w.bad, text)
		}
	}
}

// befall makes an event of the plan happen.
func (w *world) befall(ctx context.Context, e event) {
	c, h := w.controls[e.Who%len(w.controls)], w.hosts[e.Who%len(w.hosts)]
	switch e.Kind {
	case "crash control":
		c.mu.Lock()
		p := c.now
		c.mu.Unlock()
		p.kill("for " + e.For.String())
		_ = sleep(ctx, e.For)
		if err := c.start(); err != nil {
			w.t.Errorf("start %s: %v", c.name, err)
		}
	case "crash agent":
		h.kill("for " + e.For.String())
		_ = sleep(ctx, e.For)
		if err := h.start(); err != nil {
			w.t.Errorf("start the agent of %s: %v", h.name, err)
		}
	case "cut":
		w.journal.fault("%s is cut off for %v", h.name, e.For)
		h.cut.Store(true)
		_ = sleep(ctx, e.For)
		h.cut.Store(false)
		w.journal.note("      %s is back", h.name)
	case "power":
		w.journal.fault("%s loses power for %v", h.name, e.For)
		h.kill("by a power failure")
		for id, state := range h.guests() {
			w.die(h, id, state)
		}
		if e.Who/100%2 == 0 {
			w.evacuate(ctx, h)
			defer w.force(ctx, h, false)
		}
		_ = sleep(ctx, e.For)
		if err := h.start(); err != nil {
			w.t.Errorf("start the agent of %s: %v", h.name, err)
		}
	case "guest":
		for id, state := range h.guests() {
			w.die(h, id, state)
			return
		}
	}
}

// operator is an administrator who does something about events.
func (w *world) operator() *user { return &user{w: w, n: 9, token: tokenAdmin, id: "operator"} }

// force says that a host is down, or that it is not any more.
func (w *world) force(ctx context.Context, h *machine, down bool) {
	u := w.operator()
	_, out := u.ask(ctx, http.MethodGet, "/compute/v2.1/os-services?binary=nova-compute&host="+h.name, nil)
	list, _ := out["services"].([]any)
	if len(list) == 1 {
		s, _ := list[0].(doc)
		u.tell(ctx, http.MethodPut, "/compute/v2.1/os-services/"+text(s, "id"), doc{"forced_down": down})
	}
}

// evacuate does what an operator does about a host that has surely died.
func (w *world) evacuate(ctx context.Context, h *machine) {
	w.force(ctx, h, true)
	for _, id := range rowsOf[string](w, "compute", "SELECT id FROM servers WHERE host = ? ORDER BY created_at", h.name) {
		w.operator().tell(ctx, http.MethodPost, "/compute/v2.1/servers/"+id+"/action", doc{"evacuate": doc{}})
	}
}

// die ends the process of a guest, if it has one.
func (w *world) die(h *machine, id, state string) {
	if state != "running" && state != "paused" {
		return
	}
	w.journal.fault("the guest of %s dies", id)
	w.disturb(id)
	_ = h.driver.Crash(id) // gone meanwhile: then it is dead
}

// disturb notes that a guest ended by itself, so that its server may be
// stopped.
func (w *world) disturb(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.upset == nil {
		w.upset = map[string]bool{}
	}
	w.upset[id] = true
}

func (w *world) disturbed(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.upset[id]
}

// after does something later, unless the history is over.
func (w *world) after(ms int, f func()) {
	w.later.Go(func() {
		if sleep(w.ctx, time.Duration(ms)*time.Millisecond) == nil {
			f()
		}
	})
}

// peace ends the faults: everything is started and connected.
func (w *world) peace(t *testing.T) {
	w.calm.Store(true)
	w.journal.note("the faults end")
	for _, h := range w.hosts {
		h.cut.Store(false)
	}
	time.Sleep(20 * time.Second) // those who were killed are started
	for _, c := range w.controls {
		if err := c.start(); err != nil {
			t.Errorf("start %s: %v", c.name, err)
		}
	}
	for _, h := range w.hosts {
		if err := h.start(); err != nil {
			t.Errorf("start %s: %v", h.name, err)
		}
	}
}

// until looks until nothing is wrong any more and returns what remains.
func (w *world) until(limit time.Duration, look func() finding) finding {
	begin := time.Now()
	for pause := 2 * time.Second; ; pause = min(2*pause, 20*time.Second) {
		f := look()
		if len(f) == 0 {
			w.rested = max(w.rested, time.Since(begin))
			return nil
		}
		if time.Since(begin) > limit {
			return f
		}
		time.Sleep(pause)
	}
}

// clean deletes everything that users made.
func (w *world) clean(ctx context.Context) {
	w.journal.note("everything is deleted")
	u := &user{w: w, token: tokenAdmin, id: "clean"}
	do := func(path string) {
		if code, out := u.ask(ctx, http.MethodDelete, path, nil); code >= 300 && code != http.StatusNotFound {
			w.wrong(finding{fmt.Sprintf("DELETE %s: %d %v", path, code, out)})
		}
	}
	for _, id := range rowsOf[string](w, "network", "SELECT id FROM floatingips") {
		do("/networking/v2.0/floatingips/" + id)
	}
	for _, id := range rowsOf[string](w, "compute", "SELECT id FROM servers") {
		do("/compute/v2.1/servers/" + id)
	}
	if f := w.until(cleanWithin, func() (f finding) {
		if n := rowsOf[string](w, "compute", "SELECT id FROM servers"); len(n) > 0 {
			f.add("servers are not deleted: %v", n)
		}
		return f
	}); len(f) > 0 {
		w.wrong(f)
		return
	}
	for _, id := range rowsOf[string](w, "network", "SELECT id FROM ports WHERE device_owner = ''") {
		do("/networking/v2.0/ports/" + id)
	}
}
