// Package qemu drives guests by QEMU directly: one process per guest, spoken to
// over QMP, that outlives the agent.
//
// Everything known about a guest lives in <State>/instances/<server id>/:
//
//	spec.json      the definition, written before anything else
//	root.qcow2     the root disk, an overlay on the cached image
//	ephemeral.raw  swap.raw  config.iso
//	memory.img     the saved memory; there while the guest is suspended
//	qemu.pid  qmp.sock  serial.sock  vnc.sock  qemu.log
//	console.log  console.log.1   what the guest wrote to its serial port
//
// A process belongs to a guest when it is a QEMU that runs in the guest's
// directory and carries its server id; signals go through a pidfd that was
// opened before that check, so a recycled pid is never hit.
package qemu

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/compute/driver/vif"
	"github.com/tropocloud/tropo/fault"
)

// Config says how to run guests on this host.
type Config struct {
	// State is the directory that holds instances/ and images-cache/.
	State string
	// Hostname is reported as the hypervisor's; empty: the host's own.
	Hostname string
	// Netns names the network namespace that guests run in; empty: the
	// current one.
	Netns string
	// OVSDB is the unix socket of Open vSwitch's database; empty: the
	// default of ovs-vsctl.
	OVSDB string
	// Binary is QEMU's program; empty: "qemu-system-x86_64".
	Binary string
	// Accelerator is "kvm" or "tcg"; empty: kvm if a probe guest really runs
	// with it, else tcg.
	Accelerator string
	// CPUModel is QEMU's processor model; empty: "host" with kvm, "qemu64"
	// with tcg.
	CPUModel string
	// Log takes what no caller waits for; nil: slog.Default.
	Log *slog.Logger
}

// QEMU is the driver. Make it with New.
type QEMU struct {
	conf     Config
	machine  machine
	plugger  *vif.Plugger
	log      *slog.Logger
	events   chan driver.Event
	ctx      context.Context // ends with Close
	stop     context.CancelFunc
	watchers sync.WaitGroup

	mu     sync.Mutex
	guests map[string]*guest
	closed bool
}

var _ driver.Driver = (*QEMU)(nil)

// New opens the driver over conf.State, probes what QEMU can do here and finds
// the guests that run already. The context bounds this start only.
func New(ctx context.Context, conf Config) (*QEMU, error) {
	if conf.Binary == "" {
		conf.Binary = "qemu-system-x86_64"
	}
	if conf.Log == nil {
		conf.Log = slog.Default()
	}
	if err := os.MkdirAll(filepath.Join(conf.State, "instances"), 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	state, err := filepath.Abs(conf.State)
	if err == nil {
		state, err = filepath.EvalSymlinks(state) // as /proc shows it
	}
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	conf.State = state
	d := &QEMU{
		conf: conf, plugger: &vif.Plugger{OVSDB: conf.OVSDB, Netns: conf.Netns},
		log: conf.Log, events: make(chan driver.Event, 256), guests: map[string]*guest{},
	}
	if d.machine, err = d.probe(ctx); err != nil {
		return nil, err
	}
	d.ctx, d.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := d.recover(ctx); err != nil {
		d.Close()
		return nil, err
	}
	d.watch(d.trimConsoles)
	return d, nil
}

// ImageCacheDir is where the agent keeps images for this driver.
func (d *QEMU) ImageCacheDir() string { return filepath.Join(d.conf.State, "images-cache") }

// Events implements driver.Driver.
func (d *QEMU) Events() <-chan driver.Event { return d.events }

// Close implements driver.Driver.
func (d *QEMU) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	guests := make([]*guest, 0, len(d.guests))
	for _, g := range d.guests {
		guests = append(guests, g)
	}
	d.mu.Unlock()
	d.stop()
	for _, g := range guests {
		g.release()
	}
	d.watchers.Wait()
	close(d.events)
	return nil
}

// recover takes up the guests that run, so that their ends are noticed.
func (d *QEMU) recover(ctx context.Context) error {
	ids, err := d.ids()
	if err != nil {
		return err
	}
	for _, id := range ids {
		g := d.guest(id)
		if err := g.sweep(); err != nil {
			return fmt.Errorf("server %s: %w", id, err)
		}
		if p := g.find(); p != nil {
			d.adopt(g, p)
		}
	}
	return ctx.Err()
}

// sweep removes files that an interrupted call did not finish.
func (g *guest) sweep() error {
	parts, err := filepath.Glob(g.path("*.part*"))
	for _, f := range parts {
		err = errors.Join(err, os.Remove(f))
	}
	return err
}

// emit tells an event to whoever listens; nobody waits for a slow listener.
func (d *QEMU) emit(id string, kind driver.EventKind, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	select {
	case d.events <- driver.Event{ServerID: id, Kind: kind, Time: at.UTC()}:
	default:
	}
}

// watch runs f until the driver closes, which waits for it.
func (d *QEMU) watch(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.watchers.Go(f)
	}
}

// guest returns the handle of a server id, which must be valid.
func (d *QEMU) guest(id string) *guest {
	d.mu.Lock()
	defer d.mu.Unlock()
	g, ok := d.guests[id]
	if !ok {
		g = newGuest(id, filepath.Join(d.conf.State, "instances", id))
		d.guests[id] = g
	}
	return g
}

// hold makes the caller the only one that changes this guest until it calls the
// returned function. The returned context ends early when a Destroy wants the
// guest, unless the caller is firm, or when the driver closes.
func (d *QEMU) hold(ctx context.Context, id string, firm bool) (*guest, context.Context, func(), error) {
	if !driver.ValidID(id) {
		return nil, nil, nil, fault.Missing("Server", id)
	}
	for {
		g := d.guest(id)
		held, done, err := g.lock(ctx, firm)
		if err != nil {
			return nil, nil, nil, internal(err, "The server is busy.")
		}
		d.mu.Lock()
		current, closed := d.guests[id] == g, d.closed
		d.mu.Unlock()
		if closed {
			done()
			return nil, nil, nil, fault.Unavailablef("The hypervisor driver is stopping.")
		}
		if current {
			held, cancel := context.WithCancel(held)
			stop := context.AfterFunc(d.ctx, cancel)
			return g, held, func() { stop(); cancel(); done() }, nil
		}
		done() // destroyed while waiting: take the new handle
	}
}

// known is hold for guests that have a definition.
func (d *QEMU) known(ctx context.Context, id string) (*guest, *definition, context.Context, func(), error) {
	g, ctx, done, err := d.hold(ctx, id, false)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	def, err := g.load()
	if err != nil {
		done()
		return nil, nil, nil, nil, err
	}
	return g, def, ctx, done, nil
}
