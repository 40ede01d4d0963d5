package db_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/fault"
)

var migrations = fstest.MapFS{"0001_initial.sql": {Data: []byte(`-- +goose Up
CREATE TABLE things (
  id {{.ID}} NOT NULL PRIMARY KEY,
  name VARCHAR(255) NOT NULL,
  rank BIGINT,
  extra {{.JSON}},
  enabled {{.Bool}} NOT NULL,
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}},
  UNIQUE (name)
) {{.Options}};
CREATE TABLE parts (
  id {{.ID}} NOT NULL PRIMARY KEY,
  thing_id {{.ID}} NOT NULL,
  FOREIGN KEY (thing_id) REFERENCES things (id)
) {{.Options}};
`)}}

type thing struct {
	ID        string                     `db:"id"`
	Name      string                     `db:"name"`
	Rank      *int                       `db:"rank"`
	Extra     db.JSON[map[string]string] `db:"extra"`
	Enabled   bool                       `db:"enabled"`
	CreatedAt time.Time                  `db:"created_at"`
	UpdatedAt *time.Time                 `db:"updated_at"`
}

func each(t *testing.T, f func(t *testing.T, ctx context.Context, d *db.DB)) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx := context.Background()
		for range 2 { // the second finds nothing to do
			if err := d.Migrate(ctx, "test", migrations); err != nil {
				t.Fatal(err)
			}
		}
		f(t, ctx, d)
	})
}

func TestRoundTrip(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, d *db.DB) {
		zone := time.FixedZone("x", 3600)
		at := time.Date(2026, 1, 2, 3, 4, 5, 123456789, zone)
		in := thing{ID: "a", Name: "ä?'", Extra: db.J(map[string]string{"k": "v"}), Enabled: true, CreatedAt: at}
		if err := db.Insert(ctx, d, "things", in); err != nil {
			t.Fatal(err)
		}
		got, err := db.Get[thing](ctx, d, "SELECT * FROM things WHERE name = ? AND enabled = ? AND 'a?' = 'a?'", "ä?'", true)
		if err != nil {
			t.Fatal(err)
		}
		if want := at.UTC().Truncate(time.Microsecond); !got.CreatedAt.Equal(want) || got.CreatedAt.Location() != time.UTC {
			t.Errorf("created_at = %v, want %v", got.CreatedAt, want)
		}
		if got.Extra.V["k"] != "v" || !got.Enabled || got.Rank != nil || got.UpdatedAt != nil {
			t.Errorf("got %+v", got)
		}
		if _, err := db.Get[thing](ctx, d, "SELECT * FROM things WHERE id = ?", "none"); !errors.Is(err, db.ErrNoRows) {
			t.Errorf("missing row: %v", err)
		}
		n, err := db.Update(ctx, d, "things", db.Set{"enabled": true}, db.Where().Eq("id", "a").Eq("enabled", true))
		if err != nil || n != 1 {
			t.Errorf("an update that changes nothing matched %d rows, %v; want 1", n, err)
		}
	})
}

func TestConstraintsAreConflicts(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, d *db.DB) {
		mk := func(id, name string) error {
			return db.Insert(ctx, d, "things", thing{ID: id, Name: name, CreatedAt: db.Now()})
		}
		if err := mk("a", "n"); err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{mk("a", "other"), mk("b", "n")} {
			if !db.IsUnique(err) || !fault.Is(err, fault.Conflict) {
				t.Errorf("%v is no conflict", err)
			}
		}
		_, err := db.Exec(ctx, d, "INSERT INTO parts (id, thing_id) VALUES (?, ?)", "p", "none")
		if !db.IsForeignKey(err) {
			t.Errorf("%v is no foreign key violation", err)
		}
		if err := db.Upsert(ctx, d, "things", thing{ID: "a", Name: "new", CreatedAt: db.Now()}, "id"); err != nil {
			t.Fatal(err)
		}
		if n, _ := db.Count(ctx, d, "SELECT count(*) FROM things WHERE name = ?", "new"); n != 1 {
			t.Errorf("upsert left %d rows", n)
		}
	})
}

