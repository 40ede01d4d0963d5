package store

import (
	"context"
	"errors"
	"strings"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/placement"
)

// firstCustom is the position of the first class that is not standard.
const firstCustom = 10_000

// ResourceClasses lists all classes, the standard ones first.
func (s *Store) ResourceClasses(ctx context.Context) ([]placement.ResourceClass, error) {
	return db.Select[placement.ResourceClass](ctx, s.db, "SELECT * FROM resource_classes ORDER BY position, name")
}

// ResourceClass returns one class.
func (s *Store) ResourceClass(ctx context.Context, name string) (*placement.ResourceClass, error) {
	c, err := db.Get[placement.ResourceClass](ctx, s.db, "SELECT * FROM resource_classes WHERE name = ?", name)
	if errors.Is(err, db.ErrNoRows) {
		return nil, fault.New(fault.NotFound, "No such resource class %s.", name)
	}
	return c, err
}

// CreateResourceClass adds a class; one that exists is a Conflict.
func (s *Store) CreateResourceClass(ctx context.Context, name string) (*placement.ResourceClass, error) {
	c := &placement.ResourceClass{Name: name, Position: firstCustom, UpdatedAt: db.Now()}
	err := db.Insert(ctx, s.db, "resource_classes", c)
	if db.IsUnique(err) {
		return nil, placement.DuplicateName("resource class", name)
	}
	return c, err
}

// RenameResourceClass gives a class another name, also in inventories and
// allocations.
func (s *Store) RenameResourceClass(ctx context.Context, from, to string) (*placement.ResourceClass, error) {
	c := &placement.ResourceClass{Name: to, Position: firstCustom, UpdatedAt: db.Now()}
	err := s.tx(ctx, func(ctx context.Context) error {
		users, err := db.Select[string](ctx, s.db, "SELECT provider_uuid FROM inventories WHERE resource_class = ?", from)
		if err != nil {
			return err
		}
		if err := s.touch(ctx, users, never); err != nil {
			return err
		}
		n, err := db.Update(ctx, s.db, "resource_classes", db.Set{"name": to, "updated_at": c.UpdatedAt}, db.Where().Eq("name", from))
		if err == nil && n == 0 {
			return fault.New(fault.NotFound, "No such resource class %s.", from)
		}
		return err
	})
	if db.IsUnique(err) {
		return nil, placement.DuplicateName("resource class", to)
	}
	return c, err
}

// DeleteResourceClass removes a class of which nobody has inventory.
func (s *Store) DeleteResourceClass(ctx context.Context, name string) error {
	n, err := db.Delete(ctx, s.db, "resource_classes", db.Where().Eq("name", name))
	if db.IsForeignKey(err) {
		return fault.Conflictf("Error in delete resource class: Cannot delete resource class %s. Class is in use in inventory.", name)
	}
	if err == nil && n == 0 {
		return fault.New(fault.NotFound, "No such resource class %s.", name)
	}
	return err
}

// KnownNames returns fault.Invalid unless all traits and classes exist.
func (s *Store) KnownNames(ctx context.Context, traits, classes []string) error {
	if err := s.knownTraits(ctx, traits); err != nil {
		return err
	}
	missing, err := s.missing(ctx, "resource_classes", classes)
	if err == nil && len(missing) > 0 {
		return fault.Invalidf("No such resource class %s.", strings.Join(missing, ", "))
	}
	return err
}
