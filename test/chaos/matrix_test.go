package chaos

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"
)

// The crash matrix of a cloud whose parts run on machines of their own: at
// every step of every saga that has to do with a host, the agent of that host
// is killed; at every step of an evacuation the control node. TestCrashMatrix
// of test/e2e is the matrix of a cloud in one process, where all sagas die.

// converge is how long what was asked for may take after the killed process
// is ready again.
const converge = 10 * time.Second

// drill provokes one saga of a server.
type drill struct {
	saga, from string
	act        request // begins the saga; the path is below the server's
	then       string  // status; "": the server is gone
	control    bool    // kills the control node instead of the agent
	elsewhere  string  // who drills it, where this matrix does not
}

func action(body m) request {
	return request{method: http.MethodPost, path: "/action", in: body, header: [2]string{"OpenStack-API-Version", "compute 2.88"}}
}

func (t *tenant) drills() []drill {
	const os = "test/e2e: a guest without an operating system lets no interface go"
	return []drill{
		{saga: "server-build", then: "ACTIVE"},
		{saga: "server-power", from: "ACTIVE", act: action(m{"reboot": m{"type": "HARD"}}), then: "ACTIVE"},
		{saga: "server-snapshot", from: "ACTIVE", act: action(m{"createImage": m{"name": "snapshot"}}), then: "ACTIVE"},
		{saga: "server-rebuild", from: "ACTIVE", act: action(m{"rebuild": m{"imageRef": t.blank}}), then: "ACTIVE"},
		{saga: "server-resize", from: "ACTIVE", act: action(m{"resize": m{"flavorRef": t.flavor}}), then: "VERIFY_RESIZE"},
		{saga: "server-resize-revert", from: "VERIFY_RESIZE", act: action(m{"revertResize": nil}), then: "ACTIVE"},
		{saga: "server-resize-confirm", from: "VERIFY_RESIZE", act: action(m{"confirmResize": nil}), then: "ACTIVE"},
		{saga: "server-shelve", from: "ACTIVE", act: action(m{"shelve": nil}), then: "SHELVED_OFFLOADED"},
		{saga: "server-unshelve", from: "SHELVED_OFFLOADED", act: action(m{"unshelve": nil}), then: "ACTIVE"},
		{saga: "server-rescue", from: "ACTIVE", act: action(m{"rescue": nil}), then: "RESCUE"},
		{saga: "server-unrescue", from: "RESCUE", act: action(m{"unrescue": nil}), then: "ACTIVE"},
		{saga: "server-delete", from: "ACTIVE", act: request{method: http.MethodDelete}},
		{saga: "server-evacuate", from: "ACTIVE", act: action(m{"evacuate": m{}}), then: "ACTIVE", control: true},
		{saga: "interface-attach", elsewhere: os},
		{saga: "interface-detach", elsewhere: os},
		{saga: "image-import", elsewhere: "test/e2e: no host has to do with it"},
	}
}

// matrix is a run over all drills.
type matrix struct {
	*tenant
	control *node
	hosts   []*node
	trigger string
	serial  int
	slowest time.Duration
	at      string
	cases   int
}

