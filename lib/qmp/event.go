package qmp

import (
	"context"
	"encoding/json"
	"time"
)

// Event is one asynchronous message of QEMU.
type Event struct {
	Name string          // "SHUTDOWN", "STOP", "DEVICE_DELETED", …
	Data json.RawMessage // null or an object; see QEMU's QMP reference
	Time time.Time       // QEMU's clock, UTC, microseconds
}

// Decode puts the event's data into v.
func (e Event) Decode(v any) error {
	if len(e.Data) == 0 {
		return nil
	}
	return json.Unmarshal(e.Data, v)
}

// Subscription delivers events from the moment it was made.
type Subscription struct {
	c      *Client
	names  map[string]bool
	events chan Event
}

// backlog is how many events wait for a slow reader before further ones are
// dropped: a stuck reader must not stop the replies to others.
const backlog = 256

// Subscribe begins delivery of the named events, or of all when no name is
// given. Subscribe before the command whose event is awaited. The caller
// closes the subscription.
func (c *Client) Subscribe(names ...string) *Subscription {
	s := &Subscription{c: c, events: make(chan Event, backlog), names: map[string]bool{}}
	for _, n := range names {
		s.names[n] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.subs == nil { // ended
		close(s.events)
		return s
	}
	c.subs[s] = struct{}{}
	return s
}

// C carries the events; it is closed when the connection ends or the
// subscription is closed.
func (s *Subscription) C() <-chan Event { return s.events }

// Close ends delivery.
func (s *Subscription) Close() {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if _, live := s.c.subs[s]; live {
		delete(s.c.subs, s)
		close(s.events)
	}
}

// Next waits for an event that match accepts; nil accepts any. It returns
// ErrClosed (wrapped with the reason) when the connection ends first.
func (s *Subscription) Next(ctx context.Context, match func(Event) bool) (Event, error) {
	for {
		select {
		case e, ok := <-s.events:
			if !ok {
				if err := s.c.reason(); err != nil {
					return Event{}, err
				}
				return Event{}, ErrClosed
			}
			if match == nil || match(e) {
				return e, nil
			}
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// offer runs under the client's lock, so it never meets a closed channel of a
// live subscription.
func (s *Subscription) offer(e Event) {
	if len(s.names) > 0 && !s.names[e.Name] {
		return
	}
	select {
	case s.events <- e:
	default:
	}
}
