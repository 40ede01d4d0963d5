package manager_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/computetest"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/fault"
)

// TestQuotaHoldsUnderConcurrency asks for more servers at once than fit.
func TestQuotaHoldsUnderConcurrency(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		c := cloud(t, computetest.Options{DB: d, Config: func(o *compute.Config) { o.Quota.Instances = 5 }})
		c.Flavor()
		var wg sync.WaitGroup
		var made, refused atomic.Int32
		for i := range 12 {
			wg.Go(func() {
				a := c.Call(computetest.Member, "2.37", "POST", "/v2.1/servers", m{"server": m{"name": fmt.Sprint("s", i), "flavorRef": "1", "imageRef": computetest.ImageID, "networks": "none"}})
				switch a.Code {
				case 202:
					made.Add(1)
				case 403:
					refused.Add(1)
				default:
					t.Errorf("%d %s", a.Code, a.Text)
				}
			})
		}
		wg.Wait()
		if made.Load() != 5 || refused.Load() != 7 {
			t.Errorf("%d made, %d refused", made.Load(), refused.Load())
		}
	})
}

// TestAntiAffinityUnderConcurrency places a group's servers at the same time.
func TestAntiAffinityUnderConcurrency(t *testing.T) {
	c := cloud(t, computetest.Options{Hosts: []string{"h1", "h2", "h3"}})
	c.Flavor()
	g := c.Must(200, computetest.Member, "2.64", "POST", "/v2.1/os-server-groups", m{"server_group": m{"name": "g", "policy": "anti-affinity"}}).Get("server_group", "id").(string)
	a := c.Must(202, computetest.Member, "", "POST", "/v2.1/servers", m{
		"server":             m{"name": "s", "flavorRef": "1", "imageRef": computetest.ImageID, "min_count": 3, "max_count": 3, "return_reservation_id": true},
		"os:scheduler_hints": m{"group": g},
	})
	list := c.Must(200, computetest.Admin, "", "GET", "/v2.1/servers?all_tenants=1&reservation_id="+a.Get("reservation_id").(string), nil).Get("servers").([]any)
	hosts := map[any]bool{}
	for _, s := range list {
		hosts[c.Status(s.(m)["id"].(string), "ACTIVE").Get("server", "OS-EXT-SRV-ATTR:host")] = true
	}
	if len(hosts) != 3 {
		t.Errorf("three servers are on %v", hosts)
	}
	fourth := c.Must(202, computetest.Member, "", "POST", "/v2.1/servers", m{
		"server": m{"name": "s4", "flavorRef": "1", "imageRef": computetest.ImageID}, "os:scheduler_hints": m{"group": g},
	}).Get("server", "id").(string)
	// The refusal explains itself to administrators alone (threat 24).
	s := c.Status(fourth, "ERROR")
	if d, _ := s.Get("server", "fault", "details").(string); !strings.Contains(d, "ServerGroupAntiAffinityFilter") || !strings.Contains(d, "h2") {
		t.Errorf("fault: %v", s.Get("server", "fault"))
	}
	owner := c.Must(200, computetest.Member, "", "GET", "/v2.1/servers/"+fourth, nil)
	if f := fmt.Sprint(owner.Get("server", "fault")); strings.Contains(f, "h1") || !strings.Contains(f, "No valid host was found") {
		t.Errorf("the owner sees %s", f)
	}
	// It is on no host, so no host is asked to do anything with it.
	path := "/v2.1/servers/" + fourth
	for name, args := range map[string]any{"os-stop": nil, "reboot": m{"type": "HARD"}} {
		c.Must(409, computetest.Member, "", "POST", path+"/action", m{name: args})
	}
	c.Must(202, computetest.Admin, "", "POST", path+"/action", m{"os-resetState": m{"state": "active"}})
	for name, args := range map[string]any{"os-stop": nil, "pause": nil, "suspend": nil, "reboot": m{"type": "SOFT"}} {
		c.Must(409, computetest.Member, "", "POST", path+"/action", m{name: args})
	}
	c.Must(204, computetest.Member, "", "DELETE", path, nil)
	c.Gone(fourth)
}

