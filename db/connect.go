package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"golang.org/x/sys/unix"

	"github.com/tropocloud/tropo/fault"
)

const (
	// connectTimeout bounds how long a server may take to let us in.
	connectTimeout = 5 * time.Second
	// silence is after what time without a sign of the server's host what was
	// sent to it counts as lost.
	silence = 15 * time.Second
	// answer bounds how long a server may take for one statement: one that
	// hangs must not hang who asks it.
	answer = 30 * time.Second
	// awayPause is how long nobody tries to connect after a failure: all who
	// wait for a connection learn of it at once, and not one after the other.
	awayPause = 500 * time.Millisecond
)

// server is what the connections to one share.
type server struct {
	// slow counts works under way whose statements may take any time, as
	// migrations.
	slow atomic.Int32
}

// dial connects so that a host that has vanished is noticed within a bounded
// time, also by who waits for an answer.
func (s *server) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{
		Timeout:         connectTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 2},
	}
	if network != "unix" {
		d.Control = func(_, _ string, c syscall.RawConn) error {
			var err error
			if e := c.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silence/time.Millisecond))
			}); e != nil {
				return e
			}
			return err
		}
	}
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &bounded{Conn: c, server: s, limit: answer}, nil
}

// bounded is a connection on which nobody waits longer than limit for the
// other side, unless the driver says how long.
type bounded struct {
	net.Conn
	server *server
	limit  time.Duration

	mu  sync.Mutex
	set bool // the driver has set a deadline
}

// Read implements net.Conn.
func (b *bounded) Read(p []byte) (int, error) {
	b.mu.Lock()
	if !b.set {
		until := time.Time{}
		if b.server.slow.Load() == 0 {
			until = time.Now().Add(b.limit)
		}
		if err := b.Conn.SetReadDeadline(until); err != nil {
			b.mu.Unlock()
			return 0, err
		}
	}
	b.mu.Unlock()
	return b.Conn.Read(p)
}

// SyscallConn lets the driver see whether an idle connection was closed.
func (b *bounded) SyscallConn() (syscall.RawConn, error) {
	c, ok := b.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return c.SyscallConn()
}

// SetDeadline implements net.Conn.
func (b *bounded) SetDeadline(t time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.set = !t.IsZero()
	return b.Conn.SetDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (b *bounded) SetReadDeadline(t time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.set = !t.IsZero()
	return b.Conn.SetReadDeadline(t)
}

func openPostgres(rawURL string, s *server) (*sql.DB, error) {
	c, err := pgx.ParseConfig(rawURL)
	if err != nil {
		return nil, err
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectTimeout
	}
	c.DialFunc = s.dial
	return sql.OpenDB(&patient{Connector: stdlib.GetConnector(*c, stdlib.OptionAfterConnect(boundIdle))}), nil
}

// idleInTransaction bounds in seconds how long the server waits for the next
// statement of a transaction: a process that is cut off or stands still would
// keep all others from the rows it had locked. No transaction waits for
// anything but the database.
const idleInTransaction = 5

// boundIdle is a statement and not a parameter of the connection, which
// poolers between us and the server refuse.
func boundIdle(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, "SET idle_in_transaction_session_timeout = '"+strconv.Itoa(idleInTransaction)+"s'")
	return err
}

// patient is a connector that does not hammer a server that is away, and whose
// errors say so.
type patient struct {
	driver.Connector

	mu    sync.Mutex
	err   error
	until time.Time
}

// over returns why a context has ended, or is to end at this moment: a
// connection may learn that the time is over before the context tells it.
func over(ctx context.Context) error {
	if until, ok := ctx.Deadline(); ok && !time.Now().Before(until) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// Connect implements driver.Connector.
func (p *patient) Connect(ctx context.Context) (driver.Conn, error) {
	p.mu.Lock()
	err, until := p.err, p.until
	p.mu.Unlock()
	if err != nil && time.Now().Before(until) {
		return nil, err
	}
	limit, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	c, err := p.Connector.Connect(limit)
	if end := over(ctx); err != nil && end != nil { // the caller's end tells nothing of the server
		return nil, fmt.Errorf("%w: %w", end, err)
	}
	if err != nil && limit.Err() != nil {
		err = fmt.Errorf("no answer within %s: %v: %w", connectTimeout, err, os.ErrDeadlineExceeded) //nolint:errorlint // the end of limit is not the caller's
	}
	switch {
	case err == nil:
	case isAway(err):
		err = fault.Wrap(fault.Unavailable, awayError{err}, "The database is out of reach; try again.")
	default:
		err = fault.Wrap(fault.Unavailable, err, "The database refuses the connection.")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err, p.until = err, time.Now().Add(awayPause)
	return c, err
}
