package qemu

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/fault"
)

const (
	// askAgain is when a guest that has not reacted to its power button is
	// asked once more: one that boots does not see the first press.
	askAgain = 10 * time.Second
	// quitTime and termTime are what QEMU gets to close its disks in order
	// before the next harder means.
	quitTime = 10 * time.Second
	termTime = 5 * time.Second
	// killTime is how long the kernel may take to end a killed process.
	killTime = time.Minute
)

func now() time.Time { return time.Now().UTC() }

// PowerOn implements driver.Driver.
func (d *QEMU) PowerOn(ctx context.Context, id string) error {
	g, def, ctx, done, err := d.known(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	if g.has(memoryFile) {
		return d.resume(ctx, g, def)
	}
	if d.process(g) != nil {
		return d.goOn(ctx, g)
	}
	return d.start(ctx, g, def)
}

// PowerOff implements driver.Driver.
func (d *QEMU) PowerOff(ctx context.Context, id string, grace time.Duration) error {
	g, _, ctx, done, err := d.known(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	return d.powerOff(ctx, g, grace)
}

func (d *QEMU) powerOff(ctx context.Context, g *guest, grace time.Duration) error {
	if grace > 0 && !g.has(memoryFile) {
		if err := d.shutDown(ctx, g, grace); err != nil {
			return err
		}
	}
	if err := d.kill(ctx, g); err != nil {
		return err
	}
	if err := os.Remove(g.path(memoryFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return internal(err, "The server's saved memory could not be removed.")
	}
	return nil
}

// Reboot implements driver.Driver.
func (d *QEMU) Reboot(ctx context.Context, id string, kind driver.RebootKind, grace time.Duration) error {
	g, def, ctx, done, err := d.known(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	switch kind {
	case driver.RebootHard:
		grace = 0
	case driver.RebootSoft:
	default:
		return fault.Invalidf("Unknown reboot type %q.", string(kind))
	}
	if err := d.powerOff(ctx, g, grace); err != nil {
		return err
	}
	return d.start(ctx, g, def)
}

// shutDown presses the power button and waits up to grace for the end. Only the
// caller's own end is an error: a guest that does not react is ended by force
// afterwards.
func (d *QEMU) shutDown(ctx context.Context, g *guest, grace time.Duration) error {
	p := d.process(g)
	if p == nil {
		return nil
	}
	deadline := time.NewTimer(grace)
	defer deadline.Stop()
	again := time.NewTicker(askAgain)
	defer again.Stop()
	for {
		if !d.pressPower(ctx, g) {
			return ctx.Err()
		}
		select {
		case <-p.exited:
			return nil
		case <-deadline.C:
			return nil
		case <-again.C:
		case <-ctx.Done():
			return internal(ctx.Err(), "The server's shutdown was cut short.")
		}
	}
}

// pressPower reports whether the guest can react to its power button.
func (d *QEMU) pressPower(ctx context.Context, g *guest) bool {
	m, err := d.connect(ctx, g)
	if err != nil {
		return false
	}
	status, err := runState(ctx, m)
	if err != nil || status != "running" {
		return false
	}
	return command(ctx, m, "system_powerdown", nil, nil) == nil
}

// kill ends the process by ever harder means and returns when it is gone.
func (d *QEMU) kill(ctx context.Context, g *guest) error {
	p := d.process(g)
	if p == nil {
		return nil
	}
	g.mu.Lock()
	g.shutdown = true
	g.mu.Unlock()
	for _, step := range []struct {
		act  func() error
		wait time.Duration
	}{
		{func() error { return d.quit(ctx, g) }, quitTime},
		{func() error { return p.signal(unix.SIGTERM) }, termTime},
		{func() error { return p.signal(unix.SIGKILL) }, killTime},
	} {
		if err := step.act(); err != nil {
			continue
		}
		if waitExit(ctx, p, step.wait) {
			return nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	if !p.alive() {
		return nil
	}
	return internal(errors.Join(errors.New("the process does not end"), ctx.Err()), "The server could not be stopped.")
}

// quit lets QEMU close its disks and end.
func (d *QEMU) quit(ctx context.Context, g *guest) error {
	ctx, cancel := context.WithTimeout(ctx, quitTime)
	defer cancel()
	m, err := d.connect(ctx, g)
	if err != nil {
		return err
	}
	err = m.Execute(ctx, "quit", nil, nil)
	if errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil // a closed connection is what quit is for
}

func waitExit(ctx context.Context, p *process, limit time.Duration) bool {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-p.exited:
		return true
	case <-t.C:
		return false
	case <-ctx.Done():
		return !p.alive()
	}
}

// Pause implements driver.Driver.
func (d *QEMU) Pause(ctx context.Context, id string) error {
	return d.toggle(ctx, id, "stop")
}

// Unpause implements driver.Driver.
func (d *QEMU) Unpause(ctx context.Context, id string) error {
	return d.toggle(ctx, id, "cont")
}

func (d *QEMU) toggle(ctx context.Context, id, verb string) error {
	g, _, ctx, done, err := d.known(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	if d.process(g) == nil || g.has(memoryFile) {
		return fault.Conflictf("The server is not running.")
	}
	m, err := d.connect(ctx, g)
	if err == nil {
		err = command(ctx, m, verb, nil, nil)
	}
	if err != nil {
		return internal(err, "The server could not be paused or unpaused.")
	}
	return nil
}
