package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"
)

// contract is the published document of the API, and what was seen of it.
type contract struct {
	t    *testing.T
	root doc
	ops  []*operation
}

// operation is one method on one path of the document.
type operation struct {
	method, path string
	pattern      *regexp.Regexp
	literals     int // the more, the better a path fits
	statuses     []int
	answers      map[int]doc // schemas of JSON answers, resolved
	checks       map[int]*jsonschema.Schema
	request      doc // schema of the request, resolved; nil: none
	refuses      *jsonschema.Schema

	seen  map[int]bool
	attrs map[string]bool // documented attributes that an answer had
}

func (o *operation) String() string { return o.method + " " + o.path }

// readContract skips the test where the published documents are not.
func readContract(t *testing.T) *contract {
	t.Helper()
	text, err := os.ReadFile("../../../shared/specs/identity-v3.14.yaml")
	if err != nil {
		t.Skip("the published API documents are not here")
	}
	var parsed any
	if err := yaml.Unmarshal(text, &parsed); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(parsed)
	if err != nil {
		t.Fatal(err)
	}
	c := &contract{t: t}
	if err := json.Unmarshal(b, &c.root); err != nil {
		t.Fatal(err)
	}
	for path, item := range c.root["paths"].(doc) {
		for method, op := range item.(doc) {
			if slices.Contains([]string{"get", "head", "post", "put", "patch", "delete"}, method) {
				c.ops = append(c.ops, c.operation(strings.ToUpper(method), path, op.(doc)))
			}
		}
	}
	sort.Slice(c.ops, func(i, j int) bool { return c.ops[i].path+c.ops[i].method < c.ops[j].path+c.ops[j].method })
	return c
}

func (c *contract) operation(method, path string, in doc) *operation {
	o := &operation{method: method, path: path, answers: map[int]doc{}, checks: map[int]*jsonschema.Schema{}, seen: map[int]bool{}, attrs: map[string]bool{}}
	var pattern strings.Builder
	for seg := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if strings.HasPrefix(seg, "{") {
			pattern.WriteString("/[^/]+")
			continue
		}
		o.literals++
		pattern.WriteString("/" + regexp.QuoteMeta(seg))
	}
	o.pattern = regexp.MustCompile("^" + pattern.String() + "/?$")
	for code, r := range in["responses"].(doc) {
		n, _ := strconv.Atoi(code)
		o.statuses = append(o.statuses, n)
		if s := c.schemaOf(r.(doc)); s != nil {
			amend(path, s)
			o.answers[n], o.checks[n] = s, c.compile(s)
		}
	}
	if r, ok := in["requestBody"].(doc); ok {
		o.request = c.schemaOf(r)
		o.refuses = c.compile(o.request)
	}
	return o
}

// schemaOf returns the JSON schema of a body, resolved.
func (c *contract) schemaOf(in doc) doc {
	content, _ := in["content"].(doc)
	media, _ := content["application/json"].(doc)
	s, ok := media["schema"].(doc)
	if !ok {
		return nil
	}
	return c.resolve(s, 0).(doc)
}

// resolve puts what references name in their place.
func (c *contract) resolve(v any, depth int) any {
	if depth > 50 {
		c.t.Fatal("the document's schemas are recursive")
	}
	switch x := v.(type) {
	case doc:
		if ref, ok := x["$ref"].(string); ok {
			return c.resolve(c.root["components"].(doc)["schemas"].(doc)[strings.TrimPrefix(ref, "#/components/schemas/")], depth+1)
		}
		out := doc{}
		for k, e := range x {
			out[k] = c.resolve(e, depth+1)
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i, e := range x {
			out[i] = c.resolve(e, depth+1)
		}
		return out
	}
	return v
}

// anyID is Keystone's own form of ids: the document calls all of them uuid,
// also those which people choose (domains, regions, providers).
var anyID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)

func (c *contract) compile(s doc) *jsonschema.Schema {
	jc := jsonschema.NewCompiler()
	jc.AssertFormat()
	jc.RegisterFormat(&jsonschema.Format{Name: "uuid", Validate: func(v any) error {
		if s, ok := v.(string); ok && !anyID.MatchString(s) {
			return fmt.Errorf("%q is no id", s)
		}
		return nil
	}})
	b, err := json.Marshal(s)
	if err != nil {
		c.t.Fatal(err)
	}
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		c.t.Fatal(err)
	}
	if err := jc.AddResource("schema.json", parsed); err != nil {
		c.t.Fatal(err)
	}
	out, err := jc.Compile("schema.json")
	if err != nil {
		c.t.Fatalf("a schema of the document: %v", err)
	}
	return out
}

