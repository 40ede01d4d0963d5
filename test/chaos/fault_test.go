package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"
)

// fault is something that happens to a cloud.
type fault struct {
	name   string
	inject func(context.Context) error
	// heal ends the fault; nil: the cloud must recover from it by itself.
	heal func(context.Context) error
	// hold is how long the fault lasts at least.
	hold time.Duration
	// victim is the node that is not to be counted on while the fault lasts.
	// With around, all others must do all their work again meanwhile.
	victim *node
	around bool
	// quiet says that the pings of guests must not notice; otherwise they
	// may be lost as long as the fault lasts, and the recovery from it.
	quiet bool
}

// outcome is what became of one fault.
type outcome struct {
	fault        string
	acknowledged int
	stats        stats
	recovery     time.Duration // from the fault (around) or its end to a cloud that does everything again
	outage       time.Duration // the longest time without an answer to a ping
	lasted       time.Duration
	findings     findings
	err          error
}

const (
	// recoveryLimit is when waiting for a recovery ends as a failure.
	recoveryLimit = 2 * time.Minute
	// settleLimit is how long what was acknowledged may take to be true.
	settleLimit = 90 * time.Second
	// slow is from when on a recovery tells what it waited for.
	slow = 10 * time.Second
)

// undergo lets the fault happen under load and returns when the cloud has
// recovered and been compared with the ledger.
func (t *tenant) undergo(ctx context.Context, f fault, seed uint64) outcome {
	o := outcome{fault: f.name}
	t.c.stats.take()
	acks := t.ledger.acknowledged()
	l := t.startLoad(ctx, 3, seed)
	begin := time.Now()
	o.err = t.happen(ctx, f, &o)
	l.stop()
	end := time.Now()
	o.findings = t.settle(ctx, settleLimit)
	for _, w := range t.witnesses {
		o.outage = max(o.outage, w.outage(begin, end))
	}
	o.acknowledged = t.ledger.acknowledged() - acks
	o.stats = t.c.stats.take()
	o.err = errors.Join(o.err, t.checkOutage(f, o))
	return o
}

// happen injects and heals.
func (t *tenant) happen(ctx context.Context, f fault, o *outcome) error {
	begin := time.Now()
	if err := f.inject(ctx); err != nil {
		return err
	}
	injected := time.Now()
	o.lasted = injected.Sub(begin)
	if f.heal == nil {
		var err error
		o.recovery, err = t.recover(ctx, injected, nil)
		return err
	}
	var err error
	if f.around {
		o.recovery, err = t.recover(ctx, injected, f.victim)
	}
	select {
	case <-ctx.Done():
	case <-time.After(f.hold - time.Since(begin)):
	}
	healed := time.Now()
	if e := f.heal(ctx); e != nil {
		return errors.Join(err, e)
	}
	o.lasted = time.Since(begin)
	after, e := t.recover(ctx, healed, nil)
	o.recovery = max(o.recovery, after)
	return errors.Join(err, e)
}

// outageMargin is what the answers of pings may be late on a busy machine.
const outageMargin = 5 * time.Second

func (t *tenant) checkOutage(f fault, o outcome) error {
	limit := outageMargin
	if !f.quiet {
		limit += o.lasted + o.recovery
	}
	if o.outage > limit {
		return fmt.Errorf("guests did not answer for %s", o.outage.Round(100*time.Millisecond))
	}
	return nil
}

// recover measures how long after a time the cloud, but for the victim, does
// everything again: each control node answers for each service, the agents are
// alive, servers are built and deleted on each host, guests answer. A victim is
// not asked for it: that a client waits for one that stands still says nothing
// about the others. The load does ask it.
func (t *tenant) recover(ctx context.Context, since time.Time, victim *node) (time.Duration, error) {
	laps := &laps{since: since}
	ctx = avoiding(ctx, victim)
	err := until(ctx, recoveryLimit, func(ctx context.Context) error { return laps.end("", t.healthy(ctx, victim, laps)) })
	took := time.Since(since)
	if took > slow {
		t.c.t.Logf("a recovery of %.1f s:\n%s", took.Seconds(), strings.Join(laps.lines, "\n"))
	}
	if err != nil {
		err = fmt.Errorf("the cloud has not recovered: %w", err)
		t.dump()
	}
	return took, err
}

// dump lets the control nodes print what their goroutines do, which ends them,
// where TROPO_CHAOS_DUMP asks for it.
func (t *tenant) dump() {
	if os.Getenv("TROPO_CHAOS_DUMP") == "" {
		return
	}
	for _, n := range t.c.controlNodes() {
		n.proc.signal(syscall.SIGQUIT)
	}
}

// laps notes what took long in a recovery, or failed, for a person.
type laps struct {
	since, last time.Time
	lines       []string
	failed      string
}

// end ends a lap that began with the end of the last one, and returns err. An
// error that is the same as before is noted once.
func (l *laps) end(what string, err error) error {
	now, begin := time.Now(), l.last
	if begin.IsZero() {
		begin = l.since
	}
	l.last = now
	if err != nil {
		what = err.Error()
	}
	if err != nil && what != l.failed || now.Sub(begin) > time.Second {
		l.lines = append(l.lines, fmt.Sprintf("%.1f to %.1f s: %s", begin.Sub(l.since).Seconds(), now.Sub(l.since).Seconds(), what))
	}
	if err != nil {
		l.failed = what
	}
	return err
}

