package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/lib/qmp"
)

// guest is the handle of one server id: its lock and, while its process runs,
// the connection to it. All else is in files.
type guest struct {
	id, dir string
	turn    chan struct{} // holds one token; whoever has it may change the guest
	dial    sync.Mutex    // held while connecting to the monitor

	mu       sync.Mutex
	cancel   context.CancelFunc // of the call that has the turn
	proc     *process
	monitor  *qmp.Client
	relayed  chan struct{} // closed when all events of monitor were handled
	shutdown bool          // the running process said that it is going down
}

func newGuest(id, dir string) *guest {
	g := &guest{id: id, dir: dir, turn: make(chan struct{}, 1)}
	g.turn <- struct{}{}
	return g
}

// lock waits for the turn. A firm holder is not cancelled by preempt.
func (g *guest) lock(ctx context.Context, firm bool) (context.Context, func(), error) {
	select {
	case <-g.turn:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	ctx, cancel := context.WithCancel(ctx)
	g.mu.Lock()
	g.cancel = cancel
	if firm {
		g.cancel = nil
	}
	g.mu.Unlock()
	return ctx, func() {
		cancel()
		g.turn <- struct{}{}
	}, nil
}

// preempt cancels the call that has the turn.
func (g *guest) preempt() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cancel != nil {
		g.cancel()
	}
}

// release lets go of the process without touching it.
func (g *guest) release() {
	g.mu.Lock()
	monitor := g.monitor
	g.monitor, g.proc = nil, nil
	g.mu.Unlock()
	if monitor != nil {
		monitor.Close()
	}
}

func (g *guest) path(name string) string { return filepath.Join(g.dir, name) }

// Names of a guest's files.
const (
	specFile      = "spec.json"
	rootFile      = "root.qcow2"
	rescueFile    = "rescue.qcow2"
	ephemeralFile = "ephemeral.raw"
	swapFile      = "swap.raw"
	configFile    = "config.iso"
	memoryFile    = "memory.img"
	pidFile       = "qemu.pid"
	logFile       = "qemu.log"
	qmpSocket     = "qmp.sock"
	serialSocket  = "serial.sock"
	vncSocket     = "vnc.sock"
	consoleFile   = "console.log"
	consoleOld    = "console.log.1"
)

// definition is what is stored of a guest, enough to start it again.
type definition struct {
	Spec driver.Spec
	// ConfigDrive tells that config.iso belongs to the guest; its content is
	// not repeated in the definition.
	ConfigDrive bool
	// Base is the image's file that the root disk lies on, with its format;
	// empty: none. For an ISO image it is the CD to boot.
	Base, BaseFormat string
	// Rescue is what the guest boots from while it is rescued; nil: it is not.
	Rescue *rescue
	// RootPorts is how many PCI Express ports the machine has for interfaces;
	// Slots says which of them each port id uses. Both stay as they are for
	// the life of the guest: saved memory fits no other machine.
	RootPorts int
	Slots     map[string]int
}

// rescue is a disk to boot from beside the guest's own.
type rescue struct {
	ImageID                     string
	Base, BaseFormat            string
	Kernel, Ramdisk, KernelArgs string
}

// isoFormat is the format of images that boot as a CD.
const isoFormat = "iso"

// spareRootPorts is how many interfaces can be added to a running guest.
const spareRootPorts = 8

// maxRootPorts is what the four PCI slots reserved for them hold.
const maxRootPorts = 32

func newDefinition(s driver.Spec) (*definition, error) {
	def := &definition{
		Spec: s, ConfigDrive: len(s.ConfigDrive) > 0, Slots: map[string]int{},
		RootPorts: min(len(s.VIFs)+spareRootPorts, maxRootPorts),
	}
	def.Spec.ConfigDrive = nil
	def.Spec.VIFs = nil
	for _, v := range s.VIFs {
		if err := def.addVIF(v); err != nil {
			return nil, err
		}
	}
	return def, nil
}

// addVIF gives v a free slot; an interface of the same port keeps its own.
func (def *definition) addVIF(v driver.VIF) error {
	if _, ok := def.Slots[v.PortID]; ok {
		return nil
	}
	used := map[int]bool{}
	for _, slot := range def.Slots {
		used[slot] = true
	}
	for slot := range def.RootPorts {
		if !used[slot] {
			def.Slots[v.PortID] = slot
			def.Spec.VIFs = append(def.Spec.VIFs, v)
			return nil
		}
	}
	return fault.Conflictf("The server has no room for another interface.")
}

func (def *definition) vif(portID string) (driver.VIF, bool) {
	for _, v := range def.Spec.VIFs {
		if v.PortID == portID {
			return v, true
		}
	}
	return driver.VIF{}, false
}

func (def *definition) removeVIF(portID string) {
	delete(def.Slots, portID)
	kept := def.Spec.VIFs[:0]
	for _, v := range def.Spec.VIFs {
		if v.PortID != portID {
			kept = append(kept, v)
		}
	}
	def.Spec.VIFs = kept
}

// load reads the definition; a guest without one is not found.
func (g *guest) load() (*definition, error) {
	text, err := os.ReadFile(g.path(specFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Missing("Server", g.id)
	}
	if err != nil {
		return nil, internal(err, "The server's definition could not be read.")
	}
	var def definition
	if err := json.Unmarshal(text, &def); err != nil {
		return nil, internal(err, "The server's definition could not be read.")
	}
	return &def, nil
}

func (g *guest) store(def *definition) error {
	text, err := json.MarshalIndent(def, "", "\t")
	if err != nil {
		return internal(err, "The server's definition could not be stored.")
	}
	if err := driver.WriteFile(g.path(specFile), text, 0o600); err != nil {
		return internal(err, "The server's definition could not be stored.")
	}
	return nil
}

// has reports whether the guest's directory holds the file.
func (g *guest) has(name string) bool {
	_, err := os.Lstat(g.path(name))
	return err == nil
}

// internal keeps a fault as it is and hides any other cause, which may name
// files of the host, behind the message.
func internal(err error, message string) error {
	if _, ok := fault.As(err); ok {
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fault.Wrap(fault.Unavailable, err, "%s", message)
	}
	return fault.Wrap(fault.Internal, err, "%s", message)
}
