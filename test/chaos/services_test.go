package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// databases are what the cloud keeps its rows in, one of each service.
var databases = []string{"identity", "image", "placement", "compute", "network", "cluster"}

// server is a database or a broker, as its Debian package brings it, on a
// machine of its own.
type server struct {
	m     *machine
	name  string
	url   string // as the cloud's configuration wants it
	cred  *syscall.Credential
	make  func() *exec.Cmd // prepares its command
	check func(context.Context) error
	wipe  func() error // throws its data away while it is down; nil: not to be
	run   *program
}

// start starts the server and waits until it answers.
func (s *server) start(ctx context.Context) error {
	var err error
	if s.run, err = s.m.start(s.name, s.make()); err != nil {
		return fmt.Errorf("start %s: %w", s.name, err)
	}
	for {
		if err = s.check(ctx); err == nil {
			return nil
		}
		if s.run.ended() {
			return fmt.Errorf("%s ended (%w):\n%s", s.name, s.run.err, tail(s.run.log, 30))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer (%w):\n%s", s.name, err, tail(s.run.log, 30))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// kill ends the server as kill -9 does, with all its processes.
func (s *server) kill() {
	s.run.kill()
	// PostgreSQL's processes lead groups of their own; they end by
	// themselves once the postmaster is gone, and hold the data till then.
	for {
		left := processes(func(pid int, line string) bool { return belongs(s.home(), pid, line) })
		if len(left) == 0 {
			return
		}
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		}
		time.Sleep(10 * time.Millisecond) // the kernel takes a moment
	}
}

func (s *server) home() string { return filepath.Join(s.m.dir, s.name) }

// become makes the server's folder, and its processes those of a system user
// (the servers refuse to be root).
func (s *server) become(name string) error {
	u, err := user.Lookup(name)
	if err != nil {
		return fmt.Errorf("%s is not installed: %w", s.name, err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2, os.Mkdir(s.home(), 0o700)); err != nil {
		return err
	}
	s.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return os.Chown(s.home(), int(uid), int(gid))
}

func (s *server) command(path string, args ...string) *exec.Cmd {
	c := exec.Command(path, args...)
	c.Dir, c.Env = s.home(), append(plainEnv(s.home()), "TMPDIR="+s.home())
	c.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred}
	return c
}

// prepare runs a program of the server to its end.
func (s *server) prepare(path string, args ...string) error {
	c := s.command(path, args...)
	var out strings.Builder
	c.Stdout, c.Stderr = &out, &out
	if err := s.m.exec(c); err != nil {
		return err
	}
	if err := c.Wait(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(path), err, out.String())
	}
	return nil
}

// program finds a program by a pattern: of several versions the last.
func programFile(pattern string) (string, error) {
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("%s is not installed", filepath.Base(pattern))
	}
	return found[len(found)-1], nil
}

// postgres makes a PostgreSQL. A commit is written, though not to the disk,
// before it is answered: it survives kill -9.
func postgres(ctx context.Context, m *machine) (*server, error) {
	s := &server{m: m, name: "postgres", url: fmt.Sprintf("postgres://postgres@%s:5432/tropo_%%s?sslmode=disable", m.ip())}
	initdb, err := programFile("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return nil, err
	}
	if err := s.become("postgres"); err != nil {
		return nil, err
	}
	data, bin := filepath.Join(s.home(), "data"), filepath.Dir(initdb)
	if err := s.prepare(initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"); err != nil {
		return nil, err
	}
	hba := "local all all trust\nhost all all " + management.prefix.String() + " trust\n"
	if err := os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte(hba), 0o644); err != nil { //nolint:gosec // read by another user
		return nil, err
	}
	args := []string{"-D", data, "-k", s.home()}
	for _, o := range []string{
		"listen_addresses=" + m.ip().String(), "fsync=off", "full_page_writes=off", "shared_buffers=48MB",
		"max_connections=400", "autovacuum=off", "max_wal_size=256MB", "timezone=UTC",
	} {
		args = append(args, "-c", o)
	}
	s.make = func() *exec.Cmd {
		// What kill -9 leaves of its own pid file would keep it from starting
		// where the number has been given to another process.
		_ = os.Remove(filepath.Join(data, "postmaster.pid"))
		return s.command(filepath.Join(bin, "postgres"), args...)
	}
	psql := []string{"-h", s.home(), "-U", "postgres", "-qAt", "-c"}
	s.check = func(context.Context) error { return s.prepare(filepath.Join(bin, "psql"), append(psql, "SELECT 1")...) }
	return s, s.start(ctx)
}

// makeDatabases makes the cloud's databases in a PostgreSQL.
func (s *server) makeDatabases() error {
	for _, d := range databases {
		if err := s.prepare("/usr/bin/psql", "-h", s.home(), "-U", "postgres", "-qAt", "-c", "CREATE DATABASE tropo_"+d); err != nil {
			return err
		}
	}
	return nil
}