// TestDeleteWhileSpawning deletes a server whose host is stuck making it.
func TestDeleteWhileSpawning(t *testing.T) {
	begun := make(chan struct{}, 8)
	c := cloud(t, computetest.Options{Fail: func(ctx context.Context, method, _ string) error {
		if method != "Spawn" {
			return nil
		}
		begun <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}})
	c.Flavor()
	port := c.Peers.AddPort()
	id := c.Boot("one", m{"networks": []m{{"port": port}, {"uuid": computetest.NetworkID}}})
	<-begun
	c.Must(204, computetest.Member, "", "DELETE", "/v2.1/servers/"+id, nil)
	c.Gone(id)
	clean(t, c, port)
}

// TestFaultHidesTheInfrastructure covers threat 24: what the host says is for
// administrators.
func TestFaultHidesTheInfrastructure(t *testing.T) {
	c := cloud(t, computetest.Options{Fail: func(_ context.Context, method, _ string) error {
		if method == "Spawn" {
			return fmt.Errorf("/var/lib/tropo/secret-path: exit status 1")
		}
		return nil
	}})
	c.Flavor()
	id := c.Boot("one", nil)
	admin := c.Status(id, "ERROR")
	if !strings.Contains(admin.Text, "secret-path") {
		t.Errorf("administrators do not see the cause: %s", admin.Text)
	}
	for _, path := range []string{"", "/os-instance-actions/" + requestOf(c, id), "/tropo-birth"} {
		if a := c.Must(200, computetest.Member, "2.84", "GET", "/v2.1/servers/"+id+path, nil); strings.Contains(a.Text, "secret-path") || strings.Contains(a.Text, "host1") {
			t.Errorf("the owner sees %s", a.Text)
		}
	}
	c.Must(204, computetest.Member, "", "DELETE", "/v2.1/servers/"+id, nil)
	c.Gone(id)
	clean(t, c)
}

func requestOf(c *computetest.Cloud, id string) string {
	list := c.Must(200, computetest.Admin, "", "GET", "/v2.1/servers/"+id+"/os-instance-actions", nil).Get("instanceActions").([]any)
	return list[0].(m)["request_id"].(string)
}

// TestInternalHints covers threat 21: hints of the service's own are dropped.
func TestInternalHints(t *testing.T) {
	c := cloud(t, computetest.Options{})
	c.Flavor()
	id := c.Must(202, computetest.Member, "", "POST", "/v2.1/servers", m{
		"server": m{"name": "s", "flavorRef": "1", "imageRef": computetest.ImageID}, "os:scheduler_hints": m{"_nova_check_type": []string{"rebuild"}, "own": "kept"},
	}).Get("server", "id").(string)
	c.Status(id, "ACTIVE")
	s, err := c.Store.Server(t.Context(), id)
	if err != nil || len(s.Spec.Hints) != 1 || s.Spec.Hints["own"] == nil {
		t.Errorf("hints: %v %v", s.Spec.Hints, err)
	}
}

// TestHostComesBack deletes a server while its host is away; the host removes
// the guest when it comes back, and guests that nobody deleted go on.
func TestHostComesBack(t *testing.T) {
	d := dbtest.New(t)
	dir := t.TempDir()
	c := cloud(t, computetest.Options{DB: d, Dir: dir})
	c.Flavor()
	gone, stays := c.Boot("gone", nil), c.Boot("stays", nil)
	c.Status(gone, "ACTIVE")
	c.Status(stays, "ACTIVE")
	c.Stop()
	away := computetest.New(t, computetest.Options{DB: d, Dir: t.TempDir(), Peers: c.Peers, Hosts: []string{"host2"}, Ready: 2})
	if _, err := db.Update(t.Context(), d, "services", db.Set{"forced_down": true}, db.Where().Eq("host", "host1")); err != nil {
		t.Fatal(err)
	}
	away.Must(204, computetest.Member, "", "DELETE", "/v2.1/servers/"+gone, nil)
	away.Gone(gone)
	away.Stop()
	if _, err := db.Update(t.Context(), d, "services", db.Set{"forced_down": false}, db.Where().Eq("host", "host1")); err != nil {
		t.Fatal(err)
	}
	c.Start()
	c.Wait("the leftover guest is destroyed", func() bool {
		_, err := c.Drivers["host1"].Info(context.Background(), gone)
		return fault.Is(err, fault.NotFound)
	})
	c.Status(stays, "ACTIVE")
	c.Must(204, computetest.Member, "", "DELETE", "/v2.1/servers/"+stays, nil)
	c.Gone(stays)
	clean(t, c)
}
