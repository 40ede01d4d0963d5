package task_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/task"
)

// until waits for a word in the log.
func until(t *testing.T, w *world, word string) {
	t.Helper()
	for range 100000 {
		if slices.Contains(w.all(), word) {
			return
		}
		time.Sleep(time.Millisecond) // fake time inside synctest
	}
	t.Fatalf("no %q in %q", word, w.all())
}

// TestEventsDuringAStep: a Nudge or Cancel that comes while a step runs must
// not be lost when the step then asks to be called an hour later.
func TestEventsDuringAStep(t *testing.T) {
	for name, tt := range map[string]struct {
		event func(context.Context, *task.Engine) error
		want  []string
	}{
		"nudge":  {func(ctx context.Context, e *task.Engine) error { return e.Nudge(ctx, "obj") }, []string{"do a", "look", "look", "do c"}},
		"cancel": {func(ctx context.Context, e *task.Engine) error { return e.Cancel(ctx, "obj") }, []string{"do a", "look", "undo b", "undo a", "failed: cancelled by a later request"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, ready := &world{}, atomic.Bool{}
				s := w.saga(nil)
				s.Steps[1].Do = func(context.Context, *state) error {
					w.add("look")
					if ready.Load() {
						return nil
					}
					time.Sleep(time.Second)
					return task.Later(time.Hour)
				}
				e, stop := run(t, dbtest.New(t), task.Options{Owner: "n1"}, s)
				defer stop()
				if err := task.Start(t.Context(), e, "make", "obj", state{}); err != nil {
					t.Fatal(err)
				}
				until(t, w, "look")
				time.Sleep(500 * time.Millisecond)
				ready.Store(true)
				if err := tt.event(t.Context(), e); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				idle(t, e)
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("took %v", took)
				}
				check(t, w, tt.want...)
			})
		})
	}
}

// TestPatienceBeginsWithTheFirstError: waiting for an event does not use it up.
func TestPatienceBeginsWithTheFirstError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := &world{}, 0
		s := w.saga(nil)
		s.Steps[0].Do = func(context.Context, *state) error {
			switch n++; n {
			case 1:
				return task.Later(10 * time.Minute)
			case 2:
				return context.DeadlineExceeded
			}
			return nil
		}
		e, stop := run(t, dbtest.New(t), task.Options{Owner: "n1"}, s)
		defer stop()
		if err := task.Start(t.Context(), e, "make", "obj", state{}); err != nil {
			t.Fatal(err)
		}
		for ok := false; !ok; ok, _ = e.Idle(t.Context()) {
			time.Sleep(time.Minute)
		}
		check(t, w, "do b", "do c")
	})
}

func TestPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := &world{}, 0
		s := w.saga(nil)
		s.Steps[1].Do = func(context.Context, *state) error { panic("boom\x00\xff" + strings.Repeat("x", 9000)) }
		s.Failed = func(_ context.Context, _ *state, cause error) error {
			if n++; n == 1 {
				panic("again")
			}
			w.add(cause.Error()[:11])
			return nil
		}
		var jobs atomic.Int32
		ctx, cancel := context.WithCancel(t.Context())
		e, err := task.New(ctx, dbtest.New(t), task.Options{Owner: "n1", Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		task.Register(e, s)
		e.Every("bad", time.Second, func(context.Context) error { jobs.Add(1); panic("job") })
		done := make(chan error)
		go func() { done <- e.Run(ctx) }()
		if err := task.Start(t.Context(), e, "make", "obj", state{}); err != nil {
			t.Fatal(err)
		}
		idle(t, e)
		time.Sleep(10 * time.Second)
		cancel()
		if err := <-done; err != nil || jobs.Load() < 5 {
			t.Errorf("%v, %d runs of the job", err, jobs.Load())
		}
		check(t, w, "do a", "undo b", "undo a", "panic: boom")
	})
}

// TestLostLeaseEndsTheStep: when another process takes a saga over, the step
// that still runs here sees its context end.
func TestLostLeaseEndsTheStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, w := dbtest.New(t), &world{}
		s := w.saga(nil)
		s.Steps[0].Do = func(ctx context.Context, _ *state) error {
			w.add("begin")
			<-ctx.Done()
			w.add("end")
			return ctx.Err()
		}
		s.Steps[0].Timeout = time.Hour
		e, stop := run(t, d, task.Options{Owner: "n1"}, s)
		defer stop()
		if err := task.Start(t.Context(), e, "make", "obj", state{}); err != nil {
			t.Fatal(err)
		}
		until(t, w, "begin")
		if _, err := db.Exec(t.Context(), d, "UPDATE sagas SET owner = 'n2', lease_until = ?", db.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		until(t, w, "end")
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("after %v", took)
		}
	})
}

