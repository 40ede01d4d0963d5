package inproc_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/bus/bustest"
	"github.com/tropocloud/tropo/bus/inproc"
	"github.com/tropocloud/tropo/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	bustest.Run(t, func(*testing.T) func() bus.Bus {
		b := inproc.New(inproc.Options{})
		return func() bus.Bus { return b }
	})
}

func TestTenThousandListeners(t *testing.T) {
	const listeners = 10_000
	b := inproc.New(inproc.Options{})
	defer b.Close()
	before := runtime.NumGoroutine()
	var got sync.WaitGroup
	got.Add(2 * listeners)
	for i := range listeners {
		_, err := b.Serve(t.Context(), "agent", fmt.Sprintf("host%d", i), func(context.Context, string, func(any) error) (any, error) {
			got.Done()
			return nil, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := runtime.NumGoroutine() - before; n > 10 {
		t.Errorf("%d goroutines for idle listeners", n)
	}
	if err := b.Fanout(t.Context(), "agent", "refresh", nil); err != nil {
		t.Fatal(err)
	}
	for i := range listeners {
		if err := b.Call(t.Context(), bus.Target{Topic: "agent", Host: fmt.Sprintf("host%d", i)}, "ping", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	got.Wait()
	if b.Dropped() != 0 {
		t.Errorf("%d dropped", b.Dropped())
	}
}

func TestCallTimesOutByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := inproc.New(inproc.Options{})
		defer b.Close()
		_, err := b.Serve(t.Context(), "t", "a", func(ctx context.Context, _ string, _ func(any) error) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		err = b.Call(t.Context(), bus.Target{Topic: "t"}, "m", nil, nil)
		if !fault.Is(err, fault.Unavailable) || time.Since(start) != bus.CallTimeout {
			t.Fatalf("after %s: %v", time.Since(start), err)
		}
	})
}

func TestBackPressureAndDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := inproc.New(inproc.Options{Workers: 2, Queue: 3, Fanouts: 4})
		defer b.Close()
		release := make(chan struct{})
		_, err := b.Serve(t.Context(), "t", "a", func(context.Context, string, func(any) error) (any, error) {
			<-release
			return nil, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		target := bus.Target{Topic: "t", Host: "a"}
		for range 5 { // two run, three wait
			if err := b.Cast(t.Context(), target, "m", nil); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Cast(ctx, target, "m", nil); !fault.Is(err, fault.Unavailable) {
			t.Fatalf("the sixth: %v", err)
		}
		for range 10 {
			if err := b.Fanout(t.Context(), "t", "m", nil); err != nil {
				t.Fatal(err)
			}
		}
		if b.Dropped() != 6 {
			t.Errorf("%d fan-outs dropped; want 6", b.Dropped())
		}
		blocked := make(chan error, 1)
		go func() { blocked <- b.Cast(t.Context(), target, "m", nil) }()
		synctest.Wait()
		close(release)
		if err := <-blocked; err != nil {
			t.Errorf("the sender that waited for room: %v", err)
		}
	})
}

func TestStopAnswersWaitingCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := inproc.New(inproc.Options{Workers: 1})
		defer b.Close()
		stop, err := b.Serve(t.Context(), "t", "a", func(ctx context.Context, _ string, _ func(any) error) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		if err != nil {
			t.Fatal(err)
		}
		results := make(chan error, 5)
		for range cap(results) {
			go func() { results <- b.Call(t.Context(), bus.Target{Topic: "t"}, "m", nil, nil) }()
		}
		synctest.Wait()
		start := time.Now()
		stop()
		for range cap(results) {
			if err := <-results; err == nil || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		}
		if time.Since(start) != 0 {
			t.Error("callers waited for their deadline")
		}
	})
}

func BenchmarkCall(b *testing.B) {
	bb := inproc.New(inproc.Options{})
	defer bb.Close()
	_, err := bb.Serve(b.Context(), "t", "a", func(context.Context, string, func(any) error) (any, error) { return nil, nil })
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := bb.Call(b.Context(), bus.Target{Topic: "t"}, "m", nil, nil); err != nil {
			b.Fatal(err)
		}
	}
}
