// Package broker is what the buses over a message broker have in common: it
// keeps the promises of package bus on top of a Link, which moves bytes to
// addresses and knows one broker's protocol.
//
// The broker holds nothing that matters. Every call and every cast is answered
// by its receiver: "accepted" when the receiver's queue has it, "busy" when
// the queue is full (the sender tries again, so back-pressure reaches it),
// "gone" when the server has stopped, "done" with the reply of a call. A call
// that takes long is accepted again and again, so that its caller learns soon
// when the server has died, or when the broker has lost the message. A request is sent again only when it is certain that nobody has handled it
// (busy, gone, unroutable); when the connection breaks after it was sent the
// caller gets fault.Unavailable at once. So a message is handled at most once,
// whatever the broker loses or repeats, and messages of one sender keep their
// order as the next is sent after the last was accepted.
package broker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/tropocloud/tropo/bus/mailbox"
)

// Kind says what an address stands for.
type Kind int

// The kinds of addresses.
const (
	Inbox Kind = iota // one connection, Name is its id
	Host              // the server of Topic on Host
	Any               // one server of Topic; links with Traits.Groups only
	All               // every server of Topic
	Event             // subscribers; Name is the type, for Bind the pattern of Pattern
)

// Address is where a message goes.
type Address struct {
	Kind  Kind
	Topic string
	Host  string
	Name  string
}

// Packet is what a Link sends.
type Packet struct {
	To Address
	// ID, when not empty, asks for a report when nobody is bound to To: by
	// ErrNobody or by Sink.Nobody.
	ID   string
	From string // the sender's Inbox
	Data []byte
}

// Traits say what a broker can do.
type Traits struct {
	// Groups: it delivers to one of those bound to an Any address.
	Groups bool
	// Hosts: it routes Host addresses, and reports when nobody is bound to an
	// address. Otherwise servers are found by asking all of the topic.
	Hosts bool
}

// Errors of Link.Send.
var (
	// ErrNobody: nobody is bound to the address; nothing was delivered.
	ErrNobody = errors.New("nobody is bound to the address")
	// ErrFull: the broker keeps no more for the address; nothing was delivered.
	ErrFull = errors.New("the receiver's queue at the broker is full")
	// ErrDown: there is no connection; nothing was sent.
	ErrDown = errors.New("the message broker cannot be reached")
)

// Link is a connection to a broker that mends itself: it connects again, with
// growing pauses, and binds again what is bound. It is safe for concurrent use.
type Link interface {
	// Traits never change.
	Traits() Traits
	// Bind asks for the messages to a. When it returns nil, what is sent from
	// then on arrives, by Sink.Deliver.
	Bind(ctx context.Context, a Address) error
	// Unbind ends Bind. Without a connection it does nothing but forget.
	Unbind(ctx context.Context, a Address) error
	// Send returns when the broker (or, where it does not confirm, the
	// connection) has p. It waits for a connection until ctx ends: ErrDown.
	// After any error but ErrNobody, ErrFull and ErrDown p may or may not arrive. The
	// channel is closed when the connection that carried p is lost.
	Send(ctx context.Context, p Packet) (lost <-chan struct{}, err error)
	// Close ends the connection; nothing is delivered after it has returned.
	Close() error
}

// Sink is where a Link delivers, one message after the other.
type Sink struct {
	// Deliver takes a message. at is the address that was bound, or zero when
	// the link cannot tell or delivers each event once for all patterns. In an
	// Any address Host is who sent it, where the broker knows. It does not
	// block.
	Deliver func(at Address, data []byte)
	// Nobody reports that a Packet with this ID reached nobody.
	Nobody func(id string)
}

// Options are those of every bus over a broker. Zero fields get the defaults.
type Options struct {
	// Prefix begins all names at the broker: clouds that share one differ in
	// it. Letters, digits, "-" and "_"; "tropo".
	Prefix string
	// Node, if not empty, begins the name of this connection's inbox, before a
	// dot, so that a broker can keep others from it. What is special at the
	// broker must not be in it.
	Node    string
	Workers int // handlers that run at the same time in one server; 64
	Queue   int // calls and casts that wait in one server; 1024
	Fanouts int // fan-outs that wait in one server, events in one subscription; 1024
	// Patience is how long calls, casts and the rest wait for a lost
	// connection to come back, or for the broker's confirmation; 10 s.
	Patience time.Duration
	// Discover is how long a server may take to say that it is there, where
	// the broker does not know (AMQP 1.0); 500 ms.
	Discover time.Duration
	// Silence is how long a caller believes in a server that says nothing;
	// servers say three times as often that a call still waits or runs. 5 s.
	Silence time.Duration
	// Heartbeat is how often a silent connection is probed; it counts as lost
	// after two to three of them. 10 s, with NATS 1.5 s.
	Heartbeat time.Duration
	// Log is told of lost connections, and of the errors of casts, fan-outs
	// and subscribers, which nobody awaits; nil: slog.Default.
	Log *slog.Logger
}

func (o Options) box() mailbox.Options {
	return mailbox.Options{Workers: o.Workers, Queue: o.Queue, Fanouts: o.Fanouts, Log: o.Log}
}

// Defaults returns o with its zero fields filled in.
func (o Options) Defaults() Options {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	duration := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&o.Workers, 64)
	set(&o.Queue, 1024)
	set(&o.Fanouts, 1024)
	duration(&o.Patience, 10*time.Second)
	duration(&o.Discover, 500*time.Millisecond)
	duration(&o.Silence, 5*time.Second)
	duration(&o.Heartbeat, 10*time.Second)
	if o.Prefix == "" {
		o.Prefix = "tropo"
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return o
}

// ShortName returns s, or when it has more than limit bytes (64 at least) its
// beginning and its SHA-256, which is as good as unique.
func ShortName(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	const hexed = 2 * sha256.Size
	return strings.ToValidUTF8(s[:limit-hexed], "") + hex.EncodeToString(sum[:])
}
