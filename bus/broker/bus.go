package broker

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/bus/mailbox"
	"github.com/tropocloud/tropo/fault"
)

// unbindTimeout bounds how long a server that stops talks to the broker.
const unbindTimeout = 5 * time.Second

// Bus is a bus.Bus over a Link.
type Bus struct {
	opts    Options
	id      string // of its Inbox
	link    Link
	traits  Traits
	dropped atomic.Int64
	done    chan struct{}  // closed by Close
	tasks   sync.WaitGroup // goroutines that answer and ask

	mu      sync.Mutex
	closed  bool // no new work
	ended   bool // no new answers either
	topics  map[string]*topic
	subs    map[*subscription]struct{}
	bounds  map[Address]*bound
	waiting map[string]func(*envelope) // who waits for answers, by the request's id
	peers   map[bus.Target]*peers
}

var _ bus.Bus = (*Bus)(nil)

// topic has the servers of one topic on this connection.
type topic struct {
	hosts map[string]*server
	order []*server // those ready, in turn
	turn  int
}

type server struct {
	topic, host string
	box         *mailbox.Box
	unhook      func() bool
	ready       bool
	once        sync.Once
}

type subscription struct {
	prefix, pattern string
	box             *mailbox.Box
}

// bound counts who wants an address that several may want.
type bound struct {
	mu sync.Mutex
	n  int
}

// New makes a bus over the link that open makes. ctx bounds how long it may
// take to connect.
func New(ctx context.Context, opts Options, open func(context.Context, Options, Sink) (Link, error)) (*Bus, error) {
	opts = opts.Defaults()
	if strings.Trim(opts.Prefix, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" || len(opts.Prefix) > 40 {
		return nil, fmt.Errorf("bus: %q cannot begin names at the broker: letters, digits, - and _, at most 40", opts.Prefix)
	}
	b := &Bus{
		opts: opts, id: strings.ReplaceAll(uuid.NewString(), "-", ""), done: make(chan struct{}),
		topics: map[string]*topic{}, subs: map[*subscription]struct{}{}, bounds: map[Address]*bound{},
		waiting: map[string]func(*envelope){}, peers: map[bus.Target]*peers{},
	}
	if opts.Node != "" {
		b.id = opts.Node + "." + b.id
	}
	link, err := open(ctx, opts, Sink{Deliver: b.deliver, Nobody: b.nobody})
	if err != nil {
		return nil, err
	}
	b.link, b.traits = link, link.Traits()
	if err := link.Bind(ctx, Address{Kind: Inbox, Name: b.id}); err != nil {
		_ = link.Close()
		return nil, err
	}
	return b, nil
}

// Dropped counts fan-outs and events that a full receiver did not take.
func (b *Bus) Dropped() int64 { return b.dropped.Load() }

// Serve is bus.Bus. That no other connection serves the same is asked before;
// two that begin in the same moment may both succeed.
func (b *Bus) Serve(ctx context.Context, topicName, host string, h bus.Handler) (func(), error) {
	if !validName(topicName) || !validName(host) {
		return nil, fmt.Errorf("bus: cannot serve topic %q on host %q", topicName, host)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("bus: serve %s: %w", topicName, err)
	}
	s := &server{topic: topicName, host: host, box: mailbox.Serve(ctx, b.opts.box(), h)}
	if err := b.reserve(s); err != nil {
		s.box.Stop()
		return nil, err
	}
	if err := b.attach(ctx, s); err != nil {
		b.remove(s)
		s.box.Stop()
		return nil, err
	}
	stop := func() {
		s.once.Do(func() {
			ctx, cancel := context.WithTimeout(context.Background(), unbindTimeout)
			defer cancel()
			b.stop(ctx, s)
		})
	}
	s.unhook = context.AfterFunc(ctx, stop)
	return func() { s.unhook(); stop() }, nil
}

// reserve takes the place of s, not ready yet.
func (b *Bus) reserve(s *server) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errClosed()
	}
	t := b.topics[s.topic]
	if t == nil {
		t = &topic{hosts: map[string]*server{}}
		b.topics[s.topic] = t
	}
	if t.hosts[s.host] != nil {
		return errServed(s)
	}
	t.hosts[s.host] = s
	return nil
}

// attach makes sure that nobody else serves, and binds what s needs.
func (b *Bus) attach(ctx context.Context, s *server) error {
	ctx, cancel := context.WithTimeout(ctx, b.opts.Patience)
	defer cancel()
	taken, err := b.taken(ctx, bus.Target{Topic: s.topic, Host: s.host})
	if err != nil {
		return err
	}
	if taken {
		return errServed(s)
	}
	b.mu.Lock()
	s.ready = true
	if t := b.topics[s.topic]; t != nil {
		t.order = append(t.order, s)
	}
	b.mu.Unlock()
	for i, a := range b.addresses(s) {
		if err := b.bind(ctx, a); err != nil {
			b.unbind(ctx, b.addresses(s)[:i]...)
			return fmt.Errorf("bus: serve %s on %s: %w", s.topic, s.host, unavailable(err))
		}
	}
	return nil
}

