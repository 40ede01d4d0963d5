// Package memory keeps image data in memory: a store for tests and trials.
package memory

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image/driver"
)

// Driver keeps data until the process ends.
type Driver struct {
	mu      sync.Mutex
	data    map[string][]byte
	writers map[string]*writer
}

var (
	_ driver.Driver = (*Driver)(nil)
	_ driver.Sizer  = (*Driver)(nil)
)

// New returns an empty driver.
func New() *Driver { return &Driver{data: map[string][]byte{}, writers: map[string]*writer{}} }

// Create implements driver.Driver.
func (d *Driver) Create(_ context.Context, key string) (driver.Writer, error) {
	if err := driver.CheckKey(key); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	w := &writer{d: d, key: key}
	d.writers[key] = w
	return w, nil
}

// Open implements driver.Driver.
func (d *Driver) Open(_ context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := driver.CheckKey(key); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	b, ok := d.data[key]
	if !ok {
		return nil, fault.New(fault.NotFound, "The image's data is not there.")
	}
	b = b[min(offset, int64(len(b))):]
	if length >= 0 {
		b = b[:min(length, int64(len(b)))]
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// Delete implements driver.Driver.
func (d *Driver) Delete(_ context.Context, key string) error {
	if err := driver.CheckKey(key); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.data, key)
	delete(d.writers, key)
	return nil
}

// Keys implements driver.Driver.
func (d *Driver) Keys(context.Context) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Concat(slices.Collect(maps.Keys(d.data)), slices.Collect(maps.Keys(d.writers))), nil
}

// Size implements driver.Sizer.
func (d *Driver) Size(_ context.Context, key string) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b, ok := d.data[key]
	if !ok {
		return 0, fault.New(fault.NotFound, "The image's data is not there.")
	}
	return int64(len(b)), nil
}

type writer struct {
	d   *Driver
	key string
	buf bytes.Buffer
}

// Write implements io.Writer.
func (w *writer) Write(p []byte) (int, error) { return w.buf.Write(p) }

// Commit implements driver.Writer.
func (w *writer) Commit() error {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	if w.d.writers[w.key] != w {
		return errors.New("image store: the data was deleted while it was written")
	}
	delete(w.d.writers, w.key)
	w.d.data[w.key] = w.buf.Bytes()
	return nil
}

// Abort implements driver.Writer.
func (w *writer) Abort() error {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	if w.d.writers[w.key] == w {
		delete(w.d.writers, w.key)
	}
	return nil
}
