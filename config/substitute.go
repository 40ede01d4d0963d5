package config

import (
	"errors"
	"fmt"
	"strings"
)

// assign sets o's field from its strongest source or its default.
func (l *loader) assign(o option) {
	r, ok := l.raws[o.key()]
	switch {
	case !ok && o.hasDef:
		r = raw{o.splitMulti(o.def), "default"}
	case !ok && o.required:
		l.errs = append(l.errs, &Error{Source: "config", Group: o.group, Option: o.name, Expected: "is required; " + o.expected()})
		return
	case !ok:
		return // the field keeps what the program put there
	}
	values := make([]string, len(r.values))
	var err error
	for i, v := range r.values {
		if values[i], err = l.substitute(o.group, v, nil); err != nil {
			break
		}
	}
	if err == nil {
		err = o.set(values)
	}
	if err == nil {
		return
	}
	e := &Error{Source: r.source, Group: o.group, Option: o.name, Value: strings.Join(r.values, "\n"), Expected: err.Error()}
	if errors.Is(err, errExpected) {
		e.Expected = o.expected()
	}
	if o.secret {
		e.Value = "***"
	}
	l.errs = append(l.errs, e)
}

// substitute replaces $name, ${name}, $group.name and ${group.name} by the
// values of other options; "$$" and "\$" stand for a dollar sign. A name is
// looked for in the option's own group, then in the default group.
func (l *loader) substitute(group, s string, via []string) (string, error) {
	if !strings.Contains(s, "$") {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		switch {
		case strings.HasPrefix(s[i:], "$$"), strings.HasPrefix(s[i:], `\$`):
			b.WriteByte('$')
			i += 2
		case s[i] == '$':
			name, n := reference(s[i:])
			if name == "" {
				return "", fmt.Errorf("$ at position %d is not followed by the name of an option; write $$ for a dollar sign", i+1)
			}
			v, err := l.lookup(group, name, via)
			if err != nil {
				return "", err
			}
			b.WriteString(v)
			i += n
		default:
			b.WriteByte(s[i])
			i++
		}
	}
	return b.String(), nil
}

// reference cuts the name behind a dollar sign and returns how much it took.
func reference(s string) (name string, n int) {
	if strings.HasPrefix(s, "${") {
		end := strings.IndexByte(s, '}')
		if end < 0 {
			return "", 0
		}
		return s[2:end], end + 1
	}
	n = 1
	for n < len(s) && (isWord(s[n]) || s[n] == '.' && n > 1 && n+1 < len(s) && isWord(s[n+1])) {
		n++
	}
	return s[1:n], n
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func (l *loader) lookup(group, name string, via []string) (string, error) {
	o, rest := l.byKey[key(group, name)], ""
	if o == nil {
		o = l.byKey[key(DefaultGroup, name)]
	}
	if i := strings.LastIndexByte(name, '.'); o == nil && i > 0 {
		o = l.byKey[key(name[:i], name[i+1:])]
		if o == nil { // "$host.example" is $host and ".example"
			if v, err := l.lookup(group, name[:i], via); err == nil {
				return v + name[i:], nil
			}
		}
	}
	if o == nil {
		return "", fmt.Errorf("$%s names no option; write $$ for a dollar sign", name)
	}
	for _, k := range via {
		if k == o.key() {
			return "", fmt.Errorf("$%s refers to itself", name)
		}
	}
	r, ok := l.raws[o.key()]
	if !ok {
		r = raw{values: []string{o.def}}
	}
	if len(r.values) == 0 {
		return rest, nil
	}
	return l.substitute(o.group, r.values[len(r.values)-1], append(via[:len(via):len(via)], o.key()))
}
