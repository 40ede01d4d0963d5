package sim

import (
	"context"
	"net/http"
	"sync"

	computeapi "github.com/tropocloud/tropo/compute/api"
	computemanager "github.com/tropocloud/tropo/compute/manager"
	computestore "github.com/tropocloud/tropo/compute/store"
	"github.com/tropocloud/tropo/network"
	networkagent "github.com/tropocloud/tropo/network/agent"
	networkapi "github.com/tropocloud/tropo/network/api"
	networkmanager "github.com/tropocloud/tropo/network/manager"
	networkstore "github.com/tropocloud/tropo/network/store"
	placementapi "github.com/tropocloud/tropo/placement/api"
	placementmanager "github.com/tropocloud/tropo/placement/manager"
	placementstore "github.com/tropocloud/tropo/placement/store"
	"github.com/tropocloud/tropo/rest"
	"github.com/tropocloud/tropo/task"
)

// control is a machine that runs the services; now is its present process.
type control struct {
	w    *world
	name string
	mu   sync.Mutex
	now  *process
}

// start starts the process if it is not running.
func (c *control) start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now != nil && !c.now.dead.Load() {
		return nil
	}
	p := c.w.newProcess(c.name)
	mux := http.NewServeMux()
	for _, part := range []func(*process, *http.ServeMux) error{c.placement, c.network, c.compute} {
		if err := part(p, mux); err != nil {
			p.end()
			return err
		}
	}
	mux.Handle("/image/", c.w.images)
	front := &rest.InProcess{}
	front.Add("cloud", mux)
	c.w.mu.Lock()
	p.front.Store(front)
	c.now = p
	c.w.mu.Unlock()
	return nil
}

func mount(mux *http.ServeMux, path string, h http.Handler) {
	mux.Handle(path+"/", rest.Mount(path, h))
}

func (c *control) placement(p *process, mux *http.ServeMux) error {
	d := p.view("placement")
	st, err := placementstore.New(p.ctx, d)
	if err != nil {
		return err
	}
	once, err := rest.NewOnce(p.ctx, d)
	if err != nil {
		return err
	}
	m, err := placementmanager.New(p.ctx, placementmanager.Options{Store: st, Config: c.w.conf.placement})
	if err != nil {
		return err
	}
	api, err := placementapi.New(m, placementapi.Options{Validator: validator{}, Log: c.w.journal.logger(p.name), Once: once})
	if err != nil {
		return err
	}
	mount(mux, "/placement", api)
	return nil
}

func (c *control) network(p *process, mux *http.ServeMux) error {
	d := p.view("network")
	st, err := networkstore.New(p.ctx, d)
	if err != nil {
		return err
	}
	once, err := rest.NewOnce(p.ctx, d)
	if err != nil {
		return err
	}
	conf, log := c.w.conf.network, c.w.journal.logger(p.name)
	conf.Host = p.name
	m, err := networkmanager.New(p.ctx, networkmanager.Options{
		Store: st, Config: conf, Session: p.session("neutron"), Log: log, Dataplane: dataplane(), Bus: wire{p, c.w.bus}, Host: p.name,
	})
	if err != nil {
		return err
	}
	if _, err := m.Serve(p.ctx); err != nil {
		return err
	}
	api, err := networkapi.New(m, networkapi.Options{Validator: validator{}, Log: log, Once: once})
	if err != nil {
		return err
	}
	a := networkagent.New(networkagent.Options{
		Rows: st, Manager: m, Driver: c.w.plane, Wake: m.Wake(), Log: log, Domain: conf.DNSDomain, External: conf.ExternalPhysical,
	})
	p.run(m.Run)
	p.run(st.Feed().Run)
	p.run(func(ctx context.Context) error {
		return task.Exclusive(ctx, d, task.ExclusiveOptions{Name: "network agent", Owner: p.name, Log: log}, a.Run)
	})
	mount(mux, "/networking", api)
	return nil
}

func dataplane() network.Dataplane {
	return network.Dataplane{VIFType: "ovs", Bridge: "br-int", DatapathType: "system", NetworkTypes: []string{"geneve", "flat"}, PhysicalNetworks: []string{"public"}, TunnelMTU: 1442, PhysicalMTU: 1500}
}

func (c *control) compute(p *process, mux *http.ServeMux) error {
	d, log := p.view("compute"), c.w.journal.logger(p.name)
	st, err := computestore.New(p.ctx, d)
	if err != nil {
		return err
	}
	once, err := rest.NewOnce(p.ctx, d)
	if err != nil {
		return err
	}
	tasks, err := task.New(p.ctx, d, task.Options{Owner: p.name, Log: log, Hook: func(saga, step string, undo bool, when task.When) { c.hook(p, saga, step, undo, when) }})
	if err != nil {
		return err
	}
	m, err := computemanager.New(p.ctx, computemanager.Options{
		Store: st, Config: c.w.conf.compute, Tasks: tasks, Bus: wire{p, c.w.bus}, Session: p.session("nova"), Host: p.name, Log: log,
	})
	if err != nil {
		return err
	}
	if _, err := m.Serve(p.ctx); err != nil {
		return err
	}
	api, err := computeapi.New(m, computeapi.Options{Validator: validator{}, Log: log, Once: once})
	if err != nil {
		return err
	}
	p.run(tasks.Run)
	p.run(st.Feed().Run)
	mount(mux, "/compute", computeapi.V2(api))
	return nil
}

// hook kills the process beside a saga's step where the seed says so.
func (c *control) hook(p *process, saga, step string, undo bool, when task.When) {
	place := saga + "/" + step
	if undo {
		place += "/undo"
	}
	r := c.w.dice.at("hook " + p.name + " " + place + string(when))
	if r.IntN(1000) >= c.w.rates().SagaCrash || p.dead.Load() {
		return
	}
	p.kill(string(when) + " " + place)
	c.later(r.IntN(15000))
}

// later starts the process again after some milliseconds; others take its work
// over after 8 s.
func (c *control) later(ms int) {
	c.w.after(ms, func() {
		if err := c.start(); err != nil {
			c.w.t.Errorf("start %s: %v", c.name, err)
		}
	})
}