// TestAgentMatrix kills the agent before and after every step of every saga.
func TestAgentMatrix(t *testing.T) {
	s := newSite(t, "TROPO_CHAOS")
	ctx := t.Context()
	c := newCloud(ctx, s, spec{nodes: []nodeSpec{
		{"c1", 11, []string{"control", "network", "storage"}}, {"h1", 21, []string{"compute"}}, {"h2", 22, []string{"compute"}},
	}})
	tn, err := newTenant(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	x := &matrix{tenant: tn, control: c.node("c1"), hosts: []*node{c.node("h1"), c.node("h2")}}
	x.trigger = filepath.Join(x.control.dir, "crash")
	x.control.env = []string{"TROPO_CRASH_AT=file:" + x.trigger}
	if err := x.switched(ctx); err != nil {
		t.Fatal(err)
	}
	// Guests that do not listen are ended soon: that is no part of recovery.
	x.control.args = append(x.control.args, "--set", "compute.shutdown_timeout=1")
	x.control.proc.kill()
	if err := x.control.restart(ctx); err != nil {
		t.Fatal(err)
	}
	steps, err := x.sagas(ctx)
	if err != nil {
		t.Fatal(err)
	}
	drills := x.drills()
	for _, name := range steps.names() {
		i := slices.IndexFunc(drills, func(d drill) bool { return d.saga == name })
		if i < 0 {
			t.Errorf("the saga %s is in no drill", name)
			continue
		}
		d := drills[i]
		if d.elsewhere != "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			for _, step := range steps[name] {
				for _, when := range []string{"before", "after"} {
					if err := x.run(ctx, d, name+"/"+step+"/"+when); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%d crashes; the slowest recovery took %s, after %s", x.cases, x.slowest.Round(10*time.Millisecond), x.at)
}

// switched waits until the network service knows the switch of every host.
func (x *matrix) switched(ctx context.Context) error {
	return until(ctx, 2*time.Minute, func(ctx context.Context) error {
		var list struct {
			Agents []struct {
				Host  string
				Alive bool
			}
		}
		err := x.c.get(ctx, networkPath+"/agents", &list)
		alive := map[string]bool{}
		for _, a := range list.Agents {
			alive[a.Host] = a.Alive
		}
		for _, h := range x.hosts {
			if err == nil && !alive[h.name] {
				err = fmt.Errorf("the network service does not know the switch of %s", h.name)
			}
		}
		return err
	})
}

type sagaSteps map[string][]string

func (s sagaSteps) names() []string {
	var out []string
	for n := range s {
		out = append(out, n)
	}
	sort.Strings(out)
	return out
}

// sagas asks the control node for the steps of its sagas.
func (x *matrix) sagas(ctx context.Context) (sagaSteps, error) {
	var list []string
	err := x.control.admin(ctx, "/sagas", &list)
	out := sagaSteps{}
	for _, l := range list {
		saga, step, _ := strings.Cut(l, "/")
		out[saga] = append(out[saga], step)
	}
	return out, err
}

// run lets one server live through a crash at the place.
func (x *matrix) run(ctx context.Context, d drill, place string) error {
	x.serial++
	name := fmt.Sprintf("m%d", x.serial)
	var id string
	var err error
	if d.saga != "server-build" {
		if id, err = x.boot(ctx, name); err == nil {
			err = x.bring(ctx, id, d.from)
		}
		if err != nil {
			return fmt.Errorf("%s: prepare: %w", place, err)
		}
	}
	victim, begin, err := x.strike(ctx, d, name, &id, place)
	if err != nil {
		return fmt.Errorf("%s: %w", place, err)
	}
	if err := x.settled(ctx, d, id); err != nil {
		return fmt.Errorf("killed %s at %s: %w", victim.name, place, err)
	}
	took := time.Since(begin)
	x.c.t.Logf("%-36s %s killed, recovered %5.2f s after it was ready", place, victim.name, took.Seconds())
	if x.cases++; took > x.slowest {
		x.slowest, x.at = took, place
	}
	if took > converge {
		return fmt.Errorf("killed at %s, recovery took %s; at most %s", place, took, converge)
	}
	if err := x.c.diagnose(ctx, x.control); err != nil {
		return fmt.Errorf("%s: %w", place, err)
	}
	return x.tidy(ctx, id)
}

// strike begins the saga, has the victim killed at the place, and starts it
// again; it returns when that is ready, and since when.
func (x *matrix) strike(ctx context.Context, d drill, name string, id *string, place string) (*node, time.Time, error) {
	victim, err := x.victim(ctx, d, *id)
	if err != nil {
		return nil, time.Time{}, err
	}
	if d.saga == "server-evacuate" { // its host must be down for it
		took, err := x.evacuate(ctx, d, *id, place)
		return victim, time.Now().Add(-took), err
	}
	word := fmt.Sprintf("kill %s %d", place, victim.proc.cmd.Process.Pid)
	if err := os.WriteFile(x.trigger, []byte(word), 0o600); err != nil {
		return nil, time.Time{}, err
	}
	if d.saga == "server-build" {
		*id, err = x.ask(ctx, name, victim.name)
	} else {
		r := d.act
		r.path = computePath + "/servers/" + *id + r.path
		err = x.c.do(ctx, r)
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	select {
	case <-victim.proc.done:
	case <-time.After(time.Minute):
		return nil, time.Time{}, fmt.Errorf("%s was not killed", victim.name)
	}
	if err := victim.restart(ctx); err != nil {
		return nil, time.Time{}, err
	}
	return victim, time.Now(), nil
}

// evacuate has the server's host die and the control node killed on the way,
// and tells how long the rest took from when that was ready again.
func (x *matrix) evacuate(ctx context.Context, d drill, id, place string) (time.Duration, error) {
	s, err := x.c.server(ctx, id)
	if err != nil {
		return 0, err
	}
	dead := x.c.node(s.Host)
	dead.proc.kill()
	if err := x.down(ctx, dead.name, true); err != nil {
		return 0, err
	}
	if err := os.WriteFile(x.trigger, []byte("kill "+place), 0o600); err != nil {
		return 0, err
	}
	r := d.act
	r.path = computePath + "/servers/" + id + r.path
	sent := make(chan error, 1)
	go func() { sent <- x.c.do(ctx, r) }() // its answer may be lost; it is asked again
	select {
	case <-x.control.proc.done:
	case <-time.After(time.Minute):
		return 0, fmt.Errorf("c1 was not killed at %s", place)
	}
	if err := x.control.restart(ctx); err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := <-sent; err != nil && code(err) != http.StatusConflict { // asked twice, done once
		return 0, err
	}
	if err := x.settled(ctx, d, id); err != nil {
		return 0, err
	}
	took := time.Since(begin)
	if err := dead.restart(ctx); err != nil {
		return 0, err
	}
	return took, x.down(ctx, dead.name, false)
}

// down tells compute that a host is, or is no longer, surely dead.
func (x *matrix) down(ctx context.Context, host string, down bool) error {
	var list struct{ Services []struct{ ID string } }
	v := [2]string{"OpenStack-API-Version", "compute 2.53"}
	if err := x.c.do(ctx, request{method: http.MethodGet, path: computePath + "/os-services?binary=nova-compute&host=" + host, out: &list, header: v}); err != nil {
		return err
	}
	if len(list.Services) != 1 {
		return fmt.Errorf("%d services on %s", len(list.Services), host)
	}
	return x.c.do(ctx, request{method: http.MethodPut, path: computePath + "/os-services/" + list.Services[0].ID, in: m{"forced_down": down}, header: v})
}

// victim is whose process is killed: the agent of the server's host, or of the
// one that the server will be on.
func (x *matrix) victim(ctx context.Context, d drill, id string) (*node, error) {
	if d.control {
		return x.control, nil
	}
	if id == "" || d.from == "SHELVED_OFFLOADED" {
		return x.hosts[0], nil
	}
	s, err := x.c.server(ctx, id)
	if err != nil {
		return nil, err
	}
	return x.c.node(s.Host), nil
}

func (x *matrix) ask(ctx context.Context, name, host string) (string, error) {
	in := m{"name": name, "imageRef": x.blank, "flavorRef": x.tiny, "networks": []m{{"uuid": x.private}}}
	if host != "" {
		in["availability_zone"] = "nova:" + host
	}
	var out struct{ Server made }
	err := x.c.create(ctx, computePath+"/servers", m{"server": in}, &out)
	return out.Server.ID, err
}

func (x *matrix) boot(ctx context.Context, name string) (string, error) {
	id, err := x.ask(ctx, name, "")
	if err != nil {
		return "", err
	}
	return id, x.c.active(ctx, id)
}

// bring leads a fresh server to where a saga begins.
func (x *matrix) bring(ctx context.Context, id, status string) error {
	var r request
	switch status {
	case "VERIFY_RESIZE":
		r = action(m{"resize": m{"flavorRef": x.flavor}})
	case "SHELVED_OFFLOADED":
		r = action(m{"shelve": nil})
	case "RESCUE":
		r = action(m{"rescue": nil})
	default:
		return nil
	}
	r.path = computePath + "/servers/" + id + r.path
	if err := x.c.do(ctx, r); err != nil {
		return err
	}
	return x.settled(ctx, drill{then: status}, id)
}

// settled waits until what the drill asked for is there.
func (x *matrix) settled(ctx context.Context, d drill, id string) error {
	return until(ctx, time.Minute, func(ctx context.Context) error {
		s, err := x.c.server(ctx, id)
		switch {
		case code(err) == http.StatusNotFound && d.then == "":
			return nil
		case err != nil:
			return err
		case s.Status == "ERROR":
			return finalError{fmt.Errorf("the server is in ERROR: %s", s.Fault.Message)}
		case s.Status != d.then || s.Task != "":
			return fmt.Errorf("the server is %s (%s), not %s", s.Status, s.Task, d.then)
		}
		return nil
	})
}

// tidy removes the server and what its drill made.
func (x *matrix) tidy(ctx context.Context, id string) error {
	if err := x.c.remove(ctx, computePath+"/servers/"+id); err != nil {
		return err
	}
	if err := x.settled(ctx, drill{}, id); err != nil {
		return err
	}
	var list struct{ Images []made }
	if err := x.c.get(ctx, imagePath+"/images?name=snapshot", &list); err != nil {
		return err
	}
	for _, i := range list.Images {
		if err := x.c.remove(ctx, imagePath+"/images/"+i.ID); err != nil {
			return err
		}
	}
	return nil
}
