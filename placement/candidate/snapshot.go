// Package candidate finds the providers, and combinations of providers, that
// could serve a request for resources. It works on a snapshot in memory and
// knows neither database nor HTTP.
//
// Source: https://docs.openstack.org/placement/latest/user/provider-tree.html
package candidate

import (
	"cmp"
	"slices"
	"time"

	"github.com/tropocloud/tropo/placement"
)

// Stock is a provider's inventory of one class and how much of it is used.
type Stock struct {
	placement.Inventory
	Capacity int
	Used     int
}

// Provider is a resource provider with all that matters for choosing it. It
// does not change once it is part of a snapshot.
type Provider struct {
	placement.Provider
	Stocks     []Stock // by class
	Traits     []string
	Aggregates []string

	sharing bool
	tree    *Tree
}

// NewProvider starts a provider without inventory.
func NewProvider(p placement.Provider) *Provider { return &Provider{Provider: p} }

// SetInventory adds the inventory of a class.
func (p *Provider) SetInventory(i placement.Inventory, used int) {
	s := Stock{Inventory: i, Capacity: i.Capacity(), Used: used}
	n, found := slices.BinarySearchFunc(p.Stocks, i.ResourceClass, func(s Stock, c string) int { return cmp.Compare(s.ResourceClass, c) })
	if found {
		p.Stocks[n] = s
		return
	}
	p.Stocks = slices.Insert(p.Stocks, n, s)
}

// AddTrait adds a trait; traits come in order.
func (p *Provider) AddTrait(name string) {
	p.Traits = append(p.Traits, name)
	p.sharing = p.sharing || name == placement.SharingTrait
}

// AddAggregate adds an aggregate.
func (p *Provider) AddAggregate(uuid string) { p.Aggregates = append(p.Aggregates, uuid) }

// stock returns the inventory of a class, or nil.
func (p *Provider) stock(class string) *Stock {
	for i := range p.Stocks {
		if p.Stocks[i].ResourceClass == class {
			return &p.Stocks[i]
		}
	}
	return nil
}

// fits reports whether the provider alone could serve all amounts.
func (p *Provider) fits(amounts []Amount) bool {
	for _, a := range amounts {
		s := p.stock(a.Class)
		if s == nil || !s.Allows(a.Amount) || s.Used+a.Amount > s.Capacity {
			return false
		}
	}
	return true
}

// Tree is a root provider with all below it, and the providers of other trees
// that share their inventory with it.
type Tree struct {
	Root      *Provider
	Providers []*Provider
	sharers   []*Provider
}

// Snapshot is every provider at one moment. It is read-only.
type Snapshot struct {
	byUUID   map[string]*Provider
	all      []*Provider
	trees    []*Tree
	modified time.Time
}

// NewSnapshot builds the trees. It keeps the slice.
func NewSnapshot(list []*Provider) *Snapshot {
	slices.SortFunc(list, func(a, b *Provider) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.UUID, b.UUID))
	})
	s := &Snapshot{byUUID: make(map[string]*Provider, len(list)), all: list}
	roots := map[string]*Tree{}
	for i, p := range list {
		// A provider that comes from an older snapshot is part of that one:
		// its link to a tree must not change.
		if p.tree != nil {
			c := *p
			p, list[i] = &c, &c
		}
		s.byUUID[p.UUID] = p
		if p.UpdatedAt.After(s.modified) {
			s.modified = p.UpdatedAt
		}
	}
	for _, p := range list {
		t := roots[p.RootUUID]
		if t == nil {
			t = &Tree{}
			roots[p.RootUUID] = t
			s.trees = append(s.trees, t)
		}
		t.Providers = append(t.Providers, p)
		p.tree = t
		if p.UUID == p.RootUUID {
			t.Root = p
		}
	}
	// A tree whose root was removed while the rows were read is left out.
	s.trees = slices.DeleteFunc(s.trees, func(t *Tree) bool { return t.Root == nil })
	s.connect()
	return s
}

// connect finds the sharing providers of each tree.
func (s *Snapshot) connect() {
	byAggregate := map[string][]*Provider{}
	for _, p := range s.all {
		if p.sharing {
			for _, a := range p.Aggregates {
				byAggregate[a] = append(byAggregate[a], p)
			}
		}
	}
	if len(byAggregate) == 0 {
		return
	}
	for _, t := range s.trees {
		for _, p := range t.Providers {
			for _, a := range p.Aggregates {
				for _, sh := range byAggregate[a] {
					if sh.tree != t && !slices.Contains(t.sharers, sh) {
						t.sharers = append(t.sharers, sh)
					}
				}
			}
		}
	}
}

// Provider returns a provider, or nil; also on a nil snapshot.
func (s *Snapshot) Provider(uuid string) *Provider {
	if s == nil {
		return nil
	}
	return s.byUUID[uuid]
}

// Filter narrows a list of providers.
type Filter struct {
	Name, UUID string
	InTree     string // a provider's UUID
	Resources  []Amount
	Traits     Traits
	Aggregates Aggregates
}

// Providers lists the providers that pass the filter by themselves, in the
// order of their creation.
func (s *Snapshot) Providers(f Filter) []*Provider {
	out := []*Provider{}
	var tree *Tree
	if f.InTree != "" {
		p := s.byUUID[f.InTree]
		if p == nil {
			return out
		}
		tree = p.tree
	}
	for _, p := range s.all {
		switch {
		case f.Name != "" && p.Name != f.Name, f.UUID != "" && p.UUID != f.UUID, tree != nil && p.tree != tree:
		case !f.Traits.match(p.Traits), !f.Aggregates.match(p.Aggregates, nil), !p.fits(f.Resources):
		default:
			out = append(out, p)
		}
	}
	return out
}
