package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/network"
)

// Mark notes that the dataplane must be made equal to an object's row; it
// belongs into the transaction that changes the row.
func (s *Store) Mark(ctx context.Context, kind, id string) error {
	return db.Upsert(ctx, s.db, "dirty", network.Dirty{Kind: kind, ObjectID: id, Version: uuid.NewString(), DueAt: db.Now()}, "kind", "object_id")
}

// Due returns objects whose time has come, oldest first, and when the next
// one comes (zero: none is waiting).
func (s *Store) Due(ctx context.Context, limit int) ([]network.Dirty, time.Time, error) {
	now := db.Now()
	list, err := db.SelectPage[network.Dirty](ctx, s.db, "dirty", db.Where().Raw("due_at <= ?", now), db.Page{Limit: limit, Sort: []db.Sort{{Column: "due_at"}}, ID: "object_id"})
	if err != nil || len(list) > 0 {
		return list, time.Time{}, err
	}
	next, err := db.Select[network.Dirty](ctx, s.db, "SELECT * FROM dirty ORDER BY due_at LIMIT 1")
	if err != nil || len(next) == 0 {
		return nil, time.Time{}, err
	}
	return nil, next[0].DueAt, nil
}

// Done forgets a mark, unless the object was marked again meanwhile.
func (s *Store) Done(ctx context.Context, d network.Dirty) error {
	_, err := db.Delete(ctx, s.db, "dirty", db.Where().Eq("kind", d.Kind).Eq("object_id", d.ObjectID).Eq("version", d.Version))
	return err
}

// Again puts a mark off, with the reason.
func (s *Store) Again(ctx context.Context, d network.Dirty, at time.Time, problem string) error {
	_, err := db.Update(ctx, s.db, "dirty", db.Set{"attempts": d.Attempts + 1, "due_at": at.UTC().Truncate(time.Microsecond), "problem": problem},
		db.Where().Eq("kind", d.Kind).Eq("object_id", d.ObjectID).Eq("version", d.Version))
	return err
}

// DirtyCount is the number of objects that wait for the dataplane.
func (s *Store) DirtyCount(ctx context.Context) (int, error) {
	return db.Count(ctx, s.db, "SELECT COUNT(*) FROM dirty")
}
