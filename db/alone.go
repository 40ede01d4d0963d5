package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/fault"
)

const (
	// aloneLease is how long the turn of a process that died lasts.
	aloneLease = 10 * time.Second
	// alonePoll is how often one that waits looks.
	alonePoll = 50 * time.Millisecond
)

// Alone runs f while no other process that shares the database runs a work of
// the same name, and waits for that until ctx ends: what a service does at its
// start. The turn is a row with an end, as every engine and every cluster of
// them has it, and that of a process that died passes on within 10 s. The
// context of f ends should the turn be lost. A SQLite file has one process, so
// nothing is locked there.
func (d *DB) Alone(ctx context.Context, name string, f func(ctx context.Context) error) error {
	if d.dialect == SQLite {
		return f(ctx)
	}
	if err := d.makeTurns(ctx); err != nil {
		return err
	}
	t := &turn{db: d, name: name, owner: uuid.NewString()}
	for {
		mine, err := t.take(ctx)
		if err != nil {
			return fmt.Errorf("wait for the turn %q: %w", name, err)
		}
		if mine {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the turn %q: %w", name, ctx.Err())
		case <-time.After(alonePoll):
		}
	}
	return t.run(ctx, f)
}

// makeTurns makes the table. Two processes that do it at the same time may
// both not find it, of which the engine tells the slower one.
func (d *DB) makeTurns(ctx context.Context) error {
	text := "CREATE TABLE IF NOT EXISTS turns (name VARCHAR(100) PRIMARY KEY, owner VARCHAR(64) NOT NULL, until_at " +
		macros[d.dialect]["Time"] + " NOT NULL) " + macros[d.dialect]["Options"]
	var err error
	for range 3 {
		if _, err = Exec(ctx, d, text); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return fmt.Errorf("make the table of turns: %w", err)
}

type turn struct {
	db          *DB
	name, owner string
}

type turnRow struct {
	Name  string    `db:"name"`
	Owner string    `db:"owner"`
	Until time.Time `db:"until_at"`
}

// take takes or renews the turn.
func (t *turn) take(ctx context.Context) (bool, error) {
	now := Now()
	n, err := Exec(ctx, t.db, "UPDATE turns SET owner = ?, until_at = ? WHERE name = ? AND (owner = ? OR until_at < ?)",
		t.owner, now.Add(aloneLease), t.name, t.owner, now)
	if err != nil || n > 0 {
		return n > 0, err
	}
	have, err := Count(ctx, t.db, "SELECT COUNT(*) FROM turns WHERE name = ?", t.name)
	if err != nil || have > 0 {
		return false, err
	}
	err = Insert(ctx, t.db, "turns", turnRow{t.name, t.owner, now.Add(aloneLease)})
	if IsUnique(err) {
		return false, nil
	}
	return err == nil, err
}

// run runs f, renewing the turn meanwhile.
func (t *turn) run(ctx context.Context, f func(ctx context.Context) error) error {
	inner, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		until := time.Now().Add(aloneLease)
		for tick := time.NewTicker(aloneLease / 4); ; {
			select {
			case <-inner.Done():
				tick.Stop()
				return
			case <-tick.C:
			}
			began := time.Now()
			mine, err := t.take(inner)
			switch {
			case mine:
				until = began.Add(aloneLease)
			case err == nil || time.Now().Add(aloneLease/4).After(until):
				cancel(errors.Join(fault.Unavailablef("The turn %q was lost to another process.", t.name), err))
			}
		}
	}()
	err := f(inner)
	if cause := context.Cause(inner); err != nil && ctx.Err() == nil && cause != nil {
		err = errors.Join(err, cause)
	}
	cancel(nil)
	<-done
	end, stop := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
	defer stop()
	if _, e := Exec(end, t.db, "DELETE FROM turns WHERE name = ? AND owner = ?", t.name, t.owner); e != nil && err == nil {
		return fmt.Errorf("end the turn %q: %w", t.name, e)
	}
	return err
}
