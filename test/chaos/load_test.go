package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// load creates and deletes things at all control nodes as long as it runs.
type load struct {
	t      *tenant
	cancel context.CancelFunc
	wg     sync.WaitGroup
	pause  time.Duration // of a worker between two requests
}

// most is how many things of a kind the load keeps at most.
var most = map[kind]int{serverKind: 5, portKind: 8, floatingIPKind: 6, imageKind: 4}

var sequence atomic.Int64

// patience is how long the load asks for an answer before it gives up, which
// is a failure of the test.
const patience = 2 * time.Minute

// startLoad starts workers; seed makes their choices repeatable.
func (t *tenant) startLoad(ctx context.Context, workers int, seed uint64) *load {
	l := &load{t: t, pause: 150 * time.Millisecond}
	ctx, l.cancel = context.WithCancel(ctx)
	for i := range workers {
		l.wg.Go(func() { l.work(ctx, rand.New(rand.NewPCG(seed, uint64(i)))) }) //nolint:gosec // not for secrets
	}
	return l
}

// stop ends the load; each request that was begun is brought to its end.
func (l *load) stop() {
	l.cancel()
	l.wg.Wait()
}

func (l *load) work(ctx context.Context, r *rand.Rand) {
	for ctx.Err() == nil {
		// What is begun is ended, whatever becomes of ctx.
		own, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		k := l.t.kinds[r.IntN(len(l.t.kinds))]
		have := l.t.ledger.count(k)
		if have < most[k] && (have == 0 || r.IntN(2) == 0) {
			l.t.make(own, k)
		} else if e := l.t.ledger.pick(k); e != nil {
			l.t.unmake(own, e)
		}
		cancel()
		select {
		case <-ctx.Done():
		case <-time.After(l.pause):
		}
	}
}

// make creates one thing and notes what was answered.
func (t *tenant) make(ctx context.Context, k kind) *entry {
	e := t.ledger.ask(k, fmt.Sprintf("%s%06d", t.prefix, sequence.Add(1)))
	id, err := t.request(ctx, e, "")
	t.ledger.created(e, id, err)
	return e
}

// request asks for the thing; a server may be asked for on a host.
func (t *tenant) request(ctx context.Context, e *entry, host string) (string, error) {
	switch e.kind {
	case serverKind:
		body := m{"name": e.name, "imageRef": t.blank, "flavorRef": t.tiny, "networks": []m{{"uuid": t.private}}}
		if host != "" {
			body["availability_zone"] = "nova:" + host
		}
		var out struct{ Server made }
		err := t.c.create(ctx, computePath+"/servers", m{"server": body}, &out)
		return out.Server.ID, err
	case portKind:
		var out struct{ Port made }
		err := t.c.create(ctx, networkPath+"/ports", m{"port": m{"name": e.name, "network_id": t.private}}, &out)
		return out.Port.ID, err
	case floatingIPKind:
		var out struct{ FloatingIP made }
		err := t.c.create(ctx, networkPath+"/floatingips", m{"floatingip": m{"description": e.name, "floating_network_id": t.external}}, &out)
		return out.FloatingIP.ID, err
	case imageKind:
		return t.c.image(ctx, e.name, "raw", make([]byte, 64<<10))
	}
	return "", fmt.Errorf("there is no kind %s", e.kind)
}

// path is where the thing is in its API.
func (e *entry) path() string {
	switch e.kind {
	case serverKind:
		return computePath + "/servers/" + e.id
	case portKind:
		return networkPath + "/ports/" + e.id
	case floatingIPKind:
		return networkPath + "/floatingips/" + e.id
	default:
		return imagePath + "/images/" + e.id
	}
}

// unmake deletes a thing that pick chose, and notes what was answered.
func (t *tenant) unmake(ctx context.Context, e *entry) {
	t.ledger.deleted(e, t.c.remove(ctx, e.path()))
}

// canary boots and deletes a server on a host: all that a cloud must do for a
// server works again.
func (t *tenant) canary(ctx context.Context, host string) error {
	e := t.ledger.ask(serverKind, fmt.Sprintf("canary-%06d", sequence.Add(1)))
	e.kept = true
	id, err := t.request(ctx, e, host)
	t.ledger.created(e, id, err)
	if err != nil {
		return err
	}
	err = t.c.active(ctx, id)
	t.ledger.deleted(e, t.c.remove(context.WithoutCancel(ctx), e.path()))
	if err != nil {
		// Another canary may fare better.
		return fmt.Errorf("canary on %s: %v", host, err) //nolint:errorlint // not final any more
	}
	return until(ctx, patience, func(ctx context.Context) error {
		err := t.c.get(ctx, e.path(), nil)
		if code(err) == http.StatusNotFound {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("the canary on %s is not deleted", host)
		}
		return err
	})
}
