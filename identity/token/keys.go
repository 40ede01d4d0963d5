package token

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"sync"
	"time"

	"github.com/tropocloud/tropo/host"
	"github.com/tropocloud/tropo/lib/fernet"
)

// Repository is a folder of numbered key files as Keystone keeps it: 0 is the
// staged key, which becomes primary at the next rotation; the highest number
// is the primary, which seals; all open. It is safe for concurrent use, and
// sees what another process does to the folder within a second.
type Repository struct {
	dir string

	mu      sync.Mutex
	keys    []fernet.Key // the primary first
	stamp   string
	checked time.Time
}

// NewRepository uses the keys in dir, which need not exist before Setup.
func NewRepository(dir string) *Repository { return &Repository{dir: dir} }

// recheck is how long the folder is taken as unchanged.
const recheck = time.Second

// Keys returns the keys, the primary first, then by falling number.
func (r *Repository) Keys() ([]fernet.Key, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys != nil && time.Since(r.checked) < recheck {
		return r.keys, nil
	}
	return r.load()
}

func (r *Repository) load() ([]fernet.Key, error) {
	nums, stamp, err := r.scan()
	if err != nil {
		return nil, err
	}
	if stamp == r.stamp && r.keys != nil {
		r.checked = time.Now()
		return r.keys, nil
	}
	if len(nums) == 0 {
		return nil, fmt.Errorf("key repository %s has no keys", r.dir)
	}
	keys := make([]fernet.Key, 0, len(nums))
	for i := len(nums) - 1; i >= 0; i-- {
		b, err := os.ReadFile(r.file(nums[i]))
		if err != nil {
			return nil, fmt.Errorf("key repository: %w", err)
		}
		k, err := fernet.ParseKey(string(b))
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", r.file(nums[i]), err)
		}
		keys = append(keys, k)
	}
	r.keys, r.stamp, r.checked = keys, stamp, time.Now()
	return keys, nil
}

func (r *Repository) file(n int) string { return filepath.Join(r.dir, strconv.Itoa(n)) }

// scan returns the numbers of the key files in order, and a text that changes
// with the folder.
func (r *Repository) scan() (nums []int, stamp string, err error) {
	entries, err := os.ReadDir(r.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, "", fmt.Errorf("key repository: %w", err)
	}
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil || n < 0 || e.IsDir() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, "", fmt.Errorf("key repository: %w", err)
		}
		nums = append(nums, n)
		stamp += fmt.Sprintf("%d@%d ", n, info.ModTime().UnixNano())
	}
	sort.Ints(nums)
	return nums, stamp, nil
}

// Setup makes the folder with a staged and a primary key, unless it has keys.
func (r *Repository) Setup(ctx context.Context) error {
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return fmt.Errorf("key repository: %w", err)
	}
	return r.locked(ctx, func() error {
		nums, _, err := r.scan()
		if err != nil || len(nums) > 1 {
			return err
		}
		if len(nums) == 0 {
			if err := r.write(0); err != nil {
				return err
			}
		}
		return r.write(1)
	})
}

// Rotate makes the staged key the primary, stages a new one, and removes the
// oldest so that at most limit keys stay (at least 2). A token that a removed
// key made is no longer valid.
func (r *Repository) Rotate(ctx context.Context, limit int) error {
	return r.locked(ctx, func() error {
		nums, _, err := r.scan()
		if err != nil {
			return err
		}
		if len(nums) == 0 {
			return fmt.Errorf("key repository %s has no keys: set it up first", r.dir)
		}
		if nums[0] != 0 { // a rotation was cut off before it staged a key
			return r.write(0)
		}
		next := max(nums[len(nums)-1]+1, 1)
		if err := os.Rename(r.file(0), r.file(next)); err != nil {
			return fmt.Errorf("rotate keys: %w", err)
		}
		if err := r.write(0); err != nil {
			return err
		}
		old := append(nums[1:], next)
		for len(old) > max(limit-1, 1) {
			if err := os.Remove(r.file(old[0])); err != nil {
				return fmt.Errorf("rotate keys: %w", err)
			}
			old = old[1:]
		}
		return nil
	})
}

func (r *Repository) write(n int) error {
	k, err := fernet.GenerateKey()
	if err != nil {
		return err
	}
	return host.WriteFile(r.file(n), []byte(k.Encode()), 0o600)
}

// locked runs f while no other process changes the folder, and forgets what
// was read before.
func (r *Repository) locked(ctx context.Context, f func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	l, err := host.LockDir(r.dir)
	if err != nil {
		return fmt.Errorf("key repository: %w", err)
	}
	defer func() { _ = l.Unlock() }()
	r.stamp = ""
	r.keys = nil
	return f()
}
