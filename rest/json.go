package rest

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/tropocloud/tropo/fault"
)

// The bounds of what a JSON body may hold.
const (
	maxDepth  = 64
	maxNumber = 64 // digits
	maxExp    = 4  // digits of the exponent, with its sign
)

// checkJSON refuses what two readers of the same valid document can
// understand differently, or what costs far more to read than to send:
// duplicate keys, text that is not UTF-8 or holds NUL (which PostgreSQL cannot
// keep), numbers with giant exponents, deep nesting.
func checkJSON(body []byte) error {
	return (&jsonWalk{b: body}).value(nil, 0)
}

// checkKeys refuses keys that encoding/json would take for a field of t
// although they are spelt in other letters: a schema did not see them.
func checkKeys(body []byte, t reflect.Type) error {
	return (&jsonWalk{b: body}).value(t, 0)
}

// jsonWalk walks a document that json.Valid has accepted.
type jsonWalk struct {
	b []byte
	i int
}

func (w *jsonWalk) space() {
	for w.i < len(w.b) && (w.b[w.i] == ' ' || w.b[w.i] == '\t' || w.b[w.i] == '\n' || w.b[w.i] == '\r') {
		w.i++
	}
}

func (w *jsonWalk) value(t reflect.Type, depth int) error {
	if depth > maxDepth {
		return fault.Invalidf("Malformed request body: it is nested deeper than %d levels.", maxDepth)
	}
	w.space()
	switch w.b[w.i] {
	case '{':
		return w.object(t, depth)
	case '[':
		return w.array(t, depth)
	case '"':
		_, err := w.text()
		return err
	case 't', 'n':
		w.i += 4
	case 'f':
		w.i += 5
	default:
		return w.number()
	}
	return nil
}

func (w *jsonWalk) number() error {
	start := w.i
	for w.i < len(w.b) && strings.IndexByte("+-.eE0123456789", w.b[w.i]) >= 0 {
		w.i++
	}
	n := w.b[start:w.i]
	e := bytes.IndexAny(n, "eE")
	if len(n) > maxNumber || e >= 0 && len(n)-e-1 > maxExp {
		return fault.Invalidf("Malformed request body: a number is too long.")
	}
	return nil
}

// text reads a string and returns it unescaped.
func (w *jsonWalk) text() (string, error) {
	start, escaped := w.i, false
	for w.i++; w.b[w.i] != '"'; w.i++ {
		if w.b[w.i] == '\\' {
			escaped = true
			w.i++
		}
	}
	w.i++
	raw := w.b[start:w.i]
	if !utf8.Valid(raw) {
		return "", fault.Invalidf("Malformed request body: it is not UTF-8.")
	}
	if !escaped {
		return string(raw[1 : len(raw)-1]), nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", fault.Invalidf("Malformed request body: the body is not valid JSON.")
	}
	if strings.IndexByte(s, 0) >= 0 {
		return "", fault.Invalidf("Malformed request body: it holds a NUL character.")
	}
	return s, nil
}

func (w *jsonWalk) array(t reflect.Type, depth int) error {
	var elem reflect.Type
	if t = plain(t); t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
		elem = t.Elem()
	}
	w.i++
	for {
		w.space()
		if w.b[w.i] == ']' {
			w.i++
			return nil
		}
		if err := w.value(elem, depth+1); err != nil {
			return err
		}
		w.space()
		if w.b[w.i] == ',' {
			w.i++
		}
	}
}

func (w *jsonWalk) object(t reflect.Type, depth int) error {
	var fields map[string]jsonField
	var elem reflect.Type
	if t = plain(t); t != nil && t.Kind() == reflect.Struct {
		fields = jsonFields(t)
	} else if t != nil && t.Kind() == reflect.Map {
		elem = t.Elem()
	}
	var few [8]string
	seen, many := few[:0], map[string]bool(nil)
	w.i++
	for {
		w.space()
		if w.b[w.i] == '}' {
			w.i++
			return nil
		}
		key, err := w.text()
		if err != nil {
			return err
		}
		twice := many[key]
		for _, s := range seen {
			twice = twice || s == key
		}
		if twice {
			return fault.Invalidf("Malformed request body: the key %q stands twice in one object.", shorten(key))
		}
		if len(seen) < len(few) {
			seen = append(seen, key)
		} else {
			if many == nil {
				many = map[string]bool{}
			}
			many[key] = true
		}
		child := elem
		if fields != nil {
			f, ok := fields[foldKey(key)]
			if ok && f.name != "" && f.name != key {
				return fault.Invalidf("Invalid input for field/attribute %s. Additional properties are not allowed; did you mean %s?", shorten(key), f.name)
			}
			child = f.typ
		}
		w.space()
		w.i++ // the colon
		if err := w.value(child, depth+1); err != nil {
			return err
		}
		w.space()
		if w.b[w.i] == ',' {
			w.i++
		}
	}
}

type jsonField struct {
	name string // "" without a tag: any spelling is meant
	typ  reflect.Type
}

// fieldCache keeps jsonFields by type: a pure function of it.
var fieldCache sync.Map

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// plain follows pointers; a type that reads itself counts as opaque.
func plain(t reflect.Type) reflect.Type {
	for t != nil {
		if t.Implements(unmarshaler) || reflect.PointerTo(t).Implements(unmarshaler) {
			return nil
		}
		if t.Kind() != reflect.Pointer {
			return t
		}
		t = t.Elem()
	}
	return nil
}

// jsonFields returns a struct's JSON fields by folded name. Fields whose names
// differ in case alone are left to encoding/json.
func jsonFields(t reflect.Type) map[string]jsonField {
	if f, ok := fieldCache.Load(t); ok {
		return f.(map[string]jsonField)
	}
	out, clash := map[string]jsonField{}, map[string]bool{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() || f.Anonymous && name == "" {
			continue
		}
		k := foldKey(name)
		if name == "" {
			k = foldKey(f.Name)
		}
		if old, ok := out[k]; ok && old.name != name {
			clash[k] = true
		}
		out[k] = jsonField{name, f.Type}
	}
	for k := range clash {
		delete(out, k)
	}
	fieldCache.Store(t, out)
	return out
}

// foldKey maps all spellings that encoding/json takes for equal to one.
func foldKey(s string) string {
	return strings.Map(func(r rune) rune {
		for {
			n := unicode.SimpleFold(r)
			if n <= r {
				return n
			}
			r = n
		}
	}, s)
}

// shorten bounds a user's own text in a message.
func shorten(s string) string {
	const most = 100
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
