package qemu

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/lib/qmp"
)

// qmpTimeout bounds a command that QEMU answers at once; under emulation on a
// loaded host its main loop may be late by seconds.
const qmpTimeout = 30 * time.Second

// process returns the guest's process, watched, or nil when it does not run.
func (d *QEMU) process(g *guest) *process {
	p := g.find()
	if p == nil {
		return nil
	}
	return d.adopt(g, p)
}

// adopt begins to watch p as the guest's process, unless another is watched and
// alive, which it then returns.
func (d *QEMU) adopt(g *guest, p *process) *process {
	g.mu.Lock()
	if g.proc == p || g.proc != nil && g.proc.alive() {
		current := g.proc
		g.mu.Unlock()
		if current != p {
			p.release()
		}
		return current
	}
	old := g.monitor
	g.proc, g.monitor, g.relayed, g.shutdown = p, nil, nil, false
	g.mu.Unlock()
	if old != nil {
		old.Close()
	}
	d.watch(func() { d.watchProcess(g, p) })
	d.watch(func() {
		ctx, cancel := context.WithTimeout(d.ctx, qmpTimeout)
		defer cancel()
		if _, err := d.connect(ctx, g); err != nil && p.alive() && d.ctx.Err() == nil {
			d.log.Warn("guest's monitor does not answer", slog.String("server", g.id), slog.Any("error", err))
		}
	})
	return p
}

// watchProcess tells the end of the process, as a crash unless the guest, the
// driver or an operator's QMP command announced it.
func (d *QEMU) watchProcess(g *guest, p *process) {
	stop := context.AfterFunc(d.ctx, p.release)
	ended := p.watch()
	if !stop() || !ended {
		return
	}
	p.release()
	g.mu.Lock()
	relayed := g.relayed
	g.mu.Unlock()
	if relayed != nil {
		<-relayed // the last events are still on their way
	}
	g.mu.Lock()
	kind := driver.EventCrashed
	if g.shutdown {
		kind = driver.EventStopped
	}
	var monitor *qmp.Client
	if g.proc == p {
		g.proc, monitor, g.monitor = nil, g.monitor, nil
	}
	g.mu.Unlock()
	if monitor != nil {
		monitor.Close()
	}
	d.emit(g.id, kind, time.Now())
}

// connect returns the connection to the guest's QEMU, made if needed. It fails
// with fault.Conflict when the guest does not run.
func (d *QEMU) connect(ctx context.Context, g *guest) (*qmp.Client, error) {
	g.mu.Lock()
	monitor, p := g.monitor, g.proc
	g.mu.Unlock()
	if p == nil {
		return nil, fault.Conflictf("The server is not running.")
	}
	if monitor != nil {
		select {
		case <-monitor.Done():
		default:
			return monitor, nil
		}
	}
	g.dial.Lock() // QEMU serves one connection: a second would wait for the first
	defer g.dial.Unlock()
	g.mu.Lock()
	again := g.monitor
	g.mu.Unlock()
	if again != nil && again != monitor {
		return again, nil
	}
	fresh, err := dialMonitor(ctx, g)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	if g.proc != p || d.ctx.Err() != nil {
		g.mu.Unlock()
		fresh.Close()
		return nil, fault.Conflictf("The server is not running.")
	}
	sub, relayed := fresh.Subscribe(), make(chan struct{})
	g.monitor, g.relayed = fresh, relayed
	g.mu.Unlock()
	d.watch(func() {
		defer close(relayed)
		d.relay(g, sub)
	})
	return fresh, nil
}

func dialMonitor(ctx context.Context, g *guest) (*qmp.Client, error) {
	conn, err := driver.DialUnix(ctx, g.path(qmpSocket))
	if err != nil {
		return nil, internal(err, "The server's monitor does not answer.")
	}
	c, err := qmp.New(ctx, conn)
	if err != nil {
		return nil, internal(err, "The server's monitor does not answer.")
	}
	return c, nil
}

// relay turns QEMU's events into the driver's until the connection ends.
func (d *QEMU) relay(g *guest, sub *qmp.Subscription) {
	for e := range sub.C() {
		switch e.Name {
		case "SHUTDOWN":
			g.mu.Lock()
			g.shutdown = true
			g.mu.Unlock()
		case "STOP":
			d.emit(g.id, driver.EventPaused, e.Time)
		case "RESUME":
			d.emit(g.id, driver.EventResumed, e.Time)
		case "RESET":
			d.emit(g.id, driver.EventRebooted, e.Time)
		case "GUEST_PANICKED":
			d.emit(g.id, driver.EventCrashed, e.Time)
		}
	}
}

// command runs a QMP command that QEMU answers at once.
func command(ctx context.Context, m *qmp.Client, name string, args, result any) error {
	ctx, cancel := context.WithTimeout(ctx, qmpTimeout)
	defer cancel()
	return m.Execute(ctx, name, args, result)
}

// runState asks QEMU what the guest does (QMP query-status).
func runState(ctx context.Context, m *qmp.Client) (string, error) {
	var status struct {
		Status string `json:"status"`
	}
	err := command(ctx, m, "query-status", nil, &status)
	return status.Status, err
}

// stateOf maps QEMU's RunState to the state of a guest whose process lives.
func stateOf(status string) driver.State {
	switch status {
	case "running", "watchdog":
		return driver.StateRunning
	case "shutdown":
		return driver.StateShutdown
	case "guest-panicked", "internal-error":
		return driver.StateCrashed
	}
	return driver.StatePaused
}

// state tells what the guest does now. A process that does not answer in time
// counts as running: it holds memory and disks.
func (d *QEMU) state(ctx context.Context, g *guest) driver.State {
	p := d.process(g)
	switch {
	case g.has(memoryFile):
		return driver.StateSuspended
	case p == nil && g.has(specFile):
		return driver.StateShutdown
	case p == nil:
		return driver.StateNone
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	m, err := d.connect(ctx, g)
	if err == nil {
		var status string
		if status, err = runState(ctx, m); err == nil {
			return stateOf(status)
		}
	}
	if errors.Is(err, qmp.ErrClosed) || !p.alive() {
		return driver.StateShutdown
	}
	return driver.StateRunning
}
