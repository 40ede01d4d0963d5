// Package bustest is the conformance suite of bus.Bus. Every implementation
// passes it; what it tests is what the bus promises, see package bus.
package bustest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/obs"
)

// Factory returns a function that connects to one fresh broker: each call is
// another process as far as the bus can tell. An implementation inside one
// process may return the same connection again.
type Factory func(t *testing.T) (connect func() bus.Bus)

// wait bounds how long a test waits for what must happen.
const wait = time.Minute

type suite struct {
	t              *testing.T
	ctx            context.Context
	server, client bus.Bus
	connect        func() bus.Bus
}

// Run runs the suite.
func Run(t *testing.T, f Factory) {
	for name, test := range map[string]func(*suite){
		"call":                  (*suite).call,
		"faults survive":        (*suite).faults,
		"context travels":       (*suite).travels,
		"nobody serves":         (*suite).nobody,
		"host and any host":     (*suite).hosts,
		"order of a key":        (*suite).order,
		"keys do not wait":      (*suite).keysDoNotWait,
		"call timeout":          (*suite).timeout,
		"late call is dropped":  (*suite).late,
		"caller gives up":       (*suite).cancel,
		"cast":                  (*suite).cast,
		"fanout":                (*suite).fanout,
		"slow consumer":         (*suite).slow,
		"notify":                (*suite).notify,
		"stop":                  (*suite).stop,
		"serve ends with ctx":   (*suite).serveContext,
		"close":                 (*suite).close,
		"panic":                 (*suite).panics,
		"nothing is shared":     (*suite).unshared,
		"limits":                (*suite).limits,
		"birth steps come back": (*suite).steps,
		"mux":                   (*suite).mux,
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), wait)
			t.Cleanup(cancel)
			connect := f(t)
			s := &suite{t: t, ctx: ctx, connect: connect, server: connect(), client: connect()}
			t.Cleanup(func() { _ = s.server.Close(); _ = s.client.Close() })
			test(s)
		})
	}
}

type greeting struct {
	Name string   `json:"name"`
	List []string `json:"list,omitempty"`
}

func (s *suite) serve(topic, host string, h bus.Handler) (stop func()) {
	s.t.Helper()
	stop, err := s.server.Serve(s.ctx, topic, host, h)
	if err != nil {
		s.t.Fatal(err)
	}
	return stop
}

func (s *suite) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *suite) kind(err error, want fault.Kind) {
	s.t.Helper()
	if !fault.Is(err, want) {
		s.t.Fatalf("got %v (%s); want %s", err, fault.KindOf(err), want)
	}
}

// recv takes a value or fails after the suite's time.
func recv[T any](s *suite, c <-chan T) T {
	s.t.Helper()
	select {
	case v := <-c:
		return v
	case <-s.ctx.Done():
		s.t.Fatal("nothing came in time")
		panic("unreachable")
	}
}

func (s *suite) call() {
	s.serve("greeter", "a", func(_ context.Context, method string, decode func(any) error) (any, error) {
		var in greeting
		if err := decode(&in); err != nil {
			return nil, err
		}
		return greeting{Name: method + " " + in.Name}, nil
	})
	var out greeting
	s.check(s.client.Call(s.ctx, bus.Target{Topic: "greeter"}, "hello", greeting{Name: "you"}, &out))
	if out.Name != "hello you" {
		s.t.Fatalf("got %+v", out)
	}
	s.check(s.client.Call(s.ctx, bus.Target{Topic: "greeter"}, "hello", greeting{}, nil))
}

func (s *suite) faults() {
	s.serve("t", "a", func(_ context.Context, method string, _ func(any) error) (any, error) {
		switch method {
		case "typed":
			f := fault.Wrap(fault.OverQuota, errors.New("the cause"), "Too many %s.", "ports").WithType("OverQuota")
			return nil, fmt.Errorf("wrapped: %w", f)
		case "deadline":
			return nil, fmt.Errorf("qemu: %w", context.DeadlineExceeded)
		}
		return nil, errors.New("plain secret detail")
	})
	err := s.client.Call(s.ctx, bus.Target{Topic: "t"}, "typed", nil, nil)
	f, ok := fault.As(err)
	if !ok || f.Kind != fault.OverQuota || f.Type != "OverQuota" || f.Message != "Too many ports." {
		s.t.Fatalf("got %#v", err)
	}
	if !strings.Contains(err.Error(), "the cause") {
		s.t.Error("the cause is lost for the log:", err)
	}
	err = s.client.Call(s.ctx, bus.Target{Topic: "t"}, "plain", nil, nil)
	s.kind(err, fault.Internal)
	if f, _ := fault.As(err); strings.Contains(f.Message, "secret") || !strings.Contains(err.Error(), "secret") {
		s.t.Errorf("message %q, error %q; the detail is for the log alone", f.Message, err)
	}
	s.kind(s.client.Call(s.ctx, bus.Target{Topic: "t"}, "deadline", nil, nil), fault.Unavailable)
}

