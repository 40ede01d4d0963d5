// Package resttest runs golden exchanges: files of requests and the answers
// that a service is to give, readable as a description of its API.
//
// A file holds exchanges one after the other; they share the service's state:
//
//	### make a project
//	POST /v3/projects
//	X-Auth-Token: {{admin}}
//
//	{"project": {"name": "p"}}
//
//	HTTP 201
//	Content-Type: application/json
//
//	{"project": {"id": "<id-1>", "name": "p"}}
//
// Ids and times in answers are replaced by <id-1>, <id-2>, … and <time> in the
// order of their first appearance; {{id-1}} in a later request stands for the
// real value. go test -update writes the answers that the service gave.
package resttest

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tropocloud/tropo/rest"
)

// update is a test flag; flags are the one thing that must be registered
// before main.
var update = flag.Bool("update", false, "write the golden exchanges anew")

// exchange is one request and its answer.
type exchange struct {
	name    string
	method  string
	path    string
	header  http.Header
	body    string
	want    string // the answer's text, normalised
	headers []string
}

// Run plays every *.http file of dir against a handler; start gives each file
// a fresh service and the variables ("admin" → a token).
func Run(t *testing.T, dir string, start func(t *testing.T) (http.Handler, map[string]string)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.http"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden exchanges in %s (%v)", dir, err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".http"), func(t *testing.T) {
			h, vars := start(t)
			play(t, f, h, vars)
		})
	}
}

func play(t *testing.T, file string, h http.Handler, vars map[string]string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	list, err := parse(string(text))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	n := &normaliser{vars: vars, ids: map[string]string{}}
	var out strings.Builder
	for _, x := range list {
		got := n.answer(x, do(t, x, h, n))
		if !*update {
			if diff := cmp.Diff(x.want, got); diff != "" {
				t.Errorf("%s: %s\n%s %s (-want +got)\n%s", filepath.Base(file), x.name, x.method, x.path, diff)
			}
		}
		x.want = got
		x.write(&out)
	}
	if *update {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil { //nolint:gosec // a source file
			t.Fatal(err)
		}
	}
}

