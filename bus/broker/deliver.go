package broker

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/bus/mailbox"
)

// maxHosts bounds the hosts in one answer to "who serves".
const maxHosts = 64

// maxWay is how long a message is believed to have been on its way by two
// clocks; what seems longer is clocks that differ, and does not count.
const maxWay = time.Second

// nobody is Sink.Nobody.
func (b *Bus) nobody(id string) { b.answer(&envelope{ID: id, Status: statusNobody}) }

func (b *Bus) answer(e *envelope) {
	b.mu.Lock()
	f := b.waiting[e.ID]
	b.mu.Unlock()
	if f != nil {
		f(e)
	}
}

// deliver is Sink.Deliver. It runs in the link's reader, so that fan-outs and
// events keep their order.
func (b *Bus) deliver(at Address, data []byte) {
	e := new(envelope)
	if err := json.Unmarshal(data, e); err != nil {
		b.opts.Log.Warn("bus message cannot be decoded", slog.Any("error", err))
		return
	}
	if !b.fits(at, e) {
		b.opts.Log.Warn("bus message came to another's address", slog.String("kind", e.Kind), slog.String("topic", e.Topic), slog.String("host", e.Host))
		return
	}
	switch e.Kind {
	case kindReply:
		b.answer(e)
	case kindWho:
		b.tellWho(e)
	case kindCall, kindCast:
		if e.Message != nil {
			from := ""
			if at.Kind == Any {
				from = at.Host
			}
			b.take(e, from)
		}
	case kindFanout:
		if e.Message != nil {
			b.takeFanout(e)
		}
	case kindEvent:
		if e.Message != nil && e.Event != nil {
			b.takeEvent(at, e)
		}
	}
}

// fits reports whether a message may say what it says where it came in: a
// broker that lets a sender write to some addresses alone must not be talked
// round by the content.
func (b *Bus) fits(at Address, e *envelope) bool {
	switch {
	case at == Address{}, at.Kind == Event: // the link cannot tell, or any more
		return true
	case at.Kind == Inbox:
		return e.Kind == kindReply || !b.traits.Hosts
	case at.Kind == Host:
		return e.Topic == at.Topic && e.Host == at.Host
	case at.Kind == Any:
		return e.Topic == at.Topic && e.Host == ""
	}
	return e.Topic == at.Topic
}

// take puts a call or a cast into the mailbox of a server.
func (b *Bus) take(e *envelope, from string) {
	s := b.serverFor(e.Topic, e.Host)
	if s == nil {
		b.tell(e, &envelope{Status: statusGone})
		return
	}
	j := &mailbox.Job{Message: e.Message, From: from}
	if e.Kind == kindCall {
		if e.Message.Timeout <= 0 || e.Message.Timeout > bus.CallTimeout {
			e.Message.Timeout = bus.CallTimeout
		}
		j.Deadline = time.Now().Add(e.Message.Timeout)
		if way := time.Since(e.Sent); way > 0 && way < maxWay {
			j.Deadline = j.Deadline.Add(-way)
		}
		beat := b.beat(e, j.Deadline)
		j.Done = func(r *bus.Reply) {
			b.reply(e, j, r)
			beat.stop()
		}
		if v := s.box.Offer(j); v != mailbox.Accepted {
			beat.stop()
			b.tell(e, &envelope{Status: statusOf(v)})
		}
		return
	}
	b.tell(e, &envelope{Status: statusOf(s.box.Offer(j))})
}

func statusOf(v mailbox.Verdict) string {
	switch v {
	case mailbox.Busy:
		return statusBusy
	case mailbox.Gone:
		return statusGone
	}
	return statusAccepted
}

// beat says from time to time that a call is not forgotten.
type beat struct {
	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
}

func (b *Bus) beat(e *envelope, deadline time.Time) *beat {
	t := new(beat)
	t.mu.Lock()
	defer t.mu.Unlock()
	every := b.opts.Silence / 3
	t.timer = time.AfterFunc(every, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		// The last one goes out at the deadline: then the caller has gone, too.
		if !t.stopped && b.tell(e, &envelope{Status: statusAccepted}) && time.Now().Before(deadline) {
			t.timer.Reset(every)
		}
	})
	return t
}

func (t *beat) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	t.timer.Stop()
}

// reply sends the outcome of a call. It waits for a connection that is lost,
// as long as the caller waits.
func (b *Bus) reply(e *envelope, j *mailbox.Job, r *bus.Reply) {
	if r == nil {
		b.tell(e, &envelope{Status: statusGone})
		return
	}
	ctx, cancel := context.WithDeadline(context.Background(), j.Deadline)
	defer cancel()
	b.sendReply(ctx, e, &envelope{Status: statusDone, Reply: r})
}

// tell answers e from a goroutine of its own, as a reader must not wait. There
// are never more of them than senders that wait for these answers. False
// after Close.
func (b *Bus) tell(e, answer *envelope) bool {
	return b.later(func() { b.sendReply(context.Background(), e, answer) })
}

func (b *Bus) sendReply(ctx context.Context, e, answer *envelope) {
	if e.From == "" || e.ID == "" {
		return
	}
	answer.Kind, answer.ID, answer.From = kindReply, e.ID, b.id
	if _, err := b.send(ctx, Address{Kind: Inbox, Name: e.From}, answer); err != nil && ctx.Err() == nil {
		b.opts.Log.Warn("bus reply was not sent", slog.String("topic", e.Topic), slog.Any("error", err))
	}
}

// serverFor returns a server of this connection; with an empty host the next
// of the topic.
func (b *Bus) serverFor(topicName, host string) *server {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.topics[topicName]
	switch {
	case t == nil:
		return nil
	case host != "":
		if s := t.hosts[host]; s != nil && s.ready {
			return s
		}
		return nil
	case len(t.order) == 0:
		return nil
	}
	t.turn++
	return t.order[t.turn%len(t.order)]
}

func (b *Bus) takeFanout(e *envelope) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.topics[e.Topic]; t != nil {
		for _, s := range t.order {
			b.offer(s.box, &mailbox.Job{Message: e.Message, Fanout: true})
		}
	}
}

func (b *Bus) takeEvent(at Address, e *envelope) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.subs {
		if strings.HasPrefix(e.Event.Type, s.prefix) && (at.Kind != Event || at.Name == s.pattern) {
			b.offer(s.box, &mailbox.Job{Message: e.Message, Event: e.Event, Fanout: true})
		}
	}
}

func (b *Bus) offer(box *mailbox.Box, j *mailbox.Job) {
	if box.Offer(j) == mailbox.Busy {
		b.dropped.Add(1)
	}
}

// tellWho says which hosts of a topic are served here, if any.
func (b *Bus) tellWho(e *envelope) {
	var hosts []string
	b.mu.Lock()
	if t := b.topics[e.Topic]; t != nil {
		if s := t.hosts[e.Host]; s != nil && s.ready {
			hosts = append(hosts, e.Host)
		}
		for _, s := range t.order {
			if e.Host != "" || len(hosts) == maxHosts {
				break
			}
			hosts = append(hosts, s.host)
		}
	}
	b.mu.Unlock()
	if len(hosts) > 0 {
		b.tell(e, &envelope{Status: statusHere, Hosts: hosts})
	}
}