func (s *suite) travels() {
	tracing, err := obs.NewTracing(obs.TracingOptions{Service: "test"})
	s.check(err)
	defer func() { _ = tracing.Shutdown(context.WithoutCancel(s.ctx)) }()
	type seen struct {
		RequestID, TraceID string
		Left               time.Duration
	}
	s.serve("t", "a", func(ctx context.Context, _ string, _ func(any) error) (any, error) {
		d, _ := ctx.Deadline()
		return seen{obs.RequestID(ctx), obs.TraceID(ctx), time.Until(d)}, nil
	})
	ctx, end := obs.StartSpan(obs.WithTracing(obs.WithRequestID(s.ctx, "req-1"), tracing), "test")
	defer end(nil)
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var got seen
	s.check(s.client.Call(ctx, bus.Target{Topic: "t"}, "m", nil, &got))
	if got.RequestID != "req-1" || got.TraceID == "" || got.TraceID != obs.TraceID(ctx) || got.Left <= 0 || got.Left > 5*time.Second {
		s.t.Fatalf("got %+v; want req-1, %s, at most 5s", got, obs.TraceID(ctx))
	}
}

func (s *suite) nobody() {
	stop := s.serve("t", "a", ok)
	for _, target := range []bus.Target{{Topic: "other"}, {Topic: "t", Host: "b"}} {
		s.kind(s.client.Call(s.ctx, target, "m", nil, nil), fault.Unavailable)
		s.kind(s.client.Cast(s.ctx, target, "m", nil), fault.Unavailable)
	}
	s.check(s.client.Fanout(s.ctx, "other", "m", nil))
	stop()
	s.kind(s.client.Call(s.ctx, bus.Target{Topic: "t"}, "m", nil, nil), fault.Unavailable)
}

func ok(context.Context, string, func(any) error) (any, error) { return "ok", nil }

func (s *suite) hosts() {
	for _, host := range []string{"a", "b", "c"} {
		s.serve("t", host, func(context.Context, string, func(any) error) (any, error) { return host, nil })
	}
	if _, err := s.server.Serve(s.ctx, "t", "a", ok); !fault.Is(err, fault.Conflict) {
		s.t.Fatalf("second server of a host: %v", err)
	}
	seen := map[string]int{}
	for range 30 {
		host, err := bus.Do[string](s.ctx, s.client, bus.Target{Topic: "t"}, "m", nil)
		s.check(err)
		seen[host]++
		host, err = bus.Do[string](s.ctx, s.client, bus.Target{Topic: "t", Host: "b"}, "m", nil)
		s.check(err)
		if host != "b" {
			s.t.Fatalf("a message for b came to %s", host)
		}
	}
	if len(seen) != 3 {
		s.t.Fatalf("any host: %v; want all three", seen)
	}
}

func (s *suite) order() {
	const senders, each = 4, 200
	var mu sync.Mutex
	got := map[string][]int{}
	running := map[string]bool{}
	done := make(chan struct{})
	left := atomic.Int64{}
	left.Store(senders * each)
	s.serve("t", "a", func(_ context.Context, key string, decode func(any) error) (any, error) {
		var n int
		if err := decode(&n); err != nil {
			return nil, err
		}
		mu.Lock()
		if running[key] {
			s.t.Errorf("two messages of %s run at the same time", key)
		}
		running[key] = true
		mu.Unlock()
		mu.Lock()
		running[key] = false
		got[key] = append(got[key], n)
		mu.Unlock()
		if left.Add(-1) == 0 {
			close(done)
		}
		return nil, nil
	})
	var sending sync.WaitGroup // a message may be handled before its sender knows
	for i := range senders {
		key := fmt.Sprintf("sender%d", i)
		sending.Go(func() {
			for n := range each {
				if err := s.client.Cast(s.ctx, bus.Target{Topic: "t", Host: "a", Key: key}, key, n); err != nil {
					s.t.Error(err)
				}
			}
		})
	}
	recv(s, done)
	s.wait(&sending)
	for key, list := range got {
		if !slices.IsSorted(list) || len(list) != each {
			s.t.Errorf("%s came as %v", key, list)
		}
	}
}

