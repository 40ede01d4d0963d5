// Package rabbitmqtest runs a RabbitMQ of its own for a test: Debian's
// rabbitmq-server with the AMQP 1.0 plugin, on loopback ports that were free,
// with its own epmd, in a folder that is removed with it.
package rabbitmqtest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	serverScript = "/usr/lib/rabbitmq/bin/rabbitmq-server"
	epmdProgram  = "/usr/bin/epmd"

	startTimeout = 60 * time.Second
)

// Queues that clients of AMQP 1.0 leave behind must expire; see package amqp1.
const definitions = `{
 "users": [{"name": "tropo", "password": "tropo", "tags": "administrator"}],
 "vhosts": [{"name": "/"}],
 "permissions": [{"user": "tropo", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}],
 "policies": [{"vhost": "/", "name": "tropo", "pattern": "^amq\\.gen-", "apply-to": "queues", "priority": 0,
  "definition": {"expires": 60000, "max-length": 65536}}]
}`

const config = `loopback_users = none
load_definitions = %s
heartbeat = 60
vm_memory_high_watermark.absolute = 512MB
disk_free_limit.absolute = 10MB
tcp_listen_options.backlog = 4096
`

// Broker is one running broker. Its methods are not safe for concurrent use.
type Broker struct {
	dir   string
	node  string
	env   []string
	attr  *syscall.SysProcAttr
	port  int
	epmd  *process
	beam  *process
	fresh int
}

// Start starts a broker, or skips the test when it is not installed. It takes
// some seconds: share it, with Options.Prefix set, and Stop it at the end.
func Start(t testing.TB) *Broker {
	t.Helper()
	for _, p := range []string{serverScript, epmdProgram} {
		if _, err := os.Stat(p); err != nil {
			t.Skipf("RabbitMQ is not installed; on Debian: apt-get install rabbitmq-server (%v)", err)
		}
	}
	if os.Getenv("TROPO_TEST_BROKERS") == "" {
		t.Skip("a broker and its faults take minutes: make test-brokers runs them")
	}
	b, err := start()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func start() (b *Broker, err error) {
	b = new(Broker)
	if b.dir, err = os.MkdirTemp("", "tropo-rabbitmq-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Stop())
		}
	}()
	ports, err := freePorts(3)
	if err != nil {
		return b, err
	}
	b.port, b.node = ports[0], fmt.Sprintf("tropo%d@localhost", ports[0])
	b.attr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() == 0 {
		if err := b.becomeRabbitMQ(); err != nil {
			return b, err
		}
	}
	conf := filepath.Join(b.dir, "rabbitmq.conf")
	defs := filepath.Join(b.dir, "definitions.json")
	plugins := filepath.Join(b.dir, "enabled_plugins")
	for name, text := range map[string]string{conf: fmt.Sprintf(config, defs), defs: definitions, plugins: "[rabbitmq_amqp1_0].\n"} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil { //nolint:gosec // the server is another user
			return b, err
		}
	}
	b.env = []string{
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=" + b.dir,
		"ERL_EPMD_PORT=" + strconv.Itoa(ports[1]), "ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_NODENAME=" + b.node, "RABBITMQ_NODE_IP_ADDRESS=127.0.0.1",
		"RABBITMQ_NODE_PORT=" + strconv.Itoa(ports[0]), "RABBITMQ_DIST_PORT=" + strconv.Itoa(ports[2]),
		"RABBITMQ_LOG_BASE=" + b.dir, "RABBITMQ_ENABLED_PLUGINS_FILE=" + plugins,
		"RABBITMQ_CONFIG_FILE=" + conf, "RABBITMQ_CONF_ENV_FILE=/dev/null",
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none",
	}
	if b.epmd, err = b.run(epmdProgram, "-address", "127.0.0.1", "-port", strconv.Itoa(ports[1])); err != nil {
		return b, err
	}
	return b, b.boot()
}

