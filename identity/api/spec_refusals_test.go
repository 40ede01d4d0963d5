package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tropocloud/tropo/db/dbtest"
)

// mutant is a document that a schema refuses.
type mutant struct {
	what string
	body any
}

// mutants makes from a document that fits a schema some that do not: a wrong
// type, a missing or a surplus attribute, a text too long, short or malformed,
// a value not of the list. set puts a value in the place of base into the
// whole.
func mutants(at string, s doc, base any, set func(any) any) []mutant {
	var out []mutant
	add := func(what string, v any) { out = append(out, mutant{at + " " + what, set(v)}) }
	if types := typesOf(s); len(types) > 0 {
		for _, v := range []any{3.5, "text", []any{}, doc{}, true} {
			if !slices.Contains(types, typeOf(v)) {
				add("of type "+typeOf(v), v)
			}
		}
	}
	if enum, ok := s["enum"].([]any); ok && !slices.Contains(enum, any("nonsense")) {
		add("not of the list", "nonsense")
	}
	if n, ok := s["minimum"].(float64); ok {
		add("too small", n-1)
	}
	switch x := base.(type) {
	case string:
		out = append(out, textMutants(at, s, set)...)
	case doc:
		out = append(out, objectMutants(at, s, x, set)...)
	case []any:
		out = append(out, listMutants(at, s, x, set)...)
	}
	return out
}

func textMutants(at string, s doc, set func(any) any) []mutant {
	var out []mutant
	if n, ok := s["maxLength"].(float64); ok {
		out = append(out, mutant{at + " too long", set(strings.Repeat("a", int(n)+1))})
	}
	if n, ok := s["minLength"].(float64); ok && n > 0 {
		out = append(out, mutant{at + " too short", set("")})
	}
	if p, ok := s["pattern"].(string); ok {
		for _, v := range []string{"   ", "a,b/c", "::"} {
			if !regexp.MustCompile(p).MatchString(v) {
				out = append(out, mutant{fmt.Sprintf("%s as %q", at, v), set(v)})
			}
		}
	}
	return out
}

func objectMutants(at string, s, base doc, set func(any) any) []mutant {
	var out []mutant
	with := func(name string) func(any) any {
		return func(v any) any {
			d := maps.Clone(base)
			d[name] = v
			return set(d)
		}
	}
	required, _ := s["required"].([]any)
	for _, r := range required {
		d := maps.Clone(base)
		delete(d, r.(string))
		out = append(out, mutant{fmt.Sprintf("%s without %s", at, r), set(d)})
	}
	if s["additionalProperties"] == false {
		out = append(out, mutant{at + " with a surplus", with("surplus")(1)})
	}
	if n, ok := s["minProperties"].(float64); ok && n > 0 {
		out = append(out, mutant{at + " empty", set(doc{})})
	}
	props, _ := s["properties"].(doc)
	for _, name := range slices.Sorted(maps.Keys(props)) {
		p, ok := props[name].(doc)
		if !ok || p["readOnly"] == true {
			continue
		}
		child, ok := base[name]
		if !ok {
			child = sample(p)
		}
		out = append(out, mutants(at+"."+name, p, child, with(name))...)
	}
	return out
}

func listMutants(at string, s doc, base []any, set func(any) any) []mutant {
	var out []mutant
	items, ok := s["items"].(doc)
	if !ok {
		return nil
	}
	one := sample(items)
	if len(base) > 0 {
		one = base[0]
	}
	if n, ok := s["minItems"].(float64); ok && n > 0 {
		out = append(out, mutant{at + " empty", set([]any{})})
	}
	if s["uniqueItems"] == true {
		out = append(out, mutant{at + " twice the same", set([]any{one, one})})
	}
	if n, ok := s["maxItems"].(float64); ok {
		var many []any
		for i := range int(n) + 1 {
			many = append(many, fmt.Sprint("v", i))
		}
		out = append(out, mutant{at + " too many", set(many)})
	}
	return append(out, mutants(at+"[0]", items, one, func(v any) any { return set([]any{v}) })...)
}

func typesOf(s doc) []string {
	var out []string
	switch x := s["type"].(type) {
	case string:
		out = []string{x}
	case []any:
		for _, t := range x {
			out = append(out, t.(string))
		}
	}
	return out
}

func typeOf(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case bool:
		return "boolean"
	case []any:
		return "array"
	case doc:
		return "object"
	}
	return "number"
}

