// Package tropo_test asserts the architecture: what may import what, how large
// files and functions may grow, and that everything exported is described.
// See ARCHITECTURE.md for the reasons.
package tropo_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	module = "github.com/tropocloud/tropo"

	maxFileLines     = 800
	maxFunctionLines = 120
)

// shared lists the shared packages in order: each may import those before it.
var shared = []string{"fault", "config", "obs", "db", "bus", "task", "policy", "auth", "rest", "feed", "host", "doctor"}

// other lists the top folders that are neither shared nor a service.
var other = []string{"app", "cmd", "lib", "test", "tools", "docs", "deploy", "."}

// forbiddenNames say nothing about what a package holds.
var forbiddenNames = []string{"util", "utils", "common", "helper", "helpers", "types", "pkg", "internal", "src", "misc", "shared"}

// selfEvident are methods whose interface says all there is to say.
var selfEvident = []string{"Error", "Unwrap", "String", "Read", "Write", "ServeHTTP", "Len", "Less", "Swap"}

// layers maps each layer of a service to those of the same service that it
// must not import.
var layers = map[string][]string{
	"api":       {"store", "agent", "driver"},
	"manager":   {"api", "agent"},
	"scheduler": {"api", "manager", "store", "agent", "driver"},
	"store":     {"api", "manager", "scheduler", "agent", "driver"},
	"agent":     {"api", "manager", "scheduler", "store"},
	"driver":    {"api", "manager", "scheduler", "store", "agent"},
	"client":    {"api", "manager", "scheduler", "store", "agent", "driver"},
}

func TestArchitecture(t *testing.T) {
	c := newChecker()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return skip(name, d.Name())
		case !strings.HasSuffix(name, ".go"):
			return nil
		}
		src, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return c.add(filepath.ToSlash(name), src)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range c.finish() {
		t.Error(v)
	}
}

// skip leaves out what is not of this module.
func skip(name, base string) error {
	if name == "." {
		return nil
	}
	_, err := os.Stat(filepath.Join(name, "go.mod"))
	if err == nil || base == "testdata" || base == "node_modules" || base == "vendor" || base[0] == '.' || base[0] == '_' {
		return fs.SkipDir
	}
	return nil
}

// checker collects violations.
type checker struct {
	fset       *token.FileSet
	violations []string
	packages   map[string]string // folder to a file of it, non-test
	commented  map[string]bool
}

func newChecker() *checker {
	return &checker{fset: token.NewFileSet(), packages: map[string]string{}, commented: map[string]bool{}}
}

func (c *checker) report(p token.Pos, format string, args ...any) {
	at := c.fset.Position(p)
	c.violations = append(c.violations, fmt.Sprintf("%s:%d: %s", at.Filename, at.Line, fmt.Sprintf(format, args...)))
}