func (s *suite) keysDoNotWait() {
	block := make(chan struct{})
	started := make(chan struct{}, 1)
	s.serve("t", "a", func(_ context.Context, method string, _ func(any) error) (any, error) {
		if method == "block" {
			started <- struct{}{}
			<-block
		}
		return nil, nil
	})
	defer close(block)
	s.check(s.client.Cast(s.ctx, bus.Target{Topic: "t", Key: "x"}, "block", nil))
	recv(s, started)
	s.check(s.client.Call(s.ctx, bus.Target{Topic: "t", Key: "y"}, "m", nil, nil))
	s.check(s.client.Call(s.ctx, bus.Target{Topic: "t"}, "m", nil, nil))
}

func (s *suite) timeout() {
	var handled tally
	ended, release := make(chan error, 10), make(chan struct{}, 10)
	s.serve("t", "a", func(ctx context.Context, method string, decode func(any) error) (any, error) {
		if method == "after" {
			return nil, nil
		}
		err := handled.add(decode)
		<-ctx.Done()
		ended <- ctx.Err()
		<-release
		return nil, err
	})
	defer close(release)
	target := bus.Target{Topic: "t", Key: "k"}
	// On a machine that stands still for a while the time runs out on the way,
	// and nobody handles the call: then it gets more.
	for patience := time.Second; len(ended) == 0; patience *= 2 {
		s.expire(target, patience)
		release <- struct{}{}
		s.check(s.client.Call(s.ctx, target, "after", nil, nil)) // behind it
	}
	if err := recv(s, ended); !errors.Is(err, context.DeadlineExceeded) {
		s.t.Errorf("the handler's context ended with %v", err)
	}
	handled.check(s.t)
}

// expire makes a call that gets no answer in its time.
func (s *suite) expire(t bus.Target, patience time.Duration) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	err := s.client.Call(ctx, t, "m", patience.String(), nil)
	s.kind(err, fault.Unavailable)
	if !errors.Is(err, context.DeadlineExceeded) {
		s.t.Errorf("%v does not say that time ran out", err)
	}
}

func (s *suite) late() {
	block, started := make(chan struct{}), make(chan struct{}, 1)
	release := sync.OnceFunc(func() { close(block) })
	defer release()
	var late atomic.Int64
	s.serve("t", "a", func(_ context.Context, method string, _ func(any) error) (any, error) {
		switch method {
		case "block":
			started <- struct{}{}
			<-block
		case "late":
			late.Add(1)
		}
		return nil, nil
	})
	target := bus.Target{Topic: "t", Key: "k"}
	s.check(s.client.Cast(s.ctx, target, "block", nil))
	recv(s, started)
	const patience = 20 * time.Millisecond
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	s.kind(s.client.Call(ctx, target, "late", nil, nil), fault.Unavailable)
	// One that was very long on its way has its time from when it came.
	s.check(s.client.Call(s.ctx, bus.Target{Topic: "t"}, "behind", nil, nil))
	over, stop := context.WithTimeout(s.ctx, patience)
	defer stop()
	<-over.Done()
	release()
	s.check(s.client.Call(s.ctx, target, "after", nil, nil))
	if late.Load() != 0 {
		s.t.Error("a call was handled after its caller had gone")
	}
}

func (s *suite) cancel() {
	started, release := make(chan struct{}, 1), make(chan struct{})
	defer close(release)
	s.serve("t", "a", func(context.Context, string, func(any) error) (any, error) {
		started <- struct{}{}
		<-release
		return nil, nil
	})
	ctx, cancel := context.WithCancel(s.ctx)
	result := make(chan error, 1)
	go func() { result <- s.client.Call(ctx, bus.Target{Topic: "t"}, "m", nil, nil) }()
	recv(s, started)
	cancel()
	if err := recv(s, result); !errors.Is(err, context.Canceled) {
		s.t.Fatalf("got %v", err)
	}
}

func (s *suite) cast() {
	got, sent := make(chan string, 1), make(chan struct{})
	s.serve("t", "a", func(ctx context.Context, method string, decode func(any) error) (any, error) {
		var in greeting
		if err := decode(&in); err != nil {
			return nil, err
		}
		<-sent
		got <- fmt.Sprint(method, " ", in.Name, " ", ctx.Err())
		return nil, nil
	})
	ctx, cancel := context.WithCancel(s.ctx)
	s.check(s.client.Cast(ctx, bus.Target{Topic: "t", Host: "a"}, "hi", greeting{Name: "you"}))
	cancel() // the sender's end is not the handler's
	close(sent)
	if g := recv(s, got); g != "hi you <nil>" {
		s.t.Fatalf("got %q", g)
	}
}
