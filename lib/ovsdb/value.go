package ovsdb

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// UUID identifies a row (RFC 7047 §5.1 <uuid>).
type UUID string

// Named refers to a row inserted by the same transaction (<named-uuid>).
type Named string

// Set is an OVSDB set. In the cache it is sorted and every element has the
// column's base type: string, int64, float64, bool or UUID. Optional columns
// (at most one element) are sets too.
type Set []any

// Map is an OVSDB map with keys and values of base types.
type Map map[any]any

// MarshalJSON writes ["uuid", u].
func (u UUID) MarshalJSON() ([]byte, error) { return json.Marshal([2]string{"uuid", string(u)}) }

// MarshalJSON writes ["named-uuid", n].
func (n Named) MarshalJSON() ([]byte, error) {
	return json.Marshal([2]string{"named-uuid", string(n)})
}

// MarshalJSON writes ["set", […]].
func (s Set) MarshalJSON() ([]byte, error) {
	if s == nil {
		s = Set{}
	}
	return json.Marshal([]any{"set", []any(s)})
}

// MarshalJSON writes ["map", [[k, v], …]] ordered by key.
func (m Map) MarshalJSON() ([]byte, error) {
	pairs := make([][2]any, 0, len(m))
	for _, k := range m.keys() {
		pairs = append(pairs, [2]any{k, m[k]})
	}
	return json.Marshal([]any{"map", pairs})
}

func (m Map) keys() []any {
	keys := make([]any, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compareAtoms)
	return keys
}

// Strings makes a set of strings.
func Strings(v ...string) Set { return setOf(v) }

// UUIDs makes a set of row references.
func UUIDs(v ...UUID) Set { return setOf(v) }

func setOf[T any](v []T) Set {
	s := make(Set, len(v))
	for i, e := range v {
		s[i] = e
	}
	return s
}

// StringMap makes a map of strings.
func StringMap(v map[string]string) Map {
	m := make(Map, len(v))
	for k, e := range v {
		m[k] = e
	}
	return m
}

// compareAtoms orders base values, first by type.
func compareAtoms(a, b any) int {
	if ra, rb := rank(a), rank(b); ra != rb {
		return cmp.Compare(ra, rb)
	}
	switch x := a.(type) {
	case string:
		return cmp.Compare(x, b.(string))
	case UUID:
		return cmp.Compare(x, b.(UUID))
	case Named:
		return cmp.Compare(x, b.(Named))
	case int64:
		return cmp.Compare(x, b.(int64))
	case float64:
		return cmp.Compare(x, b.(float64))
	case bool:
		if x == b.(bool) {
			return 0
		}
		if x {
			return 1
		}
		return -1
	}
	return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
}

func rank(v any) int {
	switch v.(type) {
	case bool:
		return 0
	case int64:
		return 1
	case float64:
		return 2
	case string:
		return 3
	case UUID:
		return 4
	case Named:
		return 5
	}
	return 6
}

// canonicalSet sorts s and drops duplicates.
func canonicalSet(s Set) Set {
	s = slices.Clone(s)
	slices.SortFunc(s, compareAtoms)
	return slices.CompactFunc(s, func(a, b any) bool { return compareAtoms(a, b) == 0 })
}

// Equal reports whether two canonical values (as the cache holds them, or as
// Schema.Canonical makes them) are the same.
func Equal(a, b any) bool {
	switch x := a.(type) {
	case Set:
		y, ok := b.(Set)
		return ok && slices.EqualFunc(x, y, func(p, q any) bool { return compareAtoms(p, q) == 0 })
	case Map:
		y, ok := b.(Map)
		if !ok || len(x) != len(y) {
			return false
		}
		for k, v := range x {
			if w, ok := y[k]; !ok || w != v {
				return false
			}
		}
		return true
	}
	switch b.(type) {
	case Set, Map:
		return false
	}
	return a == b
}

// Row is one row of a table by column. Rows from the cache are shared: they
// must not be changed.
type Row map[string]any

// UUID returns the row's own id.
func (r Row) UUID() UUID { u, _ := r["_uuid"].(UUID); return u }

// String returns a string column, or the one element of an optional one, or "".
func (r Row) String(column string) string { v, _ := r.one(column).(string); return v }

// Int returns an integer column, or 0.
func (r Row) Int(column string) int64 { v, _ := r.one(column).(int64); return v }

// Bool returns a boolean column, or the one element of an optional one, or false.
func (r Row) Bool(column string) bool { v, _ := r.one(column).(bool); return v }

// Strings returns the strings of a set column, sorted.
func (r Row) Strings(column string) []string { return elements[string](r[column]) }

// UUIDs returns the references of a set column, sorted.
func (r Row) UUIDs(column string) []UUID { return elements[UUID](r[column]) }

// Get returns the value at key of a string-to-string map column, or "".
func (r Row) Get(column, key string) string {
	m, _ := r[column].(Map)
	v, _ := m[key].(string)
	return v
}

// StringMap returns a copy of a string-to-string map column.
func (r Row) StringMap(column string) map[string]string {
	m, _ := r[column].(Map)
	out := make(map[string]string, len(m))
	for k, v := range m {
		ks, _ := k.(string)
		vs, _ := v.(string)
		out[ks] = vs
	}
	return out
}

// Has reports whether a set column contains v.
func (r Row) Has(column string, v any) bool {
	s, ok := r[column].(Set)
	if !ok {
		return r[column] == v
	}
	_, found := slices.BinarySearchFunc(s, v, compareAtoms)
	return found
}

func (r Row) one(column string) any {
	v := r[column]
	if s, ok := v.(Set); ok {
		if len(s) != 1 {
			return nil
		}
		return s[0]
	}
	return v
}

func elements[T any](v any) []T {
	if e, ok := v.(T); ok {
		return []T{e}
	}
	s, _ := v.(Set)
	out := make([]T, 0, len(s))
	for _, e := range s {
		if t, ok := e.(T); ok {
			out = append(out, t)
		}
	}
	return out
}