// mariadb makes a MariaDB; of commits as with postgres.
func mariadb(ctx context.Context, m *machine) (*server, error) {
	s := &server{m: m, name: "mariadb", url: fmt.Sprintf("mysql://root@%s:3306/tropo_%%s", m.ip())}
	daemon, err := programFile("/usr/sbin/mariadbd")
	if err != nil {
		return nil, err
	}
	if err := s.become("mysql"); err != nil {
		return nil, err
	}
	data, socket := filepath.Join(s.home(), "data"), filepath.Join(s.home(), "sock")
	sql := fmt.Sprintf("CREATE USER IF NOT EXISTS 'root'@'10.89.0.%%';\nGRANT ALL ON *.* TO 'root'@'10.89.0.%%' WITH GRANT OPTION;\n")
	for _, d := range databases {
		sql += "CREATE DATABASE IF NOT EXISTS tropo_" + d + " CHARACTER SET utf8mb4;\n"
	}
	grants := filepath.Join(m.dir, "grants.sql")
	if err := os.WriteFile(grants, []byte(sql), 0o644); err != nil { //nolint:gosec // read by another user
		return nil, err
	}
	if err := s.prepare("/usr/bin/mariadb-install-db", "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal",
		"--skip-test-db", "--skip-name-resolve", "--innodb-flush-method=nosync"); err != nil {
		return nil, err
	}
	s.make = func() *exec.Cmd {
		return s.command(daemon, "--no-defaults", "--datadir="+data, "--socket="+socket, "--port=3306", "--bind-address="+m.ip().String(),
			"--pid-file="+filepath.Join(s.home(), "pid"), "--init-file="+grants, "--skip-name-resolve",
			"--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync", "--innodb-doublewrite=0",
			"--innodb-buffer-pool-size=48M", "--innodb-log-file-size=32M", "--max-connections=400", "--performance-schema=0")
	}
	s.check = func(context.Context) error {
		return s.prepare("/usr/bin/mariadb", "--no-defaults", "-h", m.ip().String(), "-u", "root", "-e", "SELECT 1", "tropo_identity")
	}
	return s, s.start(ctx)
}

const rabbitDefinitions = `{
 "users": [{"name": "tropo", "password": "tropo", "tags": "administrator"}],
 "vhosts": [{"name": "/"}],
 "permissions": [{"user": "tropo", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}]
}`

// rabbitmq makes a RabbitMQ.
func rabbitmq(ctx context.Context, m *machine) (*server, error) {
	s := &server{m: m, name: "rabbitmq", url: fmt.Sprintf("amqp://tropo:tropo@%s:5672/", m.ip())}
	if err := s.become("rabbitmq"); err != nil {
		return nil, err
	}
	file := func(name string) string { return filepath.Join(s.home(), name) }
	for name, text := range map[string]string{
		"rabbitmq.conf": "loopback_users = none\nload_definitions = " + file("definitions.json") +
			"\nheartbeat = 20\nvm_memory_high_watermark.absolute = 512MB\ndisk_free_limit.absolute = 10MB\n",
		"definitions.json": rabbitDefinitions, "enabled_plugins": "[].\n",
	} {
		if err := os.WriteFile(file(name), []byte(text), 0o644); err != nil { //nolint:gosec // read by another user
			return nil, err
		}
	}
	env := []string{
		"ERL_EPMD_ADDRESS=127.0.0.1", "RABBITMQ_NODENAME=tropo@localhost", "RABBITMQ_NODE_IP_ADDRESS=" + m.ip().String(),
		"RABBITMQ_NODE_PORT=5672", "RABBITMQ_LOG_BASE=" + s.home(), "RABBITMQ_MNESIA_BASE=" + file("mnesia"),
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + file("enabled_plugins"), "RABBITMQ_CONFIG_FILE=" + file("rabbitmq.conf"),
		"RABBITMQ_CONF_ENV_FILE=/dev/null",
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none",
	}
	epmd := s.command("/usr/bin/epmd", "-address", "127.0.0.1")
	epmd.Dir = "/" // it outlives the broker's faults
	if _, err := m.start("epmd", epmd); err != nil {
		return nil, err
	}
	s.make = func() *exec.Cmd {
		_ = os.Truncate(filepath.Join(m.dir, s.name+".out"), 0) // the answer looked for below is of this start
		c := s.command("/usr/lib/rabbitmq/bin/rabbitmq-server")
		c.Env = append(c.Env, env...)
		return c
	}
	s.check = func(context.Context) error {
		if !strings.Contains(tail(s.run.log, 50), "completed with") {
			return errors.New("it is starting")
		}
		return nil
	}
	s.wipe = func() error { return os.RemoveAll(file("mnesia")) }
	return s, s.start(ctx)
}
