// Package mailbox is the receiving end of a server or a subscription of any
// bus: bounded queues that keep the order of a key and of fan-outs, and
// goroutines only while there is something to do.
package mailbox

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/tropocloud/tropo/bus"
)

// Options bound what a mailbox takes; all of them must be set.
type Options struct {
	Workers int // handlers that run at the same time
	Queue   int // calls and casts that wait
	Fanouts int // fan-outs and events that wait
	// Log is told of the errors of casts, fan-outs and subscribers, which
	// nobody awaits.
	Log *slog.Logger
}

// Job is a message that came for one server or subscription.
type Job struct {
	Message  *bus.Message
	From     string     // who sent it, as the broker knows; "" if not
	Event    *bus.Event // of a notification
	Deadline time.Time  // zero: none
	// Done is told the reply of a call, or nil when the box stopped before it
	// was handled; nil: nobody waits.
	Done   func(*bus.Reply)
	Fanout bool // or an event
}

// lane is the queue in which j must keep its order, "" if none.
func (j *Job) lane() string {
	switch {
	case j.Fanout:
		return "fanout"
	case j.Message.Key != "":
		return "key " + j.Message.Key
	}
	return ""
}

// Verdict says what became of a job.
type Verdict int

// Verdicts.
const (
	Accepted Verdict = iota // it waits for its turn, or runs
	Busy                    // there is no room: nothing was done
	Gone                    // the box has stopped: nothing was done
)

// Box is a mailbox.
type Box struct {
	handler    bus.Handler
	subscriber func(context.Context, bus.Event)
	opts       Options
	ctx        context.Context
	cancel     context.CancelFunc
	calls      chan struct{} // one for each call or cast that waits
	fanouts    chan struct{}
	running    sync.WaitGroup

	mu      sync.Mutex
	stopped bool
	active  int               // goroutines that run
	ready   []*Job            // may run now
	lanes   map[string][]*Job // present: one of the lane is ready or runs; the rest
}

// Serve makes the mailbox of a server, whose handlers' contexts end with ctx.
func Serve(ctx context.Context, opts Options, h bus.Handler) *Box {
	b := newBox(ctx, opts)
	b.handler = h
	return b
}

// Subscribe makes the mailbox of a subscription.
func Subscribe(ctx context.Context, opts Options, f func(context.Context, bus.Event)) *Box {
	b := newBox(ctx, opts)
	b.subscriber = f
	return b
}

func newBox(ctx context.Context, opts Options) *Box {
	b := &Box{
		opts: opts, lanes: map[string][]*Job{},
		calls: make(chan struct{}, opts.Queue), fanouts: make(chan struct{}, opts.Fanouts),
	}
	b.ctx, b.cancel = context.WithCancel(ctx)
	return b
}

// Context ends with the box.
func (b *Box) Context() context.Context { return b.ctx }

func (b *Box) room(j *Job) chan struct{} {
	if j.Fanout {
		return b.fanouts
	}
	return b.calls
}

// Offer queues j if there is room; it never blocks.
func (b *Box) Offer(j *Job) Verdict {
	if b.ctx.Err() != nil {
		return Gone
	}
	select {
	case b.room(j) <- struct{}{}:
		return b.enqueue(j)
	default:
		return Busy
	}
}

// Put queues j, and waits for room until ctx ends: Busy.
func (b *Box) Put(ctx context.Context, j *Job) Verdict {
	select {
	case b.room(j) <- struct{}{}:
		return b.enqueue(j)
	case <-b.ctx.Done():
		return Gone
	case <-ctx.Done():
		return Busy
	}
}

func (b *Box) enqueue(j *Job) Verdict {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		return Gone
	}
	if l := j.lane(); l != "" {
		if waiting, busy := b.lanes[l]; busy {
			b.lanes[l] = append(waiting, j)
			return Accepted
		}
		b.lanes[l] = nil
	}
	b.ready = append(b.ready, j)
	if b.active < b.opts.Workers {
		b.active++
		b.running.Go(b.work)
	}
	return Accepted
}

// work handles jobs until none is ready.
func (b *Box) work() {
	var last *Job
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
func (b *Box) next(last *Job) *Job {
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
	<-b.room(j)
	return j
}

func (b *Box) free(lane string) {
	waiting := b.lanes[lane]
	if len(waiting) == 0 {
		delete(b.lanes, lane)
		return
	}
	b.ready = append(b.ready, waiting[0])
	b.lanes[lane] = waiting[1:]
}

func (b *Box) handle(j *Job) {
	if !j.Deadline.IsZero() && !time.Now().Before(j.Deadline) {
		return // nobody waits for it any more: at most once, and not late
	}
	if j.Event != nil {
		b.notify(j)
		return
	}
	ctx := bus.WithSender(j.Message.Context(b.ctx), j.From)
	if !j.Deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, j.Deadline)
		defer cancel()
	}
	reply := j.Message.Dispatch(ctx, b.handler)
	switch {
	case j.Done != nil:
		j.Done(reply)
	case reply.Fault != nil:
		b.opts.Log.WarnContext(ctx, "bus message failed", slog.String("method", j.Message.Method), slog.Any("error", reply.Fault.Err()))
	}
}

// notify runs the subscriber under Dispatch, for its span and its panics.
func (b *Box) notify(j *Job) {
	ctx := j.Message.Context(b.ctx)
	reply := j.Message.Dispatch(ctx, func(ctx context.Context, _ string, _ func(any) error) (any, error) {
		b.subscriber(ctx, *j.Event)
		return nil, nil
	})
	if reply.Fault != nil {
		b.opts.Log.WarnContext(ctx, "bus subscriber failed", slog.String("event", j.Event.Type), slog.Any("error", reply.Fault.Err()))
	}
}

// Stop answers what waits, cancels what runs and waits for it. It may be
// called several times.
func (b *Box) Stop() {
	b.mu.Lock()
	waiting := b.ready
	for _, l := range b.lanes {
		waiting = append(waiting, l...)
	}
	b.stopped, b.ready, b.lanes = true, nil, map[string][]*Job{}
	b.mu.Unlock()
	b.cancel()
	for _, j := range waiting {
		if j.Done != nil {
			j.Done(nil)
		}
	}
	b.running.Wait()
}
