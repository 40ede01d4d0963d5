package driver_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tropocloud/tropo/compute/driver"
)

const imageID = "7a1c2f60-28b2-4c2b-9f6e-1d6a2f1b9c01"

func fill(text string) func(context.Context, io.Writer) error {
	return func(_ context.Context, w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

func found(string) (driver.Inspection, error) {
	return driver.Inspection{Format: "raw", VirtualSize: 4}, nil
}

func newCache(t *testing.T) (*driver.ImageCache, string) {
	t.Helper()
	dir := t.TempDir()
	c, err := driver.NewImageCache(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c, dir
}

func TestFetchOnce(t *testing.T) {
	c, _ := newCache(t)
	var fills atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			img, err := c.Fetch(t.Context(), imageID, func(ctx context.Context, w io.Writer) error {
				fills.Add(1)
				return fill("data")(ctx, w)
			}, found)
			if err != nil || img.Format != "raw" || img.VirtualSize != 4 {
				t.Errorf("got %+v, %v", img, err)
			}
		})
	}
	wg.Wait()
	if n := fills.Load(); n != 1 {
		t.Fatalf("filled %d times", n)
	}
}

// A file that was not inspected, or was refused, never gets a name in the cache
// (CVE-2024-32498 and its kin: threats 1 to 7 and 9).
func TestFetchRefused(t *testing.T) {
	c, dir := newCache(t)
	bad := errors.New("backing file")
	_, err := c.Fetch(t.Context(), imageID, fill("QFI"), func(path string) (driver.Inspection, error) {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
		return driver.Inspection{}, bad
	})
	if !errors.Is(err, bad) {
		t.Fatalf("got %v", err)
	}
	cut := errors.New("cut off")
	_, err = c.Fetch(t.Context(), imageID, func(context.Context, io.Writer) error { return cut }, found)
	if !errors.Is(err, cut) {
		t.Fatalf("got %v", err)
	}
	left, _ := os.ReadDir(dir)
	if len(left) != 0 {
		t.Fatalf("left %v", left)
	}
	if _, err := c.Fetch(t.Context(), "../../etc/passwd", fill(""), found); err == nil {
		t.Fatal("took a path for an image id")
	}
}

func TestPrune(t *testing.T) {
	c, dir := newCache(t)
	if _, err := c.Fetch(t.Context(), imageID, fill("data"), found); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		inUse map[string]bool
		age   int64
		want  int
	}{{map[string]bool{imageID: true}, 0, 0}, {nil, int64(1 << 60), 0}, {nil, 0, 1}} {
		gone, err := c.Prune(t.Context(), tt.inUse, time.Duration(tt.age))
		if err != nil || len(gone) != tt.want {
			t.Fatalf("%+v: got %v, %v", tt, gone, err)
		}
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(left) != 0 {
		t.Fatalf("left %v", left)
	}
}

// An agent that was killed while it fetched leaves nothing behind.
func TestNewCacheRemovesParts(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, imageID+".part1"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := driver.NewImageCache(dir); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Fatalf("left %v", left)
	}
}
