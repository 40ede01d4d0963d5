// Package config reads options as OpenStack's services do: INI files with
// groups, repeated keys and $option substitution, then environment variables,
// then flags, the later over the earlier.
//
// A service declares its options as a struct with tags; the same tags make the
// sample file and the reference:
//
//	type Options struct {
//		Debug    bool `config:"debug" default:"false" help:"Log more."`
//		Database struct {
//			Connection string        `config:"connection" secret:"true" help:"Where the data is."`
//			Timeout    time.Duration `config:"timeout" default:"30" help:"Longest wait."`
//		} `config:"database"`
//	}
//
// Tags: config (the name; on a struct: the group), default, help, type ("size"
// on an int64, "multi" on a []string that collects repeated keys), choices
// (comma separated), min, max, secret, required, deprecated (older names,
// comma separated, "group.name" where the group changed).
//
// Source: https://docs.openstack.org/oslo.config/latest/configuration/format.html
package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"sort"
	"strings"
)

// DefaultGroup holds the options that stand outside of any nested struct.
const DefaultGroup = "DEFAULT"

// DefaultEnvPrefix begins the name of every environment variable of tropo's.
const DefaultEnvPrefix = "TROPO_"

// Sources says where values come from, weakest first.
type Sources struct {
	// Files are read in order. A folder stands for its *.conf by name. A file
	// that does not exist is an error.
	Files []string
	// Env holds environment variables, see Environ. The name of an option's
	// is EnvPrefix + GROUP + "__" + OPTION in capitals with "." and "-"
	// turned into "_"; EnvPrefix + OPTION in the default group.
	Env map[string]string
	// EnvPrefix is DefaultEnvPrefix when empty.
	EnvPrefix string
	// Overrides come from flags: "group.option" or, in the default group,
	// "option" to the value. An unknown name is an error.
	Overrides map[string]string
	// Warn, if set, is told of what is suspicious but harmless: an unknown
	// option in a known group, a deprecated name.
	Warn func(message string)
}

// Environ returns the process's environment as Sources.Env wants it.
func Environ() map[string]string {
	m := map[string]string{}
	for _, kv := range os.Environ() {
		if k, v, ok := strings.Cut(kv, "="); ok {
			m[k] = v
		}
	}
	return m
}

// Error says what is wrong with one value.
type Error struct {
	Source   string // "tropo.conf:12", "environment TROPO_…", "flag", "default"
	Group    string
	Option   string
	Value    string // "***" for secrets
	Expected string // "want an integer", …
}

// Error names the source, the option and what is expected.
func (e *Error) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("%s: [%s] %s: %s", e.Source, e.Group, e.Option, e.Expected)
	}
	return fmt.Sprintf("%s: [%s] %s = %q: %s", e.Source, e.Group, e.Option, e.Value, e.Expected)
}

// Validator is implemented by option structs whose options depend on each
// other; Load asks every struct, the inner ones first.
type Validator interface{ Validate() error }

// Load fills dst, a pointer to a struct, from its defaults and sources. It
// reports every wrong value, joined; the parts are *Error.
func Load(dst any, sources Sources) error {
	root := reflect.ValueOf(dst)
	if root.Kind() != reflect.Pointer || root.IsNil() || root.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("config: want a pointer to a struct, not %T", dst)
	}
	opts, err := options(root.Elem())
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	l := newLoader(opts, sources)
	for _, name := range sources.Files {
		if err := l.path(name); err != nil {
			l.errs = append(l.errs, err)
		}
	}
	l.environment()
	l.overrides()
	for _, o := range opts {
		l.assign(o)
	}
	if len(l.errs) == 0 {
		validate(root.Elem(), &l.errs)
	}
	return errors.Join(l.errs...)
}

// raw is what a source says about an option before substitution.
type raw struct {
	values []string
	source string
}

type loader struct {
	sources Sources
	opts    []option
	byKey   map[string]*option // "group.name", lower-case group
	groups  map[string]bool
	raws    map[string]raw
	errs    []error
}

