package manager

import (
	"context"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
)

// The models by which limits of projects in projects count.
const (
	ModelFlat           = "flat"
	ModelStrictTwoLevel = "strict_two_level"
)

// LimitModel returns the model in force.
func (m *Manager) LimitModel() string { return m.cfg.UnifiedLimit.EnforcementModel }

// RegisteredLimit returns one registered limit.
func (m *Manager) RegisteredLimit(ctx context.Context, id string) (*identity.RegisteredLimit, error) {
	return m.store.RegisteredLimits.Get(ctx, id)
}

// RegisteredLimits lists registered limits.
func (m *Manager) RegisteredLimits(ctx context.Context, q identity.Query) ([]identity.RegisteredLimit, error) {
	return m.store.RegisteredLimits.List(ctx, q)
}

func (m *Manager) checkRegistered(ctx context.Context, l *identity.RegisteredLimit) error {
	if s, err := gone(m.store.Services.Get(ctx, l.ServiceID)); err != nil {
		return err
	} else if s == nil {
		return fault.Invalidf("Could not find service: %s.", l.ServiceID)
	}
	if l.RegionID != "" {
		if r, err := gone(m.store.Regions.Get(ctx, string(l.RegionID))); err != nil {
			return err
		} else if r == nil {
			return fault.Invalidf("Could not find region: %s.", l.RegionID)
		}
	}
	l.RegionKey = string(l.RegionID)
	return nil
}

// CreateRegisteredLimits stores all or none.
func (m *Manager) CreateRegisteredLimits(ctx context.Context, list []identity.RegisteredLimit) ([]identity.RegisteredLimit, error) {
	err := m.store.Tx(ctx, func(ctx context.Context) error {
		for i := range list {
			list[i].ID = rowID(ctx)
			if err := m.checkRegistered(ctx, &list[i]); err != nil {
				return err
			}
			if err := m.store.RegisteredLimits.Create(ctx, &list[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return list, err
}

func (m *Manager) unused(ctx context.Context, id string) error {
	used, err := m.store.Limits.List(ctx, identity.By("registered_limit_id", id))
	if err == nil && len(used) > 0 {
		return fault.Forbiddenf("Unable to update or delete registered limit %s because there are project limits associated with it.", id)
	}
	return err
}

// UpdateRegisteredLimit stores the differences of after to before.
func (m *Manager) UpdateRegisteredLimit(ctx context.Context, before, after *identity.RegisteredLimit) error {
	return m.store.Tx(ctx, func(ctx context.Context) error {
		if after.ServiceID != before.ServiceID || after.RegionID != before.RegionID || after.ResourceName != before.ResourceName {
			if err := m.unused(ctx, before.ID); err != nil {
				return err
			}
		}
		if err := m.checkRegistered(ctx, after); err != nil {
			return err
		}
		return m.store.RegisteredLimits.Update(ctx, before.ID, before, after)
	})
}

// DeleteRegisteredLimit removes one that no limit refers to.
func (m *Manager) DeleteRegisteredLimit(ctx context.Context, id string) error {
	return m.store.Tx(ctx, func(ctx context.Context) error {
		if err := m.unused(ctx, id); err != nil {
			return err
		}
		return m.store.RegisteredLimits.Delete(ctx, id)
	})
}

// Limit returns one limit.
func (m *Manager) Limit(ctx context.Context, id string) (*identity.Limit, error) {
	return m.store.Limits.Get(ctx, id)
}

// Limits lists limits.
func (m *Manager) Limits(ctx context.Context, q identity.Query) ([]identity.Limit, error) {
	return m.store.Limits.List(ctx, q)
}

// CreateLimits stores all or none.
func (m *Manager) CreateLimits(ctx context.Context, list []identity.Limit) ([]identity.Limit, error) {
	err := m.store.Tx(ctx, func(ctx context.Context) error {
		for i := range list {
			if err := m.createLimit(ctx, &list[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return list, err
}

func (m *Manager) createLimit(ctx context.Context, l *identity.Limit) error {
	l.ID = rowID(ctx)
	if (l.ProjectID == "") == (l.DomainID == "") {
		return fault.Invalidf("A limit is of a project or of a domain.")
	}
	l.OwnerID = string(l.ProjectID)
	if l.OwnerID == "" {
		l.OwnerID = string(l.DomainID)
	}
	owner, err := gone(m.store.Projects.Get(ctx, l.OwnerID))
	if err != nil {
		return err
	}
	if owner == nil || owner.IsDomain != (l.DomainID != "") {
		return fault.Invalidf("Could not find the project or domain %s of the limit.", l.OwnerID)
	}
	r, err := gone(m.store.RegisteredLimits.One(ctx, identity.By("service_id", l.ServiceID).And("region_key", string(l.RegionID)).And("resource_name", l.ResourceName)))
	if err != nil {
		return err
	}
	if r == nil {
		return fault.Forbiddenf("Unable to create a limit that has no corresponding registered limit.")
	}
	l.RegisteredID = r.ID
	if err := m.fits(ctx, owner, l, r); err != nil {
		return err
	}
	return m.store.Limits.Create(ctx, l)
}

// fits enforces strict_two_level: what is below has no more than what is
// above.
func (m *Manager) fits(ctx context.Context, owner *identity.Project, l *identity.Limit, r *identity.RegisteredLimit) error {
	if m.LimitModel() != ModelStrictTwoLevel {
		return nil
	}
	of := func(id string) (int64, error) {
		have, err := gone(m.store.Limits.One(ctx, identity.By("registered_limit_id", r.ID).And("owner_id", id)))
		if err != nil || have == nil {
			return r.DefaultLimit, err
		}
		return have.ResourceLimit, nil
	}
	more := func(a, b int64) bool { return b >= 0 && (a < 0 || a > b) } // -1 is without bound
	if !owner.IsDomain {
		up, err := of(owner.ParentID)
		if err != nil {
			return err
		}
		if more(l.ResourceLimit, up) {
			return fault.Forbiddenf("Unable to create or update resource limits: the limit of %s is more than that of what it is in.", owner.ID)
		}
	}
	down, err := m.store.Subtree(ctx, owner.ID)
	if err != nil {
		return err
	}
	for _, c := range down {
		have, err := gone(m.store.Limits.One(ctx, identity.By("registered_limit_id", r.ID).And("owner_id", c.ID)))
		if err != nil {
			return err
		}
		if have != nil && more(have.ResourceLimit, l.ResourceLimit) {
			return fault.Forbiddenf("Unable to create or update resource limits: the limit of %s is less than that of what is in it.", owner.ID)
		}
	}
	return nil
}

// UpdateLimit stores the differences of after to before.
func (m *Manager) UpdateLimit(ctx context.Context, before, after *identity.Limit) error {
	return m.store.Tx(ctx, func(ctx context.Context) error {
		owner, err := m.store.Projects.Get(ctx, before.OwnerID)
		if err != nil {
			return err
		}
		r, err := m.store.RegisteredLimits.Get(ctx, before.RegisteredID)
		if err != nil {
			return err
		}
		if err := m.fits(ctx, owner, after, r); err != nil {
			return err
		}
		return m.store.Limits.Update(ctx, before.ID, before, after)
	})
}

// DeleteLimit removes a limit.
func (m *Manager) DeleteLimit(ctx context.Context, id string) error {
	return m.store.Limits.Delete(ctx, id)
}
