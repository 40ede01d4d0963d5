package bustest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/fault"
)

// Hooks are what a transport gives RunBroker: one running broker, and ways to
// harm it.
type Hooks struct {
	// Connect opens a connection with the broker reached at address, or
	// directly when that is empty. Its Patience is a second or so, its Silence
	// a few, its Heartbeat the shortest possible.
	Connect func(t *testing.T, address string) bus.Bus
	// Address is the broker's "host:port", for a Proxy.
	Address string
	// Kill ends the broker without farewell, and Boot starts it at the same
	// address with nothing in it. Nil: those cases are left out.
	Kill, Boot func()
	// Listeners is how many servers one connection can have, for a test that
	// shall take seconds.
	Listeners int
}

// brokerWait bounds one case of RunBroker.
const brokerWait = 45 * time.Second

type brokerSuite struct {
	suite
	Hooks
}

// RunBroker runs what only a bus over a broker can go through: a broker that
// restarts, links that break or fall silent, many listeners. f makes one
// broker, or names in a shared one that nobody else uses.
func RunBroker(t *testing.T, f func(t *testing.T) Hooks) {
	for _, c := range []struct {
		name string
		test func(*brokerSuite)
	}{
		{"large messages", (*brokerSuite).large},
		{"listeners", (*brokerSuite).listeners},
		{"caller is cut off", (*brokerSuite).callerCut},
		{"caller's link is silent", (*brokerSuite).callerSilent},
		{"server is cut off", (*brokerSuite).serverCut},
		{"nothing is redelivered", (*brokerSuite).redelivery},
		{"broker restarts", (*brokerSuite).restart},
		{"broker is thrown away during calls", (*brokerSuite).thrownAway},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), brokerWait)
			t.Cleanup(cancel)
			s := &brokerSuite{Hooks: f(t)}
			s.suite = suite{t: t, ctx: ctx}
			c.test(s)
		})
	}
}

// open opens a connection that the test closes.
func (s *brokerSuite) open(address string) bus.Bus {
	s.t.Helper()
	b := s.Connect(s.t, address)
	s.t.Cleanup(func() { _ = b.Close() })
	return b
}

// pair opens a server's and a client's connection.
func (s *brokerSuite) pair(serverAt, clientAt string) {
	s.t.Helper()
	s.server, s.client = s.open(serverAt), s.open(clientAt)
}

// eventually tries f, which must not block long, until it succeeds.
func (s *brokerSuite) eventually(what string, f func(ctx context.Context) error) {
	s.t.Helper()
	var err error
	for s.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
		err = f(ctx)
		cancel()
		if err == nil {
			return
		}
		pause := time.NewTimer(20 * time.Millisecond) // do not crowd a broker that boots
		select {
		case <-pause.C:
		case <-s.ctx.Done():
			pause.Stop()
		}
	}
	s.t.Fatalf("%s: %v", what, err)
}

func (s *brokerSuite) large() {
	s.pair("", "")
	s.serve("t", "a", func(_ context.Context, _ string, decode func(any) error) (any, error) {
		var in string
		err := decode(&in)
		return in, err
	})
	in := strings.Repeat("x", bus.MaxMessage-2) // and its quotes
	out, err := bus.Do[string](s.ctx, s.client, target, "echo", in)
	for range 3 { // a machine that is busy may take longer than Silence
		if fault.Is(err, fault.Unavailable) {
			out, err = bus.Do[string](s.ctx, s.client, target, "echo", in)
		}
	}
	s.check(err)
	if out != in {
		s.t.Fatalf("%d bytes came back of %d", len(out), len(in))
	}
}

func (s *brokerSuite) listeners() {
	s.pair("", "")
	var got sync.WaitGroup
	got.Add(s.Listeners)
	host := func(i int) string { return fmt.Sprintf("host-%d.example.org", i) }
	work := make(chan int)
	var workers sync.WaitGroup
	for range 512 {
		workers.Go(func() {
			for i := range work {
				if _, err := s.server.Serve(s.ctx, "agent", host(i), func(_ context.Context, method string, _ func(any) error) (any, error) {
					if method == "refresh" {
						got.Done()
					}
					return host(i), nil
				}); err != nil {
					s.t.Error(err)
				}
			}
		})
	}
	begin := time.Now()
	for i := range s.Listeners {
		work <- i
	}
	close(work)
	workers.Wait()
	if s.t.Failed() {
		s.t.FailNow()
	}
	s.t.Logf("%d listeners in %s", s.Listeners, time.Since(begin))
	s.check(s.client.Fanout(s.ctx, "agent", "refresh", nil))
	s.wait(&got)
	for i := 0; i < s.Listeners; i += max(s.Listeners/50, 1) {
		name, err := bus.Do[string](s.ctx, s.client, bus.Target{Topic: "agent", Host: host(i)}, "ping", nil)
		s.check(err)
		if name != host(i) {
			s.t.Fatalf("%s answered for %s", name, host(i))
		}
	}
}

