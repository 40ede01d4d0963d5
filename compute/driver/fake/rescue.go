package fake

import (
	"context"

	"github.com/tropocloud/tropo/compute/driver"
)

// Rescue implements driver.Driver.
func (f *Fake) Rescue(ctx context.Context, id string, r driver.Rescue) error {
	if err := r.Validate(); err != nil {
		return err
	}
	return f.with(ctx, "Rescue", id, func(g *guest) error { return f.from(g, r.Image.ID) })
}

// Unrescue implements driver.Driver.
func (f *Fake) Unrescue(ctx context.Context, id string) error {
	return f.with(ctx, "Unrescue", id, func(g *guest) error { return f.from(g, "") })
}

// from restarts the guest from an image's disk; empty: from its own.
func (f *Fake) from(g *guest, image string) error {
	if g.Rescue == image && g.State == driver.StateRunning {
		return nil
	}
	if err := f.end(g, driver.EventStopped); err != nil {
		return err
	}
	g.Rescue = image
	return f.start(g)
}
