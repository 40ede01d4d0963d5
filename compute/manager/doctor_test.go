package manager_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/computetest"
	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/doctor"
)

// patient is a doctor over a compute service.
func patient(c *computetest.Cloud) *doctor.Engine {
	e := doctor.New(doctor.Options{Pause: 20 * time.Millisecond, Settle: time.Minute})
	e.Add(c.Manager.Checks()...)
	return e
}

func examine(t *testing.T, e *doctor.Engine, heal bool) *doctor.Report {
	t.Helper()
	r, err := e.Run(t.Context(), heal)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func found(r *doctor.Report) string {
	var out []string
	for _, f := range r.Findings {
		out = append(out, f.Check+" "+f.ID)
	}
	return strings.Join(out, "; ")
}

// hospital is a service with a server that has been still for a while.
func hospital(t *testing.T, o computetest.Options) (c *computetest.Cloud, id string, d *db.DB) {
	t.Helper()
	d = dbtest.New(t)
	o.DB = d
	o.Config = func(conf *compute.Config) { conf.SyncInterval, conf.HealInterval = time.Hour, time.Hour }
	c = cloud(t, o)
	c.Flavor()
	id = c.Boot("one", nil)
	c.Status(id, "ACTIVE")
	idle(c)
	exec(t, d, "UPDATE servers SET updated_at = ?", db.Now().Add(-time.Minute))
	exec(t, d, "UPDATE nodes SET created_at = ?", db.Now().Add(-time.Minute))
	return c, id, d
}

func idle(c *computetest.Cloud) {
	c.Wait("sagas end", func() bool { ok, err := c.Tasks.Idle(context.Background()); return ok && err == nil })
}

func exec(t *testing.T, d *db.DB, q string, args ...any) {
	t.Helper()
	if _, err := db.Exec(t.Context(), d, q, args...); err != nil {
		t.Fatal(err)
	}
}

// age makes what was just changed look settled.
func age(t *testing.T, d *db.DB) {
	t.Helper()
	exec(t, d, "UPDATE servers SET updated_at = ?", db.Now().Add(-time.Minute))
}

// TestDoctorHeals breaks one thing after the other, sees it found by exactly
// the check for it, healed, and not found again.
func TestDoctorHeals(t *testing.T) {
	for name, x := range map[string]struct {
		check string
		hurt  func(t *testing.T, c *computetest.Cloud, id string, d *db.DB)
		well  func(t *testing.T, c *computetest.Cloud, id string)
	}{
		"allocation of nobody": {
			"allocation-orphan",
			func(_ *testing.T, c *computetest.Cloud, id string, _ *db.DB) {
				c.Peers.Do(func() { c.Peers.Allocations[uuid.NewString()] = c.Peers.Allocations[id] })
			},
			func(t *testing.T, c *computetest.Cloud, id string) {
				c.Peers.Do(func() {
					if len(c.Peers.Allocations) != 1 || c.Peers.Allocations[id] == nil {
						t.Error("the wrong allocations are left")
					}
				})
			},
		},
		"server without allocation": {
			"allocation-wrong",
			func(_ *testing.T, c *computetest.Cloud, id string, _ *db.DB) {
				c.Peers.Do(func() { delete(c.Peers.Allocations, id) })
			},
			func(t *testing.T, c *computetest.Cloud, id string) {
				c.Peers.Do(func() {
					if c.Peers.Allocations[id] == nil {
						t.Error("no allocation")
					}
				})
			},
		},
		"server with another's size": {
			"allocation-wrong",
			func(_ *testing.T, c *computetest.Cloud, id string, _ *db.DB) {
				c.Peers.Do(func() {
					for _, by := range c.Peers.Allocations[id].By {
						by["MEMORY_MB"] = 7
					}
				})
			},
			nil,
		},
		"provider lost": {
			"provider-missing",
			func(_ *testing.T, c *computetest.Cloud, _ string, _ *db.DB) {
				c.Peers.Do(func() { clear(c.Peers.Providers); clear(c.Peers.Allocations) })
			},
			func(t *testing.T, c *computetest.Cloud, id string) {
				c.Peers.Do(func() {
					if c.Peers.Allocations[id] == nil { // found after the provider
						t.Error("no allocation")
					}
				})
			},
		},
		"provider of a host that is gone": {
			"provider-orphan",
			func(_ *testing.T, c *computetest.Cloud, _ string, _ *db.DB) {
				c.Peers.Do(func() {
					c.Peers.Providers[uuid.NewString()] = &computetest.Provider{Name: "old", Traits: []string{"COMPUTE_NODE"}}
					c.Peers.Providers[uuid.NewString()] = &computetest.Provider{Name: "a storage pool of somebody's"}
				})
			},
			func(t *testing.T, c *computetest.Cloud, _ string) {
				c.Peers.Do(func() {
					if len(c.Peers.Providers) != 2 {
						t.Errorf("%d providers", len(c.Peers.Providers))
					}
				})
			},
		},
		"port deleted": {
			"interface-without-port",
			func(_ *testing.T, c *computetest.Cloud, _ string, _ *db.DB) {
				c.Peers.Do(func() { clear(c.Peers.Ports) })
			},
			func(t *testing.T, c *computetest.Cloud, id string) {
				if rows, err := c.Store.ServerPorts(t.Context(), id); err != nil || len(rows) > 0 {
					t.Errorf("%v %v", rows, err)
				}
			},
		},
		"port of no server": {
			"port-orphan",
			func(_ *testing.T, c *computetest.Cloud, _ string, _ *db.DB) {
				p := c.Peers.AddPort()
				c.Peers.Do(func() {
					c.Peers.Ports[p]["device_id"], c.Peers.Ports[p]["device_owner"] = uuid.NewString(), "compute:nova"
				})
			},
			func(t *testing.T, c *computetest.Cloud, _ string) {
				if n := len(c.Peers.Ports); n != 2 {
					t.Errorf("%d ports; a port that may be a user's must stay", n)
				}
			},
		},
		"port that no interface of its server is": {
			"port-orphan",
			func(_ *testing.T, c *computetest.Cloud, id string, _ *db.DB) {
				p := c.Peers.AddPort()
				c.Peers.Do(func() { c.Peers.Ports[p]["device_id"], c.Peers.Ports[p]["device_owner"] = id, "compute:nova" })
			},
			nil,
		},
		"stuck while powering off": {
			"server-stuck",
			func(t *testing.T, _ *computetest.Cloud, _ string, d *db.DB) {
				exec(t, d, "UPDATE servers SET task_state = 'powering-off'")
			},
			func(_ *testing.T, c *computetest.Cloud, id string) { c.Status(id, "ACTIVE") },
		},
		"stuck in BUILD": {
			"server-stuck",
			func(t *testing.T, _ *computetest.Cloud, _ string, d *db.DB) {
				exec(t, d, "UPDATE servers SET vm_state = 'building', task_state = 'spawning'")
			},
			func(_ *testing.T, c *computetest.Cloud, id string) { c.Status(id, "ERROR") },
		},
		"stuck while being deleted": {
			"server-stuck",
			func(t *testing.T, _ *computetest.Cloud, _ string, d *db.DB) {
				exec(t, d, "UPDATE servers SET task_state = 'deleting'")
			},
			func(_ *testing.T, c *computetest.Cloud, id string) { c.Gone(id) },
		},
		"guest of a server that was deleted": {
			"guest-orphan",
			func(t *testing.T, c *computetest.Cloud, id string, d *db.DB) {
				if err := c.Store.MoveToHistory(t.Context(), id); err != nil {
					t.Fatal(err)
				}
				c.Peers.Do(func() { clear(c.Peers.Allocations); clear(c.Peers.Ports) })
			},
			func(t *testing.T, c *computetest.Cloud, _ string) {
				if guests(c) != 0 {
					t.Error("the guest is still there")
				}
			},
		},
		"tap of nobody": {
			"host-stray",
			func(_ *testing.T, c *computetest.Cloud, _ string, _ *db.DB) {
				c.Drivers["host1"].AddStray(driver.Stray{Kind: "tap", Name: "tap01234567-89", ServerID: uuid.NewString()})
			},
			nil,
		},
		"saga of no server": {
			"compute-saga-orphan",
			func(t *testing.T, _ *computetest.Cloud, _ string, d *db.DB) {
				insertSaga(t, d, "of-a-newer-release", uuid.NewString())
			},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, id, d := hospital(t, computetest.Options{})
			e := patient(c)
			if r := examine(t, e, false); r.Code() != doctor.Clean {
				t.Fatalf("before: %+v", r)
			}
			x.hurt(t, c, id, d)
			age(t, d)
			r := examine(t, e, false)
			if !slices.ContainsFunc(r.Findings, func(f doctor.Finding) bool { return f.Check == x.check && f.Fix != "" }) || r.Code() != doctor.Broken {
				t.Fatalf("found %q, %+v", found(r), r.Unchecked)
			}
			before := found(r)
			if again := found(examine(t, e, false)); again != before {
				t.Errorf("looking changed something: %q, then %q", before, again)
			}
			r = examine(t, e, true)
			if r.Code() != doctor.Clean || len(r.Healed) == 0 {
				t.Fatalf("not healed: %+v", r)
			}
			idle(c)
			age(t, d)
			if r := examine(t, e, false); r.Code() != doctor.Clean {
				t.Fatalf("after: %+v", r)
			}
			if x.well != nil {
				x.well(t, c, id)
			}
		})
	}
}

