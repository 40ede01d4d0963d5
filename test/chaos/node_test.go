package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tropocloud/tropo/host"
)

// node is a machine that runs tropo.
type node struct {
	*machine
	roles []string
	args  []string // of "tropo up"
	argv  []string // of what a unit file starts; instead of args
	env   []string // beside the usual
	proc  *program
}

const startTimeout = 2 * time.Minute

func (n *node) state() string { return filepath.Join(n.dir, "state") }

func (n *node) is(role string) bool { return slices.Contains(n.roles, role) }

// tropo runs a command of the binary to its end.
func (n *node) tropo(ctx context.Context, args ...string) (string, error) {
	return n.run(ctx, nil, n.site.tropo, append(args, "--state", n.state())...)
}

// up starts the process; await waits until it is ready.
func (n *node) up() error {
	var err error
	args := append([]string{"up", "--state", n.state()}, n.args...)
	if len(n.argv) > 1 {
		args = n.argv[1:]
	}
	cmd := exec.Command(n.site.tropo, args...)
	cmd.Env, cmd.Dir = append(plainEnv(n.dir), n.env...), n.dir
	_ = os.Truncate(filepath.Join(n.dir, "tropo.out"), 0) // "ready" is of this start; there may be none yet
	n.proc, err = n.start("tropo", cmd)
	return err
}

// await waits until the process says that it is ready.
func (n *node) await(ctx context.Context) error {
	for {
		if strings.Contains(tail(n.proc.log, 200), "ready after") {
			return nil
		}
		select {
		case <-n.proc.done:
			return fmt.Errorf("tropo on %s ended (%w):\n%s", n.name, n.proc.err, tail(n.proc.log, 40))
		case <-ctx.Done():
			return fmt.Errorf("tropo on %s is not ready (%w):\n%s", n.name, ctx.Err(), tail(n.proc.log, 40))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// restart starts the process anew after a fault and waits until it is ready.
func (n *node) restart(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := n.up(); err != nil {
		return err
	}
	return n.await(ctx)
}

// pause stops the process where it is, resume lets it go on.
func (n *node) pause()  { n.proc.signal(syscall.SIGSTOP) }
func (n *node) resume() { n.proc.signal(syscall.SIGCONT) }

// admin asks the process's own socket, which only its machine's root reaches.
func (n *node) admin(ctx context.Context, path string, out any) error {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", filepath.Join(n.state(), "run", "admin.sock"))
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://tropo"+path, nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s on %s: %s", path, n.name, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(out)
}

// down ends the cloud's processes of the machine as an operator does, and
// reports what is left of them.
func (n *node) down(ctx context.Context) error {
	ns, _ := os.ReadFile(filepath.Join(n.state(), "run", "netns")) // there is none without a switch
	if _, err := n.tropo(ctx, "down"); err != nil {
		return err
	}
	var err error
	if name := strings.TrimSpace(string(ns)); name != "" && host.NetnsExists(name) {
		err = fmt.Errorf("%s left the namespace %s", n.name, name)
	}
	left := processes(func(pid int, line string) bool { return belongs(n.state(), pid, line) })
	for _, pid := range left {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // it may have ended
		err = errors.Join(err, fmt.Errorf("%s left process %d: %.200q", n.name, pid, b))
	}
	return err
}

// powerOff ends everything that runs on the machine, as a power cut does:
// guests, switch, links. What its next start needs is there.
func (n *node) powerOff() error {
	n.proc.kill() // first of all: it would start anew what ends before it
	for {
		left := processes(func(pid int, line string) bool { return belongs(n.state(), pid, line) })
		if len(left) == 0 {
			break
		}
		for _, pid := range left {
			_ = unix.Kill(pid, unix.SIGKILL) // it may have ended
		}
		time.Sleep(10 * time.Millisecond) // the kernel takes a moment
	}
	for _, ns := range namespacesOf(n.state()) {
		if err := host.DeleteNetns(ns); err != nil {
			return err
		}
	}
	// A link that the switch had taken goes with its namespace.
	for _, net := range n.networks {
		if err := host.DeleteLink(n.site.bridges, n.peer(net)); err != nil {
			return err
		}
		if err := n.plug(net); err != nil {
			return err
		}
	}
	return nil
}
