package qemu

import (
	"context"
	"errors"
	"os"
	"strconv"

	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/fault"
)

// Resize implements driver.Driver. The disk grows first; a repeated call finds
// it grown and goes on.
func (d *QEMU) Resize(ctx context.Context, id string, f driver.Flavor) error {
	if err := f.Validate(); err != nil {
		return err
	}
	g, def, ctx, done, err := d.known(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	if err := d.stopped(g); err != nil {
		return err
	}
	if g.has(memoryFile) {
		return fault.Conflictf("The server is suspended.")
	}
	if err := growRoot(ctx, g, f.RootGiB); err != nil {
		return internal(err, "The server's root disk could not be resized.")
	}
	old := def.Spec.Flavor
	if old.EphemeralGiB > 0 {
		// It holds the guest's data in a layout that only the guest knows.
		f.EphemeralGiB = old.EphemeralGiB
	}
	if f.SwapMiB != old.SwapMiB {
		// Nothing in it outlives a power-off: it is made anew.
		if err := os.Remove(g.path(swapFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return internal(err, "The server's swap disk could not be resized.")
		}
	}
	def.Spec.Flavor = f
	if err := d.makeDisks(ctx, g, def, nil); err != nil {
		return internal(err, "The server's disks could not be made.")
	}
	return g.store(def)
}

func growRoot(ctx context.Context, g *guest, rootGiB int) error {
	if rootGiB == 0 {
		return nil // as large as the image: it is that already
	}
	have, err := virtualSize(ctx, g.path(rootFile), "qcow2")
	if err != nil {
		return err
	}
	want := int64(rootGiB) * gib
	if want < have {
		return fault.Invalidf("The root disk cannot be made smaller.")
	}
	if want == have {
		return nil
	}
	_, err = qemuImg(ctx, false, "resize", "-q", "-f", "qcow2", g.path(rootFile), strconv.FormatInt(want, 10))
	return err
}
