// Package inproc is the bus inside one process. It encodes and decodes like
// the brokers' buses, so that nothing is shared by accident, and it keeps no
// goroutine for a receiver that is idle.
package inproc

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/bus/mailbox"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/obs"
)

// Options bound what a receiver takes. Zero fields get the defaults.
type Options struct {
	Workers int // handlers that run at the same time in one server; 64
	Queue   int // calls and casts that wait in one server; 1024
	Fanouts int // fan-outs that wait in one server, events in one subscription; 1024
	// Log is told of the errors of casts, fan-outs and subscribers, which
	// nobody awaits; nil: slog.Default.
	Log *slog.Logger
}

// Bus connects the parts of one process.
type Bus struct {
	opts    mailbox.Options
	dropped atomic.Int64

	mu     sync.RWMutex
	closed bool
	topics map[string]*topic
	subs   map[*subscription]struct{}
}

var _ bus.Bus = (*Bus)(nil)

type topic struct {
	hosts map[string]*receiver
	order []*receiver // for any-host messages, in turn
	turn  atomic.Uint64
}

type subscription struct {
	prefix string
	r      *receiver
}

// receiver is a server or a subscription.
type receiver struct {
	*mailbox.Box
	gone   func()      // takes the receiver out of the bus
	unhook func() bool // from the context given to Serve
}

// put queues a call or a cast; it waits for room until ctx ends.
func (r *receiver) put(ctx context.Context, j *mailbox.Job, t bus.Target) error {
	switch r.Put(ctx, j) {
	case mailbox.Gone:
		return bus.NobodyServes(t)
	case mailbox.Busy:
		return bus.NoAnswer(ctx, t, j.Message.Method)
	}
	return nil
}

// stop takes the receiver out of the bus, answers the calls that wait, cancels
// the handlers that run and waits for them.
func (r *receiver) stop() {
	r.gone() // first: it waits for Serve, which sets unhook
	if r.unhook != nil {
		r.unhook()
	}
	r.Stop()
}

// New makes an empty bus.
func New(opts Options) *Bus {
	if opts.Workers <= 0 {
		opts.Workers = 64
	}
	if opts.Queue <= 0 {
		opts.Queue = 1024
	}
	if opts.Fanouts <= 0 {
		opts.Fanouts = 1024
	}
	if opts.Log == nil {
		opts.Log = slog.Default()
	}
	return &Bus{opts: mailbox.Options(opts), topics: map[string]*topic{}, subs: map[*subscription]struct{}{}}
}

// Dropped counts fan-outs and events that a full receiver did not take.
func (b *Bus) Dropped() int64 { return b.dropped.Load() }

// Serve is bus.Bus.
func (b *Bus) Serve(ctx context.Context, topicName, host string, h bus.Handler) (func(), error) {
	if !bus.ValidName(topicName) || !bus.ValidName(host) {
		return nil, fmt.Errorf("bus: cannot serve topic %q on host %q", topicName, host)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("bus: serve %s: %w", topicName, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, errClosed()
	}
	t := b.topics[topicName]
	if t == nil {
		t = &topic{hosts: map[string]*receiver{}}
		b.topics[topicName] = t
	}
	if t.hosts[host] != nil {
		return nil, fault.Conflictf("%s is served on %s already.", topicName, host)
	}
	r := &receiver{Box: mailbox.Serve(ctx, b.opts, h)}
	t.hosts[host] = r
	t.order = append(t.order, r)
	r.gone = func() { b.forget(topicName, host, r) }
	r.unhook = context.AfterFunc(ctx, r.stop)
	return r.stop, nil
}

func (b *Bus) forget(topicName, host string, r *receiver) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.topics[topicName]
	if t == nil || t.hosts[host] != r {
		return
	}
	delete(t.hosts, host)
	// A new slice: pick may be reading the old one.
	order := make([]*receiver, 0, len(t.order))
	for _, o := range t.order {
		if o != r {
			order = append(order, o)
		}
	}
	t.order = order
	if len(t.hosts) == 0 {
		delete(b.topics, topicName)
	}
}

