package sim

import (
	"context"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/compute/agent"
	"github.com/tropocloud/tropo/compute/driver/fake"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network"
)

// machine is a host with a pretended hypervisor; its guests outlive the
// agent's process.
type machine struct {
	w      *world
	name   string
	driver *fake.Fake
	cut    atomic.Bool // off the network
	mu     sync.Mutex
	now    *process
}

func (w *world) newMachine(name string) (*machine, error) {
	h := &machine{w: w, name: name}
	var err error
	h.driver, err = fake.New(fake.Config{Hostname: name, VCPUs: 4, MemoryMiB: 4096, DiskGiB: 10, Fail: h.before})
	return h, err
}

// start starts the agent if it is not running.
func (h *machine) start() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.now != nil && !h.now.dead.Load() {
		return nil
	}
	p := h.w.newProcess(h.name)
	a, err := agent.New(p.ctx, agent.Options{
		Host: h.name, IP: "10.0.0.1", Driver: h.driver, Bus: wire{p, h.w.bus}, Session: p.session("nova"), WorkDir: filepath.Join(h.w.dir, h.name), Config: h.w.conf.compute, Log: h.w.journal.logger(h.name),
	})
	if err != nil {
		p.end()
		return err
	}
	h.now = p
	p.run(a.Run)
	p.run(func(ctx context.Context) error { h.chassis(ctx, wire{p, h.w.bus}); return nil })
	return nil
}

// chassis sends the signs of life of the host's dataplane.
func (h *machine) chassis(ctx context.Context, b bus.Bus) {
	d := dataplane()
	in := network.HostReport{Host: h.name, Connected: true, VIFType: d.VIFType, Bridge: d.Bridge, DatapathType: d.DatapathType, PhysicalNetworks: d.PhysicalNetworks, Started: time.Now()}
	for {
		cctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		_, err := bus.Do[network.HostOrders](cctx, b, bus.Target{Topic: network.TopicManager}, network.MethodReport, in)
		cancel()
		pause := 30 * time.Second
		if err != nil {
			pause = 5 * time.Second
		}
		if sleep(ctx, pause) != nil {
			return
		}
	}
}

// kill ends the agent's process.
func (h *machine) kill(why string) {
	h.mu.Lock()
	p := h.now
	h.mu.Unlock()
	if p != nil {
		p.kill(why)
	}
}

func (h *machine) later(ms int) {
	h.w.after(ms, func() {
		if err := h.start(); err != nil {
			h.w.t.Errorf("start the agent of %s: %v", h.name, err)
		}
	})
}

// before is called before each operation of the hypervisor. What a dead
// process still tries does not happen.
func (h *machine) before(ctx context.Context, method, id string) error {
	p, _ := ctx.Value(processKey{}).(*process)
	if p == nil {
		return nil // the test itself looks
	}
	if p.dead.Load() {
		return fault.Unavailablef("The process is gone.")
	}
	if method == "Host" || method == "Info" || method == "List" {
		return nil
	}
	r, rates := h.w.dice.at("driver "+h.name+" "+method), h.w.rates()
	switch n := r.IntN(1000); {
	case n < rates.DriverFail:
		h.w.journal.fault("%s on %s fails", method, h.name)
		return fault.New(fault.Internal, "The hypervisor has a bad day.")
	case n < rates.DriverFail+rates.DriverSlow:
		d := time.Duration(r.IntN(40000)) * time.Millisecond
		h.w.journal.fault("%s on %s takes %v", method, h.name, d)
		if err := sleep(ctx, d); err != nil {
			return err
		}
	case n < rates.DriverFail+rates.DriverSlow+rates.AgentCrash:
		p.kill("before " + method)
		h.later(r.IntN(15000))
	}
	if p.dead.Load() {
		return fault.Unavailablef("The process is gone.")
	}
	return nil
}

// guests are the guests with their states.
func (h *machine) guests() map[string]string {
	list, err := h.driver.List(context.Background())
	if err != nil {
		h.w.t.Errorf("list guests of %s: %v", h.name, err)
	}
	out := map[string]string{}
	for _, g := range list {
		out[g.ID] = string(g.State)
	}
	return out
}

// blackhole is what happens to a request of a machine that is cut off: there
// is no answer.
func (h *machine) blackhole(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}
