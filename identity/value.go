package identity

import (
	"database/sql/driver"
	"encoding/json"
	"fmt"
)

// Extra holds the attributes of a resource that Keystone keeps without knowing
// them (a user's email, whatever a client sent).
type Extra map[string]any

// Scan reads a JSON column.
func (e *Extra) Scan(src any) error { return scanJSON(src, e) }

// Value writes a JSON column.
func (e Extra) Value() (driver.Value, error) { return jsonValue(e, "{}") }

// List is a list of texts in a JSON column.
type List []string

// Scan reads a JSON column.
func (l *List) Scan(src any) error { return scanJSON(src, l) }

// Value writes a JSON column.
func (l List) Value() (driver.Value, error) { return jsonValue(l, "[]") }

// Doc is any JSON value in a column.
type Doc struct{ V any }

// Scan reads a JSON column.
func (d *Doc) Scan(src any) error { return scanJSON(src, &d.V) }

// Value writes a JSON column.
func (d Doc) Value() (driver.Value, error) { return jsonValue(d.V, "null") }

// MarshalJSON renders the value itself.
func (d Doc) MarshalJSON() ([]byte, error) { return json.Marshal(d.V) }

// UnmarshalJSON reads the value itself.
func (d *Doc) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &d.V) }

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

func jsonValue(v any, empty string) (driver.Value, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if string(b) == "null" {
		return empty, nil
	}
	return string(b), nil
}

// Ref is an id or "": in the database the empty one is NULL, so that foreign
// keys may point nowhere.
type Ref string

// Scan reads a nullable column.
func (r *Ref) Scan(src any) error {
	switch s := src.(type) {
	case nil:
		*r = ""
	case string:
		*r = Ref(s)
	case []byte:
		*r = Ref(s)
	default:
		return fmt.Errorf("column of type %T is no id", src)
	}
	return nil
}

// Value writes NULL for "".
func (r Ref) Value() (driver.Value, error) {
	if r == "" {
		return nil, nil
	}
	return string(r), nil
}

// MarshalJSON renders null for "".
func (r Ref) MarshalJSON() ([]byte, error) {
	if r == "" {
		return []byte("null"), nil
	}
	return json.Marshal(string(r))
}
