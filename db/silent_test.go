package db_test

import (
	"testing"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
)

// TestALockOfTheSilentEnds: a process that is cut off or stands still amid a
// transaction keeps the others from its rows for seconds, not for hours.
func TestALockOfTheSilentEnds(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		query := map[db.Dialect]string{
			db.PostgreSQL: "SELECT current_setting('idle_in_transaction_session_timeout') AS v",
			db.MySQL:      "SELECT CAST(@@idle_transaction_timeout AS CHAR) AS v",
		}[d.Dialect()]
		if query == "" {
			t.Skip("one process has the file")
		}
		got, err := db.Get[struct {
			V string `db:"v"`
		}](t.Context(), d, query)
		if err != nil || got.V != "5s" && got.V != "5" {
			t.Errorf("the server waits %q for the next statement (%v)", got.V, err)
		}
	})
}