// addresses are what s wants, those shared with other servers first.
func (b *Bus) addresses(s *server) []Address {
	list := []Address{{Kind: All, Topic: s.topic}}
	if b.traits.Groups {
		list = append(list, Address{Kind: Any, Topic: s.topic})
	}
	if b.traits.Hosts {
		list = append(list, Address{Kind: Host, Topic: s.topic, Host: s.host})
	}
	return list
}

// remove takes s out of the tables; new messages for it are answered "gone".
func (b *Bus) remove(s *server) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.topics[s.topic]
	if t == nil || t.hosts[s.host] != s {
		return
	}
	delete(t.hosts, s.host)
	for i, o := range t.order {
		if o == s {
			t.order = append(t.order[:i], t.order[i+1:]...)
			break
		}
	}
	if len(t.hosts) == 0 {
		delete(b.topics, s.topic)
	}
}

// stop lets what comes for s be answered "gone", then sees to it that nothing
// comes any more.
func (b *Bus) stop(ctx context.Context, s *server) {
	b.remove(s)
	b.unbind(ctx, b.addresses(s)...)
	s.box.Stop()
}

// bind binds a, once for all who want it.
func (b *Bus) bind(ctx context.Context, a Address) error {
	if a.Kind == Host {
		return b.link.Bind(ctx, a)
	}
	n := b.bound(a)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.n == 0 {
		if err := b.link.Bind(ctx, a); err != nil {
			return err
		}
	}
	n.n++
	return nil
}

// unbind ends bind. An error means that the connection is lost, and with it
// what was bound.
func (b *Bus) unbind(ctx context.Context, list ...Address) {
	for _, a := range list {
		if a.Kind == Host {
			_ = b.link.Unbind(ctx, a)
			continue
		}
		n := b.bound(a)
		n.mu.Lock()
		if n.n--; n.n == 0 {
			_ = b.link.Unbind(ctx, a)
		}
		n.mu.Unlock()
	}
}

func (b *Bus) bound(a Address) *bound {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.bounds[a]
	if n == nil {
		n = new(bound)
		b.bounds[a] = n
	}
	return n
}

// Pattern is what to bind for events that begin with prefix: the prefix up to
// and with its last dot; "" stands for all events.
func Pattern(prefix string) string { return prefix[:strings.LastIndexByte(prefix, '.')+1] }

// Subscribe is bus.Bus. While the broker cannot be reached it waits
// Options.Patience, and then goes on without: events come when it is back.
func (b *Bus) Subscribe(eventPrefix string, f func(context.Context, bus.Event)) func() {
	s := &subscription{prefix: eventPrefix, pattern: Pattern(eventPrefix), box: mailbox.Subscribe(context.Background(), b.opts.box(), f)}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		s.box.Stop()
		return func() {}
	}
	b.subs[s] = struct{}{}
	b.mu.Unlock()
	a := Address{Kind: Event, Name: s.pattern}
	tried, ok := make(chan struct{}), false // ok may be read when tried is closed
	if ok = b.tryBind(s, a); ok || !b.later(func() { defer close(tried); ok = b.keepBinding(s, a) }) {
		close(tried)
	}
	var once sync.Once
	return func() { once.Do(func() { b.unsubscribe(s, a, func() bool { <-tried; return ok }) }) }
}

func (b *Bus) unsubscribe(s *subscription, a Address, isBound func() bool) {
	b.mu.Lock()
	delete(b.subs, s)
	closed := b.closed
	b.mu.Unlock()
	s.box.Stop()
	if isBound() && !closed {
		ctx, cancel := context.WithTimeout(context.Background(), unbindTimeout)
		defer cancel()
		b.unbind(ctx, a)
	}
}

func (b *Bus) tryBind(s *subscription, a Address) bool {
	ctx, cancel := context.WithTimeout(s.box.Context(), b.opts.Patience)
	defer cancel()
	return b.bind(ctx, a) == nil
}

// keepBinding binds for a subscription that began without a broker. It ends
// with the subscription, which Close stops, too.
func (b *Bus) keepBinding(s *subscription, a Address) bool {
	for pause := new(Backoff); pause.Wait(s.box.Context()); {
		if b.tryBind(s, a) {
			return true
		}
	}
	return false
}

// later runs f in a goroutine for which Close waits; false when it has ended.
func (b *Bus) later(f func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return false
	}
	b.tasks.Go(f)
	return true
}

// Close is bus.Bus.
func (b *Bus) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		<-b.done
		return nil
	}
	b.closed = true
	ctx, cancel := context.WithTimeout(context.Background(), unbindTimeout) // for all of them
	defer cancel()
	var stops []func()
	for _, t := range b.topics {
		for _, s := range t.hosts {
			stops = append(stops, func() { s.once.Do(func() { b.stop(ctx, s) }) })
		}
	}
	for s := range b.subs {
		stops = append(stops, s.box.Stop)
	}
	b.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
	b.mu.Lock()
	b.ended = true
	b.mu.Unlock()
	close(b.done)
	b.tasks.Wait()
	return b.link.Close()
}

func errClosed() error { return fault.Unavailablef("The bus is closed.") }

func errServed(s *server) error {
	return fault.Conflictf("%s is served on %s already.", s.topic, s.host)
}

// unavailable makes a fault of a link's error.
func unavailable(err error) error {
	if _, ok := fault.As(err); ok {
		return err
	}
	return fault.Wrap(fault.Unavailable, err, "The message broker cannot be reached.")
}
