package store

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/placement"
)

// Inventories returns a provider's inventory, by class.
func (s *Store) Inventories(ctx context.Context, uuid string) ([]placement.Inventory, error) {
	return db.Select[placement.Inventory](ctx, s.db, "SELECT * FROM inventories WHERE provider_uuid = ? ORDER BY resource_class", uuid)
}

// Inventory returns a provider's inventory of one class.
func (s *Store) Inventory(ctx context.Context, uuid, class string) (*placement.Inventory, error) {
	i, err := db.Get[placement.Inventory](ctx, s.db, "SELECT * FROM inventories WHERE provider_uuid = ? AND resource_class = ?", uuid, class)
	if errors.Is(err, db.ErrNoRows) {
		return nil, fault.New(fault.NotFound, "No inventory of class %s for %s", class, uuid)
	}
	return i, err
}

// SetInventories makes list the whole of a provider's inventory.
func (s *Store) SetInventories(ctx context.Context, uuid string, generation int, list []placement.Inventory) error {
	return s.inventoryTx(ctx, uuid, generation, func(ctx context.Context) error {
		return s.replaceInventories(ctx, uuid, list)
	})
}

// AddInventory adds the inventory of a class that the provider has not got.
func (s *Store) AddInventory(ctx context.Context, generation int, i placement.Inventory) error {
	err := s.inventoryTx(ctx, i.ProviderUUID, generation, func(ctx context.Context) error {
		i.UpdatedAt = db.Now()
		return db.Insert(ctx, s.db, "inventories", i)
	})
	if db.IsUnique(err) {
		return fault.Conflictf("Update conflict: resource provider %s has inventory of class %s already.", i.ProviderUUID, i.ResourceClass).WithType(placement.CodeConcurrentUpdate)
	}
	return err
}

// UpdateInventory changes the inventory of a class that the provider has.
func (s *Store) UpdateInventory(ctx context.Context, generation int, i placement.Inventory) error {
	return s.inventoryTx(ctx, i.ProviderUUID, generation, func(ctx context.Context) error {
		n, err := s.updateInventory(ctx, i)
		if err == nil && n == 0 {
			return fault.Invalidf("No inventory of class %s found for update of resource provider %s.", i.ResourceClass, i.ProviderUUID)
		}
		return err
	})
}

// DeleteInventory removes the inventory of one class, at whatever generation
// the provider is.
func (s *Store) DeleteInventory(ctx context.Context, uuid, class string) error {
	err := s.tx(ctx, func(ctx context.Context) error {
		if err := s.touch(ctx, []string{uuid}, always); err != nil {
			return err
		}
		n, err := db.Delete(ctx, s.db, "inventories", db.Where().Eq("provider_uuid", uuid).Eq("resource_class", class))
		if err == nil && n == 0 {
			return fault.New(fault.NotFound, "No inventory of class %s found for delete", class)
		}
		return err
	})
	return s.explainInUse(ctx, err, uuid, []string{class})
}

// DeleteInventories removes all of a provider's inventory.
func (s *Store) DeleteInventories(ctx context.Context, uuid string) error {
	err := s.tx(ctx, func(ctx context.Context) error {
		if err := s.touch(ctx, []string{uuid}, always); err != nil {
			return err
		}
		if _, err := s.Provider(ctx, uuid); err != nil {
			return err
		}
		return s.replaceInventories(ctx, uuid, nil)
	})
	return s.explainInUse(ctx, err, uuid, nil)
}

func (s *Store) inventoryTx(ctx context.Context, uuid string, generation int, f func(ctx context.Context) error) error {
	err := s.tx(ctx, func(ctx context.Context) error {
		if err := s.advance(ctx, uuid, generation); err != nil {
			return err
		}
		return f(ctx)
	})
	return s.explainInUse(ctx, err, uuid, nil)
}

// replaceInventories makes list the provider's inventory: changes, adds,
// removes. The provider is locked.
func (s *Store) replaceInventories(ctx context.Context, uuid string, list []placement.Inventory) error {
	have, err := s.names(ctx, "SELECT resource_class FROM inventories WHERE provider_uuid = ?", uuid)
	if err != nil {
		return err
	}
	var rows [][]any
	now := db.Now()
	for _, i := range list {
		if have[i.ResourceClass] {
			delete(have, i.ResourceClass)
			if _, err := s.updateInventory(ctx, i); err != nil {
				return err
			}
			continue
		}
		rows = append(rows, []any{uuid, i.ResourceClass, i.Total, i.Reserved, i.MinUnit, i.MaxUnit, i.StepSize, i.AllocationRatio, now})
	}
	for chunk := range slices.Chunk(rows, 50) {
		q, args := values("INSERT INTO inventories (provider_uuid, resource_class, total, reserved, min_unit, max_unit, step_size, allocation_ratio, updated_at) VALUES ", chunk)
		if _, err := db.Exec(ctx, s.db, q, args...); err != nil {
			return err
		}
	}
	var gone []string
	for c := range have {
		gone = append(gone, c)
	}
	return s.removeInventories(ctx, uuid, gone)
}

func (s *Store) removeInventories(ctx context.Context, uuid string, classes []string) error {
	if len(classes) == 0 {
		return nil
	}
	slices.Sort(classes)
	args := append([]any{uuid}, anys(classes)...)
	used, err := db.Select[string](ctx, s.db, "SELECT DISTINCT resource_class FROM allocations WHERE provider_uuid = ? AND resource_class IN ("+marks(len(classes))+") ORDER BY resource_class", args...)
	if err != nil {
		return err
	}
	if len(used) > 0 {
		return placement.InventoryInUse(uuid, strings.Join(used, ", "))
	}
	_, err = db.Delete(ctx, s.db, "inventories", db.Where().Eq("provider_uuid", uuid).In("resource_class", classes))
	return err
}

func (s *Store) updateInventory(ctx context.Context, i placement.Inventory) (int64, error) {
	return db.Update(ctx, s.db, "inventories", db.Set{
		"total": i.Total, "reserved": i.Reserved, "min_unit": i.MinUnit, "max_unit": i.MaxUnit,
		"step_size": i.StepSize, "allocation_ratio": i.AllocationRatio, "updated_at": db.Now(),
	}, db.Where().Eq("provider_uuid", i.ProviderUUID).Eq("resource_class", i.ResourceClass))
}

// explainInUse turns a violated foreign key into what it means here: an
// allocation stands on inventory that was to go, or a resource class is not
// known.
func (s *Store) explainInUse(ctx context.Context, err error, uuid string, classes []string) error {
	if !db.IsForeignKey(err) {
		return err
	}
	used, e := db.Select[string](ctx, s.db, "SELECT DISTINCT resource_class FROM allocations WHERE provider_uuid = ? ORDER BY resource_class", uuid)
	if e == nil && len(used) > 0 {
		if len(classes) > 0 {
			used = classes
		}
		return placement.InventoryInUse(uuid, strings.Join(used, ", "))
	}
	return fault.Wrap(fault.Invalid, err, "Unknown resource class in inventory for resource provider %s.", uuid)
}
