package ovn

import (
	"context"
	"errors"
	"slices"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/lib/ovsdb"
	"github.com/tropocloud/tropo/network/driver"
)

var _ driver.Comparer = (*Driver)(nil)

// Compare implements driver.Comparer.
func (d *Driver) Compare(ctx context.Context, s driver.State) (driver.Drift, error) {
	var drift driver.Drift
	if err := d.refresh(ctx); err != nil {
		return drift, err
	}
	keep := map[driver.Object]bool{}
	for _, w := range d.objects(s) {
		keep[w.Object] = true
		if !driver.ValidID(w.ID) {
			continue
		}
		differs, err := d.differs(ctx, w.Object, w.render)
		if err != nil {
			return drift, err
		}
		if differs {
			drift.Healed = append(drift.Healed, w.Object)
		}
	}
	there, err := d.owned(ctx)
	if err != nil {
		return drift, err
	}
	for _, o := range there {
		if !keep[o] && (s.Known == nil || slices.Contains(s.Known, o)) {
			drift.Deleted = append(drift.Deleted, o)
		}
	}
	return drift, nil
}

// differs is apply without its transaction.
func (d *Driver) differs(ctx context.Context, owner driver.Object, r render) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, d.opts.Timeout)
	defer cancel()
	d.mu.Lock()
	defer d.mu.Unlock()
	differs := false
	err := d.client.View(ctx, func(v ovsdb.View) error {
		p, err := r(v)
		if p == nil {
			return err
		}
		ops, err := (&diff{view: v, owner: owner.String()}).operations(p)
		differs = len(ops) > 0
		return err
	})
	switch {
	case err == nil:
		return differs, nil
	case fault.Is(err, fault.NotFound):
		return true, nil // its container is gone, so it is too
	case fault.Is(err, fault.Invalid):
		return false, nil
	case errors.Is(err, context.Canceled):
		return false, err
	}
	return false, unavailable(err)
}
