// Package computetest makes a whole compute service for tests: store, manager,
// agents on simulated hypervisors and the API, with pretended neighbours.
package computetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/bus/inproc"
	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/agent"
	"github.com/tropocloud/tropo/compute/api"
	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/compute/driver/fake"
	"github.com/tropocloud/tropo/compute/manager"
	"github.com/tropocloud/tropo/compute/store"
	"github.com/tropocloud/tropo/config"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/rest"
	"github.com/tropocloud/tropo/task"
)

// Options adapt a Cloud.
type Options struct {
	DB     *db.DB
	Hosts  []string // "host1" if empty
	Config func(*compute.Config)
	Peers  *Peers // a fresh one if nil
	// Hook is the engine's, see task.Options.
	Hook func(saga, step string, undo bool, w task.When)
	// Fail is the drivers', see fake.Config.
	Fail func(ctx context.Context, method, serverID string) error
	// Dir keeps the simulated guests of a host in files, so that they survive
	// Stop; empty: a temporary folder.
	Dir string
	// Images makes hosts fetch image data and wait for ports, as real ones do.
	Images bool
	// Bus, if set, stands between the service and its bus.
	Bus func(bus.Bus) bus.Bus
	// Ready is how many hosts New waits for; 0: as many as Hosts.
	Ready int
}

// Cloud is a running compute service. Parts may be stopped and started again.
type Cloud struct {
	T       testing.TB
	Peers   *Peers
	Store   *store.Store
	Manager *manager.Manager
	Tasks   *task.Engine
	Bus     bus.Bus
	API     *rest.API
	Drivers map[string]*fake.Fake
	Dir     string
	// BootID is told by hosts that are started from now on; empty: the
	// machine's.
	BootID string

	opts    Options
	agents  map[string]func() // end the agents of hosts
	conf    compute.Config
	session *auth.Session
	log     *slog.Logger
	stop    []func()
	ctx     context.Context // ends when the service is stopped
}

// Personas are the tokens that the validator knows.
const (
	Admin   = "admin-token"
	Member  = "member-token"
	Reader  = "reader-token"
	Foreign = "foreign-token" // a member of another project
	Service = "service-token"
)

// Validator knows the personas.
type Validator struct{}

// Validate implements auth.Validator.
func (Validator) Validate(_ context.Context, token string) (*auth.Identity, error) {
	id := &auth.Identity{
		Token: token, User: auth.Ref{ID: User, Name: "user"}, UserDomain: auth.Ref{ID: "default"}, Project: auth.Ref{ID: Project, Name: "project"}, ProjectDomain: auth.Ref{ID: "default"},
		ExpiresAt: time.Now().Add(time.Hour), IssuedAt: time.Now(),
	}
	roles := []string{"member", "reader"}
	switch token {
	case Admin:
		id.User.ID, roles = "admin", []string{"admin", "member", "reader"}
	case Member:
	case Reader:
		roles = []string{"reader"}
	case Foreign:
		id.User.ID, id.Project.ID = "foreign", Other
	case Service:
		id.User.ID, id.Project.ID, roles = "nova", "service", []string{"admin", "service"}
	default:
		return nil, fault.Unauthenticatedf("The request you have made requires authentication.")
	}
	for _, r := range roles {
		id.Roles = append(id.Roles, auth.Ref{ID: r, Name: r})
	}
	return id, nil
}

// New starts a service that ends with the test.
func New(t testing.TB, o Options) *Cloud {
	t.Helper()
	if o.Peers == nil {
		o.Peers = NewPeers()
	}
	if len(o.Hosts) == 0 {
		o.Hosts = []string{"host1"}
	}
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	c := &Cloud{T: t, Peers: o.Peers, Dir: o.Dir, opts: o}
	c.Start()
	t.Cleanup(c.Stop)
	c.Ready()
	return c
}

