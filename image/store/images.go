package store

import (
	"context"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/feed"
	"github.com/tropocloud/tropo/image"
)

// CreateImage adds an image with its properties and tags. An id that is taken
// is fault.Conflict.
func (s *Store) CreateImage(ctx context.Context, i *image.Image) error {
	return s.db.Tx(ctx, func(ctx context.Context) error {
		if err := db.Insert(ctx, s.db, "images", i); err != nil {
			if db.IsUnique(err) {
				return fault.Conflictf("Image ID %s already exists!", i.ID)
			}
			return err
		}
		if err := s.writeDetails(ctx, i); err != nil {
			return err
		}
		return s.tell(ctx, i.ID, feed.Create)
	})
}

type property struct {
	ImageID string `db:"image_id"`
	Name    string `db:"name"`
	Value   string `db:"text_value"`
}

type tag struct {
	ImageID string `db:"image_id"`
	Tag     string `db:"tag"`
}

func (s *Store) writeDetails(ctx context.Context, i *image.Image) error {
	for name, value := range i.Properties {
		if err := db.Insert(ctx, s.db, "image_properties", property{i.ID, name, value}); err != nil {
			return err
		}
	}
	for _, t := range i.Tags {
		if err := db.Insert(ctx, s.db, "image_tags", tag{i.ID, t}); err != nil {
			return err
		}
	}
	return nil
}

// Image returns an image with its properties and tags.
func (s *Store) Image(ctx context.Context, id string) (*image.Image, error) {
	i, err := db.Get[image.Image](ctx, s.db, "SELECT "+db.Columns[image.Image]("")+" FROM images WHERE id = ?", id)
	if i, err = found(i, err, missingImage(id)); err != nil {
		return nil, err
	}
	list := []image.Image{*i}
	if err := s.readDetails(ctx, list); err != nil {
		return nil, err
	}
	return &list[0], nil
}

// readDetails fills in properties and tags, in two queries.
func (s *Store) readDetails(ctx context.Context, list []image.Image) error {
	if len(list) == 0 {
		return nil
	}
	ids := make([]string, len(list))
	at := map[string]*image.Image{}
	for n := range list {
		ids[n] = list[n].ID
		list[n].Properties, list[n].Tags = map[string]string{}, []string{}
		at[ids[n]] = &list[n]
	}
	where, args := db.Where().In("image_id", ids).SQL()
	props, err := db.Select[property](ctx, s.db, "SELECT image_id, name, text_value FROM image_properties"+where, args...)
	if err != nil {
		return err
	}
	for _, p := range props {
		at[p.ImageID].Properties[p.Name] = p.Value
	}
	tags, err := db.Select[tag](ctx, s.db, "SELECT image_id, tag FROM image_tags"+where+" ORDER BY tag", args...)
	if err != nil {
		return err
	}
	for _, t := range tags {
		at[t.ImageID].Tags = append(at[t.ImageID].Tags, t.Tag)
	}
	return nil
}

// ReplaceImage writes what requests may change of i, its properties and tags.
// It fails with fault.Conflict when the row's status or time of change is no
// longer that of old.
func (s *Store) ReplaceImage(ctx context.Context, old, i *image.Image) error {
	return s.db.Tx(ctx, func(ctx context.Context) error {
		n, err := db.Update(ctx, s.db, "images", db.Set{
			"name": i.Name, "visibility": i.Visibility, "owner_id": i.Owner, "disk_format": i.DiskFormat,
			"container_format": i.ContainerFormat, "min_disk": i.MinDisk, "min_ram": i.MinRAM, "protected": i.Protected,
			"hidden": i.Hidden, "updated_at": i.UpdatedAt,
		}, db.ByID(i.ID).Eq("status", old.Status).Eq("updated_at", old.UpdatedAt))
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.Conflictf("Image %s was changed by another request; try again.", i.ID)
		}
		for _, table := range []string{"image_properties", "image_tags"} {
			if _, err := db.Delete(ctx, s.db, table, db.Where().Eq("image_id", i.ID)); err != nil {
				return err
			}
		}
		if err := s.writeDetails(ctx, i); err != nil {
			return err
		}
		return s.tell(ctx, i.ID, feed.Update)
	})
}

// AddTag puts a tag on an image, once.
func (s *Store) AddTag(ctx context.Context, id, name string) error {
	return db.Upsert(ctx, s.db, "image_tags", tag{id, name}, "image_id", "tag")
}

