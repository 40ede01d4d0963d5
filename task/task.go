// Package task is durable work: sagas of idempotent steps with undo, kept in
// the service's own database and resumed by any process after a crash, and
// periodic jobs under database leases.
//
// A saga's row is written in the same transaction as the resource it serves,
// so the work can neither be lost nor begin without its resource. A step that
// was under way when the process died runs again: it must find what it did
// before (by an id that was chosen and stored first) and go on. Sagas of one
// object run one after the other, in the order they were started.
//
// Processes that share a database know of each other's death by leases. The
// clocks of their machines may differ by less than a lease (NTP does far
// better); a process whose lease is gone sees its step's context end and can
// store nothing any more.
package task

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/obs"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Step is one idempotent part of a saga. Do and Undo may change the state,
// which is stored with the position after each of them.
type Step[S any] struct {
	Name string
	// Do does the step. An error of kind Unavailable (or a timeout) is
	// tried again with back-off for as long as Patience; any other fails
	// the saga, which is then undone backwards from this step on. Later
	// asks to be called again without failing. A panic is an error.
	Do func(ctx context.Context, s *S) error
	// Undo takes back what Do did or half did (maybe nothing, where the
	// process died at its beginning); nil: nothing to take back. It is
	// tried until it succeeds.
	Undo func(ctx context.Context, s *S) error
	// Timeout bounds one try; 0: 2 minutes.
	Timeout time.Duration
	// Patience bounds how long transient errors in a row are tried; 0: 2
	// minutes.
	Patience time.Duration
}

// Saga is multi-step work on one object. Its state is written with every step:
// keep it to ids and small facts, and keep secrets out.
type Saga[S any] struct {
	Name  string
	Steps []Step[S]
	// Failed is called after everything was undone, with the cause, to
	// bring the object into its error state. Idempotent, tried until it
	// succeeds. A cancelled saga's cause is ErrCancelled.
	Failed func(ctx context.Context, s *S, cause error) error
}

// ErrCancelled is the cause of a saga that Cancel ended.
var ErrCancelled = errors.New("cancelled by a later request")

type laterError struct{ after time.Duration }

func (l laterError) Error() string { return fmt.Sprintf("not yet; again after %s", l.after) }

// Later is what Do returns to be called again after d (or on a Nudge of the
// object): the way to wait for an event without holding a goroutine.
func Later(d time.Duration) error { return laterError{d} }

// When says on which side of a step a Hook is called.
type When string

// The sides.
const (
	Before When = "before"
	After  When = "after"
)

// Options make an engine.
type Options struct {
	// Owner names this process among those that share the database; it is
	// the same after a restart, and no two living processes share it.
	Owner string
	Log   *slog.Logger
	// Workers bounds how many sagas run at once; 0: 32.
	Workers int
	// Lease is how long a dead process's sagas wait for another to take
	// over; 0: 8 s.
	Lease time.Duration
	// Hook is called before and after each Do and Undo; crash tests end
	// the process in it.
	Hook func(saga, step string, undo bool, w When)
}

// Engine runs the sagas of one service.
type Engine struct {
	db    *db.DB
	o     Options
	sagas map[string]runner
	order []string
	jobs  []job

	mu      sync.Mutex
	running map[string]context.CancelFunc // by saga id
	wake    chan struct{}
}

// runner hides the state's type.
type runner struct {
	steps  []string
	run    func(ctx context.Context, step int, undo bool, state json.RawMessage) (json.RawMessage, error)
	failed func(ctx context.Context, state json.RawMessage, cause error) error
	limits func(step int) (timeout, patience time.Duration)
}

