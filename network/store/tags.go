package store

import (
	"context"

	"github.com/tropocloud/tropo/db"
)

type tagRow struct {
	ResourceID string `db:"resource_id"`
	Tag        string `db:"tag"`
}

func (s *Store) insertTags(ctx context.Context, id string, tags []string) error {
	seen := map[string]bool{}
	for _, t := range tags {
		if seen[t] {
			continue
		}
		seen[t] = true
		if err := db.Insert(ctx, s.db, "tags", tagRow{id, t}); err != nil {
			return err
		}
	}
	return nil
}

// SetTags replaces a resource's tags.
func (s *Store) SetTags(ctx context.Context, id string, tags []string) error {
	if _, err := db.Delete(ctx, s.db, "tags", db.Where().Eq("resource_id", id)); err != nil {
		return err
	}
	return s.insertTags(ctx, id, tags)
}
