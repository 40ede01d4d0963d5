// Package chassis is the network service's part on a host that has a switch:
// it tells the managers that the host lives and what it can do, serves
// metadata to the host's guests, and follows what the managers answer. It
// needs no database of the service: who its guests are it reads in the
// dataplane's.
package chassis

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/driver/ovn"
)

// Switch is the host's switch.
type Switch interface {
	// Connected says whether the controller speaks with the cloud's database.
	Connected(ctx context.Context) bool
	// SetProviderAddresses gives the host exactly these addresses on the
	// provider bridge.
	SetProviderAddresses(ctx context.Context, list []netip.Prefix) error
}

// Guests tells which networks have guests here.
type Guests interface {
	// MetadataPorts are those of the networks with guests on this host.
	MetadataPorts(ctx context.Context) ([]ovn.MetadataPort, error)
	// Changed is closed when they may have changed since.
	Changed() <-chan struct{}
}

// Metadata serves the metadata service in networks. All calls are idempotent.
type Metadata interface {
	Ensure(ctx context.Context, p ovn.MetadataPort) error
	Remove(ctx context.Context, networkID string) error
	// Sync serves exactly these networks.
	Sync(ctx context.Context, ports []ovn.MetadataPort) error
}

// Options make an Agent.
type Options struct {
	// Report is what each heartbeat tells; Connected and Metadata are filled
	// in.
	Report   network.HostReport
	Bus      bus.Bus
	Switch   Switch
	Guests   Guests
	Metadata Metadata
	Log      *slog.Logger // nil: slog.Default
}

// Agent serves a host.
type Agent struct {
	o   Options
	log *slog.Logger

	served map[string]ovn.MetadataPort // by network; nil: not known
	reads  chan bool                   // whether the guests could be read
}

// New makes an agent.
func New(o Options) *Agent {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	o.Report.Started = time.Now()
	return &Agent{o: o, log: o.Log, reads: make(chan bool, 1)}
}

const (
	heartbeat = 30 * time.Second
	// hurry is the time between heartbeats while something is amiss.
	hurry = 2 * time.Second
	// gather is how long more changes are waited for.
	gather = 20 * time.Millisecond
	// whole is the time between looks at everything that is served.
	whole    = 5 * time.Minute
	callTime = 30 * time.Second // of one call
)

// Begin sends the first heartbeats, until one tells that ports can come up here
// or ctx ends: from then on the host can be used.
func (a *Agent) Begin(ctx context.Context) {
	for pause := 100 * time.Millisecond; !a.beat(ctx, true); pause = min(2*pause, time.Second) {
		if sleep(ctx, pause) != nil {
			return
		}
	}
}

// Run works until ctx ends.
func (a *Agent) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.beats(ctx) })
	g.Go(func() error { return a.serve(ctx) })
	return g.Wait()
}

// beats sends heartbeats, about every 30 s as many hosts do.
func (a *Agent) beats(ctx context.Context) error {
	reads := true
	for {
		next := heartbeat
		if !a.beat(ctx, reads) {
			next = hurry
		}
		t := time.NewTimer(next*4/5 + rand.N(next*2/5)) //nolint:gosec // jitter is no secret
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case reads = <-a.reads:
		case <-t.C:
		}
		t.Stop()
	}
}

// beat sends one and reports whether all is well.
func (a *Agent) beat(ctx context.Context, reads bool) bool {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	r := a.o.Report
	r.Connected, r.Metadata = a.o.Switch.Connected(ctx), reads
	orders, err := bus.Do[network.HostOrders](ctx, a.o.Bus, bus.Target{Topic: network.TopicManager}, network.MethodReport, r)
	if err == nil && r.HostLink {
		err = a.provide(ctx, orders.Provider)
	}
	if err != nil && ctx.Err() == nil {
		a.log.LogAttrs(ctx, slog.LevelWarn, "heartbeat failed", slog.String("error", err.Error()))
	}
	return err == nil && r.Connected && reads
}

func (a *Agent) provide(ctx context.Context, texts []string) error {
	var list []netip.Prefix
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return err
		}
		list = append(list, p)
	}
	return a.o.Switch.SetProviderAddresses(ctx, list)
}

// serve keeps the metadata service where guests are.
func (a *Agent) serve(ctx context.Context) error {
	last := time.Time{}
	for try := 0; ; {
		changed := a.o.Guests.Changed()
		err := a.follow(ctx, time.Since(last) > whole)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			a.log.LogAttrs(ctx, slog.LevelWarn, "metadata does not follow the guests yet", slog.String("error", err.Error()))
			a.served = nil // half done: a look at everything tells
			a.tell(false)
			if err := sleep(ctx, min(10*time.Second, 200*time.Millisecond<<min(try, 10))); err != nil {
				return err
			}
			try++
			continue
		}
		if try > 0 {
			a.tell(true)
		}
		try = 0
		if time.Since(last) > whole {
			last = time.Now()
		}
		t := time.NewTimer(whole)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		case <-changed:
			if err := sleep(ctx, gather); err != nil {
				return err
			}
		}
		t.Stop()
	}
}

// tell notes for the heartbeats whether guests can be served.
func (a *Agent) tell(reads bool) {
	select {
	case <-a.reads:
	default:
	}
	a.reads <- reads
}

// follow serves the networks with guests: those that changed, or all of them.
func (a *Agent) follow(ctx context.Context, all bool) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	ports, err := a.o.Guests.MetadataPorts(ctx)
	if err != nil {
		return err
	}
	wanted := map[string]ovn.MetadataPort{}
	for _, p := range ports {
		wanted[p.NetworkID] = p
	}
	if a.served == nil || all {
		if err := a.o.Metadata.Sync(ctx, ports); err != nil {
			return err
		}
		a.served = wanted
		return nil
	}
	var errs []error
	for id := range a.served {
		if _, still := wanted[id]; !still {
			errs = append(errs, a.o.Metadata.Remove(ctx, id))
		}
	}
	for id, p := range wanted {
		if had, there := a.served[id]; !there || !reflect.DeepEqual(had, p) {
			errs = append(errs, a.o.Metadata.Ensure(ctx, p))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	a.served = wanted
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
