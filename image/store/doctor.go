package store

import (
	"context"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/image"
)

// AllImages returns every image, by id, without properties and tags.
func (s *Store) AllImages(ctx context.Context) ([]image.Image, error) {
	return db.Select[image.Image](ctx, s.db, "SELECT "+db.Columns[image.Image]("")+" FROM images ORDER BY id")
}

// AllGarbage returns every key that is to be deleted or is being written.
func (s *Store) AllGarbage(ctx context.Context) ([]Garbage, error) {
	return db.Select[Garbage](ctx, s.db, "SELECT * FROM garbage ORDER BY data_key")
}

// Referred reports whether an image or the garbage has the key.
func (s *Store) Referred(ctx context.Context, key string) (bool, error) {
	n, err := db.Count(ctx, s.db, "SELECT (SELECT COUNT(*) FROM images WHERE data_key = ? OR upload_key = ?) + (SELECT COUNT(*) FROM garbage WHERE data_key = ?)", key, key, key)
	return n > 0, err
}
