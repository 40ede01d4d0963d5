package manager_test

import (
	"testing"
	"time"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/computetest"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
)

// TestRebuildPassesTheFilters covers threat 20: an image that the host could
// not have been chosen for is refused, and the claim stays single.
func TestRebuildPassesTheFilters(t *testing.T) {
	const arm = "55555555-5555-4555-8555-555555555555"
	c := cloud(t, computetest.Options{})
	c.Peers.Do(func() {
		c.Peers.Images[arm] = m{"id": arm, "name": "arm", "status": "active", "owner": computetest.Project, "size": 1, "hw_architecture": "aarch64"}
	})
	c.Flavor()
	id := c.Boot("one", nil)
	c.Status(id, "ACTIVE")
	c.Must(400, computetest.Member, "", "POST", "/v2.1/servers/"+id+"/action", m{"rebuild": m{"imageRef": arm}})
	c.Must(202, computetest.Member, "", "POST", "/v2.1/servers/"+id+"/action", m{"rebuild": m{"imageRef": computetest.ImageID}})
	c.Status(id, "ACTIVE")
	c.Peers.Do(func() {
		a := c.Peers.Allocations[id]
		if len(c.Peers.Allocations) != 1 || a == nil {
			t.Fatalf("allocations: %v", c.Peers.Allocations)
		}
		for _, r := range a.By {
			if r["VCPU"] != 1 || r["MEMORY_MB"] != 512 || r["DISK_GB"] != 1 {
				t.Errorf("claim: %v", r)
			}
		}
	})
}

// TestLock keeps owners, not administrators, from acting on a locked server.
func TestLock(t *testing.T) {
	c := cloud(t, computetest.Options{})
	c.Flavor()
	id := c.Boot("one", nil)
	c.Status(id, "ACTIVE")
	path := "/v2.1/servers/" + id
	c.Must(202, computetest.Member, "", "POST", path+"/action", m{"lock": nil})
	c.Must(409, computetest.Member, "", "POST", path+"/action", m{"os-stop": nil})
	c.Must(409, computetest.Member, "", "DELETE", path, nil)
	c.Must(202, computetest.Admin, "", "POST", path+"/action", m{"os-stop": nil})
	c.Status(id, "SHUTOFF")
	c.Must(202, computetest.Member, "", "POST", path+"/action", m{"unlock": nil})
	c.Must(204, computetest.Member, "", "DELETE", path, nil)
	c.Gone(id)
}

// TestReclaim restores a deleted server, and lets it go for good after a while.
func TestReclaim(t *testing.T) {
	d := dbtest.New(t)
	c := cloud(t, computetest.Options{DB: d, Config: reclaim})
	c.Flavor()
	id := c.Boot("one", nil)
	c.Status(id, "ACTIVE")
	path := "/v2.1/servers/" + id
	c.Must(204, computetest.Member, "", "DELETE", path, nil)
	c.Status(id, "SOFT_DELETED")
	c.Must(202, computetest.Member, "", "POST", path+"/action", m{"restore": nil})
	c.Status(id, "ACTIVE")
	c.Must(204, computetest.Member, "", "DELETE", path, nil)
	c.Status(id, "SOFT_DELETED")
	exec(t, d, "UPDATE servers SET terminated_at = ?", db.Now().Add(-time.Minute))
	c.Gone(id)
	clean(t, c)
}

// reclaim leaves time to restore a server, also where the machine stands still
// for a while.
func reclaim(o *compute.Config) { o.Reclaim = 20 * time.Second }
