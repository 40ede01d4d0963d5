package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"
)

// whole makes the crash matrix as large as it gets: every crash is recovered
// from by itself, all variants of a saga, and all ways back. Without it one
// saga dies at each of its places in turn, going on in between.
func whole() bool { return os.Getenv("TROPO_CHAOS") != "" }

// converge is how long what was asked for may take after a restart.
const converge = 10 * time.Second

// sagas is what a running process tells of its sagas' steps, by saga.
func (c *cloud) sagas() map[string][]string {
	c.t.Helper()
	out := map[string][]string{}
	for _, s := range c.sagaSteps() {
		saga, step, _ := strings.Cut(s, "/")
		out[saga] = append(out[saga], step)
	}
	return out
}

// matrix kills the process at the places of sagas.
type matrix struct {
	*drills
	slowest   time.Duration
	slowestAt string
	restarts  int
}

// TestCrashMatrix ends the process by SIGKILL before and after every step of
// every saga, forwards and, by deleting the server meanwhile, backwards; starts
// it again, and expects what was asked for within 10 s of the restart, and a
// doctor who finds nothing. The sagas are what the process tells; one that the
// table of drills does not know fails the test.
func TestCrashMatrix(t *testing.T) {
	c := newCloud(t)
	// Guests that do not listen are ended soon: how long they may take is no
	// part of recovery. To probe for KVM takes longer than to start.
	c.flags = []string{"--set", "compute.shutdown_timeout=1", "--set", "DEFAULT.accelerator=tcg"}
	trigger := filepath.Join(c.dir, "crash")
	env := "TROPO_CRASH_AT=file:" + trigger
	c.up(env)
	x := &matrix{drills: newDrills(c, trigger, env)}
	steps := c.sagas()
	list := x.table()
	for _, name := range sortedKeys(steps) {
		if !slices.ContainsFunc(list, func(d drill) bool { return d.saga == name }) {
			t.Errorf("the saga %s is in no drill: say in drills_test.go how it is provoked through the API", name)
		}
	}
	for _, d := range list {
		if len(steps[d.saga]) == 0 {
			t.Errorf("the drill %s is for a saga that there is not", d.name)
		}
		if d.elsewhere != "" || d.rare && !whole() {
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			c.t = t
			x.forwards(d, steps[d.saga])
			if !t.Failed() && d.back && (whole() || d.saga == "server-build") {
				x.backwards(d, steps[d.saga])
			}
		})
		c.t = t
		if t.Failed() {
			return
		}
	}
	x.clear()
	x.healthy("at the end")
	c.until("nothing is left: "+strings.Join(c.leaks(), "; "), time.Minute, func() bool { return len(c.leaks()) == 0 })
	t.Logf("%d restarts; the slowest recovery took %s, after %s", x.restarts, x.slowest.Round(10*time.Millisecond), x.slowestAt)
	c.stop()
}

func sortedKeys(m map[string][]string) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

// places are where a saga may be hit on its way forwards or backwards.
func places(saga string, steps []string, backwards bool) []string {
	var out []string
	for _, s := range steps {
		out = append(out, saga+"/"+s+"/before", saga+"/"+s+"/after")
	}
	if !backwards {
		return out
	}
	out = nil
	for _, s := range slices.Backward(steps) {
		out = append(out, saga+"/"+s+"/undo-before", saga+"/"+s+"/undo-after")
	}
	return out
}

// forwards kills a saga at each place on its way: one saga at all of them, or
// in the whole matrix a saga for each.
func (x *matrix) forwards(d drill, steps []string) {
	all := places(d.saga, steps, false)
	if whole() {
		for _, p := range all {
			d.from()
			x.arm("kill " + p)
			d.act()
			x.recovered(d, p)
		}
		return
	}
	d.from()
	x.arm("kill " + all[0])
	d.act()
	for i, p := range all {
		x.dies(p)
		if i+1 < len(all) {
			x.arm("kill " + all[i+1])
			x.relaunch() // to die there, maybe while it starts
		}
	}
	x.restart()
	x.settled(d, all[len(all)-1], d.done)
}

// recovered sees the process die at the place and start again.
func (x *matrix) recovered(d drill, place string) {
	x.t().Helper()
	x.dies(place)
	x.restart()
	x.settled(d, place, d.done)
}

