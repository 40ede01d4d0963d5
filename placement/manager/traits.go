package manager

import (
	"context"
	"slices"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/placement"
)

// Traits lists traits.
func (m *Manager) Traits(ctx context.Context, f placement.TraitFilter) ([]placement.Trait, error) {
	return m.store.Traits(ctx, f)
}

// Trait returns one trait.
func (m *Manager) Trait(ctx context.Context, name string) (*placement.Trait, error) {
	return m.store.Trait(ctx, name)
}

// EnsureTrait adds a custom trait unless it is there.
func (m *Manager) EnsureTrait(ctx context.Context, name string) (*placement.Trait, bool, error) {
	if err := placement.CheckCustom("trait", name); err != nil {
		return nil, false, err
	}
	return m.store.EnsureTrait(ctx, name)
}

// DeleteTrait removes a custom trait that no provider has.
func (m *Manager) DeleteTrait(ctx context.Context, name string) error {
	if slices.Contains(placement.StandardTraits(), name) {
		return fault.Invalidf("Cannot delete standard trait %s.", name)
	}
	return m.store.DeleteTrait(ctx, name)
}

// ProviderTraits returns a provider and its traits.
func (m *Manager) ProviderTraits(ctx context.Context, uuid string) (*placement.Provider, []placement.Trait, error) {
	p, err := m.store.Provider(ctx, uuid)
	if err != nil {
		return nil, nil, err
	}
	traits, err := m.store.ProviderTraits(ctx, uuid)
	return p, traits, err
}

// SetProviderTraits replaces a provider's traits and returns both.
func (m *Manager) SetProviderTraits(ctx context.Context, uuid string, generation int, names []string) (*placement.Provider, []placement.Trait, error) {
	p, err := m.store.SetProviderTraits(ctx, uuid, generation, names)
	if err != nil {
		return nil, nil, err
	}
	traits, err := m.store.ProviderTraits(ctx, uuid)
	return p, traits, err
}

// ClearProviderTraits takes all traits from a provider.
func (m *Manager) ClearProviderTraits(ctx context.Context, uuid string) error {
	return m.store.ClearProviderTraits(ctx, uuid)
}
