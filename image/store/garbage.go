package store

import (
	"context"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/image"
)

// Garbage is data that belongs to no image.
type Garbage struct {
	Key       string    `db:"data_key"`
	Store     string    `db:"store_name"`
	CreatedAt time.Time `db:"created_at"`
}

// AddGarbage notes data that is to be deleted, unless it gets an image first.
func (s *Store) AddGarbage(ctx context.Context, storeName, key string) error {
	return db.Upsert(ctx, s.db, "garbage", Garbage{Key: key, Store: storeName, CreatedAt: db.Now()}, "data_key")
}

// DropGarbage forgets a key: it was deleted, or has an image now.
func (s *Store) DropGarbage(ctx context.Context, key string) error {
	_, err := db.Delete(ctx, s.db, "garbage", db.Where().Eq("data_key", key))
	return err
}

// Garbages lists up to limit keys that no image refers to, nor writes.
func (s *Store) Garbages(ctx context.Context, limit int) ([]Garbage, error) {
	return db.SelectPage[Garbage](ctx, s.db, "garbage",
		db.Where().Raw("NOT EXISTS (SELECT 1 FROM images i WHERE i.upload_key = garbage.data_key OR i.data_key = garbage.data_key)"),
		db.Page{Limit: limit, ID: "data_key"})
}

// Keys lists the keys that images refer to, for leak checks.
func (s *Store) Keys(ctx context.Context) ([]string, error) {
	return db.Select[string](ctx, s.db, "SELECT data_key FROM images WHERE data_key <> '' UNION SELECT upload_key FROM images WHERE upload_key <> ''")
}

// DeadUploads lists up to limit images whose writing process is gone: it gave
// no sign of life since stale, or is an earlier incarnation on the same host.
func (s *Store) DeadUploads(ctx context.Context, host, self string, stale time.Time, limit int) ([]image.Image, error) {
	w := db.Where().Raw("upload_owner <> ''").Raw("upload_beat < ? OR (upload_owner <> ? AND upload_owner LIKE ? ESCAPE '!')",
		stale, self, db.Escape(host)+"/%")
	return db.SelectPage[image.Image](ctx, s.db, "images", w, db.Page{Limit: limit})
}

// Beat renews the lease of a writer; false if the image is no longer its.
func (s *Store) Beat(ctx context.Context, id, key string) (bool, error) {
	n, err := db.Update(ctx, s.db, "images", db.Set{"upload_beat": db.Now()}, db.ByID(id).Eq("upload_key", key))
	return n > 0, err
}
