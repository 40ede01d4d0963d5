package bustest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/obs"
)

func (s *suite) fanout() {
	const hosts, each = 5, 50
	var mu sync.Mutex
	got := map[string][]int{}
	var left sync.WaitGroup
	left.Add(hosts * each)
	for i := range hosts {
		host := fmt.Sprintf("h%d", i)
		s.serve("t", host, func(_ context.Context, _ string, decode func(any) error) (any, error) {
			var n int
			err := decode(&n)
			mu.Lock()
			got[host] = append(got[host], n)
			mu.Unlock()
			left.Done()
			return nil, err
		})
	}
	for n := range each {
		s.check(s.client.Fanout(s.ctx, "t", "m", n))
	}
	s.wait(&left)
	for host, list := range got {
		if len(list) != each || !slices.IsSorted(list) {
			s.t.Errorf("%s got %v", host, list)
		}
	}
}

func (s *suite) wait(wg *sync.WaitGroup) {
	s.t.Helper()
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	recv(s, done)
}

// slow: a receiver that does not move holds up neither fan-outs nor others.
func (s *suite) slow() {
	const many = 5000
	release, started := make(chan struct{}), make(chan struct{}, 1)
	s.serve("t", "slow", func(_ context.Context, method string, _ func(any) error) (any, error) {
		if method == "m" {
			select {
			case started <- struct{}{}:
			default:
			}
			<-release
		}
		return nil, nil
	})
	defer close(release)
	var fast atomic.Int64
	s.serve("t", "fast", func(context.Context, string, func(any) error) (any, error) {
		fast.Add(1)
		return nil, nil
	})
	s.check(s.client.Fanout(s.ctx, "t", "m", 0))
	recv(s, started)
	for n := range many {
		s.check(s.client.Fanout(s.ctx, "t", "m", n))
	}
	s.check(s.client.Call(s.ctx, bus.Target{Topic: "t", Host: "fast"}, "ping", nil, nil))
	s.check(s.client.Call(s.ctx, bus.Target{Topic: "t", Host: "slow"}, "ping", nil, nil))
	if fast.Load() == 0 {
		s.t.Error("the fast receiver got nothing")
	}
}

func (s *suite) notify() {
	events := make(chan bus.Event, 10)
	stop := s.server.Subscribe("compute.", func(_ context.Context, e bus.Event) { events <- e })
	ctx := obs.WithRequestID(s.ctx, "req-7")
	s.check(s.client.Notify(ctx, "network.port.create", nil))
	s.check(s.client.Notify(ctx, "compute.instance.create", greeting{Name: "vm"}))
	s.check(s.client.Notify(ctx, "compute.instance.delete", greeting{Name: "vm"}))
	e := recv(s, events)
	var g greeting
	s.check(e.Decode(&g))
	if e.Type != "compute.instance.create" || e.RequestID != "req-7" || e.ID == "" || e.Time.IsZero() || g.Name != "vm" {
		s.t.Fatalf("got %+v, %+v", e, g)
	}
	if e := recv(s, events); e.Type != "compute.instance.delete" {
		s.t.Fatalf("then got %s", e.Type)
	}
	stop()
	s.check(s.client.Notify(s.ctx, "compute.instance.update", nil))
	if len(events) != 0 {
		s.t.Error("an event came after stop")
	}
}

func (s *suite) stop() {
	started := make(chan struct{}, 1)
	ended := make(chan struct{})
	stop := s.serve("t", "a", func(ctx context.Context, method string, _ func(any) error) (any, error) {
		if method == "wait" {
			started <- struct{}{}
			<-ctx.Done()
			close(ended)
		}
		return nil, ctx.Err()
	})
	running, queued := make(chan error, 1), make(chan error, 1)
	target := bus.Target{Topic: "t", Key: "k"}
	go func() { running <- s.client.Call(s.ctx, target, "wait", nil, nil) }()
	recv(s, started)
	go func() { queued <- s.client.Call(s.ctx, target, "m", nil, nil) }()
	stop()
	select {
	case <-ended:
	default:
		s.t.Error("stop returned before the handler")
	}
	if recv(s, running) == nil || recv(s, queued) == nil {
		s.t.Error("a call to a stopped server succeeded")
	}
	stop() // again: nothing
	s.serve("t", "a", ok)
	s.check(s.client.Call(s.ctx, target, "m", nil, nil))
}

