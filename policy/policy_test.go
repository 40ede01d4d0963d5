package policy

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tropocloud/tropo/fault"
)

type status string

func TestLanguage(t *testing.T) {
	creds := Creds{
		UserID: "u1", ProjectID: "p1", UserDomainID: "d1", ProjectDomainID: "d1",
		Roles: []string{"Member", "reader"}, ServiceRoles: []string{"service"},
		Token: map[string]any{"project": map[string]any{"domain": map[string]any{"id": "d1"}}, "methods": []any{"password"}},
		Extra: map[string]any{"trust": map[string]any{"impersonation": true}},
	}
	missing := (*string)(nil)
	target := Target{
		"project_id": "p1", "user_id": "u2", "shared": true, "status": status("active"), "port": 9696,
		"target.user.domain_id": "d1", "target": map[string]any{"role": map[string]any{"domain_id": missing}},
		"network:project_id": "p1", "device_owner": "network:dhcp", "router:external": false, "list": []string{"p1"},
		"empty": "",
	}
	for check, want := range map[string]bool{
		"":                                  true,
		"@":                                 true,
		"!":                                 false,
		"role:member":                       true,
		"role:MEMBER":                       true,
		"role:admin":                        false,
		"role:%(missing)s":                  false,
		"not role:admin":                    true,
		"not not role:reader":               true,
		"role:admin or role:reader":         true,
		"role:member and role:admin":        false,
		"role:member and (role:admin or @)": true,
		"@ or ! and !":                      true, // and binds closer
		"! and ! or @":                      true,
		"not ! and !":                       false, // not binds closest
		"(not role:admin) AND role:member":  true,
		"project_id:%(project_id)s":         true,
		"tenant_id:%(tenant_id)s":           true,
		"project_id:%(tenant_id)s":          true,
		"user_id:%(user_id)s":               false,
		"user_id:u1":                        true,
		"user_id:%(missing)s":               false,
		"not user_id:%(missing)s":           true,
		"domain_id:%(missing)s":             false,
		"domain_id:":                        false, // an absent credential is not the empty text
		"domain_id:%(empty)s":               false,
		"system_scope:all":                  false,
		"is_admin:True":                     false,
		"is_admin:False":                    true,
		"is_admin_project:True":             true,
		"'active':%(status)s":               true,
		`"active":%(status)s`:               true,
		"'p1':%(project_id)s":               true,
		"True:%(shared)s":                   true,
		"False:%(shared)s":                  false,
		"9696:%(port)s":                     true,
		"None:%(target.role.domain_id)s":    true,
		"None:%(missing)s":                  false,
		"user_domain_id:%(target.user.domain_id)s":          true,
		"token.project.domain.id:%(target.user.domain_id)s": true,
		"token.methods:password":                            true,
		"token.nothing:x":                                   false,
		"trust.impersonation:True":                          true,
		"service_roles:service":                             true,
		"roles:reader":                                      true,
		"project_id:%(network:project_id)s":                 true,
		"project_id:%(list)s":                               false, // a list is no text
		"field:networks:shared=True":                        true,
		"field:networks:router:external=True":               false,
		"field:networks:router:external=False":              true,
		"field:port:device_owner=~^network:":                true,
		"field:port:device_owner=~^compute:":                false,
		"field:port:missing=~.*":                            false,
		"rule:yes":                                          true,
		"rule:no":                                           false,
		"user_id:100%%":                                     false,
	} {
		e, err := NewEnforcer([]Rule{{Name: "r", Check: check}, {Name: "yes", Check: "@"}, {Name: "no", Check: "!"}}, Options{})
		if err != nil {
			t.Errorf("%q: %v", check, err)
			continue
		}
		if got := e.Allowed("r", creds, target); got != want {
			t.Errorf("%q allows: %v; want %v\n%s", check, got, want, e.Explain("r", creds, target))
		}
		if err := e.Check("r", creds, target); (err == nil) != want {
			t.Errorf("%q: Check %v", check, err)
		}
		if x := e.Explain("r", creds, target); x.Allowed != want {
			t.Errorf("%q: Explain says %v", check, x.Allowed)
		}
		again, err := parse(mustParse(t, check).String())
		if err != nil || again.String() != mustParse(t, check).String() {
			t.Errorf("%q does not survive printing: %v, %v", check, again, err)
		}
	}
}

