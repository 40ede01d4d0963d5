package candidate

import "slices"

// Amount is so much of a resource class.
type Amount struct {
	Class  string
	Amount int
}

// Traits is a condition on a set of traits.
type Traits struct {
	Required  [][]string // of each list at least one
	Forbidden []string
}

func (t *Traits) match(have []string) bool {
	return t.allows(have) && t.met(func(name string) bool { return slices.Contains(have, name) })
}

// allows reports whether no forbidden trait is there.
func (t *Traits) allows(have []string) bool {
	for _, f := range t.Forbidden {
		if slices.Contains(have, f) {
			return false
		}
	}
	return true
}

func (t *Traits) met(has func(name string) bool) bool {
	for _, any := range t.Required {
		if !slices.ContainsFunc(any, has) {
			return false
		}
	}
	return true
}

// Aggregates is a condition on membership of aggregates.
type Aggregates struct {
	MemberOf  [][]string // of each list at least one
	Forbidden []string
}

// match checks a provider's aggregates, together with those of its root where
// they count too.
func (a *Aggregates) match(own, root []string) bool {
	has := func(u string) bool { return slices.Contains(own, u) || slices.Contains(root, u) }
	if slices.ContainsFunc(a.Forbidden, has) {
		return false
	}
	for _, any := range a.MemberOf {
		if !slices.ContainsFunc(any, has) {
			return false
		}
	}
	return true
}

// Group is a part of a request. The group without suffix may be served by
// several providers of a tree together, any other by one provider alone.
type Group struct {
	Suffix     string
	Resources  []Amount
	Traits     Traits
	Aggregates Aggregates
	InTree     string // a provider's UUID; empty: any tree
}

// Request asks for allocation candidates.
type Request struct {
	Groups []Group // the one without suffix, if any, comes first
	// Isolate demands a provider of its own for each group with a suffix.
	Isolate bool
	// SameSubtree lists suffixes: among the providers of each list's groups
	// one is the ancestor of all the others (or is all of them).
	SameSubtree [][]string
	// Root is what the tree's root has to be like.
	Root Traits
	// Flat leaves out candidates with two providers of one tree, for
	// clients that do not know of trees.
	Flat bool
	// Limit is the most candidates to return; 0: no limit.
	Limit int
}

// Options tell how candidates are made.
type Options struct {
	Bound        int // the most that are made at all
	BreadthFirst bool
	// Shuffle, if set, puts the candidates into random order before the
	// limit cuts them.
	Shuffle func(n int, swap func(i, j int))
}

// Candidate is one way to serve a request.
type Candidate struct {
	Allocations []Allocation
	Mappings    []Mapping // by group, in the order of the request
}

// Allocation is what a candidate takes of one provider.
type Allocation struct {
	Provider  *Provider
	Resources []Amount
}

// Mapping tells which providers serve a group.
type Mapping struct {
	Suffix    string
	Providers []*Provider
}

// Result is the answer to a request.
type Result struct {
	Candidates []Candidate
	// Providers are those of the candidates and all others of their trees.
	Providers []*Provider
	// Classes are those asked for.
	Classes []string
}
