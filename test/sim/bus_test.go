package sim

import (
	"context"
	"time"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/fault"
)

// wire is a process's connection to the bus, on which messages and answers get
// lost or are delayed. It keeps what package bus promises: nothing is handled
// twice, and messages of one key keep their order.
type wire struct {
	p *process
	bus.Bus
}

var _ bus.Bus = wire{}

// Serve implements bus.Bus.
func (b wire) Serve(ctx context.Context, topic, host string, h bus.Handler) (func(), error) {
	served := func(ctx context.Context, method string, decode func(any) error) (any, error) {
		if b.p.dead.Load() {
			return nil, fault.Unavailablef("The process is gone.")
		}
		out, err := h(ctx, method, decode)
		if b.p.dead.Load() { // it cannot answer any more
			return nil, fault.Unavailablef("The process is gone.")
		}
		return out, err
	}
	for { // the life before may just be going
		stop, err := b.Bus.Serve(ctx, topic, host, served)
		if !fault.Is(err, fault.Conflict) {
			return stop, err
		}
		if err := sleep(ctx, time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// Call implements bus.Bus.
func (b wire) Call(ctx context.Context, t bus.Target, method string, in, out any) error {
	w := b.p.w
	if b.p.dead.Load() {
		return bus.NobodyServes(t)
	}
	ctx, cancel := context.WithTimeout(ctx, bus.CallTimeout)
	defer cancel()
	defer context.AfterFunc(b.p.ctx, cancel)()
	place := b.p.name + " " + t.String() + " " + method
	r, rates := w.dice.at("bus "+place), w.rates()
	if w.partitioned(b.p, t) {
		<-ctx.Done()
		return bus.NoAnswer(ctx, t, method)
	}
	n := r.IntN(1000)
	hit := func(permille int) bool { n -= permille; return n < 0 && n >= -permille }
	switch {
	case hit(rates.BusLose):
		w.journal.fault("lost: %s", place)
		<-ctx.Done()
		return bus.NoAnswer(ctx, t, method)
	case hit(rates.BusLoseAnswer):
		w.journal.fault("lost the answer: %s", place)
		_ = b.Bus.Call(ctx, t, method, in, nil)
		<-ctx.Done()
		return bus.NoAnswer(ctx, t, method)
	case hit(rates.BusDelay):
		if sleep(ctx, time.Duration(r.IntN(4000))*time.Millisecond) != nil {
			return bus.NoAnswer(ctx, t, method)
		}
	}
	err := b.Bus.Call(ctx, t, method, in, out)
	if w.partitioned(b.p, t) {
		<-ctx.Done()
		return bus.NoAnswer(ctx, t, method)
	}
	return err
}

// Cast implements bus.Bus.
func (b wire) Cast(ctx context.Context, t bus.Target, method string, in any) error {
	w := b.p.w
	if b.p.dead.Load() {
		return bus.NobodyServes(t)
	}
	place := b.p.name + " " + t.String() + " " + method
	r, rates := w.dice.at("cast "+place), w.rates()
	if w.partitioned(b.p, t) || r.IntN(1000) < rates.BusLose {
		w.journal.fault("lost: %s", place)
		return nil
	}
	if r.IntN(1000) < rates.BusDelay {
		if err := sleep(ctx, time.Duration(r.IntN(4000))*time.Millisecond); err != nil {
			return bus.NoAnswer(ctx, t, method)
		}
	}
	return b.Bus.Cast(ctx, t, method, in)
}
