package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/tropocloud/tropo/fault"
)

// Options adapt the default rules to an installation.
type Options struct {
	// File is the operator's policy file, YAML or JSON; empty: none.
	File string
	// Data is a policy file's content, applied after File; for tests.
	Data []byte
	// EnforceScope refuses tokens whose scope a rule does not list.
	EnforceScope bool
}

// Enforcer answers whether a caller may do something. It is safe for
// concurrent use.
type Enforcer struct {
	defaults []Rule
	opts     Options
	set      atomic.Pointer[ruleset]
}

// ruleset is one immutable state of the rules.
type ruleset struct {
	rules    map[string]check
	info     map[string]Rule
	warnings []string
}

// NewEnforcer parses the default rules and the operator's file. The error
// names the rule and the position; rules that refer to each other in a circle,
// a default that is defined twice and a default that refers to an unknown rule
// are errors. An operator's rule that refers to an unknown rule denies, and is
// listed by Warnings.
func NewEnforcer(defaults []Rule, opts Options) (*Enforcer, error) {
	e := &Enforcer{defaults: slices.Clone(defaults), opts: opts}
	return e, e.Reload()
}

// Reload reads the operator's file again; on error the rules stay as they
// were. Checks under way are not disturbed.
func (e *Enforcer) Reload() error {
	s := &ruleset{rules: map[string]check{}, info: map[string]Rule{}}
	for _, r := range e.defaults {
		if _, ok := s.info[r.Name]; ok {
			return fmt.Errorf("policy: rule %q is defined twice", r.Name)
		}
		c, err := parse(r.Check)
		if err != nil {
			return fmt.Errorf("policy: rule %q: %w", r.Name, err)
		}
		s.rules[r.Name], s.info[r.Name] = c, r
	}
	for _, r := range e.defaults {
		if ref := s.unknown(s.rules[r.Name]); ref != "" {
			return fmt.Errorf("policy: rule %q refers to rule %q, which does not exist", r.Name, ref)
		}
	}
	overrides, err := e.load()
	if err != nil {
		return err
	}
	for _, o := range overrides {
		s.rules[o.name] = o.check
		info := s.info[o.name]
		info.Name, info.Check = o.name, o.check.String()
		s.info[o.name] = info
	}
	for _, o := range overrides {
		if ref := s.unknown(o.check); ref != "" {
			why := fmt.Sprintf("rule %q refers to rule %q, which does not exist", o.name, ref)
			s.rules[o.name] = brokenCheck{o.check.String(), why}
			s.warnings = append(s.warnings, o.where+": "+why+"; it denies")
		}
	}
	if cycle := s.cycle(); cycle != nil {
		return fmt.Errorf("policy: rules refer to each other in a circle: %s", strings.Join(cycle, " → "))
	}
	e.set.Store(s)
	return nil
}

// Check returns nil when rule allows creds to act on target, otherwise a
// fault.Forbidden that names the rule; the cause, for the log, names the check
// that failed. A rule that does not exist denies.
func (e *Enforcer) Check(rule string, creds Creds, target Target) error {
	s := e.set.Load()
	if c, ok := s.rules[rule]; ok && e.inScope(s, rule, &creds) {
		if c.allows(&query{s.rules, &creds, target}) {
			return nil
		}
	}
	d := e.Explain(rule, creds, target)
	return fault.Wrap(fault.Forbidden, &Denied{d}, "Policy doesn't allow %s to be performed.", rule)
}

// Allowed is Check for callers that only choose what to show.
func (e *Enforcer) Allowed(rule string, creds Creds, target Target) bool {
	s := e.set.Load()
	c, ok := s.rules[rule]
	return ok && e.inScope(s, rule, &creds) && c.allows(&query{s.rules, &creds, target})
}

func (e *Enforcer) inScope(s *ruleset, rule string, creds *Creds) bool {
	if !e.opts.EnforceScope {
		return true
	}
	scopes := s.info[rule].Scopes
	return len(scopes) == 0 || slices.Contains(scopes, creds.Scope())
}

// Rules returns every rule in force, by name: the defaults with the operator's
// checks in their place, and the operator's own.
func (e *Enforcer) Rules() []Rule {
	info := e.set.Load().info
	out := make([]Rule, 0, len(info))
	for _, name := range slices.Sorted(maps.Keys(info)) {
		out = append(out, info[name])
	}
	return out
}

// Has reports whether a rule of that name exists.
func (e *Enforcer) Has(rule string) bool {
	_, ok := e.set.Load().rules[rule]
	return ok
}

// Warnings lists what is suspicious in the operator's file.
func (e *Enforcer) Warnings() []string { return slices.Clone(e.set.Load().warnings) }

// refs calls f with each rule that c refers to.
func refs(c check, f func(string)) {
	switch x := c.(type) {
	case ruleCheck:
		f(string(x))
	case notCheck:
		refs(x.of, f)
	case andCheck:
		for _, e := range x {
			refs(e, f)
		}
	case orCheck:
		for _, e := range x {
			refs(e, f)
		}
	}
}

// unknown returns the first rule that c refers to and that does not exist.
func (s *ruleset) unknown(c check) string {
	var missing string
	refs(c, func(name string) {
		if _, ok := s.rules[name]; !ok && missing == "" {
			missing = name
		}
	})
	return missing
}

// cycle returns a circle of references, or nil.
func (s *ruleset) cycle() []string {
	const (
		open = 1
		done = 2
	)
	state := map[string]int{}
	var path, found []string
	var visit func(string)
	visit = func(name string) {
		if found != nil || state[name] == done {
			return
		}
		if state[name] == open {
			found = append(slices.Clone(path[slices.Index(path, name):]), name)
			return
		}
		c, ok := s.rules[name]
		if !ok {
			return
		}
		state[name] = open
		path = append(path, name)
		refs(c, visit)
		path = path[:len(path)-1]
		state[name] = done
	}
	for _, name := range slices.Sorted(maps.Keys(s.rules)) {
		visit(name)
	}
	return found
}