// add checks one file.
func (c *checker) add(name string, src []byte) error {
	f, err := parser.ParseFile(c.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	dir := path.Dir(name)
	for _, elem := range strings.Split(dir, "/") {
		if slices.Contains(forbiddenNames, elem) {
			c.report(f.Package, "a folder named %q says nothing about what it holds", elem)
		}
	}
	if strings.HasSuffix(name, "_test.go") {
		return nil
	}
	if _, ok := c.packages[dir]; !ok {
		c.packages[dir] = name
	}
	c.commented[dir] = c.commented[dir] || f.Doc.Text() != ""
	for _, imp := range f.Imports {
		to, ours := ourPath(strings.Trim(imp.Path.Value, `"`))
		if why := mayImport(dir, strings.Trim(imp.Path.Value, `"`), to, ours); why != "" {
			c.report(imp.Pos(), "%s imports %s: %s", dir, imp.Path.Value, why)
		}
	}
	if ast.IsGenerated(f) {
		return nil
	}
	if n := c.fset.File(f.Package).LineCount(); n > maxFileLines {
		c.report(f.Package, "the file has %d lines; at most %d", n, maxFileLines)
	}
	for _, d := range f.Decls {
		c.declaration(d)
	}
	return nil
}

func ourPath(imp string) (string, bool) {
	if imp == module {
		return ".", true
	}
	return strings.CutPrefix(imp, module+"/")
}

// mayImport says why folder from must not import; "" if it may.
func mayImport(from, imp, to string, ours bool) string {
	top, rest, _ := strings.Cut(from, "/")
	if !ours {
		if isService(top) && rest == "" && strings.Contains(strings.Split(imp, "/")[0], ".") {
			return "a service's root imports fault and the standard library only"
		}
		return ""
	}
	toTop, toRest, _ := strings.Cut(to, "/")
	forTests := strings.HasSuffix(from, "test") || top == "test"
	switch {
	case from == to || top == "test" || top == "tools":
		return ""
	case strings.HasSuffix(to, "test") && !forTests, toTop == "test":
		return "what serves tests stays in tests"
	case top == "cmd":
		if toTop != "app" {
			return "a command calls app alone"
		}
		return ""
	case top == "app":
		return ""
	case toTop == "app", toTop == "cmd":
		return "only commands and tests import app"
	case top == "lib":
		return libMayImport(rest, toTop, toRest)
	case slices.Contains(shared, top):
		return sharedMayImport(top, toTop)
	}
	return serviceMayImport(top, rest, toTop, toRest)
}

func isService(top string) bool {
	return !slices.Contains(shared, top) && !slices.Contains(other, top)
}

func libMayImport(rest, toTop, toRest string) string {
	mine, _, _ := strings.Cut(rest, "/")
	if its, _, _ := strings.Cut(toRest, "/"); toTop == "lib" && mine == its {
		return ""
	}
	return "lib imports nothing of ours"
}

func sharedMayImport(top, toTop string) string {
	if toTop == "lib" || toTop == top {
		return ""
	}
	at := slices.Index(shared, toTop)
	if at < 0 {
		return "shared packages know no service"
	}
	if at > slices.Index(shared, top) {
		return "the order of the shared packages is " + strings.Join(shared, ", ")
	}
	return ""
}

func serviceMayImport(top, rest, toTop, toRest string) string {
	layer, _, _ := strings.Cut(rest, "/")
	toLayer, _, _ := strings.Cut(toRest, "/")
	switch {
	case rest == "":
		if toTop == "fault" {
			return ""
		}
		return "a service's root imports fault and the standard library only"
	case isService(toTop) && toTop != top:
		if toLayer == "client" {
			return ""
		}
		return "a service reaches another over its REST API"
	case toTop == top && slices.Contains(layers[layer], toLayer):
		return fmt.Sprintf("%s must not know %s", layer, toLayer)
	}
	return ""
}

func (c *checker) declaration(d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		n := c.fset.Position(d.End()).Line - c.fset.Position(d.Pos()).Line + 1
		if n > maxFunctionLines {
			c.report(d.Pos(), "%s has %d lines; at most %d", d.Name.Name, n, maxFunctionLines)
		}
		if d.Name.IsExported() && d.Doc.Text() == "" && describes(d) {
			c.report(d.Pos(), "%s is exported and has no comment", d.Name.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			c.spec(d, s)
		}
	}
}

// describes reports whether d, a function that is exported, needs a comment.
func describes(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	return ast.IsExported(receiver(d.Recv.List[0].Type)) && !slices.Contains(selfEvident, d.Name.Name)
}

// spec: a comment on the group, on the declaration or behind it counts.
func (c *checker) spec(d *ast.GenDecl, s ast.Spec) {
	group := d.Doc.Text() != ""
	switch s := s.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() && !group && s.Doc.Text() == "" && s.Comment.Text() == "" {
			c.report(s.Pos(), "%s is exported and has no comment", s.Name.Name)
		}
	case *ast.ValueSpec:
		if group || s.Doc.Text() != "" || s.Comment.Text() != "" {
			return
		}
		for _, n := range s.Names {
			if n.IsExported() {
				c.report(n.Pos(), "%s is exported and has no comment", n.Name)
			}
		}
	}
}

// receiver returns the name of a receiver's type.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// finish returns all violations, by place.
func (c *checker) finish() []string {
	for _, dir := range slices.Sorted(maps.Keys(c.packages)) {
		if !c.commented[dir] {
			c.violations = append(c.violations, fmt.Sprintf("%s:1: package %s has no comment", c.packages[dir], dir))
		}
	}
	slices.Sort(c.violations)
	return c.violations
}

