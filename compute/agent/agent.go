// Package agent is the part of the compute service that runs beside a
// hypervisor: it takes the manager's messages, fetches images, drives a driver,
// and reports what the host has and what its guests do.
//
// It has no database. It keeps nothing that the driver's files and the
// manager's rows do not hold, so it may be ended and started at any time.
package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/fault"
)

// Options make an agent.
type Options struct {
	Host    string // this host's name among all agents
	IP      string // address of the host in the management network
	Driver  driver.Driver
	Bus     bus.Bus
	Session *auth.Session
	// Cache and Inspect are needed unless the driver needs no images. Inspect
	// judges a fetched file before any tool opens it.
	Cache   *driver.ImageCache
	Inspect func(path string) (driver.Inspection, error)
	// WorkDir holds files for a while, such as snapshots on their way to the
	// image service.
	WorkDir string
	// BootID changes whenever the machine starts; empty: the kernel's.
	BootID string
	Config compute.Config
	Log    *slog.Logger
}

// Agent is the agent of one host.
type Agent struct {
	o    Options
	host driver.Host
	boot string

	nudge chan struct{} // the guests shall be looked at now

	mu      sync.Mutex
	running map[string]map[int]context.CancelFunc // long calls by server
	next    int
	told    map[string]compute.GuestInfo // what the manager knows of guests
	looks   int                          // since all guests were told
	all     bool                         // the next look tells all guests
	clock   int                          // counts spawns
	spawned map[string]int               // when guests were made, by clock
	strays  []driver.Stray               // as last seen
	// restarted: not all guests were compared since the agent started, so
	// that some may wait to be started.
	restarted bool
}

// New makes an agent over a driver that works.
func New(ctx context.Context, o Options) (*Agent, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	h, err := o.Driver.Host(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the driver about the host: %w", err)
	}
	if h.NeedsImage && (o.Cache == nil || o.Inspect == nil) {
		return nil, errors.New("the driver needs images: the agent needs an image cache and an inspector")
	}
	if o.WorkDir != "" {
		if err := cleanDir(o.WorkDir); err != nil {
			return nil, err
		}
	}
	boot := o.BootID
	if boot == "" {
		boot = bootID()
	}
	return &Agent{
		o: o, host: h, boot: boot, restarted: true, nudge: make(chan struct{}, 1), running: map[string]map[int]context.CancelFunc{},
		told: map[string]compute.GuestInfo{}, spawned: map[string]int{},
	}, nil
}

// cleanDir makes dir and removes what an earlier agent left in it.
func cleanDir(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.MkdirAll(dir, 0o700)
}

// bootID changes whenever the machine starts; without one guests are never
// taken for victims of a restart.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// Run serves the manager's messages and reports until ctx ends. It begins by
// asking which of the guests that it finds shall be there.
func (a *Agent) Run(ctx context.Context) error {
	a.settle(ctx)
	if ctx.Err() != nil {
		return nil
	}
	stop, err := a.o.Bus.Serve(ctx, compute.TopicAgent, a.o.Host, a.mux().Serve)
	if err != nil {
		return fmt.Errorf("serve the agent of %s: %w", a.o.Host, err)
	}
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { a.reportLoop(ctx) })
	wg.Go(func() { a.eventLoop(ctx) })
	wg.Go(func() { a.syncLoop(ctx) })
	wg.Wait()
	return nil
}

func (a *Agent) mux() *bus.Mux {
	m := &bus.Mux{}
	bus.Handle(m, compute.MethodFetch, a.fetchImage)
	bus.Handle(m, compute.MethodSpawn, a.spawn)
	bus.Handle(m, compute.MethodCancel, a.cancel)
	bus.Handle(m, compute.MethodDestroy, a.destroy)
	bus.Handle(m, compute.MethodPower, a.power)
	bus.Handle(m, compute.MethodConsole, a.consoleOutput)
	bus.Handle(m, compute.MethodDiagnostics, a.diagnostics)
	bus.Handle(m, compute.MethodAttach, a.attachInterface)
	bus.Handle(m, compute.MethodDetach, a.detachInterface)
	bus.Handle(m, compute.MethodSnapshot, a.snapshot)
	bus.Handle(m, compute.MethodResize, a.resize)
	bus.Handle(m, compute.MethodRescue, a.rescue)
	bus.Handle(m, compute.MethodUnrescue, a.unrescue)
	a.handleFacts(m)
	return m
}

// cancellable returns a context that cancel ends, for calls that take long.
func (a *Agent) cancellable(ctx context.Context, serverID string) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.next++
	n := a.next
	if a.running[serverID] == nil {
		a.running[serverID] = map[int]context.CancelFunc{}
	}
	a.running[serverID][n] = func() { cancel(errDeleted) }
	return ctx, func() {
		cancel(nil)
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.running[serverID], n)
		if len(a.running[serverID]) == 0 {
			delete(a.running, serverID)
		}
	}
}

// cancel ends the long calls for a server that is to be deleted.
func (a *Agent) cancel(_ context.Context, in compute.GuestRequest) (struct{}, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.running[in.ServerID] {
		c()
	}
	return struct{}{}, nil
}

// errDeleted is why cancel ends a call.
var errDeleted = errors.New("the server is being deleted")

// gone turns a call that cancel ended into a fault, which is final. One that ended
// with the agent is tried again.
func gone(ctx context.Context, err error) error {
	switch {
	case err == nil || !errors.Is(ctx.Err(), context.Canceled):
		return err
	case errors.Is(context.Cause(ctx), errDeleted):
		return fault.Wrap(fault.Conflict, err, "The server is being deleted.")
	}
	return fault.Wrap(fault.Unavailable, err, "The host is being stopped.")
}

func (a *Agent) info(ctx context.Context, id string) (compute.GuestInfo, error) {
	i, err := a.o.Driver.Info(ctx, id)
	if fault.Is(err, fault.NotFound) {
		return compute.GuestInfo{ServerID: id}, nil
	}
	if err != nil {
		return compute.GuestInfo{}, err
	}
	return guestInfo(i), nil
}

func guestInfo(i driver.Info) compute.GuestInfo {
	return compute.GuestInfo{ServerID: i.ID, PowerState: i.State.PowerState(), Exists: i.State != driver.StateNone}
}

// wait sleeps for d and reports whether ctx still lives.
func wait(ctx context.Context, d time.Duration, early <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-early:
	case <-t.C:
	}
	return true
}

var _ io.Writer = (*hashWriter)(nil)
