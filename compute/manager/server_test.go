package manager_test

import (
	"testing"

	"github.com/tropocloud/tropo/compute/computetest"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
)

type m = map[string]any

func cloud(t *testing.T, o computetest.Options) *computetest.Cloud {
	t.Helper()
	if o.DB == nil {
		o.DB = dbtest.New(t)
	}
	return computetest.New(t, o)
}

func clean(t *testing.T, c *computetest.Cloud, given ...string) {
	t.Helper()
	c.Wait("sagas end", func() bool { ok, err := c.Tasks.Idle(t.Context()); return ok && err == nil })
	// A host that was away removes what it has when it next looks.
	c.Wait("guests are gone", func() bool { return guests(c) == 0 })
	if leaks := c.Leaks(given...); len(leaks) > 0 {
		t.Errorf("left over: %q", leaks)
	}
}

func TestServerLives(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) { life(t, d) })
}

func life(t *testing.T, d *db.DB) {
	c := cloud(t, computetest.Options{DB: d})
	c.Flavor()
	port := c.Peers.AddPort()
	id := c.Boot("one", m{"networks": []m{{"uuid": computetest.NetworkID}, {"port": port}}, "metadata": m{"k": "v"}})
	s := c.Status(id, "ACTIVE")
	if got := s.Get("server", "OS-EXT-SRV-ATTR:host"); got != "host1" {
		t.Errorf("host: %v", got)
	}
	if n := len(s.Get("server", "addresses", "net").([]any)); n != 2 {
		t.Errorf("%d addresses, want 2: %s", n, s.Text)
	}
	act := func(name string, arg any, want string) {
		t.Helper()
		c.Must(202, computetest.Member, "", "POST", "/v2.1/servers/"+id+"/action", m{name: arg})
		c.Status(id, want)
	}
	act("os-stop", nil, "SHUTOFF")
	act("os-start", nil, "ACTIVE")
	act("pause", nil, "PAUSED")
	act("unpause", nil, "ACTIVE")
	act("suspend", nil, "SUSPENDED")
	act("resume", nil, "ACTIVE")
	act("reboot", m{"type": "SOFT"}, "ACTIVE")
	act("reboot", m{"type": "HARD"}, "ACTIVE")
	act("rebuild", m{"imageRef": computetest.ImageID, "name": "two"}, "ACTIVE")
	c.Must(200, computetest.Admin, "", "POST", "/v2.1/flavors", m{"flavor": m{"id": "2", "name": "m1.small", "ram": 1024, "vcpus": 2, "disk": 2}})
	act("resize", m{"flavorRef": "2"}, "VERIFY_RESIZE")
	act("revertResize", nil, "ACTIVE")
	act("resize", m{"flavorRef": "2"}, "VERIFY_RESIZE")
	c.Must(204, computetest.Member, "", "POST", "/v2.1/servers/"+id+"/action", m{"confirmResize": nil})
	c.Status(id, "ACTIVE")
	act("createImage", m{"name": "snap"}, "ACTIVE")
	act("shelve", nil, "SHELVED_OFFLOADED")
	act("unshelve", nil, "ACTIVE")
	c.Must(204, computetest.Member, "", "DELETE", "/v2.1/servers/"+id, nil)
	c.Gone(id)
	clean(t, c, port)
	if a := c.Must(200, computetest.Admin, "", "GET", "/v2.1/servers/detail?deleted=True&all_tenants=1", nil); len(a.Get("servers").([]any)) != 1 {
		t.Errorf("history: %s", a.Text)
	}
}
