package candidate

import (
	"iter"
	"slices"
	"strings"
)

// maxSteps bounds the work for one request: some need to look at a great many
// combinations to find few.
const maxSteps = 20_000_000

// slot is one choice of a provider: for a group with a suffix, or for one
// class of the group without.
type slot struct {
	group     *Group
	resources []Amount
	granular  bool
}

// finder holds what is the same for all trees of one request.
type finder struct {
	s       *Snapshot
	r       *Request
	slots   []slot
	inTree  map[*Group]*Tree
	steps   int
	shared  map[string]bool // candidates of sharing providers alone, seen already
	subtree [][]int         // SameSubtree as numbers of slots
}

// Find returns the candidates for a request.
func (s *Snapshot) Find(r *Request, o Options) Result {
	f := &finder{s: s, r: r, inTree: map[*Group]*Tree{}, shared: map[string]bool{}}
	var res Result
	for i := range r.Groups {
		g := &r.Groups[i]
		if g.InTree != "" {
			p := s.byUUID[g.InTree]
			if p == nil {
				return res
			}
			f.inTree[g] = p.tree
		}
		f.addSlots(g)
		for _, a := range g.Resources {
			if !slices.Contains(res.Classes, a.Class) {
				res.Classes = append(res.Classes, a.Class)
			}
		}
	}
	f.resolveSubtrees()
	bound := o.Bound
	if o.Shuffle == nil && r.Limit > 0 {
		bound = min(bound, r.Limit)
	}
	if o.BreadthFirst {
		res.Candidates = f.inTurn(bound)
	} else {
		res.Candidates = f.oneByOne(bound)
	}
	if o.Shuffle != nil {
		c := res.Candidates
		o.Shuffle(len(c), func(i, j int) { c[i], c[j] = c[j], c[i] })
		if r.Limit > 0 {
			res.Candidates = c[:min(len(c), r.Limit)]
		}
	}
	res.Providers = f.involved(res.Candidates)
	return res
}

func (f *finder) addSlots(g *Group) {
	if g.Suffix != "" {
		f.slots = append(f.slots, slot{group: g, resources: g.Resources, granular: true})
		return
	}
	for i := range g.Resources {
		f.slots = append(f.slots, slot{group: g, resources: g.Resources[i : i+1]})
	}
}

func (f *finder) resolveSubtrees() {
	for _, suffixes := range f.r.SameSubtree {
		var list []int
		for i, sl := range f.slots {
			if sl.granular && slices.Contains(suffixes, sl.group.Suffix) {
				list = append(list, i)
			}
		}
		f.subtree = append(f.subtree, list)
	}
}

// oneByOne takes all candidates of a tree before the next.
func (f *finder) oneByOne(bound int) []Candidate {
	var out []Candidate
	for _, t := range f.s.trees {
		for c := range f.tree(t) {
			if len(out) >= bound {
				return out
			}
			out = append(out, c)
		}
	}
	return out
}

// inTurn takes one candidate of each tree in turn.
func (f *finder) inTurn(bound int) []Candidate {
	type source struct {
		next func() (Candidate, bool)
		stop func()
	}
	var sources []source
	for _, t := range f.s.trees {
		next, stop := iter.Pull(f.tree(t))
		sources = append(sources, source{next, stop})
	}
	defer func() {
		for _, s := range sources {
			s.stop()
		}
	}()
	var out []Candidate
	for len(sources) > 0 && len(out) < bound {
		sources = slices.DeleteFunc(sources, func(s source) bool {
			if len(out) >= bound {
				return false
			}
			c, ok := s.next()
			if ok {
				out = append(out, c)
			}
			return !ok
		})
	}
	return out
}

// tree yields the candidates of one tree.
func (f *finder) tree(t *Tree) iter.Seq[Candidate] {
	return func(yield func(Candidate) bool) {
		if len(f.slots) == 0 || !f.r.Root.match(t.Root.Traits) {
			return
		}
		options := make([][]*Provider, len(f.slots))
		for i := range f.slots {
			options[i] = f.options(&f.slots[i], t)
			if len(options[i]) == 0 {
				return
			}
		}
		w := walk{f: f, t: t, options: options, pick: make([]*Provider, len(f.slots)), yield: yield}
		w.from(0)
	}
}

// options returns the providers that can fill a slot in a tree: its own, and
// those that share with it.
func (f *finder) options(sl *slot, t *Tree) []*Provider {
	var out []*Provider
	for _, p := range t.Providers {
		if f.fills(sl, p) {
			out = append(out, p)
		}
	}
	if len(sl.resources) == 0 {
		return out // what shares, shares resources
	}
	for _, p := range t.sharers {
		if f.fills(sl, p) {
			out = append(out, p)
		}
	}
	return out
}

func (f *finder) fills(sl *slot, p *Provider) bool {
	if !p.fits(sl.resources) {
		return false
	}
	if in := f.inTree[sl.group]; in != nil && p.tree != in {
		return false
	}
	g := sl.group
	if sl.granular {
		return g.Traits.match(p.Traits) && g.Aggregates.match(p.Aggregates, nil)
	}
	var root []string
	if p.tree.Root != nil {
		root = p.tree.Root.Aggregates
	}
	return g.Traits.allows(p.Traits) && g.Aggregates.match(p.Aggregates, root)
}

