package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes; it reads as 512, 64KiB, 1G (powers of 1024) or
// 1GB (powers of 1000).
type Size int64

// option is one tagged field.
type option struct {
	group, name string
	value       reflect.Value
	kind        string // string, integer, float, boolean, duration, size, list, multi, dict
	def         string
	hasDef      bool
	help        string
	choices     []string
	min, max    string
	secret      bool
	required    bool
	multi       bool
	deprecated  []string
}

func (o *option) key() string { return key(o.group, o.name) }

func envWord(s string) string {
	return strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(s))
}

// envNames are the variables of o, weakest first.
func (o *option) envNames(prefix string) []string {
	full := prefix + envWord(o.group) + "__" + envWord(o.name)
	if o.group == DefaultGroup {
		return []string{prefix + envWord(o.name), full}
	}
	return []string{full}
}

// splitMulti makes the values of a multi option from one text: one a line.
func (o *option) splitMulti(v string) []string {
	if !o.multi {
		return []string{v}
	}
	if v == "" {
		return nil
	}
	return strings.Split(v, "\n")
}

// options lists the tagged fields of v, a struct, in order.
func options(v reflect.Value) ([]option, error) {
	var out []option
	if err := collect(v, DefaultGroup, &out); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, o := range out {
		if seen[o.key()] {
			return nil, fmt.Errorf("option [%s] %s is declared twice", o.group, o.name)
		}
		seen[o.key()] = true
	}
	return out, nil
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[Size]()
)

func collect(v reflect.Value, group string, out *[]option) error {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, tagged := f.Tag.Lookup("config")
		if name == "-" || !f.IsExported() {
			continue
		}
		if f.Type.Kind() == reflect.Struct {
			inner := group
			if tagged && name != "" {
				inner = name
				if group != DefaultGroup {
					inner = group + "." + name
				}
			}
			if err := collect(v.Field(i), inner, out); err != nil {
				return err
			}
			continue
		}
		if !tagged {
			continue
		}
		o, err := newOption(f, v.Field(i), group, name)
		if err != nil {
			return err
		}
		*out = append(*out, o)
	}
	return nil
}

func newOption(f reflect.StructField, v reflect.Value, group, name string) (option, error) {
	o := option{
		group: group, name: name, value: v, help: f.Tag.Get("help"),
		min: f.Tag.Get("min"), max: f.Tag.Get("max"),
		secret: f.Tag.Get("secret") == "true", required: f.Tag.Get("required") == "true",
		choices: splitList(f.Tag.Get("choices")), deprecated: splitList(f.Tag.Get("deprecated")),
	}
	o.def, o.hasDef = f.Tag.Lookup("default")
	o.kind = kindOf(f.Type, f.Tag.Get("type"))
	o.multi = o.kind == "multi"
	if o.kind == "" || name == "" {
		return o, fmt.Errorf("field %s: cannot be an option (type %s, name %q)", f.Name, f.Type, name)
	}
	return o, nil
}

func kindOf(t reflect.Type, tag string) string {
	switch {
	case t == durationType:
		return "duration"
	case t == sizeType, tag == "size" && t.Kind() == reflect.Int64:
		return "size"
	}
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "integer"
	case reflect.Float32, reflect.Float64:
		return "float"
	case reflect.Slice:
		if t.Elem().Kind() != reflect.String {
			return ""
		}
		if tag == "multi" {
			return "multi"
		}
		return "list"
	case reflect.Map:
		if t.Key().Kind() == reflect.String && t.Elem().Kind() == reflect.String {
			return "dict"
		}
	}
	return ""
}

// expected names what kind of value an option takes, for errors.
func (o *option) expected() string {
	s := map[string]string{
		"string": "a string", "boolean": "true or false", "integer": "an integer", "float": "a number",
		"duration": "seconds or a duration such as 1m30s", "size": "bytes or a size such as 64KiB or 10G",
		"list": "a list separated by commas", "multi": "a string, once or more", "dict": "key:value pairs separated by commas",
	}[o.kind]
	if len(o.choices) > 0 {
		s = "one of " + strings.Join(o.choices, ", ")
	}
	switch {
	case o.min != "" && o.max != "":
		s += fmt.Sprintf(" from %s to %s", o.min, o.max)
	case o.min != "":
		s += " of at least " + o.min
	case o.max != "":
		s += " of at most " + o.max
	}
	return "want " + s
}

