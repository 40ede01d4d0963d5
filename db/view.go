package db

import (
	"context"
	"database/sql"
	"sync/atomic"

	"github.com/tropocloud/tropo/fault"
)

// View is the same database as another process would see it: it shares the
// connections of d, and its Close ends it alone. Tests of what a killed process
// leaves give one to each pretended process: after Close its statements fail,
// and a transaction under way is rolled back. Migrate and SQL are not fenced.
func (d *DB) View() *DB {
	v := *d
	v.ended = &atomic.Bool{}
	return &v
}

// fenced is the error of a view that was closed.
func (d *DB) fenced() error {
	if d.ended != nil && d.ended.Load() {
		return fault.Unavailablef("The database connection is closed.")
	}
	return nil
}

// fence wraps what runs statements.
type fence struct {
	querier
	d *DB
}

func (d *DB) guard(q querier) querier {
	if d.ended == nil {
		return q
	}
	return fence{q, d}
}

func (f fence) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if err := f.d.fenced(); err != nil {
		return nil, err
	}
	return f.querier.ExecContext(ctx, query, args...)
}

func (f fence) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := f.d.fenced(); err != nil {
		return nil, err
	}
	return f.querier.QueryContext(ctx, query, args...)
}
