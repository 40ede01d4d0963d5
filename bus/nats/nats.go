// Package nats is the bus over NATS: a server or cluster of its own, or
// servers embedded in the control nodes (see Embed).
//
// Any-host messages go through a queue group, so NATS picks the server. NATS
// itself reports that nobody subscribes ("no responders"). All subscriptions
// of a connection share one channel whose reader never waits: it queues, or
// answers that the queue is full, so a slow handler makes no slow consumer.
// Should a message be dropped all the same (a process that gets no CPU), NATS
// says so; it is counted, and the sender of a call runs into its deadline.
//
// Subjects are PREFIX.KIND.NAME…, with the dots, percent signs and what else
// is special in topics and hosts written as %XX. The server must take messages
// as large as bus.MaxMessage (max_payload: 9MB); larger ones than it takes are
// fault.TooLarge.
package nats

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tropocloud/tropo/bus/broker"
	"github.com/tropocloud/tropo/fault"
)

// incoming is how many messages may wait for the reader of a connection.
const incoming = 64 << 10

// Heartbeat is how often a silent connection is probed by default. A server
// that stands still keeps its connections, and who has one to it is cut off
// until he notices: within three of these, which is less than broker.Options
// has callers wait for a server that is silent. So what they try again takes
// another way.
const Heartbeat = 1500 * time.Millisecond

// Options say how to connect.
type Options struct {
	broker.Options
	// URLs are the servers of one cluster: "nats://host:4222", "tls://…", with
	// user and password if need be. Others that they announce are used, too.
	URLs []string
	TLS  *tls.Config // of the client; nil: the system's roots
	// Server, if not nil, is connected to in memory, instead of URLs.
	Server *Server
	Name   string // as which the server lists the connection
}

// Open connects. It tries until ctx ends.
func Open(ctx context.Context, opts Options) (*broker.Bus, error) {
	if opts.Name != "" {
		opts.Node = token(opts.Name)
	}
	opts.Heartbeat = cmp.Or(opts.Heartbeat, Heartbeat)
	return broker.New(ctx, opts.Options, func(ctx context.Context, o broker.Options, sink broker.Sink) (broker.Link, error) {
		opts.Options = o
		return connect(ctx, opts, sink)
	})
}

// link is a connection. nats.go keeps it and its subscriptions alive.
type link struct {
	opts    Options
	sink    broker.Sink
	nc      *nats.Conn
	in      chan *nats.Msg
	stop    chan struct{}
	stopped chan struct{}
	dropped atomic.Int64

	mu   sync.Mutex
	up   chan struct{} // closed while connected
	lost chan struct{} // closed when the present connection is lost
	subs map[broker.Address]*nats.Subscription
	at   map[*nats.Subscription]broker.Address
	// marks are messages of our own, behind others; the reader closes theirs.
	marks map[*nats.Msg]chan struct{}
}

var _ broker.Link = (*link)(nil)

func connect(ctx context.Context, opts Options, sink broker.Sink) (*link, error) {
	l := &link{
		opts: opts, sink: sink, in: make(chan *nats.Msg, incoming), stop: make(chan struct{}), stopped: make(chan struct{}),
		up: make(chan struct{}), lost: make(chan struct{}),
		subs: map[broker.Address]*nats.Subscription{}, at: map[*nats.Subscription]broker.Address{}, marks: map[*nats.Msg]chan struct{}{},
	}
	var err error
	for pause := new(broker.Backoff); ; {
		if l.nc, err = nats.Connect(strings.Join(opts.URLs, ","), l.options()...); err == nil {
			break
		}
		if !pause.Wait(ctx) {
			return nil, fault.Wrap(fault.Unavailable, err, "The message broker cannot be reached.")
		}
	}
	go l.read()
	return l, nil
}

func (l *link) options() []nats.Option {
	list := []nats.Option{
		nats.Name(l.opts.Name),
		nats.MaxReconnects(-1),
		// Nothing waits in the library for a connection: whoever sends waits,
		// as long as he wants to.
		nats.ReconnectBufSize(-1),
		nats.CustomReconnectDelay(func(attempts int) time.Duration {
			pause := new(broker.Backoff)
			for range min(attempts, 16) {
				pause.Next()
			}
			return pause.Next()
		}),
		nats.PingInterval(l.opts.Heartbeat),
		nats.MaxPingsOutstanding(maxPings),
		nats.Timeout(min(l.opts.Patience, 5*time.Second)),
		nats.FlusherTimeout(l.opts.Patience),
		nats.ConnectHandler(func(*nats.Conn) { l.connected() }),
		nats.ReconnectHandler(func(*nats.Conn) { l.connected() }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { l.disconnected(err) }),
		nats.ErrorHandler(l.trouble),
	}
	if l.opts.TLS != nil {
		list = append(list, nats.Secure(l.opts.TLS))
	}
	if l.opts.Server != nil {
		list = append(list, nats.InProcessServer(l.opts.Server))
		if u := l.opts.Server.opts.Username; u != "" {
			list = append(list, nats.UserInfo(u, l.opts.Server.opts.Password))
		}
	}
	return list
}

func (l *link) connected() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.lost:
		l.lost = make(chan struct{})
	default:
	}
	select {
	case <-l.up:
	default:
		close(l.up)
	}
}

func (l *link) disconnected(err error) {
	select {
	case <-l.stop:
		return
	default:
	}
	l.opts.Log.Warn("message broker connection lost", slog.Any("error", err))
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.lost:
	default:
		close(l.lost)
	}
	select {
	case <-l.up:
		l.up = make(chan struct{})
	default:
	}
}

