package manager

import (
	"context"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image"
)

// CreateImage adds a queued image: the caller sets id, owner and what a request
// may say; the rest is set here.
func (m *Manager) CreateImage(ctx context.Context, i *image.Image) error {
	if err := m.checkQuotas(i); err != nil {
		return err
	}
	i.Status = image.StatusQueued
	i.CreatedAt = db.Now()
	i.UpdatedAt = i.CreatedAt
	i.Store = m.o.Default
	i.Tags = image.Normalise(i.Tags)
	return m.store.CreateImage(ctx, i)
}

// UpdateImage replaces old by changed, what differs having been checked.
func (m *Manager) UpdateImage(ctx context.Context, old, changed *image.Image) error {
	if err := m.checkQuotas(changed); err != nil {
		return err
	}
	changed.UpdatedAt = db.Now()
	changed.Tags = image.Normalise(changed.Tags)
	return m.store.ReplaceImage(ctx, old, changed)
}

func (m *Manager) checkQuotas(i *image.Image) error {
	c := m.o.Config
	if n := len(i.Properties); c.PropertyQuota >= 0 && n > c.PropertyQuota {
		return fault.OverQuotaf("The limit has been exceeded on the number of allowed image properties. Attempted: %d, Maximum: %d", n, c.PropertyQuota)
	}
	if n := len(i.Tags); c.TagQuota >= 0 && n > c.TagQuota {
		return fault.OverQuotaf("The limit has been exceeded on the number of allowed image tags. Attempted: %d, Maximum: %d", n, c.TagQuota)
	}
	return nil
}

// DeleteImage removes an image and its data. A writer that is under way finds
// out by its lease and stops.
func (m *Manager) DeleteImage(ctx context.Context, i *image.Image) error {
	if i.Protected {
		return fault.Forbiddenf("Image %s is protected and cannot be deleted.", i.ID)
	}
	err := m.store.Tx(ctx, func(ctx context.Context) error {
		if err := m.o.Engine.Cancel(ctx, i.ID); err != nil {
			return err
		}
		return m.store.DeleteImage(ctx, i)
	})
	if err != nil {
		return err
	}
	return m.sweepLater(ctx)
}

// sweepLater deletes data now; what fails is tried again by the periodic job.
func (m *Manager) sweepLater(ctx context.Context) error {
	if err := m.sweep(context.WithoutCancel(ctx)); err != nil {
		m.o.Log.WarnContext(ctx, "image data remains to be deleted", "error", err.Error())
	}
	return nil
}

// Deactivate hides an image's data from all but admins.
func (m *Manager) Deactivate(ctx context.Context, i *image.Image) error {
	return m.toggle(ctx, i, image.StatusActive, image.StatusDeactivated)
}

// Reactivate takes back Deactivate.
func (m *Manager) Reactivate(ctx context.Context, i *image.Image) error {
	return m.toggle(ctx, i, image.StatusDeactivated, image.StatusActive)
}

func (m *Manager) toggle(ctx context.Context, i *image.Image, from, to image.Status) error {
	if i.Status == to {
		return nil
	}
	ok, err := m.store.Swap(ctx, i.ID, "", []image.Status{from}, db.Set{"status": to})
	if err == nil && !ok {
		return fault.Forbiddenf("Image %s is %s; it must be %s.", i.ID, i.Status, from)
	}
	return err
}

// AddTag puts a tag on an image.
func (m *Manager) AddTag(ctx context.Context, i *image.Image, tag string) error {
	with := *i
	with.Tags = image.Normalise(append(with.Tags, tag))
	if err := m.checkQuotas(&with); err != nil {
		return err
	}
	return m.store.AddTag(ctx, i.ID, tag)
}

// RemoveTag takes a tag off an image.
func (m *Manager) RemoveTag(ctx context.Context, i *image.Image, tag string) error {
	return m.store.RemoveTag(ctx, i.ID, tag)
}