func insertSaga(t *testing.T, d *db.DB, name, object string) {
	t.Helper()
	old := db.Now().Add(-time.Hour)
	exec(t, d, "INSERT INTO sagas (id, seq_at, name, object_id, state, step, undoing, cancelled, cause_kind, cause, tries, run_at, owner, trace) VALUES (?, ?, ?, ?, '{}', 0, ?, ?, '', '', 0, ?, '', '{}')",
		uuid.NewString(), old, name, object, false, false, old)
}

// TestDoctorLeavesToPeople: what may be somebody's is told and not touched.
func TestDoctorLeavesToPeople(t *testing.T) {
	for name, x := range map[string]struct {
		check string
		hurt  func(t *testing.T, c *computetest.Cloud, id string, d *db.DB)
	}{
		"server without guest": {"guest-missing", func(_ *testing.T, c *computetest.Cloud, id string, _ *db.DB) { c.Drivers["host1"].Lose(id) }},
		"guest that never was a server": {"guest-orphan", func(t *testing.T, c *computetest.Cloud, _ string, _ *db.DB) {
			if err := c.Drivers["host1"].Spawn(t.Context(), driver.Spec{ID: uuid.NewString(), Name: "x", Flavor: driver.Flavor{VCPUs: 1, MemoryMiB: 64}, Image: driver.Image{ID: uuid.NewString()}}); err != nil {
				t.Fatal(err)
			}
		}},
		"process of a server that exists": {"host-stray", func(_ *testing.T, c *computetest.Cloud, id string, _ *db.DB) {
			c.Drivers["host1"].AddStray(driver.Stray{Kind: "process", Name: "4711", ServerID: id})
		}},
		"provider that is in use": {"provider-orphan", func(_ *testing.T, c *computetest.Cloud, _ string, _ *db.DB) {
			c.Peers.Do(func() {
				rp := uuid.NewString()
				c.Peers.Providers[rp] = &computetest.Provider{Name: "old", Traits: []string{"COMPUTE_NODE"}}
				c.Peers.Allocations[uuid.NewString()] = &computetest.Allocation{By: map[string]map[string]int{rp: {"VCPU": 1}}}
			})
		}},
		"saga that nobody runs": {"compute-saga-failing", func(t *testing.T, _ *computetest.Cloud, id string, d *db.DB) {
			insertSaga(t, d, "of-a-newer-release", id)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, id, d := hospital(t, computetest.Options{})
			e := patient(c)
			x.hurt(t, c, id, d)
			for _, heal := range []bool{false, true, false} {
				r := examine(t, e, heal)
				if len(r.Findings) != 1 || r.Findings[0].Check != x.check || r.Findings[0].Fix != "" || r.Findings[0].Command == "" || len(r.Healed) > 0 {
					t.Fatalf("heal %v: %+v", heal, r)
				}
			}
		})
	}
}

