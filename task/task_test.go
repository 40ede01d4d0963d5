package task_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/task"
)

type state struct{ Done []string }

// world records what the steps did, in order.
type world struct {
	mu  sync.Mutex
	log []string
}

func (w *world) add(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, s)
}

func (w *world) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.log)
}

func (w *world) saga(fail map[string]error) task.Saga[state] {
	s := task.Saga[state]{Name: "make", Failed: func(_ context.Context, _ *state, cause error) error {
		w.add("failed: " + cause.Error())
		return nil
	}}
	for _, n := range []string{"a", "b", "c"} {
		s.Steps = append(s.Steps, task.Step[state]{
			Name: n,
			Do: func(_ context.Context, st *state) error {
				w.add("do " + n)
				st.Done = append(st.Done, n)
				err := fail[n]
				return err
			},
			Undo: func(context.Context, *state) error { w.add("undo " + n); return nil },
		})
	}
	return s
}

// run starts an engine and returns what stops it.
func run(t *testing.T, d *db.DB, o task.Options, s task.Saga[state]) (*task.Engine, func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	e, err := task.New(ctx, d, o)
	if err != nil {
		t.Fatal(err)
	}
	task.Register(e, s)
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	return e, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// idle waits until no saga is left.
func idle(t *testing.T, e *task.Engine) {
	t.Helper()
	for limit := time.Now().Add(time.Minute); time.Now().Before(limit); {
		ok, err := e.Idle(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			return
		}
		time.Sleep(time.Millisecond) // fake time inside synctest
	}
	t.Fatal("sagas do not end")
}

func check(t *testing.T, w *world, want ...string) {
	t.Helper()
	if got := w.all(); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestSagaRunsAndUndoes(t *testing.T) {
	for _, tt := range []struct {
		name string
		fail map[string]error
		want []string
	}{
		{"success", nil, []string{"do a", "do b", "do c"}},
		{"failure undoes the failed step too", map[string]error{"b": fault.Conflictf("no")}, []string{"do a", "do b", "undo b", "undo a", "failed: no"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *db.DB) {
				w := &world{}
				e, stop := run(t, d, task.Options{Owner: "n1"}, w.saga(tt.fail))
				defer stop()
				if err := d.Tx(context.Background(), func(ctx context.Context) error {
					return task.Start(ctx, e, "make", "obj", state{})
				}); err != nil {
					t.Fatal(err)
				}
				idle(t, e)
				check(t, w, tt.want...)
			})
		})
	}
}

func TestTransientErrorsAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := &world{}, 0
		s := w.saga(nil)
		s.Steps[1].Do = func(context.Context, *state) error {
			if n++; n < 4 {
				return fault.Unavailablef("later")
			}
			w.add("do b at last")
			return nil
		}
		d := dbtest.New(t)
		e, stop := run(t, d, task.Options{Owner: "n1"}, s)
		defer stop()
		if err := task.Start(context.Background(), e, "make", "obj", state{}); err != nil {
			t.Fatal(err)
		}
		idle(t, e)
		check(t, w, "do a", "do b at last", "do c")
	})
}

func TestPatienceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		s := w.saga(map[string]error{"a": fault.Unavailablef("down")})
		s.Steps[0].Patience = time.Second
		e, stop := run(t, dbtest.New(t), task.Options{Owner: "n1"}, s)
		defer stop()
		if err := task.Start(context.Background(), e, "make", "obj", state{}); err != nil {
			t.Fatal(err)
		}
		idle(t, e)
		if got := w.all(); got[len(got)-1] != "failed: down" || len(got) < 4 {
			t.Errorf("got %q", got)
		}
	})
}

func TestCancelUndoesAndLetsTheNextRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		s := w.saga(nil)
		s.Steps[1].Do = func(context.Context, *state) error { w.add("wait"); return task.Later(time.Hour) }
		e, stop := run(t, dbtest.New(t), task.Options{Owner: "n1"}, s)
		defer stop()
		ctx := context.Background()
		if err := task.Start(ctx, e, "make", "obj", state{}); err != nil {
			t.Fatal(err)
		}
		for !slices.Contains(w.all(), "wait") {
			time.Sleep(time.Millisecond)
		}
		if err := e.Cancel(ctx, "obj"); err != nil {
			t.Fatal(err)
		}
		idle(t, e)
		check(t, w, "do a", "wait", "undo b", "undo a", "failed: cancelled by a later request")
	})
}

// TestResumesAfterCrash ends the "process" before and after every step by a
// panic-free cut: the hook blocks for ever, the engine is abandoned, and a
// second engine of the same owner takes over.
func TestResumesAfterCrash(t *testing.T) {
	for _, w := range []task.When{task.Before, task.After} {
		for _, step := range []string{"a", "b", "c"} {
			t.Run(string(w)+" "+step, func(t *testing.T) {
				d := dbtest.New(t)
				first := &world{}
				hit, release := make(chan struct{}), make(chan struct{})
				var once sync.Once
				hook := func(_, s string, _ bool, at task.When) {
					if s == step && at == w {
						once.Do(func() { close(hit) })
						<-release
					}
				}
				e, stop := run(t, d, task.Options{Owner: "n1", Hook: hook}, first.saga(nil))
				if err := task.Start(context.Background(), e, "make", "obj", state{}); err != nil {
					t.Fatal(err)
				}
				<-hit
				second := &world{}
				e2, stop2 := run(t, d, task.Options{Owner: "n1"}, second.saga(nil))
				idle(t, e2)
				got := second.all()
				if got[0] != "do "+step || got[len(got)-1] != "do c" {
					t.Errorf("after the crash: %q", got)
				}
				stop2()
				close(release) // the dead process cannot move the saga any more
				stop()
			})
		}
	}
}

func TestLeaseTakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := dbtest.New(t)
		w := &world{}
		block := make(chan struct{})
		s := w.saga(nil)
		s.Steps[0].Do = func(context.Context, *state) error { <-block; return errors.New("never") }
		e1, stop1 := run(t, d, task.Options{Owner: "n1", Lease: 24 * time.Hour}, s)
		if err := task.Start(context.Background(), e1, "make", "obj", state{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		// n1 dies: its lease runs out without being renewed.
		if _, err := db.Exec(context.Background(), d, "UPDATE sagas SET lease_until = ?", db.Now().Add(5*time.Second)); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		e2, stop2 := run(t, d, task.Options{Owner: "n2"}, w.saga(nil))
		idle(t, e2)
		if took := time.Since(start); took < 5*time.Second || took > 10*time.Second {
			t.Errorf("taken over after %v", took)
		}
		check(t, w, "do a", "do b", "do c")
		stop2()
		close(block)
		stop1()
	})
}

func TestJobsRunUnderOneLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := dbtest.New(t)
		var mu sync.Mutex
		runs := map[string]int{}
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for _, owner := range []string{"n1", "n2"} {
			e, err := task.New(ctx, d, task.Options{Owner: owner})
			if err != nil {
				t.Fatal(err)
			}
			e.Every("j", time.Minute, func(context.Context) error {
				mu.Lock()
				defer mu.Unlock()
				runs[owner]++
				return nil
			})
			wg.Go(func() { _ = e.Run(ctx) })
		}
		time.Sleep(30 * time.Minute)
		cancel()
		wg.Wait()
		if n := runs["n1"] + runs["n2"]; n < 20 || n > 40 {
			t.Errorf("ran %d times in 30 minutes: %v", n, runs)
		}
	})
}
