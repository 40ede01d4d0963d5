package store

import (
	"context"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image"
)

// CreateMember shares an image; sharing it twice is fault.Conflict, more than
// limit members (-1: none) are fault.OverQuota.
func (s *Store) CreateMember(ctx context.Context, m image.Member, limit int) error {
	return s.db.Tx(ctx, func(ctx context.Context) error {
		// Whoever counts the members of an image writes its row first.
		if _, err := db.Exec(ctx, s.db, "UPDATE images SET owner_id = owner_id WHERE id = ?", m.ImageID); err != nil {
			return err
		}
		n, err := db.Count(ctx, s.db, "SELECT COUNT(*) FROM image_members WHERE image_id = ?", m.ImageID)
		if err != nil {
			return err
		}
		if limit >= 0 && n >= limit {
			return fault.OverQuotaf("The limit has been exceeded on the number of allowed image members for this image. Attempted: %d, Maximum: %d", n+1, limit)
		}
		err = db.Insert(ctx, s.db, "image_members", m)
		if db.IsUnique(err) {
			return fault.Conflictf("Image member %s already exists for image %s", m.MemberID, m.ImageID)
		}
		return err
	})
}

// Member returns one member of an image.
func (s *Store) Member(ctx context.Context, imageID, memberID string) (*image.Member, error) {
	m, err := db.Get[image.Member](ctx, s.db, "SELECT "+db.Columns[image.Member]("")+" FROM image_members WHERE image_id = ? AND member_id = ?", imageID, memberID)
	return found(m, err, fault.New(fault.NotFound, "%s not found in the member list of the image %s.", memberID, imageID))
}

// Members lists the members of an image, oldest first.
func (s *Store) Members(ctx context.Context, imageID string, limit int) ([]image.Member, error) {
	return db.SelectPage[image.Member](ctx, s.db, "image_members", db.Where().Eq("image_id", imageID),
		db.Page{Limit: limit, ID: "member_id", Sort: []db.Sort{{Column: "created_at"}}})
}

// UpdateMember sets a member's status.
func (s *Store) UpdateMember(ctx context.Context, m image.Member) error {
	n, err := db.Update(ctx, s.db, "image_members", db.Set{"status": m.Status, "updated_at": m.UpdatedAt},
		db.Where().Eq("image_id", m.ImageID).Eq("member_id", m.MemberID))
	if err == nil && n == 0 {
		return fault.New(fault.NotFound, "%s not found in the member list of the image %s.", m.MemberID, m.ImageID)
	}
	return err
}

// DeleteMember ends the sharing.
func (s *Store) DeleteMember(ctx context.Context, imageID, memberID string) error {
	n, err := db.Delete(ctx, s.db, "image_members", db.Where().Eq("image_id", imageID).Eq("member_id", memberID))
	if err == nil && n == 0 {
		return fault.New(fault.NotFound, "%s not found in the member list of the image %s.", memberID, imageID)
	}
	return err
}
