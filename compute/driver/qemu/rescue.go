package qemu

import (
	"context"
	"errors"
	"os"
	"strconv"

	"github.com/tropocloud/tropo/compute/driver"
)

// Rescue implements driver.Driver. The definition is written before the guest
// starts, so that a repeated call, or a power operation, goes on with it.
func (d *QEMU) Rescue(ctx context.Context, id string, r driver.Rescue) error {
	if err := r.Validate(); err != nil {
		return err
	}
	g, def, ctx, done, err := d.known(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	if def.Rescue != nil && def.Rescue.ImageID == r.Image.ID && d.process(g) != nil {
		return d.goOn(ctx, g)
	}
	next := &rescue{ImageID: r.Image.ID, Kernel: r.Kernel, Ramdisk: r.Ramdisk, KernelArgs: r.KernelArgs}
	if next.Base, next.BaseFormat, err = d.base(ctx, r.Image); err != nil {
		return internal(err, "The image could not be prepared.")
	}
	if err := d.powerOff(ctx, g, 0); err != nil {
		return err
	}
	if err := dropRescue(g); err != nil {
		return err
	}
	if err := makeRescue(ctx, g, next); err != nil {
		return internal(err, "The disk to rescue the server with could not be made.")
	}
	def.Rescue = next
	if err := g.store(def); err != nil {
		return err
	}
	return d.start(ctx, g, def)
}

func makeRescue(ctx context.Context, g *guest, r *rescue) error {
	if r.BaseFormat == isoFormat {
		return nil
	}
	size, args := int64(gib), []string{"create", "-q", "-f", "qcow2"}
	if r.Base != "" {
		var err error
		if size, err = virtualSize(ctx, r.Base, r.BaseFormat); err != nil {
			return err
		}
		args = append(args, "-b", r.Base, "-F", r.BaseFormat)
	}
	return create(g.path(rescueFile), func(part string) error {
		_, err := qemuImg(ctx, false, append(args, part, strconv.FormatInt(size, 10))...)
		return err
	})
}

func dropRescue(g *guest) error {
	if err := os.Remove(g.path(rescueFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return internal(err, "The disk that the server was rescued with could not be removed.")
	}
	return nil
}

// Unrescue implements driver.Driver.
func (d *QEMU) Unrescue(ctx context.Context, id string) error {
	g, def, ctx, done, err := d.known(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	if def.Rescue == nil && d.process(g) != nil {
		return d.goOn(ctx, g)
	}
	if def.Rescue != nil {
		if err := d.powerOff(ctx, g, 0); err != nil {
			return err
		}
		def.Rescue = nil
		if err := g.store(def); err != nil {
			return err
		}
	}
	if err := dropRescue(g); err != nil {
		return err
	}
	return d.start(ctx, g, def)
}
