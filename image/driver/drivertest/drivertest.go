// Package drivertest is the suite that every store driver of the image service
// passes.
package drivertest

import (
	"bytes"
	"io"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image/driver"
)

// Run runs the suite against empty drivers made by open.
func Run(t *testing.T, open func(t *testing.T) driver.Driver) {
	for name, f := range map[string]func(*testing.T, driver.Driver){
		"data comes back": roundTrip, "nothing before commit": uncommitted, "delete": deletes,
		"ranges": ranges, "keys are no paths": hostileKeys, "a second writer replaces": replaced, "empty data": empty,
	} {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
}

func put(t *testing.T, d driver.Driver, key string, data []byte) {
	t.Helper()
	w, err := d.Create(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	for len(data) > 0 {
		n := min(len(data), 1000)
		if _, err := w.Write(data[:n]); err != nil {
			t.Fatal(err)
		}
		data = data[n:]
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(); err != nil {
		t.Errorf("abort after commit: %v", err)
	}
}

func get(t *testing.T, d driver.Driver, key string, offset, length int64) []byte {
	t.Helper()
	r, err := d.Open(t.Context(), key, offset, length)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func missing(t *testing.T, d driver.Driver, key string) {
	t.Helper()
	if _, err := d.Open(t.Context(), key, 0, -1); !fault.Is(err, fault.NotFound) {
		t.Errorf("open %s: %v, want NotFound", key, err)
	}
}

func sample() []byte { return bytes.Repeat([]byte("0123456789"), 10_000) }

func roundTrip(t *testing.T, d driver.Driver) {
	a, b := uuid.NewString(), uuid.NewString()
	put(t, d, a, sample())
	put(t, d, b, []byte("other"))
	if !bytes.Equal(get(t, d, a, 0, -1), sample()) || string(get(t, d, b, 0, -1)) != "other" {
		t.Error("data differs")
	}
	missing(t, d, uuid.NewString())
}

func uncommitted(t *testing.T, d driver.Driver) {
	key := uuid.NewString()
	w, err := d.Create(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(sample()); err != nil {
		t.Fatal(err)
	}
	missing(t, d, key)
	if keys, err := d.Keys(t.Context()); err != nil || !slices.Contains(keys, key) {
		t.Errorf("keys %v, %v: the unfinished one is missing", keys, err)
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	missing(t, d, key)
	if keys, err := d.Keys(t.Context()); err != nil || len(keys) != 0 {
		t.Errorf("keys %v, %v after abort", keys, err)
	}
}

func deletes(t *testing.T, d driver.Driver) {
	key := uuid.NewString()
	put(t, d, key, sample())
	for range 2 {
		if err := d.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		missing(t, d, key)
	}
	// A dead writer's data goes too.
	w, err := d.Create(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(sample()); err != nil {
		t.Fatal(err)
	}
	if err := d.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if keys, err := d.Keys(t.Context()); err != nil || len(keys) != 0 {
		t.Errorf("keys %v, %v after delete", keys, err)
	}
	_ = w.Abort()
}

func ranges(t *testing.T, d driver.Driver) {
	key := uuid.NewString()
	put(t, d, key, sample())
	for _, r := range [][2]int64{{0, 10}, {5, 5}, {99_990, 10}, {99_990, 50}, {99_999, -1}, {3, 0}} {
		want := sample()[r[0]:]
		if r[1] >= 0 {
			want = want[:min(int64(len(want)), r[1])]
		}
		if got := get(t, d, key, r[0], r[1]); !bytes.Equal(got, want) {
			t.Errorf("range %v: %d bytes, want %d", r, len(got), len(want))
		}
	}
}

// hostileKeys guards against threat 13: keys that lead elsewhere.
func hostileKeys(t *testing.T, d driver.Driver) {
	for _, key := range []string{"", ".", "..", "../../etc/passwd", "/etc/passwd", "a/b", uuid.NewString() + "/..", "file:///etc/passwd"} {
		if w, err := d.Create(t.Context(), key); err == nil {
			_ = w.Abort()
			t.Errorf("create %q was allowed", key)
		}
		if r, err := d.Open(t.Context(), key, 0, -1); err == nil {
			_ = r.Close()
			t.Errorf("open %q was allowed", key)
		}
		if err := d.Delete(t.Context(), key); err == nil {
			t.Errorf("delete %q was allowed", key)
		}
	}
}

func replaced(t *testing.T, d driver.Driver) {
	key := uuid.NewString()
	dead, err := d.Create(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dead.Write(sample()); err != nil {
		t.Fatal(err)
	}
	put(t, d, key, []byte("second"))
	if got := get(t, d, key, 0, -1); string(got) != "second" {
		t.Errorf("got %d bytes", len(got))
	}
	_ = dead.Abort()
	if got := get(t, d, key, 0, -1); string(got) != "second" {
		t.Errorf("after the first writer's abort: %d bytes", len(got))
	}
}

func empty(t *testing.T, d driver.Driver) {
	key := uuid.NewString()
	put(t, d, key, nil)
	if got := get(t, d, key, 0, -1); len(got) != 0 {
		t.Errorf("got %d bytes", len(got))
	}
}
