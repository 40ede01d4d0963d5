package qemu

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// process is a running QEMU, held by a pidfd: whatever becomes of the pid, a
// signal reaches this process or none.
type process struct {
	pid    int
	fd     *os.File
	child  *exec.Cmd     // to be reaped, if this driver started it
	exited chan struct{} // closed by watch when it has ended
}

func openProcess(pid int) (*process, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("pidfd of %d: %w", pid, err)
	}
	return &process{pid: pid, fd: os.NewFile(uintptr(fd), "pidfd"), exited: make(chan struct{})}, nil
}

// watch waits for the end of the process, reaps it and closes exited. It
// returns early, with false, when release was called.
func (p *process) watch() bool {
	raw, err := p.fd.SyscallConn()
	if err != nil {
		return false
	}
	ended := false
	err = raw.Read(func(fd uintptr) bool {
		ended = readable(int(fd))
		return ended
	})
	if err != nil || !ended {
		return false
	}
	if p.child != nil {
		p.child.Wait() //nolint:errcheck // how it ended is told by its events
	}
	close(p.exited)
	return true
}

// alive asks the kernel, so it does not depend on the watcher's progress.
func (p *process) alive() bool {
	raw, err := p.fd.SyscallConn()
	if err != nil {
		return false
	}
	alive := false
	if err := raw.Control(func(fd uintptr) { alive = !readable(int(fd)) }); err != nil {
		return false
	}
	return alive
}

// readable: a pidfd becomes readable when its process has ended.
func readable(fd int) bool {
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			return n > 0
		}
	}
}

func (p *process) signal(sig unix.Signal) error {
	raw, err := p.fd.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	if err := raw.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), sig, nil, 0) }); err != nil {
		return err
	}
	if errors.Is(sent, unix.ESRCH) {
		return nil
	}
	return sent
}

// release closes the pidfd; a watcher returns.
func (p *process) release() { p.fd.Close() }

// find returns the guest's process, or nil. The caller owns it unless it is the
// one that is watched already.
func (g *guest) find() *process {
	g.mu.Lock()
	p := g.proc
	g.mu.Unlock()
	if p != nil && p.alive() {
		return p
	}
	if text, err := os.ReadFile(g.path(pidFile)); err == nil {
		if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			if p := g.claim(pid); p != nil {
				return p
			}
		}
	}
	return g.search()
}

// search looks at all processes: one that was started just before the agent was
// killed may not have written its pid yet.
func (g *guest) search() *process {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// Cheap look first, so that no pidfd is opened for each process.
		if cwd, err := os.Readlink(procPath(pid, "cwd")); err != nil || cwd != g.dir {
			continue
		}
		if p := g.claim(pid); p != nil {
			return p
		}
	}
	return nil
}

// claim returns the process if it is this guest's QEMU. The pidfd is opened
// before the check.
func (g *guest) claim(pid int) *process {
	p, err := openProcess(pid)
	if err != nil {
		return nil
	}
	if g.owns(pid) && p.alive() {
		return p
	}
	p.release()
	return nil
}

func (g *guest) owns(pid int) bool {
	cwd, err := os.Readlink(procPath(pid, "cwd"))
	if err != nil || cwd != g.dir {
		return false
	}
	line, err := os.ReadFile(procPath(pid, "cmdline"))
	if err != nil {
		return false
	}
	// The pair of arguments that names the guest, whatever stands before it:
	// for a moment the process is still "ip netns exec".
	return bytes.Contains(line, []byte("\x00-uuid\x00"+g.id+"\x00"))
}

func procPath(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}
