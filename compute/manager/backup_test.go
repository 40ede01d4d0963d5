package manager_test

import (
	"testing"

	"github.com/tropocloud/tropo/compute/computetest"
)

// TestBackupsRotate keeps the newest backups of each kind.
func TestBackupsRotate(t *testing.T) {
	c := cloud(t, computetest.Options{})
	c.Flavor()
	id := c.Boot("one", nil)
	c.Status(id, "ACTIVE")
	backup := func(kind string, rotation int) {
		t.Helper()
		c.Must(202, computetest.Member, "2.45", "POST", "/v2.1/servers/"+id+"/action", m{"createBackup": m{"name": kind, "backup_type": kind, "rotation": rotation}})
		c.Wait("sagas end", func() bool { ok, err := c.Tasks.Idle(t.Context()); return ok && err == nil })
		c.Status(id, "ACTIVE")
	}
	kept := func() (daily, weekly []string) {
		c.Peers.Do(func() {
			for id, i := range c.Peers.Images {
				switch i["backup_type"] {
				case "daily":
					daily = append(daily, id)
				case "weekly":
					weekly = append(weekly, id)
				}
			}
		})
		return daily, weekly
	}
	backup("weekly", 5)
	backup("daily", 2)
	first, _ := kept()
	backup("daily", 2)
	backup("daily", 2)
	daily, weekly := kept()
	if len(daily) != 2 || len(weekly) != 1 {
		t.Errorf("kept %d daily and %d weekly backups", len(daily), len(weekly))
	}
	for _, d := range daily {
		if d == first[0] {
			t.Error("the oldest was kept")
		}
	}
	backup("daily", 0)
	if daily, weekly = kept(); len(daily) != 0 || len(weekly) != 1 {
		t.Errorf("kept %d daily and %d weekly backups", len(daily), len(weekly))
	}
	c.Must(204, computetest.Member, "", "DELETE", "/v2.1/servers/"+id, nil)
	c.Gone(id)
	clean(t, c)
}
