// Package agent makes the dataplane equal to the network service's rows.
//
// Rows that change are marked in the same transaction; the agent takes the
// marks, hands the driver the object's wanted state and removes the mark when
// that holds. What fails is tried again with back-off. From time to time, and
// when it starts, it compares everything (Sync): drift is healed, leftovers
// are deleted. So it may be killed at any moment.
//
// It also reports which ports are up and, in a cloud of one machine, gives the
// host the gateway addresses of the provider network. What belongs to a host
// alone does package chassis.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/driver"
)

// Rows is what the agent needs of the store.
type Rows interface {
	// Due returns marks whose time has come, or when the next one comes.
	Due(ctx context.Context, limit int) ([]network.Dirty, time.Time, error)
	Done(ctx context.Context, d network.Dirty) error
	Again(ctx context.Context, d network.Dirty, at time.Time, problem string) error
	// State returns an object with what it depends on; All everything.
	State(ctx context.Context, kind, id string) (*network.State, error)
	All(ctx context.Context) (*network.State, error)
	ProviderAddresses(ctx context.Context) (map[string]string, error)
	SetProviderAddress(ctx context.Context, subnet, prefix string) error
}

// Manager is what the agent tells.
type Manager interface {
	PortUp(ctx context.Context, id string, up bool) error
}

// Provider gives the host addresses on the provider network.
type Provider interface {
	EnsureProviderAddress(ctx context.Context, p netip.Prefix) error
	RemoveProviderAddress(ctx context.Context, p netip.Prefix) error
}

// Options make an Agent.
type Options struct {
	Rows     Rows
	Manager  Manager
	Driver   driver.Driver
	Provider Provider        // nil: the host gets no addresses
	Wake     <-chan struct{} // receives when rows have changed; nil: polled
	Log      *slog.Logger    // nil: slog.Default
	// Domain is the DNS domain of guests. External is the physical network
	// whose gateways the host holds.
	Domain   string
	External string
	// SyncInterval is the time between comparisons of everything; 0: 5 min.
	SyncInterval time.Duration
	// Hook is called before and after each call of the driver; its error
	// ends the agent as if it had been killed. For crash tests.
	Hook func(object driver.Object, after bool) error
}

// Agent makes the dataplane follow.
type Agent struct {
	o   Options
	log *slog.Logger
	mu  sync.Mutex // a comparison of everything runs alone
}

// New makes an agent.
func New(o Options) *Agent {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.SyncInterval == 0 {
		o.SyncInterval = 5 * time.Minute
	}
	return &Agent{o: o, log: o.Log}
}

const (
	// poll bounds how long a mark that another process wrote waits.
	poll     = 5 * time.Second
	atOnce   = 256
	longest  = time.Minute // between tries
	callTime = time.Minute // of one call
)

// Run works until ctx ends.
func (a *Agent) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.follow(ctx) })
	g.Go(func() error { return a.watch(ctx) })
	g.Go(func() error {
		a.trySync(ctx)
		return a.every(ctx, a.o.SyncInterval, "sync", func(ctx context.Context) error { _, err := a.Sync(ctx); return err })
	})
	return g.Wait()
}

// trySync compares everything until it succeeds once.
func (a *Agent) trySync(ctx context.Context) {
	for try := 0; ; try++ {
		_, err := a.Sync(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		a.log.LogAttrs(ctx, slog.LevelWarn, "first comparison with the dataplane failed", slog.String("error", err.Error()))
		if sleep(ctx, backoff(try)) != nil {
			return
		}
	}
}

func (a *Agent) every(ctx context.Context, d time.Duration, name string, f func(context.Context) error) error {
	for {
		if err := sleep(ctx, d); err != nil {
			return err
		}
		if err := f(ctx); err != nil && ctx.Err() == nil {
			a.log.LogAttrs(ctx, slog.LevelWarn, "periodic work failed", slog.String("work", name), slog.String("error", err.Error()))
		}
	}
}

// watch tells the manager of ports that come up and go down.
func (a *Agent) watch(ctx context.Context) error {
	for try := 0; ; try++ {
		began := time.Now()
		// From time to time anew: it begins with the state of every port, so
		// what was lost is made good.
		round, cancel := context.WithTimeout(ctx, a.o.SyncInterval)
		var lost error
		err := a.o.Driver.Watch(round, func(e driver.PortEvent) {
			if err := a.o.Manager.PortUp(ctx, e.PortID, e.Up); err != nil && lost == nil {
				lost = fmt.Errorf("port %s: %w", e.PortID, err)
				cancel() // to be told it again
			}
		})
		over := round.Err() != nil && lost == nil
		cancel()
		if lost != nil {
			err = lost
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if over {
			try = -1
			continue
		}
		if time.Since(began) > longest {
			try = 0
		}
		a.log.LogAttrs(ctx, slog.LevelWarn, "watching the ports ended", slog.Any("error", err))
		if err := sleep(ctx, backoff(try)); err != nil {
			return err
		}
	}
}

// follow takes marks as they come.
func (a *Agent) follow(ctx context.Context) error {
	for try := 0; ; {
		n, next, err := a.Step(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errKilled):
			return err
		case err != nil:
			a.log.LogAttrs(ctx, slog.LevelWarn, "rows could not be followed", slog.String("error", err.Error()))
			if err := sleep(ctx, backoff(try)); err != nil {
				return err
			}
			try++
			continue
		}
		try = 0
		if n > 0 {
			continue
		}
		wait := poll
		if !next.IsZero() {
			wait = max(time.Millisecond, min(wait, time.Until(next)))
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-a.o.Wake:
		case <-t.C:
		}
		t.Stop()
	}
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

// backoff is the time before the next try: 0.2 s, doubled up to a minute.
func backoff(attempts int) time.Duration {
	return min(longest, 200*time.Millisecond<<min(attempts, 10))
}
