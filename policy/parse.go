package policy

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Limits of one check, so that a hostile policy file cannot exhaust the stack.
const (
	maxCheckLength = 64 << 10
	maxCheckDepth  = 200
)

// SyntaxError says where a check is wrong. Position counts bytes from 1.
type SyntaxError struct {
	Check    string
	Position int
	Problem  string
}

// Error names the position and quotes the check.
func (e *SyntaxError) Error() string {
	c := e.Check
	if len(c) > 200 {
		c = c[:200] + "…"
	}
	return fmt.Sprintf("at position %d of %q: %s", e.Position, c, e.Problem)
}

// parse reads a check. The empty check allows everybody, as oslo.policy has it.
func parse(s string) (check, error) {
	if strings.TrimSpace(s) == "" {
		return constCheck(true), nil
	}
	if len(s) > maxCheckLength {
		return nil, &SyntaxError{s, maxCheckLength, "the check is longer than 64 KiB"}
	}
	p := &parser{text: s}
	if err := p.next(); err != nil {
		return nil, err
	}
	c, err := p.or(0)
	if err != nil {
		return nil, err
	}
	if p.tok != "" {
		return nil, p.fail("unexpected %q; want and, or, or the end", p.tok)
	}
	return c, nil
}

// parser is a recursive descent over or < and < not < ( … ) | kind:match.
type parser struct {
	text  string
	at    int    // next byte to read
	start int    // where tok begins
	tok   string // current token, "" at the end
}

func (p *parser) fail(format string, args ...any) error {
	return &SyntaxError{Check: p.text, Position: p.start + 1, Problem: fmt.Sprintf(format, args...)}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// next moves to the next token: "(", ")" or a word, which runs to white space
// or to a ")" that does not close a "%(".
func (p *parser) next() error {
	for p.at < len(p.text) && isSpace(p.text[p.at]) {
		p.at++
	}
	p.start = p.at
	if p.at == len(p.text) {
		p.tok = ""
		return nil
	}
	if c := p.text[p.at]; c == '(' || c == ')' {
		p.at++
		p.tok = string(c)
		return nil
	}
	if c := p.text[p.at]; c == '\'' || c == '"' {
		end := strings.IndexByte(p.text[p.at+1:], c)
		if end < 0 {
			return p.fail("the quote is not closed")
		}
		p.at += end + 2
	}
	for p.at < len(p.text) && !isSpace(p.text[p.at]) && p.text[p.at] != ')' {
		if strings.HasPrefix(p.text[p.at:], "%(") {
			end := strings.IndexByte(p.text[p.at:], ')')
			if end < 0 {
				return p.fail("%%( is not closed")
			}
			p.at += end
		}
		p.at++
	}
	p.tok = p.text[p.start:p.at]
	return nil
}

func (p *parser) or(depth int) (check, error) {
	return p.list("or", depth, p.and, func(l []check) check { return orCheck(l) })
}

func (p *parser) and(depth int) (check, error) {
	return p.list("and", depth, p.not, func(l []check) check { return andCheck(l) })
}

func (p *parser) list(op string, depth int, sub func(int) (check, error), wrap func([]check) check) (check, error) {
	first, err := sub(depth)
	if err != nil {
		return nil, err
	}
	l := []check{first}
	for strings.EqualFold(p.tok, op) {
		if err := p.next(); err != nil {
			return nil, err
		}
		c, err := sub(depth)
		if err != nil {
			return nil, err
		}
		l = append(l, c)
	}
	if len(l) == 1 {
		return first, nil
	}
	return wrap(l), nil
}

func (p *parser) not(depth int) (check, error) {
	if depth > maxCheckDepth {
		return nil, p.fail("nested deeper than %d", maxCheckDepth)
	}
	if strings.EqualFold(p.tok, "not") {
		if err := p.next(); err != nil {
			return nil, err
		}
		c, err := p.not(depth + 1)
		if err != nil {
			return nil, err
		}
		return notCheck{c}, nil
	}
	if p.tok != "(" {
		return p.leaf()
	}
	if err := p.next(); err != nil {
		return nil, err
	}
	c, err := p.or(depth + 1)
	if err != nil {
		return nil, err
	}
	if p.tok != ")" {
		return nil, p.fail("want )")
	}
	return c, p.next()
}

func (p *parser) leaf() (check, error) {
	switch strings.ToLower(p.tok) {
	case "":
		return nil, p.fail("the check ends where a check is expected")
	case ")", "and", "or":
		return nil, p.fail("unexpected %q; want a check", p.tok)
	}
	c, err := p.word(p.tok)
	if err != nil {
		return nil, err
	}
	return c, p.next()
}

func (p *parser) word(w string) (check, error) {
	switch w {
	case "@":
		return constCheck(true), nil
	case "!":
		return constCheck(false), nil
	}
	kind, match, ok := splitWord(w)
	if !ok || kind == "" {
		return nil, p.fail("%q is not a check; want kind:match, @ or !", w)
	}
	switch kind {
	case "rule":
		if match == "" {
			return nil, p.fail("rule: without a name")
		}
		return ruleCheck(match), nil
	case "http", "https":
		return nil, p.fail("%s: checks, which ask another server, are not supported", kind)
	case "field":
		return p.field(match)
	}
	want, err := p.template(match, len(kind)+1)
	if err != nil {
		return nil, err
	}
	if kind == "role" {
		return roleCheck{want}, nil
	}
	if v, ok := literal(kind); ok {
		return literalCheck{kind, v, want}, nil
	}
	if strings.ContainsAny(kind, `'"%(`) {
		return nil, p.fail("%q is neither a literal nor a key of the credentials", kind)
	}
	return credCheck{kind, want}, nil
}

// splitWord cuts at the first colon outside a leading quoted literal.
func splitWord(w string) (kind, match string, ok bool) {
	if w[0] == '\'' || w[0] == '"' {
		end := strings.IndexByte(w[1:], w[0]) + 2
		if end >= len(w) || w[end] != ':' {
			return "", "", false
		}
		return w[:end], w[end+1:], true
	}
	return strings.Cut(w, ":")
}

// literal recognises the constants that Python would evaluate.
func literal(s string) (string, bool) {
	switch s {
	case "True", "False", "None":
		return s, true
	}
	if len(s) >= 2 && (s[0] == '\'' || s[0] == '"') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1], true
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return strconv.FormatInt(n, 10), true
	}
	return "", false
}