// pick finds the receiver of a target, nil when nobody serves it.
func (b *Bus) pick(t bus.Target) *receiver {
	b.mu.RLock()
	defer b.mu.RUnlock()
	tp := b.topics[t.Topic]
	if tp == nil {
		return nil
	}
	if t.Host != "" {
		return tp.hosts[t.Host]
	}
	return tp.order[(tp.turn.Add(1)-1)%uint64(len(tp.order))]
}

// Call is bus.Bus.
func (b *Bus) Call(ctx context.Context, t bus.Target, method string, in, out any) (err error) {
	ctx, end := obs.StartSpan(ctx, "bus.call "+t.Topic+" "+method)
	defer func() { end(err) }()
	ctx, cancel := context.WithTimeout(ctx, bus.CallTimeout)
	defer cancel()
	m, err := bus.NewMessage(ctx, method, t.Key, in)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return bus.NoAnswer(ctx, t, method)
	}
	deadline, _ := ctx.Deadline()
	m.Timeout = time.Until(deadline)
	answer := make(chan *bus.Reply, 1)
	j := &mailbox.Job{Message: m, Deadline: deadline, Done: func(r *bus.Reply) { answer <- r }}
	r := b.pick(t)
	if r == nil {
		return bus.NobodyServes(t)
	}
	if err := r.put(ctx, j, t); err != nil {
		return err
	}
	select {
	case reply := <-answer:
		if reply == nil {
			return bus.NobodyServes(t)
		}
		return reply.Read(ctx, out)
	case <-ctx.Done():
		return bus.NoAnswer(ctx, t, method)
	}
}

// Cast is bus.Bus. A full receiver makes the caller wait, bus.CallTimeout at
// most.
func (b *Bus) Cast(ctx context.Context, t bus.Target, method string, in any) (err error) {
	ctx, end := obs.StartSpan(ctx, "bus.cast "+t.Topic+" "+method)
	defer func() { end(err) }()
	m, err := bus.NewMessage(ctx, method, t.Key, in)
	if err != nil {
		return err
	}
	r := b.pick(t)
	if r == nil {
		return bus.NobodyServes(t)
	}
	ctx, cancel := context.WithTimeout(ctx, bus.CallTimeout)
	defer cancel()
	return r.put(ctx, &mailbox.Job{Message: m}, t)
}

// Fanout is bus.Bus.
func (b *Bus) Fanout(ctx context.Context, topicName, method string, in any) error {
	m, err := bus.NewMessage(ctx, method, "", in)
	if err != nil {
		return err
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return errClosed()
	}
	t := b.topics[topicName]
	if t == nil {
		return nil
	}
	for _, r := range t.order {
		b.offer(r, &mailbox.Job{Message: m, Fanout: true})
	}
	return nil
}

// offer does not wait for room. A receiver that stopped does not count as full.
func (b *Bus) offer(r *receiver, j *mailbox.Job) {
	if r.Offer(j) == mailbox.Busy {
		b.dropped.Add(1)
	}
}

// Notify is bus.Bus.
func (b *Bus) Notify(ctx context.Context, event string, payload any) error {
	e, err := bus.NewEvent(ctx, event, payload)
	if err != nil {
		return err
	}
	m, err := bus.NewMessage(ctx, event, "", nil)
	if err != nil {
		return err
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return errClosed()
	}
	for s := range b.subs {
		if strings.HasPrefix(event, s.prefix) {
			b.offer(s.r, &mailbox.Job{Message: m, Event: e, Fanout: true})
		}
	}
	return nil
}

// Subscribe is bus.Bus.
func (b *Bus) Subscribe(eventPrefix string, f func(context.Context, bus.Event)) func() {
	s := &subscription{prefix: eventPrefix, r: &receiver{Box: mailbox.Subscribe(context.Background(), b.opts, f)}}
	s.r.gone = func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.subs, s)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return func() {}
	}
	b.subs[s] = struct{}{}
	return s.r.stop
}

// Close is bus.Bus.
func (b *Bus) Close() error {
	b.mu.Lock()
	b.closed = true
	var all []*receiver
	for _, t := range b.topics {
		all = append(all, t.order...)
	}
	for s := range b.subs {
		all = append(all, s.r)
	}
	b.mu.Unlock()
	for _, r := range all {
		r.stop()
	}
	return nil
}

func errClosed() error { return fault.Unavailablef("The bus is closed.") }
