package manager_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tropocloud/tropo/compute/computetest"
	"github.com/tropocloud/tropo/config"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/placement"
	placementapi "github.com/tropocloud/tropo/placement/api"
	placementmanager "github.com/tropocloud/tropo/placement/manager"
	placementstore "github.com/tropocloud/tropo/placement/store"
	"github.com/tropocloud/tropo/rest"
)

// TestWithPlacement lets servers live against the real placement service.
func TestWithPlacement(t *testing.T) {
	ctx := t.Context()
	st, err := placementstore.New(ctx, dbtest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	var conf placement.Config
	if err := config.Load(&conf, config.Sources{}); err != nil {
		t.Fatal(err)
	}
	mgr, err := placementmanager.New(ctx, placementmanager.Options{Store: st, Config: conf})
	if err != nil {
		t.Fatal(err)
	}
	api, err := placementapi.New(mgr, placementapi.Options{Validator: computetest.Validator{}})
	if err != nil {
		t.Fatal(err)
	}
	peers := computetest.NewPeers()
	mounted := rest.Mount("/placement", api)
	peers.Other = func(r *http.Request) http.Handler {
		if strings.HasPrefix(r.URL.Path, "/placement/") {
			return mounted
		}
		return nil
	}
	c := cloud(t, computetest.Options{Peers: peers, Hosts: []string{"host1", "host2"}})
	c.Flavor()
	c.Must(200, computetest.Admin, "", "POST", "/v2.1/flavors", m{"flavor": m{"id": "2", "name": "m1.small", "ram": 1024, "vcpus": 2, "disk": 2}})
	c.Must(200, computetest.Admin, "", "POST", "/v2.1/os-aggregates", m{"aggregate": m{"name": "agg", "availability_zone": "east"}})
	c.Must(200, computetest.Admin, "", "POST", "/v2.1/os-aggregates/1/action", m{"add_host": m{"host": "host2"}})
	id := c.Boot("one", m{"availability_zone": "east"})
	if s := c.Status(id, "ACTIVE"); s.Get("server", "OS-EXT-SRV-ATTR:host") != "host2" {
		t.Errorf("the zone was not obeyed: %s", s.Text)
	}
	for _, step := range []struct {
		body m
		code int
		want string
	}{
		{m{"resize": m{"flavorRef": "2"}}, 202, "VERIFY_RESIZE"},
		{m{"revertResize": nil}, 202, "ACTIVE"},
		{m{"resize": m{"flavorRef": "2"}}, 202, "VERIFY_RESIZE"},
		{m{"confirmResize": nil}, 204, "ACTIVE"},
		{m{"shelve": nil}, 202, "SHELVED_OFFLOADED"},
		{m{"unshelve": nil}, 202, "ACTIVE"},
	} {
		c.Must(step.code, computetest.Member, "", "POST", "/v2.1/servers/"+id+"/action", step.body)
		c.Status(id, step.want)
	}
	c.Must(204, computetest.Member, "", "DELETE", "/v2.1/servers/"+id, nil)
	c.Gone(id)
	clean(t, c)
	_, left, err := st.ConsumerAllocations(ctx, id)
	if err != nil || len(left) > 0 {
		t.Errorf("placement keeps %v (%v)", left, err)
	}
}