func do(t *testing.T, x exchange, h http.Handler, n *normaliser) *http.Response {
	t.Helper()
	req := httptest.NewRequest(x.method, n.expand(x.path), strings.NewReader(n.expand(x.body)))
	req.Host = "cloud.test"
	if x.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, vs := range x.header {
		req.Header[k] = nil
		for _, v := range vs {
			req.Header.Add(k, n.expand(v))
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w.Result()
}

// parse reads a file of exchanges.
func parse(text string) ([]exchange, error) {
	var out []exchange
	for i, block := range strings.Split("\n"+text, "\n### ")[1:] {
		name, rest, _ := strings.Cut(block, "\n")
		x := exchange{name: strings.TrimSpace(name), header: http.Header{}}
		request, answer, _ := strings.Cut("\n"+rest, "\nHTTP ")
		head, body, _ := strings.Cut(strings.TrimSpace(request), "\n\n")
		lines := strings.Split(head, "\n")
		var ok bool
		if x.method, x.path, ok = strings.Cut(strings.TrimSpace(lines[0]), " "); !ok {
			return nil, fmt.Errorf("exchange %d %q: the first line must be METHOD /path", i+1, x.name)
		}
		for _, l := range lines[1:] {
			k, v, ok := strings.Cut(l, ":")
			if !ok {
				return nil, fmt.Errorf("exchange %q: header line %q", x.name, l)
			}
			x.header.Add(strings.TrimSpace(k), strings.TrimSpace(v))
		}
		x.body = strings.TrimSpace(body)
		if answer != "" {
			x.want = strings.TrimSpace("HTTP " + answer)
			ah, _, _ := strings.Cut(x.want, "\n\n")
			for _, l := range strings.Split(ah, "\n")[1:] {
				k, _, _ := strings.Cut(l, ":")
				x.headers = append(x.headers, k)
			}
		}
		out = append(out, x)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no exchange: each begins with ### and its name")
	}
	return out, nil
}

func (x exchange) write(b *strings.Builder) {
	fmt.Fprintf(b, "### %s\n%s %s\n", x.name, x.method, x.path)
	keys := make([]string, 0, len(x.header))
	for k := range x.header {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		for _, v := range x.header[k] {
			fmt.Fprintf(b, "%s: %s\n", k, v)
		}
	}
	if x.body != "" {
		fmt.Fprintf(b, "\n%s\n", x.body)
	}
	fmt.Fprintf(b, "\n%s\n\n", x.want)
}

// normaliser replaces what differs from run to run.
type normaliser struct {
	vars map[string]string
	ids  map[string]string // real → <id-n>
	back []string          // n-1 → real
}

var (
	idPattern   = regexp.MustCompile(`\b(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}|gAAAA[A-Za-z0-9_=-]{20,})`)
	timePattern = regexp.MustCompile(`\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?`)
	macPattern  = regexp.MustCompile(`\bfa:16:3e(?::[0-9a-f]{2}){3}`)
	// Audit ids of Keystone's tokens are random text of no certain form.
	auditPattern = regexp.MustCompile(`"(audit_ids|audit_id|audit_chain_id)":\s*(?:"[^"]*"|\[[^\]]*\])`)
	varPattern   = regexp.MustCompile(`\{\{([a-z0-9_-]+)\}\}`)
)

func (n *normaliser) expand(s string) string {
	return varPattern.ReplaceAllStringFunc(s, func(m string) string {
		name := m[2 : len(m)-2]
		if v, ok := n.vars[name]; ok {
			return v
		}
		var i int
		if _, err := fmt.Sscanf(name, "id-%d", &i); err == nil && i >= 1 && i <= len(n.back) {
			return n.back[i-1]
		}
		return m
	})
}

func (n *normaliser) clean(s string) string {
	s = idPattern.ReplaceAllStringFunc(s, func(id string) string {
		for name, v := range n.vars {
			if v == id {
				return "{{" + name + "}}"
			}
		}
		if _, ok := n.ids[id]; !ok {
			n.back = append(n.back, id)
			n.ids[id] = fmt.Sprintf("<id-%d>", len(n.back))
		}
		return n.ids[id]
	})
	s = macPattern.ReplaceAllString(s, "<mac>")
	s = auditPattern.ReplaceAllString(s, `"$1": "<audit>"`)
	return timePattern.ReplaceAllString(s, "<time>")
}

// answer renders a response: status, the headers that the file names (or the
// type and location), and the body, JSON with sorted keys.
func (n *normaliser) answer(x exchange, res *http.Response) string {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP %d\n", res.StatusCode)
	names := x.headers
	if x.want == "" {
		names = nil
		for _, k := range []string{"Content-Type", "Location", "Allow"} {
			if res.Header.Get(k) != "" {
				names = append(names, k)
			}
		}
	}
	for _, k := range names {
		fmt.Fprintf(&b, "%s: %s\n", k, n.clean(res.Header.Get(k)))
	}
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return b.String() + err.Error()
	}
	if len(raw) == 0 {
		return strings.TrimSpace(b.String())
	}
	var doc any
	if json.Unmarshal(raw, &doc) == nil {
		var pretty bytes.Buffer
		e := json.NewEncoder(&pretty)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		_ = e.Encode(doc)
		raw = pretty.Bytes()
	}
	fmt.Fprintf(&b, "\n%s", n.clean(strings.TrimSpace(string(raw))))
	return strings.TrimSpace(b.String())
}

// Covered fails for every route of the table that no exchange in dir asks.
func Covered(t *testing.T, a *rest.API, dir string) {
	t.Helper()
	if err := a.CompileSchemas(); err != nil {
		t.Error(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.http"))
	if err != nil {
		t.Fatal(err)
	}
	var list []exchange
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		l, err := parse(string(text))
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		list = append(list, l...)
	}
	for _, r := range a.Routes() {
		if !slices.ContainsFunc(list, func(x exchange) bool { return asks(x, r) }) {
			name := r.Method + " " + r.Path
			if r.Action != "" {
				name += "#" + r.Action
			}
			t.Errorf("no golden exchange for %s", name)
		}
	}
}

func asks(x exchange, r rest.Route) bool {
	if x.method != r.Method {
		return false
	}
	path, _, _ := strings.Cut(x.path, "?")
	p, w := strings.Split(strings.Trim(path, "/"), "/"), strings.Split(strings.Trim(r.Path, "/"), "/")
	for i, seg := range w {
		if strings.HasSuffix(seg, "...}") {
			return len(p) > i && actionOf(x, r)
		}
		if i >= len(p) || !strings.HasPrefix(seg, "{") && seg != p[i] {
			return false
		}
	}
	return len(p) == len(w) && actionOf(x, r)
}

func actionOf(x exchange, r rest.Route) bool {
	if r.Action == "" {
		return true
	}
	var doc map[string]json.RawMessage
	if json.Unmarshal([]byte(x.body), &doc) != nil {
		return false
	}
	_, ok := doc[r.Action]
	return ok
}
