package task

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/obs"
)

// storeTimeout bounds how long the outcome of a step is tried to be stored
// when the engine is stopping.
const storeTimeout = 5 * time.Second

// maxProblem bounds what is kept of an error, in bytes.
const maxProblem = 1000

// minPause is the shortest time between two tries of a step that asks for
// Later(0).
const minPause = 10 * time.Millisecond

// errLost says that the row is no longer ours.
var errLost = errors.New("another process has taken the saga over")

// execute runs a claimed saga until it ends, must wait, or is lost.
func (e *Engine) execute(ctx context.Context, r row) {
	def := e.sagas[r.Name]
	ctx = obs.WithRequestID(obs.ExtractMap(ctx, r.Trace.V), r.Trace.V["request-id"])
	log := e.o.Log.With("saga", r.Name, "object", r.Object)
	// A release with fewer steps than the one that stored the position.
	if r.Step = min(r.Step, len(def.steps)); r.Undoing {
		r.Step = min(r.Step, len(def.steps)-1)
	}
	for {
		over, err := e.advance(ctx, log, def, &r)
		switch {
		case ctx.Err() != nil && !over: // stopping, or the lease is lost
			e.giveBack(ctx, &r)
			return
		case err != nil:
			log.LogAttrs(ctx, slog.LevelError, "saga was lost or cannot be stored", slog.String("error", err.Error()))
			return
		case over:
			return
		}
	}
}

// advance runs one step (or turns a cancelled saga, or ends it) and stores
// the outcome. over: the saga has ended or goes on later.
func (e *Engine) advance(ctx context.Context, log *slog.Logger, def runner, r *row) (over bool, err error) {
	if !r.Undoing {
		c, err := db.Get[bool](ctx, e.db, "SELECT cancelled FROM sagas WHERE id = ?", r.ID)
		if errors.Is(err, db.ErrNoRows) {
			return false, errLost
		}
		if err != nil {
			return false, err
		}
		if *c {
			r.turn(len(def.steps))
			return false, e.store(ctx, r)
		}
	}
	switch {
	case !r.Undoing && r.Step >= len(def.steps):
		return e.finish(ctx, r)
	case r.Undoing && r.Step < 0:
		return e.fail(ctx, log, def, r)
	}
	return e.step(ctx, log, def, r)
}

// turn makes a cancelled saga go backwards: from the step at hand where that
// has begun, else from the one before.
func (r *row) turn(steps int) {
	r.Undoing, r.CauseKind, r.Cause = true, "cancelled", ErrCancelled.Error()
	if !r.begun || r.Step >= steps {
		r.Step--
	}
	r.Tries, r.FirstTryAt = 0, nil
}

// fail calls Failed at the end of the way back.
func (e *Engine) fail(ctx context.Context, log *slog.Logger, def runner, r *row) (over bool, err error) {
	tctx, cancel := context.WithTimeout(ctx, time.Minute)
	err = guard(func() error { return def.failed(tctx, r.State.V, r.cause()) })
	cancel()
	switch {
	case err == nil:
		return true, e.remove(ctx, r, false)
	case ctx.Err() != nil:
		return false, nil
	}
	return true, e.later(ctx, log, r, "failed", err)
}

func (e *Engine) step(ctx context.Context, log *slog.Logger, def runner, r *row) (over bool, err error) {
	name := def.steps[r.Step]
	timeout, patience := def.limits(r.Step)
	if r.FirstTryAt == nil || r.Tries == 0 {
		now := db.Now()
		r.FirstTryAt = &now
	}
	r.begun = true
	e.hook(r, name, Before)
	state := r.State.V
	tctx, cancel := context.WithTimeout(ctx, timeout)
	sctx, end := obs.StartSpan(tctx, r.Name+"/"+name)
	err = guard(func() (err error) {
		state, err = def.run(sctx, r.Step, r.Undoing, r.State.V)
		return err
	})
	end(err)
	cancel()
	if err == nil {
		e.hook(r, name, After)
	}
	var later laterError
	isLater := errors.As(err, &later)
	if err != nil && !isLater && ctx.Err() != nil { // stopping: the step runs again after the restart
		return false, nil
	}
	if state != nil {
		r.State = db.J(state)
	}
	switch {
	case err == nil:
		return e.next(ctx, def, r)
	case isLater:
		r.Tries = 0
		return true, e.wait(ctx, r, max(later.after, minPause))
	case r.Undoing, transient(err) && time.Since(*r.FirstTryAt) < patience:
		return true, e.later(ctx, log, r, name, err)
	}
	log.LogAttrs(ctx, slog.LevelWarn, "saga failed", slog.String("step", name), slog.String("error", err.Error()), stack(err))
	r.Undoing, r.Tries, r.FirstTryAt = true, 0, nil
	r.CauseKind, r.Cause = string(fault.KindOf(err)), err.Error()
	if f, ok := fault.As(err); ok {
		r.Cause = f.Message
	}
	r.Cause = storable(r.Cause)
	return false, e.store(ctx, r)
}

