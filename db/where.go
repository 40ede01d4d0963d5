package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/tropocloud/tropo/fault"
)

// Cond is a conjunction of conditions with bound arguments. Column names come
// from code, never from a request.
type Cond struct {
	parts []string
	args  []any
}

// Where starts an empty condition.
func Where() *Cond { return &Cond{} }

// ByID is Where().Eq("id", id).
func ByID(id string) *Cond { return Where().Eq("id", id) }

func column(c string) string {
	if table, name, ok := strings.Cut(c, "."); ok {
		return table + "." + Quote(name)
	}
	return Quote(c)
}

// Eq adds column = v; a nil v (or nil pointer) means IS NULL.
func (c *Cond) Eq(col string, v any) *Cond {
	if isNil(v) {
		return c.Raw(column(col) + " IS NULL")
	}
	return c.Raw(column(col)+" = ?", v)
}

// Ne adds column <> v, which no NULL is; a nil v (or nil pointer) means IS
// NOT NULL.
func (c *Cond) Ne(col string, v any) *Cond {
	if isNil(v) {
		return c.Raw(column(col) + " IS NOT NULL")
	}
	return c.Raw(column(col)+" <> ?", v)
}

func isNil(v any) bool {
	if v == nil {
		return true
	}
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Pointer && r.IsNil()
}

// In adds column IN (values…), values being a slice; an empty one matches
// nothing. SQLite takes 32,766 arguments in a statement, the others 65,535:
// walk longer lists in chunks.
func (c *Cond) In(col string, values any) *Cond {
	v := reflect.ValueOf(values)
	if v.Len() == 0 {
		return c.Raw("1 = 0")
	}
	args := make([]any, v.Len())
	for i := range args {
		args[i] = v.Index(i).Interface()
	}
	return c.Raw(column(col)+" IN ("+strings.TrimSuffix(strings.Repeat("?, ", len(args)), ", ")+")", args...)
}

// Like adds a LIKE pattern; use Escape for the parts a user gave. SQLite takes
// an ASCII letter and its capital for the same, the others do not.
func (c *Cond) Like(col, pattern string) *Cond {
	return c.Raw(column(col)+" LIKE ? ESCAPE '!'", pattern)
}

// Raw adds a condition in SQL with ? placeholders.
func (c *Cond) Raw(sql string, args ...any) *Cond {
	c.parts = append(c.parts, sql)
	c.args = append(c.args, args...)
	return c
}

// SQL returns " WHERE …" (or "") and its arguments.
func (c *Cond) SQL() (string, []any) {
	if c == nil || len(c.parts) == 0 {
		return "", nil
	}
	return " WHERE (" + strings.Join(c.parts, ") AND (") + ")", append([]any(nil), c.args...)
}

// Escape makes s literal inside a LIKE pattern.
func Escape(s string) string {
	return strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(s)
}

// Sort is one sort key. Column comes from an allow-list of the API.
type Sort struct {
	Column string
	Desc   bool
	// NotNull says that the column is NOT NULL: its index serves the list.
	NotNull bool
}

// Page bounds a list: up to Limit rows after the row whose id is Marker, in
// the order of Sort with the id as the last key.
type Page struct {
	Limit   int // 0: no bound (for internal use alone)
	Marker  string
	Sort    []Sort
	Reverse bool   // the page before the marker (Neutron's page_reverse)
	ID      string // name of the id column; empty: "id"
}

