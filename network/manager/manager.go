// Package manager is what the network service's operations do: it checks the
// rules, writes rows, and marks what the dataplane has to follow. Each
// operation is one transaction; the agent makes the dataplane equal to the
// rows afterwards.
package manager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/store"
)

// Options make a Manager.
type Options struct {
	Store     *store.Store
	Config    network.Config
	Dataplane network.Dataplane
	// Session reaches compute and identity; nil: nobody is told.
	Session *auth.Session
	// Bus, where several machines have managers, carries the hosts' reports
	// and wakes the reconciler wherever it runs; nil: it runs here.
	Bus  bus.Bus
	Host string       // of this manager, on the bus
	Log  *slog.Logger // nil: slog.Default
}

// Manager does the operations.
type Manager struct {
	store   *store.Store
	conf    network.Config
	plane   network.Dataplane
	log     *slog.Logger
	wake    chan struct{}
	tell    *notifier
	session *auth.Session
	bus     bus.Bus
	host    string
	nudge   chan struct{}
}

// New makes a manager.
func New(_ context.Context, o Options) (*Manager, error) {
	if o.Store == nil {
		return nil, errors.New("network: the manager needs a store")
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	m := &Manager{store: o.Store, conf: o.Config, plane: o.Dataplane, log: o.Log, wake: make(chan struct{}, 1), session: o.Session, bus: o.Bus, host: o.Host, nudge: make(chan struct{}, 1)}
	if o.Session != nil && o.Config.NotifyCompute {
		m.tell = newNotifier(o.Session, o.Log)
	}
	return m, nil
}

// Wake receives when rows have changed that the dataplane must follow.
func (m *Manager) Wake() <-chan struct{} { return m.wake }

// Run tells compute of ports and the other managers of changes, until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	if m.tell != nil {
		g.Go(func() error { return m.tell.run(ctx) })
	}
	g.Go(func() error { return m.wakeOthers(ctx) })
	return g.Wait()
}

// poke fills a channel of one place, if it is empty.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// wakeOthers tells the managers of other machines that rows have changed: the
// reconciler may run there. A message that is lost costs the reconciler's poll.
func (m *Manager) wakeOthers(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-m.nudge:
		}
		if m.bus == nil {
			continue
		}
		if err := m.bus.Fanout(ctx, network.TopicManager, network.MethodWake, struct{}{}); err != nil && ctx.Err() == nil {
			m.log.LogAttrs(ctx, slog.LevelDebug, "other managers were not woken", slog.String("error", err.Error()))
		}
	}
}

// Serve takes the hosts' reports from the bus until ctx ends or stop is called.
func (m *Manager) Serve(ctx context.Context) (stop func(), err error) {
	mux := &bus.Mux{}
	bus.Handle(mux, network.MethodReport, bus.Own(func(r network.HostReport) string { return r.Host }, m.Report))
	bus.Handle(mux, network.MethodWake, func(context.Context, struct{}) (struct{}, error) {
		poke(m.wake)
		return struct{}{}, nil
	})
	return m.bus.Serve(ctx, network.TopicManager, m.host, mux.Serve)
}

// Config returns the service's options.
func (m *Manager) Config() network.Config { return m.conf }

// Dataplane returns what the driver can do.
func (m *Manager) Dataplane() network.Dataplane { return m.plane }

// errAgain asks for the transaction to be run again: another one took the
// address, or the like, that this one had chosen.
var errAgain = errors.New("chosen value was taken meanwhile")

type inTx struct{}

// tx runs f in a transaction, again when a concurrent one was in the way.
// Within another one it joins that.
func (m *Manager) tx(ctx context.Context, f func(ctx context.Context) error) error {
	if ctx.Value(inTx{}) != nil {
		return f(ctx)
	}
	var err error
	for range 20 {
		err = m.store.Tx(ctx, func(ctx context.Context) error { return f(context.WithValue(ctx, inTx{}, true)) })
		if !errors.Is(err, store.ErrStale) && !errors.Is(err, errAgain) {
			return err
		}
	}
	return fault.Wrap(fault.Unavailable, err, "Too many requests change the same resource at once; try again.")
}

