package policy

import (
	"fmt"
	"strings"
)

// Explanation says, for the operator, how a decision came about: the tree of
// checks with the result of each. It may hold ids and roles of the caller; it
// is not for the caller's eyes.
type Explanation struct {
	Rule     string        `json:"rule,omitempty"`
	Check    string        `json:"check"`
	Allowed  bool          `json:"allowed"`
	Detail   string        `json:"detail,omitempty"`
	Children []Explanation `json:"children,omitempty"`
}

// Denied is the cause of a refusal by Check.
type Denied struct{ Explanation Explanation }

// Error names the rule and the checks that failed.
func (d *Denied) Error() string {
	var failed []string
	d.Explanation.leaves(func(x Explanation) {
		if !x.Allowed {
			s := x.Check
			if x.Detail != "" {
				s += " (" + x.Detail + ")"
			}
			failed = append(failed, s)
		}
	})
	return fmt.Sprintf("rule %s denies; failed: %s", d.Explanation.Rule, strings.Join(failed, ", "))
}

func (x Explanation) leaves(f func(Explanation)) {
	if len(x.Children) == 0 {
		f(x)
		return
	}
	for _, c := range x.Children {
		c.leaves(f)
	}
}

// String is the tree, one check a line.
func (x Explanation) String() string {
	var b strings.Builder
	x.write(&b, 0)
	return b.String()
}

func (x Explanation) write(b *strings.Builder, depth int) {
	verdict := "deny "
	if x.Allowed {
		verdict = "allow"
	}
	fmt.Fprintf(b, "%s%s %s", strings.Repeat("  ", depth), verdict, x.Check)
	if x.Rule != "" && depth == 0 {
		fmt.Fprintf(b, " [%s]", x.Rule)
	}
	if x.Detail != "" {
		fmt.Fprintf(b, " (%s)", x.Detail)
	}
	b.WriteByte('\n')
	for _, c := range x.Children {
		c.write(b, depth+1)
	}
}

// Explain evaluates rule without short cuts and returns every step.
func (e *Enforcer) Explain(rule string, creds Creds, target Target) Explanation {
	s := e.set.Load()
	c, ok := s.rules[rule]
	if !ok {
		return Explanation{Rule: rule, Check: "rule:" + rule, Detail: "no such rule"}
	}
	if !e.inScope(s, rule, &creds) {
		return Explanation{Rule: rule, Check: "scope", Detail: fmt.Sprintf("the token's scope is %s; the rule wants %s",
			creds.Scope(), strings.Join(s.info[rule].Scopes, " or "))}
	}
	x := explain(c, &query{s.rules, &creds, target})
	x.Rule = rule
	return x
}

func explain(c check, q *query) Explanation {
	x := Explanation{Check: c.String(), Allowed: c.allows(q)}
	add := func(of check) { x.Children = append(x.Children, explain(of, q)) }
	switch v := c.(type) {
	case andCheck:
		for _, e := range v {
			add(e)
		}
	case orCheck:
		for _, e := range v {
			add(e)
		}
	case notCheck:
		// A leaf: that its inner check holds is what denies.
		x.Detail = "the negated check holds"
		if x.Allowed {
			x.Detail = ""
		}
	case ruleCheck:
		if r, ok := q.rules[string(v)]; ok {
			add(r)
		}
	case brokenCheck:
		x.Detail = v.why
	case credCheck:
		x.Detail = v.detail(q)
	case literalCheck:
		x.Detail = v.want.missing(q.target)
	case roleCheck:
		x.Detail = "roles: " + strings.Join(q.creds.Roles, ", ")
	}
	return x
}

func (c credCheck) detail(q *query) string {
	if m := c.want.missing(q.target); m != "" {
		return m
	}
	have, ok := q.creds.lookup(c.key)
	if !ok {
		return "the caller has no " + c.key
	}
	want, _ := c.want.fill(q.target)
	return fmt.Sprintf("caller %v, target %s", have, want)
}

// missing names the first target key that is absent.
func (t template) missing(target Target) string {
	for _, p := range t {
		if p.key == "" {
			continue
		}
		if _, ok := target.lookup(p.key); !ok {
			return "the target has no " + p.key
		}
	}
	return ""
}
