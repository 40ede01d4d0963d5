package manager

import (
	"context"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/placement"
	"github.com/tropocloud/tropo/placement/candidate"
)

// Providers lists the providers that pass a filter.
func (m *Manager) Providers(ctx context.Context, f candidate.Filter) ([]*candidate.Provider, error) {
	var classes []string
	for _, a := range f.Resources {
		classes = append(classes, a.Class)
	}
	if err := m.store.KnownNames(ctx, appendTraits(nil, f.Traits), classes); err != nil {
		return nil, badParameter(err)
	}
	snap, err := m.store.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	return snap.Providers(f), nil
}

// Provider returns one provider.
func (m *Manager) Provider(ctx context.Context, id string) (*placement.Provider, error) {
	return m.store.Provider(ctx, id)
}

// CreateProvider adds a provider, with a new UUID where none is given, below
// a parent where one is given.
func (m *Manager) CreateProvider(ctx context.Context, name, id string, parent *string) (*placement.Provider, error) {
	if id == "" {
		id = db.NewID(ctx)
	}
	p := &placement.Provider{UUID: id, Name: name, ParentUUID: parent}
	return p, m.store.CreateProvider(ctx, p)
}

// UpdateProvider changes a provider's name and, where change is given, its
// parent.
func (m *Manager) UpdateProvider(ctx context.Context, id, name string, change *placement.ParentChange) (*placement.Provider, error) {
	return m.store.UpdateProvider(ctx, id, name, change)
}

// DeleteProvider removes a provider without children and allocations.
func (m *Manager) DeleteProvider(ctx context.Context, id string) error {
	return m.store.DeleteProvider(ctx, id)
}

// Aggregates returns a provider and its aggregates.
func (m *Manager) Aggregates(ctx context.Context, id string) (*placement.Provider, []string, error) {
	p, err := m.store.Provider(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	list, err := m.store.Aggregates(ctx, id)
	return p, list, err
}

// SetAggregates replaces a provider's aggregates.
func (m *Manager) SetAggregates(ctx context.Context, id string, generation *int, list []string) (*placement.Provider, []string, error) {
	p, err := m.store.SetAggregates(ctx, id, generation, list)
	if err != nil {
		return nil, nil, err
	}
	list, err = m.store.Aggregates(ctx, id)
	return p, list, err
}

// ProviderUsages returns a provider and how much of its inventory is used.
func (m *Manager) ProviderUsages(ctx context.Context, id string) (*placement.Provider, []placement.Usage, error) {
	p, err := m.store.Provider(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	usages, err := m.store.ProviderUsages(ctx, id)
	return p, usages, err
}