// SelectPage returns one page of a table's rows that match w. A marker that
// names no row is fault.Invalid. NULLs sort last ascending, first descending.
func SelectPage[T any](ctx context.Context, d *DB, table string, w *Cond, p Page) ([]T, error) {
	id := p.ID
	if id == "" {
		id = "id"
	}
	keys := append([]Sort(nil), p.Sort...)
	if len(keys) == 0 || keys[len(keys)-1].Column != id {
		desc := len(keys) > 0 && keys[len(keys)-1].Desc
		keys = append(keys, Sort{Column: id, Desc: desc})
	}
	for i := range keys {
		keys[i].NotNull = keys[i].NotNull || keys[i].Column == id
	}
	if p.Reverse {
		for i := range keys {
			keys[i].Desc = !keys[i].Desc
		}
	}
	cond := Where()
	if w != nil {
		cond.parts = append(cond.parts, w.parts...)
		cond.args = append(cond.args, w.args...)
	}
	if p.Marker != "" {
		after, args, err := afterMarker(ctx, d, table, id, p.Marker, keys)
		if err != nil {
			return nil, err
		}
		cond.Raw(after, args...)
	}
	var order []string
	for _, k := range keys {
		dir := ""
		if k.Desc {
			dir = " DESC"
		}
		if !k.NotNull {
			order = append(order, "("+Quote(k.Column)+" IS NULL)"+dir)
		}
		order = append(order, Quote(k.Column)+dir)
	}
	where, args := cond.SQL()
	q := "SELECT " + Columns[T]("") + " FROM " + Quote(table) + where + " ORDER BY " + strings.Join(order, ", ")
	if p.Limit > 0 {
		q += fmt.Sprintf(" LIMIT %d", p.Limit)
	}
	rows, err := Select[T](ctx, d, q, args...)
	if err == nil && p.Reverse {
		for i, j := 0, len(rows)-1; i < j; i, j = i+1, j-1 {
			rows[i], rows[j] = rows[j], rows[i]
		}
	}
	return rows, err
}

// afterMarker is the condition "comes after the marker row" for the keys:
// (a > A) or (a = A and b > B) or …, with NULL-aware comparisons.
func afterMarker(ctx context.Context, d *DB, table, id, marker string, keys []Sort) (string, []any, error) {
	cols := make([]string, len(keys))
	for i, k := range keys {
		cols[i] = Quote(k.Column)
	}
	q, a := d.bind("SELECT "+strings.Join(cols, ", ")+" FROM "+Quote(table)+" WHERE "+Quote(id)+" = ?", []any{marker})
	rows, err := d.reader(ctx).QueryContext(ctx, q, a...)
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = rows.Close() }()
	vals := make([]any, len(keys))
	ptrs := make([]any, len(keys))
	for i := range vals {
		ptrs[i] = &vals[i]
	}
	if !rows.Next() {
		if err := rows.Err(); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return "", nil, err
		}
		return "", nil, fault.Invalidf("marker [%s] not found", marker)
	}
	if err := rows.Scan(ptrs...); err != nil {
		return "", nil, err
	}
	var ors []string
	var args []any
	for i := range keys {
		var ands []string
		var part []any
		for j := range i {
			eq, v := equals(keys[j], vals[j])
			ands, part = append(ands, eq), append(part, v...)
		}
		gt, v := beyond(keys[i], vals[i])
		ands, part = append(ands, gt), append(part, v...)
		ors, args = append(ors, "("+strings.Join(ands, " AND ")+")"), append(args, part...)
	}
	after := strings.Join(ors, " OR ")
	if k := keys[0]; k.NotNull && len(keys) > 1 { // where an index can begin
		c := Quote(k.Column) + " >= ?"
		if k.Desc {
			c = Quote(k.Column) + " <= ?"
		}
		after, args = c+" AND ("+after+")", append([]any{text(vals[0])}, args...)
	}
	return after, args, rows.Err()
}

func text(v any) any {
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	return v
}

func equals(k Sort, v any) (string, []any) {
	if v == nil {
		return Quote(k.Column) + " IS NULL", nil
	}
	return Quote(k.Column) + " = ?", []any{text(v)}
}

func beyond(k Sort, v any) (string, []any) {
	c := Quote(k.Column)
	switch {
	case v == nil && k.Desc:
		return c + " IS NOT NULL", nil
	case v == nil:
		return "1 = 0", nil
	case k.Desc:
		return c + " < ?", []any{text(v)}
	case k.NotNull:
		return c + " > ?", []any{text(v)}
	default:
		return "(" + c + " > ? OR " + c + " IS NULL)", []any{text(v)}
	}
}
