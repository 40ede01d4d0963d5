package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// spec says what a cloud is made of.
type spec struct {
	nodes []nodeSpec
	// database is "postgres", "mariadb" or "" for SQLite on the only control
	// node; bus "rabbitmq" or "" for what tropo brings.
	database, bus string
	grows         bool // nodes may join one that is alone
}

// many reports whether the cloud has or may have several nodes.
func (sp spec) many() bool { return len(sp.nodes) > 1 || sp.grows }

type nodeSpec struct {
	name   string
	number int
	roles  []string
}

// cloud is a running cloud.
type cloud struct {
	*site
	spec
	*client

	nodes    []*node
	outside  *machine // a user's workstation: on the management and the provider network
	database *server
	broker   *server
}

const apiPort = "5000"

// newCloud starts a cloud: the first node by `tropo up`, the others by `tropo
// join` with a token of theirs, as an operator would.
func newCloud(ctx context.Context, s *site, sp spec) *cloud {
	s.t.Helper()
	c := &cloud{site: s, spec: sp}
	if c.many() {
		c.outside = s.add("outside", 1, management, provider)
		if err := c.outside.address(provider); err != nil {
			s.t.Fatal(err)
		}
	}
	begin := time.Now()
	if err := c.startServers(ctx); err != nil {
		s.t.Fatal(err)
	}
	for _, ns := range sp.nodes {
		networks := []network{management, service}
		n := &node{roles: ns.roles}
		if n.is("network") {
			networks = append(networks, provider)
		}
		n.machine = s.add(ns.name, ns.number, networks...)
		c.nodes = append(c.nodes, n)
		if c.outside == nil {
			c.outside = n.machine // all that is reached from outside is reached from here
		}
	}
	if err := c.writeConfig(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.end)
	if err := c.form(ctx); err != nil {
		s.t.Fatal(err)
	}
	s.t.Logf("%d nodes run after %s", len(c.nodes), time.Since(begin).Round(100*time.Millisecond))
	return c
}

func (c *cloud) startServers(ctx context.Context) error {
	if c.spec.database == "" && c.spec.bus == "" {
		return nil
	}
	m := c.add("services", 5, management)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var err error
	switch c.spec.database {
	case "postgres":
		if c.database, err = postgres(ctx, m); err == nil {
			err = c.database.makeDatabases()
		}
	case "mariadb":
		c.database, err = mariadb(ctx, m)
	}
	if err == nil && c.spec.bus == "rabbitmq" {
		c.broker, err = rabbitmq(ctx, m)
	}
	return err
}

// configFile is the same on all nodes, but for what only control nodes know.
func (c *cloud) configFile(n *node) string { return filepath.Join(n.dir, "tropo.conf") }

func (c *cloud) writeConfig() error {
	for _, n := range c.nodes {
		text := "[compute]\nreserved_host_memory_mb = 0\ninitial_cpu_allocation_ratio = 128\n\n[compute.quota]\ninstances = -1\ncores = -1\nram = -1\n"
		if n == c.nodes[0] && c.many() {
			// The others tell this when they join.
			text += "\n[node]\nservice_address = " + service.address(n.number).String() + "\n"
			if n.is("compute") || n.is("network") {
				text += "service_interface = " + service.link + "\n"
			}
			if n.is("network") {
				text += "provider_interface = " + provider.link + "\n"
			}
		}
		if n.is("control") && c.database != nil {
			text += "\n[database]\nconnection = " + c.database.url + "\n"
		}
		if n.is("control") && c.broker != nil {
			text += "\n[bus]\ntransport_url = " + c.broker.url + "\n"
		}
		if err := os.WriteFile(c.configFile(n), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// form starts the first node and joins the others to it.
func (c *cloud) form(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	first := c.nodes[0]
	first.args = append(c.upArgs(first), "--name", first.name)
	if c.many() {
		first.args = append(first.args, "--address", first.ip().String(), "--roles", strings.Join(first.roles, ","))
	}
	if err := first.restart(ctx); err != nil {
		return err
	}
	password, err := first.password()
	if err != nil {
		return err
	}
	c.client = newClient(c.outside, password, nil)
	for _, n := range c.nodes[1:] {
		if err := c.join(ctx, n); err != nil {
			return err
		}
	}
	for _, n := range c.controlNodes() {
		c.controls = append(c.controls, n.endpoint())
	}
	return until(ctx, startTimeout, func(ctx context.Context) error { return c.agentsAlive(ctx, nil) })
}

// join gives a node its place in the cloud and starts it.
func (c *cloud) join(ctx context.Context, n *node) error {
	n.args = c.upArgs(n)
	roles := strings.Join(n.roles, ",")
	token, err := c.nodes[0].tropo(ctx, "node", "token", "--roles", roles, "--ttl", "10m")
	if err != nil {
		return err
	}
	args := []string{
		"join", "https://" + c.nodes[0].ip().String() + ":5443", "--token", strings.TrimSpace(token), "--roles", roles,
		"--name", n.name, "--address", n.ip().String(), "--enrol-only",
	}
	if _, err := n.tropo(ctx, append(args, c.links(n)...)...); err != nil {
		return err
	}
	return n.restart(ctx)
}

// upArgs are the arguments of "tropo up" on a node.
func (c *cloud) upArgs(n *node) []string {
	args := []string{"--config", c.configFile(n), "--log-level", "debug"}
	if n.is("control") {
		args = append(args, "--listen", n.endpoint())
	}
	return args
}

// links are the arguments that tell a node its other networks.
func (c *cloud) links(n *node) []string {
	args := []string{"--service-address", service.address(n.number).String(), "--service-interface", service.link}
	if n.is("network") {
		args = append(args, "--provider-interface", provider.link)
	}
	return args
}

// endpoint is where a control node's APIs are.
func (n *node) endpoint() string { return n.ip().String() + ":" + apiPort }

func (n *node) password() (string, error) {
	b, err := os.ReadFile(filepath.Join(n.state(), "secrets.json"))
	if err != nil {
		return "", err
	}
	var s struct {
		Admin string `json:"admin_password"`
	}
	return s.Admin, json.Unmarshal(b, &s)
}

func (c *cloud) node(name string) *node {
	for _, n := range c.nodes {
		if n.name == name {
			return n
		}
	}
	c.t.Fatalf("there is no node %s", name)
	return nil
}

func (c *cloud) with(role string) []*node {
	var out []*node
	for _, n := range c.nodes {
		if n.is(role) {
			out = append(out, n)
		}
	}
	return out
}

func (c *cloud) controlNodes() []*node { return c.with("control") }

// end takes the cloud down as an operator would: computes first, so that
// their guests' ends are not reported as failures.
func (c *cloud) end() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var err error
	for i := len(c.nodes) - 1; i >= 0; i-- {
		n := c.nodes[i]
		if n.proc == nil {
			continue
		}
		n.resume()
		if e := n.proc.stop(2 * time.Minute); e != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", n.name, e))
		}
		err = errors.Join(err, n.down(ctx))
	}
	if err != nil {
		c.t.Errorf("tropo down: %v", err)
	}
}

// finalError is one that no waiting will change.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// until polls f until it returns nil, or an error that is final.
func until(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := f(ctx)
		var final finalError
		if err == nil || errors.As(err, &final) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %w", limit, err)
		case <-time.After(100 * time.Millisecond): // polls real processes from outside
		}
	}
}