// trouble is told of asynchronous errors, of slow consumers among others.
func (l *link) trouble(_ *nats.Conn, sub *nats.Subscription, err error) {
	if errors.Is(err, nats.ErrSlowConsumer) {
		l.dropped.Add(1)
	}
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	l.opts.Log.Warn("message broker reports an error", slog.String("subject", subject), slog.Any("error", err))
}

// read hands on what comes, in order.
func (l *link) read() {
	defer close(l.stopped)
	for {
		select {
		case <-l.stop:
			return
		case m := <-l.in:
			if m.Header.Get("Status") == "503" { // no responders; to our inbox
				l.sink.Nobody(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:])
				continue
			}
			l.mu.Lock()
			if done := l.marks[m]; done != nil {
				delete(l.marks, m)
				close(done)
				l.mu.Unlock()
				continue
			}
			at, bound := l.at[m.Sub]
			l.mu.Unlock()
			if !bound {
				at = broker.Address{Kind: broker.Event, Name: "none"} // an event is for nobody any more
			}
			if at.Kind == broker.Any {
				at.Host = sender(m.Subject)
			}
			l.sink.Deliver(at, m.Data)
		}
	}
}

// Traits is broker.Link.
func (l *link) Traits() broker.Traits { return broker.Traits{Groups: true, Hosts: true} }

// Bind is broker.Link.
func (l *link) Bind(ctx context.Context, a broker.Address) error {
	ctx, cancel := context.WithTimeout(ctx, l.opts.Patience)
	defer cancel()
	if _, err := l.await(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	sub, err := l.subs[a], error(nil)
	if sub == nil {
		if a.Kind == broker.Any {
			sub, err = l.nc.ChanQueueSubscribe(l.pattern(a), "any", l.in)
		} else {
			sub, err = l.nc.ChanSubscribe(l.pattern(a), l.in)
		}
	}
	if err != nil {
		l.mu.Unlock()
		return fmt.Errorf("nats: subscribe: %w", err)
	}
	l.subs[a], l.at[sub] = sub, a
	l.mu.Unlock()
	if err := l.flush(ctx); err != nil {
		_ = l.Unbind(ctx, a)
		return err
	}
	return nil
}

// flush waits until the server has seen all that was sent. When the connection
// breaks meanwhile, the library subscribes again at the next.
func (l *link) flush(ctx context.Context) error {
	for {
		lost, err := l.await(ctx)
		if err != nil {
			return err
		}
		if err = l.nc.FlushWithContext(ctx); err == nil {
			return nil
		}
		select {
		case <-lost:
		default:
			return fmt.Errorf("nats: flush: %w", err)
		}
	}
}

// Unbind is broker.Link.
func (l *link) Unbind(ctx context.Context, a broker.Address) error {
	l.mu.Lock()
	sub := l.subs[a]
	delete(l.subs, a)
	delete(l.at, sub)
	l.mu.Unlock()
	if sub == nil {
		return nil
	}
	// Unlike Unsubscribe, Drain takes what the server has sent already: the
	// senders wait for an answer.
	if err := sub.Drain(); err != nil {
		return fmt.Errorf("nats: unsubscribe: %w", err)
	}
	if !l.nc.IsConnected() {
		return nil // forgotten: it is not subscribed again
	}
	if err := l.nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("nats: flush: %w", err)
	}
	return l.settle(ctx)
}

// settle waits until the reader has handed on all that is there.
func (l *link) settle(ctx context.Context) error {
	m := &nats.Msg{Subject: "settled"}
	done := make(chan struct{})
	l.mu.Lock()
	l.marks[m] = done
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.marks, m)
	}()
	select {
	case l.in <- m:
	case <-ctx.Done():
		return fmt.Errorf("nats: unsubscribe: %w", ctx.Err())
	case <-l.stop:
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("nats: unsubscribe: %w", ctx.Err())
	case <-l.stop:
		return nil
	}
}

// await waits for a connection and returns the channel of its loss.
func (l *link) await(ctx context.Context) (<-chan struct{}, error) {
	l.mu.Lock()
	up, lost := l.up, l.lost
	l.mu.Unlock()
	select {
	case <-up:
		return lost, nil
	default:
	}
	select {
	case <-up:
		return l.await(ctx)
	case <-ctx.Done():
	case <-l.stop:
	}
	return nil, broker.ErrDown
}

// Send is broker.Link.
func (l *link) Send(ctx context.Context, p broker.Packet) (<-chan struct{}, error) {
	m := &nats.Msg{Subject: l.subject(p.To), Data: p.Data}
	if p.ID != "" {
		m.Reply = l.opts.Prefix + ".in." + p.From + "." + p.ID
	}
	for {
		lost, err := l.await(ctx)
		if err != nil {
			return nil, err
		}
		switch err = l.nc.PublishMsg(m); {
		case err == nil:
			return lost, nil
		case errors.Is(err, nats.ErrMaxPayload):
			return nil, fault.New(fault.TooLarge, "The message has %d bytes; the broker takes %d.", len(p.Data), l.nc.MaxPayload())
		case !errors.Is(err, nats.ErrReconnectBufExceeded):
			return lost, fmt.Errorf("nats: publish: %w", err)
		}
		// The library knows that the connection is lost, and has not sent.
		select {
		case <-lost:
		case <-ctx.Done():
			return nil, broker.ErrDown
		case <-l.stop:
			return nil, broker.ErrDown
		}
	}
}

// Close is broker.Link. What was sent is flushed.
func (l *link) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if l.nc.IsConnected() {
		_ = l.nc.FlushWithContext(ctx) // a connection that breaks now is closed just so
	}
	close(l.stop)
	<-l.stopped
	l.nc.Close()
	return nil
}