// TestStopGivesSagasBack: after a graceful stop another process goes on at
// once, not after the lease.
func TestStopGivesSagasBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, w := dbtest.New(t), &world{}
		s := w.saga(nil)
		s.Steps[1].Do = func(ctx context.Context, _ *state) error { w.add("wait"); <-ctx.Done(); return ctx.Err() }
		e, stop := run(t, d, task.Options{Owner: "n1", Lease: time.Hour}, s)
		if err := task.Start(t.Context(), e, "make", "obj", state{}); err != nil {
			t.Fatal(err)
		}
		until(t, w, "wait")
		stop()
		e, stop = run(t, d, task.Options{Owner: "n2"}, w.saga(nil))
		defer stop()
		idle(t, e)
		check(t, w, "do a", "wait", "do b", "do c")
	})
}

// TestCancelBetweenSteps: what has not begun is not undone.
func TestCancelBetweenSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for i, want := range [][]string{
			{"do a", "undo a"}, {"do a", "do b", "undo b", "undo a"}, {"do a", "do b", "do c", "undo c", "undo b", "undo a"},
		} {
			w := &world{}
			var e *task.Engine
			s := w.saga(nil)
			do := s.Steps[i].Do
			s.Steps[i].Do = func(ctx context.Context, st *state) error {
				if err := e.Cancel(context.Background(), "obj"); err != nil {
					t.Error(err)
				}
				return do(ctx, st)
			}
			var stop func()
			e, stop = run(t, dbtest.New(t), task.Options{Owner: "n1"}, s)
			if err := task.Start(t.Context(), e, "make", "obj", state{}); err != nil {
				t.Fatal(err)
			}
			idle(t, e)
			stop()
			check(t, w, append(want, "failed: cancelled by a later request")...)
		}
	})
}

// TestClockSteps: a clock that was set back does not change the order.
func TestClockSteps(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := &world{}
		e, err := task.New(t.Context(), d, task.Options{Owner: "n1"})
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []string{"first", "second", "third"} {
			task.Register(e, task.Saga[state]{Name: n, Steps: []task.Step[state]{{Name: "x", Do: func(context.Context, *state) error { w.add(n); return nil }}}})
			if err := task.Start(t.Context(), e, n, "obj", state{}); err != nil {
				t.Fatal(err)
			}
			if n == "first" {
				if _, err := db.Exec(t.Context(), d, "UPDATE sagas SET seq_at = ?", db.Now().Add(time.Hour)); err != nil {
					t.Fatal(err)
				}
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- e.Run(ctx) }()
		idle(t, e)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		check(t, w, "first", "second", "third")
	})
}

// TestManySagas: thousands of waiting sagas, and those of names that only a
// newer release knows, do not keep new ones from running.
func TestManySagas(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := &world{}
		e, stop := run(t, d, task.Options{Owner: "n1"}, w.saga(nil))
		defer stop()
		ctx := context.Background()
		err := d.Tx(ctx, func(ctx context.Context) error {
			for i := range 100 {
				var marks []string
				var args []any
				for j := range 100 {
					n, name, at := i*100+j, "newer", db.Now().Add(-time.Hour)
					if n%2 == 0 {
						name, at = "make", db.Now().Add(time.Hour)
					}
					marks = append(marks, "(?, ?, ?, ?, '{}', 0, ?, ?, '', '', 0, ?, '', '{}')")
					args = append(args, fmt.Sprintf("%06d", n), at, name, fmt.Sprint("o", n%8000), false, false, at)
				}
				if _, err := db.Exec(ctx, d, "INSERT INTO sagas (id, seq_at, name, object_id, state, step, undoing, cancelled, cause_kind, cause, tries, run_at, owner, trace) VALUES "+strings.Join(marks, ", "), args...); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := task.Start(ctx, e, "make", "obj", state{}); err != nil {
			t.Fatal(err)
		}
		for len(w.all()) < 3 {
			if time.Since(began) > time.Minute {
				t.Fatal("starved")
			}
			time.Sleep(time.Millisecond)
		}
		t.Logf("%s: three steps beside 10,000 sagas in %v", d.Dialect(), time.Since(began))
	})
}
