package chaos

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

// boots is how many servers boot while the broker's data is thrown away.
func boots() int {
	if n, err := strconv.Atoi(os.Getenv("TROPO_CHAOS_BOOTS")); err == nil && n > 0 {
		return n
	}
	return 100
}

// brokerLost is the loss of the broker, with all it knew, in the middle of
// many boots: everything acknowledged must be there in the end.
func (t *tenant) brokerLost(ctx context.Context, s *server) outcome {
	n := boots()
	o := outcome{fault: fmt.Sprintf("throw the broker's data away amid %d boots", n)}
	t.c.stats.take()
	acks := t.ledger.acknowledged()
	begin := time.Now()
	var wg sync.WaitGroup
	var lost error
	asked := make(chan *entry, n)
	half := make(chan struct{})
	wg.Go(func() {
		defer close(asked)
		for i := range n {
			if i == n/2 {
				close(half)
			}
			e := t.make(ctx, serverKind)
			if e.made {
				asked <- e
			}
		}
	})
	<-half
	broken := time.Now()
	s.kill()
	if lost = s.wipe(); lost == nil {
		lost = s.start(ctx)
	}
	o.lasted = time.Since(broken)
	wg.Wait()
	o.err = lost
	// Booting them is the machine's work: the limit is only there to end.
	if f := t.settle(ctx, 6*time.Minute); !f.none() {
		o.findings = f
	}
	o.recovery = time.Since(broken) - o.lasted
	for e := range asked {
		t.ledger.hold(e)
		t.unmake(ctx, e)
	}
	for _, w := range t.witnesses {
		o.outage = max(o.outage, w.outage(begin, time.Now()))
	}
	if f := t.settle(ctx, 4*time.Minute); o.findings.none() {
		o.findings = f
	}
	o.acknowledged, o.stats = t.ledger.acknowledged()-acks, t.c.stats.take()
	return o
}
