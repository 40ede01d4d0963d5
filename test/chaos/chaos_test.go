package chaos

import (
	"context"
	"testing"
)

// proof is one run: faults that happen to a cloud, and what became of them.
type proof struct {
	*tenant
	outcomes []outcome
}

// begin starts a cloud with a witness on each compute node.
func begin(t *testing.T, s *site, sp spec) *proof {
	t.Helper()
	ctx := t.Context()
	c := newCloud(ctx, s, sp)
	tn, err := newTenant(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range c.with("compute") {
		w, err := tn.witness(ctx, "witness-"+n.name, n.name)
		if err == nil {
			err = tn.remember(ctx, w)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return &proof{tenant: tn}
}

// let lets a fault happen and reports what it did.
func (p *proof) let(ctx context.Context, f fault) {
	t := p.c.t
	t.Helper()
	o := p.undergo(ctx, f, uint64(len(p.outcomes)))
	p.outcomes = append(p.outcomes, o)
	t.Logf("%-45s %3d acknowledged, %d retries %v, most attempts %d, slowest answer %.1f s, recovery %.1f s, without ping %.1f s",
		f.name, o.acknowledged, o.stats.retries, o.stats.broken, o.stats.most, o.stats.slowest.Seconds(), o.recovery.Seconds(), o.outage.Seconds())
	if o.err != nil {
		t.Errorf("%s: %v", f.name, o.err)
	}
	if !o.findings.none() {
		t.Errorf("%s:\n%s", f.name, o.findings)
	}
}

// finish checks the guests and prints the table.
func (p *proof) finish(ctx context.Context) {
	t := p.c.t
	t.Helper()
	for _, w := range p.witnesses {
		if err := p.recall(ctx, w); err != nil {
			t.Error(err)
		}
	}
	for _, d := range p.ledger.doubts {
		t.Errorf("never answered: %s", d)
	}
	for _, r := range p.ledger.refused {
		t.Errorf("refused: %s", r)
	}
	t.Logf("\n%s", table(p.outcomes))
}

// TestOneNode proves the harness: a cloud on one machine of the site.
func TestOneNode(t *testing.T) {
	s := newSite(t, "TROPO_CHAOS")
	p := begin(t, s, spec{nodes: []nodeSpec{{"c1", 11, []string{"control", "compute", "network", "storage"}}}})
	ctx, n := t.Context(), p.c.nodes[0]
	p.let(ctx, fault{name: "none", quiet: true, inject: func(context.Context) error { return nil }})
	p.let(ctx, killed(n, false))
	p.let(ctx, paused(n, false))
	for _, d := range []string{"ovs-vswitchd", "ovsdb-server", "ovn-controller", "ovn-northd"} {
		p.let(ctx, daemonKilled(n, d, false))
	}
	p.finish(ctx)
}

// manyNodes are three control, two compute and one network and storage node.
func manyNodes(database, bus string) spec {
	return spec{database: database, bus: bus, nodes: []nodeSpec{
		{"c1", 11, []string{"control"}},
		{"c2", 12, []string{"control"}},
		{"c3", 13, []string{"control"}},
		{"h1", 21, []string{"compute"}},
		{"h2", 22, []string{"compute"}},
		{"g1", 31, []string{"network", "storage"}},
	}}
}

func TestManyNodes(t *testing.T) {
	s := newSite(t, "TROPO_CHAOS")
	p := begin(t, s, manyNodes("postgres", "rabbitmq"))
	ctx := t.Context()
	p.let(ctx, fault{name: "none", quiet: true, inject: func(context.Context) error { return nil }})
	p.finish(ctx)
}