// Start starts the service over what an earlier one left.
func (c *Cloud) Start() {
	c.T.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c.ctx = ctx
	level := slog.LevelError
	if os.Getenv("TROPO_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	var conf compute.Config
	c.must(config.Load(&conf, config.Sources{}))
	conf.ReportInterval, conf.SyncInterval = time.Second, 200*time.Millisecond
	if c.opts.Config != nil {
		c.opts.Config(&conf)
	}
	transport := &rest.InProcess{}
	transport.Add("cloud", c.Peers)
	session := auth.NewSession(auth.SessionOptions{AuthURL: "http://cloud/identity/v3", Username: "nova", Password: func() string { return "secret" }, Transport: transport})
	c.Bus = inproc.New(inproc.Options{})
	if c.opts.Bus != nil {
		c.Bus = c.opts.Bus(c.Bus)
	}
	var err error
	c.Store, err = store.New(ctx, c.opts.DB)
	c.must(err)
	c.Tasks, err = task.New(ctx, c.opts.DB, task.Options{Owner: "test", Log: log, Hook: c.opts.Hook})
	c.must(err)
	c.Manager, err = manager.New(ctx, manager.Options{Store: c.Store, Config: conf, Tasks: c.Tasks, Bus: c.Bus, Session: session, Host: "control", Log: log})
	c.must(err)
	stopServe, err := c.Manager.Serve(ctx)
	c.must(err)
	c.API, err = api.New(c.Manager, api.Options{Validator: Validator{}, Log: log})
	c.must(err)
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.Tasks.Run(ctx) })
	c.Drivers, c.agents = map[string]*fake.Fake{}, map[string]func(){}
	c.conf, c.session, c.log = conf, session, log
	for _, h := range c.opts.Hosts {
		c.StartHost(h)
	}
	c.stop = []func(){cancel, c.stopHosts, stopServe, wg.Wait, func() { _ = c.Bus.Close() }}
}

// StartHost starts the agent of a host over what it left.
func (c *Cloud) StartHost(h string) {
	c.T.Helper()
	d, err := fake.New(fake.Config{Dir: filepath.Join(c.Dir, h), Hostname: h, Fail: c.opts.Fail})
	c.must(err)
	c.Drivers[h] = d
	o := agent.Options{Host: h, IP: "127.0.0.1", Driver: d, Bus: c.Bus, Session: c.session, WorkDir: filepath.Join(c.Dir, h+"-work"), BootID: c.BootID, Config: c.conf, Log: c.log}
	if c.opts.Images {
		o.Driver, o.Inspect = hungry{d}, agent.Inspect
		o.Cache, err = driver.NewImageCache(filepath.Join(c.Dir, h+"-images"))
		c.must(err)
	}
	a, err := agent.New(c.ctx, o)
	c.must(err)
	ctx, cancel := context.WithCancel(c.ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = a.Run(ctx)
	}()
	c.agents[h] = func() {
		cancel()
		<-ended
	}
}

// StopHost ends the agent of a host; its guests stay as they are.
func (c *Cloud) StopHost(h string) {
	c.agents[h]()
	delete(c.agents, h)
}

func (c *Cloud) stopHosts() {
	for h := range c.agents {
		c.StopHost(h)
	}
}

// Stop ends the service as a crash does: steps under way see their context end
// and are not recorded.
func (c *Cloud) Stop() {
	for _, f := range c.stop {
		f()
	}
	c.stop = nil
}

// hungry is a simulated hypervisor that wants image data.
type hungry struct{ *fake.Fake }

// Host implements driver.Driver.
func (h hungry) Host(ctx context.Context) (driver.Host, error) {
	host, err := h.Fake.Host(ctx)
	host.NeedsImage = true
	return host, err
}

// Ended is closed when the running service is being stopped: hooks that play
// dead wait for it.
func (c *Cloud) Ended() <-chan struct{} { return c.ctx.Done() }

func (c *Cloud) must(err error) {
	c.T.Helper()
	if err != nil {
		c.T.Fatal(err)
	}
}

// Ready waits until placement knows every host.
func (c *Cloud) Ready() {
	c.T.Helper()
	c.Wait("hosts are known", func() bool {
		n := 0
		nodes, err := c.Store.Nodes(context.Background())
		for _, v := range nodes {
			if v.Synced {
				n++
			}
		}
		return err == nil && n >= max(c.opts.Ready, len(c.opts.Hosts))
	})
}

// patience is how long something may take on a machine that does much else.
const patience = time.Minute

// Wait polls until ok holds, for at most a minute.
func (c *Cloud) Wait(what string, ok func() bool) {
	c.T.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	c.T.Fatalf("timeout: %s", what)
}

// Answer is what the API said.
type Answer struct {
	Code   int
	Header http.Header
	Body   m
	Text   string
}

