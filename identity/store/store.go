// Package store keeps the rows of the Identity service.
package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"sync/atomic"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
)

//go:embed migrations/*.sql
var migrations embed.FS

// MaxList bounds every list.
const MaxList = 10000

// Store is the database of the service. Resources whose rows need nothing
// special are Tables.
type Store struct {
	db    *db.DB
	epoch atomic.Pointer[reading] // the last one

	Projects         Table[identity.Project]
	Users            Table[identity.User]
	Passwords        Table[identity.Password]
	Groups           Table[identity.Group]
	Roles            Table[identity.Role]
	Regions          Table[identity.Region]
	Services         Table[identity.Service]
	Endpoints        Table[identity.Endpoint]
	EndpointGroups   Table[identity.EndpointGroup]
	Policies         Table[identity.Policy]
	Trusts           Table[identity.Trust]
	AppCredentials   Table[identity.AppCredential]
	AccessRules      Table[identity.AccessRule]
	Credentials      Table[identity.Credential]
	RegisteredLimits Table[identity.RegisteredLimit]
	Limits           Table[identity.Limit]
	Consumers        Table[identity.Consumer]
	RequestTokens    Table[identity.RequestToken]
	AccessTokens     Table[identity.AccessToken]
	Providers        Table[identity.Provider]
	Mappings         Table[identity.Mapping]
	ServiceProviders Table[identity.ServiceProvider]
}

// New brings the schema to the newest version.
func New(ctx context.Context, d *db.DB) (*Store, error) {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := d.Migrate(ctx, "identity", sub); err != nil {
		return nil, err
	}
	return &Store{
		db:               d,
		Projects:         table[identity.Project](d, "projects", "project", "name"),
		Users:            table[identity.User](d, "users", "user", "name"),
		Passwords:        table[identity.Password](d, "passwords", "password", "created_at"),
		Groups:           table[identity.Group](d, "user_groups", "group", "name"),
		Roles:            table[identity.Role](d, "roles", "role", "name"),
		Regions:          table[identity.Region](d, "regions", "region", "id"),
		Services:         table[identity.Service](d, "services", "service", "id"),
		Endpoints:        table[identity.Endpoint](d, "endpoints", "endpoint", "id"),
		EndpointGroups:   table[identity.EndpointGroup](d, "endpoint_groups", "endpoint group", "id"),
		Policies:         table[identity.Policy](d, "policies", "policy", "id"),
		Trusts:           table[identity.Trust](d, "trusts", "trust", "id"),
		AppCredentials:   table[identity.AppCredential](d, "app_credentials", "application credential", "name"),
		AccessRules:      table[identity.AccessRule](d, "access_rules", "access rule", "id"),
		Credentials:      table[identity.Credential](d, "credentials", "credential", "id"),
		RegisteredLimits: table[identity.RegisteredLimit](d, "registered_limits", "registered limit", "id"),
		Limits:           table[identity.Limit](d, "limits", "limit", "id"),
		Consumers:        table[identity.Consumer](d, "consumers", "consumer", "id"),
		RequestTokens:    table[identity.RequestToken](d, "request_tokens", "request token", "id"),
		AccessTokens:     table[identity.AccessToken](d, "access_tokens", "access token", "id"),
		Providers:        table[identity.Provider](d, "identity_providers", "identity provider", "id"),
		Mappings:         table[identity.Mapping](d, "mappings", "mapping", "id"),
		ServiceProviders: table[identity.ServiceProvider](d, "service_providers", "service provider", "id"),
	}, nil
}

// Tx runs f in a transaction, see db.DB.Tx.
func (s *Store) Tx(ctx context.Context, f func(ctx context.Context) error) error {
	return s.db.Tx(ctx, f)
}

// AfterCommit runs f once the transaction in ctx has committed.
func (s *Store) AfterCommit(ctx context.Context, f func()) { s.db.AfterCommit(ctx, f) }

// Table is the rows of one resource with an id column.
type Table[T any] struct {
	db   *db.DB
	name string
	noun string
	sort string
}

func table[T any](d *db.DB, name, noun, sort string) Table[T] { return Table[T]{d, name, noun, sort} }

func (t Table[T]) missing(id string) error {
	return fault.New(fault.NotFound, "Could not find %s: %s.", t.noun, id)
}

// Get returns one row; fault.NotFound where there is none.
func (t Table[T]) Get(ctx context.Context, id string) (*T, error) {
	if id == "" {
		return nil, t.missing(id)
	}
	v, err := db.Get[T](ctx, t.db, "SELECT "+db.Columns[T]("")+" FROM "+t.name+" WHERE id = ?", id)
	if errors.Is(err, db.ErrNoRows) {
		return nil, t.missing(id)
	}
	return v, err
}

