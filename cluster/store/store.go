// Package store keeps the rows of the cluster: nodes, the certificates that
// are accepted, join tokens.
package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// MaxList bounds every list.
const MaxList = 10000

// Store is the database of the cluster.
type Store struct{ db *db.DB }

// New brings the schema to the newest version.
func New(ctx context.Context, d *db.DB) (*Store, error) {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := d.Migrate(ctx, "cluster", sub); err != nil {
		return nil, err
	}
	return &Store{db: d}, nil
}

// Tx runs f in a transaction.
func (s *Store) Tx(ctx context.Context, f func(ctx context.Context) error) error {
	return s.db.Tx(ctx, f)
}

// Shared reports whether several control nodes can use the database.
func (s *Store) Shared() bool { return s.db.Dialect() != db.SQLite }

// missing turns "no row" into a fault.
func missing(err error, what, id string) error {
	if errors.Is(err, db.ErrNoRows) {
		return fault.Missing(what, id)
	}
	return err
}

type fact struct {
	Name string `db:"name"`
	Fact string `db:"fact"`
}

// SetFact keeps a fact that all control nodes agree on.
func (s *Store) SetFact(ctx context.Context, name, value string) error {
	return db.Upsert(ctx, s.db, "facts", fact{name, value}, "name")
}

// FirstFact keeps a fact unless there is one, and returns what holds.
func (s *Store) FirstFact(ctx context.Context, name, value string) (string, error) {
	if err := db.Insert(ctx, s.db, "facts", fact{name, value}); err != nil && !db.IsUnique(err) {
		return "", fmt.Errorf("keep the fact %s: %w", name, err)
	}
	return s.Fact(ctx, name)
}

// SwapFact replaces a fact that is old ("": there is none), and reports whether
// it was.
func (s *Store) SwapFact(ctx context.Context, name, old, value string) (bool, error) {
	if old == "" {
		err := db.Insert(ctx, s.db, "facts", fact{name, value})
		if db.IsUnique(err) {
			return false, nil
		}
		return err == nil, err
	}
	n, err := db.Exec(ctx, s.db, "UPDATE facts SET fact = ? WHERE name = ? AND fact = ?", value, name, old)
	return n > 0, err
}

// Fact reads a fact; "" if there is none.
func (s *Store) Fact(ctx context.Context, name string) (string, error) {
	f, err := db.Get[fact](ctx, s.db, "SELECT name, fact FROM facts WHERE name = ?", name)
	if errors.Is(err, db.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return f.Fact, nil
}

// Prune removes tokens and certificates that are over.
func (s *Store) Prune(ctx context.Context, now time.Time) error {
	if _, err := db.Exec(ctx, s.db, "DELETE FROM join_tokens WHERE expires_at < ?", now.Add(-24*time.Hour)); err != nil {
		return err
	}
	_, err := db.Exec(ctx, s.db, "DELETE FROM certificates WHERE expires_at < ?", now)
	return err
}