func newLoader(opts []option, s Sources) *loader {
	if s.EnvPrefix == "" {
		s.EnvPrefix = DefaultEnvPrefix
	}
	if s.Warn == nil {
		s.Warn = func(string) {}
	}
	l := &loader{sources: s, opts: opts, byKey: map[string]*option{}, groups: map[string]bool{}, raws: map[string]raw{}}
	for i := range opts {
		o := &opts[i]
		l.byKey[o.key()] = o
		l.groups[strings.ToLower(o.group)] = true
		for _, old := range o.deprecated {
			l.byKey[deprecatedKey(o, old)] = o
		}
	}
	return l
}

func deprecatedKey(o *option, old string) string {
	if i := strings.LastIndexByte(old, '.'); i >= 0 {
		return key(old[:i], old[i+1:])
	}
	return key(o.group, old)
}

func key(group, name string) string { return strings.ToLower(group) + "." + name }

func (l *loader) path(name string) error {
	st, err := os.Stat(name)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if !st.IsDir() {
		return l.file(name)
	}
	entries, err := os.ReadDir(name)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	for _, e := range entries { // sorted by name
		if !strings.HasSuffix(e.Name(), ".conf") {
			continue
		}
		if err := l.file(name + "/" + e.Name()); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) file(name string) error {
	entries, err := readINI(name)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, e := range entries {
		source := fmt.Sprintf("%s:%d", name, e.line)
		k := key(e.group, e.key)
		o := l.byKey[k]
		if o == nil {
			if l.groups[strings.ToLower(e.group)] {
				l.sources.Warn(fmt.Sprintf("%s: [%s] has no option %s%s", source, e.group, e.key, l.nearest(e.group, e.key)))
			}
			continue
		}
		if o.key() != k {
			l.sources.Warn(fmt.Sprintf("%s: [%s] %s is deprecated; use [%s] %s", source, e.group, e.key, o.group, o.name))
		}
		k = o.key()
		if o.multi && seen[k] {
			r := l.raws[k]
			r.values = append(r.values, e.value)
			l.raws[k] = r
			continue
		}
		seen[k] = true
		l.raws[k] = raw{[]string{e.value}, source}
	}
	return nil
}

func (l *loader) environment() {
	prefix := l.sources.EnvPrefix
	known := map[string]bool{}
	for i := range l.opts {
		o := &l.opts[i]
		for _, name := range o.envNames(prefix) {
			known[name] = true
			if v, ok := l.sources.Env[name]; ok {
				l.raws[o.key()] = raw{o.splitMulti(v), "environment " + name}
			}
		}
	}
	for _, name := range sortedKeys(l.sources.Env) {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok || known[name] {
			continue
		}
		if group, _, ok := strings.Cut(rest, "__"); ok && l.envGroup(group) {
			l.sources.Warn("environment " + name + ": there is no such option")
		}
	}
}

func (l *loader) envGroup(group string) bool {
	for _, o := range l.opts {
		if envWord(o.group) == group {
			return true
		}
	}
	return false
}

func (l *loader) overrides() {
	for _, name := range sortedKeys(l.sources.Overrides) {
		group, opt := DefaultGroup, name
		if i := strings.LastIndexByte(name, '.'); i >= 0 {
			group, opt = name[:i], name[i+1:]
		}
		o := l.byKey[key(group, opt)]
		if o == nil {
			l.errs = append(l.errs, &Error{Source: "flag", Group: group, Option: opt, Expected: "there is no such option" + l.nearest(group, opt)})
			continue
		}
		l.raws[o.key()] = raw{o.splitMulti(l.sources.Overrides[name]), "flag"}
	}
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// nearest suggests the option of the group whose name is at most two edits
// away.
func (l *loader) nearest(group, name string) string {
	best, at := "", 3
	for _, o := range l.opts {
		if !strings.EqualFold(o.group, group) {
			continue
		}
		if d := distance(o.name, name); d < at {
			best, at = o.name, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diag := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diag, row[j] = row[j], min(row[j]+1, row[j-1]+1, diag+cost)
		}
	}
	return row[len(b)]
}

func validate(v reflect.Value, errs *[]error) {
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Struct && v.Type().Field(i).IsExported() {
			validate(f, errs)
		}
	}
	if x, ok := v.Addr().Interface().(Validator); ok {
		if err := x.Validate(); err != nil && !slices.Contains(*errs, err) {
			*errs = append(*errs, fmt.Errorf("config: %w", err))
		}
	}
}