// set parses the substituted values into the field.
func (o *option) set(values []string) error {
	if o.multi {
		o.setStrings(values)
		return nil
	}
	s := ""
	if len(values) > 0 {
		s = values[len(values)-1]
	}
	if len(o.choices) > 0 && o.kind != "list" && !slices.Contains(o.choices, s) {
		return errExpected
	}
	switch o.kind {
	case "string":
		o.value.SetString(s)
	case "list":
		l := splitList(s)
		for _, e := range l {
			if len(o.choices) > 0 && !slices.Contains(o.choices, e) {
				return errExpected
			}
		}
		o.setStrings(l)
	case "dict":
		return o.setDict(s)
	case "boolean":
		b, ok := parseBool(s)
		if !ok {
			return errExpected
		}
		o.value.SetBool(b)
	default:
		return o.setNumber(strings.TrimSpace(s))
	}
	return nil
}

var errExpected = fmt.Errorf("not as expected")

func (o *option) setStrings(l []string) {
	s := reflect.MakeSlice(o.value.Type(), len(l), len(l))
	for i, e := range l {
		s.Index(i).SetString(e)
	}
	o.value.Set(s)
}

func (o *option) setDict(s string) error {
	m := reflect.MakeMap(o.value.Type())
	for _, pair := range splitList(s) {
		k, v, ok := strings.Cut(pair, ":")
		if !ok || strings.TrimSpace(k) == "" {
			return errExpected
		}
		kv, vv := reflect.New(o.value.Type().Key()).Elem(), reflect.New(o.value.Type().Elem()).Elem()
		kv.SetString(strings.TrimSpace(k))
		vv.SetString(strings.TrimSpace(v))
		m.SetMapIndex(kv, vv)
	}
	o.value.Set(m)
	return nil
}

// setNumber parses and bounds integers, floats, durations and sizes.
func (o *option) setNumber(s string) error {
	n, ok := o.number(s)
	if !ok {
		return errExpected
	}
	for i, bound := range []string{o.min, o.max} {
		b, ok := o.number(bound)
		if bound == "" || !ok {
			continue
		}
		if (i == 0 && n.less(b)) || (i == 1 && b.less(n)) {
			return errExpected
		}
	}
	v := o.value
	switch {
	case v.CanFloat():
		v.SetFloat(n.f)
	case v.CanUint():
		if n.i < 0 || v.OverflowUint(uint64(n.i)) {
			return errExpected
		}
		v.SetUint(uint64(n.i))
	default:
		if v.OverflowInt(n.i) {
			return errExpected
		}
		v.SetInt(n.i)
	}
	return nil
}

// number is an integer or, for floats, a fraction.
type number struct {
	i int64
	f float64
}

func (n number) less(m number) bool { return n.i < m.i || n.i == m.i && n.f < m.f }

func (o *option) number(s string) (number, bool) {
	switch o.kind {
	case "float":
		f, err := strconv.ParseFloat(s, 64)
		return number{f: f}, err == nil
	case "duration":
		d, ok := parseDuration(s)
		return number{i: int64(d)}, ok
	case "size":
		n, ok := parseSize(s)
		return number{i: n}, ok
	}
	i, err := strconv.ParseInt(s, 10, 64)
	return number{i: i}, err == nil
}

func splitList(s string) []string {
	var out []string
	for _, e := range strings.Split(s, ",") {
		if e = strings.TrimSpace(e); e != "" {
			out = append(out, e)
		}
	}
	return out
}

func parseBool(s string) (value, ok bool) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "true", "1", "yes", "on":
		return true, true
	case "false", "0", "no", "off":
		return false, true
	}
	return false, false
}

// parseDuration reads seconds, as oslo's integer options have them, or a Go
// duration.
func parseDuration(s string) (time.Duration, bool) {
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		const limit = float64(1<<63-1) / float64(time.Second)
		if f != f || f > limit || f < -limit {
			return 0, false
		}
		return time.Duration(f * float64(time.Second)), true
	}
	d, err := time.ParseDuration(s)
	return d, err == nil
}

func parseSize(s string) (int64, bool) {
	i := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' && r != '-' })
	num, unit := s, ""
	if i >= 0 {
		num, unit = s[:i], strings.TrimSpace(s[i:])
	}
	factor, ok := sizeUnit(unit)
	if !ok {
		return 0, false
	}
	if n, err := strconv.ParseInt(num, 10, 64); err == nil {
		if p := n * factor; p/factor == n {
			return p, true
		}
		return 0, false
	}
	f, err := strconv.ParseFloat(num, 64)
	if err != nil || f*float64(factor) > 1<<62 || f*float64(factor) < -(1<<62) {
		return 0, false
	}
	return int64(f * float64(factor)), true
}

func sizeUnit(u string) (int64, bool) {
	u = strings.ToUpper(u)
	if u == "" || u == "B" {
		return 1, true
	}
	exp := strings.IndexByte("KMGTP", u[0]) + 1
	base := int64(1024)
	switch u[1:] {
	case "", "IB":
	case "B":
		base = 1000
	default:
		exp = 0
	}
	if exp == 0 {
		return 0, false
	}
	n := int64(1)
	for range exp {
		n *= base
	}
	return n, true
}
