package broker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/bus/broker"
	"github.com/tropocloud/tropo/bus/nats"
	"github.com/tropocloud/tropo/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func pair(t *testing.T, o broker.Options) (server, client *broker.Bus) {
	t.Helper()
	s, err := nats.Embed(nats.ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	var list []*broker.Bus
	for range 2 {
		b, err := nats.Open(t.Context(), nats.Options{Options: o, Server: s})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.Close() })
		list = append(list, b)
	}
	return list[0], list[1]
}

func TestBackPressureAndDrops(t *testing.T) {
	server, client := pair(t, broker.Options{Workers: 2, Queue: 3, Fanouts: 4})
	release, started := make(chan struct{}), make(chan struct{}, 100)
	if _, err := server.Serve(t.Context(), "t", "a", func(context.Context, string, func(any) error) (any, error) {
		started <- struct{}{}
		<-release
		return nil, nil
	}); err != nil {
		t.Fatal(err)
	}
	target := bus.Target{Topic: "t", Host: "a"}
	for i := range 5 { // two run, three wait
		if err := client.Cast(t.Context(), target, "m", nil); err != nil {
			t.Fatal(err)
		}
		if i < 2 {
			<-started
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := client.Cast(ctx, target, "m", nil); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("the sixth: %v", err)
	}
	for range 10 {
		if err := client.Fanout(t.Context(), "t", "m", nil); err != nil {
			t.Fatal(err)
		}
	}
	blocked := make(chan error, 1)
	go func() { blocked <- client.Cast(t.Context(), target, "m", nil) }()
	// Their retries pass behind the fan-outs.
	for i, patience := 0, time.Now().Add(time.Minute); i < 3 || server.Dropped() < 6 && time.Now().Before(patience); i++ {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_ = client.Cast(ctx, target, "m", nil)
		cancel()
	}
	if n := server.Dropped(); n != 6 {
		t.Errorf("%d fan-outs dropped; want 6", n)
	}
	close(release)
	if err := <-blocked; err != nil {
		t.Errorf("the sender that waited for room: %v", err)
	}
}

// memory is a broker in the test's memory, for those that need its time to be
// synctest's. It knows one receiver for each address.
type memory struct {
	mu    sync.Mutex
	bound map[broker.Address]broker.Sink
}

// open opens a bus that ends with the test.
func (m *memory) open(t *testing.T, o broker.Options) *broker.Bus {
	t.Helper()
	b, err := broker.New(t.Context(), o, func(_ context.Context, _ broker.Options, s broker.Sink) (broker.Link, error) {
		return &memoryLink{m, s}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

type memoryLink struct {
	*memory
	sink broker.Sink
}

func (l *memoryLink) Traits() broker.Traits { return broker.Traits{Groups: true, Hosts: true} }

func (l *memoryLink) Bind(_ context.Context, a broker.Address) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bound[a] = l.sink
	return nil
}

func (l *memoryLink) Unbind(_ context.Context, a broker.Address) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.bound, a)
	return nil
}

func (l *memoryLink) Send(_ context.Context, p broker.Packet) (<-chan struct{}, error) {
	l.mu.Lock()
	to, ok := l.bound[p.To]
	l.mu.Unlock()
	if !ok {
		return nil, broker.ErrNobody
	}
	to.Deliver(p.To, p.Data)
	return nil, nil
}

func (l *memoryLink) Close() error { return nil }

// TestLongCall: a call outlives Silence as long as its server lives.
func TestLongCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{bound: map[broker.Address]broker.Sink{}}
		server, client := m.open(t, broker.Options{Silence: time.Second}), m.open(t, broker.Options{Silence: time.Second})
		if _, err := server.Serve(t.Context(), "t", "a", func(ctx context.Context, _ string, _ func(any) error) (any, error) {
			<-ctx.Done() // the call's deadline
			return nil, fault.Conflictf("too late")
		}); err != nil {
			t.Fatal(err)
		}
		const patience = 3 * time.Second
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		err := client.Call(ctx, bus.Target{Topic: "t"}, "m", nil, nil)
		if !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.Conflict) || strings.Contains(err.Error(), "Nothing is heard") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != patience {
			t.Errorf("the call ended after %s: %v", took, err)
		}
	})
}

