package task_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/task"
)

// TestListTellsWhy: what fails shows its last error and since when, and a
// saga that somebody works on cannot be dropped.
func TestListTellsWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, w := dbtest.New(t), &world{}
		var mended atomic.Bool
		s := w.saga(nil)
		s.Steps[1].Do = func(context.Context, *state) error {
			if mended.Load() {
				return nil
			}
			return fault.Unavailablef("the neighbour is away\x00")
		}
		e, stop := run(t, d, task.Options{Owner: "n1"}, s)
		defer stop()
		if err := task.Start(t.Context(), e, "make", "obj", state{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		list, err := e.List(t.Context())
		if err != nil || len(list) != 1 {
			t.Fatalf("%+v %v", list, err)
		}
		i := list[0]
		if i.Object != "obj" || e.StepOf(i.Name, i.Step) != "b" || i.Tries < 3 || i.Problem != "the neighbour is away" || i.FirstTryAt == nil || time.Since(*i.FirstTryAt) < 29*time.Second {
			t.Errorf("%+v", i)
		}
		if !e.Knows("make") || e.Knows("other") || e.StepOf("make", 9) != "" {
			t.Error("the names of steps are wrong")
		}
		mended.Store(true)
		idle(t, e)
	})
}

func TestDrop(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		e, err := task.New(t.Context(), d, task.Options{Owner: "n1"})
		if err != nil {
			t.Fatal(err)
		}
		task.Register(e, (&world{}).saga(nil))
		for _, held := range []bool{true, false} {
			if err := task.Start(t.Context(), e, "make", "obj", state{}); err != nil {
				t.Fatal(err)
			}
			list, err := e.List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			last := list[len(list)-1]
			if held {
				if _, err := db.Exec(t.Context(), d, "UPDATE sagas SET owner = 'n2', lease_until = ?", db.Now().Add(time.Hour)); err != nil {
					t.Fatal(err)
				}
			}
			if ok, err := e.Drop(t.Context(), last.ID); err != nil || ok == held {
				t.Errorf("held %v: dropped %v, %v", held, ok, err)
			}
		}
	})
}
