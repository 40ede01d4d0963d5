package store

import (
	"context"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/feed"
)

// Feed is what projects are told of changes.
func (s *Store) Feed() *feed.Feed { return s.feed }

// tell records a change of an image.
func (s *Store) tell(ctx context.Context, id, action string) error {
	row, err := db.Get[struct {
		Owner  string `db:"owner_id"`
		Status string `db:"status"`
	}](ctx, s.db, "SELECT owner_id, status FROM images WHERE id = ?", id)
	if err != nil {
		return err
	}
	return s.feed.Record(ctx, row.Owner, "image", id, action, row.Status)
}
