package sim

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// dice gives every place of a history its own series of random numbers, so
// that what happens at one place does not depend on the order of goroutines.
type dice struct {
	seed uint64
	mu   sync.Mutex
	n    map[string]uint64
}

func newDice(seed uint64) *dice { return &dice{seed: seed, n: map[string]uint64{}} }

// at is the source of the next decision at a place.
func (d *dice) at(place string) *rand.Rand {
	d.mu.Lock()
	d.n[place]++
	n := d.n[place]
	d.mu.Unlock()
	h := fnv.New64a()
	_, _ = h.Write([]byte(place)) // never fails
	return rand.New(rand.NewPCG(d.seed, h.Sum64()+n*0x9e3779b97f4a7c15))
}

// plan is a history as the seed wants it.
type plan struct {
	Seed     uint64
	Controls int
	Hosts    int
	Rates    rates
	Users    [][]op
	Events   []event
}

// rates are per mille of the messages of a kind.
type rates struct {
	BusLose, BusLoseAnswer, BusDelay    int
	HTTPLose, HTTPLoseAnswer, HTTPDelay int
	HTTPLate                            int // given up by the caller, handled afterwards
	DriverFail, DriverSlow, AgentCrash  int
	SagaCrash                           int // of the sides of saga steps
	UserRepeat                          int // of the requests: sent twice at once
}

// op is something a user does.
type op struct {
	Kind  string
	Pause time.Duration
	Wait  bool // for the server to be idle first
	N     [3]int
}

// event is something that befalls the cloud.
type event struct {
	At   time.Duration
	Kind string // crash control, crash agent, cut, power, guest
	Who  int
	For  time.Duration
}

// kinds are what users do, with weights. Changing anything here or in newPlan
// makes other histories of all seeds.
var kinds = []struct {
	name   string
	weight int
}{
	{"create", 20},
	{"delete", 8},
	{"stop", 5},
	{"start", 5},
	{"reboot", 4},
	{"resize", 6},
	{"confirm", 4},
	{"revert", 4},
	{"rebuild", 4},
	{"pause", 2},
	{"unpause", 2},
	{"suspend", 2},
	{"resume", 2},
	{"attach", 5},
	{"detach", 4},
	{"port", 4},
	{"port-delete", 3},
	{"floating", 4},
	{"floating-move", 4},
	{"floating-delete", 2},
	{"disable", 1},
	{"enable", 1},
	{"shelve", 3},
	{"unshelve", 4},
	{"snapshot", 2},
}

func newPlan(seed uint64) *plan {
	r := rand.New(rand.NewPCG(seed, 1))
	p := &plan{Seed: seed, Controls: 1 + r.IntN(3), Hosts: 2 + r.IntN(2)}
	if n := r.IntN(5); n > 0 { // one in five histories has no faults of messages
		up := func(most int) int { return r.IntN(most*n/2 + 1) }
		p.Rates = rates{
			BusLose: up(40), BusLoseAnswer: up(60), BusDelay: up(200),
			HTTPLose: up(20), HTTPLoseAnswer: up(30), HTTPDelay: up(100), HTTPLate: up(10),
			DriverFail: up(30), DriverSlow: up(40), AgentCrash: up(30),
			SagaCrash: up(40), UserRepeat: up(100),
		}
	}
	span := p.drawUsers(r)
	for range r.IntN(4) {
		e := event{At: time.Duration(r.Int64N(int64(span + 20*time.Second))), For: time.Duration(r.IntN(30000)) * time.Millisecond}
		if r.IntN(3) == 0 {
			e.For += time.Duration(r.IntN(90)) * time.Second // longer than a host counts as up
		}
		e.Kind = []string{"crash control", "crash control", "crash agent", "cut", "power", "guest"}[r.IntN(6)]
		e.Who = r.IntN(1000)
		p.Events = append(p.Events, e)
	}
	return p
}

// drawUsers draws what users do and returns how long that takes at least.
func (p *plan) drawUsers(r *rand.Rand) time.Duration {
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	var span time.Duration
	for range 1 + r.IntN(3) {
		var ops []op
		var at time.Duration
		for i := range 4 + r.IntN(7) {
			o := op{Kind: "create", Wait: r.IntN(3) > 0, N: [3]int{r.IntN(1000), r.IntN(1000), r.IntN(1000)}}
			if i > 0 {
				n := r.IntN(total)
				for _, k := range kinds {
					if n -= k.weight; n < 0 {
						o.Kind = k.name
						break
					}
				}
			}
			switch r.IntN(4) {
			case 0:
			case 1:
				o.Pause = time.Duration(r.IntN(200)) * time.Millisecond
			case 2:
				o.Pause = time.Duration(r.IntN(3000)) * time.Millisecond
			case 3:
				o.Pause = time.Duration(r.IntN(20000)) * time.Millisecond
			}
			at += o.Pause
			ops = append(ops, o)
		}
		span = max(span, at)
		p.Users = append(p.Users, ops)
	}
	return span
}

// String prints the plan for a failure.
func (p *plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d control processes, %d hosts, per mille %+v\n", p.Seed, p.Controls, p.Hosts, p.Rates)
	for i, ops := range p.Users {
		for _, o := range ops {
			fmt.Fprintf(&b, "  user %d: after %v %s %v wait=%v\n", i, o.Pause, o.Kind, o.N, o.Wait)
		}
	}
	for _, e := range p.Events {
		fmt.Fprintf(&b, "  at %v: %s %d for %v\n", e.At, e.Kind, e.Who, e.For)
	}
	return b.String()
}
