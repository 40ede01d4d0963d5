// Package manager does what the image API offers: an operation a file.
package manager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/singleflight"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image"
	"github.com/tropocloud/tropo/image/driver"
	"github.com/tropocloud/tropo/image/store"
	"github.com/tropocloud/tropo/lib/outbound"
	"github.com/tropocloud/tropo/task"
)

// How a writer's lease is kept, and how often dead ones are looked for.
const (
	beatEvery    = 10 * time.Second
	beatStale    = time.Minute
	recoverEvery = 15 * time.Second
	sweepLimit   = 1000
)

// Options make a Manager.
type Options struct {
	Store   *store.Store
	Drivers map[string]driver.Driver // by name of the store
	Default string                   // the store of new data
	Config  image.Config
	Engine  *task.Engine
	// Host names the machine; it is the same after a restart.
	Host string
	// Replicas say how data gets to other control nodes; nil: this is the
	// only one.
	Replicas *Replicas
	Log      *slog.Logger // nil: slog.Default
}

// Manager performs the operations. It is safe for concurrent use.
type Manager struct {
	o      Options
	store  *store.Store
	self   string // host and incarnation: the owner of uploads
	client *http.Client
	policy outbound.Policy
	copies singleflight.Group // copies of keys that are being made here
}

// New checks the options, registers the sagas and periodic jobs on the engine,
// and takes back what earlier incarnations on this host left half done.
func New(ctx context.Context, o Options) (*Manager, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Drivers[o.Default] == nil {
		return nil, fmt.Errorf("the default image store %q is not configured", o.Default)
	}
	m := &Manager{o: o, store: o.Store, self: o.Host + "/" + uuid.NewString()}
	f := o.Config.Import
	m.policy = outbound.Policy{Schemes: f.AllowedSchemes, Ports: f.AllowedPorts, Hosts: f.AllowedHosts, Blocked: f.BlockedHosts}
	for _, n := range f.AllowedNets {
		p, err := netip.ParsePrefix(n)
		if err != nil {
			return nil, fmt.Errorf("allowed_networks: %w", err)
		}
		m.policy.Networks = append(m.policy.Networks, p)
	}
	m.client = outbound.Client(m.policy, f.Timeout)
	m.register(o.Engine)
	if err := m.store.KnowResourceTypes(ctx, image.ResourceTypes()); err != nil {
		return nil, err
	}
	if o.Replicas != nil {
		if err := m.store.DropUnfinished(ctx, o.Host); err != nil {
			return nil, err
		}
	}
	if err := m.Recover(ctx); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *Manager) register(e *task.Engine) {
	task.Register(e, m.importSaga())
	e.EveryHere("image-recover", recoverEvery, m.Recover)
	e.Every("image-task-expiry", time.Hour, m.expireTasks)
}

// Config returns the options of the service.
func (m *Manager) Config() image.Config { return m.o.Config }

// Stores names the stores, the default first.
func (m *Manager) Stores() []string {
	names := []string{m.o.Default}
	for n := range m.o.Drivers {
		if n != m.o.Default {
			names = append(names, n)
		}
	}
	return names
}

func (m *Manager) driver(name string) (driver.Driver, error) {
	d := m.o.Drivers[name]
	if d == nil {
		return nil, fault.Unavailablef("The image store %s is not configured.", name)
	}
	return d, nil
}

// Recover brings images whose writer died back to queued, and deletes data
// that belongs to no image. It runs periodically.
func (m *Manager) Recover(ctx context.Context) error {
	dead, err := m.store.DeadUploads(ctx, m.o.Host, m.self, time.Now().Add(-beatStale), sweepLimit)
	if err != nil {
		return err
	}
	for _, i := range dead {
		if err := m.requeue(ctx, i.ID, i.UploadKey); err != nil {
			return err
		}
		m.o.Log.LogAttrs(ctx, slog.LevelInfo, "took back an unfinished upload", slog.String("image", i.ID))
	}
	return m.sweep(ctx)
}

// sweep deletes data that belongs to no image.
func (m *Manager) sweep(ctx context.Context) error {
	list, err := m.store.Garbages(ctx, sweepLimit)
	if err != nil {
		return err
	}
	var errs []error
	for _, g := range list {
		d, err := m.driver(g.Store)
		if err == nil {
			err = d.Delete(ctx, g.Key)
		}
		if err == nil {
			err = m.swept(ctx, g.Key)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Host names the machine.
func (m *Manager) Host() string { return m.o.Host }
