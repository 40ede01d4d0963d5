package task

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/tropocloud/tropo/db"
)

// poll is how often an engine looks for sagas whose owner died.
const poll = 2 * time.Second

// Run executes sagas and jobs until ctx ends, then waits for the steps under
// way (which see their context end) and gives their sagas back. Sagas that an
// earlier process of the same Owner left behind are taken up at once.
func (e *Engine) Run(ctx context.Context) error {
	if _, err := db.Update(ctx, e.db, "sagas", db.Set{"owner": "", "lease_until": nil}, db.Where().Eq("owner", e.o.Owner)); err != nil {
		if ctx.Err() != nil {
			return nil
		}
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

// claimAll starts sagas that may run now, as many as slots are free, and
// returns how long to wait for the next. A slot that gets free pokes.
func (e *Engine) claimAll(ctx context.Context, slots chan struct{}, wg *sync.WaitGroup) (time.Duration, error) {
	free := cap(slots) - len(slots)
	if free == 0 || len(e.order) == 0 {
		return poll, nil
	}
	due, next, err := e.due(ctx, free)
	if err != nil || len(due) == 0 {
		return next, err
	}
	mine, err := e.claim(ctx, due)
	if err != nil {
		return poll, err
	}
	for _, r := range mine {
		slots <- struct{}{} // free: only this loop takes slots
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
	if len(mine) < len(due) { // others were faster: there may be more
		next = min(next, 50*time.Millisecond)
	}
	return next, nil
}

// due returns up to n sagas that may run now, and how long to wait for those
// that may not yet. A saga may run when it is its object's oldest and nobody
// is at work on the object. Those of unknown names are of a newer release;
// another process knows them.
func (e *Engine) due(ctx context.Context, n int) ([]row, time.Duration, error) {
	now := db.Now()
	w := db.Where().In("s.name", e.order).
		Raw("s.owner = '' OR s.lease_until < ?", now).
		Raw(`NOT EXISTS (SELECT 1 FROM sagas o WHERE o.object_id = s.object_id AND o.id <> s.id AND (
			o.seq_at < s.seq_at OR (o.seq_at = s.seq_at AND o.id < s.id) OR (o.owner <> '' AND o.lease_until >= ?)))`, now)
	where, args := w.SQL()
	rows, err := db.Select[row](ctx, e.db, fmt.Sprintf("SELECT s.* FROM sagas s%s ORDER BY s.run_at LIMIT %d", where, n+1), args...)
	if err != nil {
		return nil, poll, err
	}
	next := poll
	var out []row
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range rows {
		if wait := r.RunAt.Sub(now); wait > 0 {
			next = min(next, wait)
			continue
		}
		// Our own with a lease that ran out (a stalled database, a machine
		// that slept) must end here first: it could not be fenced off.
		if _, here := e.running[r.ID]; !here && len(out) < n {
			out = append(out, r)
		}
	}
	return out, next, nil
}

// claim makes the sagas ours in one transaction, and returns those that
// nobody else was faster to claim. That the step begins is written too, for
// the case that the process dies in it and the saga is then cancelled.
func (e *Engine) claim(ctx context.Context, due []row) ([]row, error) {
	var mine []row
	err := e.db.Tx(ctx, func(ctx context.Context) error {
		mine = mine[:0]
		now := db.Now()
		for _, r := range due {
			set := db.Set{"owner": e.o.Owner, "lease_until": now.Add(e.o.Lease)}
			r.begun = r.FirstTryAt != nil
			if !r.begun && !r.Undoing {
				set["first_try_at"] = now
			}
			w := db.ByID(r.ID).Eq("owner", r.Owner).Eq("step", r.Step).Eq("tries", r.Tries).Eq("undoing", r.Undoing).
				Raw("owner = '' OR lease_until < ?", now)
			n, err := db.Update(ctx, e.db, "sagas", set, w)
			if err != nil {
				return err
			}
			if n > 0 {
				r.Owner = e.o.Owner
				mine = append(mine, r)
			}
		}
		return nil
	})
	return mine, err
}

// renew keeps the leases of what runs here, and ends what lost its lease: its
// step sees its context end, and another process runs the step again.
func (e *Engine) renew(ctx context.Context) {
	t := time.NewTicker(e.o.Lease / 3)
	defer t.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		ids := e.runningIDs()
		start := time.Now()
		err := e.renewOnce(ctx, ids)
		switch {
		case err == nil:
			last = start
		case ctx.Err() != nil:
			return
		default:
			e.o.Log.LogAttrs(ctx, slog.LevelError, "cannot renew saga leases", slog.String("error", err.Error()))
			// Without the database we cannot know that others did not
			// take over, so from the end of the lease on we must stop.
			if time.Since(last) >= e.o.Lease {
				e.end(ids)
			}
		}
	}
}

func (e *Engine) renewOnce(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, e.o.Lease/3)
	defer cancel()
	w := db.Where().Eq("owner", e.o.Owner).In("id", ids)
	n, err := db.Update(ctx, e.db, "sagas", db.Set{"lease_until": db.Now().Add(e.o.Lease)}, w)
	if err != nil || int(n) == len(ids) {
		return err
	}
	where, args := w.SQL()
	kept, err := db.Select[string](ctx, e.db, "SELECT id FROM sagas"+where, args...)
	if err != nil {
		return err
	}
	e.end(slices.DeleteFunc(ids, func(id string) bool { return slices.Contains(kept, id) }))
	return nil
}

func (e *Engine) runningIDs() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	ids := make([]string, 0, len(e.running))
	for id := range e.running {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// end ends the contexts of sagas that run here.
func (e *Engine) end(ids []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range ids {
		if cancel, ok := e.running[id]; ok {
			cancel()
		}
	}
}