// blocking serves t on a: "block" waits for release, anything else answers.
func (s *brokerSuite) blocking() (started chan struct{}, release func()) {
	started, block := make(chan struct{}, 100), make(chan struct{})
	s.serve("t", "a", func(ctx context.Context, method string, _ func(any) error) (any, error) {
		if method == "block" {
			started <- struct{}{}
			select {
			case <-block:
			case <-ctx.Done():
			}
		}
		return "ok", nil
	})
	release = sync.OnceFunc(func() { close(block) })
	s.t.Cleanup(release)
	return started, release
}

var target = bus.Target{Topic: "t", Host: "a"}

// background calls "block" without a deadline of its own.
func (s *brokerSuite) background(started <-chan struct{}) <-chan error {
	result := make(chan error, 1)
	go func() { result <- s.client.Call(s.ctx, target, "block", nil, nil) }()
	recv(&s.suite, started)
	return result
}

// unavailable: err comes at once, long before the call's deadline.
func (s *brokerSuite) unavailable(result <-chan error) {
	s.t.Helper()
	err := recv(&s.suite, result)
	s.kind(err, fault.Unavailable)
	if errors.Is(err, context.DeadlineExceeded) {
		s.t.Errorf("the caller had to wait for its deadline: %v", err)
	}
}

func (s *brokerSuite) callerCut() {
	p := NewProxy(s.t, s.Address)
	s.pair("", p.Address())
	events := make(chan bus.Event, 100)
	s.client.Subscribe("x.", func(_ context.Context, e bus.Event) { events <- e })
	started, _ := s.blocking()
	result := s.background(started)
	p.Cut()
	s.unavailable(result)
	var all sync.WaitGroup // each waits as long as it has patience
	for what, f := range map[string]func() error{
		"call":   func() error { return s.client.Call(s.ctx, target, "m", nil, nil) },
		"cast":   func() error { return s.client.Cast(s.ctx, target, "m", nil) },
		"fanout": func() error { return s.client.Fanout(s.ctx, "t", "m", nil) },
		"notify": func() error { return s.client.Notify(s.ctx, "x.y", nil) },
		"serve": func() error {
			_, err := s.client.Serve(s.ctx, "t", "b", ok)
			return err
		},
	} {
		all.Go(func() {
			if err := f(); !fault.Is(err, fault.Unavailable) {
				s.t.Errorf("%s without a connection: %v", what, err)
			}
		})
	}
	s.wait(&all)
	p.Heal()
	s.eventually("call after the cut", func(ctx context.Context) error { return s.client.Call(ctx, target, "m", nil, nil) })
	s.check(s.server.Notify(s.ctx, "x.z", nil))
	if e := recv(&s.suite, events); e.Type != "x.z" {
		s.t.Errorf("got %s", e.Type)
	}
}

func (s *brokerSuite) callerSilent() {
	p := NewProxy(s.t, s.Address)
	s.pair("", p.Address())
	started, _ := s.blocking()
	result := s.background(started)
	p.Silence()
	s.unavailable(result)
	p.Cut() // what is left of the connection
	p.Heal()
	s.eventually("call after the silence", func(ctx context.Context) error { return s.client.Call(ctx, target, "m", nil, nil) })
}

func (s *brokerSuite) serverCut() {
	p := NewProxy(s.t, s.Address)
	s.pair(p.Address(), "")
	started, release := s.blocking()
	result := s.background(started)
	p.Cut()
	s.eventually("nobody serves", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := s.client.Call(ctx, target, "m", nil, nil); !fault.Is(err, fault.Unavailable) {
			return fmt.Errorf("got %w", err)
		}
		return nil
	})
	p.Heal()
	s.eventually("call after the cut", func(ctx context.Context) error { return s.client.Call(ctx, target, "m", nil, nil) })
	release() // the caller kept its connection: the answer finds it
	s.check(recv(&s.suite, result))
}

// redelivery: what a server has taken goes to no other when its connection
// breaks, and is handled once.
func (s *brokerSuite) redelivery() {
	const calls = 40
	p := NewProxy(s.t, s.Address)
	s.pair(p.Address(), "")
	var handled tally
	block := make(chan struct{})
	release := sync.OnceFunc(func() { close(block) })
	defer release()
	arrived := make(chan struct{}, calls)
	slow := func(_ context.Context, _ string, decode func(any) error) (any, error) {
		if err := handled.add(decode); err != nil {
			return nil, err
		}
		arrived <- struct{}{}
		<-block
		return nil, nil
	}
	s.serve("t", "a", slow)
	other := s.open("")
	_, err := other.Serve(s.ctx, "t", "b", func(_ context.Context, _ string, decode func(any) error) (any, error) {
		return nil, handled.add(decode)
	})
	s.check(err)
	results := make(chan error, calls)
	for i := range calls {
		host := []string{"", "a"}[i%2]
		go func() {
			results <- s.client.Call(s.ctx, bus.Target{Topic: "t", Host: host}, "m", fmt.Sprint(i), nil)
		}()
	}
	for range calls / 2 {
		recv(&s.suite, arrived)
	}
	p.Cut()
	p.Heal()
	release()
	for range calls {
		if err := recv(&s.suite, results); err != nil && !fault.Is(err, fault.Unavailable) {
			s.t.Error(err)
		}
	}
	handled.check(s.t)
}

