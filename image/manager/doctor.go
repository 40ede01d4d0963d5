package manager

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/doctor"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image"
	"github.com/tropocloud/tropo/image/driver"
)

// stuckAfter is how old the last change of an image must be before a state
// that somebody should end counts as left alone.
const stuckAfter = 2 * time.Second

// Checks are what the doctor looks for in the image service.
func (m *Manager) Checks() []doctor.Check {
	sagas := doctor.Sagas{Service: "image", Engine: m.o.Engine, Kind: "image", Exist: m.imagesExist}
	return append([]doctor.Check{
		{Name: "image-stuck", Service: "image", Find: m.findStuck, Heal: m.healStuck},
		{Name: "image-data-orphan", Service: "image", Find: m.findDataOrphans, Heal: m.healDataOrphan},
		{Name: "image-data-missing", Service: "image", Find: m.findDataMissing},
	}, sagas.Checks()...)
}

func (m *Manager) imagesExist(ctx context.Context, ids []string) (map[string]bool, error) {
	list, err := m.store.AllImages(ctx)
	out := map[string]bool{}
	for i := range list {
		out[list[i].ID] = slices.Contains(ids, list[i].ID)
	}
	return out, err
}

func (m *Manager) rows(ctx context.Context, l *doctor.Look) ([]image.Image, error) {
	return doctor.Fact(ctx, l, "image.rows", m.store.AllImages)
}

// stuck reports whether only an import's saga or a writer ends the state.
func stuck(i *image.Image) bool {
	return i.Status == image.StatusImporting || i.Status == image.StatusSaving && i.UploadOwner == ""
}

// findStuck finds images that wait for a writer or an import that is not
// there. A writer that died is seen by its lease and taken back by itself.
func (m *Manager) findStuck(ctx context.Context, l *doctor.Look) error {
	list, err := m.rows(ctx, l)
	if err != nil {
		return err
	}
	for n := range list {
		i := &list[n]
		since := db.Now().Sub(i.UpdatedAt)
		if !stuck(i) || since < stuckAfter {
			continue
		}
		active, err := m.o.Engine.Active(ctx, i.ID)
		if err != nil {
			return err
		}
		if len(active) > 0 {
			continue
		}
		l.Found(doctor.Finding{
			Kind: "image", ID: i.ID, Problem: fmt.Sprintf("%s for %s, and nothing works on it", i.Status, since.Round(time.Second)),
			Fix: "take the image back to queued and drop the half data",
		})
	}
	return nil
}

func (m *Manager) healStuck(ctx context.Context, f doctor.Finding) error {
	i, err := m.store.Image(ctx, f.ID)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	active, err := m.o.Engine.Active(ctx, i.ID)
	if err != nil || len(active) > 0 || !stuck(i) {
		return err
	}
	if i.UploadKey != "" {
		if err := m.store.AddGarbage(ctx, i.Store, i.UploadKey); err != nil {
			return err
		}
	}
	if err := m.requeue(ctx, i.ID, i.UploadKey); err != nil {
		return err
	}
	for _, name := range []string{image.PropertyImporting, image.PropertyLock} {
		if err := m.store.SetProperty(ctx, i.ID, name, ""); err != nil {
			return err
		}
	}
	return nil
}

// findDataOrphans finds data that no image has and that is not noted to be
// deleted. A key is noted before the first byte is written.
func (m *Manager) findDataOrphans(ctx context.Context, l *doctor.Look) error {
	for _, name := range slices.Sorted(maps.Keys(m.o.Drivers)) {
		keys, err := m.o.Drivers[name].Keys(ctx)
		if err != nil {
			l.Unchecked("store "+name, err)
			continue
		}
		known, err := m.known(ctx)
		if err != nil {
			return err
		}
		slices.Sort(keys)
		for _, k := range slices.Compact(keys) {
			if !known[k] {
				l.Found(doctor.Finding{Kind: "image-data", ID: name + "/" + k, Severity: doctor.Warning, Problem: "no image has this data", Fix: "delete the data"})
			}
		}
	}
	return nil
}

// known are the keys of images and of garbage.
func (m *Manager) known(ctx context.Context) (map[string]bool, error) {
	list, err := m.store.Keys(ctx)
	if err != nil {
		return nil, err
	}
	garbage, err := m.store.AllGarbage(ctx)
	known := map[string]bool{}
	for _, k := range list {
		known[k] = true
	}
	for _, g := range garbage {
		known[g.Key] = true
	}
	return known, err
}

func (m *Manager) healDataOrphan(ctx context.Context, f doctor.Finding) error {
	for name := range m.o.Drivers {
		if len(f.ID) <= len(name) || f.ID[:len(name)+1] != name+"/" {
			continue
		}
		key := f.ID[len(name)+1:]
		if known, err := m.store.Referred(ctx, key); err != nil || known {
			return err
		}
		return m.o.Drivers[name].Delete(ctx, key)
	}
	return nil
}

// findDataMissing finds images whose data is gone or is not as long as it was.
// What was lost here nobody can make again.
func (m *Manager) findDataMissing(ctx context.Context, l *doctor.Look) error {
	list, err := m.rows(ctx, l)
	if err != nil {
		return err
	}
	for n := range list {
		i := &list[n]
		if !i.HasData() || i.DataKey == "" {
			continue
		}
		d, err := m.driver(i.Store)
		if err != nil {
			l.Unchecked("store "+i.Store, err)
			continue
		}
		s, ok := d.(driver.Sizer)
		if !ok {
			continue
		}
		size, err := s.Size(ctx, i.DataKey)
		f := doctor.Finding{Kind: "image", ID: i.ID, Command: "openstack image delete " + i.ID + ", and create it anew from its source"}
		if fault.Is(err, fault.NotFound) {
			if kept, err := m.keptElsewhere(ctx, i.DataKey); err != nil || kept {
				if err != nil {
					l.Unchecked("image "+i.ID, err)
				}
				continue
			}
		}
		switch {
		case fault.Is(err, fault.NotFound):
			f.Problem = fmt.Sprintf("%s, and its data is not in the store %s", i.Status, i.Store)
		case err != nil:
			l.Unchecked("image "+i.ID, err)
			continue
		case i.Size != nil && *i.Size != size:
			f.Problem = fmt.Sprintf("has %d bytes in the store %s instead of %d", size, i.Store, *i.Size)
		default:
			continue
		}
		l.Found(f)
	}
	return nil
}
