// Package amqp1 is the bus over a broker that speaks AMQP 1.0 and has direct
// and topic exchanges. It is tested with RabbitMQ 3.10 and its plugin
// rabbitmq_amqp1_0; Options name the exchanges of others (Qpid's are
// "amq.direct" and "amq.topic").
//
// Few things are the same in all such brokers, so little is used. A connection
// has one link to receive what is for it (replies, calls and casts to its
// servers), one for each topic that it serves (fan-outs, and the question who
// serves) and one for each pattern of events; it sends by one link to each
// exchange, with the key as the message's subject. Brokers need not say that a
// message reached nobody (RabbitMQ's plugin accepts it), so servers are found
// by asking all of the topic: nobody serves when none answers within
// Options.Discover, and a server of which nothing is heard for Options.Silence
// has gone.
//
// RabbitMQ's plugin leaves a queue behind for every link that received, and
// does not answer when such a link is closed. So links stay until the
// connection ends, what nobody wants any more is thrown away, and the broker
// needs a policy that removes the queues:
//
//	rabbitmqctl set_policy --apply-to queues tropo '^amq\.gen-' '{"expires":60000,"max-length":65536}'
//
// Nothing is redelivered: messages are settled as they are sent, and a new
// connection has new queues.
package amqp1

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"sync"

	"github.com/Azure/go-amqp"

	"github.com/tropocloud/tropo/bus/broker"
)

// credit is how many messages may be on the way to one link.
const credit = 512

// Options say how to connect.
type Options struct {
	broker.Options
	// URLs are the nodes of one broker, tried in turn:
	// "amqp10://user:password@host:5672", "amqp10s://…".
	URLs []string
	TLS  *tls.Config // of the client, for amqp10s; nil: the system's roots
	Name string      // as which the broker lists the connection; unique, or empty
	// Direct and Topic are the exchanges' addresses, to which "/" and a key
	// are added to receive; RabbitMQ's "/exchange/amq.direct" and
	// "/exchange/amq.topic".
	Direct, Topic string
}

// Open connects. It tries until ctx ends.
func Open(ctx context.Context, opts Options) (*broker.Bus, error) {
	if len(opts.URLs) == 0 {
		return nil, errors.New("amqp1: no URL")
	}
	if opts.Direct == "" {
		opts.Direct = "/exchange/amq.direct"
	}
	if opts.Topic == "" {
		opts.Topic = "/exchange/amq.topic"
	}
	for _, u := range opts.URLs {
		if _, err := address(u); err != nil {
			return nil, err
		}
	}
	return broker.New(ctx, opts.Options, func(ctx context.Context, o broker.Options, sink broker.Sink) (broker.Link, error) {
		opts.Options = o
		turn := 0
		return broker.NewKeeper(ctx, o, broker.Traits{}, func(ctx context.Context) (broker.Session, error) {
			turn++
			return dial(ctx, opts, opts.URLs[turn%len(opts.URLs)], sink)
		})
	})
}

// address makes a URL for the library.
func address(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", fmt.Errorf("amqp1: %w", err)
	}
	switch u.Scheme {
	case "amqp10":
		u.Scheme = "amqp"
	case "amqp10s":
		u.Scheme = "amqps"
	default:
		return "", fmt.Errorf("amqp1: %s is no URL of a broker: amqp10://host:port or amqp10s://host:port", u.Redacted())
	}
	return u.String(), nil
}

// session is one connection.
type session struct {
	opts          Options
	sink          broker.Sink
	conn          *amqp.Conn
	in            *amqp.Session
	direct, topic *amqp.Sender
	ctx           context.Context // of the readers
	cancel        context.CancelFunc
	down          chan struct{} // closed when the connection is lost
	downOnce      sync.Once
	running       sync.WaitGroup
	deliver       sync.Mutex // one message after the other

	mu    sync.Mutex
	bound map[broker.Address]bool
}

var _ broker.Session = (*session)(nil)