// backwards deletes the server while the saga is at its last step, and kills it
// at each place on its way back.
func (x *matrix) backwards(d drill, steps []string) {
	x.t().Helper()
	back := places(d.saga, steps, true)
	sets := [][]string{back}
	if whole() {
		sets = nil
		for _, p := range back {
			sets = append(sets, []string{p})
		}
	}
	last := d.saga + "/" + steps[len(steps)-1] + "/before"
	for _, set := range sets {
		d.from()
		x.arm("hold " + last)
		answered := make(chan struct{})
		go func() { // some requests wait for the saga
			defer close(answered)
			d.act()
		}()
		x.c.until("the saga is at "+last, 5*time.Minute, func() bool { return x.at(d, steps[len(steps)-1]) })
		if d.saga == "server-build" {
			x.id = x.named("s")
		}
		id := x.id
		x.c.call(x.c.compute, "DELETE", "servers/"+id, nil, nil)
		x.arm("kill " + set[0])
		for i, p := range set {
			x.dies(p)
			if i+1 < len(set) {
				x.arm("kill " + set[i+1])
				x.relaunch()
			}
		}
		x.restart()
		<-answered
		x.settled(d, set[len(set)-1], func() bool {
			return x.c.call(x.c.compute, "GET", "servers/"+id, nil, nil, 200, 404) == 404
		})
		x.id = ""
		x.c.until("nothing is left: "+strings.Join(x.c.leaks(), "; "), time.Minute, func() bool { return len(x.c.leaks()) == 0 })
	}
}

// arm writes what shall happen at which place.
func (x *matrix) arm(what string) {
	x.t().Helper()
	if err := os.Remove(x.trigger + ".held"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		x.t().Fatal(err)
	}
	if err := os.WriteFile(x.trigger+".new", []byte(what+"\n"), 0o600); err != nil {
		x.t().Fatal(err)
	}
	if err := os.Rename(x.trigger+".new", x.trigger); err != nil {
		x.t().Fatal(err)
	}
}

// dies waits until the process has ended.
func (x *matrix) dies(place string) {
	x.t().Helper()
	select {
	case <-x.c.exited:
		x.c.exited = nil
	case <-time.After(5 * time.Minute):
		x.t().Fatalf("the process did not reach %s", place)
	}
}

// relaunch starts the process to die at the armed place.
func (x *matrix) relaunch() {
	x.t().Helper()
	x.restarts++
	x.c.start(x.env)
}

// restart starts the process to stay.
func (x *matrix) restart() {
	x.t().Helper()
	x.restarts++
	x.began = time.Now()
	x.c.up(x.env)
}

// settled waits for what was asked for and prints how long it took since the
// restart, and has the doctor look.
func (x *matrix) settled(d drill, place string, done func() bool) {
	x.t().Helper()
	for !done() {
		if time.Since(x.began) > converge+time.Minute {
			x.t().Fatalf("killed at %s, the cloud does not recover: %s", place, x.state())
		}
		time.Sleep(50 * time.Millisecond) // polls a real process from outside
	}
	took := time.Since(x.began)
	x.t().Logf("%-44s recovered %5.2f s after the restart", place, took.Seconds())
	if took > converge {
		x.t().Errorf("killed at %s, recovery took %s; at most %s", place, took, converge)
	}
	if took > x.slowest {
		x.slowest, x.slowestAt = took, place
	}
	x.healthy("after a crash at " + place)
	if d.after != nil {
		d.after()
	}
}

// healthy has the doctor look; what was just changed counts as work under way,
// so he waits a moment first.
func (x *matrix) healthy(when string) {
	x.t().Helper()
	time.Sleep(2100 * time.Millisecond)
	out, err := exec.Command(os.Getenv("TROPO_BIN"), "doctor", "--json", "--state", x.c.dir).CombinedOutput()
	if err != nil {
		x.t().Errorf("tropo doctor %s: %v\n%s", when, err, out)
	}
}

// at reports whether the saga waits at a step, as its state of the row tells.
func (x *matrix) at(d drill, step string) bool {
	b, err := os.ReadFile(x.trigger + ".held")
	return err == nil && strings.TrimSpace(string(b)) == d.saga+"/"+step+"/before"
}

// state says for a failure what the server is.
func (x *matrix) state() string {
	var s json.RawMessage
	_, err := x.c.try(x.c.compute, "GET", "servers/"+x.id, nil, &s)
	return fmt.Sprintf("%s %v", s, err)
}
