package network

import (
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Standard is what all resources have in common.
type Standard struct {
	ID          string       `json:"id" db:"id"`
	ProjectID   string       `json:"project_id" db:"project_id"`
	Description string       `json:"description" db:"description"`
	CreatedAt   time.Time    `json:"created_at" db:"created_at"`
	UpdatedAt   time.Time    `json:"updated_at" db:"updated_at"`
	Revision    int          `json:"revision_number" db:"revision_number"`
	Tags        List[string] `json:"tags" db:"-"`
}

// Std gives access to the common part.
func (s *Standard) Std() *Standard { return s }

// Resource is a pointer to any of this package's resources.
type Resource interface {
	Std() *Standard
	Kind() *Kind
}

// Row is the constraint of functions that work for every resource: T is its
// struct, P the pointer to it.
type Row[T any] interface {
	*T
	Resource
}

// List is a column that holds a JSON array. Its zero value renders as [].
type List[T any] []T

// MarshalJSON renders nil as an empty array.
func (l List[T]) MarshalJSON() ([]byte, error) {
	if l == nil {
		return []byte("[]"), nil
	}
	return json.Marshal([]T(l))
}

// Value writes the column.
func (l List[T]) Value() (driver.Value, error) {
	b, err := l.MarshalJSON()
	return string(b), err
}

// Scan reads the column.
func (l *List[T]) Scan(src any) error { return scanJSON(src, (*[]T)(l)) }

// Map is a column that holds a JSON object. Its zero value renders as {}.
type Map map[string]any

// MarshalJSON renders nil as an empty object.
func (m Map) MarshalJSON() ([]byte, error) {
	if m == nil {
		return []byte("{}"), nil
	}
	return json.Marshal(map[string]any(m))
}

// Value writes the column.
func (m Map) Value() (driver.Value, error) {
	b, err := m.MarshalJSON()
	return string(b), err
}

// Scan reads the column.
func (m *Map) Scan(src any) error { return scanJSON(src, (*map[string]any)(m)) }

func scanJSON(src, dst any) error {
	switch s := src.(type) {
	case nil:
		return nil
	case []byte:
		return json.Unmarshal(s, dst)
	case string:
		return json.Unmarshal([]byte(s), dst)
	}
	return fmt.Errorf("column of type %T is no JSON", src)
}

// Change holds the attributes that a request sets, validated and in normal
// form: the value of each is JSON that fits the resource's field.
type Change struct {
	fields map[string]json.RawMessage
	// IfMatch is the revision that the object must have; 0: any.
	IfMatch int
}

// NewChange makes a change from normal values by attribute name.
func NewChange(values map[string]any) (Change, error) {
	c := Change{fields: make(map[string]json.RawMessage, len(values))}
	for k, v := range values {
		b, err := json.Marshal(v)
		if err != nil {
			return c, fmt.Errorf("attribute %s: %w", k, err)
		}
		c.fields[k] = b
	}
	return c, nil
}

// Has reports whether the request sets the attribute.
func (c Change) Has(name string) bool { _, ok := c.fields[name]; return ok }

// HasAny reports whether the request sets one of the attributes.
func (c Change) HasAny(names ...string) bool {
	for _, n := range names {
		if c.Has(n) {
			return true
		}
	}
	return false
}

// Into sets the fields of dst, a pointer to a resource or any struct with the
// attributes' json tags. What the request doesn't set stays as it is; lists
// and objects are replaced, not merged.
func (c Change) Into(dst any) error {
	v := reflect.ValueOf(dst).Elem()
	for _, f := range reflect.VisibleFields(v.Type()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || !c.Has(name) {
			continue
		}
		switch f.Type.Kind() {
		case reflect.Slice, reflect.Map, reflect.Pointer:
			v.FieldByIndex(f.Index).SetZero() // else the old value would be written to
		}
	}
	b, err := json.Marshal(c.fields)
	if err == nil {
		err = json.Unmarshal(b, dst)
	}
	return err
}

// Get reads one attribute into dst and reports whether it is set and not null.
func (c Change) Get(name string, dst any) bool {
	raw, ok := c.fields[name]
	if !ok || string(raw) == "null" {
		return false
	}
	return json.Unmarshal(raw, dst) == nil
}

// With returns c with one more attribute set.
func (c Change) With(name string, value any) Change {
	b, err := json.Marshal(value)
	if err != nil {
		return c
	}
	out := Change{fields: make(map[string]json.RawMessage, len(c.fields)+1), IfMatch: c.IfMatch}
	for k, v := range c.fields {
		out.fields[k] = v
	}
	out.fields[name] = b
	return out
}

// Without returns c with some attributes taken out.
func (c Change) Without(names ...string) Change {
	out := Change{fields: make(map[string]json.RawMessage, len(c.fields)), IfMatch: c.IfMatch}
	for k, v := range c.fields {
		out.fields[k] = v
	}
	for _, n := range names {
		delete(out.fields, n)
	}
	return out
}