// find returns the operation of a request, nil for what tropo has beyond the
// document.
func (c *contract) find(method, path string) *operation {
	var best *operation
	for _, o := range c.ops {
		if o.method == method && o.pattern.MatchString(path) && (best == nil || o.literals > best.literals) {
			best = o
		}
	}
	return best
}

// watch checks all that h answers against the document. Each GET is asked
// again as HEAD.
func (c *contract) watch(t *testing.T, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head := r.Clone(r.Context())
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		c.observe(t, r, rec)
		if r.Method == http.MethodGet {
			head.Method, head.Body = http.MethodHead, http.NoBody
			again := httptest.NewRecorder()
			h.ServeHTTP(again, head)
			c.observe(t, head, again)
			if again.Code != rec.Code && c.find("HEAD", r.URL.Path).success() != again.Code || again.Body.Len() > 0 {
				t.Errorf("HEAD %s: %d with %d bytes, GET: %d", r.URL, again.Code, again.Body.Len(), rec.Code)
			}
		}
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
	})
}

func (c *contract) observe(t *testing.T, r *http.Request, w *httptest.ResponseRecorder) {
	o := c.find(r.Method, r.URL.Path)
	if o == nil {
		return
	}
	o.seen[w.Code] = true
	if w.Code >= 300 && o.path != "/" {
		if r.Method != http.MethodHead {
			checkError(t, r, w)
		}
		return
	}
	if want := o.success(); w.Code != want {
		t.Errorf("%s: %d, want %d", o, w.Code, want)
	}
	documented := o.documented()
	s := o.checks[documented]
	if s == nil || r.Method == http.MethodHead || o.noDocument() {
		return
	}
	body, err := jsonschema.UnmarshalJSON(bytes.NewReader(w.Body.Bytes()))
	if err != nil {
		t.Errorf("%s: %v: %s", o, err, w.Body)
		return
	}
	if key := o.unwrapped(); key != "" {
		body = body.(doc)[key]
	}
	if err := s.Validate(body); err != nil {
		t.Errorf("%s: %v\n%s", o, err, w.Body)
	}
	note(o.attrs, "", o.answers[documented], body)
}

// checkError checks the form of an error, which the document does not tell.
func checkError(t *testing.T, r *http.Request, w *httptest.ResponseRecorder) {
	var d struct {
		Error struct {
			Code           int
			Message, Title string
		}
	}
	if strings.HasSuffix(r.URL.Path, "/OS-OAUTH2/token") && w.Code < 402 {
		return // RFC 6749's own
	}
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil || d.Error.Code != w.Code || d.Error.Message == "" || d.Error.Title != http.StatusText(w.Code) {
		t.Errorf("%s %s: %d with %s", r.Method, r.URL, w.Code, w.Body)
	}
	if w.Code >= 500 {
		t.Errorf("%s %s: %d %s", r.Method, r.URL, w.Code, w.Body)
	}
}

// documented is the status of success in the document.
func (o *operation) documented() int {
	for _, s := range o.statuses {
		if s < 300 {
			return s
		}
	}
	return 0
}

// note remembers which attributes of a schema a body has.
func note(seen map[string]bool, at string, s doc, body any) {
	switch x := body.(type) {
	case doc:
		props, _ := s["properties"].(doc)
		for name, v := range x {
			p, ok := props[name].(doc)
			if !ok {
				continue
			}
			seen[at+"."+name] = true
			note(seen, at+"."+name, p, v)
		}
	case []any:
		items, _ := s["items"].(doc)
		for _, v := range x {
			note(seen, at, items, v)
		}
	}
}

// attributes lists the attributes of a schema, as note names them.
func attributes(at string, s doc) []string {
	var out []string
	props, _ := s["properties"].(doc)
	for name, p := range props {
		p, ok := p.(doc)
		if !ok {
			continue
		}
		out = append(out, at+"."+name)
		out = append(out, attributes(at+"."+name, p)...)
	}
	if items, ok := s["items"].(doc); ok {
		out = append(out, attributes(at, items)...)
	}
	return out
}
