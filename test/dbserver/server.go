package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/tropocloud/tropo/db"
)

// stopTimeout is how long a server may take to end before it is killed.
const stopTimeout = time.Minute

// server is one running database server.
type server struct {
	name     string
	variable string // what tells the tests its URL
	url      string
	log      string
	quit     syscall.Signal // asks it to end now
	cmd      *exec.Cmd
	ended    chan error
}

// account is who runs a server: a system user when we are root (the servers
// refuse to be root), otherwise ourselves.
type account struct{ cred *syscall.Credential }

func lookup(name, pkg string) (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return account{}, fmt.Errorf("there is no user %s; on Debian: apt-get install %s", name, pkg)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	return account{&syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, errors.Join(err1, err2)
}

// folder makes a folder that belongs to the account.
func (a account) folder(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil {
		return err
	}
	if a.cred == nil {
		return nil
	}
	return os.Chown(path, int(a.cred.Uid), int(a.cred.Gid))
}

// command prepares a program that runs as the account, in the folder.
func (a account) command(ctx context.Context, dir, path string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, path, args...)
	c.Dir = dir
	// Its own group: an interrupt at the terminal is for the tests alone.
	c.SysProcAttr = &syscall.SysProcAttr{Credential: a.cred, Setpgid: true, Pdeathsig: syscall.SIGKILL}
	c.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + dir, "TMPDIR=" + dir, "LC_ALL=C", "TZ=UTC"}
	return c
}

// prepare runs a program to its end.
func (a account) prepare(ctx context.Context, dir, path string, args ...string) error {
	if out, err := a.command(ctx, dir, path, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(path), err, out)
	}
	return nil
}

// postgres starts PostgreSQL in a folder below dir.
func postgres(ctx context.Context, dir string) (*server, error) {
	initdb, err := find("postgresql", "/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return nil, err
	}
	who, err := lookup("postgres", "postgresql")
	if err != nil {
		return nil, err
	}
	home, data := filepath.Join(dir, "pg"), filepath.Join(dir, "pg", "data")
	if err := who.folder(home); err != nil {
		return nil, err
	}
	if err := who.prepare(ctx, home, initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &server{
		name: "PostgreSQL", variable: "TROPO_TEST_POSTGRES", quit: syscall.SIGINT, log: filepath.Join(dir, "pg.log"),
		url: fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", port),
	}
	args := []string{"-D", data, "-p", strconv.Itoa(port), "-k", home}
	for _, o := range []string{
		"listen_addresses=127.0.0.1", "fsync=off", "synchronous_commit=off", "full_page_writes=off",
		"shared_buffers=32MB", "max_connections=200", "autovacuum=off", "max_wal_size=256MB", "timezone=UTC",
	} {
		args = append(args, "-c", o)
	}
	return s, s.start(who.command(context.Background(), home, filepath.Join(filepath.Dir(initdb), "postgres"), args...))
}

// mariadb starts MariaDB in a folder below dir.
func mariadb(ctx context.Context, dir string) (*server, error) {
	daemon, err := find("mariadb-server", "/usr/sbin/mariadbd")
	if err != nil {
		return nil, err
	}
	install, err := find("mariadb-server", "/usr/bin/mariadb-install-db")
	if err != nil {
		return nil, err
	}
	who, err := lookup("mysql", "mariadb-server")
	if err != nil {
		return nil, err
	}
	home, data := filepath.Join(dir, "my"), filepath.Join(dir, "my", "data")
	if err := who.folder(home); err != nil {
		return nil, err
	}
	// Its own root account is for the host name's "localhost" alone.
	grants := filepath.Join(dir, "grants.sql")
	const sql = "CREATE USER IF NOT EXISTS 'root'@'127.0.0.1';\nGRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;\n"
	if err := os.WriteFile(grants, []byte(sql), 0o644); err != nil { //nolint:gosec // the server reads it as another user
		return nil, err
	}
	if err := who.prepare(ctx, home, install, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal",
		"--skip-test-db", "--skip-name-resolve", "--innodb-flush-method=nosync"); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &server{
		name: "MariaDB", variable: "TROPO_TEST_MYSQL", quit: syscall.SIGTERM, log: filepath.Join(dir, "my.log"),
		url: fmt.Sprintf("mysql://root@127.0.0.1:%d/mysql", port),
	}
	return s, s.start(who.command(context.Background(), home, daemon, "--no-defaults", "--datadir="+data,
		"--socket="+filepath.Join(home, "sock"), "--port="+strconv.Itoa(port), "--bind-address=127.0.0.1",
		"--pid-file="+filepath.Join(home, "pid"), "--init-file="+grants, "--skip-name-resolve",
		"--innodb-flush-log-at-trx-commit=0", "--innodb-flush-method=nosync", "--innodb-doublewrite=0",
		"--innodb-buffer-pool-size=32M", "--innodb-log-file-size=32M", "--max-connections=200", "--performance-schema=0"))
}

// start starts the prepared command with its output in the log.
func (s *server) start(c *exec.Cmd) error {
	f, err := os.Create(s.log)
	if err != nil {
		return err
	}
	c.Stdout, c.Stderr = f, f
	err = errors.Join(c.Start(), f.Close())
	if c.Process == nil {
		return fmt.Errorf("start %s: %w", s.name, err)
	}
	s.cmd, s.ended = c, make(chan error, 1)
	go func() { s.ended <- c.Wait() }()
	return err
}

// await returns when the server answers.
func (s *server) await(ctx context.Context, signals <-chan os.Signal) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		d, err := db.Open(ctx, s.url)
		if err == nil {
			return d.Close()
		}
		select {
		case <-tick.C:
		case sig := <-signals:
			return fmt.Errorf("stopped by %v", sig)
		case end := <-s.ended:
			s.ended <- end
			return fmt.Errorf("%s ended at once (%v):\n%s", s.name, end, s.said())
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer within %v (%w):\n%s", s.name, startTimeout, err, s.said())
		}
	}
}

// said is the end of the server's log.
func (s *server) said() string {
	b, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4000):])
}

// stop ends the server and waits for it.
func (s *server) stop() error {
	if s == nil || s.cmd == nil {
		return nil
	}
	_ = s.cmd.Process.Signal(s.quit) // it may have ended by itself
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-s.ended:
		return nil
	case <-timer.C:
		_ = s.cmd.Process.Kill()
		<-s.ended
		return fmt.Errorf("%s did not end within %v and was killed", s.name, stopTimeout)
	}
}

// freePort finds a port below those that the kernel hands out, so that nobody
// gets it before the server does.
func freePort() (port int, err error) {
	for range 100 {
		port = 10000 + rand.N(20000) //nolint:gosec // no secret
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, err
}
