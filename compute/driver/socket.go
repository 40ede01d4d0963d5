package driver

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// maxSocketPath is what fits in a unix socket address, with its final zero.
const maxSocketPath = 107

// DialUnix connects to the unix socket at path however long the path is.
func DialUnix(ctx context.Context, path string) (net.Conn, error) {
	var conn net.Conn
	err := withShortPath(path, func(short string) error {
		var d net.Dialer
		var err error
		conn, err = d.DialContext(ctx, "unix", short)
		return err
	})
	return conn, err
}

// ListenUnix makes the unix socket at path however long the path is, replacing
// a stale one. Closing the listener leaves the file.
func ListenUnix(path string) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	var l *net.UnixListener
	err := withShortPath(path, func(short string) error {
		var err error
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
		if err == nil {
			l.SetUnlinkOnClose(false)
		}
		return err
	})
	return l, err
}

// withShortPath goes through an open directory when path is too long.
func withShortPath(path string, use func(string) error) error {
	if len(path) <= maxSocketPath {
		return use(path)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return use(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)))
}
