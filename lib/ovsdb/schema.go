package ovsdb

import (
	"encoding/json"
	"fmt"
	"math"
)

// Schema is a database's schema as get_schema returns it (RFC 7047 §3.2).
type Schema struct {
	Name    string           `json:"name"`
	Version string           `json:"version"`
	Tables  map[string]Table `json:"tables"`
}

// Table is one table of a schema.
type Table struct {
	Columns map[string]Column `json:"columns"`
	IsRoot  bool              `json:"isRoot"`
}

// Column is one column of a table.
type Column struct {
	Type Type `json:"type"`
}

// Type is a column's type: Key alone is a scalar or, with Max over 1 or Min
// 0, a set; Key and Value are a map.
type Type struct {
	Key   string // base type: integer, real, boolean, string, uuid
	Value string // base type of map values; empty: not a map
	Min   int
	Max   int // math.MaxInt: unlimited
}

// scalar reports whether a column always holds exactly one value.
func (t Type) scalar() bool { return t.Value == "" && t.Min == 1 && t.Max == 1 }

// UnmarshalJSON reads RFC 7047's <type>: a base type's name or an object.
func (t *Type) UnmarshalJSON(b []byte) error {
	*t = Type{Min: 1, Max: 1}
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &t.Key)
	}
	var o struct {
		Key   baseType        `json:"key"`
		Value *baseType       `json:"value"`
		Min   *int            `json:"min"`
		Max   json.RawMessage `json:"max"`
	}
	if err := json.Unmarshal(b, &o); err != nil {
		return err
	}
	t.Key = string(o.Key)
	if o.Value != nil {
		t.Value = string(*o.Value)
	}
	if o.Min != nil {
		t.Min = *o.Min
	}
	if len(o.Max) == 0 {
		return nil
	}
	if string(o.Max) == `"unlimited"` {
		t.Max = math.MaxInt
		return nil
	}
	return json.Unmarshal(o.Max, &t.Max)
}

// baseType reads <base-type>: a name, or an object with the name in "type".
type baseType string

func (b *baseType) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && raw[0] == '"' {
		return json.Unmarshal(raw, (*string)(b))
	}
	var o struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		return err
	}
	*b = baseType(o.Type)
	return nil
}

// columnType returns a column's type; _uuid and _version are in every table.
func (s *Schema) columnType(table, column string) (Type, error) {
	if column == "_uuid" || column == "_version" {
		return Type{Key: "uuid", Min: 1, Max: 1}, nil
	}
	c, ok := s.Tables[table].Columns[column]
	if !ok {
		return Type{}, fmt.Errorf("ovsdb: no column %s.%s in schema %s %s", table, column, s.Name, s.Version)
	}
	return c.Type, nil
}

// HasColumn reports whether the server's schema knows a column.
func (s *Schema) HasColumn(table, column string) bool {
	_, ok := s.Tables[table].Columns[column]
	return ok
}

// Canonical brings a value written in Go (string, int, bool, UUID, Set, Map,
// []string, []UUID, map[string]string, nil for the empty set) to the form
// that the cache uses for this column.
func (s *Schema) Canonical(table, column string, v any) (any, error) {
	t, err := s.columnType(table, column)
	if err != nil {
		return nil, err
	}
	switch x := v.(type) {
	case nil:
		v = Set{}
	case []string:
		v = Strings(x...)
	case []UUID:
		v = UUIDs(x...)
	case map[string]string:
		v = StringMap(x)
	case int:
		v = int64(x)
	}
	if t.Value != "" {
		if set, ok := v.(Set); ok && len(set) == 0 {
			return Map{}, nil
		}
		if _, ok := v.(Map); !ok {
			return nil, fmt.Errorf("ovsdb: %s.%s is a map, not %T", table, column, v)
		}
		return v, nil
	}
	set, isSet := v.(Set)
	if t.scalar() {
		if isSet {
			return nil, fmt.Errorf("ovsdb: %s.%s is not a set", table, column)
		}
		return v, nil
	}
	if !isSet {
		set = Set{v}
	}
	return canonicalSet(set), nil
}

