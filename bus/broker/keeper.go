package broker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// rebinders is how many addresses are bound at a time after a reconnect.
const rebinders = 16

// Session is one connection to a broker; it never mends itself.
type Session interface {
	// Bind and Unbind are as Link's; to bind again does nothing.
	Bind(ctx context.Context, a Address) error
	Unbind(ctx context.Context, a Address) error
	// Send is as Link's, without the wait for a connection.
	Send(ctx context.Context, p Packet) error
	// Down is closed when the connection is lost or closed.
	Down() <-chan struct{}
	// Close ends the connection, at once if it is lost. Nothing is delivered
	// after it has returned.
	Close()
}

// Dialer makes a session.
type Dialer func(ctx context.Context) (Session, error)

// Keeper makes a Link of sessions: it dials again when one is lost and binds
// again what is bound before it lets anybody send.
type Keeper struct {
	traits Traits
	dial   Dialer
	opts   Options
	cancel context.CancelFunc
	ended  chan struct{}

	mu    sync.Mutex
	cur   Session          // nil: none
	ready chan struct{}    // closed when cur is set
	want  map[Address]bool // what shall be bound
	err   error            // why the last dial failed
	done  bool
}

var _ Link = (*Keeper)(nil)

// NewKeeper dials until it succeeds or ctx ends; then the error is that of the
// last dial.
func NewKeeper(ctx context.Context, opts Options, traits Traits, dial Dialer) (*Keeper, error) {
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	k := &Keeper{
		traits: traits, dial: dial, opts: opts.Defaults(), cancel: cancel, ended: make(chan struct{}),
		ready: make(chan struct{}), want: map[Address]bool{},
	}
	go k.run(base)
	_, err := k.session(ctx)
	if err == nil {
		return k, nil
	}
	why := k.failure()
	_ = k.Close()
	if why == nil { // the first dial was still under way
		why = k.failure()
	}
	if why != nil {
		err = fmt.Errorf("%w: %w", ErrDown, why)
	}
	return nil, err
}

// failure is why the last dial failed.
func (k *Keeper) failure() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

func (k *Keeper) run(ctx context.Context) {
	defer close(k.ended)
	pause := new(Backoff)
	for {
		s, err := k.connect(ctx)
		if err != nil {
			k.mu.Lock()
			k.err = err
			k.mu.Unlock()
			if !pause.Wait(ctx) {
				return
			}
			continue
		}
		begin := time.Now()
		select {
		case <-s.Down():
			k.opts.Log.WarnContext(ctx, "message broker connection lost")
		case <-ctx.Done():
		}
		k.drop(s)
		s.Close()
		if time.Since(begin) > longestPause {
			*pause = Backoff{}
		}
		if !pause.Wait(ctx) {
			return
		}
	}
}

// drop takes s away; whoever needs a session waits for the next.
func (k *Keeper) drop(s Session) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cur == s {
		k.cur, k.ready = nil, make(chan struct{})
	}
}

// connect dials, binds all and makes the session current.
func (k *Keeper) connect(ctx context.Context) (Session, error) {
	dctx, cancel := context.WithTimeout(ctx, k.opts.Patience)
	s, err := k.dial(dctx)
	cancel()
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	list := make([]Address, 0, len(k.want))
	for a := range k.want {
		list = append(list, a)
	}
	k.mu.Unlock()
	if err := rebind(ctx, s, list); err != nil {
		s.Close()
		return nil, err
	}
	k.mu.Lock()
	var stale []Address
	for _, a := range list {
		if !k.want[a] {
			stale = append(stale, a)
		}
	}
	k.cur = s
	close(k.ready)
	k.mu.Unlock()
	for _, a := range stale {
		_ = s.Unbind(ctx, a) // an error is a connection that is lost again
	}
	return s, nil
}

func rebind(ctx context.Context, s Session, list []Address) error {
	work := make(chan Address)
	errs := make(chan error, rebinders)
	for range rebinders {
		go func() {
			var first error
			for a := range work {
				if first == nil {
					first = s.Bind(ctx, a)
				}
			}
			errs <- first
		}()
	}
	for _, a := range list {
		work <- a
	}
	close(work)
	var err error
	for range rebinders {
		err = errors.Join(err, <-errs)
	}
	return err
}

// session waits for a connection until ctx ends.
func (k *Keeper) session(ctx context.Context) (Session, error) {
	for {
		k.mu.Lock()
		s, ready, done := k.cur, k.ready, k.done
		k.mu.Unlock()
		if done {
			return nil, ErrDown
		}
		if s != nil && !isDown(s) {
			return s, nil
		}
		if s != nil {
			k.drop(s)
			continue
		}
		select {
		case <-ready:
		case <-ctx.Done():
			return nil, ErrDown
		case <-k.ended:
			return nil, ErrDown
		}
	}
}

// Traits is Link.
func (k *Keeper) Traits() Traits { return k.traits }

// Bind is Link.
func (k *Keeper) Bind(ctx context.Context, a Address) error {
	k.mu.Lock()
	k.want[a] = true
	k.mu.Unlock()
	for {
		s, err := k.session(ctx)
		if err == nil {
			if err = s.Bind(ctx, a); err == nil {
				return nil
			}
			if isDown(s) && ctx.Err() == nil {
				continue
			}
		}
		k.mu.Lock()
		delete(k.want, a)
		k.mu.Unlock()
		return err
	}
}

// Unbind is Link.
func (k *Keeper) Unbind(ctx context.Context, a Address) error {
	k.mu.Lock()
	delete(k.want, a)
	s := k.cur
	k.mu.Unlock()
	if s == nil {
		return nil
	}
	return s.Unbind(ctx, a)
}

// Send is Link.
func (k *Keeper) Send(ctx context.Context, p Packet) (<-chan struct{}, error) {
	s, err := k.session(ctx)
	if err != nil {
		return nil, err
	}
	return s.Down(), s.Send(ctx, p)
}

// Close is Link.
func (k *Keeper) Close() error {
	k.mu.Lock()
	k.done = true
	k.mu.Unlock()
	k.cancel()
	<-k.ended
	return nil
}

func isDown(s Session) bool {
	select {
	case <-s.Down():
		return true
	default:
		return false
	}
}

// Bounds of Backoff.
const (
	shortestPause = 10 * time.Millisecond
	longestPause  = 3 * time.Second
)

// Backoff makes pauses that grow, from 10 ms to 3 s, each up to a half shorter
// or longer by chance so that thousands do not come back together. The zero
// value is ready.
type Backoff struct{ next time.Duration }

// Next returns the next pause.
func (b *Backoff) Next() time.Duration {
	b.next = min(max(b.next*2, shortestPause), longestPause)
	return b.next/2 + rand.N(b.next) //nolint:gosec // not a secret
}

// Wait waits the next pause; false when ctx ended first.
func (b *Backoff) Wait(ctx context.Context) bool {
	timer := time.NewTimer(b.Next())
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
