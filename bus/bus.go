// Package bus carries messages inside a service: calls that wait for an
// answer, casts that do not, fan-outs to every server of a topic, and
// notifications of what happened.
//
// The implementations (bus/inproc and the brokers' own) pass the same suite,
// bus/bustest. What all promise:
//
//   - A message is handled at most once. Nothing is redelivered: rows hold the
//     wanted state, so a lost cast is mended by the next periodic look.
//   - Messages to one receiver with the same Target.Key are handled one at a
//     time, in the order in which one sender sent them. Without a key they are
//     handled concurrently, in no order. Fan-outs and events are handled one
//     at a time in order.
//   - Faults keep kind, type and message. Request id, trace context, deadline
//     (of a call) and the wish for a birth record travel. A caller's
//     cancellation does not: a handler ends by its deadline.
//   - Queues are bounded: a call or a cast waits for room until its context
//     ends; a fan-out or an event for a receiver that is full is dropped and
//     counted.
//   - Payloads are JSON: nothing is shared between sender and receiver.
package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tropocloud/tropo/fault"
)

// CallTimeout bounds a Call whose context has no earlier deadline.
const CallTimeout = 60 * time.Second

// TellTimeout bounds what is said while a user waits: by Tell, or by a cast that
// is only a hint.
const TellTimeout = time.Second

// Tell notifies of what is in the rows as well: nobody has to wait for long to
// say it while the broker is away.
func Tell(ctx context.Context, b Bus, event string, payload any) error {
	ctx, cancel := context.WithTimeout(ctx, TellTimeout)
	defer cancel()
	return b.Notify(ctx, event, payload)
}

// MaxMessage bounds an encoded payload, in bytes; larger ones are
// fault.TooLarge.
const MaxMessage = 8 << 20

// Target says who shall handle a message.
type Target struct {
	Topic string // the kind of server: "compute"
	Host  string // its host; empty: any server of the topic, in turn
	// Key, when not empty, puts messages to one receiver in order: the id of
	// the object they are about.
	Key string
}

// String is "topic" or "topic@host".
func (t Target) String() string {
	if t.Host == "" {
		return t.Topic
	}
	return t.Topic + "@" + t.Host
}

// Handler handles a message. decode fills a value with its payload. The result
// answers a call and is dropped otherwise. It runs in a goroutine of its own,
// and ctx ends at the call's deadline or when the server stops.
type Handler func(ctx context.Context, method string, decode func(any) error) (any, error)

// Bus is a connection to the other parts of a service.
type Bus interface {
	// Serve handles the messages to topic on host until ctx ends or stop is
	// called; values of ctx (logger, tracer) reach the handlers. stop waits
	// for handlers that run, whose contexts it cancels; never call it from a
	// handler. A second server of the same topic and host is fault.Conflict.
	Serve(ctx context.Context, topic, host string, h Handler) (stop func(), err error)
	// Call sends in and fills out (nil: not wanted) with the answer. When
	// nobody serves the target, or no answer comes in time, the error is
	// fault.Unavailable; after a timeout the work may or may not be done.
	Call(ctx context.Context, t Target, method string, in, out any) error
	// Cast sends in and returns when the receiver's queue has it. When nobody
	// serves the target the error is fault.Unavailable.
	Cast(ctx context.Context, t Target, method string, in any) error
	// Fanout sends in to every server of topic; none is not an error.
	Fanout(ctx context.Context, topic, method string, in any) error
	// Notify tells all subscribers what happened: "compute.instance.create.end".
	Notify(ctx context.Context, event string, payload any) error
	// Subscribe calls f with each event whose type begins with eventPrefix, one
	// at a time. stop waits for f; never call it from f.
	Subscribe(eventPrefix string, f func(ctx context.Context, e Event)) (stop func())
	// Close stops every server and subscription of this connection.
	Close() error
}

// Event is a notification.
type Event struct {
	ID        string // unique
	Type      string // "compute.instance.create.end"
	Time      time.Time
	RequestID string // of the request that caused it, or ""
	Payload   json.RawMessage
}

// Decode fills v with the payload.
func (e Event) Decode(v any) error { return decode(e.Payload, v) }

// Mux hands each message to the function of its method. The zero value is
// ready; register before serving.
type Mux struct {
	mu      sync.RWMutex
	methods map[string]func(context.Context, func(any) error) (any, error)
}

// Handle registers f for method, which must not have one yet.
func Handle[T, U any](m *Mux, method string, f func(ctx context.Context, in T) (U, error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.methods == nil {
		m.methods = map[string]func(context.Context, func(any) error) (any, error){}
	}
	if _, ok := m.methods[method]; ok {
		panic(fmt.Sprintf("bus: method %q is registered twice", method))
	}
	m.methods[method] = func(ctx context.Context, decode func(any) error) (any, error) {
		var in T
		if err := decode(&in); err != nil {
			return nil, err
		}
		return f(ctx, in)
	}
}

// Serve is m's Handler. An unknown method is fault.NotImplemented, as when the
// sender is newer than the receiver.
func (m *Mux) Serve(ctx context.Context, method string, decode func(any) error) (any, error) {
	m.mu.RLock()
	f := m.methods[method]
	m.mu.RUnlock()
	if f == nil {
		return nil, fault.New(fault.NotImplemented, "The receiver knows no method %s.", method)
	}
	return f(ctx, decode)
}

// Do is Call with a typed answer.
func Do[U any](ctx context.Context, b Bus, t Target, method string, in any) (U, error) {
	var out U
	err := b.Call(ctx, t, method, in, &out)
	return out, err
}

// ValidName reports whether s can be a topic, a host or a method on every
// broker: 1 to 200 bytes without white space, wildcards or control characters.
func ValidName(s string) bool {
	return len(s) > 0 && len(s) <= 200 && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r == 0x7f || r == '*' || r == '>' || r == '#'
	})
}
