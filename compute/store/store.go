// Package store keeps the compute service's rows: SQL in plain sight, one file
// per resource, invariants as constraints of the schema.
package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/feed"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Store is the compute service's database. It is safe for concurrent use.
type Store struct {
	db   *db.DB
	feed *feed.Feed
}

// New brings the schema to its newest version and returns the store.
func New(ctx context.Context, d *db.DB) (*Store, error) {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := d.Migrate(ctx, "compute", sub); err != nil {
		return nil, err
	}
	news, err := feed.New(ctx, d)
	if err != nil {
		return nil, err
	}
	return &Store{db: d, feed: news}, nil
}

// DB is the database itself, which the sagas share.
func (s *Store) DB() *db.DB { return s.db }

// Tx runs f in one transaction, see db.DB.Tx.
func (s *Store) Tx(ctx context.Context, f func(ctx context.Context) error) error {
	return s.db.Tx(ctx, f)
}

// found turns "no rows" into the fault of a missing resource.
func found[T any](v *T, err error, resource, id string) (*T, error) {
	if errors.Is(err, db.ErrNoRows) {
		return nil, fault.Missing(resource, id)
	}
	return v, err
}

// pair is a name with its value, of an owner.
type pair struct {
	Owner string `db:"owner_id"`
	Name  string `db:"name"`
	Value string `db:"text_value"`
}

// pairs returns the name-value rows of many owners.
func pairs(ctx context.Context, d *db.DB, table, ownerColumn string, w *db.Cond) (map[string]map[string]string, error) {
	where, args := w.SQL()
	rows, err := db.Select[pair](ctx, d, fmt.Sprintf("SELECT %s AS owner_id, name, text_value FROM %s%s", ownerColumn, table, where), args...)
	if err != nil {
		return nil, err
	}
	out := map[string]map[string]string{}
	for _, r := range rows {
		if out[r.Owner] == nil {
			out[r.Owner] = map[string]string{}
		}
		out[r.Owner][r.Name] = r.Value
	}
	return out, nil
}
