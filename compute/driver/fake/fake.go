// Package fake is a hypervisor that only pretends: its guests are entries of a
// table that change state at once. Simulated hosts run the real agent on it, a
// thousand in one process, and tests of the control plane break it on purpose.
package fake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/fault"
)

// Config describes the pretended host. Zero sizes get defaults.
type Config struct {
	// Dir keeps the guests in files, so that they survive the agent; empty:
	// in memory only.
	Dir       string
	Hostname  string
	VCPUs     int // 0: 16
	MemoryMiB int // 0: 65536
	DiskGiB   int // 0: 1000
	// Fail is asked before every operation, by the name of the method; its
	// error is the operation's. It may block until the context ends.
	Fail func(ctx context.Context, method, serverID string) error
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Fake is the driver. Make it with New.
type Fake struct {
	conf   Config
	events chan driver.Event

	mu     sync.Mutex
	guests map[string]*guest
	strays []driver.Stray
	closed bool
}

var _ driver.Driver = (*Fake)(nil)

// guest is what is remembered of one; the field names are the file format.
type guest struct {
	Spec    driver.Spec
	State   driver.State
	Started time.Time
	Console []string
	Rescue  string // the image that it is rescued with
}

// New makes the host, with the guests that conf.Dir holds.
func New(conf Config) (*Fake, error) {
	if conf.Hostname == "" {
		conf.Hostname = "fake"
	}
	if conf.VCPUs == 0 {
		conf.VCPUs = 16
	}
	if conf.MemoryMiB == 0 {
		conf.MemoryMiB = 64 << 10
	}
	if conf.DiskGiB == 0 {
		conf.DiskGiB = 1000
	}
	if conf.Now == nil {
		conf.Now = time.Now
	}
	f := &Fake{conf: conf, events: make(chan driver.Event, 256), guests: map[string]*guest{}}
	if conf.Dir == "" {
		return f, nil
	}
	if err := os.MkdirAll(conf.Dir, 0o700); err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(conf.Dir, "*.json"))
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var g guest
		if err := json.Unmarshal(text, &g); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		f.guests[g.Spec.ID] = &g
	}
	return f, nil
}

// Host implements driver.Driver.
func (f *Fake) Host(ctx context.Context) (driver.Host, error) {
	if err := f.before(ctx, "Host", ""); err != nil {
		return driver.Host{}, err
	}
	return driver.Host{
		Hostname: f.conf.Hostname, HypervisorType: "fake", HypervisorVersion: 1000,
		VCPUs: f.conf.VCPUs, MemoryMiB: f.conf.MemoryMiB, DiskGiB: f.conf.DiskGiB, FreeDiskGiB: f.conf.DiskGiB,
		CPU:          driver.CPU{Arch: "x86_64", Model: "fake", Vendor: "fake", Sockets: 1, Cores: f.conf.VCPUs, Threads: 1},
		Traits:       []string{"COMPUTE_IMAGE_TYPE_RAW", "COMPUTE_IMAGE_TYPE_QCOW2", "COMPUTE_NODE"},
		ImageFormats: []string{"raw", "qcow2", "iso", "vmdk", "vdi", "vhd", "vhdx", "ami"},
	}, nil
}

// Spawn implements driver.Driver.
func (f *Fake) Spawn(ctx context.Context, s driver.Spec) error {
	if err := s.Validate(); err != nil {
		return err
	}
	if err := f.before(ctx, "Spawn", s.ID); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if g, ok := f.guests[s.ID]; ok && g.State != driver.StateShutdown {
		return nil
	}
	s.VIFs = append([]driver.VIF(nil), s.VIFs...)
	g := &guest{Spec: s}
	f.guests[s.ID] = g
	return f.start(g)
}

