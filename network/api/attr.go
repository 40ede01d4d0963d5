package api

import (
	"encoding/json"
	"strings"

	"github.com/tropocloud/tropo/fault"
)

// attr is one attribute of a resource: when a request may set it, what it
// must be, and what it is otherwise. Every attribute in a table is shown.
type attr struct {
	name  string
	flags flags
	check check // nil: any value
	// def is the value in POST when the request has none; nil with defNull
	// unset: nothing is set.
	def any
}

type flags int

const (
	post     flags = 1 << iota // may be set by POST
	put                        // may be set by PUT
	required                   // must be in POST
	hidden                     // not shown
	noFilter                   // not to be filtered by
	defNull                    // the default is null
)

// check brings a value into its normal form or says what is wrong with it.
type check func(v any) (normal any, reason string)

// ro is an attribute that requests can't set.
func ro(name string) attr { return attr{name: name} }

// rw is an attribute that POST and PUT may set.
func rw(name string, c check, def any) attr {
	return attr{name: name, flags: post | put, check: c, def: def}
}

// po is an attribute that POST alone may set.
func po(name string, c check, def any) attr {
	return attr{name: name, flags: post, check: c, def: def}
}

// must is an attribute that POST must set and PUT can't.
func must(name string, c check) attr {
	return attr{name: name, flags: post | required, check: c}
}

// nullable is rw with null as the default.
func nullable(name string, c check) attr {
	return attr{name: name, flags: post | put | defNull, check: c}
}

// standard are the attributes that all resources have.
func standard(tagged bool, more ...attr) []attr {
	list := []attr{
		ro("id"), po("project_id", str(255), nil), rw("description", str(255), ""),
		ro("created_at"), ro("updated_at"), ro("revision_number"),
	}
	if tagged {
		list = append(list, po("tags", tags, nil))
	}
	return append(list, more...)
}

func badRequest(format string, args ...any) error {
	return fault.Invalidf(format, args...).WithType("HTTPBadRequest")
}

// normalize checks a request's attributes against the table and returns them
// in normal form; POST gets the defaults.
func normalize(table []attr, in map[string]any, create bool) (map[string]any, error) {
	out := make(map[string]any, len(table))
	known := make(map[string]bool, len(table))
	for i := range table {
		a := &table[i]
		known[a.name] = true
		v, given := in[a.name]
		if !given {
			if err := missing(a, create, out); err != nil {
				return nil, err
			}
			continue
		}
		if create && a.flags&post == 0 {
			return nil, badRequest("Attribute '%s' not allowed in POST", a.name)
		}
		if !create && a.flags&put == 0 {
			return nil, badRequest("Cannot update read-only attribute %s", a.name)
		}
		if a.check != nil {
			n, reason := a.check(v)
			if reason != "" {
				return nil, badRequest("Invalid input for %s. Reason: %s", a.name, reason)
			}
			v = n
		}
		out[a.name] = v
	}
	var unknown []string
	for name := range in {
		if !known[name] {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		return nil, badRequest("Unrecognized attribute(s) '%s'", strings.Join(sortedStrings(unknown), ", "))
	}
	return out, nil
}

func missing(a *attr, create bool, out map[string]any) error {
	if !create {
		return nil
	}
	if a.flags&required != 0 {
		return badRequest("Failed to parse request. Required attribute '%s' not specified", a.name)
	}
	if a.flags&post != 0 && (a.def != nil || a.flags&defNull != 0) {
		out[a.name] = a.def
	}
	return nil
}

// cut shows a value in a message as the request had it, shortened.
func cut(v any) string {
	s, ok := v.(string)
	if !ok {
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(v); err != nil {
			return "?"
		}
		s = strings.TrimSuffix(b.String(), "\n")
	}
	if len(s) > 100 {
		s = strings.ToValidUTF8(s[:100], "") + "…"
	}
	return s
}
