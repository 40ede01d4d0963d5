package store

import (
	"context"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
)

// FlavorFilter says which flavors are listed.
type FlavorFilter struct {
	// Public: nil lists all; true only public ones and, with ProjectID,
	// those that the project has access to; false only others.
	Public       *bool
	ProjectID    string
	MinRAM       int
	MinDisk      int
	WithDisabled bool
	Page         db.Page
}

// Flavor returns a flavor with its extra specs.
func (s *Store) Flavor(ctx context.Context, id string) (*compute.Flavor, error) {
	f, err := db.Get[compute.Flavor](ctx, s.db, "SELECT * FROM flavors WHERE id = ?", id)
	if f, err = found(f, err, "Flavor", id); err != nil {
		return nil, err
	}
	specs, err := s.ExtraSpecs(ctx, id)
	f.ExtraSpecs = specs
	return f, err
}

// Flavors lists flavors with their extra specs.
func (s *Store) Flavors(ctx context.Context, f FlavorFilter) ([]compute.Flavor, error) {
	w := db.Where()
	if f.Public != nil {
		w.Eq("is_public", *f.Public)
		if *f.Public && f.ProjectID != "" {
			w = db.Where().Raw("(is_public = ? OR id IN (SELECT flavor_id FROM flavor_access WHERE project_id = ?))", true, f.ProjectID)
		}
	}
	if f.MinRAM > 0 {
		w.Raw("memory_mb >= ?", f.MinRAM)
	}
	if f.MinDisk > 0 {
		w.Raw("root_gb >= ?", f.MinDisk)
	}
	if !f.WithDisabled {
		w.Eq("disabled", false)
	}
	rows, err := db.SelectPage[compute.Flavor](ctx, s.db, "flavors", w, f.Page)
	if err != nil || len(rows) == 0 {
		return rows, err
	}
	ids := make([]string, len(rows))
	for i := range rows {
		ids[i] = rows[i].ID
	}
	specs, err := pairs(ctx, s.db, "flavor_extra_specs", "flavor_id", db.Where().In("flavor_id", ids))
	if err != nil {
		return nil, err
	}
	for i := range rows {
		rows[i].ExtraSpecs = specs[rows[i].ID]
	}
	return rows, nil
}

// CreateFlavor adds f; a name or id that exists is fault.Conflict.
func (s *Store) CreateFlavor(ctx context.Context, f *compute.Flavor) error {
	err := db.Insert(ctx, s.db, "flavors", f)
	if db.IsUnique(err) {
		n, cerr := db.Count(ctx, s.db, "SELECT count(*) FROM flavors WHERE id = ?", f.ID)
		if cerr == nil && n > 0 {
			return fault.Conflictf("Flavor with ID %s already exists.", f.ID)
		}
		return fault.Conflictf("Flavor with name %s already exists.", f.Name)
	}
	return err
}

// UpdateFlavorDescription sets the one thing of a flavor that can change.
func (s *Store) UpdateFlavorDescription(ctx context.Context, id string, text *string) error {
	n, err := db.Update(ctx, s.db, "flavors", db.Set{"description": text}, db.ByID(id))
	if err == nil && n == 0 {
		return fault.Missing("Flavor", id)
	}
	return err
}

// DeleteFlavor removes a flavor; servers keep their copy of it.
func (s *Store) DeleteFlavor(ctx context.Context, id string) error {
	n, err := db.Delete(ctx, s.db, "flavors", db.ByID(id))
	if err == nil && n == 0 {
		return fault.Missing("Flavor", id)
	}
	return err
}

// ExtraSpecs returns a flavor's extra specs.
func (s *Store) ExtraSpecs(ctx context.Context, id string) (map[string]string, error) {
	m, err := pairs(ctx, s.db, "flavor_extra_specs", "flavor_id", db.Where().Eq("flavor_id", id))
	if err != nil || m[id] == nil {
		return map[string]string{}, err
	}
	return m[id], nil
}

type extraSpec struct {
	FlavorID string `db:"flavor_id"`
	Name     string `db:"name"`
	Value    string `db:"text_value"`
}

// SetExtraSpecs adds or changes extra specs of a flavor that exists.
func (s *Store) SetExtraSpecs(ctx context.Context, id string, specs map[string]string) error {
	return s.db.Tx(ctx, func(ctx context.Context) error {
		for k, v := range specs {
			err := db.Upsert(ctx, s.db, "flavor_extra_specs", extraSpec{id, k, v}, "flavor_id", "name")
			if db.IsForeignKey(err) {
				return fault.Missing("Flavor", id)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// DeleteExtraSpec removes one extra spec.
func (s *Store) DeleteExtraSpec(ctx context.Context, id, name string) error {
	n, err := db.Delete(ctx, s.db, "flavor_extra_specs", db.Where().Eq("flavor_id", id).Eq("name", name))
	if err == nil && n == 0 {
		return fault.New(fault.NotFound, "Flavor %s has no extra specs with key %s.", id, name)
	}
	return err
}

type flavorAccess struct {
	FlavorID  string `db:"flavor_id"`
	ProjectID string `db:"project_id"`
}

// FlavorAccess returns the projects that may use a private flavor.
func (s *Store) FlavorAccess(ctx context.Context, id string) ([]string, error) {
	return db.Select[string](ctx, s.db, "SELECT project_id FROM flavor_access WHERE flavor_id = ? ORDER BY project_id", id)
}

// AddFlavorAccess lets a project use a flavor.
func (s *Store) AddFlavorAccess(ctx context.Context, id, projectID string) error {
	err := db.Insert(ctx, s.db, "flavor_access", flavorAccess{id, projectID})
	if db.IsUnique(err) {
		return fault.Conflictf("Flavor access already exists for flavor %s and project %s combination.", id, projectID)
	}
	return err
}

// RemoveFlavorAccess takes it back.
func (s *Store) RemoveFlavorAccess(ctx context.Context, id, projectID string) error {
	n, err := db.Delete(ctx, s.db, "flavor_access", db.Where().Eq("flavor_id", id).Eq("project_id", projectID))
	if err == nil && n == 0 {
		return fault.New(fault.NotFound, "Flavor access not found for %s / %s combination.", id, projectID)
	}
	return err
}

// MayUseFlavor reports whether a project may use a flavor that is not public.
func (s *Store) MayUseFlavor(ctx context.Context, id, projectID string) (bool, error) {
	n, err := db.Count(ctx, s.db, "SELECT count(*) FROM flavor_access WHERE flavor_id = ? AND project_id = ?", id, projectID)
	return n > 0, err
}
