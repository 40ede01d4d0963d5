package db_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/fault"
)

func TestAloneIsOneAtATime(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		if d.Dialect() == db.SQLite {
			t.Skip("one process has a file")
		}
		var at, most, runs atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if err := d.Alone(t.Context(), "work", func(context.Context) error {
					if n := at.Add(1); n > most.Load() {
						most.Store(n)
					}
					runs.Add(1)
					at.Add(-1)
					return nil
				}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if most.Load() != 1 || runs.Load() != 8 {
			t.Errorf("%d runs, up to %d at a time", runs.Load(), most.Load())
		}
		want := errors.New("failed")
		if err := d.Alone(t.Context(), "work", func(context.Context) error { return want }); !errors.Is(err, want) {
			t.Error(err)
		}
	})
}

func TestAloneWaitsAndTakesOver(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		if d.Dialect() == db.SQLite {
			t.Skip("one process has a file")
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		err := d.Alone(ctx, "work", func(context.Context) error {
			short, stop := context.WithTimeout(ctx, 200*time.Millisecond)
			defer stop()
			err := d.Alone(short, "work", func(context.Context) error { t.Error("two at a time"); return nil })
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("who waits: %v", err)
			}
			return d.Alone(ctx, "other", func(context.Context) error { return nil })
		})
		if err != nil {
			t.Fatal(err)
		}
		// A process that died left its turn behind, which has just ended.
		if _, err := db.Exec(t.Context(), d, "INSERT INTO turns (name, owner, until_at) VALUES ('dead', 'x', ?)", db.Now().Add(-time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if err := d.Alone(t.Context(), "dead", func(context.Context) error { return nil }); err != nil {
			t.Error(err)
		}
	})
}

func TestMigrateByManyAtOnce(t *testing.T) {
	files := fstest.MapFS{
		"0001_a.sql": {Data: []byte("-- +goose Up\nCREATE TABLE a (id {{.ID}} PRIMARY KEY) {{.Options}};\n")},
		"0002_b.sql": {Data: []byte("-- +goose Up\nCREATE TABLE b (id {{.ID}} PRIMARY KEY) {{.Options}};\n")},
	}
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		if d.Dialect() == db.SQLite {
			t.Skip("one process has a file")
		}
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				if err := d.Migrate(t.Context(), "many", files); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

// TestServerAway: a server that is not there is told at once to all who wait,
// as something that may pass.
func TestServerAway(t *testing.T) {
	for _, u := range []string{"postgres://u@127.0.0.1:1/x?sslmode=disable", "mysql://u@127.0.0.1:1/x"} {
		synctest.Test(t, func(t *testing.T) { // its clock goes on only where somebody waits for it
			began := time.Now()
			if _, err := db.Open(t.Context(), u); !fault.Is(err, fault.Unavailable) {
				t.Errorf("%s: %v", u, err)
			}
			if took := time.Since(began); took > 0 {
				t.Errorf("%s: told after %s", u, took)
			}
		})
	}
}