// involved returns all providers of the trees of the candidates' providers,
// in the order of the snapshot.
func (f *finder) involved(list []Candidate) []*Provider {
	trees := map[*Tree]bool{}
	for _, c := range list {
		for _, a := range c.Allocations {
			trees[a.Provider.tree] = true
		}
		for _, m := range c.Mappings {
			for _, p := range m.Providers {
				trees[p.tree] = true
			}
		}
	}
	var out []*Provider
	if len(trees) == 0 {
		return out
	}
	for _, p := range f.s.all {
		if trees[p.tree] {
			out = append(out, p)
		}
	}
	return out
}

// walk tries the combinations of one tree.
type walk struct {
	f       *finder
	t       *Tree
	options [][]*Provider
	pick    []*Provider
	yield   func(Candidate) bool
}

// from fills the slots from i on; false ends the walk.
func (w *walk) from(i int) bool {
	f := w.f
	if f.steps++; f.steps > maxSteps {
		return false
	}
	if i == len(f.slots) {
		return w.emit()
	}
	for _, p := range w.options[i] {
		if !w.compatible(i, p) {
			continue
		}
		w.pick[i] = p
		if !w.from(i + 1) {
			return false
		}
	}
	return true
}

// compatible reports whether slot i may take p beside what the slots before
// it have taken.
func (w *walk) compatible(i int, p *Provider) bool {
	sl := &w.f.slots[i]
	for j := range i {
		q := w.pick[j]
		if q != p {
			if w.f.r.Flat && q.tree == p.tree {
				return false
			}
			continue
		}
		if w.f.r.Isolate && sl.granular && w.f.slots[j].granular {
			return false
		}
	}
	for _, a := range sl.resources {
		total := a.Amount
		for j := range i {
			if w.pick[j] != p {
				continue
			}
			for _, b := range w.f.slots[j].resources {
				if b.Class == a.Class {
					total += b.Amount
				}
			}
		}
		if total == a.Amount {
			continue // checked for the slot alone
		}
		if s := p.stock(a.Class); s.Used+total > s.Capacity || total > s.MaxUnit {
			return false
		}
	}
	return true
}

// emit checks what concerns the combination as a whole and yields it.
func (w *walk) emit() bool {
	if !w.traitsMet() || !w.subtreesMet() || w.seen() {
		return true
	}
	return w.yield(w.candidate())
}

// traitsMet checks the traits of the group without suffix, which its
// providers have together.
func (w *walk) traitsMet() bool {
	g := w.f.slots[0].group
	if len(g.Traits.Required) == 0 || g.Suffix != "" {
		return true
	}
	return g.Traits.met(func(name string) bool {
		for i, p := range w.pick {
			if w.f.slots[i].group == g && slices.Contains(p.Traits, name) {
				return true
			}
		}
		return false
	})
}

func (w *walk) subtreesMet() bool {
	for _, list := range w.f.subtree {
		if !slices.ContainsFunc(list, func(top int) bool {
			return !slices.ContainsFunc(list, func(i int) bool { return !w.above(w.pick[top], w.pick[i]) })
		}) {
			return false
		}
	}
	return true
}

// above reports whether a is b or one of its ancestors.
func (w *walk) above(a, b *Provider) bool {
	for b != nil {
		if a == b {
			return true
		}
		b = w.f.s.byUUID[b.Parent()]
	}
	return false
}

// seen reports whether the combination has come before: one of sharing
// providers alone comes with each tree that they share with.
func (w *walk) seen() bool {
	var key strings.Builder
	for _, p := range w.pick {
		if !p.sharing {
			return false
		}
		key.WriteString(p.UUID)
	}
	k := key.String()
	if w.f.shared[k] {
		return true
	}
	w.f.shared[k] = true
	return false
}

func (w *walk) candidate() Candidate {
	var c Candidate
	for i, p := range w.pick {
		sl := &w.f.slots[i]
		if n := len(c.Mappings); n == 0 || c.Mappings[n-1].Suffix != sl.group.Suffix {
			c.Mappings = append(c.Mappings, Mapping{Suffix: sl.group.Suffix})
		}
		m := &c.Mappings[len(c.Mappings)-1]
		if !slices.Contains(m.Providers, p) {
			m.Providers = append(m.Providers, p)
		}
		if len(sl.resources) > 0 {
			c.take(p, sl.resources)
		}
	}
	return c
}

// take adds amounts to what the candidate takes of a provider.
func (c *Candidate) take(p *Provider, amounts []Amount) {
	n := slices.IndexFunc(c.Allocations, func(a Allocation) bool { return a.Provider == p })
	if n < 0 {
		n = len(c.Allocations)
		c.Allocations = append(c.Allocations, Allocation{Provider: p, Resources: make([]Amount, 0, len(amounts))})
	}
	a := &c.Allocations[n]
	for _, x := range amounts {
		k := slices.IndexFunc(a.Resources, func(y Amount) bool { return y.Class == x.Class })
		if k < 0 {
			a.Resources = append(a.Resources, x)
			continue
		}
		a.Resources[k].Amount += x.Amount
	}
}