// sample makes a value that a schema accepts.
func sample(s doc) any {
	if enum, ok := s["enum"].([]any); ok {
		return enum[0]
	}
	switch types := typesOf(s); {
	case slices.Contains(types, "object"):
		d := doc{}
		required, _ := s["required"].([]any)
		for _, r := range required {
			if p, ok := s["properties"].(doc)[r.(string)].(doc); ok {
				d[r.(string)] = sample(p)
			}
		}
		return d
	case slices.Contains(types, "array"):
		items, _ := s["items"].(doc)
		return []any{sample(items)}
	case slices.Contains(types, "boolean"):
		return true
	case slices.Contains(types, "integer"):
		return float64(1)
	}
	switch p, _ := s["pattern"].(string); {
	case strings.Contains(p, "POST|GET"):
		return "GET"
	case strings.HasPrefix(p, `^\/`):
		return "/v2.1/servers"
	case strings.Contains(p, "]+:"):
		return "http://a.test"
	}
	return "text"
}

// requests are documents for operations that need no token; the rest is in
// bodies.
func requests(c *cloud, v map[string]string) map[string]any {
	in := samlRequest(c.admin, v["sp_id"])
	return map[string]any{
		"POST /v3/auth/tokens":                  passwordAuth("admin", "admin-secret", nil),
		"POST /v3/auth/OS-FEDERATION/saml2":     in,
		"POST /v3/auth/OS-FEDERATION/saml2/ecp": in,
		"POST /v3/users/{user_id}/password":     doc{"user": doc{"original_password": "pw", "password": "new"}},
	}
}

// What the document's schema of a request refuses is refused with 400.
func TestDocumentedRefusals(t *testing.T) {
	c := readContract(t)
	d := dbtest.New(t)
	x := newCloud(t, d, nil)
	v := x.world("own")
	own := requests(x, v)
	n := 0
	for _, o := range c.ops {
		if o.request == nil || o.success() >= 300 {
			continue
		}
		text := expand(bodies()[o.String()], v)
		if in, ok := own[o.String()]; ok {
			b, err := json.Marshal(in)
			if err != nil {
				t.Fatal(err)
			}
			text = string(b)
		}
		if text == "" {
			text = "{}"
		}
		token := x.admin
		if strings.HasPrefix(o.path, "/v3/users/{user_id}/") {
			token = v["subject"]
		}
		var base any
		if err := json.Unmarshal([]byte(text), &base); err != nil {
			t.Fatalf("%s: %v", o, err)
		}
		schema, set := o.request, func(v any) any { return v }
		if key := o.unwrapped(); key != "" {
			base, set = base.(doc)[key], func(v any) any { return doc{key: v} }
		}
		for _, m := range mutants("", schema, base, set) {
			b, err := json.Marshal(m.body)
			if err != nil {
				t.Fatal(err)
			}
			if o.accepts(b) || o.tolerated(m.what) {
				continue
			}
			n++
			if w := x.undone(d, o.method, expand(o.path, v), token, string(b)); w.Code != http.StatusBadRequest {
				t.Errorf("%s with%s: %d: %s: %s", o, m.what, w.Code, b, strings.TrimSpace(w.Body.String()))
			}
		}
	}
	if n < 100 {
		t.Errorf("only %d malformed requests", n)
	}
}

// accepts reports whether the document's schema takes a request after all.
func (o *operation) accepts(text []byte) bool {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return false
	}
	if key := o.unwrapped(); key != "" {
		v = v.(doc)[key]
	}
	return o.refuses.Validate(v) == nil
}

// tolerated lists what the document's schema refuses and Keystone does not.
func (o *operation) tolerated(what string) bool {
	switch {
	case o.method == http.MethodPut && len(bodies()[o.String()]) == 0, strings.HasSuffix(o.path, "/protocols/{protocol_id}/auth"):
		return true // without a body: what is sent is not looked at
	case strings.Contains(o.path, "/config"):
		return true // the options of a domain may be anything; a group that is no object is forbidden (403)
	case strings.Contains(what, ".parent_id") && strings.Contains(o.path, "/regions"):
		return true // parent_region_id, misspelt: this is an attribute as any other
	case strings.Contains(what, ".methods[0] not of the list"):
		return true // the list lacks methods; one that is not known is no login (401)
	}
	return false
}
