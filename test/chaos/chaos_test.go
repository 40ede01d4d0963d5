package chaos

import (
	"context"
	"os"
	"regexp"
	"strings"
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

// let lets a fault happen and reports what it did. TROPO_CHAOS_FAULTS, a
// regular expression, chooses among them.
func (p *proof) let(ctx context.Context, f fault) {
	p.c.t.Helper()
	if !chosen(f.name) {
		return
	}
	p.note(p.undergo(ctx, f, uint64(len(p.outcomes))))
}

func chosen(name string) bool {
	ok, err := regexp.MatchString(os.Getenv("TROPO_CHAOS_FAULTS"), name)
	return ok && err == nil
}

// note reports what a fault did.
func (p *proof) note(o outcome) {
	t := p.c.t
	t.Helper()
	p.outcomes = append(p.outcomes, o)
	t.Logf("%s: %d acknowledged, %d retries %v, most attempts %d, slowest answer %.1f s, recovery %.1f s, without ping %.1f s",
		o.fault, o.acknowledged, o.stats.retries, o.stats.broken, o.stats.most, o.stats.slowest.Seconds(), o.recovery.Seconds(), o.outage.Seconds())
	if o.stats.most > 2 {
		t.Logf("%s: the request that took most attempts:\n%s", o.fault, strings.Join(o.stats.story, "\n"))
	}
	if o.err != nil {
		t.Errorf("%s: %v", o.fault, o.err)
	}
	if !o.findings.none() {
		t.Errorf("%s:\n%s", o.fault, o.findings)
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
	if err := p.c.diagnose(ctx, p.c.nodes[0]); err != nil {
		t.Error(err)
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
	p.let(ctx, nothing())
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

// TestChaos is the proof with PostgreSQL and RabbitMQ: every kind of fault.
func TestChaos(t *testing.T) {
	s := newSite(t, "TROPO_CHAOS")
	p := begin(t, s, manyNodes("postgres", "rabbitmq"))
	ctx, c := t.Context(), p.c
	c1, c2, h1, g1 := c.node("c1"), c.node("c2"), c.node("h1"), c.node("g1")
	for _, f := range []fault{
		nothing(),
		killed(c1, true), killed(c2, true), killed(h1, true), killed(g1, true),
		daemonKilled(h1, "ovs-vswitchd", false), daemonKilled(h1, "ovn-controller", true), daemonKilled(h1, "ovsdb-server", false),
		daemonKilled(g1, "ovs-vswitchd", false), daemonKilled(c1, "ovsdb-server", true), daemonKilled(c1, "ovn-northd", true),
		cutOff(h1, management, true, true), cutOff(c1, management, true, true), cutOff(c2, management, true, true), cutOff(h1, service, false, false),
		paused(c1, true), paused(h1, true),
		serverKilled(c.database, false), serverKilled(c.broker, false), serverKilled(c.broker, true),
		rolling(p.tenant),
	} {
		p.let(ctx, f)
	}
	if chosen("boots") {
		p.note(p.brokerLost(ctx, c.broker))
	}
	p.finish(ctx)
}

// TestChaosNATS is the proof with MariaDB and the NATS servers that control
// nodes bring: the faults in which these have a part.
func TestChaosNATS(t *testing.T) {
	s := newSite(t, "TROPO_CHAOS")
	p := begin(t, s, manyNodes("mariadb", ""))
	ctx, c := t.Context(), p.c
	c1, c2, h1 := c.node("c1"), c.node("c2"), c.node("h1")
	for _, f := range []fault{
		nothing(),
		killed(c1, true), killed(h1, true), cutOff(c2, management, true, true), cutOff(h1, management, true, true),
		paused(c1, true), serverKilled(c.database, false), rolling(p.tenant),
	} {
		p.let(ctx, f)
	}
	p.finish(ctx)
}

// TestControlNodes is about three control nodes alone: what they acknowledge
// outlives them, the database and the broker, and the client hardly notices.
func TestControlNodes(t *testing.T) {
	for _, with := range []struct{ database, bus string }{{"postgres", "rabbitmq"}, {"mariadb", ""}} {
		t.Run(with.database, func(t *testing.T) {
			sp := manyNodes(with.database, with.bus)
			sp.nodes = sp.nodes[:3]
			p := begin(t, newSite(t, "TROPO_CHAOS"), sp)
			ctx, c := t.Context(), p.c
			c1, c2 := c.node("c1"), c.node("c2")
			faults := []fault{
				nothing(), killed(c1, true), killed(c2, true), cutOff(c1, management, true, true), cutOff(c2, management, true, true),
				paused(c1, true), serverKilled(c.database, false), rolling(p.tenant),
			}
			if c.broker != nil {
				faults = append(faults, serverKilled(c.broker, false), serverKilled(c.broker, true))
			}
			for _, f := range faults {
				p.let(ctx, f)
			}
			p.finish(ctx)
		})
	}
}
