package sim

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"
)

// failed are the seeds that once found something, with a word on what.
var failed = []struct {
	seed uint64
	what string
}{}

func TestSeedsThatFailed(t *testing.T) {
	g := prepare(t)
	for _, f := range failed {
		t.Run(fmt.Sprint(f.seed), func(t *testing.T) { g.play(t, f.seed) })
	}
}

// TestSeed runs one seed, again and again where asked: SIM_SEED, SIM_TIMES.
func TestSeed(t *testing.T) {
	seed := number(t, "SIM_SEED", 0)
	if seed == 0 {
		t.Skip("SIM_SEED names no seed")
	}
	g := prepare(t)
	for i := range number(t, "SIM_TIMES", 1) {
		t.Run(fmt.Sprint(seed, "/", i), func(t *testing.T) { g.play(t, seed) })
		if t.Failed() {
			return
		}
	}
}

// TestHistories runs SIM_SEEDS seeds from SIM_START on.
func TestHistories(t *testing.T) {
	n, start := number(t, "SIM_SEEDS", 60), number(t, "SIM_START", 1)
	if testing.Short() {
		n = min(n, 10)
	}
	g := prepare(t)
	var mu sync.Mutex
	var all []result
	began := time.Now()
	next := start
	t.Run("all", func(t *testing.T) {
		for i := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint("worker", i), func(t *testing.T) {
				t.Parallel()
				for {
					mu.Lock()
					seed := next
					next++
					mu.Unlock()
					if seed >= start+n {
						return
					}
					t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
						r := g.play(t, seed)
						mu.Lock()
						defer mu.Unlock()
						all = append(all, r)
					})
				}
			})
		}
	})
	summary(all, time.Since(began))
}

func summary(all []result, took time.Duration) {
	var ops, faults, bad int
	var rest time.Duration
	for _, r := range all {
		ops += r.ops
		faults += r.faults
		if len(r.bad) > 0 {
			bad++
			fmt.Printf("seed %d: %s\n", r.seed, r.bad[0])
		}
		rest = max(rest, r.rest)
	}
	fmt.Printf("histories %d · operations %d · faults %d · violations %d · longest until at rest %v · %.0f histories per minute\n",
		len(all), ops, faults, bad, rest.Round(time.Second), float64(len(all))/took.Minutes())
}

func number(t *testing.T, env string, without uint64) uint64 {
	t.Helper()
	s := os.Getenv(env)
	if s == "" {
		return without
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", env, err)
	}
	return n
}