// TestDoctorDoesNotGuess: of a host that gives no sign of life nothing is said
// and nothing is healed away.
func TestDoctorDoesNotGuess(t *testing.T) {
	c, id, d := hospital(t, computetest.Options{Hosts: []string{"host1", "host2"}})
	s, err := c.Store.Server(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	exec(t, d, "UPDATE services SET forced_down = ? WHERE host = ?", true, s.Host)
	c.Drivers[s.Host].Lose(id)
	c.Drivers[s.Host].AddStray(driver.Stray{Kind: "tap", Name: "tap0"})
	for _, heal := range []bool{false, true} {
		r := examine(t, patient(c), heal)
		if r.Code() != doctor.Incomplete || len(r.Findings) > 0 || !strings.Contains(fmt.Sprint(r.Unchecked), "host "+s.Host) || strings.Contains(fmt.Sprint(r.Unchecked), "guest-stuck") {
			t.Errorf("%+v", r)
		}
	}
	// A service that does not answer: nothing is missing in it.
	exec(t, d, "UPDATE services SET forced_down = ?", false)
	c.Peers.Do(func() {
		c.Peers.Fail = func(_, path string) int {
			if strings.HasPrefix(path, "/placement") || strings.HasPrefix(path, "/networking") {
				return 503
			}
			return 0
		}
	})
	r := examine(t, patient(c), true)
	if strings.Contains(found(r), "allocation") || strings.Contains(found(r), "port") || !strings.Contains(fmt.Sprint(r.Unchecked), "allocation-wrong") || len(r.Healed) != 1 { // the tap
		t.Errorf("%+v", r)
	}
}

// TestDoctorOfABusyCloud: servers that are made, changed and deleted all the
// time are no findings, and --fix does not disturb them.
func TestDoctorOfABusyCloud(t *testing.T) {
	c := cloud(t, computetest.Options{Hosts: []string{"host1", "host2"}})
	c.Flavor()
	c.Must(200, computetest.Admin, "", "POST", "/v2.1/flavors", m{"flavor": m{"id": "2", "name": "m1.small", "ram": 1024, "vcpus": 2, "disk": 2}})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	lives := 0
	for w := range 6 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				id := c.Boot(fmt.Sprintf("s%d-%d", w, n), nil)
				if w%2 == 0 {
					c.Status(id, "ACTIVE")
					c.Must(202, computetest.Member, "", "POST", "/v2.1/servers/"+id+"/action", m{"resize": m{"flavorRef": "2"}})
					c.Status(id, "VERIFY_RESIZE")
					c.Must(204, computetest.Member, "", "POST", "/v2.1/servers/"+id+"/action", m{"confirmResize": nil})
					c.Status(id, "ACTIVE")
				}
				c.Must(204, computetest.Member, "", "DELETE", "/v2.1/servers/"+id, nil)
				c.Gone(id)
				if w == 0 {
					lives++
				}
			}
		})
	}
	e := patient(c)
	for n := range 25 {
		r := examine(t, e, n%2 == 0)
		if r.Code() != doctor.Clean || len(r.Healed) > 0 {
			t.Errorf("%+v", r)
			break
		}
	}
	close(stop)
	wg.Wait()
	clean(t, c)
	t.Logf("the first of 6 workers had %d servers", lives)
	if r := examine(t, e, false); r.Code() != doctor.Clean {
		t.Errorf("at rest: %+v", r)
	}
}
