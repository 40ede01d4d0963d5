package store

import (
	"context"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/image"
)

// BeginLocation notes that a node writes the data of a key. only says that no
// other node's copy is good any more.
func (s *Store) BeginLocation(ctx context.Context, key, node string, only bool) error {
	if only {
		if _, err := db.Delete(ctx, s.db, "image_locations", db.Where().Eq("data_key", key).Ne("node", node)); err != nil {
			return err
		}
	}
	return db.Upsert(ctx, s.db, "image_locations", image.Location{Key: key, Node: node, CreatedAt: db.Now()}, "data_key", "node")
}

// ReadyLocation notes that a node has all of a key's data; false if the data
// was deleted meanwhile.
func (s *Store) ReadyLocation(ctx context.Context, l image.Location) (bool, error) {
	n, err := db.Update(ctx, s.db, "image_locations", db.Set{"ready": true, "size_bytes": l.Size, "hash_value": l.Hash},
		db.Where().Eq("data_key", l.Key).Eq("node", l.Node).
			Raw("EXISTS (SELECT 1 FROM images i WHERE i.upload_key = ? OR i.data_key = ?)", l.Key, l.Key))
	return n > 0, err
}

// DropLocation forgets a node's copy.
func (s *Store) DropLocation(ctx context.Context, key, node string) error {
	_, err := db.Delete(ctx, s.db, "image_locations", db.Where().Eq("data_key", key).Eq("node", node))
	return err
}

// Locations lists the copies of a key, the unfinished ones too.
func (s *Store) Locations(ctx context.Context, key string) ([]image.Location, error) {
	return db.Select[image.Location](ctx, s.db, "SELECT * FROM image_locations WHERE data_key = ? ORDER BY node", key)
}

// LocationsOn lists the keys of which a node has copies.
func (s *Store) LocationsOn(ctx context.Context, node string) ([]image.Location, error) {
	return db.Select[image.Location](ctx, s.db, "SELECT * FROM image_locations WHERE node = ? ORDER BY data_key", node)
}

// Scarce lists up to limit keys that fewer than want of the nodes have, though
// one has.
func (s *Store) Scarce(ctx context.Context, nodes []string, want, limit int) ([]string, error) {
	if len(nodes) == 0 {
		return nil, nil
	}
	where, args := db.Where().Eq("ready", true).In("node", nodes).SQL()
	return db.Select[string](ctx, s.db, "SELECT data_key FROM image_locations"+where+" GROUP BY data_key HAVING COUNT(*) < ? ORDER BY data_key LIMIT ?", append(args, want, limit)...)
}

// DropUnfinished forgets the copies that a node had begun when its process
// ended.
func (s *Store) DropUnfinished(ctx context.Context, node string) error {
	_, err := db.Delete(ctx, s.db, "image_locations", db.Where().Eq("node", node).Eq("ready", false))
	return err
}

// Wanted reports whether an image has the data of a key, or is getting it.
func (s *Store) Wanted(ctx context.Context, key string) (bool, error) {
	n, err := db.Count(ctx, s.db, "SELECT count(*) FROM images WHERE data_key = ? OR upload_key = ?", key, key)
	return n > 0, err
}

// HashOf is the SHA-512 of an image's data by its key; "" where it is not known.
func (s *Store) HashOf(ctx context.Context, key string) (string, error) {
	list, err := db.Select[string](ctx, s.db, "SELECT COALESCE(hash_value, '') FROM images WHERE data_key = ?", key)
	if err != nil || len(list) == 0 {
		return "", err
	}
	return list[0], nil
}

// SeeNode notes that a control node lives, and where it serves images.
func (s *Store) SeeNode(ctx context.Context, n image.Node) error {
	return db.Upsert(ctx, s.db, "image_nodes", n, "name")
}

// Nodes lists the control nodes that serve images.
func (s *Store) Nodes(ctx context.Context) ([]image.Node, error) {
	return db.Select[image.Node](ctx, s.db, "SELECT * FROM image_nodes ORDER BY name")
}

// ForgetNodes drops nodes that gave no sign of life for long, and what is known
// of their copies. One that returns after all finds its files anew.
func (s *Store) ForgetNodes(ctx context.Context, before time.Time) error {
	return s.db.Tx(ctx, func(ctx context.Context) error {
		_, err := db.Delete(ctx, s.db, "image_locations", db.Where().Raw("node IN (SELECT name FROM image_nodes WHERE seen_at < ?)", before))
		if err != nil {
			return err
		}
		_, err = db.Delete(ctx, s.db, "image_nodes", db.Where().Raw("seen_at < ?", before))
		return err
	})
}
