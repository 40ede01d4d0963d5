package qemu

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/fault"
)

func (d *QEMU) instances() string { return filepath.Join(d.conf.State, "instances") }

// ids returns the server ids that have a directory.
func (d *QEMU) ids() ([]string, error) {
	entries, err := os.ReadDir(d.instances())
	if err != nil {
		return nil, internal(err, "The servers of the host could not be listed.")
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() && driver.ValidID(e.Name()) {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}

// switchSocket is where Open vSwitch's database listens by default.
const switchSocket = "/var/run/openvswitch/db.sock"

// switched reports whether there is a switch that could hold a guest's ports.
func (d *QEMU) switched() bool {
	path := d.conf.OVSDB
	if path == "" {
		path = switchSocket
	}
	_, err := os.Stat(path)
	return err == nil
}

// Info implements driver.Driver.
func (d *QEMU) Info(ctx context.Context, id string) (driver.Info, error) {
	if !driver.ValidID(id) {
		return driver.Info{}, fault.Missing("Server", id)
	}
	g := d.guest(id)
	def, err := g.load()
	if err != nil {
		return driver.Info{}, err
	}
	return d.info(ctx, g, def), nil
}

// List implements driver.Driver.
func (d *QEMU) List(ctx context.Context) ([]driver.Info, error) {
	ids, err := d.ids()
	if err != nil {
		return nil, err
	}
	infos := make([]driver.Info, 0, len(ids))
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		g := d.guest(id)
		def, err := g.load()
		if fault.Is(err, fault.NotFound) {
			if g.has(".") { // else destroyed meanwhile
				infos = append(infos, driver.Info{ID: id, State: d.state(ctx, g)})
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		infos = append(infos, d.info(ctx, g, def))
	}
	return infos, nil
}

func (d *QEMU) info(ctx context.Context, g *guest, def *definition) driver.Info {
	info := driver.Info{
		ID: g.id, Name: def.Spec.Name, State: d.state(ctx, g),
		VCPUs: def.Spec.Flavor.VCPUs, MemoryMiB: def.Spec.Flavor.MemoryMiB,
		ImageID: def.Spec.Image.ID, VIFs: def.Spec.VIFs,
	}
	if def.Rescue != nil {
		info.RescueID = def.Rescue.ImageID
	}
	if p := d.process(g); p != nil {
		if used, _, err := processTimes(procPath(p.pid, "stat")); err == nil {
			info.CPUTime = used.Round(time.Millisecond)
		}
	}
	return info
}
