// Package db is SQL on SQLite, PostgreSQL and MySQL/MariaDB behind one small
// API: open, transaction with retry, bound arguments, struct scan by `db`
// tags, a where builder, keyset paging, migrations with type macros.
//
// A transaction travels in the context: every call of this package made with
// the context that Tx hands out joins it. Statements are written with `?`
// placeholders and are the same text for all three engines; column names that
// are reserved words anywhere (key, group, user, order …) are avoided.
package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"
	"modernc.org/sqlite"
)

// Dialect names an engine.
type Dialect string

// The engines.
const (
	SQLite     Dialect = "sqlite"
	PostgreSQL Dialect = "postgres"
	MySQL      Dialect = "mysql"
)

// DB is one service's database. It is safe for concurrent use.
type DB struct {
	dialect Dialect
	write   *sql.DB
	read    *sql.DB // equals write except on SQLite
	server  *server // nil on SQLite

	gate     chan struct{} // SQLite: held by the one who writes
	gateWait time.Duration
	ended    *atomic.Bool // of a view: it was closed
}

// Open opens the database at a URL and checks that it answers; one that does not
// is ErrAway:
//
//	sqlite:/path/to/file.db          one file, WAL, synchronous=FULL
//	postgres://user:pw@host/name     as pgx reads it
//	mysql://user:pw@host:3306/name   or mysql://user@/name?socket=/path,
//	                                 with &tls=true for TLS
func Open(ctx context.Context, rawURL string) (*DB, error) {
	scheme, rest, ok := strings.Cut(rawURL, ":")
	if !ok {
		return nil, fmt.Errorf("the database URL has no scheme: write sqlite:/path, postgres://… or mysql://…")
	}
	var d *DB
	var err error
	switch scheme {
	case "sqlite":
		d, err = openSQLite(strings.TrimPrefix(rest, "//"))
	case "postgres", "postgresql":
		var c *sql.DB
		srv := &server{}
		if c, err = openPostgres(rawURL, srv); err == nil {
			d = openOne(PostgreSQL, c, srv)
		}
	case "mysql":
		d, err = openMySQL(rawURL)
	default:
		return nil, fmt.Errorf("database URL scheme %q is not one of sqlite, postgres, mysql", scheme)
	}
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := d.write.PingContext(ctx); err != nil {
		_ = d.Close()
		return nil, fmt.Errorf("reach database: %w", err)
	}
	return d, nil
}

func openSQLite(path string) (*DB, error) {
	q := "_pragma=busy_timeout(10000)&_pragma=foreign_keys(1)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=temp_store(MEMORY)&_pragma=cache_size(-2000)"
	// The path is part of a URI: ?, # and % must not end or change it.
	path = (&url.URL{Path: path}).EscapedPath()
	wc, err := sqlite.NewConnector("file:" + path + "?" + q + "&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	rc, err := sqlite.NewConnector("file:" + path + "?" + q + "&_pragma=query_only(1)")
	if err != nil {
		return nil, err
	}
	w := sql.OpenDB(preparing{wc})
	// One writer: SQLite has one anyway, and a queue in Go is fairer than
	// its busy loop.
	w.SetMaxOpenConns(1)
	w.SetConnMaxLifetime(0)
	r := sql.OpenDB(preparing{rc})
	r.SetMaxOpenConns(8)
	// To open a connection costs more than many queries: those of a busy time
	// stay until it is over.
	r.SetMaxIdleConns(8)
	r.SetConnMaxIdleTime(time.Minute)
	return &DB{dialect: SQLite, write: w, read: r, gate: make(chan struct{}, 1), gateWait: gateTimeout}, nil
}

func openOne(dialect Dialect, c *sql.DB, s *server) *DB {
	c.SetMaxOpenConns(16)
	c.SetMaxIdleConns(4)
	c.SetConnMaxIdleTime(time.Minute)
	return &DB{dialect: dialect, write: c, read: c, server: s}
}

// readCommitted sets each new connection's isolation level by a statement
// that MySQL and every MariaDB know (the name of the variable differs), and
// idleInTransaction, which MariaDB alone has: its kind of comment hides it
// from MySQL.
type readCommitted struct{ driver.Connector }

func (r readCommitted) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := r.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	x, ok := c.(driver.ExecerContext)
	if !ok {
		return nil, errors.Join(errors.New("the MySQL driver cannot set the isolation level"), c.Close())
	}
	for _, set := range []string{
		"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
		"SET SESSION /*M!100300 idle_transaction_timeout = " + strconv.Itoa(idleInTransaction) + ", */ lock_wait_timeout = 60",
	} {
		if _, err := x.ExecContext(ctx, set, nil); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", set, err), c.Close())
		}
	}
	return c, nil
}

func openMySQL(raw string) (*DB, error) {
	u, err := url.Parse(raw)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // without the URL, which holds a password
		}
		return nil, err
	}
	c := mysql.NewConfig()
	srv := &server{}
	c.Timeout, c.DialFunc = connectTimeout, srv.dial
	c.User = u.User.Username()
	c.Passwd, _ = u.User.Password()
	c.Net, c.Addr = "tcp", u.Host
	if s := u.Query().Get("socket"); s != "" {
		c.Net, c.Addr = "unix", s
	}
	c.DBName = strings.TrimPrefix(u.Path, "/")
	c.TLSConfig = u.Query().Get("tls")
	c.ParseTime = true
	c.Loc = time.UTC
	// Without it an UPDATE that changes nothing reports 0 rows.
	c.ClientFoundRows = true
	c.Collation = "utf8mb4_bin"
	c.Params = map[string]string{"sql_mode": "'STRICT_ALL_TABLES,NO_ZERO_DATE,ANSI_QUOTES'"}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	return openOne(MySQL, sql.OpenDB(&patient{Connector: readCommitted{connector}}), srv), nil
}

// Dialect returns the engine.
func (d *DB) Dialect() Dialect { return d.dialect }

// Close closes all connections.
func (d *DB) Close() error {
	if d.ended != nil {
		d.ended.Store(true)
		return nil
	}
	if d.read != d.write {
		return errors.Join(d.read.Close(), d.write.Close())
	}
	return d.write.Close()
}

// Ping checks that the database answers; for health checks.
func (d *DB) Ping(ctx context.Context) error { return d.write.PingContext(ctx) }

// bind turns `?` placeholders into the engine's and arguments into values
// that every engine stores alike.
func (d *DB) bind(query string, args []any) (string, []any) {
	args = slices.Clone(args) // the caller's own may be used again
	for i, a := range args {
		args[i] = d.value(a)
	}
	if d.dialect != PostgreSQL {
		return query, args
	}
	var b strings.Builder
	n, quoted := 0, false
	for _, c := range query {
		switch {
		case c == '\'':
			quoted = !quoted
			b.WriteRune(c)
		case c == '?' && !quoted:
			n++
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(n))
		default:
			b.WriteRune(c)
		}
	}
	return b.String(), args
}

// sqliteTime sorts as text in time order.
const sqliteTime = "2006-01-02 15:04:05.000000"

// value normalises times to UTC microseconds.
func (d *DB) value(a any) any {
	switch t := a.(type) {
	case time.Time:
		if d.dialect == SQLite {
			return t.UTC().Format(sqliteTime)
		}
		return t.UTC().Truncate(time.Microsecond)
	case *time.Time:
		if t == nil {
			return nil
		}
		return d.value(*t)
	}
	return a
}

// Now is the current time as the database keeps it: UTC, microseconds.
func Now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
