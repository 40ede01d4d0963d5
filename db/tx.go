package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tropocloud/tropo/fault"
)

type txKey struct{ d *DB }

type txState struct {
	tx    *sql.Tx
	after []func()
}

type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func (d *DB) state(ctx context.Context) *txState {
	s, _ := ctx.Value(txKey{d}).(*txState)
	return s
}

func (d *DB) reader(ctx context.Context) querier {
	if s := d.state(ctx); s != nil {
		return d.guard(s.tx)
	}
	return d.guard(d.read)
}

// maxTries bounds how often a transaction is run again after the engine
// ended it for a conflict (deadlock, serialisation, busy).
const maxTries = 10

// Tx runs f in a transaction and commits it, or rolls back when f fails. f
// must use the context it is given, and may be run again after a conflict, so
// it must not act outside the database. A Tx inside a Tx joins it: what it
// wrote before it failed stays unless the outer one fails too. When ctx ends,
// the transaction is rolled back.
func (d *DB) Tx(ctx context.Context, f func(ctx context.Context) error) error {
	if d.state(ctx) != nil {
		return f(ctx)
	}
	return again(ctx, func() error { return d.once(ctx, f) })
}

// gateTimeout bounds how long a writer of SQLite waits for its turn.
const gateTimeout = 30 * time.Second

// enter waits until SQLite's one writer is free; leave lets the next in.
// Whoever uses a context other than the transaction's own inside of it would
// wait for itself: after the bound that is an error, and not a hang.
func (d *DB) enter(ctx context.Context) (leave func(), err error) {
	if d.gate == nil {
		return func() {}, nil
	}
	leave = func() { <-d.gate }
	select {
	case d.gate <- struct{}{}:
		return leave, nil
	default:
	}
	timer := time.NewTimer(d.gateWait)
	defer timer.Stop()
	select {
	case d.gate <- struct{}{}:
		return leave, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the database's writer: %w", ctx.Err())
	case <-timer.C:
		return nil, fault.Wrap(fault.Unavailable,
			fmt.Errorf("no turn to write for %s: a transaction takes too long, or a context other than its own is used inside of it", d.gateWait),
			"The database is busy; try again.")
	}
}

// again runs f until it succeeds, fails for good, or has been ended by the
// engine for a conflict too often.
func again(ctx context.Context, f func() error) error {
	for try := 1; ; try++ {
		err := f()
		if err == nil || !retryable(err) || try == maxTries {
			return err
		}
		pause := time.Duration(1<<min(try, 7)) * time.Millisecond
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(err, ctx.Err())
		case <-timer.C:
		}
	}
}

func (d *DB) once(ctx context.Context, f func(ctx context.Context) error) (err error) {
	leave, err := d.enter(ctx)
	if err != nil {
		return err
	}
	s := &txState{}
	if err := d.commit(ctx, s, f, leave); err != nil {
		return err
	}
	for _, a := range s.after {
		a()
	}
	return nil
}

func (d *DB) commit(ctx context.Context, s *txState, f func(ctx context.Context) error, leave func()) (err error) {
	defer leave()
	if err := d.fenced(); err != nil {
		return err
	}
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return mapError(fmt.Errorf("begin: %w", err))
	}
	s.tx = tx
	done := false
	defer func() {
		if !done { // f failed or panicked
			_ = tx.Rollback()
		}
	}()
	if err := f(context.WithValue(ctx, txKey{d}, s)); err != nil {
		return err
	}
	if err := d.fenced(); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		// Where ctx has ended, database/sql may have rolled back already.
		if errors.Is(err, sql.ErrTxDone) && ctx.Err() != nil {
			err = ctx.Err()
		}
		return mapError(fmt.Errorf("commit: %w", err))
	}
	done = true
	return nil
}

// AfterCommit runs f once the transaction in ctx has committed, or at once
// without a transaction. Used for nudges, which may be lost. f must not use
// the transaction's context.
func (d *DB) AfterCommit(ctx context.Context, f func()) {
	if s := d.state(ctx); s != nil {
		s.after = append(s.after, f)
		return
	}
	f()
}
