package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"

	"github.com/tropocloud/tropo/host"
)

// cloud is a tropo process with its state folder.
type cloud struct {
	t      *testing.T
	dir    string
	listen string
	flags  []string // of tropo up, beside the usual ones
	cmd    *exec.Cmd
	out    *output
	exited chan error

	compute, network, image, placement, identity *gophercloud.ServiceClient
}

// output is what one process printed.
type output struct {
	mu    sync.Mutex
	text  bytes.Buffer
	ready chan bool // whether it said so, or ended before
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := bytes.Contains(o.text.Bytes(), []byte("\nready"))
	_, _ = o.text.Write(p)
	if !before && bytes.Contains(o.text.Bytes(), []byte("\nready")) {
		o.ready <- true
	}
	return len(p), nil
}

// newCloud starts a cloud that ends, with everything it made, after the test.
func newCloud(t *testing.T) *cloud {
	t.Helper()
	if os.Getenv("TROPO_E2E") == "" {
		t.Skip("end-to-end tests run by make e2e")
	}
	// Not t.TempDir: its path is too long for unix sockets.
	dir, err := os.MkdirTemp("", "tropo-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	c := &cloud{t: t, dir: dir, listen: freeAddress(t)}
	t.Cleanup(func() {
		if t.Failed() {
			c.tail("log/tropo.log")
		}
		c.kill()
		if out, err := exec.Command(os.Getenv("TROPO_BIN"), "down", "--state", dir).CombinedOutput(); err != nil {
			t.Errorf("tropo down: %v\n%s", err, out)
		}
		c.nothingLeft()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return c
}

// freeAddress has a port below those that the kernel hands out: nobody gets it
// while the cloud is down.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(10000+rand.N(20000)))) //nolint:gosec // no secret
		if err == nil {
			defer func() { _ = l.Close() }()
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

// freeSubnet begins the addresses of an IPv4 subnet of 24 bits that no link of the
// host is in: one routing table serves all clouds here, and those that a killed
// test left.
func freeSubnet(t *testing.T) string {
	t.Helper()
	for range 100 {
		begin := fmt.Sprintf("172.28.%d", rand.N(256)) //nolint:gosec // no secret
		links, err := host.Overlapping("", "", netip.MustParsePrefix(begin+".0/24"))
		if err != nil {
			t.Fatal(err)
		}
		if len(links) == 0 {
			return begin
		}
	}
	t.Fatal("no subnet is free")
	return ""
}

// up starts the process and waits until every API answers.
func (c *cloud) up(env ...string) {
	c.t.Helper()
	ready := c.start(env...)
	select {
	case ok := <-ready:
		if !ok {
			c.t.Fatalf("the cloud did not start:\n%s", c.out)
		}
	case <-time.After(5 * time.Minute):
		c.t.Fatalf("the cloud is not ready after 5 minutes:\n%s", c.out)
	}
	if c.compute == nil {
		c.login()
	}
	// Connections to the process before this one would fail a POST.
	http.DefaultClient.CloseIdleConnections()
}

// start starts the process; the channel tells whether every API answers, or
// the process has ended before.
func (c *cloud) start(env ...string) (ready <-chan bool) {
	c.t.Helper()
	// What a process printed last may be read when the next one runs.
	out := &output{ready: make(chan bool, 2)}
	c.out = out
	c.cmd = exec.Command(os.Getenv("TROPO_BIN"), append([]string{"up", "--state", c.dir, "--listen", c.listen, "--log-level", "debug"}, c.flags...)...)
	c.cmd.Env = append(os.Environ(), env...)
	pr, pw, err := os.Pipe()
	if err != nil {
		c.t.Fatal(err)
	}
	c.cmd.Stdout, c.cmd.Stderr = pw, pw
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	_ = pw.Close()
	go func() {
		_, _ = io.Copy(out, pr)
		_ = pr.Close()
		out.ready <- false
	}()
	c.exited = make(chan error, 1)
	cmd, exited := c.cmd, c.exited
	go func() { exited <- cmd.Wait() }()
	return out.ready
}

// kill ends the process as kill -9 does.
func (c *cloud) kill() {
	if c.cmd == nil || c.exited == nil {
		return
	}
	_ = c.cmd.Process.Kill()
	<-c.exited
	c.exited = nil
}

// stop ends the process by SIGTERM and expects a clean end.
func (c *cloud) stop() {
	c.t.Helper()
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-c.exited:
		if err != nil {
			c.t.Errorf("after SIGTERM: %v\n%s", err, c.out)
		}
		c.exited = nil
	case <-time.After(2 * time.Minute):
		c.t.Fatal("still running 2 minutes after SIGTERM")
	}
}

func (c *cloud) tail(file string) {
	b, err := os.ReadFile(filepath.Join(c.dir, file))
	if err != nil {
		return
	}
	var lines []string
	for l := range strings.SplitSeq(string(b), "\n") {
		if !strings.Contains(l, "level=DEBUG") {
			lines = append(lines, l)
		}
	}
	if len(lines) > 60 {
		lines = lines[len(lines)-60:]
	}
	c.t.Logf("%s:\n%s", file, strings.Join(lines, "\n"))
}

func (c *cloud) password() string {
	b, err := os.ReadFile(filepath.Join(c.dir, "secrets.json"))
	if err != nil {
		c.t.Fatal(err)
	}
	var s struct {
		Admin string `json:"admin_password"`
	}
	if err := json.Unmarshal(b, &s); err != nil {
		c.t.Fatal(err)
	}
	return s.Admin
}

func (c *cloud) login() {
	c.t.Helper()
	ctx := context.Background()
	p, err := openstack.AuthenticatedClient(ctx, gophercloud.AuthOptions{
		IdentityEndpoint: "http://" + c.listen + "/identity/v3", Username: "admin", Password: c.password(), DomainID: "default", TenantName: "admin", AllowReauth: true,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	eo := gophercloud.EndpointOpts{Region: "RegionOne"}
	for _, s := range []struct {
		to   **gophercloud.ServiceClient
		make func(*gophercloud.ProviderClient, gophercloud.EndpointOpts) (*gophercloud.ServiceClient, error)
	}{{&c.compute, openstack.NewComputeV2}, {&c.network, openstack.NewNetworkV2}, {&c.image, openstack.NewImageV2}, {&c.placement, openstack.NewPlacementV1}, {&c.identity, openstack.NewIdentityV3}} {
		if *s.to, err = s.make(p, eo); err != nil {
			c.t.Fatal(err)
		}
	}
	c.placement.Microversion = "1.39"
}

// call does one request and fills out; the status must be one of ok.
func (c *cloud) call(s *gophercloud.ServiceClient, method, path string, in, out any, ok ...int) int {
	c.t.Helper()
	code, err := c.try(s, method, path, in, out, ok...)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return code
}

func (c *cloud) try(s *gophercloud.ServiceClient, method, path string, in, out any, ok ...int) (int, error) {
	if len(ok) == 0 {
		ok = []int{200, 201, 202, 204}
	}
	o := &gophercloud.RequestOpts{OkCodes: ok, KeepResponseBody: true}
	if in != nil {
		o.JSONBody = in
	}
	res, err := s.Request(context.Background(), method, s.ServiceURL(strings.Split(path, "/")...), o)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	if out != nil && res.StatusCode < 300 {
		return res.StatusCode, json.NewDecoder(res.Body).Decode(out)
	}
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

type m = map[string]any

// until polls f until it is true; what says what is waited for.
func (c *cloud) until(what string, limit time.Duration, f func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(limit)
	for !f() {
		if time.Now().After(deadline) {
			c.t.Fatalf("not after %s: %s", limit, what)
		}
		time.Sleep(100 * time.Millisecond) // polls a real process from outside
	}
}

// guestImage uploads the guest image once per cloud and returns its id.
func (c *cloud) guestImage() string {
	c.t.Helper()
	var i struct{ ID string }
	c.call(c.image, "POST", "images", m{"name": "guest", "disk_format": "qcow2", "container_format": "bare", "visibility": "public"}, &i)
	f, err := os.Open(os.Getenv("TROPO_GUEST"))
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	res, err := c.image.Request(context.Background(), http.MethodPut, c.image.ServiceURL("images", i.ID, "file"), &gophercloud.RequestOpts{
		RawBody: f, OkCodes: []int{204}, MoreHeaders: map[string]string{"Content-Type": "application/octet-stream"},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	_ = res.Body.Close()
	return i.ID
}

func (c *cloud) flavor(ram int) string {
	c.t.Helper()
	var f struct{ Flavor struct{ ID string } }
	c.call(c.compute, "POST", "flavors", m{"flavor": m{"name": fmt.Sprintf("f%d", ram), "ram": ram, "vcpus": 1, "disk": 1}}, &f)
	return f.Flavor.ID
}

// tenantNetwork makes a network with a subnet and returns its id.
func (c *cloud) tenantNetwork(name, cidr string) string {
	c.t.Helper()
	var n struct{ Network struct{ ID string } }
	c.call(c.network, "POST", "networks", m{"network": m{"name": name}}, &n)
	c.call(c.network, "POST", "subnets", m{"subnet": m{"network_id": n.Network.ID, "ip_version": 4, "cidr": cidr}}, nil)
	return n.Network.ID
}

// netns is the namespace of the cloud's dataplane.
func (c *cloud) netns() string {
	out, err := exec.Command("ip", "netns", "list").Output()
	if err != nil {
		c.t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(c.dir, "run", "netns"))
	if err != nil {
		c.t.Fatal(err)
	}
	name := strings.TrimSpace(string(b))
	if !strings.Contains(string(out), name) {
		return ""
	}
	return name
}

// processes lists the processes whose command line names the state folder.
func (c *cloud) processes(program string) []string {
	dirs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		c.t.Fatal(err)
	}
	var found []string
	for _, f := range dirs {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // ended meanwhile
		}
		line := strings.ReplaceAll(string(b), "\x00", " ")
		cwd, _ := os.Readlink(filepath.Join(filepath.Dir(f), "cwd"))
		if strings.Contains(line, program) && (strings.Contains(line, c.dir) || strings.HasPrefix(cwd, c.dir)) {
			found = append(found, line)
		}
	}
	return found
}

// taps lists the guests' interfaces.
func (c *cloud) taps() []string {
	ns := c.netns()
	if ns == "" {
		return nil
	}
	out, err := exec.Command("ip", "-n", ns, "-o", "link").Output()
	if err != nil {
		c.t.Fatal(err)
	}
	var taps []string
	for l := range strings.SplitSeq(string(out), "\n") {
		if f := strings.Fields(l); len(f) > 1 && strings.HasPrefix(f[1], "tap") {
			taps = append(taps, f[1])
		}
	}
	return taps
}

// nothingLeft fails if tropo down left a process or a namespace. A command that
// the killed process ran may take a moment to its end.
func (c *cloud) nothingLeft() {
	c.t.Helper()
	left := c.processes("")
	for end := time.Now().Add(30 * time.Second); len(left) > 0 && time.Now().Before(end); left = c.processes("") {
		time.Sleep(100 * time.Millisecond) // polls real processes from outside
	}
	if len(left) > 0 {
		c.t.Errorf("processes left: %q", left)
	}
	if b, err := os.ReadFile(filepath.Join(c.dir, "run", "netns")); err == nil {
		name := strings.TrimSpace(string(b))
		out, err := exec.Command("ip", "netns", "list").Output()
		if err != nil || strings.Contains(string(out), name) {
			c.t.Errorf("namespace left: %s (%v)", name, err)
		}
		links, err := exec.Command("ip", "-o", "link").Output()
		if err != nil || strings.Contains(string(links), " tr"+strings.TrimPrefix(name, "tropo-")) {
			c.t.Errorf("links left (%v):\n%s", err, links)
		}
	}
}

// leaks says what is left of servers when there is none: rows, allocations,
// ports, dataplane ports, taps, processes, files.
func (c *cloud) leaks() []string {
	c.t.Helper()
	var left []string
	add := func(format string, args ...any) { left = append(left, fmt.Sprintf(format, args...)) }
	var servers struct{ Servers []m }
	c.call(c.compute, "GET", "servers", nil, &servers)
	for _, s := range servers.Servers {
		add("server %v", s["id"])
	}
	var ports struct{ Ports []m }
	c.call(c.network, "GET", "ports", nil, &ports)
	for _, p := range ports.Ports {
		if owner, _ := p["device_owner"].(string); strings.HasPrefix(owner, "compute:") || owner == "" {
			add("port %v of %v", p["id"], p["device_id"])
		}
	}
	var providers struct {
		Providers []struct{ UUID string } `json:"resource_providers"`
	}
	c.call(c.placement, "GET", "resource_providers", nil, &providers)
	for _, p := range providers.Providers {
		var a struct{ Allocations m }
		c.call(c.placement, "GET", "resource_providers/"+p.UUID+"/allocations", nil, &a)
		for consumer := range a.Allocations {
			add("allocation of %s", consumer)
		}
	}
	for _, p := range c.processes("qemu-system") {
		add("process %.80s", p)
	}
	for _, t := range c.taps() {
		add("tap %s", t)
	}
	files, err := filepath.Glob(filepath.Join(c.dir, "compute", "instances", "*"))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, f := range files {
		add("file %s", f)
	}
	return left
}
