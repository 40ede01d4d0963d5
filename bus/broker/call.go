package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/obs"
)

// maxTries bounds how many servers of a topic a message is offered to when
// one after the other has gone.
const maxTries = 16

// Kinds of envelopes.
const (
	kindCall   = "call"
	kindCast   = "cast"
	kindFanout = "fanout"
	kindEvent  = "event"
	kindWho    = "who"   // asks who serves Topic (on Host, if not empty)
	kindReply  = "reply" // to any of call, cast and who
)

// Statuses of replies, and two that never travel.
const (
	statusAccepted = "accepted" // it waits for its turn, or runs
	statusBusy     = "busy"     // there was no room: nothing was done
	statusGone     = "gone"     // the server has stopped: nothing was done
	statusDone     = "done"     // Reply is the answer
	statusHere     = "here"     // to who: Hosts are served
	statusNobody   = "nobody"   // unroutable: nothing was done
	statusLost     = "lost"     // the connection broke: unknown
	statusSilent   = "silent"   // nothing was heard of the server: unknown
)

// envelope is what travels: the document of package bus with its way.
type envelope struct {
	Kind    string       `json:"kind"`
	ID      string       `json:"id,omitempty"`   // of a request and its replies
	From    string       `json:"from,omitempty"` // the Inbox for replies
	Topic   string       `json:"topic,omitempty"`
	Host    string       `json:"host,omitempty"`
	Sent    time.Time    `json:"sent,omitzero"` // of a call, by the sender's clock
	Message *bus.Message `json:"message,omitempty"`
	Event   *bus.Event   `json:"event,omitempty"`
	Status  string       `json:"status,omitempty"`
	Reply   *bus.Reply   `json:"reply,omitempty"`
	Hosts   []string     `json:"hosts,omitempty"`
}

// validName: names travel in JSON, so they must be UTF-8, too.
func validName(s string) bool { return bus.ValidName(s) && utf8.ValidString(s) }

func checkTarget(t bus.Target) error {
	if !validName(t.Topic) || t.Host != "" && !validName(t.Host) {
		return fmt.Errorf("bus: %q cannot be a target", t)
	}
	return nil
}

// Call is bus.Bus.
func (b *Bus) Call(ctx context.Context, t bus.Target, method string, in, out any) (err error) {
	ctx, end := obs.StartSpan(ctx, "bus.call "+t.Topic+" "+method)
	defer func() { end(err) }()
	ctx, cancel := context.WithTimeout(ctx, bus.CallTimeout)
	defer cancel()
	reply, err := b.request(ctx, t, method, in, kindCall)
	if err != nil {
		return err
	}
	return reply.Read(ctx, out)
}

// Cast is bus.Bus. A full receiver makes the caller wait, bus.CallTimeout at
// most.
func (b *Bus) Cast(ctx context.Context, t bus.Target, method string, in any) (err error) {
	ctx, end := obs.StartSpan(ctx, "bus.cast "+t.Topic+" "+method)
	defer func() { end(err) }()
	ctx, cancel := context.WithTimeout(ctx, bus.CallTimeout)
	defer cancel()
	_, err = b.request(ctx, t, method, in, kindCast)
	return err
}

// request sends a call or a cast until a server has taken it.
func (b *Bus) request(ctx context.Context, t bus.Target, method string, in any, kind string) (*bus.Reply, error) {
	if err := checkTarget(t); err != nil {
		return nil, err
	}
	m, err := bus.NewMessage(ctx, method, t.Key, in)
	if err != nil {
		return nil, err
	}
	pause := new(Backoff)
	for range maxTries {
		status, reply, err := b.try(ctx, t, m, kind)
		for err == nil && status == statusBusy && pause.Wait(ctx) {
			status, reply, err = b.try(ctx, t, m, kind)
		}
		switch {
		case err != nil:
			return nil, err
		case status == statusDone, status == statusAccepted:
			return reply, nil
		case status == statusBusy:
			return nil, bus.NoAnswer(ctx, t, method)
		case status == statusLost:
			return nil, fault.Unavailablef("The connection to the message broker was lost; %s of %s may or may not be done.", method, t)
		case status == statusSilent:
			return nil, fault.Unavailablef("Nothing is heard of the server of %s; %s may or may not be done.", t, method)
		case !b.asks(t) && (status == statusNobody || t.Host != ""):
			return nil, bus.NobodyServes(t)
		}
		// It stopped, or the directory was behind: find another.
	}
	return nil, bus.NobodyServes(t)
}

// asks reports whether servers of t are found by asking.
func (b *Bus) asks(t bus.Target) bool {
	if t.Host != "" {
		return !b.traits.Hosts
	}
	return !b.traits.Groups
}

// try sends m to one server and waits for the last status it will get.
func (b *Bus) try(ctx context.Context, t bus.Target, m *bus.Message, kind string) (string, *bus.Reply, error) {
	if ctx.Err() != nil {
		return "", nil, bus.NoAnswer(ctx, t, m.Method)
	}
	e := &envelope{Kind: kind, Topic: t.Topic, Host: t.Host, Message: m}
	to := Address{Kind: Host, Topic: t.Topic, Host: t.Host}
	if t.Host == "" {
		to = Address{Kind: Any, Topic: t.Topic}
	}
	if b.asks(t) {
		p, err := b.find(ctx, t, m.Method)
		if err != nil {
			return "", nil, err
		}
		e.Host, to.Kind, to.Host = p.host, Host, p.host
		if !b.traits.Hosts {
			to = Address{Kind: Inbox, Name: p.conn}
		}
		status, reply, err := b.exchange(ctx, to, e, t)
		if status == statusNobody || status == statusGone || status == statusSilent || status == statusLost {
			b.forget(t, p)
		}
		return status, reply, err
	}
	return b.exchange(ctx, to, e, t)
}

