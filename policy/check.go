package policy

import (
	"regexp"
	"strings"
)

// check is a node of a parsed rule.
type check interface {
	// allows decides; it never panics, whatever the credentials and target.
	allows(q *query) bool
	// String is the check in the rule language; it parses to an equal check.
	String() string
}

// query is one question put to a set of rules.
type query struct {
	rules  map[string]check
	creds  *Creds
	target Target
}

type (
	constCheck bool
	notCheck   struct{ of check }
	andCheck   []check
	orCheck    []check
	ruleCheck  string
	roleCheck  struct{ role template }
	// credCheck compares a key of the credentials with text made from the
	// target: user_id:%(user_id)s.
	credCheck struct {
		key  string
		want template
	}
	// literalCheck compares a constant: 'private':%(visibility)s.
	literalCheck struct {
		source string // as written, for String
		value  string // as Python's str() gives it
		want   template
	}
	// fieldCheck is Neutron's field:networks:shared=True and
	// field:port:device_owner=~^network: (a pattern, matched at the start).
	fieldCheck struct {
		resource, field, value string
		pattern                *regexp.Regexp
	}
	// brokenCheck denies the whole rule that refers to an unknown rule, so
	// that "not rule:typo" does not allow everybody.
	brokenCheck struct{ of, why string }
)

func (c constCheck) allows(*query) bool { return bool(c) }
func (c notCheck) allows(q *query) bool { return !c.of.allows(q) }

func (c andCheck) allows(q *query) bool {
	for _, e := range c {
		if !e.allows(q) {
			return false
		}
	}
	return true
}

func (c orCheck) allows(q *query) bool {
	for _, e := range c {
		if e.allows(q) {
			return true
		}
	}
	return false
}

func (c ruleCheck) allows(q *query) bool {
	r, ok := q.rules[string(c)]
	return ok && r.allows(q)
}

func (c roleCheck) allows(q *query) bool {
	want, ok := c.role.fill(q.target)
	if !ok {
		return false
	}
	for _, r := range q.creds.Roles {
		if strings.EqualFold(r, want) {
			return true
		}
	}
	return false
}

func (c credCheck) allows(q *query) bool {
	want, ok := c.want.fill(q.target)
	if !ok {
		return false
	}
	have, ok := q.creds.lookup(c.key)
	return ok && matches(have, want)
}

func (c literalCheck) allows(q *query) bool {
	want, ok := c.want.fill(q.target)
	return ok && want == c.value
}

func (c fieldCheck) allows(q *query) bool {
	v, ok := q.target.lookup(c.field)
	if !ok || v == nil {
		return false
	}
	if c.pattern == nil {
		return matches(v, c.value)
	}
	s, ok := text(v)
	return ok && c.pattern.MatchString(s)
}

func (brokenCheck) allows(*query) bool { return false }

func (c constCheck) String() string {
	if c {
		return "@"
	}
	return "!"
}
func (c notCheck) String() string     { return "not " + c.of.String() }
func (c andCheck) String() string     { return join(c, " and ") }
func (c orCheck) String() string      { return join(c, " or ") }
func (c ruleCheck) String() string    { return "rule:" + string(c) }
func (c roleCheck) String() string    { return "role:" + c.role.String() }
func (c credCheck) String() string    { return c.key + ":" + c.want.String() }
func (c literalCheck) String() string { return c.source + ":" + c.want.String() }
func (c brokenCheck) String() string  { return c.of }
func (c fieldCheck) String() string {
	op := "="
	if c.pattern != nil {
		op = "=~"
	}
	return "field:" + c.resource + ":" + c.field + op + c.value
}

func join(list []check, op string) string {
	var b strings.Builder
	b.WriteByte('(')
	for i, e := range list {
		if i > 0 {
			b.WriteString(op)
		}
		b.WriteString(e.String())
	}
	b.WriteByte(')')
	return b.String()
}

// template is text with %(key)s places, filled from the target.
type template []part

type part struct {
	literal string
	key     string // when not empty, the place of a target key
}

// fill reports false when the target lacks a key or its value is no scalar.
func (t template) fill(target Target) (string, bool) {
	if len(t) == 1 && t[0].key == "" {
		return t[0].literal, true
	}
	var b strings.Builder
	for _, p := range t {
		if p.key == "" {
			b.WriteString(p.literal)
			continue
		}
		v, ok := target.lookup(p.key)
		if !ok {
			return "", false
		}
		s, ok := text(v)
		if !ok {
			return "", false
		}
		b.WriteString(s)
	}
	return b.String(), true
}

func (t template) String() string {
	var b strings.Builder
	for _, p := range t {
		if p.key != "" {
			b.WriteString("%(" + p.key + ")s")
			continue
		}
		b.WriteString(strings.ReplaceAll(p.literal, "%", "%%"))
	}
	return b.String()
}
