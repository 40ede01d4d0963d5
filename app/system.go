package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/bus"
	clustermanager "github.com/tropocloud/tropo/cluster/manager"
	"github.com/tropocloud/tropo/cluster/pki"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/doctor"
	"github.com/tropocloud/tropo/host"
	"github.com/tropocloud/tropo/obs"
	"github.com/tropocloud/tropo/rest"
	"github.com/tropocloud/tropo/task"
)

// Options start a cloud.
type Options struct {
	StateDir      string
	Listen        []string // as listenSpec reads them
	AdminPassword string   // for a new cloud; empty: random
	Config        Config
	Log           *slog.Logger
	Progress      func(string) // what happens, for a person
	Version       string
}

// System is a running cloud: what its parts share and their common life.
type System struct {
	o       Options
	state   *State
	secrets *Secrets
	host    string // name of this machine among the cloud's
	member  member
	place   *place // what is known of the cloud's other nodes; nil: there are none
	common  string
	own     map[string]string

	log       *slog.Logger
	bus       bus.Bus
	metrics   *obs.Metrics
	tracing   *obs.Tracing
	health    *obs.Health
	transport *rest.InProcess
	turns     *db.DB                  // orders the starts of control nodes; nil: there is one
	nodes     *clustermanager.Manager // on control nodes of a cloud of many
	identity  *pki.Identity           // this node's certificate; nil: none
	front     *front
	sessions  map[string]*auth.Session
	plane     *dataplane
	doctor    *doctor.Engine

	mu     sync.Mutex
	caches []*auth.Cache
	sagas  []string // SAGA/STEP of every registered saga

	up       atomic.Bool // every part has started
	checked  atomic.Pointer[checked]
	checking singleflight.Group

	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
	stops  []func() error
}

