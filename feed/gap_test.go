package feed

import (
	"testing"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
)

// TestTheFirstNumbersMayComeInAnyOrder: also where nothing was told before, a
// number waits for a lower one whose transaction may still be under way.
func TestTheFirstNumbersMayComeInAnyOrder(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		f, err := New(ctx, d)
		if err != nil {
			t.Fatal(err)
		}
		var waiting gap
		for _, seq := range []int64{2, 1} {
			_, err := db.Exec(ctx, d, "INSERT INTO feed (seq, happened_at, project_id, kind, object_id, action, status, request_id) VALUES (?, ?, 'p', 'port', 'o', 'update', '', '')", seq, db.Now().Add(time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			if err := f.read(ctx, &waiting); err != nil {
				t.Fatal(err)
			}
		}
		if len(f.recent) != 2 || f.recent[0].Seq != 1 || f.recent[1].Seq != 2 {
			t.Errorf("told %+v", f.recent)
		}
	})
}
