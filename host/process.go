package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrGone says that a process has ended (or that its number now belongs to
// another one).
var ErrGone = errors.New("host: the process has ended")

// Process is a process's identity: the number alone would be recycled.
type Process struct {
	PID       int    `json:"pid"`
	StartTime uint64 `json:"start_time"` // clock ticks after boot, /proc/PID/stat field 22
	BootID    string `json:"boot_id"`    // start times begin anew at each boot
}

// FindProcess returns the identity of the process that has the number now;
// ErrGone if none has, or only a zombie.
func FindProcess(pid int) (Process, error) {
	start, state, err := readStat(pid)
	if err != nil {
		return Process{}, err
	}
	if state == 'Z' || state == 'X' {
		return Process{}, ErrGone
	}
	boot, err := bootID()
	return Process{pid, start, boot}, err
}

func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
}

func readStat(pid int) (start uint64, state byte, err error) {
	if pid <= 0 {
		return 0, 0, fmt.Errorf("host: %d is no process", pid)
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return 0, 0, ErrGone
	}
	if err != nil {
		return 0, 0, fmt.Errorf("host: %w", err)
	}
	return parseStat(b)
}

// parseStat reads /proc/PID/stat (proc_pid_stat(5)). The program's name may
// hold spaces and parentheses: fields are counted from the last one.
func parseStat(b []byte) (start uint64, state byte, err error) {
	i := bytes.LastIndexByte(b, ')')
	f := strings.Fields(string(b[i+1:]))
	const stateField, startField = 0, 19 // the 3rd and the 22nd of the page
	if i < 0 || len(f) <= startField {
		return 0, 0, fmt.Errorf("host: cannot read process status %q", b)
	}
	start, err = strconv.ParseUint(f[startField], 10, 64)
	return start, f[stateField][0], err
}

// Alive reports whether it is this very process that runs.
func (p Process) Alive() bool {
	now, err := FindProcess(p.PID)
	return err == nil && now == p
}

// open returns a descriptor that stands for the process, whatever becomes of
// its number: first opened, then compared.
func (p Process) open() (int, error) {
	if p.PID <= 0 {
		return -1, ErrGone
	}
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		return -1, ErrGone
	}
	if err != nil {
		return -1, fmt.Errorf("host: process %d: %w", p.PID, err)
	}
	if !p.Alive() {
		unix.Close(fd)
		return -1, ErrGone
	}
	return fd, nil
}

// Signal sends sig to the process and never to another one that got its
// number; ErrGone when it has ended.
func (p Process) Signal(sig unix.Signal) error {
	fd, err := p.open()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil {
		if errors.Is(err, unix.ESRCH) {
			return ErrGone
		}
		return fmt.Errorf("host: signal process %d: %w", p.PID, err)
	}
	return nil
}

// Wait returns nil when the process has ended, or ctx's error.
func (p Process) Wait(ctx context.Context) error {
	fd, err := p.open()
	if errors.Is(err, ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("host: wait for process %d: %w", p.PID, err)
		}
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(poll, 50) // ms; a cancelled ctx is noticed that late
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("host: wait for process %d: %w", p.PID, err)
		}
		if n > 0 {
			return nil
		}
	}
}

// Stop asks the process to end (SIGTERM), kills it after grace, and waits.
// One that has ended is no error.
func (p Process) Stop(ctx context.Context, grace time.Duration) error {
	if err := p.Signal(unix.SIGTERM); err != nil {
		return ignoreGone(err)
	}
	patient, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if p.Wait(patient) == nil {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("host: stop process %d: %w", p.PID, err)
	}
	if err := p.Signal(unix.SIGKILL); err != nil {
		return ignoreGone(err)
	}
	return p.Wait(ctx)
}

func ignoreGone(err error) error {
	if errors.Is(err, ErrGone) {
		return nil
	}
	return err
}

// WritePidfile records p, readable by others as a pid file, atomically.
func WritePidfile(path string, p Process) error {
	return WriteFile(path, fmt.Appendf(nil, "%d\n%d %s\n", p.PID, p.StartTime, p.BootID), 0o644)
}

// ReadPidfile returns what WritePidfile recorded; the process may have ended.
// A file that does not exist is fs.ErrNotExist.
func ReadPidfile(path string) (Process, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Process{}, fmt.Errorf("host: %w", err)
	}
	f := strings.Fields(string(b))
	if len(f) != 3 {
		return Process{}, fmt.Errorf("host: %s: want a process's number, start time and boot", path)
	}
	pid, err := strconv.Atoi(f[0])
	start, err2 := strconv.ParseUint(f[1], 10, 64)
	if err := errors.Join(err, err2); err != nil || pid <= 0 {
		return Process{}, fmt.Errorf("host: %s: want a process's number and start time, not %q", path, f[:2])
	}
	return Process{pid, start, f[2]}, nil
}
