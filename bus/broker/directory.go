package broker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/bus"
)

// Bounds of the directory.
const (
	peersFresh = 2 * time.Second // how long an answer to "who serves" is believed
	maxPeers   = 4096            // servers known for one target
	maxAsked   = 20_000          // targets known
)

// peer is a server that answered.
type peer struct{ host, conn string }

// peers are the servers of one target, as they answered last.
type peers struct {
	list   []peer
	turn   int
	until  time.Time     // when to ask again
	asking chan struct{} // not nil: closed when there is an answer, or none came
	err    error         // of the last time it was asked
}

// find returns the next server of t (its Key plays no part), asking all of the
// topic when the last answers are old.
func (b *Bus) find(ctx context.Context, t bus.Target, method string) (peer, error) {
	t.Key = ""
	for asked := false; ; asked = true {
		b.mu.Lock()
		if b.closed {
			b.mu.Unlock()
			return peer{}, errClosed()
		}
		p := b.peersOf(t)
		if len(p.list) > 0 && (asked || time.Now().Before(p.until)) {
			p.turn++
			found := p.list[p.turn%len(p.list)]
			b.mu.Unlock()
			return found, nil
		}
		if asked && p.asking == nil {
			err := p.err
			b.mu.Unlock()
			if err == nil || errors.Is(err, ErrNobody) {
				return peer{}, bus.NobodyServes(t)
			}
			return peer{}, unavailable(err)
		}
		if p.asking == nil {
			p.asking = make(chan struct{})
			b.tasks.Go(func() { b.ask(t, p) })
		}
		asking := p.asking
		b.mu.Unlock()
		select {
		case <-asking:
		case <-ctx.Done():
			return peer{}, bus.NoAnswer(ctx, t, method)
		}
	}
}

// peersOf is called with b.mu held.
func (b *Bus) peersOf(t bus.Target) *peers {
	p := b.peers[t]
	if p == nil {
		if len(b.peers) >= maxAsked {
			clear(b.peers)
		}
		p = new(peers)
		b.peers[t] = p
	}
	return p
}

// ask asks who serves t. It ends the wait at the first answer and goes on to
// collect the others for as long as they may take.
func (b *Bus) ask(t bus.Target, p *peers) {
	first := true
	id := uuid.NewString()
	finish := func(err error) { // with b.mu held
		if first {
			first = false
			p.list, p.err, p.until = nil, err, time.Now().Add(peersFresh)
			close(p.asking)
			p.asking = nil
		}
	}
	nobody := make(chan struct{}, 1)
	err := b.expect(id, func(a *envelope) {
		if a.Status != statusHere {
			select {
			case nobody <- struct{}{}:
			default:
			}
			return
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		finish(nil)
		for _, host := range a.Hosts {
			if found := (peer{host, a.From}); len(p.list) < maxPeers && !slices.Contains(p.list, found) {
				p.list = append(p.list, found)
			}
		}
	})
	defer b.unexpect(id)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), b.opts.Patience)
		_, err = b.send(ctx, Address{Kind: All, Topic: t.Topic}, &envelope{Kind: kindWho, ID: id, From: b.id, Topic: t.Topic, Host: t.Host})
		cancel()
	}
	if err == nil {
		err = ErrNobody // unless an answer comes first
		timer := time.NewTimer(b.opts.Discover)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-nobody:
		case <-b.done:
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	finish(err)
}

// forget takes a server out that did not answer.
func (b *Bus) forget(t bus.Target, gone peer) {
	t.Key = ""
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.peers[t]; p != nil {
		p.list = slices.DeleteFunc(p.list, func(x peer) bool { return x == gone })
	}
}

// taken asks whether another connection serves t.
func (b *Bus) taken(ctx context.Context, t bus.Target) (bool, error) {
	answer := make(chan *envelope, 1)
	id := uuid.NewString()
	if err := b.expect(id, func(a *envelope) {
		if a.From == b.id {
			return
		}
		select {
		case answer <- a:
		default:
		}
	}); err != nil {
		return false, err
	}
	defer b.unexpect(id)
	// What is bound for a connection that broke may not answer.
	wait, to := b.opts.Silence, Address{Kind: Host, Topic: t.Topic, Host: t.Host}
	if !b.traits.Hosts {
		wait, to = b.opts.Discover, Address{Kind: All, Topic: t.Topic}
	}
	lost, err := b.send(ctx, to, &envelope{Kind: kindWho, ID: id, From: b.id, Topic: t.Topic, Host: t.Host})
	if errors.Is(err, ErrNobody) {
		return false, nil
	}
	if err != nil {
		return false, unavailable(err)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case a := <-answer:
		return a.Status == statusHere, nil
	case <-timer.C:
		return false, nil
	case <-lost:
		return false, unavailable(ErrDown)
	case <-ctx.Done():
		return false, unavailable(ctx.Err())
	case <-b.done:
		return false, errClosed()
	}
}