// Up starts all parts and runs until ctx ends or a part fails. ready is called
// when every API answers. As long as its database is out of reach it waits.
func Up(ctx context.Context, o Options, ready func(*System)) (err error) {
	state, err := OpenState(o.StateDir)
	if err != nil {
		return err
	}
	lock, err := host.LockDir(state.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	var s *System
	return patiently(ctx, o.Log, func(line string) { s.say(line) }, func() error {
		s = &System{o: o, state: state, log: o.Log, front: &front{}, transport: &rest.InProcess{}, sessions: map[string]*auth.Session{}}
		return s.run(ctx, ready)
	}, func() bool { return s.up.Load() })
}

// run is the life of a system.
func (s *System) run(ctx context.Context, ready func(*System)) (err error) {
	o := &s.o
	if s.host = o.Config.Host; s.host == "" {
		if s.host, err = os.Hostname(); err != nil {
			return err
		}
	}
	if s.member, err = s.newMember(); err != nil {
		return err
	}
	if s.common, s.own, err = listenSpec(o.Listen, s.defaultListen()); err != nil {
		return err
	}
	if s.secrets, err = s.state.loadSecrets(o.AdminPassword); err != nil {
		return err
	}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	s.front.check = s.ready
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.share(); err != nil {
		return err
	}
	sorted, err := order(table)
	if err != nil {
		return err
	}
	for _, p := range sorted {
		if !p.on(s.member.Node) {
			continue
		}
		begin := time.Now()
		if err := s.start(p); err != nil {
			if s.ctx.Err() != nil {
				return context.Cause(s.ctx)
			}
			return fmt.Errorf("start %s: %w", p.name, err)
		}
		s.say(fmt.Sprintf("%-12s %6.0f ms", p.name, time.Since(begin).Seconds()*1000))
	}
	if !s.agentOnly() {
		if err := s.state.WriteClients(s.public("identity")+"/v3", s.secrets.Admin); err != nil {
			return err
		}
	}
	s.up.Store(true)
	if ready != nil {
		ready(s)
	}
	<-s.ctx.Done()
	if cause := context.Cause(s.ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// start brings a part up; services one control node after the other, as each
// migrates its database and makes what a new cloud begins with.
func (s *System) start(p part) error {
	if s.turns == nil || !slices.Equal(p.roles, controls) {
		return p.start(s.ctx, s)
	}
	return s.turns.Alone(s.ctx, "start "+p.name, func(context.Context) error { return p.start(s.ctx, s) })
}

// share makes what all parts use.
func (s *System) share() error {
	s.metrics = obs.NewMetrics(s.o.Version)
	s.health = &obs.Health{}
	var err error
	s.tracing, err = obs.NewTracing(obs.TracingOptions{Endpoint: s.o.Config.Tracing.Endpoint, Service: "tropo", Version: s.o.Version})
	if err != nil {
		return err
	}
	s.onStop(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return s.tracing.Shutdown(ctx)
	})
	if err := s.openCluster(); err != nil {
		return err
	}
	if err := s.connect(); err != nil {
		return err
	}
	if !s.agentOnly() {
		s.transport.Add(s.common, s.front)
		if _, err := s.serve(s.common, newLobby(s.ctx, s.front)); err != nil {
			return err
		}
	}
	s.newDoctor()
	admin := http.NewServeMux()
	admin.HandleFunc("/doctor", s.serveDoctor)
	admin.Handle("/metrics", s.metrics.Handler())
	admin.HandleFunc("/sagas", s.listSagas)
	admin.Handle("/", s.health.Handler())
	if err := s.serveCluster(admin); err != nil {
		return err
	}
	return s.serveUnix(s.state.adminSocket(s.secrets.CloudID), admin)
}

// Go runs f until it returns or the system stops; an error ends the system.
func (s *System) Go(name string, f func(ctx context.Context) error) {
	s.wg.Go(func() {
		if err := f(s.ctx); err != nil && s.ctx.Err() == nil {
			s.cancel(fmt.Errorf("%s: %w", name, err))
		}
	})
}

func (s *System) onStop(f func() error) { s.stops = append(s.stops, f) }

// stop ends everything in the reverse order of its start.
func (s *System) stop() error {
	s.cancel(nil)
	s.wg.Wait()
	var err error
	for i := len(s.stops) - 1; i >= 0; i-- {
		err = errors.Join(err, s.stops[i]())
	}
	return err
}

func (s *System) say(line string) {
	if s.o.Progress != nil {
		s.o.Progress(line)
	}
}

// openDB opens a service's own database: a file of the state folder, or what
// the configuration names ("%s" in it stands for the service).
func (s *System) openDB(ctx context.Context, service string) (*db.DB, error) {
	d, err := db.Open(ctx, s.databaseURL(service))
	if err != nil {
		return nil, err
	}
	s.onStop(d.Close)
	s.health.Add("database "+service, d.Ping)
	return d, nil
}

func (s *System) databaseURL(service string) string {
	if c := s.o.Config.Database.Connection; c != "" {
		return strings.ReplaceAll(c, "%s", service)
	}
	return "sqlite:" + s.state.Path("db", service+".db")
}

// engine makes a service's saga engine; run it with runEngine after the
// manager has registered its sagas.
func (s *System) engine(ctx context.Context, service string, d *db.DB) (*task.Engine, error) {
	return task.New(ctx, d, task.Options{Owner: s.host, Log: s.log.With("service", service), Hook: crashHook(os.Getenv("TROPO_CRASH_AT"))})
}

func (s *System) runEngine(service string, e *task.Engine) {
	s.mu.Lock()
	for _, st := range e.Steps() {
		s.sagas = append(s.sagas, st.Saga+"/"+st.Step)
	}
	s.mu.Unlock()
	s.Go("sagas of "+service, e.Run)
}

// session is how a service calls the others.
func (s *System) session(user string) *auth.Session {
	if have := s.sessions[user]; have != nil {
		return have
	}
	o := auth.SessionOptions{
		AuthURL: s.endpoint("identity") + "/v3", Username: user, Transport: s.transport, Endpoints: s.endpointOf,
		Password: func() string { return s.secrets.Services[user] },
	}
	if s.agentOnly() { // it has one user of its own, whatever it does
		o.Username, o.Password = s.member.User, func() string { return s.place.now().Password }
	}
	n := auth.NewSession(o)
	s.sessions[user] = n
	return n
}

// validator checks tokens for a service through the identity API, cached.
func (s *System) validator(user string) auth.Validator {
	c := auth.NewCache(auth.NewRemote(s.session(user)), 0)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.caches = append(s.caches, c)
	return c
}

// flush makes every service ask identity again about the tokens it knows.
func (s *System) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.caches {
		c.Flush()
	}
}

// listSagas answers with the names of all sagas' steps.
func (s *System) listSagas(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = json.NewEncoder(w).Encode(s.sagas)
}

// publish makes a service answer at its place, and at a listener of its own
// where one was asked for.
func (s *System) publish(service string, h http.Handler) error {
	s.front.set(service, h)
	addr, ok := s.own[service]
	if !ok {
		return nil
	}
	s.transport.Add(addr, h)
	_, err := s.serve(addr, h)
	return err
}

// Serves reports whether this machine answers APIs: it is a control node.
func (s *System) Serves() bool { return !s.agentOnly() }
