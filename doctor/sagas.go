package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/tropocloud/tropo/task"
)

// Sagas describes a service's sagas to their checks.
type Sagas struct {
	Service string
	Engine  *task.Engine
	Kind    string // of the sagas' objects, as in "server"
	// Exist returns which of the objects exist.
	Exist func(ctx context.Context, ids []string) (map[string]bool, error)
	// Retry is how long a step may fail before it is told; 0: 5 minutes.
	// Wait is how long a saga may wait for an event; 0: 15 minutes. Idle is
	// how long one that may run may lie about; 0: 30 s.
	Retry, Wait, Idle time.Duration
}

// Checks returns the checks that every service with sagas has.
func (s Sagas) Checks() []Check {
	if s.Retry == 0 {
		s.Retry = 5 * time.Minute
	}
	if s.Wait == 0 {
		s.Wait = 15 * time.Minute
	}
	if s.Idle == 0 {
		s.Idle = 30 * time.Second
	}
	return []Check{
		{Name: s.Service + "-saga-orphan", Service: s.Service, Find: s.orphans, Heal: s.drop},
		{Name: s.Service + "-saga-failing", Service: s.Service, Find: s.failing},
	}
}

// orphans are sagas whose object is gone. Steps take a missing object for
// done, so one that runs ends by itself; what stays is what nothing runs.
func (s Sagas) orphans(ctx context.Context, l *Look) error {
	list, err := s.Engine.List(ctx)
	if err != nil || len(list) == 0 {
		return err
	}
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = list[i].Object
	}
	there, err := s.Exist(ctx, ids)
	if err != nil {
		return err
	}
	now := time.Now()
	for i := range list {
		v := &list[i]
		if there[v.Object] || v.Leased(now) || now.Sub(v.Started) < s.Idle {
			continue
		}
		l.Found(Finding{
			Kind: "saga", ID: v.ID, Problem: fmt.Sprintf("%s of the %s %s, which does not exist%s", v.Name, s.Kind, v.Object, because(v.Problem)),
			Fix: "forget the saga",
		})
	}
	return nil
}

func (s Sagas) drop(ctx context.Context, f Finding) error {
	list, err := s.Engine.List(ctx)
	if err != nil {
		return err
	}
	for i := range list {
		if list[i].ID != f.ID {
			continue
		}
		there, err := s.Exist(ctx, []string{list[i].Object})
		if err != nil || there[list[i].Object] {
			return err
		}
		_, err = s.Engine.Drop(ctx, f.ID)
		return err
	}
	return nil
}

// failing are sagas that do not get on: whose step fails again and again,
// that wait for ever, or that no process runs.
func (s Sagas) failing(ctx context.Context, l *Look) error {
	list, err := s.Engine.List(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	older := map[string]bool{} // objects with a saga that comes before
	for i := range list {
		v := &list[i]
		first := !older[v.Object]
		older[v.Object] = true
		age := now.Sub(v.Started).Round(time.Second)
		at := v.Name + "/" + s.Engine.StepOf(v.Name, v.Step)
		if v.Undoing {
			at += " (undo)"
		}
		f := Finding{Kind: "saga", ID: v.ID}
		switch {
		case !first:
			continue
		case v.Tries > 0 && v.FirstTryAt != nil && now.Sub(*v.FirstTryAt) > s.Retry:
			f.Problem = fmt.Sprintf("%s of the %s %s fails since %s (%d tries)%s", at, s.Kind, v.Object, now.Sub(*v.FirstTryAt).Round(time.Second), v.Tries, because(v.Problem))
			f.Command = "mend the cause; the saga goes on by itself"
		case !v.Leased(now) && now.Sub(v.RunAt) > s.Idle:
			f.Problem = fmt.Sprintf("%s of the %s %s could run and nobody runs it, since %s", at, s.Kind, v.Object, now.Sub(v.RunAt).Round(time.Second))
			f.Command = "look whether a control node of the newest release runs"
		case age > s.Wait && !v.Leased(now):
			f.Severity = Warning
			f.Problem = fmt.Sprintf("%s of the %s %s waits; begun %s ago%s", at, s.Kind, v.Object, age, because(v.Problem))
			f.Command = "look in the log for the object"
		default:
			continue
		}
		l.Found(f)
	}
	return nil
}

func because(problem string) string {
	if problem == "" {
		return ""
	}
	return "; last error: " + problem
}
