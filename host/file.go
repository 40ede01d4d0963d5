package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// WriteFile replaces path by data so that, whenever the machine stops, either
// the old or the new content is there, whole.
func WriteFile(path string, data []byte, perm os.FileMode) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("host: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = fmt.Errorf("host: write %s: %w", path, err)
		}
	}()
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = f.Chmod(perm); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(dir)
}

// SyncDir makes renames and removals in dir durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("host: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("host: sync %s: %w", dir, err)
	}
	return nil
}

// LockedError says that another process holds a folder's lock.
type LockedError struct {
	Dir   string
	Owner string // its process number, as far as known
}

// Error names the folder and the owner.
func (e *LockedError) Error() string {
	return fmt.Sprintf("host: %s is in use by process %s", e.Dir, e.Owner)
}

// Lock is a folder's lock. It ends with the process, whatever happens to it.
type Lock struct{ f *os.File }

// LockDir takes the folder's lock (flock on DIR/.lock) at once, or fails with
// a *LockedError. The folder must exist.
func LockDir(dir string) (*Lock, error) {
	path := filepath.Join(dir, ".lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("host: %w", err)
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		owner := make([]byte, 32)
		n, _ := f.ReadAt(owner, 0)
		f.Close()
		return nil, &LockedError{dir, strings.TrimSpace(string(owner[:n]))}
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt(fmt.Appendln(nil, os.Getpid()), 0)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("host: lock %s: %w", dir, err)
	}
	return &Lock{f}, nil
}

// Unlock lets the folder go. The lock file stays: removing it would let two
// processes lock two files of one name.
func (l *Lock) Unlock() error {
	// A child that is just being started has the file open too, until it runs
	// its program: the lock must not last until then.
	err := unix.Flock(int(l.f.Fd()), unix.LOCK_UN)
	return errors.Join(err, l.f.Close())
}
