package manager

import (
	"context"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/db"
)

// CreateGroup adds a server group for the caller's project.
func (m *Manager) CreateGroup(ctx context.Context, name, policy string, maxPerHost int) (*compute.Group, error) {
	who := auth.From(ctx)
	g := &compute.Group{ID: db.NewID(ctx), ProjectID: who.Project.ID, UserID: who.User.ID, Name: name, Policy: policy, MaxPerHost: maxPerHost, CreatedAt: db.Now()}
	l, err := m.limits(ctx, g.ProjectID, g.UserID)
	if err != nil {
		return nil, err
	}
	return g, m.store.CreateGroup(ctx, g, l[compute.QuotaGroups])
}

// Group returns a server group.
func (m *Manager) Group(ctx context.Context, id string) (*compute.Group, error) {
	return m.store.Group(ctx, id)
}

// Groups lists the caller's server groups, or all of them.
func (m *Manager) Groups(ctx context.Context, all bool, limit, offset int) ([]compute.Group, error) {
	project := auth.From(ctx).Project.ID
	if all {
		project = ""
	}
	return m.store.Groups(ctx, project, limit, offset)
}

// DeleteGroup removes a server group.
func (m *Manager) DeleteGroup(ctx context.Context, id string) error {
	return m.store.DeleteGroup(ctx, id)
}