func (t *tenant) healthy(ctx context.Context, victim *node, laps *laps) error {
	for _, n := range t.c.controlNodes() {
		if n == victim {
			continue
		}
		for _, path := range []string{identityPath + "/projects", imagePath + "/images", placementPath + "/resource_providers", computePath + "/servers", networkPath + "/networks"} {
			if err := t.c.once(ctx, request{method: http.MethodGet, path: path, only: n.endpoint()}); err != nil {
				return err
			}
		}
	}
	_ = laps.end("each API", nil)
	if err := t.c.agentsAlive(ctx, victim); err != nil {
		return err
	}
	_ = laps.end("agents", nil)
	asked := time.Now()
	for _, n := range t.c.with("compute") {
		if n == victim {
			continue
		}
		if err := t.canary(ctx, n.name); err != nil {
			return err
		}
		_ = laps.end("a server on "+n.name, nil)
	}
	for _, w := range t.witnesses {
		if (victim == nil || w.host != victim.name && !victim.is("network")) && !w.answered(asked) {
			return fmt.Errorf("the guest %s does not answer", w.name)
		}
	}
	return nil
}

// agentsAlive asks what a person would: openstack compute service list, and
// network agent list.
func (c *cloud) agentsAlive(ctx context.Context, victim *node) error {
	var services struct {
		Services []struct{ Binary, Host, State string }
	}
	if err := c.get(ctx, computePath+"/os-services", &services); err != nil {
		return err
	}
	up := map[string]bool{}
	for _, s := range services.Services {
		up[s.Host] = up[s.Host] || s.Binary == "nova-compute" && s.State == "up"
	}
	for _, n := range c.with("compute") {
		if n != victim && !up[n.name] {
			return fmt.Errorf("nova-compute on %s is not up", n.name)
		}
	}
	for _, n := range c.nodes {
		if n != victim && (n.is("compute") || n.is("network")) {
			if err := c.networkAgentAlive(ctx, n.name); err != nil {
				return err
			}
		}
	}
	return nil
}

// networkAgentAlive asks as openstack network agent list does.
func (c *cloud) networkAgentAlive(ctx context.Context, host string) error {
	var out struct {
		Agents []struct {
			Host  string
			Alive bool
		}
	}
	if err := c.get(ctx, networkPath+"/agents?host="+host, &out); err != nil {
		return err
	}
	for _, a := range out.Agents {
		if a.Host == host && a.Alive {
			return nil
		}
	}
	return fmt.Errorf("no network agent on %s is alive", host)
}

// nothing is no fault: what a cloud does by itself, for comparison.
func nothing() fault {
	return fault{name: "none", quiet: true, inject: func(context.Context) error { return nil }}
}

// killed is kill -9 of a node's tropo; it stays down for a while.
func killed(n *node, around bool) fault {
	return fault{
		name: fmt.Sprintf("kill -9 tropo on %s (%s)", n.name, n.roles[0]), victim: n, around: around, quiet: true, hold: 12 * time.Second,
		inject: func(context.Context) error { n.proc.kill(); return nil },
		heal:   n.restart,
	}
}

// daemonKilled is kill -9 of a daemon that tropo must start anew.
func daemonKilled(n *node, program string, quiet bool) fault {
	return fault{
		name: fmt.Sprintf("kill -9 %s on %s", program, n.name), quiet: quiet,
		inject: func(context.Context) error { return n.killDaemon(program) },
	}
}

// cutOff is a node without one of its networks.
func cutOff(n *node, net network, around, quiet bool) fault {
	return fault{
		name: fmt.Sprintf("cut %s from %s", n.name, net.name), victim: n, around: around, quiet: quiet, hold: 15 * time.Second,
		inject: func(context.Context) error { return n.cut(net) },
		heal:   func(context.Context) error { return n.mend(net) },
	}
}

// paused is a node whose tropo stands still.
func paused(n *node, around bool) fault {
	return fault{
		name: "pause " + n.name, victim: n, around: around, quiet: true, hold: 15 * time.Second,
		inject: func(context.Context) error { n.pause(); return nil },
		heal:   func(context.Context) error { n.resume(); return nil },
	}
}

// serverKilled is kill -9 of a database or a broker, and its start some
// seconds later; wiped: without what it knew.
func serverKilled(s *server, wiped bool) fault {
	name := "kill -9 " + s.name
	if wiped {
		name += ", throw its data away"
	}
	return fault{
		name: name, quiet: true, hold: 5 * time.Second,
		inject: func(context.Context) error {
			s.kill()
			if wiped {
				return s.wipe()
			}
			return nil
		},
		heal: s.start,
	}
}

// rolling is the restart of all control nodes, one after the other, as an
// operator does it for a new version.
func rolling(t *tenant) fault {
	return fault{
		name: "rolling restart of the control nodes", quiet: true,
		inject: func(ctx context.Context) error {
			for _, n := range t.c.controlNodes() {
				if err := n.proc.stop(30 * time.Second); err != nil {
					return err
				}
				if err := n.restart(ctx); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
