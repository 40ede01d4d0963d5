package task

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/obs"
)

// poll is how often an engine looks for sagas whose owner died.
const poll = 2 * time.Second

// Run executes sagas and jobs until ctx ends, then waits for the steps under
// way (which see their context end). Sagas that an earlier process of the same
// Owner left behind are taken up at once.
func (e *Engine) Run(ctx context.Context) error {
	if _, err := db.Update(ctx, e.db, "sagas", db.Set{"owner": "", "lease_until": nil}, db.Where().Eq("owner", e.o.Owner)); err != nil {
		return fmt.Errorf("take up sagas: %w", err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { e.renew(ctx) })
	for _, j := range e.jobs {
		wg.Go(func() { e.runJob(ctx, j) })
	}
	slots := make(chan struct{}, e.o.Workers)
	for {
		next, err := e.claimAll(ctx, slots, &wg)
		if err != nil && ctx.Err() == nil {
			e.o.Log.LogAttrs(ctx, slog.LevelError, "cannot look for sagas", slog.String("error", err.Error()))
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-e.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// claimAll starts every saga that may run now and returns how long to wait
// for the next.
func (e *Engine) claimAll(ctx context.Context, slots chan struct{}, wg *sync.WaitGroup) (time.Duration, error) {
	now := db.Now()
	// Only an object's oldest saga runs.
	rows, err := db.Select[row](ctx, e.db, `SELECT s.* FROM sagas s
		WHERE (s.owner = '' OR s.lease_until < ?) AND NOT EXISTS (
		  SELECT 1 FROM sagas o WHERE o.object_id = s.object_id AND (o.seq_at < s.seq_at OR (o.seq_at = s.seq_at AND o.id < s.id)))
		ORDER BY s.run_at LIMIT 200`, now)
	if err != nil {
		return poll, err
	}
	next := poll
	for _, r := range rows {
		if wait := r.RunAt.Sub(now); wait > 0 {
			next = min(next, wait)
			continue
		}
		if _, ok := e.sagas[r.Name]; !ok {
			continue // of a newer release; another process knows it
		}
		select {
		case slots <- struct{}{}:
		default:
			return next, nil // a slot that gets free pokes
		}
		until := db.Now().Add(e.o.Lease)
		w := db.ByID(r.ID).Eq("owner", r.Owner).Eq("step", r.Step).Eq("tries", r.Tries)
		n, err := db.Update(ctx, e.db, "sagas", db.Set{"owner": e.o.Owner, "lease_until": until}, w)
		if err != nil || n == 0 {
			<-slots
			if err != nil {
				return next, err
			}
			continue
		}
		r.Owner = e.o.Owner
		sctx, cancel := context.WithCancel(ctx)
		e.mu.Lock()
		e.running[r.ID] = cancel
		e.mu.Unlock()
		wg.Go(func() {
			defer func() {
				e.mu.Lock()
				delete(e.running, r.ID)
				e.mu.Unlock()
				cancel()
				<-slots
				e.poke()
			}()
			e.execute(sctx, r)
		})
	}
	return next, nil
}

// renew keeps the leases of what runs here, and ends what lost its lease.
func (e *Engine) renew(ctx context.Context) {
	t := time.NewTicker(e.o.Lease / 3)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		e.mu.Lock()
		ids := make([]string, 0, len(e.running))
		for id := range e.running {
			ids = append(ids, id)
		}
		e.mu.Unlock()
		if len(ids) == 0 {
			continue
		}
		_, err := db.Update(ctx, e.db, "sagas", db.Set{"lease_until": db.Now().Add(e.o.Lease)}, db.Where().Eq("owner", e.o.Owner).In("id", ids))
		if err != nil && ctx.Err() == nil {
			e.o.Log.LogAttrs(ctx, slog.LevelError, "cannot renew saga leases", slog.String("error", err.Error()))
		}
	}
}

// execute runs a claimed saga until it ends, must wait, or is lost.
func (e *Engine) execute(ctx context.Context, r row) {
	def := e.sagas[r.Name]
	ctx = obs.WithRequestID(obs.ExtractMap(ctx, r.Trace.V), r.Trace.V["request-id"])
	log := e.o.Log.With("saga", r.Name, "object", r.Object)
	for ctx.Err() == nil {
		if !r.Undoing {
			if c, err := db.Get[bool](ctx, e.db, "SELECT cancelled FROM sagas WHERE id = ?", r.ID); err == nil && *c {
				r.Undoing, r.CauseKind, r.Cause = true, "cancelled", ErrCancelled.Error()
				r.Step-- // the step at r.Step has not begun, or ended in Later
				if r.Tries > 0 || r.FirstTryAt != nil {
					r.Step++
				}
				r.Tries, r.FirstTryAt = 0, nil
			}
		}
		over, wait, err := e.step(ctx, log, def, &r)
		if err != nil {
			if ctx.Err() == nil {
				log.LogAttrs(ctx, slog.LevelError, "saga was lost or cannot be stored", slog.String("error", err.Error()))
			}
			return
		}
		if over || wait {
			return
		}
	}
}

// step runs one step (or ends the saga) and stores the outcome. over: the
// saga has ended; wait: it goes on later.
func (e *Engine) step(ctx context.Context, log *slog.Logger, def runner, r *row) (over, wait bool, err error) {
	switch {
	case !r.Undoing && r.Step >= len(def.steps):
		return true, false, e.remove(ctx, r)
	case r.Undoing && r.Step < 0:
		tctx, cancel := context.WithTimeout(ctx, time.Minute)
		err := def.failed(tctx, r.State.V, r.cause())
		cancel()
		if err != nil {
			return false, true, e.later(ctx, log, r, "failed", err)
		}
		return true, false, e.remove(ctx, r)
	}
	name := def.steps[r.Step]
	timeout, patience := def.limits(r.Step)
	if r.FirstTryAt == nil {
		now := db.Now()
		r.FirstTryAt = &now
	}
	e.hook(r, name, Before)
	tctx, cancel := context.WithTimeout(ctx, timeout)
	sctx, end := obs.StartSpan(tctx, r.Name+"/"+name)
	state, err := e.guard(sctx, def, r)
	end(err)
	cancel()
	if err == nil {
		e.hook(r, name, After)
	}
	if ctx.Err() != nil { // stopping: the step runs again after the restart
		return false, true, nil
	}
	r.State = db.J(state)
	var later laterError
	switch {
	case err == nil:
		if r.Undoing {
			r.Step--
		} else {
			r.Step++
		}
		r.Tries, r.FirstTryAt = 0, nil
		return false, false, e.store(ctx, r, false)
	case errors.As(err, &later):
		r.RunAt = db.Now().Add(later.after)
		return false, true, e.store(ctx, r, true)
	case r.Undoing, transient(err) && time.Since(*r.FirstTryAt) < patience:
		return false, true, e.later(ctx, log, r, name, err)
	}
	log.LogAttrs(ctx, slog.LevelWarn, "saga failed", slog.String("step", name), slog.String("error", err.Error()))
	r.Undoing, r.Tries, r.FirstTryAt = true, 0, nil
	r.CauseKind, r.Cause = string(fault.KindOf(err)), err.Error()
	if f, ok := fault.As(err); ok {
		r.Cause = f.Message
	}
	return false, false, e.store(ctx, r, false)
}

// guard turns a panic in a step into its error, so that one bad object cannot
// end the process.
func (e *Engine) guard(ctx context.Context, def runner, r *row) (state json.RawMessage, err error) {
	defer func() {
		if p := recover(); p != nil {
			state, err = r.State.V, fmt.Errorf("panic: %v", p)
		}
	}()
	return def.run(ctx, r.Step, r.Undoing, r.State.V)
}

func (r *row) cause() error {
	if r.CauseKind == "cancelled" {
		return ErrCancelled
	}
	return fault.New(fault.Kind(r.CauseKind), "%s", r.Cause)
}

// later stores that the step failed for now and is tried again with back-off.
func (e *Engine) later(ctx context.Context, log *slog.Logger, r *row, name string, err error) error {
	r.Tries++
	pause := min(100*time.Millisecond<<min(r.Tries, 7), 10*time.Second)
	log.LogAttrs(ctx, slog.LevelWarn, "saga step will be tried again", slog.String("step", name), slog.Int("tries", r.Tries), slog.Duration("after", pause), slog.String("error", err.Error()))
	r.RunAt = db.Now().Add(pause)
	return e.store(ctx, r, true)
}

// store writes the position, fenced by the owner: a process that lost its
// lease cannot move a saga that another has taken over. release gives the
// saga back.
func (e *Engine) store(ctx context.Context, r *row, release bool) error {
	set := db.Set{
		"state": r.State, "step": r.Step, "undoing": r.Undoing, "cause_kind": r.CauseKind, "cause": r.Cause,
		"tries": r.Tries, "first_try_at": r.FirstTryAt,
	}
	if release {
		set["owner"], set["lease_until"], set["run_at"] = "", nil, r.RunAt
	}
	n, err := db.Update(ctx, e.db, "sagas", set, db.ByID(r.ID).Eq("owner", e.o.Owner))
	if err == nil && n == 0 {
		err = errors.New("another process has taken the saga over")
	}
	return err
}

func (e *Engine) remove(ctx context.Context, r *row) error {
	n, err := db.Delete(ctx, e.db, "sagas", db.ByID(r.ID).Eq("owner", e.o.Owner))
	if err == nil && n == 0 {
		err = errors.New("another process has taken the saga over")
	}
	return err
}

func (e *Engine) hook(r *row, step string, w When) {
	if e.o.Hook != nil {
		e.o.Hook(r.Name, step, r.Undoing, w)
	}
}
