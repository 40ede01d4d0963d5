package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/lib/qmp"
)

// migrateTime bounds writing or reading a guest's memory.
const migrateTime = time.Hour

// Suspend implements driver.Driver.
//
// memory.img appears when the memory is complete and on disk; from then on the
// guest is suspended, whether or not its process was ended yet.
func (d *QEMU) Suspend(ctx context.Context, id string) error {
	g, _, ctx, done, err := d.known(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	p := d.process(g)
	if !g.has(memoryFile) {
		if p == nil {
			return fault.Conflictf("The server is not running.")
		}
		if err := d.saveMemory(ctx, g); err != nil {
			return internal(err, "The server's memory could not be saved.")
		}
	}
	return d.kill(ctx, g)
}

// saveMemory stops the guest and migrates it into a file. When it fails the
// guest runs on.
func (d *QEMU) saveMemory(ctx context.Context, g *guest) error {
	m, err := d.connect(ctx, g)
	if err != nil {
		return err
	}
	before, err := runState(ctx, m)
	if err != nil {
		return err
	}
	err = create(g.path(memoryFile), func(part string) error {
		f, err := os.OpenFile(part, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := command(ctx, m, "stop", nil, nil); err != nil {
			return err
		}
		if err := prepareMigration(ctx, m); err != nil {
			return err
		}
		if err := m.ExecuteWithFile(ctx, f, "getfd", properties{"fdname": "memory"}, nil); err != nil {
			return err
		}
		return migrate(ctx, m, "migrate", "completed")
	})
	if err == nil || g.has(memoryFile) {
		return err
	}
	undo := context.WithoutCancel(ctx)
	undone := command(undo, m, "migrate_cancel", nil, nil)
	if before == "running" {
		undone = errors.Join(undone, command(undo, m, "cont", nil, nil))
	}
	return errors.Join(err, undone)
}

// prepareMigration turns on the events that tell the progress, and the speed
// limit off.
func prepareMigration(ctx context.Context, m *qmp.Client) error {
	err := command(ctx, m, "migrate-set-capabilities", properties{
		"capabilities": []properties{{"capability": "events", "state": true}},
	}, nil)
	if err != nil {
		return err
	}
	return command(ctx, m, "migrate-set-parameters", properties{"max-bandwidth": int64(1) << 40}, nil)
}

// migrate runs the command over the descriptor "memory" and waits for the
// status.
func migrate(ctx context.Context, m *qmp.Client, verb, want string) error {
	ctx, cancel := context.WithTimeout(ctx, migrateTime)
	defer cancel()
	sub := m.Subscribe("MIGRATION")
	defer sub.Close()
	if err := command(ctx, m, verb, properties{"uri": "fd:memory"}, nil); err != nil {
		return err
	}
	for {
		e, err := sub.Next(ctx, nil)
		if err != nil {
			return err
		}
		var data struct {
			Status string `json:"status"`
		}
		if err := e.Decode(&data); err != nil {
			return err
		}
		switch data.Status {
		case want:
			return nil
		case "failed", "cancelled":
			return fmt.Errorf("migration %s", data.Status)
		}
	}
}

// Resume implements driver.Driver.
func (d *QEMU) Resume(ctx context.Context, id string) error {
	g, def, ctx, done, err := d.known(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	return d.resume(ctx, g, def)
}

// resume loads the saved memory into a new process. memory.img goes before the
// guest takes its first step: from then on the disks no longer fit to it. A
// crash in between leaves a paused guest, which a second Resume lets go.
func (d *QEMU) resume(ctx context.Context, g *guest, def *definition) error {
	running := d.process(g) != nil
	if !running && !g.has(memoryFile) {
		return fault.Conflictf("The server is not suspended.")
	}
	if running && g.has(memoryFile) {
		// Either the old process, not yet ended, or a half-loaded new one.
		if err := d.kill(ctx, g); err != nil {
			return err
		}
		running = false
	}
	if !running {
		if err := d.loadMemory(ctx, g, def); err != nil {
			d.abort(ctx, g)
			return internal(err, "The server's memory could not be restored.")
		}
	}
	m, err := d.connect(ctx, g)
	if err == nil {
		err = command(ctx, m, "cont", nil, nil)
	}
	if err != nil {
		return internal(err, "The server could not be resumed.")
	}
	return nil
}

func (d *QEMU) loadMemory(ctx context.Context, g *guest, def *definition) error {
	f, err := os.Open(g.path(memoryFile))
	if err != nil {
		return err
	}
	defer f.Close()
	m, err := d.launch(ctx, g, def, true)
	if err != nil {
		return err
	}
	if err := prepareMigration(ctx, m); err != nil {
		return err
	}
	if err := m.ExecuteWithFile(ctx, f, "getfd", properties{"fdname": "memory"}, nil); err != nil {
		return err
	}
	if err := migrate(ctx, m, "migrate-incoming", "completed"); err != nil {
		return fmt.Errorf("%w (qemu: %s)", err, g.lastLog())
	}
	if err := os.Remove(g.path(memoryFile)); err != nil {
		return err
	}
	return driver.SyncDir(g.dir)
}
