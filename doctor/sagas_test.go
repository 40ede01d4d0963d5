package doctor_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/doctor"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/task"
)

type nothing struct{}

// TestSagas: a step that fails for minutes is told with its last error, one
// that waits for an event only after a long time, and what gets on not at all;
// a saga whose object is gone is forgotten, but not while a process is at it.
func TestSagas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := dbtest.New(t)
		e, err := task.New(t.Context(), d, task.Options{Owner: "n1"})
		if err != nil {
			t.Fatal(err)
		}
		for name, do := range map[string]func(context.Context, *nothing) error{
			"failing": func(context.Context, *nothing) error { return fault.Unavailablef("the neighbour is away") },
			"waiting": func(context.Context, *nothing) error { return task.Later(time.Minute) },
		} {
			task.Register(e, task.Saga[nothing]{Name: name, Steps: []task.Step[nothing]{{Name: "a", Do: do, Patience: 1000 * time.Hour}}})
			if err := task.Start(t.Context(), e, name, "of-"+name, nothing{}); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- e.Run(ctx) }()
		there := map[string]bool{"of-failing": true, "of-waiting": true}
		checks := doctor.Sagas{Service: "test", Engine: e, Kind: "thing", Exist: func(context.Context, []string) (map[string]bool, error) { return there, nil }}.Checks()
		for _, x := range []struct {
			after time.Duration
			want  string
		}{
			{time.Minute, ""},
			{9 * time.Minute, "failing/a of the thing of-failing fails since"},
			{10 * time.Minute, "waiting/a of the thing of-waiting waits"},
		} {
			time.Sleep(x.after)
			r := run(t, true, checks...)
			var all []string
			for _, f := range r.Findings {
				if f.Fix != "" || f.Command == "" {
					t.Errorf("%+v", f)
				}
				all = append(all, f.Problem)
			}
			text := strings.Join(all, "\n")
			if x.want == "" && text != "" || !strings.Contains(text, x.want) || len(r.Unchecked) > 0 {
				t.Errorf("after %s more: %q, want %q", x.after, text, x.want)
			}
			if x.want != "" && !strings.Contains(text, "last error: the neighbour is away") {
				t.Errorf("no last error in %q", text)
			}
		}
		delete(there, "of-waiting")
		if r := run(t, true, checks...); len(r.Healed) != 1 || len(r.Findings) != 1 {
			t.Errorf("the object is gone: %+v", r)
		}
		if n, err := db.Count(ctx, d, "SELECT COUNT(*) FROM sagas"); err != nil || n != 1 {
			t.Errorf("%d sagas %v", n, err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
