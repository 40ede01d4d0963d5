package task

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/tropocloud/tropo/db"
)

// job is periodic work.
type job struct {
	name   string
	every  time.Duration
	leased bool
	f      func(ctx context.Context) error
}

// Every runs f about every d in one process of those that share the database
// (under a lease), for at most d or a minute, whichever is longer. Register
// before Run. An error or panic is logged; the next run comes at its time.
func (e *Engine) Every(name string, d time.Duration, f func(ctx context.Context) error) {
	e.jobs = append(e.jobs, job{name, d, true, f})
}

// EveryHere runs f about every d in this process, whoever else does.
func (e *Engine) EveryHere(name string, d time.Duration, f func(ctx context.Context) error) {
	e.jobs = append(e.jobs, job{name, d, false, f})
}

func (e *Engine) runJob(ctx context.Context, j job) {
	for {
		// Jitter keeps many processes from running in step.
		timer := time.NewTimer(j.every - j.every/10 + rand.N(j.every/5+1))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		began, limit := db.Now(), max(j.every, time.Minute)
		if j.leased {
			// Nobody else begins while this run may still go on.
			ok, err := e.acquire(ctx, "job:"+j.name, limit)
			if err != nil || !ok {
				if err != nil && ctx.Err() == nil {
					e.o.Log.LogAttrs(ctx, slog.LevelWarn, "cannot lease a job", slog.String("job", j.name), slog.String("error", err.Error()))
				}
				continue
			}
		}
		jctx, cancel := context.WithTimeout(ctx, limit)
		err := guard(func() error { return j.f(jctx) })
		cancel()
		if j.leased && limit > j.every {
			err = errors.Join(err, e.shorten(ctx, "job:"+j.name, began.Add(j.every)))
		}
		if err != nil && ctx.Err() == nil {
			e.o.Log.LogAttrs(ctx, slog.LevelWarn, "job failed", slog.String("job", j.name), slog.String("error", err.Error()), stack(err))
		}
	}
}

type lease struct {
	Name       string     `db:"name"`
	Owner      string     `db:"owner"`
	LeaseUntil time.Time  `db:"lease_until"`
	LastRun    *time.Time `db:"last_run"`
}

// acquire takes the lease for d, if it is free, expired or ours.
func (e *Engine) acquire(ctx context.Context, name string, d time.Duration) (bool, error) {
	now := db.Now()
	w := db.Where().Eq("name", name).Raw("(owner = ? OR lease_until < ?)", e.o.Owner, now)
	n, err := db.Update(ctx, e.db, "leases", db.Set{"owner": e.o.Owner, "lease_until": now.Add(d), "last_run": now}, w)
	if err != nil || n > 0 {
		return n > 0, err
	}
	err = db.Insert(ctx, e.db, "leases", lease{Name: name, Owner: e.o.Owner, LeaseUntil: now.Add(d), LastRun: &now})
	if db.IsUnique(err) {
		return false, nil // another holds it
	}
	return err == nil, err
}

// shorten lets the lease that we hold end earlier.
func (e *Engine) shorten(ctx context.Context, name string, until time.Time) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	_, err := db.Update(ctx, e.db, "leases", db.Set{"lease_until": until}, db.Where().Eq("name", name).Eq("owner", e.o.Owner))
	return err
}
