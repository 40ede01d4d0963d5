package qemu

import (
	"context"
	"errors"
	"os"

	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/fault"
)

// Destroy implements driver.Driver.
func (d *QEMU) Destroy(ctx context.Context, id string, keepDisks bool) error {
	return d.end(ctx, id, func(ctx context.Context, g *guest) error {
		if err := d.unplugAll(ctx, g); err != nil {
			return err
		}
		if keepDisks {
			return g.forgetMemory()
		}
		if err := os.RemoveAll(g.dir); err != nil {
			return internal(err, "The server's disks could not be removed.")
		}
		if err := driver.SyncDir(d.instances()); err != nil {
			return internal(err, "The server's disks could not be removed.")
		}
		d.mu.Lock()
		delete(d.guests, id)
		d.mu.Unlock()
		return nil
	})
}

// End ends a guest as Destroy does, keeps its disks, and leaves its interfaces to
// the caller, who removes the switch and all its taps after it: it needs no
// switch that runs. It may be repeated.
func (d *QEMU) End(ctx context.Context, id string) error {
	return d.end(ctx, id, func(_ context.Context, g *guest) error { return g.forgetMemory() })
}

// end ends a guest's process, whatever is being done to it, and then does what
// is left while nothing else is done to the guest.
func (d *QEMU) end(ctx context.Context, id string, then func(context.Context, *guest) error) error {
	if !driver.ValidID(id) {
		return nil // no guest has such an id
	}
	d.guest(id).preempt()
	g, ctx, done, err := d.hold(ctx, id, true)
	if err != nil {
		return err
	}
	defer done()
	if err := d.kill(ctx, g); err != nil {
		return err
	}
	return then(ctx, g)
}

func (g *guest) forgetMemory() error {
	if err := os.Remove(g.path(memoryFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return internal(err, "The server's saved memory could not be removed.")
	}
	return nil
}

// unplugAll removes the taps that the definition names and those that only the
// switch still knows.
func (d *QEMU) unplugAll(ctx context.Context, g *guest) error {
	def, err := g.load()
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if def != nil {
		for _, v := range def.Spec.VIFs {
			if err := d.plugger.Unplug(ctx, v); err != nil {
				return err
			}
		}
	}
	if !d.switched() {
		return nil
	}
	return d.plugger.UnplugServer(ctx, g.id)
}
