package db_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/tropocloud/tropo/db"
)

// TestRowsShareNothing: a row holds nothing of the one before, neither where
// its own columns are NULL nor behind pointers and maps.
func TestRowsShareNothing(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, d *db.DB) {
		for i := range 4 {
			v := thing{ID: fmt.Sprint(i), Name: fmt.Sprint(i), CreatedAt: db.Now()}
			if i%2 == 0 {
				now := db.Now()
				v.Rank, v.UpdatedAt, v.Extra = &i, &now, db.J(map[string]string{fmt.Sprint("k", i): "v"})
			}
			if err := db.Insert(ctx, d, "things", v); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := db.Exec(ctx, d, "UPDATE things SET extra = NULL WHERE id = ?", "1"); err != nil {
			t.Fatal(err)
		}
		list, err := db.Select[thing](ctx, d, "SELECT * FROM things ORDER BY id")
		if err != nil || len(list) != 4 {
			t.Fatal(list, err)
		}
		for i, v := range list {
			full := i%2 == 0
			if (v.Rank != nil) != full || full && *v.Rank != i || (v.UpdatedAt != nil) != full {
				t.Errorf("row %d: rank %v, updated %v", i, v.Rank, v.UpdatedAt)
			}
			if full && (len(v.Extra.V) != 1 || v.Extra.V[fmt.Sprint("k", i)] != "v") || !full && len(v.Extra.V) != 0 {
				t.Errorf("row %d: extra %v", i, v.Extra.V)
			}
		}
	})
}