// decode reads a JSON value (from a decoder with UseNumber) as type t.
func decode(v any, t Type) (any, error) {
	tag, list := tagged(v)
	if t.Value != "" {
		if tag != "map" {
			return nil, fmt.Errorf("ovsdb: want a map, got %v", v)
		}
		return decodeMap(list, t)
	}
	if tag != "set" {
		atom, err := decodeAtom(v, t.Key)
		if err != nil || t.scalar() {
			return atom, err
		}
		return Set{atom}, nil
	}
	out := make(Set, 0, len(list))
	for _, e := range list {
		atom, err := decodeAtom(e, t.Key)
		if err != nil {
			return nil, err
		}
		out = append(out, atom)
	}
	return canonicalSet(out), nil
}

// tagged splits ["set", […]] and ["map", […]].
func tagged(v any) (string, []any) {
	pair, ok := v.([]any)
	if !ok || len(pair) != 2 {
		return "", nil
	}
	tag, _ := pair[0].(string)
	list, ok := pair[1].([]any)
	if !ok {
		return "", nil
	}
	return tag, list
}

func decodeMap(list []any, t Type) (any, error) {
	out := make(Map, len(list))
	for _, e := range list {
		pair, ok := e.([]any)
		if !ok || len(pair) != 2 {
			return nil, fmt.Errorf("ovsdb: bad map entry %v", e)
		}
		k, err := decodeAtom(pair[0], t.Key)
		if err != nil {
			return nil, err
		}
		if out[k], err = decodeAtom(pair[1], t.Value); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func decodeAtom(v any, base string) (any, error) {
	switch base {
	case "string":
		if s, ok := v.(string); ok {
			return s, nil
		}
	case "boolean":
		if b, ok := v.(bool); ok {
			return b, nil
		}
	case "integer":
		if n, ok := v.(json.Number); ok {
			return n.Int64()
		}
	case "real":
		if n, ok := v.(json.Number); ok {
			return n.Float64()
		}
	case "uuid":
		if p, ok := v.([]any); ok && len(p) == 2 && p[0] == "uuid" {
			if s, ok := p[1].(string); ok {
				return UUID(s), nil
			}
		}
	}
	return nil, fmt.Errorf("ovsdb: %v is not of type %s", v, base)
}

// zero is the value of a column that an insert did not name.
func zero(t Type) any {
	switch {
	case t.Value != "":
		return Map{}
	case !t.scalar():
		return Set{}
	}
	switch t.Key {
	case "integer":
		return int64(0)
	case "real":
		return float64(0)
	case "boolean":
		return false
	case "uuid":
		return UUID("00000000-0000-0000-0000-000000000000")
	}
	return ""
}

// patch applies a difference as update2 and update3 carry it: values with at
// most one element are replaced, set elements are toggled, map entries are
// removed when equal and set when not (ovsdb-server(7), "Update2").
func patch(old, diff any, t Type) any {
	if t.Max <= 1 {
		return diff
	}
	if d, ok := diff.(Map); ok {
		out := make(Map)
		if o, ok := old.(Map); ok {
			for k, v := range o {
				out[k] = v
			}
		}
		for k, v := range d {
			if w, ok := out[k]; ok && w == v {
				delete(out, k)
				continue
			}
			out[k] = v
		}
		return out
	}
	d, _ := diff.(Set)
	o, _ := old.(Set)
	toggled := make(map[any]bool, len(d))
	for _, e := range d {
		toggled[e] = true
	}
	out := make(Set, 0, len(o)+len(d))
	for _, e := range o {
		if toggled[e] {
			delete(toggled, e)
			continue
		}
		out = append(out, e)
	}
	for e := range toggled {
		out = append(out, e)
	}
	return canonicalSet(out)
}
