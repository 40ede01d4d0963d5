package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tropocloud/tropo/compute/driver/qemu"
	"github.com/tropocloud/tropo/host"
	"github.com/tropocloud/tropo/network/driver/ovn/daemons"
)

// Down ends everything that Up started for a state folder, and leaves what
// the cloud keeps. It may be repeated.
func Down(ctx context.Context, dir string, progress func(string)) error {
	if _, err := os.Stat(filepath.Join(dir, "secrets.json")); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("there is no cloud in %s", dir)
	}
	state, err := OpenState(dir)
	if err != nil {
		return err
	}
	lock, err := endProcess(ctx, state, progress)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Unlock() }()
	secrets, err := state.loadSecrets("")
	if err != nil {
		return err
	}
	quiet := slog.New(slog.DiscardHandler)
	d, err := stoppedDaemons(state, secrets, quiet)
	if err != nil {
		return err
	}
	if err := endGuests(ctx, state, d, quiet, progress); err != nil {
		return err
	}
	progress("the network's daemons end")
	return d.Stop(ctx)
}

// endProcess asks the running process to stop, and returns the folder's lock.
func endProcess(ctx context.Context, state *State, progress func(string)) (*host.Lock, error) {
	asked := false
	for {
		lock, err := host.LockDir(state.Dir)
		var locked *host.LockedError
		if !errors.As(err, &locked) {
			return lock, err
		}
		if !asked {
			pid, err := strconv.Atoi(locked.Owner)
			if err != nil {
				return nil, locked
			}
			p, err := host.FindProcess(pid)
			if err != nil {
				continue // it has just ended
			}
			progress(fmt.Sprintf("process %d stops", pid))
			if err := p.Signal(unix.SIGTERM); err != nil {
				return nil, err
			}
			asked = true
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the cloud's process does not stop: %w", ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// endGuests ends every guest; its disks stay. What it was plugged into goes with
// the network's daemons, which may have ended long ago (with the machine, say).
func endGuests(ctx context.Context, state *State, d *daemons.Daemons, log *slog.Logger, progress func(string)) error {
	// Nothing is started here, so what the machine can do does not matter.
	q, err := qemu.New(ctx, qemuConfig(state, d, "tcg", log))
	if err != nil {
		return err
	}
	defer func() { _ = q.Close() }()
	guests, err := q.List(ctx)
	if err != nil {
		return err
	}
	for _, g := range guests {
		progress("guest " + g.ID + " ends")
		if err := q.End(ctx, g.ID); err != nil {
			return fmt.Errorf("end guest %s: %w", g.ID, err)
		}
	}
	return nil
}

func qemuConfig(state *State, d *daemons.Daemons, accelerator string, log *slog.Logger) qemu.Config {
	return qemu.Config{
		State: state.Path("compute"), Netns: d.Netns(), OVSDB: d.Capabilities().OVSDB, Accelerator: accelerator, Log: log,
	}
}
