package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// netnsDir is where `ip netns` keeps its names.
const netnsDir = "/run/netns"

// netnsName is what may name a namespace: it becomes a file name.
var netnsName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,200}$`)

func checkNetns(name string) error {
	if !netnsName.MatchString(name) || name == "." || name == ".." {
		return fmt.Errorf("host: %q cannot name a network namespace", name)
	}
	return nil
}

// EnsureNetns makes the named network namespace, as `ip netns add` does, with
// its loopback up. A namespace that exists is kept; what a crash left of a half
// made one is replaced.
func EnsureNetns(name string) error {
	if err := checkNetns(name); err != nil {
		return err
	}
	if !NetnsExists(name) {
		if err := DeleteNetns(name); err != nil {
			return err
		}
		if err := shareNetnsDir(); err != nil {
			return err
		}
		if err := onOwnThread(func() error {
			h, err := netns.NewNamed(name)
			if err != nil {
				return fmt.Errorf("host: make network namespace %s: %w", name, err)
			}
			return h.Close()
		}); err != nil {
			return err
		}
	}
	return InNetns(name, func() error { return setUp("lo", true) })
}

// shareNetnsDir makes the folder of the names a mount of its own, as the first
// `ip netns add` does: one that is made later would cover the namespaces' own
// mounts, and nobody could delete their names any more. A folder that has names
// already stays as it is.
func shareNetnsDir() (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("host: folder of network namespaces: %w", err)
		}
	}()
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return err
	}
	d, err := os.Open(netnsDir)
	if err != nil {
		return err
	}
	defer d.Close()
	for { // ip takes the same lock
		if err = unix.Flock(int(d.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return err
	}
	share := func() error { return unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, "") }
	if err := share(); !errors.Is(err, unix.EINVAL) { // EINVAL: it is no mount
		return err
	}
	if names, err := os.ReadDir(netnsDir); err != nil || len(names) > 0 {
		return err
	}
	if err := unix.Mount(netnsDir, netnsDir, "none", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	return share()
}

// NetnsExists reports whether name is a live network namespace.
func NetnsExists(name string) bool {
	var st unix.Statfs_t
	return checkNetns(name) == nil && unix.Statfs(filepath.Join(netnsDir, name), &st) == nil && st.Type == unix.NSFS_MAGIC
}

// DeleteNetns takes the name away; the namespace ends with its last process.
// One that does not exist is no error.
func DeleteNetns(name string) error {
	if err := checkNetns(name); err != nil {
		return err
	}
	path := filepath.Join(netnsDir, name)
	// EINVAL: a file that nothing is mounted on.
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("host: unmount network namespace %s: %w", name, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("host: delete network namespace: %w", err)
	}
	return nil
}

// InNetns runs f on a thread inside the named namespace; empty: the process's
// own. Sockets that f opens stay in the namespace; goroutines that f starts do
// not. Calls do not nest: an inner InNetns starts from the process's namespace.
func InNetns(name string, f func() error) error {
	if name == "" {
		return f()
	}
	if err := checkNetns(name); err != nil {
		return err
	}
	h, err := netns.GetFromName(name)
	if err != nil {
		return fmt.Errorf("host: network namespace %s: %w", name, err)
	}
	defer h.Close()
	return onOwnThread(func() error {
		if err := netns.Set(h); err != nil {
			return fmt.Errorf("host: enter network namespace %s: %w", name, err)
		}
		return f()
	})
}

// onOwnThread runs f, which may change the thread's network namespace, in a
// goroutine locked to a thread and puts the thread back. When that fails the
// goroutine ends locked, and Go's runtime ends the thread with it.
func onOwnThread(f func() error) error {
	type result struct {
		err      error
		panicked any
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		// What is sent if f ends its goroutine (runtime.Goexit).
		r := result{err: errors.New("host: the function ended its goroutine")}
		defer func() { done <- r }()
		home, err := netns.Get()
		if err != nil {
			r.err = fmt.Errorf("host: current network namespace: %w", err)
			return
		}
		defer home.Close()
		defer func() {
			if p := recover(); p != nil {
				r.panicked = p
			}
			if netns.Set(home) == nil {
				runtime.UnlockOSThread()
			}
		}()
		r.err = f()
	}()
	r := <-done
	if r.panicked != nil {
		panic(r.panicked)
	}
	return r.err
}

// retry repeats f while the kernel says that a dump was interrupted by a
// change, which netlink's dumps may at any time.
func retry(f func() error) error {
	var err error
	for range 20 {
		err = f()
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, netlink.ErrDumpInterrupted) {
			return err
		}
	}
	return err
}
