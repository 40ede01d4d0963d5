package sim

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/bus/inproc"
	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/config"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network"
	networkfake "github.com/tropocloud/tropo/network/driver/fake"
	"github.com/tropocloud/tropo/placement"
)

// services are those with a database.
var services = []string{"compute", "network", "placement"}

// world is a cloud: databases, the bus, the dataplane and the machines, which
// outlive the processes.
type world struct {
	t       testing.TB
	plan    *plan
	dice    *dice
	journal *journal
	dbs     map[string]*db.DB
	bus     *inproc.Bus
	plane   *networkfake.Driver
	images  *images
	dir     string
	conf    configs
	calm    atomic.Bool // no more faults

	mu       sync.Mutex
	all      []*process // that ever lived
	controls []*control
	hosts    []*machine
	upset    map[string]bool // servers whose guests ended by themselves
	bad      finding
	rested   time.Duration

	net   nets
	known known
	ctx   context.Context
	later sync.WaitGroup
}

type configs struct {
	compute   compute.Config
	network   network.Config
	placement placement.Config
}

// newConfigs are the defaults with limits that histories reach.
func newConfigs() (c configs, err error) {
	for _, p := range []any{&c.compute, &c.network, &c.placement} {
		if err := config.Load(p, config.Sources{}); err != nil {
			return c, err
		}
	}
	c.compute.CPURatio, c.compute.RAMRatio, c.compute.ReservedMB = 1, 1, 0
	c.compute.BuildTimeout, c.compute.ShutdownGrace = 60*time.Second, 5*time.Second
	c.compute.Quota.Instances, c.compute.Quota.Cores = 5, 9
	c.network.Quota.Port, c.network.Quota.FloatingIP = 14, 3
	return c, nil
}

// newWorld opens the databases in dir.
func newWorld(t testing.TB, p *plan, dir string) *world {
	t.Helper()
	w := &world{t: t, plan: p, dice: newDice(p.Seed), journal: &journal{start: time.Now()}, dbs: map[string]*db.DB{}, plane: networkfake.New(), images: newImages(), dir: dir}
	var err error
	if w.conf, err = newConfigs(); err != nil {
		t.Fatal(err)
	}
	w.bus = inproc.New(inproc.Options{Log: slog.New(slog.DiscardHandler)})
	for _, s := range services {
		if w.dbs[s], err = db.Open(context.Background(), "sqlite:"+filepath.Join(dir, s+".db")); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// close ends everything that lives.
func (w *world) close() {
	w.mu.Lock()
	all := w.all
	w.mu.Unlock()
	for _, p := range all {
		p.end()
	}
	w.later.Wait()
	_ = w.bus.Close()
	for _, p := range all {
		p.wg.Wait()
	}
	for _, d := range w.dbs {
		if err := d.Close(); err != nil {
			w.t.Errorf("close database: %v", err)
		}
	}
}

// rates are those of the plan until the faults end.
func (w *world) rates() rates {
	if w.calm.Load() {
		return rates{}
	}
	return w.plan.Rates
}

// pick is one of the living control processes.
func (w *world) pick(n int) *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	var alive []*process
	for _, c := range w.controls {
		if c.now != nil && !c.now.dead.Load() && c.now.front.Load() != nil {
			alive = append(alive, c.now)
		}
	}
	if len(alive) == 0 {
		return nil
	}
	return alive[n%len(alive)]
}

// cutHost is the machine of the process if that is cut off.
func (w *world) cutHost(p *process) *machine {
	for _, h := range w.hosts {
		if h.cut.Load() && h.name == p.name {
			return h
		}
	}
	return nil
}

// partitioned reports whether a message from p to t cannot get through.
func (w *world) partitioned(p *process, t bus.Target) bool {
	for _, h := range w.hosts {
		if h.cut.Load() && (h.name == p.name || t.Topic == compute.TopicAgent && h.name == t.Host) {
			return true
		}
	}
	return false
}

// The tokens. Identity is pretended.
const (
	tokenAdmin   = "admin"
	tokenService = "service"
	project      = "0000000000000000000000000000000a"
)

// member is the token of a user.
func member(user int) string { return fmt.Sprint("member-", user) }

type validator struct{}

var _ auth.Validator = validator{}

func (validator) Validate(_ context.Context, token string) (*auth.Identity, error) {
	id := &auth.Identity{
		Token: token, User: auth.Ref{ID: token, Name: token}, UserDomain: auth.Ref{ID: "default"}, Project: auth.Ref{ID: project, Name: "project"},
		ProjectDomain: auth.Ref{ID: "default"}, IssuedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
	}
	roles := []string{"member", "reader"}
	switch {
	case token == tokenAdmin:
		roles = []string{"admin", "member", "reader"}
	case token == tokenService:
		id.Project.ID, roles = "service", []string{"admin", "service"}
	case !strings.HasPrefix(token, "member-"):
		return nil, fault.Unauthenticatedf("The request you have made requires authentication.")
	}
	for _, r := range roles {
		id.Roles = append(id.Roles, auth.Ref{ID: r, Name: r})
	}
	return id, nil
}

// scratch is a folder for databases, in memory where the machine has such.
func scratch() (string, error) {
	if f, err := os.Stat("/dev/shm"); err == nil && f.IsDir() {
		return os.MkdirTemp("/dev/shm", "tropo-sim-")
	}
	return os.MkdirTemp("", "tropo-sim-")
}
