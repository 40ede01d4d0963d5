// Package store keeps the image service's rows: SQL in plain sight, one file
// per resource.
package store

import (
	"context"
	"embed"
	"errors"
	"io/fs"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/feed"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Store is the image service's database. It is safe for concurrent use.
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
	if err := d.Migrate(ctx, "image", sub); err != nil {
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

// missingImage is the fault of an image that does not exist for the caller.
func missingImage(id string) error {
	return fault.New(fault.NotFound, "No image found with ID %s", id)
}

func found[T any](v *T, err error, missing error) (*T, error) {
	if errors.Is(err, db.ErrNoRows) {
		return nil, missing
	}
	return v, err
}
