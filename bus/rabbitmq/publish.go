package rabbitmq

import (
	"context"
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tropocloud/tropo/bus/broker"
)

// errLost is after a message was written: it may or may not arrive.
var errLost = errors.New("rabbitmq: the connection was lost before the broker confirmed")

// publishing is a message between Send and the broker's confirmation.
type publishing struct {
	packet   broker.Packet
	returned bool       // nobody is bound
	result   chan error // room for one
}

// Send is broker.Session. It returns when the broker has routed the message.
func (s *session) Send(ctx context.Context, p broker.Packet) error {
	m := &publishing{packet: p, result: make(chan error, 1)}
	select {
	case s.out <- m:
	case <-s.down:
		return broker.ErrDown
	case <-ctx.Done(): // the broker does not read; nothing was sent
		return broker.ErrDown
	}
	select {
	case err := <-m.result:
		return err
	case <-s.down:
	case <-ctx.Done():
		return fmt.Errorf("rabbitmq: the broker did not confirm: %w", ctx.Err())
	}
	select {
	case err := <-m.result: // it came before
		return err
	default:
		return errLost
	}
}

// write publishes one message after the other, so that callers need not wait
// for a socket that is full.
func (s *session) write() {
	for {
		select {
		case m := <-s.out:
			s.publish(m)
		case <-s.down:
			return
		}
	}
}

func (s *session) publish(m *publishing) {
	tag := s.pub.GetNextPublishSeqNo()
	id := m.packet.ID
	s.mu.Lock()
	s.unconfirmed[tag] = m
	if id != "" {
		s.mandatory[id] = m
	}
	s.mu.Unlock()
	exchange, key := s.route(m.packet.To, false)
	err := s.pub.Publish(exchange, key, id != "", false,
		amqp.Publishing{MessageId: id, DeliveryMode: amqp.Transient, ContentType: "application/json", Body: m.packet.Data})
	if err != nil {
		s.settle(tag, func(*publishing) error { return fmt.Errorf("rabbitmq: publish: %w", err) })
		s.fail()
	}
}

// confirm tells senders what became of their messages, until the channel ends.
func (s *session) confirm(returns <-chan amqp.Return, confirms <-chan amqp.Confirmation) {
	for returns != nil || confirms != nil {
		select {
		case r, ok := <-returns:
			if !ok {
				returns = nil
				continue
			}
			s.mu.Lock()
			if m := s.mandatory[r.MessageId]; m != nil {
				m.returned = true
			}
			s.mu.Unlock()
		case c, ok := <-confirms:
			if !ok {
				confirms = nil
				continue
			}
			s.settle(c.DeliveryTag, func(m *publishing) error {
				switch {
				case m.returned:
					return broker.ErrNobody
				case !c.Ack:
					return broker.ErrFull
				}
				return nil
			})
		}
	}
}

func (s *session) settle(tag uint64, outcome func(*publishing) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.unconfirmed[tag]; m != nil {
		delete(s.unconfirmed, tag)
		delete(s.mandatory, m.packet.ID)
		m.result <- outcome(m)
	}
}
