package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// listed waits until `tropo node list` shows the nodes as up.
func (c *cloud) listed(ctx context.Context, names ...string) error {
	return until(ctx, startTimeout, func(ctx context.Context) error {
		out, err := c.nodes[0].tropo(ctx, "node", "list")
		if err != nil {
			return err
		}
		state := map[string]string{}
		for l := range strings.SplitSeq(out, "\n") {
			if f := strings.Fields(l); len(f) > 1 {
				state[f[0]] = f[1]
			}
		}
		for _, n := range names {
			if state[n] != "up" {
				return fmt.Errorf("%s is not up:\n%s", n, out)
			}
		}
		return nil
	})
}

// empty adds a machine that is of no cloud yet, but has the program.
func (c *cloud) empty(ctx context.Context, ns nodeSpec) (*node, error) {
	n := &node{roles: ns.roles, machine: c.add(ns.name, ns.number, management, service)}
	c.nodes = append(c.nodes, n)
	return n, n.equip(ctx)
}

// TestHowtoAddANode follows docs/howto/add-a-node.md.
func TestHowtoAddANode(t *testing.T) {
	ctx := t.Context()
	s := newSite(t, "TROPO_CHAOS")
	c := newCloud(ctx, s, spec{nodes: []nodeSpec{{"c1", 11, []string{"control", "compute", "network", "storage"}}}, grows: true})
	tn, err := newTenant(ctx, c)
	if err == nil {
		err = c.nodes[0].equip(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	h2, err := c.empty(ctx, nodeSpec{"h2", 22, []string{"compute"}})
	if err != nil {
		t.Fatal(err)
	}
	up := func(ctx context.Context) error {
		return errors.Join(h2.await(ctx), c.listed(ctx, "c1", "h2"),
			until(ctx, time.Minute, func(ctx context.Context) error { return c.agentsAlive(ctx, nil) }))
	}
	r := &reader{c: c, page: "add-a-node.md", before: map[string]func(context.Context) error{
		"node list": up,
		"--host h2 --image": func(ctx context.Context) error {
			return until(ctx, time.Minute, func(ctx context.Context) error { return c.networkAgentAlive(ctx, "h2") })
		},
	}}
	r.follow(ctx, t)
	if err := tn.c.get(ctx, computePath+"/servers", nil); err != nil {
		t.Error(err)
	}
	out, err := c.nodes[0].tropo(ctx, "node", "list")
	if err != nil || !strings.Contains(out, "removed") {
		t.Errorf("h2 should be listed as removed (%v):\n%s", err, out)
	}
}

// TestHowtoThreeControlNodes follows docs/howto/three-control-nodes.md.
func TestHowtoThreeControlNodes(t *testing.T) {
	ctx := t.Context()
	s := newSite(t, "TROPO_CHAOS")
	c := &cloud{site: s}
	c.outside = s.add("outside", 1, management)
	if _, err := postgres(ctx, s.add("services", 5, management)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.end)
	for i, name := range []string{"c1", "c2", "c3"} {
		if _, err := c.empty(ctx, nodeSpec{name, 11 + i, []string{"control"}}); err != nil {
			t.Fatal(err)
		}
	}
	ready := func(n *node) func(context.Context) error {
		return func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, startTimeout)
			defer cancel()
			return n.await(ctx)
		}
	}
	r := &reader{c: c, page: "three-control-nodes.md", before: map[string]func(context.Context) error{
		"node token": ready(c.nodes[0]),
		"--name c3":  ready(c.nodes[1]),
		"node list": func(ctx context.Context) error {
			return errors.Join(ready(c.nodes[2])(ctx), c.listed(ctx, "c1", "c2", "c3"))
		},
	}}
	r.follow(ctx, t)
	password, err := c.nodes[0].password()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range c.nodes {
		// A client of each: all hand out tokens, and believe the others'.
		cl := newClient(c.outside, password, []string{n.endpoint()})
		for _, other := range c.nodes {
			if err := cl.do(ctx, request{method: http.MethodGet, path: computePath + "/servers", only: other.endpoint()}); err != nil {
				t.Errorf("a token of %s at %s: %v", n.name, other.name, err)
			}
		}
	}
}

// TestHowtoWhenAHostDies follows docs/howto/when-a-host-dies.md.
func TestHowtoWhenAHostDies(t *testing.T) {
	ctx := t.Context()
	s := newSite(t, "TROPO_CHAOS")
	c := newCloud(ctx, s, spec{database: "postgres", nodes: []nodeSpec{
		{"c1", 11, []string{"control", "network"}},
		{"c3", 13, []string{"control"}},
		{"h1", 21, []string{"compute"}},
		{"h2", 22, []string{"compute"}},
	}})
	tn, err := newTenant(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range c.nodes {
		if err := n.equip(ctx); err != nil {
			t.Fatal(err)
		}
	}
	w, err := tn.witness(ctx, "w", "h1")
	if err != nil {
		t.Fatal(err)
	}
	h1, c3 := c.node("h1"), c.node("c3")
	r := &reader{c: c, page: "when-a-host-dies.md", before: map[string]func(context.Context) error{
		"node list":            func(context.Context) error { h1.proc.kill(); return nil },
		"service set --down":   func(ctx context.Context) error { return errors.Join(h1.await(ctx), h1.powerOff()) },
		"systemctl start":      func(ctx context.Context) error { return tn.moved(ctx, w, "h2") },
		"service set --up":     func(ctx context.Context) error { return h1.await(ctx) },
		"tropo node remove c3": func(context.Context) error { c3.proc.kill(); return nil },
	}}
	r.follow(ctx, t)
	if f := tn.settle(ctx, settleLimit); !f.none() {
		t.Error(f)
	}
}
