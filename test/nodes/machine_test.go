package nodes

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tropocloud/tropo/db"
)

// patience bounds every wait.
const patience = 3 * time.Minute

// site is a cloud of machines on loopback.
type site struct {
	t      *testing.T
	net    string // "127.3.4."
	config string
	proxy  *proxy
	all    []*machine
}

// newSiteNet picks the addresses of a site.
func newSiteNet() string {
	return fmt.Sprintf("127.%d.%d.", 2+rand.N(250), rand.N(256)) //nolint:gosec // picks an address
}

// newSite makes the databases and the way to them.
func newSite(t *testing.T, server string) *site {
	t.Helper()
	if os.Getenv("TROPO_E2E") == "" {
		t.Skip("end-to-end tests run by make e2e")
	}
	if server == "" {
		t.Skip("there is no such database server")
	}
	s := &site{t: t, net: newSiteNet()}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	prefix := fmt.Sprintf("n%x", rand.Uint64()) //nolint:gosec // picks a name
	admin, err := db.Open(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	exec := func(d *sql.DB, text string) error {
		_, err := d.ExecContext(context.Background(), text)
		return err
	}
	charset := ""
	if admin.Dialect() == db.MySQL {
		charset = " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
	}
	services := []string{"identity", "image", "placement", "compute", "network", "cluster"}
	for _, name := range services {
		if err := exec(admin.SQL(), "CREATE DATABASE "+prefix+"_"+name+charset); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, name := range services {
			if err := exec(admin.SQL(), "DROP DATABASE "+prefix+"_"+name); err != nil {
				t.Error(err)
			}
		}
		_ = admin.Close()
	})
	s.proxy = newProxy(t, u.Host)
	u.Host, u.Path = s.proxy.addr(), "/"
	s.config = filepath.Join(t.TempDir(), "tropo.conf")
	text := "[database]\nconnection = " + strings.Replace(u.String(), s.proxy.addr()+"/", s.proxy.addr()+"/"+prefix+"_%s", 1) + "\n"
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// machine is one with its state folder.
type machine struct {
	*site
	name, address, dir string
	founder            bool

	mu     sync.Mutex
	out    bytes.Buffer
	cmd    *exec.Cmd
	exited chan struct{}
}

func (s *site) machine(name string, n int) *machine {
	s.t.Helper()
	dir, err := os.MkdirTemp("", "tn-") // a short path, for sockets
	if err != nil {
		s.t.Fatal(err)
	}
	m := &machine{site: s, name: name, address: fmt.Sprint(s.net, n), dir: dir}
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("%s:\n%s\n%s", name, m.said(), m.log())
		}
		m.kill()
		if _, err := os.Stat(m.path("secrets.json")); err == nil {
			if out, err := m.run("down"); err != nil {
				s.t.Errorf("tropo down: %v\n%s", err, out)
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			s.t.Error(err)
		}
	})
	s.all = append(s.all, m)
	return m
}

func (m *machine) path(parts ...string) string {
	return filepath.Join(append([]string{m.dir}, parts...)...)
}

func (m *machine) said() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.out.String()
}

// Write implements io.Writer.
func (m *machine) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.out.Write(p)
}

func (m *machine) log() string {
	b, _ := os.ReadFile(m.path("log", "tropo.log"))
	return string(b[max(0, len(b)-4000):])
}

// run runs a command of tropo for the machine to its end.
func (m *machine) run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, os.Getenv("TROPO_BIN"), append(args, "--state", m.dir)...)
	out, err := c.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (m *machine) must(args ...string) string {
	m.t.Helper()
	out, err := m.run(args...)
	if err != nil {
		m.t.Fatalf("tropo %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// begin starts the machine's process.
func (m *machine) begin() {
	m.t.Helper()
	args := []string{"up", "--state", m.dir}
	if m.founder {
		args = append(args, "--address", m.address, "--roles", "control", "--name", m.name, "--config", m.config)
	}
	m.mu.Lock()
	m.out.Reset()
	m.mu.Unlock()
	m.cmd = exec.Command(os.Getenv("TROPO_BIN"), args...)
	m.cmd.Stdout, m.cmd.Stderr = m, m
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.exited = make(chan struct{})
	go func(c *exec.Cmd, exited chan struct{}) {
		_ = c.Wait()
		close(exited)
	}(m.cmd, m.exited)
}

// up starts the machine's process and waits until it is ready.
func (m *machine) up() {
	m.t.Helper()
	m.begin()
	m.ready()
}

func (m *machine) ready() {
	m.t.Helper()
	m.eventually("ready", func() error {
		select {
		case <-m.exited:
			m.t.Fatalf("%s ended:\n%s", m.name, m.said())
		default:
		}
		if !strings.Contains(m.said(), "\nready after") {
			return fmt.Errorf("it says %q", m.said())
		}
		return nil
	})
}

func (m *machine) kill() {
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Kill()
	<-m.exited
	m.cmd = nil
}

// stop ends the process by SIGTERM.
func (m *machine) stop() {
	m.t.Helper()
	_ = m.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-m.exited:
	case <-time.After(patience):
		m.t.Fatalf("%s does not stop", m.name)
	}
	if !m.cmd.ProcessState.Success() {
		m.t.Errorf("%s: %v\n%s", m.name, m.cmd.ProcessState, m.said())
	}
	m.cmd = nil
}

// join makes the machine part of the cloud of a control node.
func (m *machine) join(control *machine, token, roles string) (string, error) {
	return m.run("join", "https://"+control.address+":5443", "--token", token, "--roles", roles, "--name", m.name, "--address", m.address, "--enrol-only")
}

func (m *machine) joins(control *machine, roles string) {
	m.t.Helper()
	if out, err := m.join(control, control.must("node", "token", "--roles", roles), roles); err != nil {
		m.t.Fatalf("join: %v\n%s", err, out)
	}
}

// eventually tries f until it succeeds.
func (s *site) eventually(what string, f func() error) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: %v", what, err)
		}
		<-tick.C
	}
}

// proxy is the way to the database server, which can be cut and held up.
type proxy struct {
	l      net.Listener
	target string

	mu    sync.Mutex
	cond  *sync.Cond
	held  bool
	cut   bool
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, target: target, conns: map[net.Conn]bool{}}
	p.cond = sync.NewCond(&p.mu)
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.set(false, true)
		p.wg.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.l.Addr().String() }

// set holds up what goes through (connections stay), or cuts all.
func (p *proxy) set(held, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held, p.cut = held, cut
	if cut {
		for c := range p.conns {
			_ = c.Close()
		}
	}
	p.cond.Broadcast()
}

func (p *proxy) serve(c net.Conn) {
	d, err := net.Dial("tcp", p.target)
	if err != nil {
		_ = c.Close()
		return
	}
	p.mu.Lock()
	p.conns[c], p.conns[d] = true, true
	if p.cut {
		_, _ = c.Close(), d.Close()
	}
	p.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { p.copy(c, d) })
	wg.Go(func() { p.copy(d, c) })
	wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	delete(p.conns, d)
}

func (p *proxy) copy(to, from net.Conn) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		for p.held && !p.cut {
			p.cond.Wait()
		}
		p.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

var _ io.Writer = (*machine)(nil)
