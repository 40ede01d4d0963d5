package inproc

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/tropocloud/tropo/bus"
)

// job is a message on its way to one receiver.
type job struct {
	m        *bus.Message
	event    *bus.Event      // of a notification
	deadline time.Time       // zero: none
	reply    chan *bus.Reply // of a call, with room for one; nil in it: the server stopped
	fanout   bool
}

// fanoutLane is the lane of fan-outs and events; those of keys begin with
// "key ".
const fanoutLane = "fanout"

// lane is the queue in which j must keep its order, "" if none.
func (j *job) lane() string {
	switch {
	case j.fanout:
		return fanoutLane
	case j.m.Key != "":
		return "key " + j.m.Key
	}
	return ""
}

// receiver is a server or a subscription: queues, and goroutines only while
// there is something to do.
type receiver struct {
	handler    bus.Handler
	subscriber func(context.Context, bus.Event)
	opts       Options
	slots      chan struct{} // one for each call or cast that waits
	ctx        context.Context
	cancel     context.CancelFunc
	gone       func()      // takes the receiver out of the bus
	unhook     func() bool // from the context given to Serve
	running    sync.WaitGroup

	mu       sync.Mutex
	stopped  bool
	active   int               // goroutines that run
	nFanouts int               // fan-outs that wait
	ready    []*job            // may run now
	lanes    map[string][]*job // present: one of the lane is ready or runs; the rest
}

func newReceiver(ctx context.Context, opts Options) *receiver {
	r := &receiver{opts: opts, slots: make(chan struct{}, opts.Queue), lanes: map[string][]*job{}}
	r.ctx, r.cancel = context.WithCancel(ctx)
	return r
}

// put queues a call or a cast; it waits for room until ctx ends.
func (r *receiver) put(ctx context.Context, j *job, t bus.Target) error {
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return bus.NoAnswer(ctx, t, j.m.Method)
	case <-r.ctx.Done():
		return bus.NobodyServes(t)
	}
	if !r.enqueue(j) {
		return bus.NobodyServes(t)
	}
	return nil
}

// offer queues a fan-out if there is room. A receiver that stopped does not
// count as full.
func (r *receiver) offer(j *job) bool {
	r.mu.Lock()
	if r.stopped {
		r.mu.Unlock()
		return true
	}
	if r.nFanouts >= r.opts.Fanouts {
		r.mu.Unlock()
		return false
	}
	r.nFanouts++
	r.mu.Unlock()
	r.enqueue(j)
	return true
}

// enqueue reports false when the receiver has stopped.
func (r *receiver) enqueue(j *job) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return false
	}
	if l := j.lane(); l != "" {
		if waiting, busy := r.lanes[l]; busy {
			r.lanes[l] = append(waiting, j)
			return true
		}
		r.lanes[l] = nil
	}
	r.ready = append(r.ready, j)
	if r.active < r.opts.Workers {
		r.active++
		r.running.Add(1)
		go r.work()
	}
	return true
}

// work handles jobs until none is ready.
func (r *receiver) work() {
	defer r.running.Done()
	var last *job
	for {
		j := r.next(last)
		if j == nil {
			return
		}
		r.handle(j)
		last = j
	}
}

// next frees last's lane and takes the next job, or ends the worker.
func (r *receiver) next(last *job) *job {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last != nil {
		if l := last.lane(); l != "" {
			r.free(l)
		}
	}
	if len(r.ready) == 0 || r.stopped {
		r.active--
		return nil
	}
	j := r.ready[0]
	r.ready[0] = nil
	r.ready = r.ready[1:]
	if j.fanout {
		r.nFanouts--
	} else {
		<-r.slots
	}
	return j
}

func (r *receiver) free(lane string) {
	waiting := r.lanes[lane]
	if len(waiting) == 0 {
		delete(r.lanes, lane)
		return
	}
	r.ready = append(r.ready, waiting[0])
	r.lanes[lane] = waiting[1:]
}

func (r *receiver) handle(j *job) {
	ctx := j.m.Context(r.ctx)
	h := r.handler
	if j.event != nil {
		h = func(ctx context.Context, _ string, _ func(any) error) (any, error) {
			r.subscriber(ctx, *j.event)
			return nil, nil
		}
	}
	if !j.deadline.IsZero() {
		if !time.Now().Before(j.deadline) {
			return // nobody waits for it any more: at most once, and not late
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, j.deadline)
		defer cancel()
	}
	reply := j.m.Dispatch(ctx, h)
	switch {
	case j.reply != nil:
		j.reply <- reply
	case reply.Fault != nil:
		r.opts.Log.WarnContext(ctx, "bus message failed", slog.String("method", j.m.Method), slog.Any("error", reply.Fault.Err()))
	}
}

// stop takes the receiver out of the bus, answers the calls that wait, cancels
// the handlers that run and waits for them.
func (r *receiver) stop() {
	r.gone() // first: it waits for Serve, which sets unhook
	if r.unhook != nil {
		r.unhook()
	}
	r.mu.Lock()
	first := !r.stopped
	r.stopped = true
	var waiting []*job
	if first {
		waiting = r.ready
		for _, l := range r.lanes {
			waiting = append(waiting, l...)
		}
		r.ready, r.lanes = nil, map[string][]*job{}
	}
	r.mu.Unlock()
	r.cancel()
	for _, j := range waiting {
		if j.reply != nil {
			j.reply <- nil
		}
	}
	r.running.Wait()
}