// RemoveTag takes a tag off an image; one that it does not have is NotFound.
func (s *Store) RemoveTag(ctx context.Context, id, name string) error {
	n, err := db.Delete(ctx, s.db, "image_tags", db.Where().Eq("image_id", id).Eq("tag", name))
	if err == nil && n == 0 {
		return fault.New(fault.NotFound, "The tag %s was not found on image %s.", name, id)
	}
	return err
}

// SetProperty writes one property of the service's own, or removes it where
// value is empty.
func (s *Store) SetProperty(ctx context.Context, id, name, value string) error {
	if value == "" {
		_, err := db.Delete(ctx, s.db, "image_properties", db.Where().Eq("image_id", id).Eq("name", name))
		return err
	}
	return db.Upsert(ctx, s.db, "image_properties", property{id, name, value}, "image_id", "name")
}

// Swap changes an image's columns if its status is one of from (and, where
// key is not empty, its upload key is that one); false if it is not so any
// more.
func (s *Store) Swap(ctx context.Context, id, key string, from []image.Status, set db.Set) (bool, error) {
	set["updated_at"] = db.Now()
	w := db.ByID(id).In("status", from)
	if key != "" {
		w.Eq("upload_key", key)
	}
	return s.swap(ctx, id, set, w)
}

func (s *Store) swap(ctx context.Context, id string, set db.Set, w *db.Cond) (bool, error) {
	changed := false
	err := s.db.Tx(ctx, func(ctx context.Context) error {
		n, err := db.Update(ctx, s.db, "images", set, w)
		if changed = n > 0; err != nil || !changed {
			return err
		}
		return s.tell(ctx, id, feed.Update)
	})
	return changed && err == nil, err
}

// Activate is Swap for an image whose data was compared with its disk format:
// it also fails when the image declares another one by now.
func (s *Store) Activate(ctx context.Context, i *image.Image, key string, from image.Status, set db.Set) (bool, error) {
	set["updated_at"] = db.Now()
	return s.swap(ctx, i.ID, set, db.ByID(i.ID).Eq("status", from).Eq("upload_key", key).Eq("disk_format", i.Format()))
}

// DeleteImage removes an image and leaves its data to be collected. It is
// fault.Conflict if the image was changed since i was read.
func (s *Store) DeleteImage(ctx context.Context, i *image.Image) error {
	return s.db.Tx(ctx, func(ctx context.Context) error {
		n, err := db.Delete(ctx, s.db, "images", db.ByID(i.ID).Eq("protected", false).Eq("data_key", i.DataKey).Eq("upload_key", i.UploadKey))
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.Conflictf("Image %s was changed by another request; try again.", i.ID)
		}
		if err := s.feed.Record(ctx, i.Owner, "image", i.ID, feed.Delete, ""); err != nil {
			return err
		}
		for _, table := range []string{"image_properties", "image_tags", "image_members"} { // MySQL knows no inline REFERENCES
			if _, err := db.Delete(ctx, s.db, table, db.Where().Eq("image_id", i.ID)); err != nil {
				return err
			}
		}
		for _, key := range []string{i.DataKey, i.UploadKey} {
			if key == "" {
				continue
			}
			if err := s.AddGarbage(ctx, i.Store, key); err != nil {
				return err
			}
		}
		return nil
	})
}

// Usage sums the data of a project: bytes of its images, and of what is
// staged. except is an image that is left out.
func (s *Store) Usage(ctx context.Context, owner, except string) (total, staging int64, images, uploading int, err error) {
	type row struct {
		Status image.Status `db:"status"`
		Bytes  int64        `db:"total"`
		Count  int          `db:"n"`
	}
	rows, err := db.Select[row](ctx, s.db,
		"SELECT status, CAST(COALESCE(SUM(size_bytes), 0) AS DECIMAL(30)) AS total, COUNT(*) AS n FROM images WHERE owner_id = ? AND id <> ? GROUP BY status", owner, except)
	for _, r := range rows {
		images += r.Count
		switch r.Status {
		case image.StatusUploading, image.StatusImporting:
			staging += r.Bytes
			uploading += r.Count
		case image.StatusSaving:
			uploading += r.Count
		}
		total += r.Bytes
	}
	return total, staging, images, uploading, err
}
