package store

import (
	"context"
	"time"

	"github.com/tropocloud/tropo/db"
)

// lock is a row that transactions which count the same rows write first, so
// that on every engine each counts what the one before it has left.
type lock struct {
	Name    string    `db:"name"`
	TakenAt time.Time `db:"taken_at"`
}

// Lock makes the transaction of ctx the only one under this name until it
// ends.
func (s *Store) Lock(ctx context.Context, name string) error {
	return db.Upsert(ctx, s.db, "locks", lock{name, db.Now()}, "name")
}
