package task

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/tropocloud/tropo/db"
)

// ExclusiveOptions describe work that one process at a time does.
type ExclusiveOptions struct {
	// Name of the work, the same in all processes.
	Name string
	// Owner names this process, as in Options.
	Owner string
	// Lease is how long a dead process's work waits for another to take
	// over, together with the time of a look, which is a sixth of it; 0: 6 s.
	Lease time.Duration
	Log   *slog.Logger // nil: slog.Default
}

// Exclusive runs f in one of the processes that share the database, and in
// another as soon as that one is gone, until ctx ends (nil is returned then).
// f works until its context ends, which it does also when the lease is lost; f
// returning before is logged, and it is run again after a while. A lease that
// is held is kept as long as the database cannot be reached, but never longer
// than it lasts.
func Exclusive(ctx context.Context, d *db.DB, o ExclusiveOptions, f func(ctx context.Context) error) error {
	if o.Lease == 0 {
		o.Lease = 6 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if err := migrate(ctx, d); err != nil {
		return err
	}
	e := &Engine{db: d, o: Options{Owner: o.Owner, Log: o.Log}}
	x := &exclusive{ExclusiveOptions: o, engine: e, f: f}
	for ctx.Err() == nil {
		until, ok := x.take(ctx)
		if ok {
			x.work(ctx, until)
		}
		if pause(ctx, o.Lease/8+rand.N(o.Lease/24+1)) != nil { //nolint:gosec // jitter is no secret
			break
		}
	}
	return nil
}

type exclusive struct {
	ExclusiveOptions
	engine *Engine
	f      func(ctx context.Context) error
}

func (x *exclusive) lease() string { return "work:" + x.Name }

// take takes or renews the lease and returns when it ends.
func (x *exclusive) take(ctx context.Context) (time.Time, bool) {
	limit, cancel := context.WithTimeout(ctx, x.Lease/3)
	defer cancel()
	until := time.Now().Add(x.Lease)
	// Who only waits does not write.
	l, err := db.Get[lease](limit, x.engine.db, "SELECT * FROM leases WHERE name = ?", x.lease())
	if err == nil && l.Owner != x.Owner && l.LeaseUntil.After(db.Now()) {
		return time.Time{}, false
	}
	ok := false
	if err == nil || errors.Is(err, db.ErrNoRows) {
		ok, err = x.engine.acquire(limit, x.lease(), x.Lease)
	}
	if err != nil && ctx.Err() == nil {
		x.Log.LogAttrs(ctx, slog.LevelWarn, "cannot lease work", slog.String("work", x.Name), slog.String("error", err.Error()))
		return time.Time{}, false
	}
	return until, ok && err == nil
}

// work runs f under the lease until ctx ends, the lease is lost or f returns.
func (x *exclusive) work(ctx context.Context, until time.Time) {
	inner, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- guard(func() error { return x.f(inner) }) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil && ctx.Err() == nil && !errors.Is(err, context.Canceled) {
			x.Log.LogAttrs(ctx, slog.LevelWarn, "work ended", slog.String("work", x.Name), slog.String("error", err.Error()), stack(err))
		}
		if err := x.engine.shorten(ctx, x.lease(), db.Now()); err != nil && ctx.Err() == nil {
			x.Log.LogAttrs(ctx, slog.LevelWarn, "cannot give a lease back", slog.String("work", x.Name), slog.String("error", err.Error()))
		}
	}()
	tick := time.NewTicker(x.Lease / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case err := <-ended:
			ended <- err
			return
		case <-tick.C:
		}
		next, ok := x.take(ctx)
		switch {
		case ok:
			until = next
		case time.Now().Add(x.Lease/4).After(until) || x.lost(ctx):
			return
		}
	}
}

// lost says whether another process has the lease.
func (x *exclusive) lost(ctx context.Context) bool {
	limit, cancel := context.WithTimeout(ctx, x.Lease/4)
	defer cancel()
	l, err := db.Get[lease](limit, x.engine.db, "SELECT * FROM leases WHERE name = ?", x.lease())
	return err == nil && l.Owner != x.Owner
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