func TestCloseAnswersCallers(t *testing.T) {
	server, client := pair(t, broker.Options{Workers: 1})
	started := make(chan struct{}, 10)
	if _, err := server.Serve(t.Context(), "t", "a", func(ctx context.Context, _ string, _ func(any) error) (any, error) {
		started <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}); err != nil {
		t.Fatal(err)
	}
	results := make(chan error, 5)
	for range cap(results) {
		go func() { results <- client.Call(t.Context(), bus.Target{Topic: "t", Host: "a"}, "m", nil, nil) }()
	}
	<-started
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	for range cap(results) {
		if err := <-results; err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	}
}

func TestNames(t *testing.T) {
	for prefix, want := range map[string]string{"": "", "compute": "", "compute.": "compute.", "compute.inst": "compute.", "a.b.": "a.b."} {
		if got := broker.Pattern(prefix); got != want {
			t.Errorf("Pattern(%q) = %q; want %q", prefix, got, want)
		}
	}
	seen := map[string]bool{}
	for i := range 3 {
		s := broker.ShortName(strings.Repeat("é", 200)+fmt.Sprint(i), 255)
		if len(s) > 255 || seen[s] {
			t.Errorf("%q has %d bytes, or is there twice", s, len(s))
		}
		seen[s] = true
	}
	if _, err := broker.New(t.Context(), broker.Options{Prefix: "a.b"}, nil); err == nil {
		t.Error("took a prefix with a dot")
	}
}

func TestBackoff(t *testing.T) {
	var b broker.Backoff
	var sum time.Duration
	for range 20 {
		p := b.Next()
		if p < 5*time.Millisecond || p > 4500*time.Millisecond {
			t.Errorf("a pause of %s", p)
		}
		sum += p
	}
	if sum < 10*time.Second {
		t.Errorf("20 pauses last %s; they do not grow", sum)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if b.Wait(ctx) {
		t.Error("waited after the end")
	}
}

// flaky is a session that fails as told.
type flaky struct {
	down  chan struct{}
	mu    sync.Mutex
	bound map[broker.Address]int
	fail  error
}

func (f *flaky) Bind(_ context.Context, a broker.Address) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return f.fail
	}
	f.bound[a]++
	return nil
}

func (f *flaky) Unbind(_ context.Context, a broker.Address) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.bound, a)
	return nil
}
func (f *flaky) Send(context.Context, broker.Packet) error { return nil }
func (f *flaky) Down() <-chan struct{}                     { return f.down }
func (f *flaky) Close()                                    {}

func TestKeeperBindsAgain(t *testing.T) {
	sessions := make(chan *flaky, 10)
	tries := 0
	k, err := broker.NewKeeper(t.Context(), broker.Options{}, broker.Traits{Hosts: true}, func(context.Context) (broker.Session, error) {
		if tries++; tries%2 == 1 {
			return nil, errors.New("not now")
		}
		f := &flaky{down: make(chan struct{}), bound: map[broker.Address]int{}}
		if tries == 4 {
			f.fail = errors.New("no rights")
		}
		sessions <- f
		return f, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	first := <-sessions
	for i := range 100 {
		if err := k.Bind(t.Context(), broker.Address{Kind: broker.Host, Host: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Unbind(t.Context(), broker.Address{Kind: broker.Host, Host: "0"}); err != nil {
		t.Fatal(err)
	}
	lost, err := k.Send(t.Context(), broker.Packet{})
	if err != nil {
		t.Fatal(err)
	}
	close(first.down)
	<-lost
	if _, err := k.Send(t.Context(), broker.Packet{}); err != nil { // waits for the next
		t.Fatal(err)
	}
	<-sessions // the one without rights is given up
	third := <-sessions
	third.mu.Lock()
	defer third.mu.Unlock()
	if len(third.bound) != 99 {
		t.Errorf("%d addresses are bound again; want 99", len(third.bound))
	}
}

func TestKeeperEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tries := 0
	_, err := broker.NewKeeper(ctx, broker.Options{}, broker.Traits{}, func(context.Context) (broker.Session, error) {
		if tries++; tries == 2 { // the first error is known by now
			cancel()
		}
		return nil, errors.New("no such host")
	})
	if !errors.Is(err, broker.ErrDown) || !strings.Contains(err.Error(), "no such host") {
		t.Errorf("got %v", err)
	}
}