// Call asks the API. version may be empty.
func (c *Cloud) Call(token, version, method, path string, body any) Answer {
	c.T.Helper()
	var in io.Reader = http.NoBody
	if body != nil {
		text, ok := body.(string)
		if !ok {
			b, err := json.Marshal(body)
			c.must(err)
			text = string(b)
		}
		in = bytes.NewBufferString(text)
	}
	r := httptest.NewRequest(method, "http://cloud"+path, in)
	r.Header.Set("X-Auth-Token", token)
	if version != "" {
		r.Header.Set("OpenStack-API-Version", "compute "+version)
	}
	w := httptest.NewRecorder()
	c.API.ServeHTTP(w, r)
	a := Answer{Code: w.Code, Header: w.Header(), Text: w.Body.String(), Body: m{}}
	if strings.HasPrefix(a.Text, "{") {
		c.must(json.Unmarshal([]byte(a.Text), &a.Body))
	}
	return a
}

// Get is the value at a path of keys ("server", "status").
func (a Answer) Get(keys ...string) any {
	var at any = a.Body
	for _, k := range keys {
		doc, _ := at.(m)
		at = doc[k]
	}
	return at
}

// Must is Call that expects a status.
func (c *Cloud) Must(code int, token, version, method, path string, body any) Answer {
	c.T.Helper()
	a := c.Call(token, version, method, path, body)
	if a.Code != code {
		c.T.Fatalf("%s %s: got %d, want %d: %s", method, path, a.Code, code, a.Text)
	}
	return a
}

// Flavor makes a flavor with id "1" and returns its id.
func (c *Cloud) Flavor() string {
	c.T.Helper()
	c.Must(200, Admin, "", "POST", "/v2.1/flavors", m{"flavor": m{"id": "1", "name": "m1.tiny", "ram": 512, "vcpus": 1, "disk": 1}})
	return "1"
}

// Boot asks for a server of flavor "1" and returns its id.
func (c *Cloud) Boot(name string, more m) string {
	c.T.Helper()
	server := m{"name": name, "flavorRef": "1", "imageRef": ImageID, "networks": []m{{"uuid": NetworkID}}}
	for k, v := range more {
		server[k] = v
	}
	return c.Must(202, Member, "", "POST", "/v2.1/servers", m{"server": server}).Get("server", "id").(string)
}

// Status waits until a server has a status and no task.
func (c *Cloud) Status(id, want string) Answer {
	c.T.Helper()
	var last Answer
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		last = c.Call(Admin, "", "GET", "/v2.1/servers/"+id, nil)
		if last.Get("server", "status") == want && last.Get("server", "OS-EXT-STS:task_state") == nil {
			return last
		}
		time.Sleep(5 * time.Millisecond)
	}
	c.T.Fatalf("server %s is not %s: %s", id, want, last.Text)
	return last
}

// Gone waits until a server is deleted.
func (c *Cloud) Gone(id string) {
	c.T.Helper()
	c.Wait("server "+id+" is deleted", func() bool {
		return c.Call(Admin, "", "GET", "/v2.1/servers/"+id, nil).Code == 404
	})
}

// Leaks lists everything that is left of servers: rows, sagas, allocations,
// ports, guests. given are ports that were there before.
func (c *Cloud) Leaks(given ...string) []string {
	c.T.Helper()
	ctx := context.Background()
	var out []string
	for _, table := range []string{"servers", "server_ports", "server_tags", "spawn_orders", "sagas"} {
		n, err := db.Count(ctx, c.opts.DB, "SELECT count(*) FROM "+table)
		c.must(err)
		if n > 0 {
			out = append(out, fmt.Sprintf("%d rows of %s", n, table))
		}
	}
	c.Peers.Do(func() {
		for id := range c.Peers.Allocations {
			out = append(out, "allocation of "+id)
		}
		for id, p := range c.Peers.Ports {
			mine := strings.Contains(strings.Join(given, " "), id)
			if !mine {
				out = append(out, "port "+id)
			} else if p["device_id"] != "" || p["binding:host_id"] != nil && p["binding:host_id"] != "" {
				out = append(out, "bound port "+id)
			}
		}
	})
	for h, d := range c.Drivers {
		list, err := d.List(ctx)
		c.must(err)
		for _, g := range list {
			out = append(out, "guest "+g.ID+" on "+h)
		}
	}
	return out
}
