package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
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
		return s.tx
	}
	return d.read
}

func (d *DB) writer(ctx context.Context) querier {
	if s := d.state(ctx); s != nil {
		return s.tx
	}
	return d.write
}

// maxTries bounds how often a transaction is run again after the engine
// ended it for a conflict (deadlock, serialisation, busy).
const maxTries = 10

// Tx runs f in a transaction and commits it, or rolls back when f fails. f
// must use the context it is given, and may be run again after a conflict, so
// it must not act outside the database. A Tx inside a Tx joins it.
func (d *DB) Tx(ctx context.Context, f func(ctx context.Context) error) error {
	if d.state(ctx) != nil {
		return f(ctx)
	}
	for try := 1; ; try++ {
		err := d.once(ctx, f)
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
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	s := &txState{tx: tx}
	done := false
	defer func() {
		if !done { // f failed or panicked
			_ = tx.Rollback()
		}
	}()
	if err := f(context.WithValue(ctx, txKey{d}, s)); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	done = true
	for _, a := range s.after {
		a()
	}
	return nil
}

// AfterCommit runs f once the transaction in ctx has committed, or at once
// without a transaction. Used for nudges, which may be lost.
func (d *DB) AfterCommit(ctx context.Context, f func()) {
	if s := d.state(ctx); s != nil {
		s.after = append(s.after, f)
		return
	}
	f()
}
