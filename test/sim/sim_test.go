package sim

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// failed are the seeds that once found something, with a word on what. What was
// found before the plans got their present form is tested in
// compute/manager/simulated_test.go.
var failed = []struct {
	seed uint64
	what string
}{
	{90, "a look at a server's ports wrote back into the row what was deleted meanwhile"},
	{121, "the image of a snapshot that never began was left, as the answer to its request was lost"},
	{122, "a server in error, on no host, was stopped: any host was asked, one had the guest of its failed build left"},
	{353, "a server was deleted while the request for its port was under way, which left the port"},
	{437, "a server with the larger disk of a reverted resize was evacuated with the smaller one"},
	{797, "two actions within the same microsecond: the check took the first for the last"},
	{881, "a server was deleted while a resize was being confirmed: the record of that never ended"},
	{1144, "as 1417"},
	{1182, "a port was given to two servers at once, of which one failed: the check took its row for the port's"},
	{1417, "the port of a shelved server was deleted by its user: the server kept naming it"},
	{1731, "a claim, and the request for the image of a shelved server, were handled when they had been given up"},
	{3583, "a server was deleted before its snapshot began: the image was left"},
	{10235, "a claim whose process died was taken for made: placement answers for any consumer"},
	{10347, "a port was asked for twice and attached twice to a server"},
	{11135, "a resize could not be reverted: what the server held before was never given back"},
}

func TestSeedsThatFailed(t *testing.T) {
	g := prepare(t)
	for _, f := range failed {
		t.Run(fmt.Sprint(f.seed), func(t *testing.T) { g.play(t, f.seed, func(result) {}) })
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
		t.Run(fmt.Sprint(seed, "/", i), func(t *testing.T) { g.play(t, seed, func(result) {}) })
		if t.Failed() {
			return
		}
	}
}

// budget ends a run that nobody asked a number of seeds of.
const budget = 30 * time.Second

// TestHistories runs SIM_SEEDS seeds from SIM_START on; without, the first 40 or
// as many as half a minute allows.
func TestHistories(t *testing.T) {
	n, start := number(t, "SIM_SEEDS", 0), number(t, "SIM_START", 1)
	end := time.Now().Add(1000 * time.Hour)
	if n == 0 {
		n, end = 40, time.Now().Add(budget)
	}
	if testing.Short() {
		n = min(n, 10)
	}
	// Little lives long here: memory is cheaper than looking for it.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
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
					if seed >= start+n || time.Now().After(end) {
						return
					}
					t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
						g.play(t, seed, func(r result) {
							mu.Lock()
							defer mu.Unlock()
							all = append(all, r)
						})
					})
				}
			})
		}
	})
	summary(all, time.Since(began))
}

// summary prints what a person wants to know of a run.
func summary(all []result, took time.Duration) {
	var sum result
	bad := 0
	for _, r := range all {
		sum.ops += r.ops
		sum.faults += r.faults
		sum.rest = max(sum.rest, r.rest)
		if len(r.bad) > 0 {
			bad++
			fmt.Printf("seed %d: %s\n", r.seed, r.bad[0])
		}
	}
	cpu := time.Duration(0)
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err == nil {
		cpu = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	n := float64(max(1, len(all)))
	fmt.Printf("histories               %d\n", len(all))
	fmt.Printf("operations              %d\n", sum.ops)
	fmt.Printf("faults injected         %d\n", sum.faults)
	fmt.Printf("violations              %d\n", bad)
	fmt.Printf("longest until at rest   %v (simulated)\n", sum.rest.Round(time.Second))
	fmt.Printf("histories per minute    %.0f (%.2f s of processor time each)\n", n/took.Minutes(), cpu.Seconds()/n)
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
