// Package store keeps the network service's rows.
//
// Most resources share one shape, so their SQL does too: Get, List, Insert,
// Update and Delete work for every kind; what a kind has beyond its own table
// (addresses, tags, who may see it) stands in its own file.
package store

import (
	"context"
	"embed"
	"errors"
	"io/fs"
	"reflect"
	"strings"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/feed"
	"github.com/tropocloud/tropo/network"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Store is the service's database.
type Store struct {
	db   *db.DB
	feed *feed.Feed
}

// New brings the database to the newest schema.
func New(ctx context.Context, d *db.DB) (*Store, error) {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := d.Migrate(ctx, "network", sub); err != nil {
		return nil, err
	}
	news, err := feed.New(ctx, d)
	if err != nil {
		return nil, err
	}
	return &Store{db: d, feed: news}, nil
}

// Tx runs f in a transaction; see db.DB.Tx.
func (s *Store) Tx(ctx context.Context, f func(ctx context.Context) error) error {
	return s.db.Tx(ctx, f)
}

// AfterCommit runs f when the transaction in ctx has committed.
func (s *Store) AfterCommit(ctx context.Context, f func()) { s.db.AfterCommit(ctx, f) }

// KindOf is the kind of T.
func KindOf[T any, P network.Row[T]]() *network.Kind { return P(new(T)).Kind() }

// Get returns a row with all that belongs to it, whoever owns it.
func Get[T any, P network.Row[T]](ctx context.Context, s *Store, id string) (*T, error) {
	return Find[T, P](ctx, s, network.Scope{All: true}, id)
}

// Find returns a row that the scope may see, with all that belongs to it.
func Find[T any, P network.Row[T]](ctx context.Context, s *Store, sc network.Scope, id string) (*T, error) {
	k := KindOf[T, P]()
	w := visible(db.Where().Eq("id", id), k, sc)
	where, args := w.SQL()
	v, err := db.Get[T](ctx, s.db, "SELECT "+db.Columns[T]("")+" FROM "+db.Quote(k.Table)+where, args...)
	if errors.Is(err, db.ErrNoRows) {
		return nil, k.NotFound(id)
	}
	if err != nil {
		return nil, err
	}
	list := []T{*v}
	if err := decorate[T, P](ctx, s, sc, list); err != nil {
		return nil, err
	}
	return &list[0], nil
}

// Select returns the rows that match a condition, with all that belongs to
// them, ordered by creation; for internal use.
func Select[T any, P network.Row[T]](ctx context.Context, s *Store, w *db.Cond) ([]T, error) {
	where, args := w.SQL()
	list, err := db.Select[T](ctx, s.db, "SELECT "+db.Columns[T]("")+" FROM "+db.Quote(KindOf[T, P]().Table)+where+" ORDER BY created_at, id", args...)
	if err != nil {
		return nil, err
	}
	return list, decorate[T, P](ctx, s, network.Scope{All: true}, list)
}

// Insert adds a row; it fills in the id, the times and the revision.
func Insert[T any, P network.Row[T]](ctx context.Context, s *Store, v P) error {
	std := v.Std()
	if std.ID == "" {
		std.ID = db.NewID(ctx)
	}
	std.CreatedAt = db.Now()
	std.UpdatedAt, std.Revision = std.CreatedAt, 1
	if err := db.Insert(ctx, s.db, v.Kind().Table, v); err != nil {
		return err
	}
	if err := s.insertTags(ctx, std.ID, std.Tags); err != nil {
		return err
	}
	return s.tell(ctx, v, feed.Create)
}

// Update writes the columns in which v differs from old and counts the
// revision up; it is a compare-and-swap on the revision. force counts the
// revision up even when no column differs, for changes in related tables.
func Update[T any, P network.Row[T]](ctx context.Context, s *Store, old, v P, force bool) error {
	set := diff(old, v)
	if len(set) == 0 && !force {
		return nil
	}
	std, was := v.Std(), old.Std().Revision
	std.Revision, std.UpdatedAt = was+1, db.Now()
	set["revision_number"], set["updated_at"] = std.Revision, std.UpdatedAt
	n, err := db.Update(ctx, s.db, v.Kind().Table, set, db.ByID(std.ID).Eq("revision_number", was))
	if err != nil {
		return err
	}
	if n == 0 {
		return ErrStale
	}
	return s.tell(ctx, v, feed.Update)
}

// ErrStale says that another request changed the row meanwhile; the
// transaction is to be run again.
var ErrStale = fault.Conflictf("The resource was changed by another request at the same time.").WithType("StaleDataError")

// Delete removes a row with its tags; false: it was gone.
func Delete[T any, P network.Row[T]](ctx context.Context, s *Store, v P) (bool, error) {
	k, id := v.Kind(), v.Std().ID
	if _, err := db.Delete(ctx, s.db, "tags", db.Where().Eq("resource_id", id)); err != nil {
		return false, err
	}
	if k.Shared {
		if _, err := db.Delete(ctx, s.db, "rbac_policies", db.Where().Eq("object_id", id)); err != nil {
			return false, err
		}
	}
	n, err := db.Delete(ctx, s.db, k.Table, db.ByID(id))
	if err != nil || n == 0 {
		return false, err
	}
	return true, s.tell(ctx, v, feed.Delete)
}

// diff is the columns that differ between two structs of one type.
func diff(old, v any) db.Set {
	set := db.Set{}
	a, b := reflect.ValueOf(old).Elem(), reflect.ValueOf(v).Elem()
	for _, f := range reflect.VisibleFields(a.Type()) {
		col := f.Tag.Get("db")
		switch col {
		case "", "-", "id", "created_at", "updated_at", "revision_number":
			continue
		}
		x, y := a.FieldByIndex(f.Index).Interface(), b.FieldByIndex(f.Index).Interface()
		if !reflect.DeepEqual(x, y) {
			set[col] = y
		}
	}
	return set
}

// columnsOf maps the attributes of T that are columns.
func columnsOf[T any]() map[string]string {
	out := map[string]string{}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		col := f.Tag.Get("db")
		if col == "" || col == "-" {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			out[name] = col
		}
	}
	return out
}

// Lock makes this transaction the only one, until it ends, that counts or
// makes things of a project, or of another object with its own key
// ("router/ID").
func (s *Store) Lock(ctx context.Context, project string) error {
	row := struct {
		ID string    `db:"project_id"`
		At time.Time `db:"touched_at"`
	}{project, db.Now()}
	return db.Upsert(ctx, s.db, "project_locks", row, "project_id")
}

// Forget removes the lock of an object that is deleted.
func (s *Store) Forget(ctx context.Context, key string) error {
	_, err := db.Delete(ctx, s.db, "project_locks", db.Where().Eq("project_id", key))
	return err
}

// Count is the number of a project's rows of a kind.
func (s *Store) Count(ctx context.Context, table, project string) (int, error) {
	return db.Count(ctx, s.db, "SELECT COUNT(*) FROM "+db.Quote(table)+" WHERE project_id = ?", project)
}
