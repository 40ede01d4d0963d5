// Package store keeps placement's rows. Whatever must be true of several rows
// is a constraint or is checked in one transaction that holds the providers'
// rows, so that no two requests can give away the same resource.
package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/placement"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Store is the service's database.
type Store struct {
	db    *db.DB
	cache snapshotCache
}

// New migrates the database and adds the standard traits and resource classes
// that it does not have yet.
func New(ctx context.Context, d *db.DB) (*Store, error) {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := d.Migrate(ctx, "placement", sub); err != nil {
		return nil, err
	}
	s := &Store{db: d}
	if err := s.addStandardNames(ctx); err != nil {
		return nil, fmt.Errorf("add the standard traits and resource classes: %w", err)
	}
	return s, nil
}

func (s *Store) addStandardNames(ctx context.Context) error {
	now := db.Now()
	known, err := s.names(ctx, "SELECT name FROM traits")
	if err != nil {
		return err
	}
	var rows [][]any
	for _, t := range placement.StandardTraits() {
		if !known[t] {
			rows = append(rows, []any{t, now})
		}
	}
	if err := s.insertNames(ctx, "traits", "name, updated_at", rows); err != nil {
		return err
	}
	if known, err = s.names(ctx, "SELECT name FROM resource_classes"); err != nil {
		return err
	}
	rows = nil
	for i, c := range placement.StandardResourceClasses() {
		if !known[c] {
			rows = append(rows, []any{c, i, now})
		}
	}
	return s.insertNames(ctx, "resource_classes", "name, position, updated_at", rows)
}

func (s *Store) names(ctx context.Context, query string, args ...any) (map[string]bool, error) {
	list, err := db.Select[string](ctx, s.db, query, args...)
	set := make(map[string]bool, len(list))
	for _, n := range list {
		set[n] = true
	}
	return set, err
}

// insertNames adds rows that another process may be adding too.
func (s *Store) insertNames(ctx context.Context, table, columns string, rows [][]any) error {
	for chunk := range slices.Chunk(rows, 100) {
		q, args := values("INSERT INTO "+table+" ("+columns+") VALUES ", chunk)
		if s.db.Dialect() == db.MySQL {
			q += " ON DUPLICATE KEY UPDATE name = name"
		} else {
			q += " ON CONFLICT DO NOTHING"
		}
		if _, err := db.Exec(ctx, s.db, q, args...); err != nil {
			return err
		}
	}
	return nil
}

// values appends a row of marks for each row.
func values(head string, rows [][]any) (string, []any) {
	var b strings.Builder
	b.WriteString(head)
	var args []any
	for i, r := range rows {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("(" + marks(len(r)) + ")")
		args = append(args, r...)
	}
	return b.String(), args
}

func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

func anys(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

// revision makes a new provider revision. Random numbers of 40 bits make the
// sum of all revisions a fingerprint of the whole table without a counter that
// every write would have to queue for.
func revision() int64 { return rand.Int64N(1 << 40) }

// again tells tx to run the transaction once more: another one was faster
// with something that does not concern the caller.
var errAgain = errors.New("changed by another transaction")

const maxTries = 10

// tx runs f in a transaction, again where f returns errAgain.
func (s *Store) tx(ctx context.Context, f func(ctx context.Context) error) error {
	for range maxTries {
		err := s.db.Tx(ctx, f)
		if !errors.Is(err, errAgain) {
			return err
		}
	}
	return fault.Conflictf("The request was overtaken by others again and again; try later.").WithType(placement.CodeConcurrentUpdate)
}

// touch locks the providers (in one order for all transactions) and gives
// them a new revision; those in bump also get the next generation.
func (s *Store) touch(ctx context.Context, uuids []string, bump func(uuid string) bool) error {
	sorted := slices.Compact(slices.Sorted(slices.Values(uuids)))
	now := db.Now()
	for _, u := range sorted {
		step := 0
		if bump(u) {
			step = 1
		}
		if _, err := db.Exec(ctx, s.db, "UPDATE providers SET generation = generation + ?, revision = ?, updated_at = ? WHERE uuid = ?", step, revision(), now, u); err != nil {
			return err
		}
	}
	return nil
}

// advance moves a provider from a generation to the next, and so locks it
// for the rest of the transaction.
func (s *Store) advance(ctx context.Context, uuid string, generation int) error {
	n, err := db.Update(ctx, s.db, "providers",
		db.Set{"generation": generation + 1, "revision": revision(), "updated_at": db.Now()},
		db.Where().Eq("uuid", uuid).Eq("generation", generation))
	if err != nil {
		return err
	}
	if n == 1 {
		return nil
	}
	if _, err := s.Provider(ctx, uuid); err != nil {
		return err
	}
	return placement.GenerationConflict(uuid)
}