// Destroy implements driver.Driver.
func (f *Fake) Destroy(ctx context.Context, id string, keepDisks bool) error {
	if err := f.before(ctx, "Destroy", id); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	g, ok := f.guests[id]
	if !ok {
		return nil
	}
	if keepDisks {
		return f.end(g, driver.EventStopped)
	}
	if f.conf.Dir != "" {
		if err := os.Remove(f.file(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fault.Wrap(fault.Internal, err, "The server could not be removed.")
		}
	}
	delete(f.guests, id)
	if g.State != driver.StateShutdown {
		f.emit(id, driver.EventStopped)
	}
	return nil
}

// Info implements driver.Driver.
func (f *Fake) Info(ctx context.Context, id string) (driver.Info, error) {
	var info driver.Info
	err := f.with(ctx, "Info", id, func(g *guest) error {
		info = g.info()
		return nil
	})
	return info, err
}

// List implements driver.Driver.
func (f *Fake) List(ctx context.Context) ([]driver.Info, error) {
	if err := f.before(ctx, "List", ""); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	infos := make([]driver.Info, 0, len(f.guests))
	for _, g := range f.guests {
		infos = append(infos, g.info())
	}
	sort.Slice(infos, func(i, j int) bool { return infos[i].ID < infos[j].ID })
	return infos, nil
}

func (g *guest) info() driver.Info {
	return driver.Info{
		ID: g.Spec.ID, Name: g.Spec.Name, State: g.State, VCPUs: g.Spec.Flavor.VCPUs,
		MemoryMiB: g.Spec.Flavor.MemoryMiB, ImageID: g.Spec.Image.ID, RescueID: g.Rescue, VIFs: append([]driver.VIF(nil), g.Spec.VIFs...),
	}
}

// ConsoleOutput implements driver.Driver.
func (f *Fake) ConsoleOutput(ctx context.Context, id string, lines int) ([]byte, error) {
	var out string
	err := f.with(ctx, "ConsoleOutput", id, func(g *guest) error {
		all := g.Console
		if lines > 0 && lines < len(all) {
			all = all[len(all)-lines:]
		}
		out = strings.Join(all, "")
		return nil
	})
	return []byte(out), err
}

// Console implements driver.Driver; nobody listens at the address.
func (f *Fake) Console(ctx context.Context, id string) (driver.Console, error) {
	var c driver.Console
	err := f.with(ctx, "Console", id, func(g *guest) error {
		if !g.alive() {
			return notRunning()
		}
		c = driver.Console{VNC: filepath.Join(f.conf.Dir, id+".vnc"), Serial: filepath.Join(f.conf.Dir, id+".serial")}
		return nil
	})
	return c, err
}

// Diagnostics implements driver.Driver.
func (f *Fake) Diagnostics(ctx context.Context, id string) (driver.Diagnostics, error) {
	var diag driver.Diagnostics
	err := f.with(ctx, "Diagnostics", id, func(g *guest) error {
		if !g.alive() {
			return notRunning()
		}
		diag = driver.Diagnostics{
			State: g.State, Driver: "fake", Hypervisor: "fake", HypervisorOS: "fake",
			Uptime: f.conf.Now().Sub(g.Started), ConfigDrive: len(g.Spec.ConfigDrive) > 0,
			MemoryMaxMiB: g.Spec.Flavor.MemoryMiB, MemoryUsedMiB: g.Spec.Flavor.MemoryMiB,
			Disks: []driver.DiskDiagnostics{{Device: "vda"}},
		}
		for i := range g.Spec.Flavor.VCPUs {
			diag.CPUs = append(diag.CPUs, driver.CPUDiagnostics{ID: i, Time: diag.Uptime})
		}
		for _, v := range g.Spec.VIFs {
			diag.NICs = append(diag.NICs, driver.NICDiagnostics{MAC: v.MAC})
		}
		return nil
	})
	return diag, err
}

// Events implements driver.Driver.
func (f *Fake) Events() <-chan driver.Event { return f.events }

// Close implements driver.Driver.
func (f *Fake) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.closed = true
		close(f.events)
	}
	return nil
}

// before lets the test refuse the operation.
func (f *Fake) before(ctx context.Context, method, id string) error {
	if f.conf.Fail != nil {
		if err := f.conf.Fail(ctx, method, id); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return fault.Unavailablef("The hypervisor driver is stopping.")
	}
	return nil
}

// with runs an operation on a guest that exists.
func (f *Fake) with(ctx context.Context, method, id string, do func(*guest) error) error {
	if err := f.before(ctx, method, id); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	g, ok := f.guests[id]
	if !ok {
		return fault.Missing("Server", id)
	}
	return do(g)
}

// save writes the guest down; the caller holds the lock.
func (f *Fake) save(g *guest) error {
	if f.conf.Dir == "" {
		return nil
	}
	text, err := json.Marshal(g)
	if err != nil {
		return fault.Wrap(fault.Internal, err, "The server could not be stored.")
	}
	if err := driver.WriteFile(f.file(g.Spec.ID), text, 0o600); err != nil {
		return fault.Wrap(fault.Internal, err, "The server could not be stored.")
	}
	return nil
}

func (f *Fake) file(id string) string { return filepath.Join(f.conf.Dir, id+".json") }

func (f *Fake) emit(id string, kind driver.EventKind) {
	if f.closed {
		return
	}
	select {
	case f.events <- driver.Event{ServerID: id, Kind: kind, Time: f.conf.Now().UTC()}:
	default:
	}
}