// TestArchitectureRules shows each rule what it forbids and what it allows.
func TestArchitectureRules(t *testing.T) {
	for _, x := range []struct {
		file, imp string
		ok        bool
	}{
		{"cmd/tropo/main.go", "app", true},
		{"cmd/tropo/main.go", "compute/api", false},
		{"app/app.go", "compute/api", true},
		{"app/app.go", "bus/bustest", false},
		{"test/e2e/e2e.go", "app", true},
		{"test/e2e/e2e.go", "bus/bustest", true},
		{"compute/api/api.go", "app", false},
		{"compute/api/api.go", "test/testkit", false},
		{"compute/compute.go", "fault", true},
		{"compute/compute.go", "obs", false},
		{"compute/compute.go", "compute/store", false},
		{"compute/compute.go", "!github.com/google/uuid", false},
		{"compute/compute.go", "!net/netip", true},
		{"compute/api/api.go", "compute", true},
		{"compute/api/api.go", "compute/manager", true},
		{"compute/api/api.go", "compute/store", false},
		{"compute/manager/m.go", "compute/store", true},
		{"compute/manager/m.go", "compute/api", false},
		{"compute/manager/m.go", "compute/agent", false},
		{"compute/agent/a.go", "compute/driver/qemu", true},
		{"compute/agent/a.go", "compute/store", false},
		{"compute/driver/qemu/q.go", "compute/driver", true},
		{"compute/driver/qemu/q.go", "compute/manager", false},
		{"compute/driver/drivertest/d.go", "host/hosttest", true},
		{"compute/store/s.go", "compute/manager", false},
		{"compute/scheduler/s.go", "compute/store", false},
		{"compute/manager/m.go", "network/client", true},
		{"compute/manager/m.go", "network", false},
		{"compute/manager/m.go", "network/driver", false},
		{"obs/obs.go", "config", true},
		{"config/config.go", "obs", false},
		{"bus/inproc/b.go", "bus", true},
		{"auth/a.go", "identity/store", false},
		{"auth/a.go", "lib/fernet", true},
		{"lib/qmp/q.go", "fault", false},
		{"lib/qmp/q.go", "lib/ovsdb", false},
		{"lib/qmp/qmptest/q.go", "lib/qmp", true},
	} {
		imp := module + "/" + x.imp
		if third, ok := strings.CutPrefix(x.imp, "!"); ok {
			imp = third
		}
		got := violations(t, x.file, "// Package p is.\npackage p\n\nimport _ \""+imp+"\"\n")
		if (len(got) == 0) != x.ok {
			t.Errorf("%s imports %s: %q; want ok %v", x.file, x.imp, got, x.ok)
		}
	}
}

// TestArchitectureOfDeclarations does the same for the rules on declarations.
func TestArchitectureOfDeclarations(t *testing.T) {
	const head = "// Package p is.\npackage p\n"
	for _, x := range []struct {
		file, src string
		ok        bool
	}{
		{"compute/api/a.go", "package p\n", false},
		{"compute/util/a.go", head, false},
		{"compute/api/a.go", head + "func F() {}\n", false},
		{"compute/api/a.go", head + "// F does.\nfunc F() {}\n", true},
		{"compute/api/a.go", head + "type t int\nfunc (t) F() {}\n", true},
		{"compute/api/a.go", head + "// T is.\ntype T[A any] int\nfunc (*T[A]) F() {}\n", false},
		{"compute/api/a.go", head + "// T is.\ntype T int\nfunc (T) Error() string { return \"\" }\n", true},
		{"compute/api/a.go", head + "type T int\n", false},
		{"compute/api/a.go", head + "const C = 1\n", false},
		{"compute/api/a.go", head + "const C = 1 // is\n", true},
		{"compute/api/a.go", head + "// These are.\nconst (\n\tC = 1\n\tD = 2\n)\n", true},
		{"compute/api/a.go", head + "func f() {\n" + strings.Repeat("\n", maxFunctionLines) + "}\n", false},
		{"compute/api/a.go", head + strings.Repeat("\n", maxFileLines), false},
		{"compute/api/a.go", "// Code generated by x. DO NOT EDIT.\n\n" + head + "func F() {}\n" + strings.Repeat("\n", maxFileLines), true},
		{"compute/api/a_test.go", "package p\nfunc F() {\n" + strings.Repeat("\n", maxFileLines) + "}\n", true},
	} {
		got := violations(t, x.file, x.src)
		if (len(got) == 0) != x.ok {
			t.Errorf("%s %.80q: %q; want ok %v", x.file, x.src, got, x.ok)
		}
	}
}

func violations(t *testing.T, file, src string) []string {
	t.Helper()
	c := newChecker()
	if err := c.add(file, []byte(src)); err != nil {
		t.Fatal(err)
	}
	return c.finish()
}
