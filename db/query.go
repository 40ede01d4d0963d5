package db

import (
	"context"
	"database/sql"
	"fmt"
	"reflect"
	"sort"
	"strings"
)

// Exec runs a statement and returns how many rows it matched. Constraint
// violations are faults of kind Conflict (and IsUnique, IsForeignKey hold).
func Exec(ctx context.Context, d *DB, query string, args ...any) (int64, error) {
	q, a := d.bind(query, args)
	if s := d.state(ctx); s != nil {
		return exec(ctx, d.guard(s.tx), q, a)
	}
	var n int64
	err := again(ctx, func() error {
		leave, err := d.enter(ctx)
		if err != nil {
			return err
		}
		defer leave()
		n, err = exec(ctx, d.guard(d.write), q, a)
		return err
	})
	return n, err
}

func exec(ctx context.Context, c querier, q string, args []any) (int64, error) {
	res, err := c.ExecContext(ctx, q, args...)
	if err != nil {
		return 0, mapError(err)
	}
	return res.RowsAffected()
}

// Select returns the rows of a query as structs of type T, whose `db` tags
// name the columns; columns without a field are passed over. T may also be a
// scalar for a query of one column. Outside a transaction SQLite's answer may
// not yet hold what a transaction under way has written.
func Select[T any](ctx context.Context, d *DB, query string, args ...any) ([]T, error) {
	return selectUpTo[T](ctx, d, -1, query, args)
}

// selectUpTo reads up to most rows, all for a negative number.
func selectUpTo[T any](ctx context.Context, d *DB, most int, query string, args []any) ([]T, error) {
	q, a := d.bind(query, args)
	rows, err := d.reader(ctx).QueryContext(ctx, q, a...)
	if err != nil {
		return nil, mapError(err)
	}
	defer func() { _ = rows.Close() }()
	out := []T{}
	sc, err := newScanner(rows, reflect.TypeFor[T]())
	if err != nil {
		return nil, err
	}
	var v, zero T
	sc.bind(reflect.ValueOf(&v).Elem())
	for len(out) != most && rows.Next() {
		v = zero
		if err := rows.Scan(sc.dests...); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, mapError(rows.Err())
}

// Get returns the first row of a query, or ErrNoRows.
func Get[T any](ctx context.Context, d *DB, query string, args ...any) (*T, error) {
	rows, err := selectUpTo[T](ctx, d, 1, query, args)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, sql.ErrNoRows
	}
	return &rows[0], nil
}

// Count returns the single number that a query yields.
func Count(ctx context.Context, d *DB, query string, args ...any) (int, error) {
	n, err := Get[int](ctx, d, query, args...)
	if err != nil {
		return 0, err
	}
	return *n, nil
}

// Quote quotes an identifier for the engine (with the double quotes of the
// SQL standard; MySQL runs with ANSI_QUOTES).
func Quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, "") + `"` }

// Insert adds one row from a struct with `db` tags.
func Insert(ctx context.Context, d *DB, table string, v any) error {
	cols, vals := columns(v)
	_, err := Exec(ctx, d, insertSQL(table, cols), vals...)
	return err
}

// Upsert adds one row, or updates all its other columns where a row with the
// same values in the unique columns exists.
func Upsert(ctx context.Context, d *DB, table string, v any, unique ...string) error {
	cols, vals := columns(v)
	var set []string
	for _, c := range cols {
		switch {
		case contains(unique, c):
		case d.dialect == MySQL:
			set = append(set, Quote(c)+" = VALUES("+Quote(c)+")")
		default:
			set = append(set, Quote(c)+" = excluded."+Quote(c))
		}
	}
	q := insertSQL(table, cols)
	switch {
	case d.dialect == MySQL && len(set) == 0:
		q += " ON DUPLICATE KEY UPDATE " + Quote(unique[0]) + " = " + Quote(unique[0])
	case d.dialect == MySQL:
		q += " ON DUPLICATE KEY UPDATE " + strings.Join(set, ", ")
	case len(set) == 0:
		q += " ON CONFLICT (" + quoteAll(unique) + ") DO NOTHING"
	default:
		q += " ON CONFLICT (" + quoteAll(unique) + ") DO UPDATE SET " + strings.Join(set, ", ")
	}
	_, err := Exec(ctx, d, q, vals...)
	return err
}

// Set names new values of columns.
type Set map[string]any

// Update changes the rows that match w and returns how many did. A state
// change is a compare-and-swap: put the expected status into w and treat 0
// rows as "somebody was faster".
func Update(ctx context.Context, d *DB, table string, set Set, w *Cond) (int64, error) {
	cols := make([]string, 0, len(set))
	for c := range set {
		cols = append(cols, c)
	}
	sort.Strings(cols)
	var parts []string
	var args []any
	for _, c := range cols {
		parts = append(parts, Quote(c)+" = ?")
		args = append(args, set[c])
	}
	where, wargs := w.SQL()
	return Exec(ctx, d, "UPDATE "+Quote(table)+" SET "+strings.Join(parts, ", ")+where, append(args, wargs...)...)
}

// Delete removes the rows that match w and returns how many did. An empty
// condition is refused.
func Delete(ctx context.Context, d *DB, table string, w *Cond) (int64, error) {
	where, args := w.SQL()
	if where == "" {
		return 0, fmt.Errorf("delete from %s without a condition", table)
	}
	return Exec(ctx, d, "DELETE FROM "+Quote(table)+where, args...)
}

func insertSQL(table string, cols []string) string {
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(cols)), ", ")
	return "INSERT INTO " + Quote(table) + " (" + quoteAll(cols) + ") VALUES (" + marks + ")"
}

func quoteAll(cols []string) string {
	q := make([]string, len(cols))
	for i, c := range cols {
		q[i] = Quote(c)
	}
	return strings.Join(q, ", ")
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}
