// Command dbserver runs a command with a PostgreSQL and a MariaDB server
// beside it, for the tests that need all three engines:
//
//	go run ./test/dbserver -- go test ./...
//
// Both servers come from Debian's packages, keep their data in a temporary
// folder without syncing it, listen on a loopback port and a unix socket
// there, trust everybody, and end with the command. The command finds them by
// TROPO_TEST_POSTGRES and TROPO_TEST_MYSQL (see db/dbtest) and its exit code
// is passed on.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// startTimeout bounds how long both servers may take to answer.
const startTimeout = 5 * time.Minute

func main() {
	// The servers ask the kernel to be ended when the thread that started
	// them dies, so that not even SIGKILL leaves them behind.
	runtime.LockOSThread()
	args := os.Args[1:]
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	code, err := run(context.Background(), args, os.Stdout, os.Stderr)
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "dbserver:", err)
	}
	os.Exit(code)
}

// run starts the servers, runs the command and stops the servers. The code is
// the command's, or 1 with an error when it did not come to that.
func run(ctx context.Context, command []string, stdout, stderr io.Writer) (code int, err error) {
	if len(command) == 0 {
		return 2, errors.New("no command given; write: go run ./test/dbserver -- go test PACKAGES")
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	dir, err := os.MkdirTemp("", "tropo-db-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// The servers run as other users and must be able to pass through.
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // no file in it is readable by others
		return 1, err
	}
	servers, err := startAll(ctx, dir, signals)
	defer func() {
		for _, s := range servers {
			err = errors.Join(err, s.stop())
		}
	}()
	if err != nil {
		return 1, err
	}
	c := exec.Command(command[0], command[1:]...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, stdout, stderr
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	c.Env = os.Environ()
	for _, s := range servers {
		c.Env = append(c.Env, s.variable+"="+s.url)
	}
	return runCommand(c, signals)
}

// startAll starts both servers at once. Those that started are returned even
// when the other failed.
func startAll(ctx context.Context, dir string, signals <-chan os.Signal) ([]*server, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var servers []*server
	for _, make := range []func(context.Context, string) (*server, error){postgres, mariadb} {
		s, err := make(ctx, dir)
		if err != nil {
			return servers, err
		}
		servers = append(servers, s)
	}
	for _, s := range servers {
		if err := s.await(ctx, signals); err != nil {
			return servers, err
		}
	}
	return servers, nil
}

// runCommand runs c, hands signals on to it, and returns its exit code.
func runCommand(c *exec.Cmd, signals <-chan os.Signal) (int, error) {
	if err := c.Start(); err != nil {
		return 1, err
	}
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	for {
		select {
		case s := <-signals:
			_ = c.Process.Signal(s) // it may have ended meanwhile
		case err := <-done:
			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				return 0, err
			}
			if st, ok := exit.Sys().(syscall.WaitStatus); ok && st.Signaled() {
				return 128 + int(st.Signal()), nil
			}
			return exit.ExitCode(), nil
		}
	}
}

// find returns a program of a Debian package: the newest match of the
// patterns, or an error that names the package.
func find(pkg string, patterns ...string) (string, error) {
	for _, p := range patterns {
		if m, err := filepath.Glob(p); err == nil && len(m) > 0 {
			return m[len(m)-1], nil
		}
	}
	return "", fmt.Errorf("%s is not installed; on Debian: apt-get install %s (looked for %s)",
		filepath.Base(patterns[0]), pkg, strings.Join(patterns, ", "))
}