func mustParse(t testing.TB, s string) check {
	t.Helper()
	c, err := parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSyntaxErrors(t *testing.T) {
	for check, position := range map[string]int{
		"and":                            1,
		"role:a and":                     11,
		"role:a or or role:b":            11,
		"role:a role:b":                  8,
		"(role:a":                        8,
		"role:a)":                        7,
		"()":                             2,
		"not":                            4,
		"word":                           1,
		":x":                             1,
		"rule:":                          1,
		"http://host/check":              1,
		"https://host/check":             1,
		"user_id:%(a":                    1,
		"user_id:%(a)d":                  9,
		"user_id:%s":                     9,
		"user_id:%()s":                   9,
		"@ and 'x":                       7,
		"@ and 'x'":                      7,
		"field:a=b":                      1,
		"field:a:b=~(":                   1,
		strings.Repeat("(", 300) + "@":   202,
		strings.Repeat("not ", 300):      805,
		strings.Repeat(" ", 70000) + "x": maxCheckLength,
	} {
		_, err := parse(check)
		var bad *SyntaxError
		if !errors.As(err, &bad) || bad.Position != position {
			t.Errorf("%.40q: %v; want an error at position %d", check, err, position)
		}
	}
	if _, err := parse("http://host/x"); !strings.Contains(err.Error(), "not supported") {
		t.Error(err)
	}
}

func TestUnknownRuleDenies(t *testing.T) {
	e, err := NewEnforcer(nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = e.Check("nothing", Creds{IsAdmin: true, Roles: []string{"admin"}}, nil)
	if !fault.Is(err, fault.Forbidden) || !strings.Contains(err.Error(), "no such rule") {
		t.Fatal(err)
	}
}

func TestDenialExplains(t *testing.T) {
	e, err := NewEnforcer([]Rule{
		{Name: "admin", Check: "role:admin"},
		{Name: "owner", Check: "project_id:%(project_id)s"},
		{Name: "servers:delete", Check: "rule:admin or rule:owner"},
	}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = e.Check("servers:delete", Creds{ProjectID: "mine", Roles: []string{"member"}}, Target{"project_id": "yours"})
	f, ok := fault.As(err)
	if !ok || f.Kind != fault.Forbidden || f.Message != "Policy doesn't allow servers:delete to be performed." {
		t.Fatalf("%#v", err)
	}
	for _, want := range []string{"role:admin", "roles: member", "project_id:%(project_id)s", "caller mine, target yours"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not tell %q", err, want)
		}
	}
	if strings.Contains(f.Message, "yours") {
		t.Error("the user sees the target")
	}
}

func TestScope(t *testing.T) {
	rules := []Rule{{Name: "s", Check: "role:admin", Scopes: []string{"system"}}, {Name: "any", Check: "role:admin"}}
	strict, err := NewEnforcer(rules, Options{EnforceScope: true})
	if err != nil {
		t.Fatal(err)
	}
	lax, err := NewEnforcer(rules, Options{})
	if err != nil {
		t.Fatal(err)
	}
	admin := []string{"admin"}
	for _, c := range []struct {
		creds       Creds
		strict, lax bool
	}{
		{Creds{SystemScope: "all", Roles: admin}, true, true},
		{Creds{ProjectID: "p", Roles: admin}, false, true},
		{Creds{DomainID: "d", Roles: admin}, false, true},
		{Creds{Roles: admin}, false, true},
		{Creds{SystemScope: "all"}, false, false},
	} {
		if got := strict.Allowed("s", c.creds, nil); got != c.strict {
			t.Errorf("enforced: %+v: %v", c.creds, got)
		}
		if got := lax.Allowed("s", c.creds, nil); got != c.lax {
			t.Errorf("not enforced: %+v: %v", c.creds, got)
		}
	}
	if !strict.Allowed("any", Creds{Roles: admin}, nil) {
		t.Error("a rule without scopes refuses one")
	}
	if err := strict.Check("s", Creds{ProjectID: "p", Roles: admin}, nil); !strings.Contains(err.Error(), "the rule wants system") {
		t.Error(err)
	}
}

func TestDefaultsMustBeSound(t *testing.T) {
	for name, rules := range map[string][]Rule{
		"twice":     {{Name: "a", Check: "@"}, {Name: "a", Check: "!"}},
		"unknown":   {{Name: "a", Check: "rule:b"}},
		"itself":    {{Name: "a", Check: "rule:a"}},
		"circle":    {{Name: "a", Check: "rule:b"}, {Name: "b", Check: "@ or (not rule:c)"}, {Name: "c", Check: "rule:a"}},
		"malformed": {{Name: "a", Check: "or"}},
	} {
		_, err := NewEnforcer(rules, Options{})
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		if name == "circle" && (err == nil || !strings.Contains(err.Error(), "a → b → c → a")) {
			t.Errorf("the circle is not shown: %v", err)
		}
	}
}

func TestOperatorsFiles(t *testing.T) {
	defaults := []Rule{{Name: "admin_api", Check: "role:admin"}, {Name: "get", Check: "rule:admin_api", Description: "Read.", Scopes: []string{"project"}}, {Name: "put", Check: "rule:admin_api"}}
	good, err := filepath.Glob("testdata/good.*")
	if err != nil || len(good) < 3 {
		t.Fatal(good, err)
	}
	for _, file := range good {
		e, err := NewEnforcer(defaults, Options{File: file})
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		reader := Creds{ProjectID: "p", Roles: []string{"reader"}}
		if !e.Allowed("get", reader, Target{"project_id": "p"}) || e.Allowed("get", reader, Target{"project_id": "q"}) || e.Allowed("put", reader, Target{"project_id": "p"}) {
			t.Errorf("%s: the override is not in force", file)
		}
		if !e.Has("my_rule") || len(e.Rules()) != 4 {
			t.Errorf("%s: %+v", file, e.Rules())
		}
		if r := e.Rules()[1]; r.Name != "get" || r.Description != "Read." || r.Check == "rule:admin_api" {
			t.Errorf("%s: %+v", file, r)
		}
	}
	bad, err := filepath.Glob("testdata/bad.*")
	if err != nil || len(bad) < 4 {
		t.Fatal(bad, err)
	}
	for _, file := range bad {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		line, _, _ := strings.Cut(string(text), "\n")
		want := strings.TrimPrefix(line, "# want: ")
		if strings.HasPrefix(line, "{") {
			want = "circle"
		}
		if _, err := NewEnforcer(defaults, Options{File: file}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", file, err, want)
		}
	}
	if _, err := NewEnforcer(defaults, Options{File: "testdata/missing.yaml"}); err == nil {
		t.Error("a file that is missing is accepted")
	}
	for _, empty := range []string{"", "\n", "# only a comment\n", "{}", "---\n"} {
		if _, err := NewEnforcer(defaults, Options{Data: []byte(empty)}); err != nil {
			t.Errorf("%q: %v", empty, err)
		}
	}
}

func TestTypoInOperatorsFileDenies(t *testing.T) {
	e, err := NewEnforcer([]Rule{{Name: "get", Check: "@"}}, Options{Data: []byte(`get: "not rule:tpyo"`)})
	if err != nil {
		t.Fatal(err)
	}
	if e.Allowed("get", Creds{}, nil) {
		t.Error("the negation of a rule that does not exist allows")
	}
	if w := e.Warnings(); len(w) != 1 || !strings.Contains(w[0], "tpyo") {
		t.Error(w)
	}
}

func TestReload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy.yaml")
	write := func(s string) {
		if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`get: "@"`)
	e, err := NewEnforcer([]Rule{{Name: "get", Check: "!"}}, Options{File: file})
	if err != nil || !e.Allowed("get", Creds{}, nil) {
		t.Fatal(err)
	}
	write(`get: "or"`)
	if e.Reload() == nil || !e.Allowed("get", Creds{}, nil) {
		t.Error("a broken file took the rules away")
	}
	write("")
	if err := e.Reload(); err != nil || e.Allowed("get", Creds{}, nil) {
		t.Errorf("the default is not back: %v", err)
	}
}

// CVE-2026-42999 class: values of the target are data, never part of the rule.
func TestTargetIsNotInterpreted(t *testing.T) {
	e, err := NewEnforcer([]Rule{{Name: "r", Check: "role:admin or user_id:%(user_id)s"}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, evil := range []any{"@", "%(x)s", "x or @", "", nil, []string{"u"}, map[string]any{"user_id": "u"}} {
		if e.Allowed("r", Creds{UserID: "u"}, Target{"user_id": evil, "x": "u"}) {
			t.Errorf("target %v allows", evil)
		}
	}
	if e.Allowed("r", Creds{}, Target{"user_id": ""}) || e.Allowed("r", Creds{}, Target{"user_id": nil}) {
		t.Error("nobody is the owner of what nobody owns")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "@", "role:a and (not rule:b or 'x':%(y)s)", "field:p:q=~^a", "((", "user_id:%(a", "%", "''", "':", "not", "True:%(a)s", "(role:a)and(role:b)"} {
		f.Add(s)
	}
	creds := Creds{UserID: "u", Roles: []string{"a"}}
	target := Target{"y": "x", "a": true}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parse(s)
		if err != nil {
			var bad *SyntaxError
			if !errors.As(err, &bad) || bad.Position < 1 || bad.Position > len(s)+1 {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		q := &query{map[string]check{}, &creds, target}
		want := c.allows(q)
		if explain(c, q).Allowed != want {
			t.Fatalf("%q: the explanation differs", s)
		}
		again, err := parse(c.String())
		if err != nil || again.allows(q) != want {
			t.Fatalf("%q prints as %q: %v", s, c.String(), err)
		}
	})
}

func FuzzFile(f *testing.F) {
	f.Add([]byte(`a: "@"`))
	f.Add([]byte(`{"a": [["role:x"], []]}`))
	f.Add([]byte("a: &x [*x]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := NewEnforcer([]Rule{{Name: "a", Check: "!"}}, Options{Data: data})
		if err == nil {
			e.Allowed("a", Creds{}, nil)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	e, err := NewEnforcer([]Rule{
		{Name: "admin", Check: "role:admin"},
		{Name: "member", Check: "role:member and project_id:%(project_id)s"},
		{Name: "servers:create", Check: "rule:admin or rule:member"},
	}, Options{EnforceScope: true})
	if err != nil {
		b.Fatal(err)
	}
	c, t := Creds{ProjectID: "p", Roles: []string{"reader", "member"}}, Target{"project_id": "p"}
	b.ReportAllocs()
	for b.Loop() {
		if e.Check("servers:create", c, t) != nil {
			b.Fatal("denied")
		}
	}
}
