package manager

import (
	"context"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/store"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
)

// Flavor returns a flavor that the caller may see.
func (m *Manager) Flavor(ctx context.Context, id string) (*compute.Flavor, error) {
	f, err := m.store.Flavor(ctx, id)
	if err != nil {
		return nil, err
	}
	who := auth.From(ctx)
	if f.Public || who.IsAdmin() {
		return f, nil
	}
	ok, err := m.store.MayUseFlavor(ctx, id, who.Project.ID)
	if err == nil && !ok {
		return nil, fault.Missing("Flavor", id)
	}
	return f, err
}

// flavorFor is Flavor for a new server, which must name one that exists.
func (m *Manager) flavorFor(ctx context.Context, id string) (*compute.Flavor, error) {
	f, err := m.Flavor(ctx, id)
	if isMissing(err) {
		return nil, fault.Invalidf("Flavor %s could not be found.", id)
	}
	return f, err
}

// Flavors lists flavors; callers who are no administrators see public ones and
// those they were given.
func (m *Manager) Flavors(ctx context.Context, f store.FlavorFilter) ([]compute.Flavor, error) {
	who := auth.From(ctx)
	f.ProjectID = who.Project.ID
	if !who.IsAdmin() {
		yes := true
		f.Public = &yes
	}
	return m.store.Flavors(ctx, f)
}

// CreateFlavor adds a flavor; an empty id is chosen.
func (m *Manager) CreateFlavor(ctx context.Context, f *compute.Flavor) error {
	if f.ID == "" {
		f.ID = db.NewID(ctx)
	}
	f.CreatedAt = db.Now()
	return m.store.CreateFlavor(ctx, f)
}

// DescribeFlavor sets a flavor's description and returns the flavor.
func (m *Manager) DescribeFlavor(ctx context.Context, id string, text *string) (*compute.Flavor, error) {
	if err := m.store.UpdateFlavorDescription(ctx, id, text); err != nil {
		return nil, err
	}
	return m.store.Flavor(ctx, id)
}

// DeleteFlavor removes a flavor.
func (m *Manager) DeleteFlavor(ctx context.Context, id string) error {
	return m.store.DeleteFlavor(ctx, id)
}

// SetExtraSpecs adds or changes extra specs.
func (m *Manager) SetExtraSpecs(ctx context.Context, id string, specs map[string]string) error {
	return m.store.SetExtraSpecs(ctx, id, specs)
}

// DeleteExtraSpec removes one.
func (m *Manager) DeleteExtraSpec(ctx context.Context, id, name string) error {
	return m.store.DeleteExtraSpec(ctx, id, name)
}

// FlavorAccess returns the projects that may use a private flavor.
func (m *Manager) FlavorAccess(ctx context.Context, id string) ([]string, error) {
	f, err := m.Flavor(ctx, id)
	if err != nil {
		return nil, err
	}
	if f.Public {
		return nil, fault.New(fault.NotFound, "Access list not available for public flavors.")
	}
	return m.store.FlavorAccess(ctx, id)
}

// AddFlavorAccess lets a project use a flavor and returns all that may.
func (m *Manager) AddFlavorAccess(ctx context.Context, id, projectID string, strict bool) ([]string, error) {
	f, err := m.Flavor(ctx, id)
	if err != nil {
		return nil, err
	}
	if f.Public && strict {
		return nil, fault.Conflictf("Can not add access to a public flavor.")
	}
	if err := m.knownProject(ctx, projectID); err != nil {
		return nil, err
	}
	if err := m.store.AddFlavorAccess(ctx, id, projectID); err != nil {
		return nil, err
	}
	return m.store.FlavorAccess(ctx, id)
}

// RemoveFlavorAccess takes it back.
func (m *Manager) RemoveFlavorAccess(ctx context.Context, id, projectID string) ([]string, error) {
	if _, err := m.Flavor(ctx, id); err != nil {
		return nil, err
	}
	if err := m.knownProject(ctx, projectID); err != nil {
		return nil, err
	}
	if err := m.store.RemoveFlavorAccess(ctx, id, projectID); err != nil {
		return nil, err
	}
	return m.store.FlavorAccess(ctx, id)
}

// knownProject asks identity whether a project exists; whatever else it says,
// the project is taken.
func (m *Manager) knownProject(ctx context.Context, id string) error {
	p, err := m.peer(ctx, "identity", asService)
	if err != nil {
		return err
	}
	if err := p.get(ctx, "projects/"+segment(id), &doc{}); isMissing(err) {
		return fault.Invalidf("Project ID %s is not a valid project.", id)
	}
	return nil
}
