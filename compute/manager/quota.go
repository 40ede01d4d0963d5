package manager

import (
	"context"
	"maps"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/fault"
)

// DefaultClass is the quota class whose limits hold for every project that has
// none of its own.
const DefaultClass = "default"

// limits are the limits in force: the configuration's, over them the default
// class's, the project's, and the user's.
func (m *Manager) limits(ctx context.Context, projectID, userID string) (compute.Limits, error) {
	out := m.conf.DefaultLimits()
	class, err := m.store.ClassLimits(ctx, DefaultClass)
	if err != nil {
		return nil, err
	}
	maps.Copy(out, class)
	if projectID == "" {
		return out, nil
	}
	project, err := m.store.Limits(ctx, projectID, "")
	if err != nil {
		return nil, err
	}
	maps.Copy(out, project)
	if userID == "" {
		return out, nil
	}
	user, err := m.store.Limits(ctx, projectID, userID)
	maps.Copy(out, user)
	return out, err
}

// within refuses what does not fit into the project's and the user's limits;
// call it in the transaction that inserts, under the project's lock.
func (m *Manager) within(ctx context.Context, projectID, userID string, want compute.Usage) error {
	l, err := m.limits(ctx, projectID, "")
	if err != nil {
		return err
	}
	used, err := m.store.Usage(ctx, projectID, "")
	if err != nil {
		return err
	}
	if r := l.Refused(used, want); r != "" {
		return overQuota(r, want[r], used[r], l[r])
	}
	own, err := m.store.Limits(ctx, projectID, userID)
	if err != nil || len(own) == 0 {
		return err
	}
	if used, err = m.store.Usage(ctx, projectID, userID); err != nil {
		return err
	}
	maps.Copy(l, own)
	if r := l.Refused(used, want); r != "" {
		return overQuota(r, want[r], used[r], l[r])
	}
	return nil
}

func overQuota(resource string, want, used, limit int) error {
	return fault.OverQuotaf("Quota exceeded for %s: Requested %d, but already used %d of %d %s", resource, want, used, limit, resource)
}

// Quota is the limits and the usage of a project or of a user in it.
type Quota struct {
	Limits compute.Limits
	Usage  compute.Usage
}

// Quota returns the limits in force and what is used of them.
func (m *Manager) Quota(ctx context.Context, projectID, userID string) (*Quota, error) {
	l, err := m.limits(ctx, projectID, userID)
	if err != nil {
		return nil, err
	}
	u, err := m.store.Usage(ctx, projectID, userID)
	if err != nil {
		return nil, err
	}
	if u[compute.QuotaGroups], err = m.store.GroupCount(ctx, projectID); err != nil {
		return nil, err
	}
	return &Quota{l, u}, nil
}

// DefaultQuota returns the limits of a project that has none of its own.
func (m *Manager) DefaultQuota(ctx context.Context) (compute.Limits, error) {
	return m.limits(ctx, "", "")
}

// SetQuota sets limits of a project or a user. Without force, a limit below
// what is used is refused, as is a user's limit above the project's.
func (m *Manager) SetQuota(ctx context.Context, projectID, userID string, l compute.Limits, force bool) error {
	if err := m.knownProject(ctx, projectID); err != nil {
		return err
	}
	q, err := m.Quota(ctx, projectID, userID)
	if err != nil {
		return err
	}
	project, err := m.limits(ctx, projectID, "")
	if err != nil {
		return err
	}
	for r, n := range l {
		if used := q.Usage[r]; !force && n != compute.Unlimited && n < used {
			return fault.Invalidf("Quota limit %d for %s must be greater than or equal to already used and reserved %d.", n, r, used)
		}
		if limit := project[r]; userID != "" && limit != compute.Unlimited && (n > limit || n == compute.Unlimited) && !force {
			return fault.Invalidf("Quota limit %d for %s must be less than or equal to %d.", n, r, limit)
		}
	}
	return m.store.SetLimits(ctx, projectID, userID, l)
}

// ResetQuota makes the defaults hold again.
func (m *Manager) ResetQuota(ctx context.Context, projectID, userID string) error {
	return m.store.DeleteLimits(ctx, projectID, userID)
}

// ClassQuota returns the limits of a quota class.
func (m *Manager) ClassQuota(ctx context.Context, class string) (compute.Limits, error) {
	out := m.conf.DefaultLimits()
	l, err := m.store.ClassLimits(ctx, class)
	maps.Copy(out, l)
	return out, err
}

// SetClassQuota sets limits of a quota class.
func (m *Manager) SetClassQuota(ctx context.Context, class string, l compute.Limits) error {
	return m.store.SetClassLimits(ctx, class, l)
}
