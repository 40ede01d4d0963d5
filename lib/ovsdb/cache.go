package ovsdb

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Change is one row's difference. Old is nil for a new row, New for one that
// is gone.
type Change struct {
	Table    string
	UUID     UUID
	Old, New Row
}

// IndexFunc returns the keys under which a row is found; none: not indexed.
type IndexFunc func(Row) []string

// cache holds the monitored tables.
type cache struct {
	schema  *Schema
	tables  map[string]map[UUID]Row
	funcs   map[string]map[string]IndexFunc
	indexes map[string]map[string]map[string]map[UUID]struct{} // table, index, key
}

func newCache(s *Schema, funcs map[string]map[string]IndexFunc) *cache {
	c := &cache{schema: s, tables: map[string]map[UUID]Row{}, funcs: funcs, indexes: map[string]map[string]map[string]map[UUID]struct{}{}}
	for table, byName := range funcs {
		c.indexes[table] = map[string]map[string]map[UUID]struct{}{}
		for name := range byName {
			c.indexes[table][name] = map[string]map[UUID]struct{}{}
		}
	}
	return c
}

// put stores row (nil: removes it) and returns the change.
func (c *cache) put(table string, u UUID, row Row) Change {
	if c.tables[table] == nil {
		c.tables[table] = map[UUID]Row{}
	}
	old := c.tables[table][u]
	for name, f := range c.funcs[table] {
		index := c.indexes[table][name]
		if old != nil {
			for _, k := range f(old) {
				delete(index[k], u)
				if len(index[k]) == 0 {
					delete(index, k)
				}
			}
		}
		if row != nil {
			for _, k := range f(row) {
				if index[k] == nil {
					index[k] = map[UUID]struct{}{}
				}
				index[k][u] = struct{}{}
			}
		}
	}
	if row == nil {
		delete(c.tables[table], u)
	} else {
		c.tables[table][u] = row
	}
	return Change{Table: table, UUID: u, Old: old, New: row}
}

// update applies <table-updates2> (ovsdb-server(7)) and returns the changes.
func (c *cache) update(raw json.RawMessage) ([]Change, error) {
	var updates map[string]map[UUID]struct {
		Initial map[string]any `json:"initial"`
		Insert  map[string]any `json:"insert"`
		Modify  map[string]any `json:"modify"`
	}
	var gone map[string]map[UUID]map[string]json.RawMessage
	if err := unmarshal(raw, &updates); err != nil {
		return nil, fmt.Errorf("ovsdb: bad update: %w", err)
	}
	if err := json.Unmarshal(raw, &gone); err != nil { // "delete": null is told from no delete only here
		return nil, fmt.Errorf("ovsdb: bad update: %w", err)
	}
	var changes []Change
	for _, table := range slices.Sorted(maps.Keys(updates)) {
		for _, u := range slices.Sorted(maps.Keys(updates[table])) {
			up := updates[table][u]
			var row Row
			var err error
			switch {
			case up.Initial != nil:
				row, err = c.fresh(table, u, up.Initial)
			case up.Insert != nil:
				row, err = c.fresh(table, u, up.Insert)
			case up.Modify != nil:
				row, err = c.modified(table, u, up.Modify)
			default:
				if _, ok := gone[table][u]["delete"]; !ok {
					err = fmt.Errorf("ovsdb: update of %s %s says nothing", table, u)
				}
			}
			if err != nil {
				return nil, err
			}
			changes = append(changes, c.put(table, u, row))
		}
	}
	return changes, nil
}

func (c *cache) fresh(table string, u UUID, columns map[string]any) (Row, error) {
	row := Row{"_uuid": u}
	for name, col := range c.schema.Tables[table].Columns {
		row[name] = zero(col.Type)
	}
	for name, v := range columns {
		t, err := c.schema.columnType(table, name)
		if err != nil {
			return nil, err
		}
		if row[name], err = decode(v, t); err != nil {
			return nil, fmt.Errorf("%s.%s: %w", table, name, err)
		}
	}
	return row, nil
}

func (c *cache) modified(table string, u UUID, columns map[string]any) (Row, error) {
	old := c.tables[table][u]
	if old == nil {
		return nil, fmt.Errorf("ovsdb: update of unknown row %s %s", table, u)
	}
	row := maps.Clone(old)
	for name, v := range columns {
		t, err := c.schema.columnType(table, name)
		if err != nil {
			return nil, err
		}
		diff, err := decode(v, t)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", table, name, err)
		}
		row[name] = patch(old[name], diff, t)
	}
	return row, nil
}

// differences lists what turns old into c.
func (c *cache) differences(old *cache) []Change {
	var changes []Change
	for table, rows := range old.tables {
		for u, row := range rows {
			if c.tables[table][u] == nil {
				changes = append(changes, Change{Table: table, UUID: u, Old: row})
			}
		}
	}
	for table, rows := range c.tables {
		for u, row := range rows {
			was := old.tables[table][u]
			if was == nil || !maps.EqualFunc(was, row, Equal) {
				changes = append(changes, Change{Table: table, UUID: u, Old: was, New: row})
			}
		}
	}
	return changes
}

func unmarshal(raw json.RawMessage, v any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	return dec.Decode(v)
}

// View is a consistent look at the cache, valid during Client.View only.
type View struct{ c *cache }

// Schema returns the server's schema.
func (v View) Schema() *Schema { return v.c.schema }

// Row returns a row, or nil.
func (v View) Row(table string, u UUID) Row { return v.c.tables[table][u] }

// Rows returns a table's rows in the order of their ids.
func (v View) Rows(table string) []Row {
	rows := v.c.tables[table]
	out := make([]Row, 0, len(rows))
	for _, u := range slices.Sorted(maps.Keys(rows)) {
		out = append(out, rows[u])
	}
	return out
}

// Find returns the rows under a key of an index, in the order of their ids.
func (v View) Find(table, index, key string) []Row {
	found := v.c.indexes[table][index][key]
	out := make([]Row, 0, len(found))
	for _, u := range slices.Sorted(maps.Keys(found)) {
		out = append(out, v.c.tables[table][u])
	}
	return out
}

// Keys returns the keys of an index, sorted.
func (v View) Keys(table, index string) []string {
	return slices.Sorted(maps.Keys(v.c.indexes[table][index]))
}