// New makes an engine over the service's database and creates its tables.
// Register the sagas, then Run it.
func New(ctx context.Context, d *db.DB, o Options) (*Engine, error) {
	if o.Workers == 0 {
		o.Workers = 32
	}
	if o.Lease == 0 {
		o.Lease = 8 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if err := migrate(ctx, d); err != nil {
		return nil, err
	}
	return &Engine{db: d, o: o, sagas: map[string]runner{}, running: map[string]context.CancelFunc{}, wake: make(chan struct{}, 1)}, nil
}

// migrate makes the tables of sagas and leases.
func migrate(ctx context.Context, d *db.DB) error {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	return d.Migrate(ctx, "task", sub)
}

// Register adds a saga's definition. All definitions are registered before
// Run; a name stands once.
func Register[S any](e *Engine, s Saga[S]) {
	r := runner{}
	for _, st := range s.Steps {
		r.steps = append(r.steps, st.Name)
	}
	r.limits = func(i int) (time.Duration, time.Duration) {
		t, p := s.Steps[i].Timeout, s.Steps[i].Patience
		if t == 0 {
			t = 2 * time.Minute
		}
		if p == 0 {
			p = 2 * time.Minute
		}
		return t, p
	}
	r.run = func(ctx context.Context, i int, undo bool, raw json.RawMessage) (json.RawMessage, error) {
		var state S
		if err := json.Unmarshal(raw, &state); err != nil {
			return raw, fmt.Errorf("state of saga %s: %w", s.Name, err)
		}
		f := s.Steps[i].Do
		if undo {
			f = s.Steps[i].Undo
		}
		if f == nil {
			return raw, nil
		}
		err := f(ctx, &state)
		out, merr := json.Marshal(state)
		if merr != nil {
			return raw, errors.Join(err, merr)
		}
		return out, err
	}
	r.failed = func(ctx context.Context, raw json.RawMessage, cause error) error {
		if s.Failed == nil {
			return nil
		}
		var state S
		if err := json.Unmarshal(raw, &state); err != nil {
			return err
		}
		return s.Failed(ctx, &state, cause)
	}
	if _, ok := e.sagas[s.Name]; ok {
		panic("saga " + s.Name + " is registered twice")
	}
	e.sagas[s.Name] = r
	e.order = append(e.order, s.Name)
}

// StepName is one step of a registered saga, for tests that walk them all.
type StepName struct{ Saga, Step string }

// Steps lists every step of every registered saga in order.
func (e *Engine) Steps() []StepName {
	var out []StepName
	for _, name := range e.order {
		for _, s := range e.sagas[name].steps {
			out = append(out, StepName{name, s})
		}
	}
	return out
}

// row is a saga as stored.
type row struct {
	ID         string                     `db:"id"`
	SeqAt      time.Time                  `db:"seq_at"`
	Name       string                     `db:"name"`
	Object     string                     `db:"object_id"`
	State      db.JSON[json.RawMessage]   `db:"state"`
	Step       int                        `db:"step"`
	Undoing    bool                       `db:"undoing"`
	Cancelled  bool                       `db:"cancelled"`
	CauseKind  string                     `db:"cause_kind"`
	Cause      string                     `db:"cause"`
	Tries      int                        `db:"tries"`
	FirstTryAt *time.Time                 `db:"first_try_at"`
	RunAt      time.Time                  `db:"run_at"`
	Owner      string                     `db:"owner"`
	LeaseUntil *time.Time                 `db:"lease_until"`
	Trace      db.JSON[map[string]string] `db:"trace"`
	Problem    string                     `db:"problem"` // why the last try failed

	// begun: the step at hand may have done something. Stored as a
	// FirstTryAt, which after a crash may say so without need, never the
	// other way round.
	begun bool
}

// Start stores a saga on the object; call it with the context of the
// transaction that writes the object. It begins after the commit. The trace
// and request id of ctx go along.
func Start[S any](ctx context.Context, e *Engine, saga, objectID string, state S) error {
	if _, ok := e.sagas[saga]; !ok {
		return fmt.Errorf("saga %s is not registered", saga)
	}
	raw, err := json.Marshal(state)
	if err != nil {
		return err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	trace := map[string]string{"request-id": obs.RequestID(ctx)}
	obs.InjectMap(ctx, trace)
	now := db.Now()
	r := row{ID: id.String(), SeqAt: now, Name: saga, Object: objectID, State: db.J(json.RawMessage(raw)), RunAt: now, Trace: db.J(trace)}
	err = e.db.Tx(ctx, func(ctx context.Context) error {
		// Clocks differ and jump; the order of an object's sagas must not.
		last, err := db.Get[*time.Time](ctx, e.db, "SELECT max(seq_at) FROM sagas WHERE object_id = ?", objectID)
		if err != nil {
			return err
		}
		if *last != nil && !(*last).Before(now) {
			r.SeqAt = (*last).Add(time.Microsecond)
		}
		e.db.AfterCommit(ctx, e.poke)
		return db.Insert(ctx, e.db, "sagas", r)
	})
	if err != nil {
		return fmt.Errorf("store saga %s: %w", saga, err)
	}
	return nil
}

// Cancel asks the object's unfinished sagas of these names (none: all) to
// stop at the next step and undo what they did: every step that ended or has
// begun (after a crash also one of which that is unknown). The cause is
// ErrCancelled. A step under way is not interrupted, and a saga that undoes
// already goes on doing so with the cause it has. Cancel belongs into the
// transaction that starts the saga that takes over.
func (e *Engine) Cancel(ctx context.Context, objectID string, sagas ...string) error {
	w := db.Where().Eq("object_id", objectID)
	if len(sagas) > 0 {
		w.In("name", sagas)
	}
	if _, err := db.Update(ctx, e.db, "sagas", db.Set{"cancelled": true, "run_at": db.Now()}, w); err != nil {
		return err
	}
	e.db.AfterCommit(ctx, e.poke)
	return nil
}

// Nudge makes the object's waiting sagas run now.
func (e *Engine) Nudge(ctx context.Context, objectID string) error {
	n, err := db.Update(ctx, e.db, "sagas", db.Set{"run_at": db.Now()}, db.Where().Eq("object_id", objectID))
	if err == nil && n > 0 {
		e.db.AfterCommit(ctx, e.poke)
	}
	return err
}

// Active returns the names of the object's unfinished sagas, oldest first.
func (e *Engine) Active(ctx context.Context, objectID string) ([]string, error) {
	return db.Select[string](ctx, e.db, "SELECT name FROM sagas WHERE object_id = ? ORDER BY seq_at, id", objectID)
}

// Idle reports whether no saga is unfinished, for tests and leak checks.
func (e *Engine) Idle(ctx context.Context) (bool, error) {
	n, err := db.Count(ctx, e.db, "SELECT count(*) FROM sagas")
	return n == 0, err
}

func (e *Engine) poke() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

func transient(err error) bool {
	return fault.Is(err, fault.Unavailable) || errors.Is(err, context.DeadlineExceeded)
}
