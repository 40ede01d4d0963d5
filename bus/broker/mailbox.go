package broker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/tropocloud/tropo/bus"
)

// job is a message that came for one server or subscription.
type job struct {
	m        *bus.Message
	from     string     // who sent it, as the broker knows; "" if not
	event    *bus.Event // of a notification
	deadline time.Time  // zero: none
	// done is told the reply of a call, or nil when the server stopped before
	// it was handled; nil: nobody waits.
	done   func(*bus.Reply)
	fanout bool
}

// lane is the queue in which j must keep its order, "" if none.
func (j *job) lane() string {
	switch {
	case j.fanout:
		return "fanout"
	case j.m.Key != "":
		return "key " + j.m.Key
	}
	return ""
}

// mailbox is the receiving end of a server or a subscription: queues, and
// goroutines only while there is something to do.
type mailbox struct {
	handler    bus.Handler
	subscriber func(context.Context, bus.Event)
	opts       Options
	ctx        context.Context
	cancel     context.CancelFunc
	running    sync.WaitGroup

	mu       sync.Mutex
	stopped  bool
	active   int               // goroutines that run
	nCalls   int               // calls and casts that wait
	nFanouts int               // fan-outs and events that wait
	ready    []*job            // may run now
	lanes    map[string][]*job // present: one of the lane is ready or runs; the rest
}

func newMailbox(ctx context.Context, opts Options) *mailbox {
	b := &mailbox{opts: opts, lanes: map[string][]*job{}}
	b.ctx, b.cancel = context.WithCancel(ctx)
	return b
}

// put queues j and says statusAccepted, statusBusy or statusGone. It never
// blocks.
func (b *mailbox) put(j *job) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, limit := &b.nCalls, b.opts.Queue
	if j.fanout {
		n, limit = &b.nFanouts, b.opts.Fanouts
	}
	switch {
	case b.stopped:
		return statusGone
	case *n >= limit:
		return statusBusy
	}
	*n++
	if l := j.lane(); l != "" {
		if waiting, busy := b.lanes[l]; busy {
			b.lanes[l] = append(waiting, j)
			return statusAccepted
		}
		b.lanes[l] = nil
	}
	b.ready = append(b.ready, j)
	if b.active < b.opts.Workers {
		b.active++
		b.running.Add(1)
		go b.work()
	}
	return statusAccepted
}

// work handles jobs until none is ready.
func (b *mailbox) work() {
	defer b.running.Done()
	var last *job
	for {
		j := b.next(last)
		if j == nil {
			return
		}
		b.handle(j)
		last = j
	}
}

// next frees last's lane and takes the next job, or ends the worker.
func (b *mailbox) next(last *job) *job {
	b.mu.Lock()
	defer b.mu.Unlock()
	if last != nil {
		if l := last.lane(); l != "" {
			b.free(l)
		}
	}
	if len(b.ready) == 0 || b.stopped {
		b.active--
		return nil
	}
	j := b.ready[0]
	b.ready[0] = nil
	b.ready = b.ready[1:]
	if j.fanout {
		b.nFanouts--
	} else {
		b.nCalls--
	}
	return j
}

func (b *mailbox) free(lane string) {
	waiting := b.lanes[lane]
	if len(waiting) == 0 {
		delete(b.lanes, lane)
		return
	}
	b.ready = append(b.ready, waiting[0])
	b.lanes[lane] = waiting[1:]
}

func (b *mailbox) handle(j *job) {
	if !j.deadline.IsZero() && !time.Now().Before(j.deadline) {
		return // nobody waits for it any more: at most once, and not late
	}
	if j.event != nil {
		b.notify(j)
		return
	}
	ctx := bus.WithSender(j.m.Context(b.ctx), j.from)
	if !j.deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, j.deadline)
		defer cancel()
	}
	reply := j.m.Dispatch(ctx, b.handler)
	switch {
	case j.done != nil:
		j.done(reply)
	case reply.Fault != nil:
		b.opts.Log.WarnContext(ctx, "bus message failed", slog.String("method", j.m.Method), slog.Any("error", reply.Fault.Err()))
	}
}

// notify runs the subscriber under Dispatch, for its span and its panics.
func (b *mailbox) notify(j *job) {
	ctx := j.m.Context(b.ctx)
	reply := j.m.Dispatch(ctx, func(ctx context.Context, _ string, _ func(any) error) (any, error) {
		b.subscriber(ctx, *j.event)
		return nil, nil
	})
	if reply.Fault != nil {
		b.opts.Log.WarnContext(ctx, "bus subscriber failed", slog.String("event", j.event.Type), slog.Any("error", reply.Fault.Err()))
	}
}

// stop answers what waits, cancels what runs and waits for it.
func (b *mailbox) stop() {
	b.mu.Lock()
	waiting := b.ready
	for _, l := range b.lanes {
		waiting = append(waiting, l...)
	}
	b.stopped, b.ready, b.lanes = true, nil, map[string][]*job{}
	b.mu.Unlock()
	b.cancel()
	for _, j := range waiting {
		if j.done != nil {
			j.done(nil)
		}
	}
	b.running.Wait()
}