// TestUnstorableValuesAreTheClients sends what PostgreSQL and MySQL refuse;
// SQLite takes it.
func TestUnstorableValuesAreTheClients(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, d *db.DB) {
		for _, name := range []string{strings.Repeat("x", 300), "nul\x00", "not utf-8 \xff"} {
			err := db.Insert(ctx, d, "things", thing{ID: "a", Name: name, CreatedAt: db.Now()})
			if err != nil && !fault.Is(err, fault.Invalid) {
				t.Errorf("%q: %v", name[:5], err)
			}
			if err == nil {
				if _, err := db.Delete(ctx, d, "things", db.ByID("a")); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := db.Get[thing](ctx, d, "SELECT * FROM things WHERE name = ?", name); !errors.Is(err, db.ErrNoRows) && !fault.Is(err, fault.Invalid) {
				t.Errorf("looking for %q: %v", name[:5], err)
			}
		}
	})
}

func TestTxRollsBackAndNests(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, d *db.DB) {
		boom := errors.New("boom")
		ran := false
		err := d.Tx(ctx, func(ctx context.Context) error {
			d.AfterCommit(ctx, func() { ran = true })
			return d.Tx(ctx, func(ctx context.Context) error {
				if err := db.Insert(ctx, d, "things", thing{ID: "a", Name: "n", CreatedAt: db.Now()}); err != nil {
					return err
				}
				return boom
			})
		})
		if !errors.Is(err, boom) || ran {
			t.Fatalf("err %v, after-commit ran: %v", err, ran)
		}
		if n, _ := db.Count(ctx, d, "SELECT count(*) FROM things"); n != 0 {
			t.Errorf("%d rows after a rollback", n)
		}
	})
}

func TestConcurrentCompareAndSwap(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, d *db.DB) {
		zero := 0
		if err := db.Insert(ctx, d, "things", thing{ID: "a", Name: "n", Rank: &zero, CreatedAt: db.Now()}); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for done := false; !done; {
					err := d.Tx(ctx, func(ctx context.Context) error {
						r, err := db.Get[int](ctx, d, "SELECT rank FROM things WHERE id = 'a'")
						if err != nil {
							return err
						}
						n, err := db.Update(ctx, d, "things", db.Set{"rank": *r + 1}, db.ByID("a").Eq("rank", *r))
						done = n == 1
						return err
					})
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		if r, _ := db.Get[int](ctx, d, "SELECT rank FROM things"); *r != 8 {
			t.Errorf("rank = %d, want 8", *r)
		}
	})
}

func TestSelectPageWalksEverything(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, d *db.DB) {
		for i := range 11 {
			v := thing{ID: fmt.Sprintf("id%02d", i), Name: fmt.Sprintf("n%02d", (i*7)%11), CreatedAt: db.Now()}
			if i%3 != 0 {
				r := i % 2
				v.Rank = &r
			}
			if err := db.Insert(ctx, d, "things", v); err != nil {
				t.Fatal(err)
			}
		}
		for _, sorts := range [][]db.Sort{nil, {{Column: "name"}}, {{Column: "name", NotNull: true}}, {{Column: "name", Desc: true, NotNull: true}}, {{Column: "rank"}}, {{Column: "rank", Desc: true}, {Column: "name"}}} {
			all, err := db.SelectPage[thing](ctx, d, "things", nil, db.Page{Sort: sorts})
			if err != nil {
				t.Fatal(err)
			}
			var walked []string
			for marker := ""; ; {
				p, err := db.SelectPage[thing](ctx, d, "things", nil, db.Page{Limit: 3, Marker: marker, Sort: sorts})
				if err != nil {
					t.Fatal(err)
				}
				if len(p) == 0 {
					break
				}
				for _, v := range p {
					walked = append(walked, v.ID)
				}
				marker = p[len(p)-1].ID
			}
			if len(walked) != 11 {
				t.Fatalf("sort %v walked %v", sorts, walked)
			}
			for i, v := range all {
				if walked[i] != v.ID {
					t.Errorf("sort %v: place %d is %s, want %s", sorts, i, walked[i], v.ID)
				}
			}
			back, err := db.SelectPage[thing](ctx, d, "things", nil, db.Page{Limit: 3, Marker: all[5].ID, Sort: sorts, Reverse: true})
			if err != nil || len(back) != 3 || back[0].ID != all[2].ID || back[2].ID != all[4].ID {
				t.Errorf("reverse page of %v: %v %v", sorts, back, err)
			}
		}
		_, err := db.SelectPage[thing](ctx, d, "things", nil, db.Page{Marker: "none"})
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("unknown marker: %v", err)
		}
	})
}
