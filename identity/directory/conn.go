package directory

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// ErrDown says that no server of the directory could be asked: it is not
// there, does not answer in time, or does not take our own bind.
var ErrDown = errors.New("the directory does not answer")

// Directory is an LDAP server with its connections. It is safe for concurrent
// use.
type Directory struct {
	cfg   *Config
	slots chan struct{} // bounds connections in use
	auth  chan struct{} // bounds binds of users
	idle  chan *pooled
}

type pooled struct {
	*ldap.Conn
	until time.Time
}

// New uses a directory; no connection is made before it is asked.
func New(c *Config) *Directory {
	n := max(c.PoolSize, 1)
	return &Directory{cfg: c, slots: make(chan struct{}, n), auth: make(chan struct{}, max(c.AuthPoolSize, 1)), idle: make(chan *pooled, n)}
}

// Close drops the idle connections.
func (d *Directory) Close() {
	for {
		select {
		case c := <-d.idle:
			_ = c.Close()
		default:
			return
		}
	}
}

// take waits for a place among those that talk to the server.
func take(ctx context.Context, slots chan struct{}, limit time.Duration) (free func(), err error) {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-t.C:
		return nil, fmt.Errorf("%w: all connections are in use", ErrDown)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// with runs f on a connection that is bound as the configuration says. One
// from the pool that turns out to be dead is replaced once.
func (d *Directory) with(ctx context.Context, f func(c *ldap.Conn) error) error {
	free, err := take(ctx, d.slots, d.cfg.Timeout)
	if err != nil {
		return err
	}
	defer free()
	for {
		c, reused, err := d.conn(ctx)
		if err != nil {
			return err
		}
		err = f(c.Conn)
		if !broken(err) {
			d.put(c)
			return err
		}
		_ = c.Close()
		if !reused {
			return fmt.Errorf("%w: %w", ErrDown, err)
		}
	}
}

// broken reports whether an error says nothing about the request but that the
// server could not be asked.
func broken(err error) bool {
	return ldap.IsErrorAnyOf(err, ldap.ErrorNetwork, ldap.LDAPResultBusy, ldap.LDAPResultUnavailable, ldap.LDAPResultTimeLimitExceeded,
		ldap.LDAPResultUnwillingToPerform, ldap.LDAPResultServerDown, ldap.LDAPResultTimeout, ldap.LDAPResultConnectError)
}

func (d *Directory) conn(ctx context.Context) (c *pooled, reused bool, err error) {
	for {
		select {
		case c := <-d.idle:
			if !c.IsClosing() && time.Now().Before(c.until) {
				return c, true, nil
			}
			_ = c.Close()
			continue
		default:
		}
		break
	}
	l, err := d.dial(ctx)
	if err != nil {
		return nil, false, err
	}
	if d.cfg.BindDN != "" {
		if err := l.Bind(d.cfg.BindDN, d.cfg.BindPassword); err != nil {
			_ = l.Close()
			return nil, false, fmt.Errorf("%w: bind: %w", ErrDown, err)
		}
	}
	return &pooled{l, time.Now().Add(d.cfg.Lifetime)}, false, nil
}

func (d *Directory) put(c *pooled) {
	select {
	case d.idle <- c:
	default:
		_ = c.Close()
	}
}

// dial connects to the first server that answers.
func (d *Directory) dial(ctx context.Context) (*ldap.Conn, error) {
	var errs []error
	for _, s := range d.cfg.URLs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c, err := d.dialOne(ctx, s)
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("%w: %w", ErrDown, errors.Join(errs...))
}

func (d *Directory) dialOne(ctx context.Context, addr string) (*ldap.Conn, error) {
	u, err := url.Parse(addr)
	if err != nil {
		return nil, err
	}
	tc, err := d.cfg.tls(u.Hostname())
	if err != nil {
		return nil, err
	}
	nd := &net.Dialer{Timeout: d.cfg.Dial}
	if until, ok := ctx.Deadline(); ok {
		nd.Deadline = until
	}
	c, err := ldap.DialURL(strings.ToLower(u.Scheme)+addr[len(u.Scheme):], ldap.DialWithDialer(nd), ldap.DialWithTLSConfig(tc))
	if err != nil {
		return nil, err
	}
	c.SetTimeout(d.cfg.Timeout)
	if d.cfg.StartTLS {
		if err := c.StartTLS(tc); err != nil {
			_ = c.Close()
			return nil, err
		}
	}
	return c, nil
}

// Bind reports whether a password is that of an entry. An empty password is
// always wrong: a server would take it for an anonymous bind (RFC 4513,
// section 5.1.2) and answer that all is well.
func (d *Directory) Bind(ctx context.Context, dn, password string) (bool, error) {
	if dn == "" || password == "" {
		return false, nil
	}
	free, err := take(ctx, d.auth, d.cfg.Timeout)
	if err != nil {
		return false, err
	}
	defer free()
	c, err := d.dial(ctx)
	if err != nil {
		return false, err
	}
	defer func() { _ = c.Close() }()
	switch err = c.Bind(dn, password); {
	case err == nil:
		return true, nil
	case broken(err) && !ldap.IsErrorWithCode(err, ldap.LDAPResultUnwillingToPerform):
		return false, fmt.Errorf("%w: %w", ErrDown, err)
	}
	var le *ldap.Error
	if errors.As(err, &le) {
		return false, nil // wrong password, locked, expired, no such entry
	}
	return false, err
}

// BindNobody costs what Bind costs for an entry that does not exist, so that
// an answer's time does not tell which users there are.
func (d *Directory) BindNobody(ctx context.Context, password string) error {
	_, err := d.Bind(ctx, d.cfg.User.ID+"=nobody-at-all,"+d.cfg.User.Base, password)
	return err
}
