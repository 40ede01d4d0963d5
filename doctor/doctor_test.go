package doctor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tropocloud/tropo/doctor"
)

// body is something that can be hurt.
type body struct {
	mu     sync.Mutex
	wounds map[string]bool // id → healable
	seen   map[string]int  // looks at an id
	only   map[string]int  // how many looks a wound shows, if not all
	err    error
	healed []string
	heal   func(id string) error
}

func (b *body) check(name string) doctor.Check {
	return doctor.Check{
		Name: name, Service: "test",
		Find: func(_ context.Context, l *doctor.Look) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			for id, fix := range b.wounds {
				b.seen[id]++
				if n, ok := b.only[id]; ok && b.seen[id] > n {
					continue
				}
				f := doctor.Finding{Kind: "thing", ID: id, Problem: "hurt", Command: "call a person"}
				if fix {
					f.Fix, f.Command = "a plaster", ""
				}
				l.Found(f)
			}
			return b.err
		},
		Heal: func(_ context.Context, f doctor.Finding) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.healed = append(b.healed, f.ID)
			if b.heal != nil {
				return b.heal(f.ID)
			}
			delete(b.wounds, f.ID)
			return nil
		},
	}
}

func newBody(wounds map[string]bool) *body {
	return &body{wounds: wounds, seen: map[string]int{}, only: map[string]int{}}
}

func run(t *testing.T, heal bool, checks ...doctor.Check) *doctor.Report {
	t.Helper()
	e := doctor.New(doctor.Options{Log: slog.New(slog.DiscardHandler)})
	e.Add(checks...)
	r, err := e.Run(t.Context(), heal)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestLooksTwice: what is seen once was work under way.
func TestLooksTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if r := run(t, true, newBody(nil).check("a")); r.Code() != doctor.Clean || time.Since(began) > 0 {
			t.Errorf("clean after %s: %+v", time.Since(began), r)
		}
		b := newBody(map[string]bool{"passing": true, "real": true})
		b.only["passing"] = 1
		r := run(t, false, b.check("a"))
		if len(r.Findings) != 1 || r.Findings[0].ID != "real" || r.Findings[0].Severity != doctor.Error || r.Code() != doctor.Broken || len(b.healed) > 0 {
			t.Errorf("%+v, healed %q", r, b.healed)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("paused %s", took)
		}
	})
}

// TestHeals: only what has a fix, and only what is still so at a third look.
func TestHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBody(map[string]bool{"yes": true, "no": false, "gone": true})
		b.only["gone"] = 2
		r := run(t, true, b.check("a"))
		if strings.Join(b.healed, " ") != "yes" || len(r.Healed) != 1 || len(r.Findings) != 1 || r.Findings[0].ID != "no" || r.Code() != doctor.Broken {
			t.Errorf("healed %q: %+v", b.healed, r)
		}
	})
}

// TestHealingFails: it is told, and not tried for ever.
func TestHealingFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for want, f := range map[string]func(string) error{
			"no plaster left": func(string) error { return errors.New("no plaster left") },
			"panic: oops":     func(string) error { panic("oops") },
			"has not taken":   func(string) error { return nil },
		} {
			b := newBody(map[string]bool{"x": true})
			b.heal = f
			r := run(t, true, b.check("a"))
			if len(b.healed) != 1 || len(r.Findings) != 1 || !strings.Contains(r.Findings[0].Failure, want) || len(r.Healed) > 0 {
				t.Errorf("healed %q: %+v", b.healed, r)
			}
		}
	})
}

// TestHealingTakesTime: what healing began is waited for; and one wound may
// hide another.
func TestHealingTakesTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBody(map[string]bool{"x": true})
		b.heal = func(id string) error {
			time.AfterFunc(9*time.Second, func() {
				b.mu.Lock()
				defer b.mu.Unlock()
				delete(b.wounds, id)
				b.wounds["below"], b.heal = true, nil
			})
			return nil
		}
		r := run(t, true, b.check("a"))
		if strings.Join(b.healed, " ") != "x below" || r.Code() != doctor.Clean || len(r.Healed) != 2 {
			t.Errorf("healed %q: %+v", b.healed, r)
		}
	})
}

// TestUnchecked: what could not be asked is neither whole nor broken, and half
// a look is none.
func TestUnchecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBody(map[string]bool{"x": true})
		b.err = errors.New("the service is away")
		r := run(t, true, b.check("a"), newBody(nil).check("b"))
		if r.Code() != doctor.Incomplete || len(r.Findings) > 0 || len(b.healed) > 0 || len(r.Unchecked) != 1 || r.Unchecked[0].Check != "a" || r.Unchecked[0].Reason != "the service is away" {
			t.Errorf("%+v", r)
		}
		part := doctor.Check{Name: "hosts", Service: "test", Find: func(_ context.Context, l *doctor.Look) error {
			l.Unchecked("host h1", errors.New("no sign of life"))
			return nil
		}}
		r = run(t, false, part, newBody(map[string]bool{"y": false}).check("c"))
		if r.Code() != doctor.Broken || len(r.Unchecked) != 1 || r.Unchecked[0].What != "host h1" {
			t.Errorf("%+v", r)
		}
	})
}

func TestFactsAreReadOncePerLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		use := func(name string) doctor.Check {
			return doctor.Check{Name: name, Service: "test", Find: func(ctx context.Context, l *doctor.Look) error {
				_, err := doctor.Fact(ctx, l, "n", func(context.Context) (int, error) { n++; return n, nil })
				return err
			}}
		}
		run(t, false, use("a"), use("b"))
		if n != 1 {
			t.Errorf("read %d times", n)
		}
	})
}

func TestPrints(t *testing.T) {
	r := &doctor.Report{
		Checks: 3, Findings: []doctor.Finding{
			{Check: "a", Severity: doctor.Error, Service: "compute", Kind: "server", ID: "1", Problem: "stuck", Fix: "unstick it"},
			{Check: "b", Severity: doctor.Warning, Service: "image", Kind: "image", ID: "2", Problem: "no data", Command: "openstack image delete 2"},
			{Check: "c", Severity: doctor.Error, Service: "image", Kind: "image", ID: "3", Problem: "half", Fix: "x", Failure: "no room"},
		},
		Healed:    []doctor.Finding{{Check: "a", Kind: "port", ID: "4", Problem: "lost", Fix: "let go"}},
		Unchecked: []doctor.Unchecked{{Check: "a", Service: "compute", What: "host h1", Reason: "away"}, {Check: "b", Service: "compute", What: "host h1", Reason: "away"}},
	}
	var text bytes.Buffer
	if err := r.WriteTable(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"error     compute  a      server  1   stuck\n", "--fix would heal server 1: unstick it\n", "for a person, image 2: openstack image delete 2\n",
		"not healed: image 3: no room\n", "healed port 4 (lost): let go\n", "not checked: compute host h1 (a, b): away\n", "3 findings, 1 healed, 2 not checked\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	var doc bytes.Buffer
	var back doctor.Report
	if err := r.WriteJSON(&doc); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(doc.Bytes(), &back); err != nil || len(back.Findings) != 3 || back.Findings[1].Command == "" {
		t.Errorf("%v %+v", err, back)
	}
}

func TestTwiceTheSameName(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("was taken")
		}
	}()
	e := doctor.New(doctor.Options{})
	e.Add(newBody(nil).check("a"), newBody(nil).check("a"))
}
