// Package rabbitmq is the bus over RabbitMQ (AMQP 0-9-1), one broker or a
// cluster.
//
// Each connection has one queue: transient, exclusive, deleted with the
// connection. It is bound to a direct exchange with a key for the connection
// itself (replies), one for each server ("host") and one for each topic (all
// servers: fan-outs), and to a topic exchange for events. Messages are
// transient, published as mandatory and confirmed: what cannot be routed comes
// back, and the caller learns at once that nobody serves. The receiving end is
// bounded by a prefetch, and the queue by a length beyond which the broker
// refuses (the sender tries again).
//
// No queue is shared, and none is durable or a quorum queue, on purpose: a
// quorum queue would keep messages whose callers have gone, deliver them
// twice, and tell nobody that all servers are gone; a shared classic queue
// lives on one node of the cluster. "Any server of a topic" is found by asking
// the topic every two seconds. When a node of the cluster fails, the
// connections to it break, connect to another, and declare all again.
//
// Nothing is redelivered: a queue ends with its only consumer.
package rabbitmq

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tropocloud/tropo/bus/broker"
)

const (
	prefetch  = 512    // messages on the way to a connection
	ackEvery  = 32     // messages that are acknowledged together
	maxQueued = 65_536 // messages that the broker keeps for a connection
	// closeTimeout bounds how long a close waits for the broker.
	closeTimeout = 2 * time.Second
)

// Options say how to connect.
type Options struct {
	broker.Options
	// URLs are the nodes of one cluster, tried in turn:
	// "amqp://user:password@host:5672/vhost", "amqps://…".
	URLs []string
	TLS  *tls.Config // of the client, for amqps; nil: the system's roots
	Name string      // as which the broker lists the connection
}

// Open connects. It tries until ctx ends.
func Open(ctx context.Context, opts Options) (*broker.Bus, error) {
	if len(opts.URLs) == 0 {
		return nil, errors.New("rabbitmq: no URL")
	}
	return broker.New(ctx, opts.Options, func(ctx context.Context, o broker.Options, sink broker.Sink) (broker.Link, error) {
		opts.Options = o
		turn := 0
		return broker.NewKeeper(ctx, o, broker.Traits{Hosts: true}, func(ctx context.Context) (broker.Session, error) {
			turn++
			return dial(ctx, opts, opts.URLs[turn%len(opts.URLs)], sink)
		})
	})
}

// session is one connection: a channel to declare and consume, one to publish.
type session struct {
	opts     Options
	sink     broker.Sink
	conn     *amqp.Connection
	in, pub  *amqp.Channel
	queue    string
	out      chan *publishing
	down     chan struct{} // closed when the connection is lost
	downOnce sync.Once
	running  sync.WaitGroup

	mu          sync.Mutex
	unconfirmed map[uint64]*publishing // by delivery tag
	mandatory   map[string]*publishing // by message id
}

var _ broker.Session = (*session)(nil)

func dial(ctx context.Context, opts Options, url string, sink broker.Sink) (*session, error) {
	config := amqp.Config{
		Heartbeat: max(opts.Heartbeat, time.Second), TLSClientConfig: opts.TLS, Properties: amqp.NewConnectionProperties(),
		Dial: func(network, address string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			if deadline, ok := ctx.Deadline(); ok {
				err = c.SetDeadline(deadline) // of the handshake; the library takes it away
			}
			return c, err
		},
	}
	config.Properties.SetClientConnectionName(opts.Name)
	conn, err := amqp.DialConfig(url, config)
	if err != nil {
		return nil, fmt.Errorf("rabbitmq: %w", err)
	}
	s := &session{
		opts: opts, sink: sink, conn: conn, out: make(chan *publishing), down: make(chan struct{}),
		unconfirmed: map[uint64]*publishing{}, mandatory: map[string]*publishing{},
	}
	lost := conn.NotifyClose(make(chan *amqp.Error, 1))
	s.running.Go(func() { <-lost; s.fail() })
	// The library's calls know no context; closing the connection ends them.
	unhook := context.AfterFunc(ctx, func() { _ = conn.CloseDeadline(time.Now()) })
	defer unhook()
	if err := s.open(); err != nil {
		s.Close()
		return nil, fmt.Errorf("rabbitmq: %w", err)
	}
	return s, nil
}

