package manager

import (
	"context"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
)

// Region returns one region.
func (m *Manager) Region(ctx context.Context, id string) (*identity.Region, error) {
	return m.store.Regions.Get(ctx, id)
}

// Regions lists regions.
func (m *Manager) Regions(ctx context.Context, q identity.Query) ([]identity.Region, error) {
	return m.store.Regions.List(ctx, q)
}

// CreateRegion stores a region; without an id one is made.
func (m *Manager) CreateRegion(ctx context.Context, r identity.Region) (*identity.Region, error) {
	if r.ID == "" {
		r.ID = rowID(ctx)
	}
	if r.ParentRegionID != "" {
		if _, err := m.store.Regions.Get(ctx, string(r.ParentRegionID)); err != nil {
			return nil, err
		}
	}
	return &r, m.store.Regions.Create(ctx, &r)
}

// UpdateRegion stores the differences of after to before.
func (m *Manager) UpdateRegion(ctx context.Context, before, after *identity.Region) error {
	for up, n := string(after.ParentRegionID), 0; up != ""; n++ {
		if up == before.ID || n > 64 {
			return fault.Invalidf("Region %s cannot be below itself.", before.ID)
		}
		r, err := m.store.Regions.Get(ctx, up)
		if err != nil {
			return err
		}
		up = string(r.ParentRegionID)
	}
	return m.store.Regions.Update(ctx, before.ID, before, after)
}

// DeleteRegion removes a region with its sub-regions, unless endpoints are in
// them.
func (m *Manager) DeleteRegion(ctx context.Context, id string) error {
	return m.change(ctx, func(ctx context.Context) error { return m.deleteRegion(ctx, id, 0) })
}

func (m *Manager) deleteRegion(ctx context.Context, id string, depth int) error {
	children, err := m.store.Regions.List(ctx, identity.By("parent_region_id", id))
	if err != nil {
		return err
	}
	if depth > 64 {
		return fault.Conflictf("Unable to delete region %s: it is nested too deeply.", id)
	}
	for _, c := range children {
		if err := m.deleteRegion(ctx, c.ID, depth+1); err != nil {
			return err
		}
	}
	eps, err := m.store.Endpoints.List(ctx, identity.By("region_id", id))
	if err != nil {
		return err
	}
	if len(eps) > 0 {
		return fault.Forbiddenf("Unable to delete region %s because it or its child regions have associated endpoints.", id)
	}
	return m.store.Regions.Delete(ctx, id)
}

// Service returns one service.
func (m *Manager) Service(ctx context.Context, id string) (*identity.Service, error) {
	return m.store.Services.Get(ctx, id)
}

// Services lists services.
func (m *Manager) Services(ctx context.Context, q identity.Query) ([]identity.Service, error) {
	return m.store.Services.List(ctx, q)
}

// CreateService stores a service.
func (m *Manager) CreateService(ctx context.Context, s identity.Service) (*identity.Service, error) {
	s.ID = rowID(ctx)
	return &s, m.change(ctx, func(ctx context.Context) error { return m.store.Services.Create(ctx, &s) })
}

// UpdateService stores the differences of after to before.
func (m *Manager) UpdateService(ctx context.Context, before, after *identity.Service) error {
	return m.change(ctx, func(ctx context.Context) error { return m.store.Services.Update(ctx, before.ID, before, after) })
}

// DeleteService removes a service with its endpoints.
func (m *Manager) DeleteService(ctx context.Context, id string) error {
	return m.change(ctx, func(ctx context.Context) error {
		eps, err := m.store.Endpoints.List(ctx, identity.By("service_id", id))
		if err != nil {
			return err
		}
		for _, e := range eps {
			if err := m.store.ForgetPolicyOf(ctx, "endpoint_id", e.ID); err != nil {
				return err
			}
		}
		if err := m.store.ForgetPolicyOf(ctx, "service_id", id); err != nil {
			return err
		}
		return m.store.Services.Delete(ctx, id)
	})
}

// Endpoint returns one endpoint.
func (m *Manager) Endpoint(ctx context.Context, id string) (*identity.Endpoint, error) {
	return m.store.Endpoints.Get(ctx, id)
}

// Endpoints lists endpoints.
func (m *Manager) Endpoints(ctx context.Context, q identity.Query) ([]identity.Endpoint, error) {
	return m.store.Endpoints.List(ctx, q)
}

// CreateEndpoint stores an endpoint of a service that exists; its region is
// made where it does not.
func (m *Manager) CreateEndpoint(ctx context.Context, e identity.Endpoint) (*identity.Endpoint, error) {
	e.ID = rowID(ctx)
	return &e, m.change(ctx, func(ctx context.Context) error {
		if err := m.checkEndpoint(ctx, &e); err != nil {
			return err
		}
		return m.store.Endpoints.Create(ctx, &e)
	})
}

// UpdateEndpoint stores the differences of after to before.
func (m *Manager) UpdateEndpoint(ctx context.Context, before, after *identity.Endpoint) error {
	return m.change(ctx, func(ctx context.Context) error {
		if err := m.checkEndpoint(ctx, after); err != nil {
			return err
		}
		return m.store.Endpoints.Update(ctx, before.ID, before, after)
	})
}

func (m *Manager) checkEndpoint(ctx context.Context, e *identity.Endpoint) error {
	s, err := gone(m.store.Services.Get(ctx, e.ServiceID))
	if err != nil {
		return err
	}
	if s == nil {
		return fault.Invalidf("Could not find service: %s.", e.ServiceID)
	}
	if _, ok := identity.ExpandURL(e.URL, map[string]string{"project_id": "p", "tenant_id": "p", "user_id": "u"}); !ok {
		return fault.Invalidf("Malformed endpoint URL (%s), see ERROR log for details.", e.URL)
	}
	if e.RegionID == "" {
		return nil
	}
	if _, err := m.store.Regions.Get(ctx, string(e.RegionID)); err != nil {
		if !fault.Is(err, fault.NotFound) {
			return err
		}
		return m.store.Regions.Create(ctx, &identity.Region{ID: string(e.RegionID)})
	}
	return nil
}

// DeleteEndpoint removes an endpoint.
func (m *Manager) DeleteEndpoint(ctx context.Context, id string) error {
	return m.change(ctx, func(ctx context.Context) error {
		if err := m.store.ForgetPolicyOf(ctx, "endpoint_id", id); err != nil {
			return err
		}
		return m.store.Endpoints.Delete(ctx, id)
	})
}
