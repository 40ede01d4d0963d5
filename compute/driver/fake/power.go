package fake

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/fault"
)

func notRunning() error { return fault.Conflictf("The server is not running.") }

// alive reports whether the guest would have a process.
func (g *guest) alive() bool {
	return g.State == driver.StateRunning || g.State == driver.StatePaused
}

// maxConsole bounds the pretended console log, in lines.
const maxConsole = 100

// start and end change a guest that the caller has locked.
func (f *Fake) start(g *guest) error {
	g.State, g.Started = driver.StateRunning, f.conf.Now().UTC()
	g.Console = append(g.Console, fmt.Sprintf("%s login: \n", g.Spec.Hostname))
	g.Console = g.Console[max(0, len(g.Console)-maxConsole):]
	f.emit(g.Spec.ID, driver.EventStarted)
	return f.save(g)
}

func (f *Fake) end(g *guest, kind driver.EventKind) error {
	if g.State == driver.StateShutdown {
		return nil
	}
	g.State = driver.StateShutdown
	f.emit(g.Spec.ID, kind)
	return f.save(g)
}

// PowerOn implements driver.Driver.
func (f *Fake) PowerOn(ctx context.Context, id string) error {
	return f.with(ctx, "PowerOn", id, func(g *guest) error {
		if g.alive() {
			return nil
		}
		return f.start(g)
	})
}

// PowerOff implements driver.Driver.
func (f *Fake) PowerOff(ctx context.Context, id string, _ time.Duration) error {
	return f.with(ctx, "PowerOff", id, func(g *guest) error { return f.end(g, driver.EventStopped) })
}

// Reboot implements driver.Driver.
func (f *Fake) Reboot(ctx context.Context, id string, kind driver.RebootKind, _ time.Duration) error {
	return f.with(ctx, "Reboot", id, func(g *guest) error {
		if kind != driver.RebootSoft && kind != driver.RebootHard {
			return fault.Invalidf("Unknown reboot type %q.", string(kind))
		}
		if err := f.end(g, driver.EventStopped); err != nil {
			return err
		}
		return f.start(g)
	})
}

// turn moves a guest between two states and is done when it is there already.
func (f *Fake) turn(ctx context.Context, method, id string, from []driver.State, to driver.State, kind driver.EventKind) error {
	return f.with(ctx, method, id, func(g *guest) error {
		if g.State == to {
			return nil
		}
		for _, s := range from {
			if g.State == s {
				g.State = to
				f.emit(id, kind)
				return f.save(g)
			}
		}
		return notRunning()
	})
}

// Pause implements driver.Driver.
func (f *Fake) Pause(ctx context.Context, id string) error {
	return f.turn(ctx, "Pause", id, []driver.State{driver.StateRunning}, driver.StatePaused, driver.EventPaused)
}

// Unpause implements driver.Driver.
func (f *Fake) Unpause(ctx context.Context, id string) error {
	return f.turn(ctx, "Unpause", id, []driver.State{driver.StatePaused}, driver.StateRunning, driver.EventResumed)
}

// Suspend implements driver.Driver.
func (f *Fake) Suspend(ctx context.Context, id string) error {
	return f.turn(ctx, "Suspend", id, []driver.State{driver.StateRunning, driver.StatePaused}, driver.StateSuspended, driver.EventStopped)
}

// Resume implements driver.Driver.
func (f *Fake) Resume(ctx context.Context, id string) error {
	return f.turn(ctx, "Resume", id, []driver.State{driver.StateSuspended, driver.StatePaused}, driver.StateRunning, driver.EventResumed)
}

// Crash ends the guest as if its process had died.
func (f *Fake) Crash(id string) error {
	return f.with(context.Background(), "Crash", id, func(g *guest) error { return f.end(g, driver.EventCrashed) })
}

// ShutDown ends the guest as if it had powered itself off.
func (f *Fake) ShutDown(id string) error {
	return f.with(context.Background(), "ShutDown", id, func(g *guest) error { return f.end(g, driver.EventStopped) })
}

// AttachInterface implements driver.Driver.
func (f *Fake) AttachInterface(ctx context.Context, id string, v driver.VIF) error {
	if err := v.Validate(); err != nil {
		return err
	}
	return f.with(ctx, "AttachInterface", id, func(g *guest) error {
		for _, have := range g.Spec.VIFs {
			if have.PortID == v.PortID {
				return nil
			}
		}
		g.Spec.VIFs = append(g.Spec.VIFs, v)
		return f.save(g)
	})
}

// DetachInterface implements driver.Driver.
func (f *Fake) DetachInterface(ctx context.Context, id, portID string) error {
	return f.with(ctx, "DetachInterface", id, func(g *guest) error {
		for i, have := range g.Spec.VIFs {
			if have.PortID == portID {
				g.Spec.VIFs = append(g.Spec.VIFs[:i], g.Spec.VIFs[i+1:]...)
				return f.save(g)
			}
		}
		return nil
	})
}

// Snapshot implements driver.Driver. The file is a small raw image.
func (f *Fake) Snapshot(ctx context.Context, id, dst string) (string, error) {
	err := f.with(ctx, "Snapshot", id, func(*guest) error {
		out, err := os.OpenFile(filepath.Clean(dst), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fault.Wrap(fault.Internal, err, "The snapshot could not be stored.")
		}
		defer out.Close()
		if err := out.Truncate(1 << 20); err != nil {
			return fault.Wrap(fault.Internal, err, "The snapshot could not be stored.")
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return "raw", nil
}

// Resize implements driver.Driver.
func (f *Fake) Resize(ctx context.Context, id string, flavor driver.Flavor) error {
	if err := flavor.Validate(); err != nil {
		return err
	}
	return f.with(ctx, "Resize", id, func(g *guest) error {
		if g.State != driver.StateShutdown {
			return fault.Conflictf("The server must be powered off first.")
		}
		if flavor.RootGiB != 0 && flavor.RootGiB < g.Spec.Flavor.RootGiB {
			return fault.Invalidf("The root disk cannot be made smaller.")
		}
		g.Spec.Flavor = flavor
		return f.save(g)
	})
}
