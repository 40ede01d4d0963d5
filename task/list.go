package task

import (
	"context"
	"time"

	"github.com/tropocloud/tropo/db"
)

// Info is an unfinished saga as stored, for those who look after the engine.
type Info struct {
	ID         string     `db:"id"`
	Name       string     `db:"name"`
	Object     string     `db:"object_id"`
	Started    time.Time  `db:"seq_at"`
	Step       int        `db:"step"`
	Undoing    bool       `db:"undoing"`
	Tries      int        `db:"tries"` // failures in a row of the step at hand
	FirstTryAt *time.Time `db:"first_try_at"`
	RunAt      time.Time  `db:"run_at"` // not before
	Owner      string     `db:"owner"`  // the process at work on it, "" for none
	LeaseUntil *time.Time `db:"lease_until"`
	Problem    string     `db:"problem"` // why the last try failed
}

// Leased reports whether a process is at work on the saga.
func (i *Info) Leased(now time.Time) bool {
	return i.Owner != "" && i.LeaseUntil != nil && i.LeaseUntil.After(now)
}

// List returns all unfinished sagas, oldest first.
func (e *Engine) List(ctx context.Context) ([]Info, error) {
	return db.Select[Info](ctx, e.db, "SELECT "+db.Columns[Info]("")+" FROM sagas ORDER BY seq_at, id")
}

// Knows reports whether this process can run sagas of the name; those of a
// newer release it cannot.
func (e *Engine) Knows(name string) bool {
	_, ok := e.sagas[name]
	return ok
}

// StepOf names the step of a saga at a position, "" where it has none.
func (e *Engine) StepOf(name string, step int) string {
	if s, ok := e.sagas[name]; ok && step >= 0 && step < len(s.steps) {
		return s.steps[step]
	}
	return ""
}

// Drop removes an unfinished saga that no process is at work on, without
// running or undoing anything; it reports whether it did. For sagas whose
// object is gone, so that there is nothing left to do or to take back.
func (e *Engine) Drop(ctx context.Context, id string) (bool, error) {
	n, err := db.Delete(ctx, e.db, "sagas", db.ByID(id).Raw("owner = '' OR lease_until < ?", db.Now()))
	return n > 0, err
}
