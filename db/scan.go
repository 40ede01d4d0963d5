package db

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"
)

// JSON keeps a value as a JSON document in one column ({{.JSON}} in a
// migration). NULL reads as the zero value.
type JSON[T any] struct{ V T }

// Scan reads the column.
func (j *JSON[T]) Scan(src any) error {
	var zero T
	j.V = zero
	switch s := src.(type) {
	case nil:
		return nil
	case []byte:
		return json.Unmarshal(s, &j.V)
	case string:
		return json.Unmarshal([]byte(s), &j.V)
	}
	return fmt.Errorf("column of type %T is no JSON", src)
}

// Value writes the column.
func (j JSON[T]) Value() (driver.Value, error) {
	b, err := json.Marshal(j.V)
	return string(b), err
}

// MarshalJSON renders the value itself.
func (j JSON[T]) MarshalJSON() ([]byte, error) { return json.Marshal(j.V) }

// UnmarshalJSON reads the value itself.
func (j *JSON[T]) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &j.V) }

// J wraps a value for a JSON column.
func J[T any](v T) JSON[T] { return JSON[T]{V: v} }

var (
	timeType    = reflect.TypeFor[time.Time]()
	timePtrType = reflect.TypeFor[*time.Time]()
	scannerType = reflect.TypeFor[sql.Scanner]()
)

// fieldCache maps a struct type to its fields by column; filled on first use,
// a pure function of the type.
var fieldCache sync.Map

type field struct {
	column string
	index  []int
}

func fieldsOf(t reflect.Type) []field {
	if f, ok := fieldCache.Load(t); ok {
		return f.([]field)
	}
	var out []field
	for _, f := range reflect.VisibleFields(t) {
		tag := f.Tag.Get("db")
		if tag == "" || tag == "-" || !f.IsExported() {
			continue
		}
		name, _, _ := strings.Cut(tag, ",")
		out = append(out, field{column: name, index: f.Index})
	}
	fieldCache.Store(t, out)
	return out
}

// columns returns the column names and values of a struct (or pointer to one).
func columns(v any) ([]string, []any) {
	rv := reflect.Indirect(reflect.ValueOf(v))
	var cols []string
	var vals []any
	for _, f := range fieldsOf(rv.Type()) {
		cols = append(cols, f.column)
		vals = append(vals, rv.FieldByIndex(f.index).Interface())
	}
	return cols, vals
}

// Columns returns the quoted column list of T for a SELECT, each with the
// prefix (a table alias with its dot, or "").
func Columns[T any](prefix string) string {
	var q []string
	for _, f := range fieldsOf(reflect.TypeFor[T]()) {
		q = append(q, prefix+Quote(f.column))
	}
	return strings.Join(q, ", ")
}

type scanner struct {
	scalar bool
	index  [][]int // per column; nil: passed over
	dests  []any   // where the columns of a row go
}

func newScanner(rows *sql.Rows, t reflect.Type) (*scanner, error) {
	if t.Kind() != reflect.Struct || t == timeType || reflect.PointerTo(t).Implements(scannerType) {
		return &scanner{scalar: true}, nil
	}
	cols, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	byName := map[string][]int{}
	for _, f := range fieldsOf(t) {
		byName[f.column] = f.index
	}
	s := &scanner{index: make([][]int, len(cols))}
	for i, c := range cols {
		s.index[i] = byName[c]
	}
	return s, nil
}

// bind sets where the columns of each row go.
func (s *scanner) bind(v reflect.Value) {
	if s.scalar {
		s.dests = []any{dest(v)}
		return
	}
	s.dests = make([]any, len(s.index))
	for i, idx := range s.index {
		if idx == nil {
			s.dests[i] = new(any)
			continue
		}
		s.dests[i] = dest(v.FieldByIndex(idx))
	}
}

// dest wraps a field so that NULL reads as the zero value and times come back
// in UTC from every engine.
func dest(f reflect.Value) any {
	if f.Type() == timeType || f.Type() == timePtrType {
		return timeDest{f}
	}
	if f.Addr().Type().Implements(scannerType) || f.Kind() == reflect.Pointer {
		return f.Addr().Interface()
	}
	return nullDest{f}
}

type nullDest struct{ f reflect.Value }

func (n nullDest) Scan(src any) error {
	if src == nil {
		n.f.SetZero()
		return nil
	}
	if b, ok := src.([]byte); ok {
		switch n.f.Kind() {
		case reflect.String:
			n.f.SetString(string(b))
			return nil
		case reflect.Slice:
			n.f.SetBytes(append([]byte(nil), b...))
			return nil
		}
		src = string(b)
	}
	// sql.Null[T] gives access to database/sql's own conversions.
	switch n.f.Kind() {
	case reflect.String:
		var x sql.NullString
		err := x.Scan(src)
		n.f.SetString(x.String)
		return err
	case reflect.Bool:
		var x sql.NullBool
		err := x.Scan(src)
		n.f.SetBool(x.Bool)
		return err
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		var x sql.NullInt64
		err := x.Scan(src)
		n.f.SetInt(x.Int64)
		return err
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		var x sql.NullInt64
		err := x.Scan(src)
		n.f.SetUint(uint64(x.Int64)) //nolint:gosec // unsigned columns hold no negatives
		return err
	case reflect.Float32, reflect.Float64:
		var x sql.NullFloat64
		err := x.Scan(src)
		n.f.SetFloat(x.Float64)
		return err
	case reflect.Slice:
		if s, ok := src.(string); ok && n.f.Type().Elem().Kind() == reflect.Uint8 {
			n.f.SetBytes([]byte(s))
			return nil
		}
	case reflect.Interface:
		n.f.Set(reflect.ValueOf(src))
		return nil
	}
	return fmt.Errorf("cannot read a column of type %T into a %s", src, n.f.Type())
}

type timeDest struct{ f reflect.Value }

func (t timeDest) Scan(src any) error {
	var v time.Time
	switch s := src.(type) {
	case nil:
		t.f.SetZero()
		return nil
	case time.Time:
		v = s.UTC()
	case []byte:
		return t.Scan(string(s))
	case string:
		p, err := time.Parse(sqliteTime, s)
		if err != nil {
			return fmt.Errorf("column is no time: %w", err)
		}
		v = p
	default:
		return fmt.Errorf("cannot read a column of type %T as a time", src)
	}
	if t.f.Kind() == reflect.Pointer {
		t.f.Set(reflect.ValueOf(&v))
		return nil
	}
	t.f.Set(reflect.ValueOf(v))
	return nil
}
