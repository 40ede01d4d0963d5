package db_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/tropocloud/tropo/db"
)

// TestStatementsAreKept runs more texts than a connection keeps, the same
// text again with other arguments, after a failure, after a change of the
// schema and at the same time from many sides.
func TestStatementsAreKept(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, d *db.DB) {
		for i := range 9 {
			id := fmt.Sprint(i)
			if err := db.Insert(ctx, d, "things", thing{ID: id, Name: id, CreatedAt: db.Now()}); err != nil {
				t.Fatal(err)
			}
			if err := db.Insert(ctx, d, "things", thing{ID: id, Name: id, CreatedAt: db.Now()}); !db.IsUnique(err) {
				t.Fatalf("the same row again: %v", err)
			}
		}
		check := func(ctx context.Context, id string, marks int) error {
			v, err := db.Get[thing](ctx, d, "SELECT * FROM things WHERE id = ? AND id IN (?"+strings.Repeat(", ?", marks-1)+")", append([]any{id}, slots(id, marks)...)...)
			if err != nil || v.ID != id {
				return fmt.Errorf("%s with %d marks: %v, %w", id, marks, v, err)
			}
			return nil
		}
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for n := range 200 {
					if err := check(ctx, fmt.Sprint((g+n)%9), 1+n%100); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if err := check(ended, "1", 1); err == nil {
			t.Error("a query of an ended context succeeded")
		}
		if _, err := db.Exec(ctx, d, "ALTER TABLE things ADD COLUMN more VARCHAR(10)"); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(ctx, d, "UPDATE things SET more = ? WHERE id = ?", "x", "1"); err != nil {
			t.Fatal(err)
		}
		err := d.Tx(ctx, func(ctx context.Context) error {
			for range 2 {
				if err := check(ctx, "1", 1); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if err := check(ctx, "1", 1); err != nil {
			t.Error(err)
		}
	})
}

func slots(id string, n int) []any {
	out := make([]any, n)
	for i := range out {
		out[i] = id
	}
	return out
}
