package driver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/tropocloud/tropo/fault"
)

// ImageCache keeps image data on this host, one read-only file per image, as
// the base of root disks. A file gets its final name only after it was
// completely written and inspected, so whatever is in the cache may be used.
type ImageCache struct {
	dir     string
	flights singleflight.Group
	mu      sync.Mutex // held while an image is handed out or removed
}

// ConvertedSuffix ends the name of a copy in another format, which a driver may
// keep beside an image's file; it lives as long as the image does.
const ConvertedSuffix = ".qcow2"

// Inspection is what the caller's inspector found in a fetched file.
type Inspection struct {
	Format      string `json:"format"`       // never the format that the image's owner named
	VirtualSize int64  `json:"virtual_size"` // bytes
}

// NewImageCache opens the cache in dir, making it if needed, and removes what
// interrupted fetches left.
func NewImageCache(dir string) (*ImageCache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	stale, err := filepath.Glob(filepath.Join(dir, "*.part*"))
	if err != nil {
		return nil, err
	}
	for _, f := range stale {
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return &ImageCache{dir: dir}, nil
}

// Fetch returns the image from the cache. When it is not there, fill writes its
// data and inspect judges the complete file before it can be used by anyone;
// callers at the same time for one image wait for a single fetch, whose errors
// they share. Fetch also marks the image as just used.
func (c *ImageCache) Fetch(ctx context.Context, imageID string,
	fill func(ctx context.Context, w io.Writer) error,
	inspect func(path string) (Inspection, error),
) (Image, error) {
	if !ValidID(imageID) {
		return Image{}, fault.Invalidf("The image id is not a UUID.")
	}
	for {
		result := c.flights.DoChan(imageID, func() (any, error) {
			return c.fetch(ctx, imageID, fill, inspect)
		})
		select {
		case r := <-result:
			// The flight's leader was cancelled, this caller was not.
			if r.Shared && errors.Is(r.Err, context.Canceled) && ctx.Err() == nil {
				continue
			}
			if r.Err != nil {
				return Image{}, r.Err
			}
			return r.Val.(Image), nil
		case <-ctx.Done():
			return Image{}, ctx.Err()
		}
	}
}

func (c *ImageCache) fetch(ctx context.Context, id string,
	fill func(context.Context, io.Writer) error, inspect func(string) (Inspection, error),
) (Image, error) {
	img, err := c.lookup(id)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return img, err
	}
	part, err := os.CreateTemp(c.dir, id+".part*")
	if err != nil {
		return Image{}, fault.Wrap(fault.Internal, err, "The image could not be stored on the host.")
	}
	defer os.Remove(part.Name())
	defer part.Close()
	if err := fill(ctx, part); err != nil {
		return Image{}, err
	}
	if err := errors.Join(part.Sync(), part.Chmod(0o400)); err != nil {
		return Image{}, fault.Wrap(fault.Internal, err, "The image could not be stored on the host.")
	}
	found, err := inspect(part.Name())
	if err != nil {
		return Image{}, err
	}
	if !imageFormats[found.Format] {
		return Image{}, fault.Invalidf("The image format %q cannot be booted.", found.Format)
	}
	if err := c.publish(id, part.Name(), found); err != nil {
		return Image{}, fault.Wrap(fault.Internal, err, "The image could not be stored on the host.")
	}
	return c.lookup(id)
}

// publish names the data first: it counts only together with the inspection.
func (c *ImageCache) publish(id, part string, found Inspection) error {
	text, err := json.Marshal(found)
	if err != nil {
		return err
	}
	if err := os.Rename(part, c.data(id)); err != nil {
		return err
	}
	return WriteFile(c.sidecar(id), text, 0o600)
}

func (c *ImageCache) lookup(id string) (Image, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	text, err := os.ReadFile(c.sidecar(id))
	if err != nil {
		return Image{}, err
	}
	var found Inspection
	if err := json.Unmarshal(text, &found); err != nil {
		return Image{}, fmt.Errorf("inspection of image %s: %w", id, err)
	}
	if _, err := os.Stat(c.data(id)); err != nil {
		return Image{}, err
	}
	now := time.Now()
	if err := os.Chtimes(c.sidecar(id), now, now); err != nil {
		return Image{}, err
	}
	return Image{ID: id, Path: c.data(id), Format: found.Format, VirtualSize: found.VirtualSize}, nil
}

// Prune removes images that no guest is based on (inUse, by image id, as
// Driver.List tells) and that were not fetched for longer than age. It returns
// the ids that it removed.
func (c *ImageCache) Prune(ctx context.Context, inUse map[string]bool, age time.Duration) ([]string, error) {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return nil, err
	}
	var gone []string
	for _, e := range entries {
		id, isSidecar := strings.CutSuffix(e.Name(), ".json")
		if !isSidecar || !ValidID(id) || inUse[id] {
			continue
		}
		if err := ctx.Err(); err != nil {
			return gone, err
		}
		removed, err := c.prune(id, age)
		if err != nil {
			return gone, err
		}
		if removed {
			gone = append(gone, id)
		}
	}
	return gone, nil
}

func (c *ImageCache) prune(id string, age time.Duration) (bool, error) {
	// A lookup marks the image as used under the same lock, so either it sees
	// the image gone or prune sees it in use.
	c.mu.Lock()
	defer c.mu.Unlock()
	info, err := os.Stat(c.sidecar(id))
	if err != nil || time.Since(info.ModTime()) < age {
		return false, nil
	}
	// The inspection goes first: data without it does not count.
	if err := os.Remove(c.sidecar(id)); err != nil {
		return false, err
	}
	// The data, and what a driver converted it to beside it.
	for _, f := range []string{c.data(id), c.data(id) + ConvertedSuffix} {
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return true, nil
}

func (c *ImageCache) data(id string) string    { return filepath.Join(c.dir, id) }
func (c *ImageCache) sidecar(id string) string { return filepath.Join(c.dir, id+".json") }

// WriteFile replaces the file at path in one step and returns when it is on
// disk.
func WriteFile(path string, data []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes renames and removals in dir last through a power failure.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
