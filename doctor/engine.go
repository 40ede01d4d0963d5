package doctor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// Options make an Engine; zero values are the defaults.
type Options struct {
	// Pause is the time between the first and the second look: 2 s.
	Pause time.Duration
	// Settle bounds how long the effect of healing is waited for: 20 s.
	Settle time.Duration
	// CheckTime bounds one check: 1 minute.
	CheckTime time.Duration
	Log       *slog.Logger
}

// Engine runs checks. Add all of them before the first Run; it is safe for
// concurrent use then.
type Engine struct {
	o  Options
	mu sync.Mutex // one run at a time: they would heal each other's findings

	reg    sync.Mutex
	checks []Check
}

// New makes an engine without checks.
func New(o Options) *Engine {
	if o.Pause == 0 {
		o.Pause = 2 * time.Second
	}
	if o.Settle == 0 {
		o.Settle = 20 * time.Second
	}
	if o.CheckTime == 0 {
		o.CheckTime = time.Minute
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Engine{o: o}
}

// Add registers checks. A name that stands twice is a mistake in the program.
func (e *Engine) Add(checks ...Check) {
	e.reg.Lock()
	defer e.reg.Unlock()
	for _, c := range checks {
		if slices.ContainsFunc(e.checks, func(have Check) bool { return have.Name == c.Name }) {
			panic("check " + c.Name + " stands twice")
		}
		e.checks = append(e.checks, c)
	}
}

// Names lists the checks in the order in which they run.
func (e *Engine) Names() []string {
	var out []string
	for _, c := range e.all() {
		out = append(out, c.Name)
	}
	return out
}

func (e *Engine) all() []Check {
	e.reg.Lock()
	defer e.reg.Unlock()
	return slices.Clone(e.checks)
}

// passes bounds how often Run heals: one wound may hide another.
const passes = 3

// Run looks, and with heal mends what it may. The error is that of ctx.
func (e *Engine) Run(ctx context.Context, heal bool) (*Report, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	checks := e.all()
	r := &Report{At: time.Now().UTC(), Checks: len(checks), Findings: []Finding{}, Healed: []Finding{}, Unchecked: []Unchecked{}}
	failed := map[key]string{}
	var err error
	r.Findings, r.Unchecked, err = e.surely(ctx, checks, nil)
	for range passes {
		if err != nil || !heal || !fixable(r.Findings, failed) {
			break
		}
		err = e.pass(ctx, checks, r, failed)
	}
	if err != nil {
		return nil, err
	}
	for i := range r.Findings {
		r.Findings[i].Failure = failed[r.Findings[i].key()]
	}
	r.sort()
	r.Took = time.Since(r.At).Seconds()
	return r, nil
}

// fixable reports whether healing was not tried yet for something.
func fixable(list []Finding, failed map[key]string) bool {
	return slices.ContainsFunc(list, func(f Finding) bool {
		_, tried := failed[f.key()]
		return f.Fix != "" && !tried
	})
}

// pass heals what can be healed, waits for the effect and looks again.
func (e *Engine) pass(ctx context.Context, checks []Check, r *Report, failed map[key]string) error {
	tried := map[key]Finding{}
	for i := range checks {
		c := &checks[i]
		var mine []Finding
		for _, f := range r.Findings {
			if _, again := failed[f.key()]; f.Check == c.Name && f.Fix != "" && !again {
				mine = append(mine, f)
			}
		}
		if len(mine) == 0 || c.Heal == nil {
			continue
		}
		// The third look: only what is still so.
		now, _ := e.look(ctx, []Check{*c})
		for _, f := range both(mine, now) {
			tried[f.key()] = f
			if err := e.guard(ctx, func(ctx context.Context) error { return c.Heal(ctx, f) }); err != nil {
				failed[f.key()] = text(err)
				continue
			}
			failed[f.key()] = "The repair was made and has not taken effect."
			e.o.Log.LogAttrs(ctx, slog.LevelInfo, "doctor healed", slog.String("check", f.Check), slog.String("kind", f.Kind), slog.String("id", f.ID), slog.String("fix", f.Fix))
		}
	}
	// What was just changed counts as work under way for a moment, and may
	// hide what else is wrong with it.
	if err := sleep(ctx, e.o.Pause); err != nil {
		return err
	}
	var err error
	r.Findings, r.Unchecked, err = e.surely(ctx, checks, tried)
	for k, f := range tried {
		if !slices.ContainsFunc(r.Findings, func(left Finding) bool { return left.key() == k }) {
			r.Healed = append(r.Healed, f)
			delete(failed, k)
		}
	}
	return err
}

// surely returns what two looks with a pause in between both find. With tried
// it looks again until none of those is left and nothing new comes to light, at
// most for Settle: healing may have begun work that takes a moment.
func (e *Engine) surely(ctx context.Context, checks []Check, tried map[key]Finding) ([]Finding, []Unchecked, error) {
	deadline := time.Now().Add(e.o.Settle)
	first, unchecked := e.look(ctx, checks)
	for {
		if len(first)+len(unchecked) == 0 {
			return first, unchecked, ctx.Err()
		}
		if err := sleep(ctx, e.o.Pause); err != nil {
			return nil, nil, err
		}
		var second []Finding
		second, unchecked = e.look(ctx, checks)
		left := both(first, second)
		healing := tried != nil && (len(left) < len(second) || slices.ContainsFunc(left, func(f Finding) bool { _, ok := tried[f.key()]; return ok }))
		if !healing || time.Now().After(deadline) {
			return left, unchecked, ctx.Err()
		}
		first = second
	}
}

// both returns those of the second list that are in the first too.
func both(first, second []Finding) []Finding {
	out := []Finding{}
	for _, f := range second {
		if slices.ContainsFunc(first, func(g Finding) bool { return g.key() == f.key() }) {
			out = append(out, f)
		}
	}
	return out
}

// look runs the checks one after the other: they share what they read, and
// what they ask of others stays small.
func (e *Engine) look(ctx context.Context, checks []Check) ([]Finding, []Unchecked) {
	l := &Look{facts: map[string]any{}, unchecked: []Unchecked{}}
	for i := range checks {
		l.check = &checks[i]
		mark := len(l.findings)
		if err := e.guard(ctx, func(ctx context.Context) error { return checks[i].Find(ctx, l) }); err != nil {
			l.findings = l.findings[:mark] // half a look
			l.Unchecked("all of it", err)
		}
	}
	return l.findings, l.unchecked
}

// guard bounds f and turns a panic into an error.
func (e *Engine) guard(ctx context.Context, f func(ctx context.Context) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, e.o.CheckTime)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			e.o.Log.LogAttrs(ctx, slog.LevelError, "a check panicked", slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			err = errors.Join(err, fmt.Errorf("panic: %v", p))
		}
	}()
	return f(ctx)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
