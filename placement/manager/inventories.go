package manager

import (
	"context"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/placement"
)

// Inventories returns a provider and its inventory.
func (m *Manager) Inventories(ctx context.Context, id string) (*placement.Provider, []placement.Inventory, error) {
	p, err := m.store.Provider(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	list, err := m.store.Inventories(ctx, id)
	return p, list, err
}

// Inventory returns a provider and its inventory of one class.
func (m *Manager) Inventory(ctx context.Context, id, class string) (*placement.Provider, *placement.Inventory, error) {
	p, err := m.store.Provider(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	i, err := m.store.Inventory(ctx, id, class)
	return p, i, err
}

// SetInventories replaces a provider's inventory. mayReserveAll is the rule of
// API version 1.26.
func (m *Manager) SetInventories(ctx context.Context, id string, generation int, list []placement.Inventory, mayReserveAll bool) (*placement.Provider, []placement.Inventory, error) {
	p, err := m.store.Provider(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	if p.Generation != generation { // before anything else is found wrong
		return nil, nil, placement.GenerationConflict(id)
	}
	if err := m.check(ctx, list, mayReserveAll); err != nil {
		return nil, nil, err
	}
	if err := m.store.SetInventories(ctx, id, generation, list); err != nil {
		return nil, nil, err
	}
	p.Generation++
	list, err = m.store.Inventories(ctx, id)
	return p, list, err
}

// AddInventory adds the inventory of a class that the provider has not got, at
// whatever generation it is where none is given.
func (m *Manager) AddInventory(ctx context.Context, generation *int, i placement.Inventory, mayReserveAll bool) (*placement.Provider, error) {
	p, err := m.store.Provider(ctx, i.ProviderUUID)
	if err != nil {
		return nil, err
	}
	if generation != nil && p.Generation != *generation {
		return nil, placement.GenerationConflict(p.UUID)
	}
	if err := m.check(ctx, []placement.Inventory{i}, mayReserveAll); err != nil {
		return nil, err
	}
	p.Generation++
	return p, m.store.AddInventory(ctx, p.Generation-1, i)
}

// UpdateInventory changes the inventory of a class that the provider has.
func (m *Manager) UpdateInventory(ctx context.Context, generation int, i placement.Inventory, mayReserveAll bool) (*placement.Provider, error) {
	p, err := m.store.Provider(ctx, i.ProviderUUID)
	if err != nil {
		return nil, err
	}
	if p.Generation != generation {
		return nil, placement.GenerationConflict(p.UUID)
	}
	if err := m.check(ctx, []placement.Inventory{i}, mayReserveAll); err != nil {
		return nil, err
	}
	p.Generation++
	return p, m.store.UpdateInventory(ctx, generation, i)
}

// DeleteInventory removes the inventory of one class.
func (m *Manager) DeleteInventory(ctx context.Context, id, class string) error {
	if _, err := m.store.Provider(ctx, id); err != nil {
		return err
	}
	return m.store.DeleteInventory(ctx, id, class)
}

// DeleteInventories removes all inventory of a provider.
func (m *Manager) DeleteInventories(ctx context.Context, id string) error {
	return m.store.DeleteInventories(ctx, id)
}

// check refuses unknown classes and senseless amounts.
func (m *Manager) check(ctx context.Context, list []placement.Inventory, mayReserveAll bool) error {
	var classes []string
	for n := range list {
		if err := list[n].Validate(mayReserveAll); err != nil {
			return err
		}
		classes = append(classes, list[n].ResourceClass)
	}
	err := m.store.KnownNames(ctx, nil, classes)
	if fault.Is(err, fault.Invalid) {
		return fault.Wrap(fault.Invalid, err, "Unknown resource class in inventory for resource provider %s: %s", list[0].ProviderUUID, err.Error())
	}
	return err
}
