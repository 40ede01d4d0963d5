// Package host does privileged work on a Linux machine: external commands
// under limits, network namespaces, links, mounts.
package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Command is one run of an external program. The zero limits get defaults:
// no program of tropo's runs without a timeout.
type Command struct {
	Path string   // program name or path
	Args []string // arguments, never passed through a shell
	Dir  string   // working directory; empty: the current one
	Env  []string // environment; nil: inherited
	// Stdin is fed to the program.
	Stdin []byte
	// Netns is the name of a network namespace to run in (as `ip netns`
	// names them); empty: the current one.
	Netns string
	// Timeout ends the program with SIGKILL; 0: 30 s.
	Timeout time.Duration
	// AddressSpace limits virtual memory in bytes, CPU limits processor
	// time in whole seconds (both by prlimit); 0: no limit.
	AddressSpace int64
	CPU          time.Duration
	// MaxOutput bounds each of stdout and stderr in bytes; 0: 4 MiB. A
	// program that prints more is ended.
	MaxOutput int
}

// ExitError says that a command failed; Stderr holds what it printed (cut).
type ExitError struct {
	Command string
	Code    int // -1: ended by a signal or not started
	Stderr  string
	Err     error
}

func (e *ExitError) Error() string {
	msg := strings.TrimSpace(e.Stderr)
	if len(msg) > 2000 {
		msg = msg[:2000] + "…"
	}
	if msg == "" {
		msg = e.Err.Error()
	}
	return fmt.Sprintf("%s: exit %d: %s", e.Command, e.Code, msg)
}

func (e *ExitError) Unwrap() error { return e.Err }

// Run runs c and returns its standard output. The error is an *ExitError
// whenever the program started and failed, timed out or printed too much.
func Run(ctx context.Context, c Command) ([]byte, error) {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	argv := c.argv()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = c.Dir, c.Env
	if c.Stdin != nil {
		cmd.Stdin = bytes.NewReader(c.Stdin)
	}
	limit := c.MaxOutput
	if limit == 0 {
		limit = 4 << 20
	}
	out, errOut := &bounded{max: limit, over: cancel}, &bounded{max: limit, over: cancel}
	cmd.Stdout, cmd.Stderr = out, errOut
	// A group of its own, so that the timeout ends children too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second // for what it printed last, where this machine stands still
	err := cmd.Run()
	if err == nil && !out.full && !errOut.full {
		return out.buf.Bytes(), nil
	}
	switch {
	case out.full || errOut.full:
		err = fmt.Errorf("printed more than %d bytes", limit)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("timed out after %s: %w", timeout, context.DeadlineExceeded)
	}
	code := -1
	if cmd.ProcessState != nil {
		code = cmd.ProcessState.ExitCode()
	}
	return out.buf.Bytes(), &ExitError{Command: c.Path + " " + strings.Join(c.Args, " "), Code: code, Stderr: errOut.buf.String(), Err: err}
}

func (c Command) argv() []string {
	var argv []string
	if c.Netns != "" {
		argv = append(argv, "ip", "netns", "exec", c.Netns)
	}
	if c.AddressSpace > 0 || c.CPU > 0 {
		argv = append(argv, "prlimit")
		if c.AddressSpace > 0 {
			argv = append(argv, fmt.Sprintf("--as=%d", c.AddressSpace))
		}
		if c.CPU > 0 {
			argv = append(argv, fmt.Sprintf("--cpu=%d", max(1, int(c.CPU.Seconds()))))
		}
		argv = append(argv, "--")
	}
	return append(append(argv, c.Path), c.Args...)
}

// bounded keeps up to max bytes and calls over once when there are more.
type bounded struct {
	buf  bytes.Buffer
	max  int
	full bool
	over func()
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.full {
		return len(p), nil
	}
	if b.buf.Len()+len(p) > b.max {
		b.full = true
		b.over()
		return len(p), nil
	}
	return b.buf.Write(p)
}