func dial(ctx context.Context, opts Options, node string, sink broker.Sink) (*session, error) {
	to, err := address(node)
	if err != nil {
		return nil, err
	}
	conn, err := amqp.Dial(ctx, to, &amqp.ConnOptions{
		ContainerID: opts.Name, IdleTimeout: 2 * opts.Heartbeat,
		WriteTimeout: 2 * opts.Heartbeat, TLSConfig: opts.TLS,
	})
	if err != nil {
		return nil, fmt.Errorf("amqp1: %w", err)
	}
	s := &session{opts: opts, sink: sink, conn: conn, down: make(chan struct{}), bound: map[broker.Address]bool{}}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.running.Go(func() {
		select {
		case <-conn.Done():
		case <-s.down:
		}
		s.fail()
	})
	if err := s.open(ctx); err != nil {
		s.Close()
		return nil, fmt.Errorf("amqp1: %w", err)
	}
	return s, nil
}

// open makes the links that send. What is received has a session of its own,
// so that neither holds up the other.
func (s *session) open(ctx context.Context) error {
	out, err := s.conn.NewSession(ctx, nil)
	if err != nil {
		return err
	}
	if s.in, err = s.conn.NewSession(ctx, nil); err != nil {
		return err
	}
	if s.direct, err = out.NewSender(ctx, s.opts.Direct, nil); err != nil {
		return err
	}
	s.topic, err = out.NewSender(ctx, s.opts.Topic, nil)
	return err
}

func (s *session) fail() {
	s.downOnce.Do(func() {
		close(s.down)
		s.cancel()
	})
}

// Down is broker.Session.
func (s *session) Down() <-chan struct{} { return s.down }

// Close is broker.Session.
func (s *session) Close() {
	s.fail()
	_ = s.conn.Close() // it may be closed already
	s.running.Wait()
}

// Bind is broker.Session.
func (s *session) Bind(ctx context.Context, a broker.Address) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bound[a] {
		return nil
	}
	exchange, key := s.route(a, true)
	r, err := s.in.NewReceiver(ctx, exchange+"/"+key, &amqp.ReceiverOptions{
		Credit:         credit,
		SettlementMode: amqp.ReceiverSettleModeFirst.Ptr(), RequestedSenderSettleMode: amqp.SenderSettleModeSettled.Ptr(),
	})
	if err != nil {
		s.fail() // a link that is half made cannot be mended
		return fmt.Errorf("amqp1: receive from %s: %w", a.Topic+a.Name, err)
	}
	s.bound[a] = true
	s.running.Go(func() { s.read(a, r) })
	return nil
}

// Unbind is broker.Session. The link stays, see the package's comment.
func (s *session) Unbind(context.Context, broker.Address) error { return nil }

// read hands on what comes by one link.
func (s *session) read(a broker.Address, r *amqp.Receiver) {
	for {
		m, err := r.Receive(s.ctx, nil)
		if err != nil {
			s.fail()
			return
		}
		s.deliver.Lock()
		s.sink.Deliver(a, m.GetData())
		s.deliver.Unlock()
	}
}

// Send is broker.Session. It returns when the broker has accepted the message.
func (s *session) Send(ctx context.Context, p broker.Packet) error {
	link := s.direct
	if p.To.Kind == broker.Event {
		link = s.topic
	}
	_, key := s.route(p.To, false)
	m := amqp.NewMessage(p.Data)
	m.Properties = &amqp.MessageProperties{Subject: &key}
	receipt, err := link.SendWithReceipt(ctx, m, nil)
	if err != nil {
		return s.failed(ctx, err)
	}
	state, err := receipt.Wait(ctx)
	if err != nil {
		return s.failed(ctx, err)
	}
	switch state := state.(type) {
	case *amqp.StateAccepted:
		return nil
	case *amqp.StateReleased:
		return broker.ErrNobody
	default:
		return fmt.Errorf("amqp1: the broker did not accept a message: %v", state)
	}
}

// failed ends the session unless it was the sender who lost patience.
func (s *session) failed(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		s.fail()
	}
	return fmt.Errorf("amqp1: send: %w", err)
}