// next moves past a step that succeeded. The write that does so also says
// that the step after it begins; r.begun stays exact within this process.
func (e *Engine) next(ctx context.Context, def runner, r *row) (over bool, err error) {
	r.Tries, r.FirstTryAt, r.Problem = 0, nil, ""
	if r.Undoing {
		r.Step--
		return false, e.store(ctx, r)
	}
	r.Step++
	r.begun = false
	if r.Step == len(def.steps) {
		return e.finish(ctx, r)
	}
	now := db.Now()
	r.FirstTryAt = &now
	return false, e.store(ctx, r)
}

// finish ends a saga that has done all its steps, unless it was cancelled
// while it did the last.
func (e *Engine) finish(ctx context.Context, r *row) (over bool, err error) {
	if err := e.remove(ctx, r, true); !errors.Is(err, errLost) {
		return true, err
	}
	return false, e.store(ctx, r) // cancelled, or really lost: this tells
}

type panicError struct {
	value any
	stack string
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// stack is an attribute with the stack of a panic, empty for other errors.
func stack(err error) slog.Attr {
	var p *panicError
	if !errors.As(err, &p) {
		return slog.Attr{}
	}
	return slog.String("stack", p.stack)
}

// guard turns a panic into an error, so that one bad object cannot end the
// process.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{p, string(debug.Stack())}
		}
	}()
	return f()
}

func (r *row) cause() error {
	if r.CauseKind == "cancelled" {
		return ErrCancelled
	}
	return fault.New(fault.Kind(r.CauseKind), "%s", r.Cause)
}

// storable bounds a text and drops what PostgreSQL keeps in no text.
func storable(s string) string {
	const most = 4 << 10
	if len(s) > most {
		s = s[:most]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}

// later stores that the step failed for now and is tried again with back-off.
func (e *Engine) later(ctx context.Context, log *slog.Logger, r *row, name string, err error) error {
	r.Tries++
	if r.Problem = storable(err.Error()); len(r.Problem) > maxProblem {
		r.Problem = strings.ToValidUTF8(r.Problem[:maxProblem], "")
	}
	pause := min(100*time.Millisecond<<min(r.Tries, 7), 10*time.Second)
	log.LogAttrs(ctx, slog.LevelWarn, "saga step will be tried again", slog.String("step", name), slog.Int("tries", r.Tries), slog.Duration("after", pause), slog.String("error", err.Error()), stack(err))
	return e.wait(ctx, r, pause)
}

func (r *row) set() db.Set {
	return db.Set{
		"state": r.State, "step": r.Step, "undoing": r.Undoing, "cause_kind": r.CauseKind, "cause": r.Cause,
		"tries": r.Tries, "first_try_at": r.FirstTryAt, "problem": r.Problem,
	}
}

// mine is the row as long as it is ours: a process that lost its lease cannot
// move a saga that another has taken over.
func (e *Engine) mine(r *row) *db.Cond { return db.ByID(r.ID).Eq("owner", e.o.Owner) }

// store writes the position and keeps the saga.
func (e *Engine) store(ctx context.Context, r *row) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	n, err := db.Update(ctx, e.db, "sagas", r.set(), e.mine(r))
	if err == nil && n == 0 {
		err = errLost
	}
	return err
}

// wait writes the position and gives the saga back until after the pause. A
// Nudge or Cancel that came while the step ran makes it run again at once: it
// may be what the step has just failed to see.
func (e *Engine) wait(ctx context.Context, r *row, pause time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	set := r.set()
	set["owner"], set["lease_until"], set["run_at"] = "", nil, db.Now().Add(pause)
	n, err := db.Update(ctx, e.db, "sagas", set, e.mine(r).Eq("run_at", r.RunAt))
	if err != nil || n > 0 {
		return err
	}
	delete(set, "run_at") // nudged: it is in the past
	n, err = db.Update(ctx, e.db, "sagas", set, e.mine(r))
	if err == nil && n == 0 {
		err = errLost
	}
	return err
}

// giveBack lets another process go on at once where this one stops.
func (e *Engine) giveBack(ctx context.Context, r *row) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	set := db.Set{"owner": "", "lease_until": nil}
	if !r.begun {
		set["first_try_at"] = nil
	}
	if _, err := db.Update(ctx, e.db, "sagas", set, e.mine(r).Eq("step", r.Step).Eq("undoing", r.Undoing)); err != nil {
		e.o.Log.LogAttrs(ctx, slog.LevelWarn, "cannot give a saga back", slog.String("saga", r.Name), slog.String("error", err.Error()))
	}
}

// remove ends the saga; where a Cancel must not be passed over, only while
// there is none.
func (e *Engine) remove(ctx context.Context, r *row, uncancelled bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	w := e.mine(r)
	if uncancelled {
		w.Eq("cancelled", false)
	}
	n, err := db.Delete(ctx, e.db, "sagas", w)
	if err == nil && n == 0 {
		err = errLost
	}
	return err
}

func (e *Engine) hook(r *row, step string, w When) {
	if e.o.Hook != nil {
		e.o.Hook(r.Name, step, r.Undoing, w)
	}
}