// One returns the first row that matches; fault.NotFound names what was asked.
func (t Table[T]) One(ctx context.Context, q identity.Query) (*T, error) {
	q.Limit = 1
	list, err := t.List(ctx, q)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		what := ""
		for _, f := range q.Filters {
			if f.Field == "name" {
				what = fmt.Sprint(f.Value)
			}
		}
		return nil, t.missing(what)
	}
	return &list[0], nil
}

// List returns the rows that match, in the table's order, at most MaxList.
func (t Table[T]) List(ctx context.Context, q identity.Query) ([]T, error) {
	return t.ListWhere(ctx, q, nil)
}

// ListWhere is List with one more condition in SQL.
func (t Table[T]) ListWhere(ctx context.Context, q identity.Query, more *db.Cond) ([]T, error) {
	w := db.Where()
	if t.name == "projects" {
		w.Ne("id", "") // the root of domains is no resource
	}
	for _, f := range q.Filters {
		where(w, f)
	}
	if more != nil {
		sql, args := more.SQL()
		if sql != "" {
			w.Raw(strings.TrimPrefix(sql, " WHERE "), args...)
		}
	}
	limit := MaxList
	if q.Limit > 0 {
		limit = min(limit, q.Limit)
	}
	return db.SelectPage[T](ctx, t.db, t.name, w, db.Page{Limit: limit, Marker: q.Marker, Sort: []db.Sort{{Column: t.sort, NotNull: true}}})
}

func where(w *db.Cond, f identity.Filter) {
	text := db.Escape(fmt.Sprint(f.Value))
	lower := func(pattern string) {
		w.Raw("LOWER("+db.Quote(f.Field)+") LIKE ? ESCAPE '!'", strings.ToLower(pattern))
	}
	switch f.Op {
	case identity.Equals:
		w.Eq(f.Field, f.Value)
	case identity.IEquals:
		lower(text)
	case identity.Contains:
		w.Like(f.Field, "%"+text+"%")
	case identity.IContains:
		lower("%" + text + "%")
	case identity.StartsWith:
		w.Like(f.Field, text+"%")
	case identity.IStartsWith:
		lower(text + "%")
	case identity.EndsWith:
		w.Like(f.Field, "%"+text)
	case identity.IEndsWith:
		lower("%" + text)
	case identity.In:
		w.In(f.Field, f.Value)
	case identity.Null:
		w.Eq(f.Field, nil)
	case identity.Not:
		w.Ne(f.Field, f.Value)
	default:
		op := map[identity.Op]string{identity.Below: "<", identity.AtMost: "<=", identity.Above: ">", identity.AtLeast: ">="}[f.Op]
		w.Raw(db.Quote(f.Field)+" "+op+" ?", f.Value)
	}
}

// Create adds a row; a violated uniqueness is fault.Conflict.
func (t Table[T]) Create(ctx context.Context, v *T) error {
	return t.explain(db.Insert(ctx, t.db, t.name, v))
}

func (t Table[T]) explain(err error) error {
	switch {
	case db.IsUnique(err):
		return fault.Wrap(fault.Conflict, err, "Conflict occurred attempting to store %s - Duplicate entry.", t.noun)
	case db.IsForeignKey(err):
		return fault.Wrap(fault.Conflict, err, "The %s refers to something that does not exist, or is still referred to.", t.noun)
	}
	return err
}

// Update writes the columns in which after differs from before, so that two
// changes of different fields both stay.
func (t Table[T]) Update(ctx context.Context, id string, before, after *T) error {
	set := changes(before, after)
	if len(set) == 0 {
		return nil
	}
	n, err := db.Update(ctx, t.db, t.name, set, db.ByID(id))
	if err == nil && n == 0 {
		return t.missing(id)
	}
	return t.explain(err)
}

func changes(before, after any) db.Set {
	a, b := reflect.ValueOf(before).Elem(), reflect.ValueOf(after).Elem()
	set := db.Set{}
	for i := range a.NumField() {
		col := a.Type().Field(i).Tag.Get("db")
		if col == "" || col == "-" || reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			continue
		}
		set[col] = b.Field(i).Interface()
	}
	return set
}

// Delete removes a row; fault.NotFound where there is none.
func (t Table[T]) Delete(ctx context.Context, id string) error {
	n, err := db.Delete(ctx, t.db, t.name, db.ByID(id))
	if err == nil && n == 0 {
		return t.missing(id)
	}
	return t.explain(err)
}

// DeleteWhere removes the rows that match and returns how many did.
func (t Table[T]) DeleteWhere(ctx context.Context, q identity.Query) (int64, error) {
	w := db.Where()
	for _, f := range q.Filters {
		where(w, f)
	}
	n, err := db.Delete(ctx, t.db, t.name, w)
	return n, t.explain(err)
}
