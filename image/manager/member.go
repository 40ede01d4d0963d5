package manager

import (
	"context"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image"
)

// AddMember shares an image with a project.
func (m *Manager) AddMember(ctx context.Context, i *image.Image, project string) (*image.Member, error) {
	if i.Visibility != image.Shared {
		return nil, fault.Forbiddenf("Only shared images have members.")
	}
	now := db.Now()
	n := image.Member{ImageID: i.ID, MemberID: project, Status: image.MemberPending, CreatedAt: now, UpdatedAt: now}
	return &n, m.store.CreateMember(ctx, n, m.o.Config.MemberQuota)
}

// Member returns one member of an image.
func (m *Manager) Member(ctx context.Context, i *image.Image, project string) (*image.Member, error) {
	return m.store.Member(ctx, i.ID, project)
}

// Members lists an image's members.
func (m *Manager) Members(ctx context.Context, i *image.Image) ([]image.Member, error) {
	return m.store.Members(ctx, i.ID, m.o.Config.LimitMax)
}

// SetMemberStatus is what a member says to the sharing.
func (m *Manager) SetMemberStatus(ctx context.Context, n *image.Member, s image.MemberStatus) (*image.Member, error) {
	changed := *n
	changed.Status, changed.UpdatedAt = s, db.Now()
	return &changed, m.store.UpdateMember(ctx, changed)
}

// RemoveMember ends the sharing with a project.
func (m *Manager) RemoveMember(ctx context.Context, i *image.Image, project string) error {
	return m.store.DeleteMember(ctx, i.ID, project)
}
