package task_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/task"
)

// TestExclusive: one of two processes works; when it stops, or loses its
// lease, the other goes on, and never do both.
func TestExclusive(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		var working atomic.Int32
		began, ended := make(chan string, 16), make(chan string, 16)
		run := func(owner string) (stop func()) {
			ctx, cancel := context.WithCancel(context.Background())
			result := make(chan error, 1)
			o := task.ExclusiveOptions{Name: "test", Owner: owner, Lease: 2 * time.Second, Log: slog.New(slog.DiscardHandler)}
			go func() {
				result <- task.Exclusive(ctx, d, o, func(ctx context.Context) error {
					if n := working.Add(1); n != 1 {
						t.Errorf("%d work", n)
					}
					began <- owner
					<-ctx.Done()
					working.Add(-1)
					ended <- owner
					return ctx.Err()
				})
			}()
			return func() {
				cancel()
				if err := <-result; err != nil {
					t.Error(err)
				}
			}
		}
		next := func(events <-chan string) string {
			t.Helper()
			select {
			case owner := <-events:
				return owner
			case <-time.After(time.Minute):
				t.Fatal("nobody begins or ends to work")
				return ""
			}
		}
		first := run("a")
		if got := next(began); got != "a" {
			t.Fatalf("%s works", got)
		}
		second := run("b")
		first()
		if got := next(ended); got != "a" {
			t.Errorf("%s ended", got)
		}
		if got := next(began); got != "b" {
			t.Errorf("%s took over", got)
		}
		// Another has the lease: the work ends, and begins anew when that
		// one is gone.
		lease := func(until time.Time) {
			t.Helper()
			if _, err := db.Update(t.Context(), d, "leases", db.Set{"owner": "c", "lease_until": until}, db.Where().Eq("name", "work:test")); err != nil {
				t.Fatal(err)
			}
		}
		lease(db.Now().Add(time.Hour))
		if got := next(ended); got != "b" {
			t.Errorf("%s ended", got)
		}
		until := db.Now().Add(time.Second) // some looks long
		lease(until)
		if got := next(began); got != "b" || db.Now().Before(until) {
			t.Errorf("%s works at %s, the lease of another ends at %s", got, db.Now(), until)
		}
		second()
	})
}

// TestExclusiveAgain: what returns by itself is run again.
func TestExclusiveAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		runs := 0
		o := task.ExclusiveOptions{Name: "test", Owner: "a", Lease: 100 * time.Millisecond, Log: slog.New(slog.DiscardHandler)}
		err := task.Exclusive(ctx, dbtest.New(t), o, func(context.Context) error {
			if runs++; runs == 3 {
				cancel()
			}
			panic("a fault in the work")
		})
		if err != nil || runs != 3 {
			t.Errorf("%d runs, %v", runs, err)
		}
	})
}