func (p *parser) field(match string) (check, error) {
	// The field's own name may hold a colon: networks:router:external=True.
	resource, rest, ok := strings.Cut(match, ":")
	name, value, ok2 := strings.Cut(rest, "=")
	if !ok || !ok2 || resource == "" || name == "" {
		return nil, p.fail("want field:RESOURCE:FIELD=VALUE")
	}
	c := fieldCheck{resource: resource, field: name, value: value}
	if pattern, ok := strings.CutPrefix(value, "~"); ok {
		re, err := regexp.Compile("^(?:" + pattern + ")")
		if err != nil {
			return nil, p.fail("%v", err)
		}
		c.value, c.pattern = pattern, re
	}
	return c, nil
}

// template cuts s, which begins off bytes into the token, at its %(key)s.
func (p *parser) template(s string, off int) (template, error) {
	var t template
	add := func(lit string) {
		if n := len(t); n > 0 && t[n-1].key == "" {
			t[n-1].literal += lit
			return
		}
		t = append(t, part{literal: lit})
	}
	for i := 0; i < len(s); {
		if s[i] != '%' {
			j := strings.IndexByte(s[i:], '%')
			if j < 0 {
				j = len(s) - i
			}
			add(s[i : i+j])
			i += j
			continue
		}
		if strings.HasPrefix(s[i:], "%%") {
			add("%")
			i += 2
			continue
		}
		end := strings.IndexByte(s[i:], ')')
		if !strings.HasPrefix(s[i:], "%(") || end <= 2 || !strings.HasPrefix(s[i+end:], ")s") {
			return nil, &SyntaxError{p.text, p.start + off + i + 1, "want %(key)s or %%"}
		}
		t = append(t, part{key: s[i+2 : i+end]})
		i += end + 2
	}
	if len(t) == 0 {
		t = template{{}}
	}
	return t, nil
}

// parseAny reads a rule of a policy file: text, or the legacy list of lists,
// an "or" of "and"s.
func parseAny(v any) (check, error) {
	switch x := v.(type) {
	case nil:
		return constCheck(true), nil
	case string:
		return parse(x)
	case []any:
		return parseLists(x)
	}
	return nil, fmt.Errorf("want text or a list of lists of checks, not %T", v)
}

func parseLists(lists []any) (check, error) {
	var or orCheck
	for _, inner := range lists {
		var words []any
		switch x := inner.(type) {
		case string:
			words = []any{x}
		case []any:
			words = x
		default:
			return nil, fmt.Errorf("want a list of checks, not %T", inner)
		}
		if len(words) == 0 {
			continue
		}
		var and andCheck
		for _, w := range words {
			s, ok := w.(string)
			if !ok {
				return nil, fmt.Errorf("want a check, not %T", w)
			}
			c, err := parse(s)
			if err != nil {
				return nil, err
			}
			and = append(and, c)
		}
		or = append(or, and)
	}
	switch {
	case len(lists) == 0:
		return constCheck(true), nil
	case len(or) == 0:
		return constCheck(false), nil
	}
	return or, nil
}
