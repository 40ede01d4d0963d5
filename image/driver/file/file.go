// Package file keeps image data as files in one folder.
package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image/driver"
)

// partial ends the names of files that are being written.
const partial = ".part"

// Driver keeps each key as a file of that name; an unfinished one has a suffix.
type Driver struct{ dir string }

var _ driver.Driver = (*Driver)(nil)

// New uses dir, which it makes where it is missing.
func New(dir string) (*Driver, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	return &Driver{dir: dir}, nil
}

func (d *Driver) path(key string) (string, error) {
	if err := driver.CheckKey(key); err != nil {
		return "", err
	}
	return filepath.Join(d.dir, key), nil
}

// Create implements driver.Driver.
func (d *Driver) Create(_ context.Context, key string) (driver.Writer, error) {
	path, err := d.path(key)
	if err != nil {
		return nil, err
	}
	// A writer that is still there keeps its own, unlinked file.
	if err := remove(path + partial); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path+partial, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	return &writer{File: f, dir: d.dir, path: path}, nil
}

// Open implements driver.Driver.
func (d *Driver) Open(_ context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	path, err := d.path(key)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path) //nolint:gosec // the key was checked
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "The image's data is not there.")
	}
	if err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, errors.Join(fmt.Errorf("image store: %w", err), f.Close())
	}
	if length < 0 {
		return f, nil
	}
	return &section{LimitedReader: io.LimitedReader{R: f, N: length}, Closer: f}, nil
}

type section struct {
	io.LimitedReader
	io.Closer
}

// WriteTo implements io.WriterTo: net/http knows a limited file, and hands it
// to the kernel.
func (s *section) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, &s.LimitedReader) }

// Delete implements driver.Driver.
func (d *Driver) Delete(_ context.Context, key string) error {
	path, err := d.path(key)
	if err != nil {
		return err
	}
	return errors.Join(remove(path), remove(path+partial))
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("image store: %w", err)
	}
	return nil
}

// Keys implements driver.Driver.
func (d *Driver) Keys(context.Context) ([]string, error) {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	var keys []string
	for _, e := range entries {
		if key := strings.TrimSuffix(e.Name(), partial); driver.CheckKey(key) == nil {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// writer writes beside the final name and moves there.
type writer struct {
	*os.File
	dir, path string
	once      sync.Once
}

// Commit implements driver.Writer.
func (w *writer) Commit() error {
	err := fmt.Errorf("image store: the writer of %s has ended", filepath.Base(w.path))
	w.once.Do(func() {
		if err = w.Sync(); err != nil {
			err = errors.Join(err, w.Close(), w.discard())
			return
		}
		if !w.mine() { // deleted, or begun anew by another
			err = errors.Join(fmt.Errorf("image store: %s was deleted while it was written", filepath.Base(w.path)), w.Close())
			return
		}
		if err = errors.Join(w.Close(), os.Rename(w.path+partial, w.path)); err == nil {
			err = syncDir(w.dir)
		}
	})
	return err
}

// Abort implements driver.Writer.
func (w *writer) Abort() error {
	var err error
	w.once.Do(func() { err = errors.Join(w.discard(), w.Close()) })
	return err
}

func (w *writer) discard() error {
	if !w.mine() {
		return nil
	}
	return remove(w.path + partial)
}

// mine reports whether the unfinished file is still the one being written.
func (w *writer) mine() bool {
	a, err := w.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(w.path + partial)
	return err == nil && os.SameFile(a, b)
}

func syncDir(dir string) error {
	f, err := os.Open(dir) //nolint:gosec // the store's own folder
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