// tally counts how often each message was handled.
type tally struct {
	mu   sync.Mutex
	seen map[string]int
}

func (c *tally) add(decode func(any) error) error {
	var id string
	if err := decode(&id); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen = map[string]int{}
	}
	c.seen[id]++
	return nil
}

func (c *tally) count(id string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen[id]
}

func (c *tally) check(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, n := range c.seen {
		if n > 1 {
			t.Errorf("%s was handled %d times", id, n)
		}
	}
}

func (s *brokerSuite) restart() {
	if s.Kill == nil {
		s.t.Skip("this broker cannot be restarted")
	}
	s.pair("", "")
	events, fanouts := make(chan bus.Event, 1000), make(chan struct{}, 1000)
	s.server.Subscribe("x.", func(_ context.Context, e bus.Event) { events <- e })
	s.serve("t", "a", func(_ context.Context, method string, _ func(any) error) (any, error) {
		if method == "fanout" {
			fanouts <- struct{}{}
		}
		return nil, nil
	})
	s.check(s.client.Call(s.ctx, target, "m", nil, nil))
	s.Kill()
	s.kind(s.client.Call(s.ctx, target, "m", nil, nil), fault.Unavailable)
	s.Boot()
	for _, t := range []bus.Target{target, {Topic: "t"}} {
		s.eventually("call", func(ctx context.Context) error { return s.client.Call(ctx, t, "m", nil, nil) })
		s.eventually("cast", func(ctx context.Context) error { return s.client.Cast(ctx, t, "m", nil) })
	}
	s.check(s.client.Fanout(s.ctx, "t", "fanout", nil))
	recv(&s.suite, fanouts)
	s.check(s.client.Notify(s.ctx, "x.y", nil))
	recv(&s.suite, events)
	if _, err := s.open("").Serve(s.ctx, "t", "a", ok); !fault.Is(err, fault.Conflict) {
		s.t.Errorf("second server of a host: %v", err)
	}
}

// thrownAway: callers never stop calling; each call ends with an answer or
// fault.Unavailable, and none is handled twice.
func (s *brokerSuite) thrownAway() {
	if s.Kill == nil {
		s.t.Skip("this broker cannot be restarted")
	}
	const callers = 16
	s.pair("", "")
	var handled tally
	h := func(_ context.Context, _ string, decode func(any) error) (any, error) {
		return nil, handled.add(decode)
	}
	for _, host := range []string{"a", "b"} {
		s.serve("t", host, h)
	}
	var answered, failed atomic.Int64
	warm, after := make(chan struct{}, callers), make(chan struct{})
	var done sync.WaitGroup
	for c := range callers {
		done.Go(func() {
			for n, rounds := 0, 0; rounds < 50 && s.ctx.Err() == nil; n++ {
				id := fmt.Sprintf("%d/%d", c, n)
				if s.once(c, id, &handled) {
					answered.Add(1)
				} else {
					failed.Add(1)
				}
				if n == 20 {
					warm <- struct{}{}
				}
				select {
				case <-after: // the broker is back
					rounds++
				default:
				}
			}
		})
	}
	for range callers {
		recv(&s.suite, warm)
	}
	s.Kill()
	s.Boot()
	close(after)
	done.Wait()
	if s.ctx.Err() != nil {
		s.t.Fatal("a caller hangs")
	}
	handled.check(s.t)
	s.eventually("call", func(ctx context.Context) error { return s.client.Call(ctx, target, "m", "last", nil) })
	s.t.Logf("%d answered, %d unavailable", answered.Load(), failed.Load())
}

// once makes one call or cast of every sort, in turn; it reports success.
func (s *brokerSuite) once(c int, id string, handled *tally) bool {
	ctx, cancel := context.WithTimeout(s.ctx, 10*time.Second)
	defer cancel()
	t := bus.Target{Topic: "t", Key: id}
	if c%2 == 0 {
		t.Host = "a"
	}
	var err error
	if c%4 < 2 {
		err = s.client.Call(ctx, t, "m", id, nil)
		if n := handled.count(id); err == nil && n != 1 {
			s.t.Errorf("%s is answered and was handled %d times", id, n)
		}
	} else {
		err = s.client.Cast(ctx, t, "m", id)
	}
	if err != nil && !fault.Is(err, fault.Unavailable) {
		s.t.Errorf("%s: %v", id, err)
	}
	return err == nil
}