func (s *suite) serveContext() {
	ctx, cancel := context.WithCancel(s.ctx)
	started, ended := make(chan struct{}, 1), make(chan struct{})
	stop, err := s.server.Serve(ctx, "t", "a", func(ctx context.Context, _ string, _ func(any) error) (any, error) {
		started <- struct{}{}
		<-ctx.Done()
		close(ended)
		return nil, nil
	})
	s.check(err)
	s.check(s.client.Cast(s.ctx, bus.Target{Topic: "t"}, "m", nil))
	recv(s, started)
	cancel()
	recv(s, ended)
	stop() // waits until the server has gone
	s.kind(s.client.Cast(s.ctx, bus.Target{Topic: "t"}, "m", nil), fault.Unavailable)
	if _, err := s.server.Serve(ctx, "t", "b", ok); err == nil {
		s.t.Error("served with a context that has ended")
	}
}

func (s *suite) close() {
	b := s.connect()
	_, err := b.Serve(s.ctx, "t", "a", ok)
	s.check(err)
	b.Subscribe("x", func(context.Context, bus.Event) {})
	s.check(b.Close())
	s.check(b.Close())
	if b.Call(s.ctx, bus.Target{Topic: "t"}, "m", nil, nil) == nil || b.Fanout(s.ctx, "t", "m", nil) == nil || b.Notify(s.ctx, "x", nil) == nil {
		s.t.Error("a closed bus still works")
	}
	if _, err := b.Serve(s.ctx, "t", "b", ok); err == nil {
		s.t.Error("a closed bus still serves")
	}
}

func (s *suite) panics() {
	s.serve("t", "a", func(_ context.Context, method string, _ func(any) error) (any, error) {
		if method == "boom" {
			panic("boom")
		}
		return nil, nil
	})
	s.kind(s.client.Call(s.ctx, bus.Target{Topic: "t"}, "boom", nil, nil), fault.Internal)
	s.check(s.client.Call(s.ctx, bus.Target{Topic: "t"}, "m", nil, nil))
}

func (s *suite) unshared() {
	s.serve("t", "a", func(_ context.Context, _ string, decode func(any) error) (any, error) {
		var in greeting
		if err := decode(&in); err != nil {
			return nil, err
		}
		in.List[0] = "changed"
		return in, nil
	})
	in := greeting{List: []string{"mine"}}
	out, err := bus.Do[greeting](s.ctx, s.client, bus.Target{Topic: "t"}, "m", &in)
	s.check(err)
	if in.List[0] != "mine" || out.List[0] != "changed" {
		s.t.Fatalf("sent %v, got %v", in, out)
	}
}

func (s *suite) limits() {
	s.serve("t", "a", func(_ context.Context, method string, _ func(any) error) (any, error) {
		if method == "big" {
			return strings.Repeat("x", bus.MaxMessage+1), nil
		}
		return make(chan int), nil // cannot be encoded
	})
	target := bus.Target{Topic: "t"}
	s.kind(s.client.Call(s.ctx, target, "m", strings.Repeat("x", bus.MaxMessage+1), nil), fault.TooLarge)
	s.kind(s.client.Call(s.ctx, target, "big", nil, nil), fault.TooLarge)
	s.kind(s.client.Call(s.ctx, target, "m", nil, nil), fault.Internal)
	if s.client.Cast(s.ctx, target, "m", make(chan int)) == nil {
		s.t.Error("sent a channel")
	}
	for _, name := range []string{"", "a b", "a*", "a>", "a\n", strings.Repeat("x", 300)} {
		if _, err := s.server.Serve(s.ctx, name, "h", ok); err == nil {
			s.t.Errorf("served topic %q", name)
		}
		if s.client.Call(s.ctx, target, name, nil, nil) == nil {
			s.t.Errorf("called method %q", name)
		}
		if s.client.Notify(s.ctx, name, nil) == nil {
			s.t.Errorf("notified %q", name)
		}
	}
}

func (s *suite) steps() {
	s.serve("t", "a", func(ctx context.Context, _ string, _ func(any) error) (any, error) {
		obs.Step(ctx, 10, "")(nil)
		return nil, fault.Conflictf("steps come back with a fault, too")
	})
	rec := new(obs.Recorder)
	s.kind(s.client.Call(obs.WithRecorder(s.ctx, rec), bus.Target{Topic: "t"}, "m", nil, nil), fault.Conflict)
	got := rec.Records()
	if len(got) != 1 || got[0].Step != 10 || got[0].Part != "nova-scheduler" {
		s.t.Fatalf("got %+v", got)
	}
}

func (s *suite) mux() {
	var m bus.Mux
	bus.Handle(&m, "len", func(_ context.Context, in greeting) (int, error) { return len(in.Name), nil })
	s.serve("t", "a", m.Serve)
	target := bus.Target{Topic: "t"}
	n, err := bus.Do[int](s.ctx, s.client, target, "len", greeting{Name: "four"})
	s.check(err)
	if n != 4 {
		s.t.Fatalf("got %d", n)
	}
	s.kind(s.client.Call(s.ctx, target, "other", nil, nil), fault.NotImplemented)
	s.kind(s.client.Call(s.ctx, target, "len", "not a greeting", nil), fault.Invalid)
}