// open declares what every connection needs and begins to consume.
func (s *session) open() error {
	var err error
	if s.in, err = s.conn.Channel(); err != nil {
		return err
	}
	if s.pub, err = s.conn.Channel(); err != nil {
		return err
	}
	for name, kind := range map[string]string{s.exchange(): amqp.ExchangeDirect, s.events(): amqp.ExchangeTopic} {
		if err := s.in.ExchangeDeclare(name, kind, true, false, false, false, nil); err != nil {
			return err
		}
	}
	q, err := s.in.QueueDeclare("", false, true, true, false, amqp.Table{"x-max-length": maxQueued, "x-overflow": "reject-publish"})
	if err != nil {
		return err
	}
	s.queue = q.Name
	if err := s.in.Qos(prefetch, 0, false); err != nil {
		return err
	}
	if err := s.pub.Confirm(false); err != nil {
		return err
	}
	// Unbuffered, both read by one goroutine: a return is seen before the
	// confirmation that follows it.
	returns, confirms := s.pub.NotifyReturn(make(chan amqp.Return)), s.pub.NotifyPublish(make(chan amqp.Confirmation))
	// A cancel by the broker (the queue was deleted) or an exception of a
	// channel: begin anew, as after a lost connection.
	for _, ch := range []*amqp.Channel{s.in, s.pub} {
		closed := ch.NotifyClose(make(chan *amqp.Error, 1))
		s.running.Go(func() { <-closed; s.fail() })
	}
	cancelled := s.in.NotifyCancel(make(chan string, 1))
	s.running.Go(func() { <-cancelled; s.fail() })
	deliveries, err := s.in.Consume(s.queue, "", false, true, false, false, nil)
	s.running.Go(func() { s.confirm(returns, confirms) })
	s.running.Go(s.write)
	if err != nil {
		return err
	}
	s.running.Go(func() { s.read(deliveries) })
	return nil
}

func (s *session) fail() { s.downOnce.Do(func() { close(s.down) }) }

// read hands on what comes.
func (s *session) read(deliveries <-chan amqp.Delivery) {
	n := 0
	for d := range deliveries {
		s.sink.Deliver(broker.Address{}, d.Body)
		if n++; n%ackEvery == 0 {
			_ = d.Ack(true) // an error is a connection that is lost; the reader sees it, too
		}
	}
	s.fail()
}

func (s *session) exchange() string { return s.opts.Prefix }
func (s *session) events() string   { return s.opts.Prefix + ".events" }

// Down is broker.Session.
func (s *session) Down() <-chan struct{} { return s.down }

// Close is broker.Session.
func (s *session) Close() {
	s.fail()
	_ = s.conn.CloseDeadline(time.Now().Add(closeTimeout)) // it may be closed already
	s.running.Wait()
}

// Bind is broker.Session.
func (s *session) Bind(ctx context.Context, a broker.Address) error {
	exchange, key := s.route(a, true)
	return s.do(ctx, func() error { return s.in.QueueBind(s.queue, key, exchange, false, nil) })
}

// Unbind is broker.Session.
func (s *session) Unbind(ctx context.Context, a broker.Address) error {
	exchange, key := s.route(a, true)
	return s.do(ctx, func() error { return s.in.QueueUnbind(s.queue, key, exchange, nil) })
}

// do runs a call of the library, which knows no context. When ctx ends first
// it goes on until the broker answers or the connection breaks.
func (s *session) do(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("rabbitmq: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("rabbitmq: %w", ctx.Err())
	}
}

// route returns the exchange and the key of a; pattern: to bind, not to send.
func (s *session) route(a broker.Address, pattern bool) (exchange, key string) {
	switch a.Kind {
	case broker.Inbox:
		return s.exchange(), "in " + a.Name
	case broker.Host:
		return s.exchange(), broker.ShortName("host "+a.Topic+" "+a.Host, 255)
	case broker.Event:
		switch {
		case !pattern:
			return s.events(), a.Name
		case a.Name == "" || strings.ContainsAny(a.Name, "*#") || len(a.Name) > 250:
			return s.events(), "#" // the bus compares the whole prefix
		}
		return s.events(), strings.TrimSuffix(a.Name, ".") + ".#"
	}
	return s.exchange(), "all " + a.Topic
}
