package task_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/task"
)

// plan says what the n-th tries of each step of one saga do.
type plan struct {
	Saga  int
	Steps [][]string // per step: the outcomes of its tries, then success
}

// event is one thing that happened to a saga.
type event struct {
	saga int
	what string // do, done, undo, undone, failed, crash
	step int
}

// lab runs random sagas under engines that crash, stop and lose their leases.
type lab struct {
	mu     sync.Mutex
	rng    *rand.Rand
	events []event
	tries  map[string]int
	plans  map[int]plan
}

const labSteps = 3

func (l *lab) note(saga int, what string, step int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, event{saga, what, step})
}

func (l *lab) try(p *plan, step int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := fmt.Sprint(p.Saga, "/", step)
	n := l.tries[k]
	l.tries[k]++
	if n < len(p.Steps[step]) {
		return p.Steps[step][n]
	}
	return "ok"
}

func (l *lab) saga() task.Saga[plan] {
	s := task.Saga[plan]{Name: "random", Failed: func(_ context.Context, p *plan, _ error) error {
		l.note(p.Saga, "failed", 0)
		if l.try(p, labSteps) != "ok" {
			panic("in Failed")
		}
		return nil
	}}
	for i := range labSteps {
		s.Steps = append(s.Steps, task.Step[plan]{
			Name: fmt.Sprint(i),
			Do: func(ctx context.Context, p *plan) error {
				l.note(p.Saga, "do", i)
				select {
				case <-time.After(20 * time.Millisecond):
				case <-ctx.Done():
					return ctx.Err()
				}
				switch how := l.try(p, i); how {
				case "transient":
					return fault.Unavailablef("again")
				case "later":
					return task.Later(300 * time.Millisecond)
				case "fail":
					return fault.Conflictf("no")
				case "panic":
					panic("in Do")
				}
				l.note(p.Saga, "done", i)
				return nil
			},
			Undo: func(_ context.Context, p *plan) error {
				l.note(p.Saga, "undo", i)
				if l.try(p, labSteps+1+i) != "ok" {
					return fault.Conflictf("cannot undo yet")
				}
				l.note(p.Saga, "undone", i)
				return nil
			},
		})
	}
	return s
}

// hook ends the saga's goroutine as kill -9 would end its process: nothing
// more is stored, and only the lease tells others.
func (l *lab) hook(_, _ string, _ bool, _ task.When) {
	l.mu.Lock()
	crash := l.rng.IntN(25) == 0
	if crash {
		l.events = append(l.events, event{-1, "crash", 0})
	}
	l.mu.Unlock()
	if crash {
		runtime.Goexit()
	}
}

func TestRandomSagas(t *testing.T) {
	seeds := 30
	if testing.Short() {
		seeds = 5
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { randomRun(t, uint64(seed)) }) //nolint:gosec // small
		})
	}
}

func randomRun(t *testing.T, seed uint64) {
	ctx := t.Context()
	d := dbtest.New(t)
	rng := rand.New(rand.NewPCG(seed, 1))
	l := &lab{rng: rand.New(rand.NewPCG(seed, 2)), tries: map[string]int{}, plans: map[int]plan{}}
	quiet := slog.New(slog.DiscardHandler)
	var engines []*task.Engine
	start := func(owner string) func() {
		ectx, cancel := context.WithCancel(ctx)
		e, err := task.New(ectx, d, task.Options{Owner: owner, Log: quiet, Hook: l.hook, Workers: 3})
		if err != nil {
			t.Fatal(err)
		}
		task.Register(e, l.saga())
		done := make(chan error, 1)
		go func() { done <- e.Run(ectx) }()
		engines = append(engines, e)
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	stop1, stop2 := start("n1"), start("n2")
	const sagas = 12
	cancelled := map[int]bool{}
	for i := range sagas {
		p := plan{Saga: i, Steps: make([][]string, 2*labSteps+1)}
		for s := range labSteps {
			for range rng.IntN(3) {
				p.Steps[s] = append(p.Steps[s], []string{"ok", "transient", "later", "fail", "panic", "ok", "later"}[rng.IntN(7)])
			}
		}
		for s := labSteps; s < len(p.Steps); s++ {
			if rng.IntN(3) == 0 {
				p.Steps[s] = []string{"x"}
			}
		}
		l.plans[i] = p
		object := fmt.Sprint("o", i%4)
		err := d.Tx(ctx, func(ctx context.Context) error {
			if rng.IntN(3) == 0 {
				for j := range i {
					cancelled[j] = cancelled[j] || j%4 == i%4
				}
				if err := engines[0].Cancel(ctx, object); err != nil {
					return err
				}
			}
			return task.Start(ctx, engines[0], "random", object, p)
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rng.IntN(120)) * time.Millisecond)
		switch rng.IntN(8) {
		case 0:
			stop1()
			stop1 = start("n1")
		case 1:
			_ = engines[0].Nudge(ctx, object)
		case 2: // the database says that a lease is another's
			_, _ = db.Exec(ctx, d, "UPDATE sagas SET owner = 'gone', lease_until = ? WHERE object_id = ? AND owner <> ''", db.Now(), object)
		}
	}
	deadline := time.Now().Add(time.Hour)
	for {
		ok, err := engines[0].Idle(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("sagas do not end")
		}
		time.Sleep(100 * time.Millisecond)
	}
	stop1()
	stop2()
	l.judge(t, sagas, cancelled)
}

// judge checks the invariants over all that happened.
func (l *lab) judge(t *testing.T, sagas int, cancelled map[int]bool) {
	t.Helper()
	crashes := slices.ContainsFunc(l.events, func(e event) bool { return e.what == "crash" })
	lastOf := map[int]int{}
	for i, e := range l.events {
		lastOf[e.saga] = i
	}
	for i := range sagas {
		var mine []string
		first := -1
		begun, back := map[int]bool{}, false
		lowest := labSteps
		ended := map[int]bool{}
		for at, e := range l.events {
			if e.saga != i {
				continue
			}
			if first < 0 {
				first = at
			}
			mine = append(mine, fmt.Sprint(e.what, e.step))
			switch e.what {
			case "do":
				begun[e.step] = true
				if back {
					t.Errorf("saga %d did a step on its way back", i)
				}
			case "undo":
				back = true
				if e.step > lowest {
					t.Errorf("saga %d undid step %d after step %d", i, e.step, lowest)
				}
				lowest = e.step
				if !begun[e.step] && !crashes {
					t.Errorf("saga %d undid step %d, which never began", i, e.step)
				}
			case "undone":
				ended[e.step] = true
			case "failed":
				for s := range begun {
					if !ended[s] {
						t.Errorf("saga %d failed without undoing step %d", i, s)
					}
				}
				back = true
			}
		}
		joined := strings.Join(mine, " ")
		if !back && (len(begun) != labSteps || !strings.Contains(joined, "done2")) {
			t.Errorf("saga %d ended half done", i)
		}
		if back && !strings.Contains(joined, "failed") {
			t.Errorf("saga %d went back and did not call Failed", i)
		}
		if i >= 4 && first >= 0 && first < lastOf[i-4] {
			t.Errorf("saga %d began before saga %d of the same object ended", i, i-4)
		}
		if t.Failed() {
			t.Logf("saga %d (cancelled: %v), plan %v: %s", i, cancelled[i], l.plans[i].Steps, joined)
		}
	}
}