// Together runs several operations in one transaction.
func (m *Manager) Together(ctx context.Context, f func(ctx context.Context) error) error {
	return m.tx(ctx, f)
}

// mark notes that the dataplane must follow an object.
func (m *Manager) mark(ctx context.Context, kind string, ids ...string) error {
	for _, id := range ids {
		if err := m.store.Mark(ctx, kind, id); err != nil {
			return err
		}
	}
	m.store.AfterCommit(ctx, func() {
		poke(m.wake)
		poke(m.nudge)
	})
	return nil
}

// scope says what the caller may see: administrators, services and readers of
// the system see all; without a caller the service acts for itself.
func scope(ctx context.Context) network.Scope {
	c := auth.From(ctx)
	if c == nil {
		return network.Scope{All: true}
	}
	return network.Scope{All: c.IsAdmin() || c.HasRole("service") || c.System, ProjectID: c.Project.ID}
}

// Show returns a resource that the caller may see.
func Show[T any, P network.Row[T]](ctx context.Context, m *Manager, id string) (*T, error) {
	return store.Find[T, P](ctx, m.store, scope(ctx), id)
}

// List returns a page of what the caller may see.
func List[T any, P network.Row[T]](ctx context.Context, m *Manager, q store.Query) ([]T, error) {
	q.Scope = scope(ctx)
	return store.List[T, P](ctx, m.store, q)
}

// update changes a resource that the caller may see. f gets the row as it was
// and as it is to be; it checks, writes related tables and says whether those
// count as a change.
func update[T any, P network.Row[T]](ctx context.Context, m *Manager, id string, c network.Change, f func(ctx context.Context, old, v P) (bool, error)) (*T, error) {
	var out *T
	err := m.tx(ctx, func(ctx context.Context) error {
		old, err := store.Find[T, P](ctx, m.store, scope(ctx), id)
		if err != nil {
			return err
		}
		if err := match(P(old), c.IfMatch); err != nil {
			return err
		}
		v := *old
		if err := c.Into(&v); err != nil {
			return fmt.Errorf("apply change: %w", err)
		}
		force, err := f(ctx, old, &v)
		if err != nil {
			return err
		}
		if err := store.Update[T, P](ctx, m.store, old, &v, force); err != nil {
			return err
		}
		out, err = store.Find[T, P](ctx, m.store, scope(ctx), id)
		return err
	})
	return out, err
}

// remove deletes a resource that the caller may see; f checks and cleans up
// first.
func remove[T any, P network.Row[T]](ctx context.Context, m *Manager, id string, ifMatch int, f func(ctx context.Context, v P) error) error {
	return m.tx(ctx, func(ctx context.Context) error {
		v, err := store.Find[T, P](ctx, m.store, scope(ctx), id)
		if err != nil {
			return err
		}
		if err := match(P(v), ifMatch); err != nil {
			return err
		}
		if err := f(ctx, v); err != nil {
			return err
		}
		_, err = store.Delete[T, P](ctx, m.store, v)
		return err
	})
}

// touch counts a resource's revision up, as Neutron does for the parent of
// what changed.
func touch[T any, P network.Row[T]](ctx context.Context, m *Manager, id string) error {
	v, err := store.Get[T, P](ctx, m.store, id)
	if err != nil {
		return err
	}
	return store.Update[T, P](ctx, m.store, v, v, true)
}

func match(r network.Resource, revision int) error {
	if have := r.Std().Revision; revision != 0 && revision != have {
		return fault.New(fault.Precondition, "Constrained to %d, but current revision is %d", revision, have).WithType("RevisionNumberConstraintFailed")
	}
	return nil
}

func bad(typ, format string, args ...any) error {
	return fault.Invalidf(format, args...).WithType(typ)
}

func conflict(typ, format string, args ...any) error {
	return fault.Conflictf(format, args...).WithType(typ)
}

func invalid(format string, args ...any) error {
	return bad("InvalidInput", "Invalid input for operation: "+format, args...)
}

// Query asks for a page of resources; Scope is filled in from the caller.
type Query = store.Query
