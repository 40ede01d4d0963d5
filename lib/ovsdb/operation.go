package ovsdb

import (
	"encoding/json"
	"fmt"
	"time"
)

// Condition is one clause of a where: column, function (==, !=, includes,
// excludes, <, …), value (RFC 7047 §5.1).
type Condition struct {
	Column   string
	Function string
	Value    any
}

// MarshalJSON writes [column, function, value].
func (c Condition) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{c.Column, c.Function, c.Value})
}

// ByUUID is the where clause that finds one row.
func ByUUID(u UUID) []Condition { return []Condition{{"_uuid", "==", u}} }

// Mutation changes a column in place: mutator insert and delete for sets and
// maps, +=, -=, *=, /=, %= for numbers.
type Mutation struct {
	Column  string
	Mutator string
	Value   any
}

// MarshalJSON writes [column, mutator, value].
func (m Mutation) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{m.Column, m.Mutator, m.Value})
}

// Operation is one step of a transaction; make it with Insert, Update,
// Mutate, Delete, Select, Wait or Comment.
type Operation struct {
	fields map[string]any
}

// MarshalJSON writes the operation object of RFC 7047 §5.2.
func (o Operation) MarshalJSON() ([]byte, error) { return json.Marshal(o.fields) }

// String returns the operation as JSON, for logs and tests.
func (o Operation) String() string {
	b, err := json.Marshal(o.fields)
	if err != nil {
		return fmt.Sprintf("%v", o.fields)
	}
	return string(b)
}

// Op returns the operation's name ("insert", "mutate", …).
func (o Operation) Op() string { s, _ := o.fields["op"].(string); return s }

// Insert adds a row (§5.2.1). name, when not empty, lets other operations of
// the transaction refer to the row as Named(name); it must be an identifier.
func Insert(table string, row Row, name Named) Operation {
	f := map[string]any{"op": "insert", "table": table, "row": plain(row)}
	if name != "" {
		f["uuid-name"] = string(name)
	}
	return Operation{f}
}

// Update sets columns of the rows that match where (§5.2.3).
func Update(table string, where []Condition, row Row) Operation {
	return Operation{map[string]any{"op": "update", "table": table, "where": clauses(where), "row": plain(row)}}
}

// Mutate changes columns of the rows that match where in place (§5.2.4).
func Mutate(table string, where []Condition, mutations ...Mutation) Operation {
	return Operation{map[string]any{"op": "mutate", "table": table, "where": clauses(where), "mutations": mutations}}
}

// Delete removes the rows that match where (§5.2.5).
func Delete(table string, where []Condition) Operation {
	return Operation{map[string]any{"op": "delete", "table": table, "where": clauses(where)}}
}

// Select reads rows (§5.2.2); no columns: all.
func Select(table string, where []Condition, columns ...string) Operation {
	f := map[string]any{"op": "select", "table": table, "where": clauses(where)}
	if len(columns) > 0 {
		f["columns"] = columns
	}
	return Operation{f}
}

// Wait aborts the transaction unless, within timeout, the rows that match
// where, cut to columns, are (equal) or are not (!equal) rows (§5.2.6).
func Wait(table string, where []Condition, columns []string, equal bool, rows []Row, timeout time.Duration) Operation {
	until := "=="
	if !equal {
		until = "!="
	}
	plainRows := make([]map[string]any, 0, len(rows))
	for _, r := range rows {
		plainRows = append(plainRows, plain(r))
	}
	return Operation{map[string]any{
		"op": "wait", "table": table, "where": clauses(where), "columns": columns,
		"until": until, "rows": plainRows, "timeout": timeout.Milliseconds(),
	}}
}

// Comment leaves a note in the database's log (§5.2.9).
func Comment(text string) Operation {
	return Operation{map[string]any{"op": "comment", "comment": text}}
}

func clauses(where []Condition) []Condition {
	if where == nil {
		return []Condition{} // all rows; null would be refused
	}
	return where
}

// plain turns the convenient Go forms into those that encode themselves.
func plain(r Row) map[string]any {
	out := make(map[string]any, len(r))
	for k, v := range r {
		if k == "_uuid" || k == "_version" {
			continue
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
		}
		out[k] = v
	}
	return out
}

// Result is the outcome of one operation.
type Result struct {
	Count int  // rows matched by update, mutate, delete
	UUID  UUID // the new row of an insert
	Rows  []Row
}

// Error is a failure that the server reported (RFC 7047 §3.1 <error>).
type Error struct {
	Name    string // "constraint violation", "referential integrity violation", "timed out", …
	Details string
	// Op is the index of the operation that failed; equal to the number of
	// operations when the commit as a whole failed; -1 outside transactions.
	Op int
}

func (e *Error) Error() string {
	if e.Details == "" {
		return "ovsdb: " + e.Name
	}
	return "ovsdb: " + e.Name + ": " + e.Details
}