// exchange sends e once and waits for its outcome. An error is final.
func (b *Bus) exchange(ctx context.Context, to Address, e *envelope, t bus.Target) (string, *bus.Reply, error) {
	m := e.Message
	if deadline, ok := ctx.Deadline(); ok && e.Kind == kindCall {
		e.Sent = time.Now()
		m.Timeout = deadline.Sub(e.Sent)
	}
	answers := make(chan *envelope, 4)
	e.ID, e.From = uuid.NewString(), b.id
	if err := b.expect(e.ID, func(a *envelope) {
		select {
		case answers <- a:
		default: // a receiver that repeats itself
		}
	}); err != nil {
		return "", nil, err
	}
	defer b.unexpect(e.ID)
	lost, err := b.send(ctx, to, e)
	switch {
	case errors.Is(err, ErrNobody):
		return statusNobody, nil, nil
	case errors.Is(err, ErrFull):
		return statusBusy, nil, nil
	case ctx.Err() != nil && len(answers) == 0:
		return "", nil, bus.NoAnswer(ctx, t, m.Method)
	case errors.Is(err, ErrDown), fault.Is(err, fault.TooLarge):
		return "", nil, unavailable(err)
	case err != nil && len(answers) == 0:
		return statusLost, nil, nil
	}
	return b.await(ctx, e, t, answers, lost)
}

// await waits for the outcome of what was sent.
func (b *Bus) await(ctx context.Context, e *envelope, t bus.Target, answers <-chan *envelope, lost <-chan struct{}) (string, *bus.Reply, error) {
	silent := time.NewTimer(b.opts.Silence)
	defer silent.Stop()
	for {
		var a *envelope
		select {
		case a = <-answers:
		case <-lost:
			if a = came(answers); a == nil {
				return statusLost, nil, nil
			}
		case <-silent.C:
			if a = came(answers); a == nil {
				return statusSilent, nil, nil
			}
		case <-ctx.Done():
			return "", nil, bus.NoAnswer(ctx, t, e.Message.Method)
		case <-b.done:
			return "", nil, errClosed()
		}
		if a.Status == statusAccepted && e.Kind == kindCall {
			silent.Reset(b.opts.Silence)
			continue
		}
		if a.Status == statusDone && a.Reply == nil {
			return "", nil, fault.New(fault.Internal, "The answer of %s is empty.", t)
		}
		return a.Status, a.Reply, nil
	}
}

// came returns an answer that is there already, or nil: this machine may have
// stood still, and see its coming and the end of the wait at once.
func came(answers <-chan *envelope) *envelope {
	select {
	case a := <-answers:
		return a
	default:
		return nil
	}
}

// expect hands answers to the request id to f, which must not block.
func (b *Bus) expect(id string, f func(*envelope)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errClosed()
	}
	b.waiting[id] = f
	return nil
}

func (b *Bus) unexpect(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.waiting, id)
}

// send encodes and sends e. With an ID it is reported when nobody is there.
func (b *Bus) send(ctx context.Context, to Address, e *envelope) (<-chan struct{}, error) {
	data, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, b.opts.Patience)
	defer cancel()
	p := Packet{To: to, From: b.id, Data: data}
	if e.Kind != kindReply {
		p.ID = e.ID
	}
	return b.link.Send(ctx, p)
}

// Fanout is bus.Bus.
func (b *Bus) Fanout(ctx context.Context, topicName, method string, in any) error {
	if err := checkTarget(bus.Target{Topic: topicName}); err != nil {
		return err
	}
	m, err := bus.NewMessage(ctx, method, "", in)
	if err != nil {
		return err
	}
	return b.spread(ctx, Address{Kind: All, Topic: topicName}, &envelope{Kind: kindFanout, Topic: topicName, Message: m})
}

// Notify is bus.Bus.
func (b *Bus) Notify(ctx context.Context, event string, payload any) error {
	if !validName(event) {
		return fmt.Errorf("bus: %q cannot name an event", event)
	}
	e, err := bus.NewEvent(ctx, event, payload)
	if err != nil {
		return err
	}
	m, err := bus.NewMessage(ctx, event, "", nil)
	if err != nil {
		return err
	}
	return b.spread(ctx, Address{Kind: Event, Name: event}, &envelope{Kind: kindEvent, Event: e, Message: m})
}

// spread sends e to as many as there are.
func (b *Bus) spread(ctx context.Context, to Address, e *envelope) error {
	b.mu.Lock()
	closed := b.closed
	b.mu.Unlock()
	if closed {
		return errClosed()
	}
	_, err := b.send(ctx, to, e)
	switch {
	case err == nil, errors.Is(err, ErrNobody):
		return nil
	case errors.Is(err, ErrFull):
		b.dropped.Add(1) // for some of the receivers
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("bus: %s: %w", e.Message.Method, context.Canceled)
	}
	return unavailable(err)
}