// becomeRabbitMQ makes the processes run as Debian's user.
func (b *Broker) becomeRabbitMQ() error {
	u, err := user.Lookup("rabbitmq")
	if err != nil {
		return err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return err
	}
	b.attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return os.Chown(b.dir, int(uid), int(gid))
}

// boot starts the server with nothing in it, and waits until it serves.
func (b *Broker) boot() error {
	b.fresh++
	data := filepath.Join(b.dir, "mnesia"+strconv.Itoa(b.fresh))
	var err error
	b.beam, err = b.run(serverScript, "RABBITMQ_MNESIA_BASE="+data)
	if err != nil {
		return err
	}
	return b.beam.await("completed with", startTimeout)
}

// Address is "host:port" of AMQP 0-9-1 and 1.0; it never changes.
func (b *Broker) Address() string { return "127.0.0.1:" + strconv.Itoa(b.port) }

// URL is the broker for AMQP 0-9-1, reached at address.
func URL(address string) string { return "amqp://tropo:tropo@" + address + "/" }

// URL10 is the broker for AMQP 1.0, reached at address.
func URL10(address string) string { return "amqp10://tropo:tropo@" + address }

// Kill ends the server as a power cut would.
func (b *Broker) Kill() { b.beam.kill() }

// Boot starts it after Kill, with nothing in it.
func (b *Broker) Boot(t testing.TB) {
	t.Helper()
	if err := b.boot(); err != nil {
		t.Fatal(err)
	}
}

// Stop ends what was started and removes the folder.
func (b *Broker) Stop() error {
	for _, p := range []*process{b.beam, b.epmd} {
		if p != nil {
			p.kill()
		}
	}
	return os.RemoveAll(b.dir)
}

// process is a program with its children, in a process group of its own.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended
	eof   chan struct{} // closed when its children have, too
	mu    sync.Mutex
	lines []string
	more  chan struct{} // closed, and replaced, at each line
}

// run starts a program; arguments like NAME=value go to its environment.
func (b *Broker) run(program string, args ...string) (*process, error) {
	p := &process{ended: make(chan struct{}), eof: make(chan struct{}), more: make(chan struct{})}
	p.cmd = exec.Command(program)
	p.cmd.Env = b.env
	for _, a := range args {
		if strings.HasPrefix(a, "RABBITMQ_") {
			p.cmd.Env = append(p.cmd.Env, a)
			continue
		}
		p.cmd.Args = append(p.cmd.Args, a)
	}
	p.cmd.Dir, p.cmd.SysProcAttr = b.dir, b.attr
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	started := make(chan error)
	go func() {
		// The kernel ends the program with the thread that started it, so
		// that it does not outlive a test that is killed.
		runtime.LockOSThread()
		defer close(p.ended)
		err := p.cmd.Start()
		_ = w.Close()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // it is killed
		}
	}()
	if err := <-started; err != nil {
		_ = r.Close()
		return nil, err
	}
	go p.read(r)
	return p, nil
}

func (p *process) read(r *os.File) {
	defer close(p.eof)
	defer r.Close()
	for s := bufio.NewScanner(r); s.Scan(); {
		p.mu.Lock()
		p.lines = append(p.lines, string(bytes.TrimSpace(s.Bytes())))
		close(p.more)
		p.more = make(chan struct{})
		p.mu.Unlock()
	}
}

// await waits until the output has text.
func (p *process) await(text string, timeout time.Duration) error {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		p.mu.Lock()
		all, more := strings.Join(p.lines, "\n"), p.more
		p.mu.Unlock()
		if strings.Contains(all, text) {
			return nil
		}
		select {
		case <-more:
		case <-p.ended:
			return fmt.Errorf("%s ended:\n%s", p.cmd.Path, all)
		case <-timer.C:
			return fmt.Errorf("%s did not start in %s:\n%s", p.cmd.Path, timeout, all)
		}
	}
}

// kill ends the process group and waits until nobody holds its output.
func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // it may have ended
	<-p.ended
	<-p.eof
}

func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
