package db_test

import (
	"context"
	"testing"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/fault"
)

func TestViewIsFencedAlone(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		if _, err := db.Exec(ctx, d, "CREATE TABLE things (id INTEGER NOT NULL PRIMARY KEY)"); err != nil {
			t.Fatal(err)
		}
		a, b := d.View(), d.View()
		err := a.Tx(ctx, func(ctx context.Context) error {
			if _, err := db.Exec(ctx, a, "INSERT INTO things (id) VALUES (1)"); err != nil {
				t.Fatal(err)
			}
			return a.Close() // killed inside of the transaction
		})
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("commit of a closed view: %v", err)
		}
		if _, err := db.Exec(ctx, a, "INSERT INTO things (id) VALUES (2)"); !fault.Is(err, fault.Unavailable) {
			t.Errorf("insert: %v", err)
		}
		if _, err := db.Count(ctx, a, "SELECT count(*) FROM things"); !fault.Is(err, fault.Unavailable) {
			t.Errorf("select: %v", err)
		}
		if n, err := db.Count(ctx, b, "SELECT count(*) FROM things"); err != nil || n != 0 {
			t.Errorf("another view sees %d rows: %v", n, err)
		}
		if _, err := db.Exec(ctx, d, "INSERT INTO things (id) VALUES (3)"); err != nil {
			t.Errorf("the database itself: %v", err)
		}
	})
}
