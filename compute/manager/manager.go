// Package manager is what the compute service does: one file per operation.
// Work of more than one step is a saga of package task, begun in the
// transaction that writes what was asked for.
package manager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/scheduler"
	"github.com/tropocloud/tropo/compute/store"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/task"
)

// Options make a manager.
type Options struct {
	Store   *store.Store
	Config  compute.Config
	Tasks   *task.Engine // over the store's database; run by the caller after New
	Bus     bus.Bus
	Session *auth.Session
	Host    string // name of this control host in os-services
	Log     *slog.Logger
}

// Manager does the operations of the compute service. It is safe for
// concurrent use.
type Manager struct {
	store   *store.Store
	conf    compute.Config
	tasks   *task.Engine
	bus     bus.Bus
	session *auth.Session
	sched   *scheduler.Scheduler
	host    string
	log     *slog.Logger

	provider sync.Mutex // one inventory update at a time
	healed   string     // where healPorts goes on; used by that job alone
	doubts   sync.Map   // hosts that did not answer
}

// New makes the manager and registers its sagas and periodic jobs.
func New(_ context.Context, o Options) (*Manager, error) {
	if o.Store == nil || o.Tasks == nil || o.Bus == nil || o.Session == nil {
		return nil, errors.New("the compute manager needs a store, an engine, a bus and a session")
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Host == "" {
		o.Host = "control"
	}
	sched, err := scheduler.New(&o.Config)
	if err != nil {
		return nil, fmt.Errorf("compute: %w", err)
	}
	m := &Manager{store: o.Store, conf: o.Config, tasks: o.Tasks, bus: o.Bus, session: o.Session, sched: sched, host: o.Host, log: o.Log}
	m.registerBuild()
	m.registerDelete()
	m.registerPower()
	m.registerRebuild()
	m.registerEvacuate()
	m.registerRescue()
	m.registerResize()
	m.registerSnapshot()
	m.registerShelve()
	m.registerInterface()
	m.registerJobs()
	return m, nil
}

func (m *Manager) registerJobs() {
	m.tasks.EveryHere("compute heartbeat", m.conf.ReportInterval, m.heartbeat)
	m.tasks.Every("compute heal ports", m.conf.HealInterval, m.healPorts)
	m.tasks.Every("compute history", time.Hour, func(ctx context.Context) error {
		before := db.Now().AddDate(0, 0, -m.conf.HistoryDays)
		return m.store.TrimHistory(ctx, before, m.conf.HistoryMax)
	})
	if m.conf.Reclaim > 0 {
		m.tasks.Every("compute reclaim", max(time.Second, min(m.conf.Reclaim/10, time.Minute)), m.reclaim)
	}
}

// Serve answers agents until ctx ends or stop is called.
func (m *Manager) Serve(ctx context.Context) (stop func(), err error) {
	mux := &bus.Mux{}
	bus.Handle(mux, compute.MethodBeat, bus.Own(func(in compute.Beat) string { return in.Host }, m.agentBeat))
	bus.Handle(mux, compute.MethodReport, bus.Own(func(in compute.Report) string { return in.Host }, m.agentReport))
	bus.Handle(mux, compute.MethodOrder, bus.Own(func(in compute.Order) string { return in.Host }, m.agentOrder))
	bus.Handle(mux, compute.MethodGuests, bus.Own(func(in compute.GuestsReport) string { return in.Host }, m.agentGuests))
	if err := m.heartbeat(ctx); err != nil {
		return nil, err
	}
	return m.bus.Serve(ctx, compute.TopicManager, m.host, mux.Serve)
}

// heartbeat shows that this process lives.
func (m *Manager) heartbeat(ctx context.Context) error {
	now := db.Now()
	for _, b := range []string{compute.BinaryConductor, compute.BinaryScheduler} {
		if err := m.store.Seen(ctx, m.host, b, now); err != nil {
			return err
		}
	}
	return nil
}

// Config are the options in force.
func (m *Manager) Config() *compute.Config { return &m.conf }

func (m *Manager) notify(ctx context.Context, event string, s *compute.Server) {
	if err := bus.Tell(ctx, m.bus, event, compute.EventOf(s)); err != nil {
		m.log.LogAttrs(ctx, slog.LevelInfo, "a notification was not sent", slog.String("event", event), slog.String("error", err.Error()))
	}
}
