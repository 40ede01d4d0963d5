package chaos

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/tropocloud/tropo/host"
)

// machine is a host: a network namespace and a folder.
type machine struct {
	site     *site
	name     string
	number   int
	netns    string
	dir      string
	networks []network

	work chan func() // runs on a thread inside the namespace
	done chan struct{}
	mu   sync.Mutex
	runs []*program
}

// ip is the machine's management address.
func (m *machine) ip() netip.Addr { return management.address(m.number) }

// peer names the bridge's end of a link.
func (m *machine) peer(n network) string { return n.name + "-" + m.name }

// plug links the machine to a network; the link that was there is replaced.
func (m *machine) plug(n network) error {
	err := host.EnsureVeth(host.Veth{Netns: m.netns, Name: n.link, PeerNetns: m.site.bridges, PeerName: m.peer(n), MTU: 1500})
	if err != nil {
		return err
	}
	// A switch in user space reads frames as they are: checksums must be in them.
	if err := host.DisableOffload(m.netns, n.link); err != nil {
		return err
	}
	if err := host.DisableOffload(m.site.bridges, m.peer(n)); err != nil {
		return err
	}
	if err := host.SetLinkMaster(m.site.bridges, m.peer(n), n.name); err != nil {
		return err
	}
	if n == provider {
		return nil
	}
	return m.address(n)
}

// address gives the machine its address in a network.
func (m *machine) address(n network) error {
	return host.EnsureAddr(m.netns, n.link, netip.PrefixFrom(n.address(m.number), n.prefix.Bits()))
}

// cut takes the machine off a network, as a pulled cable does, and mend puts
// it back.
func (m *machine) cut(n network) error  { return host.SetLinkDown(m.site.bridges, m.peer(n)) }
func (m *machine) mend(n network) error { return host.SetLinkUp(m.site.bridges, m.peer(n)) }

// open starts the thread from which the machine's programs are started. The
// kernel ends them with it, so that they do not outlive a test that is killed.
func (m *machine) open() error {
	m.work, m.done = make(chan func()), make(chan struct{})
	ready := make(chan error, 1)
	go func() {
		defer close(m.done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		h, err := netns.GetFromName(m.netns)
		if err == nil {
			err = netns.Set(h)
			_ = h.Close()
		}
		if err == nil {
			err = unix.Unshare(unix.CLONE_NEWUTS) // each machine has its own host name
		}
		if err == nil {
			err = unix.Sethostname([]byte(m.name))
		}
		ready <- err
		if err != nil {
			return
		}
		for f := range m.work {
			f()
		}
	}()
	return <-ready
}

// close kills the machine's programs and ends its thread.
func (m *machine) close() {
	m.mu.Lock()
	runs := m.runs
	m.runs = nil
	m.mu.Unlock()
	for _, p := range runs {
		p.kill()
	}
	if m.work != nil {
		close(m.work)
		<-m.done
		m.work = nil
	}
}

// program is a process of a machine, the leader of a process group.
type program struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when it has ended
	err  error         // how, after done
}

// start starts a command in the machine; what it prints is appended to the
// machine's log of that name.
func (m *machine) start(name string, cmd *exec.Cmd) (*program, error) {
	p := &program{name: name, cmd: cmd, log: filepath.Join(m.dir, name+".out"), done: make(chan struct{})}
	f, err := os.OpenFile(p.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	if err := m.exec(cmd); err != nil {
		return nil, err
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	m.mu.Lock()
	m.runs = append(m.runs, p)
	m.mu.Unlock()
	return p, nil
}

// exec starts a command inside the namespace.
func (m *machine) exec(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started := make(chan error, 1)
	m.work <- func() { started <- cmd.Start() }
	return <-started
}

// run runs a command of the machine to its end and returns what it printed to
// standard output.
func (m *machine) run(ctx context.Context, env []string, path string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env, cmd.Dir = append(plainEnv(m.dir), env...), m.dir
	cmd.WaitDelay = 5 * time.Second
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := m.exec(cmd); err != nil {
		return "", err
	}
	if err := cmd.Wait(); err != nil {
		return out.String(), fmt.Errorf("on %s: %s %s: %w: %s", m.name, filepath.Base(path), strings.Join(args, " "), err, strings.TrimSpace(errOut.String()))
	}
	return out.String(), nil
}

// plainEnv is the environment of programs: nothing of the tester's own.
func plainEnv(home string) []string {
	return []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + home, "LC_ALL=C.UTF-8", "TZ=UTC", "PYTHONWARNINGS=ignore"}
}

// dial connects from inside the machine's namespace.
func (m *machine) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var c net.Conn
	err := host.InNetns(m.netns, func() (err error) {
		var d net.Dialer
		c, err = d.DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// signal sends sig to the program's whole group.
func (p *program) signal(sig syscall.Signal) { _ = unix.Kill(-p.cmd.Process.Pid, sig) } // it may have ended

// kill ends the program as kill -9 does, and waits.
func (p *program) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// stop asks it to end, and kills it if it does not.
func (p *program) stop(grace time.Duration) error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.done:
		return nil
	case <-time.After(grace):
		p.kill()
		return fmt.Errorf("%s did not end within %s of SIGTERM and was killed", p.name, grace)
	}
}

// ended reports whether the program has ended.
func (p *program) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// printLogs prints the ends of the machine's logs.
func (m *machine) printLogs() {
	var files []string
	for _, p := range []string{"*.out", "state/log/*.log"} {
		f, err := filepath.Glob(filepath.Join(m.dir, p))
		if err == nil {
			files = append(files, f...)
		}
	}
	for _, f := range files {
		if end := tail(f, 40); end != "" {
			m.site.t.Logf("%s: %s:\n%s", m.name, filepath.Base(f), end)
		}
	}
}

// tail returns the last lines of a file, without those for debugging.
func tail(file string, n int) string {
	f, err := os.Open(file)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	const most = 1 << 20
	if st, err := f.Stat(); err == nil && st.Size() > most {
		_, _ = f.Seek(-most, io.SeekEnd)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	var lines []string
	for l := range strings.SplitSeq(strings.TrimSpace(string(b)), "\n") {
		if !strings.Contains(l, "level=DEBUG") {
			lines = append(lines, l)
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
