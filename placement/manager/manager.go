// Package manager has placement's operations, one file for each resource.
package manager

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/placement"
	"github.com/tropocloud/tropo/placement/candidate"
	"github.com/tropocloud/tropo/placement/store"
)

// Options make a manager.
type Options struct {
	Store  *store.Store
	Config placement.Config
}

// Manager carries out what the API is asked for.
type Manager struct {
	store  *store.Store
	config placement.Config
}

// New checks the options.
func New(_ context.Context, o Options) (*Manager, error) {
	if o.Store == nil {
		return nil, errors.New("placement: the manager needs a store")
	}
	switch o.Config.CandidateStrategy {
	case "", placement.DepthFirst, placement.BreadthFirst:
	default:
		return nil, errors.New("placement: allocation_candidates_generation_strategy is neither depth-first nor breadth-first")
	}
	return &Manager{store: o.Store, config: o.Config}, nil
}

// Candidates finds the allocation candidates for a request. Traits and classes
// that do not exist are fault.Invalid.
func (m *Manager) Candidates(ctx context.Context, r *candidate.Request) (candidate.Result, error) {
	var traits, classes []string
	for _, g := range r.Groups {
		traits = appendTraits(traits, g.Traits)
		for _, a := range g.Resources {
			classes = append(classes, a.Class)
		}
	}
	if err := m.store.KnownNames(ctx, appendTraits(traits, r.Root), classes); err != nil {
		return candidate.Result{}, badParameter(err)
	}
	snap, err := m.store.Snapshot(ctx)
	if err != nil {
		return candidate.Result{}, err
	}
	o := candidate.Options{Bound: placement.CandidateBound, BreadthFirst: m.config.CandidateStrategy == placement.BreadthFirst}
	if n := m.config.MaxCandidates; n > 0 {
		o.Bound = min(n, o.Bound)
	}
	if m.config.RandomizeCandidates {
		o.Shuffle = rand.Shuffle
	}
	return snap.Find(r, o), nil
}

// badParameter keeps an unknown name in a query apart from one in a body.
func badParameter(err error) error {
	if f, ok := fault.As(err); ok && f.Kind == fault.Invalid {
		return f.WithType(placement.CodeBadParameter)
	}
	return err
}

func appendTraits(list []string, t candidate.Traits) []string {
	for _, any := range t.Required {
		list = append(list, any...)
	}
	return append(list, t.Forbidden...)
}

// Usages sums up what a project uses.
func (m *Manager) Usages(ctx context.Context, f placement.UsageFilter) ([]placement.TypeUsage, []placement.TypeCount, error) {
	return m.store.Usages(ctx, f)
}

// ResourceClasses lists all classes.
func (m *Manager) ResourceClasses(ctx context.Context) ([]placement.ResourceClass, error) {
	return m.store.ResourceClasses(ctx)
}

// ResourceClass returns one class.
func (m *Manager) ResourceClass(ctx context.Context, name string) (*placement.ResourceClass, error) {
	return m.store.ResourceClass(ctx, name)
}

// CreateResourceClass adds a custom class.
func (m *Manager) CreateResourceClass(ctx context.Context, name string) (*placement.ResourceClass, error) {
	if err := placement.CheckCustom("resource class", name); err != nil {
		return nil, err
	}
	return m.store.CreateResourceClass(ctx, name)
}

// EnsureResourceClass adds a custom class unless it is there.
func (m *Manager) EnsureResourceClass(ctx context.Context, name string) (created bool, err error) {
	if err := placement.CheckCustom("resource class", name); err != nil {
		return false, err
	}
	if _, err := m.store.ResourceClass(ctx, name); !fault.Is(err, fault.NotFound) {
		return false, err
	}
	_, err = m.store.CreateResourceClass(ctx, name)
	if fault.Is(err, fault.Conflict) { // another was faster
		return false, nil
	}
	return err == nil, err
}

// RenameResourceClass gives a custom class another custom name.
func (m *Manager) RenameResourceClass(ctx context.Context, from, to string) (*placement.ResourceClass, error) {
	if _, err := m.store.ResourceClass(ctx, from); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(from, placement.CustomPrefix) {
		return nil, fault.Invalidf("Cannot update standard resource class %s", from)
	}
	if err := placement.CheckCustom("resource class", to); err != nil {
		return nil, err
	}
	return m.store.RenameResourceClass(ctx, from, to)
}

// DeleteResourceClass removes a custom class of which nobody has inventory.
func (m *Manager) DeleteResourceClass(ctx context.Context, name string) error {
	if slices.Contains(placement.StandardResourceClasses(), name) {
		return fault.Invalidf("Error in delete resource class: Cannot delete standard resource class %s", name)
	}
	return m.store.DeleteResourceClass(ctx, name)
}
