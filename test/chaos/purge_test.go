package chaos

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tropocloud/tropo/host"
)

// netnsDir is where the names of network namespaces are.
const netnsDir = "/run/netns"

// purge ends all processes that belong to a site's folder or run in its
// namespaces, and removes the namespaces and the folder. It knows no more than
// the folder and the prefix of names: the process that made them may be dead.
func purge(dir, prefix string) error {
	names := namespaces(dir, prefix)
	inodes := map[string]bool{}
	for _, n := range names {
		var st unix.Stat_t
		if unix.Stat(filepath.Join(netnsDir, n), &st) == nil {
			inodes[fmt.Sprintf("net:[%d]", st.Ino)] = true
		}
	}
	deadline := time.Now().Add(time.Minute)
	for {
		left := processes(func(pid int, line string) bool {
			return belongs(dir, pid, line) || inodes[link(pid, "ns/net")]
		})
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes do not end: %v", left)
		}
		for _, pid := range left {
			_ = unix.Kill(pid, unix.SIGKILL) // it may have ended
		}
		time.Sleep(20 * time.Millisecond) // the kernel takes a moment
	}
	var err error
	for _, n := range names {
		err = errors.Join(err, host.DeleteNetns(n))
	}
	return errors.Join(err, os.RemoveAll(dir))
}

// namespaces lists those of the site: its own, and those that the clouds in it
// made.
func namespaces(dir, prefix string) []string {
	out := named(prefix)
	states, err := filepath.Glob(filepath.Join(dir, "*", "*", "run"))
	if err != nil {
		return out
	}
	for _, s := range states {
		out = append(out, namespacesOf(filepath.Dir(s))...)
	}
	return out
}

// namespacesOf lists the namespaces that the tropo of a state folder made:
// the one that the folder tells, and those named after it.
func namespacesOf(state string) []string {
	b, err := os.ReadFile(filepath.Join(state, "run", "netns"))
	id, ok := strings.CutPrefix(strings.TrimSpace(string(b)), "tropo-")
	if err != nil || !ok {
		return nil
	}
	return append(named("tropo-"+id), named("trmd-"+id)...)
}

// named lists the namespaces whose names begin with a prefix.
func named(prefix string) []string {
	entries, err := os.ReadDir(netnsDir)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			out = append(out, e.Name())
		}
	}
	return out
}

// processes lists the processes, this one left out, that want accepts by
// number and command line.
func processes(want func(pid int, line string) bool) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var out []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		b, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil || len(b) == 0 {
			continue // ended meanwhile, or the kernel's
		}
		if want(pid, strings.ReplaceAll(string(b), "\x00", " ")) {
			out = append(out, pid)
		}
	}
	return out
}

// belongs reports whether a process works with the folder.
func belongs(dir string, pid int, line string) bool {
	return strings.Contains(line, dir+"/") || strings.HasPrefix(link(pid, "cwd"), dir)
}

func link(pid int, name string) string {
	l, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), name))
	if err != nil {
		return ""
	}
	return l
}

// daemons lists the machine's processes of a program, as "ovs-vswitchd".
func (m *machine) daemons(program string) []int {
	return processes(func(pid int, line string) bool {
		name, _, _ := strings.Cut(line, " ")
		return filepath.Base(name) == program && belongs(m.dir, pid, line)
	})
}

// killDaemon ends the processes of a program with kill -9.
func (m *machine) killDaemon(program string) error {
	pids := m.daemons(program)
	if len(pids) == 0 {
		return fmt.Errorf("%s does not run on %s", program, m.name)
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("kill %s: %w", program, err)
		}
	}
	return nil
}

// copyLogs keeps the logs of a failed run.
func copyLogs(dir, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	archive := filepath.Join(to, filepath.Base(dir)+".tar.gz")
	out, err := exec.Command("tar", "-czf", archive, "--exclude=*.qcow2", "--exclude=*.img", "--exclude=mnesia*", "--exclude=data", "--exclude=images",
		"--exclude=instances", "-C", dir, ".").CombinedOutput()
	if err != nil {
		return fmt.Errorf("keep the logs: %w: %s", err, out)
	}
	return nil
}
