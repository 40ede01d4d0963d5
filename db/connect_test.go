package db

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tropocloud/tropo/fault"
)

func TestBoundedReads(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	c := &bounded{Conn: a, server: &server{}, limit: 20 * time.Millisecond}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || !isAway(err) {
		t.Errorf("a silent server: %v", err)
	}
	// A migration may take its time.
	c.server.slow.Add(1)
	c.limit = time.Nanosecond
	go func() { _, _ = b.Write([]byte{1}) }()
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Errorf("during a migration: %v", err)
	}
	c.server.slow.Add(-1)
	// What the driver sets stays, as the end of a statement's context.
	if err := c.SetDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	c.limit = time.Hour
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the driver's deadline: %v", err)
	}
}

// away is a connector to a server that is down until it is told.
type away struct {
	driver.Connector
	asked int
	up    bool
}

func (a *away) Connect(context.Context) (driver.Conn, error) {
	a.asked++
	if a.up {
		return nil, nil
	}
	return nil, errors.New("refused")
}

// late is a context whose time is over, and which has not told so yet.
type late struct{ context.Context }

func (late) Deadline() (time.Time, bool) { return time.Now(), true }

func TestPatientTellsAllAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // no time passes between those who ask
		a := &away{}
		p := &patient{Connector: a}
		for range 100 {
			if _, err := p.Connect(t.Context()); !fault.Is(err, fault.Unavailable) {
				t.Fatal(err)
			}
		}
		if a.asked != 1 {
			t.Errorf("the server was asked %d times", a.asked)
		}
		a.up = true
		time.Sleep(awayPause)
		if _, err := p.Connect(t.Context()); err != nil {
			t.Errorf("after it came back: %v", err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		a.up = false
		for want, ctx := range map[error]context.Context{context.Canceled: ended, context.DeadlineExceeded: late{t.Context()}} {
			if _, err := p.Connect(ctx); !errors.Is(err, want) || fault.Is(err, fault.Unavailable) {
				t.Errorf("a caller that gave up: %v, want %v", err, want)
			}
		}
		a.up = true
		if _, err := p.Connect(t.Context()); err != nil {
			t.Errorf("what another gave up must not count: %v", err)
		}
	})
}

func TestServersThatMayComeBack(t *testing.T) {
	for _, err := range []error{
		&pgconn.PgError{Code: "57P01"}, &pgconn.PgError{Code: "25006"}, &pgconn.PgError{Code: "53300"},
		&mysql.MySQLError{Number: 1047}, &mysql.MySQLError{Number: 1290}, mysql.ErrInvalidConn,
	} {
		if !fault.Is(mapError(err), fault.Unavailable) {
			t.Errorf("%v", err)
		}
	}
	for _, err := range []error{&pgconn.PgError{Code: "42601"}, &mysql.MySQLError{Number: 1064}} {
		if fault.Is(mapError(err), fault.Unavailable) {
			t.Errorf("%v", err)
		}
	}
	// A certification conflict of Galera is a deadlock: the transaction runs again.
	if !retryable(&mysql.MySQLError{Number: 1213}) {
		t.Error("Galera's conflicts")
	}
}

// listen is a server that says one thing to whoever connects, after it has heard
// something where hears is set.
func listen(t *testing.T, hears bool, says []byte) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-ended })
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if hears {
				_, _ = c.Read(make([]byte, 4096))
			}
			_, _ = c.Write(says)
			_ = c.Close()
		}
	}()
	return l.Addr().String()
}

// postgresError is an ErrorResponse of PostgreSQL's protocol, mysqlError an
// ERR_Packet of MySQL's.
func postgresError(code, text string) []byte {
	b := []byte("SFATAL\x00VFATAL\x00C" + code + "\x00M" + text + "\x00\x00")
	return append(binary.BigEndian.AppendUint32([]byte{'E'}, uint32(len(b)+4)), b...)
}

func mysqlError(code uint16, text string) []byte {
	b := append(binary.LittleEndian.AppendUint16([]byte{0xff}, code), "#HY000"+text...)
	return append([]byte{byte(len(b)), 0, 0, 0}, b...)
}

// TestOpenTellsAwayFromRefused: one waits for a server that starts, and not for
// one that does not know the password.
func TestOpenTellsAwayFromRefused(t *testing.T) {
	for _, x := range []struct {
		url  string
		away bool
		says string
	}{
		{"postgres://u:secret@127.0.0.1:1/x?sslmode=disable", true, "out of reach"},
		{"mysql://u:secret@127.0.0.1:1/x", true, "out of reach"},
		{"mysql://u:secret@/x?socket=" + t.TempDir() + "/no.sock", true, "out of reach"},
		{"postgres://u:secret@" + listen(t, true, postgresError("57P03", "the database system is starting up")) + "/x?sslmode=disable", true, "starting up"},
		{"postgres://u:secret@" + listen(t, true, postgresError("28P01", "password authentication failed")) + "/x?sslmode=disable", false, "password authentication failed"},
		{"postgres://u:secret@" + listen(t, true, postgresError("3D000", "database does not exist")) + "/x?sslmode=disable", false, "does not exist"},
		{"postgres://u:secret@" + listen(t, true, nil) + "/x?sslmode=disable", true, "out of reach"},
		{"mysql://u:secret@" + listen(t, false, mysqlError(1045, "Access denied")) + "/x", false, "Access denied"},
		{"mysql://u:secret@" + listen(t, false, mysqlError(1040, "Too many connections")) + "/x", true, "Too many"},
		{"mysql://u:secret@" + listen(t, false, nil) + "/x", true, "out of reach"},
		{"postgres://u:secret@h:port/x", false, ""},
		{"nothing", false, "scheme"},
	} {
		_, err := Open(t.Context(), x.url)
		if err == nil || errors.Is(err, ErrAway) != x.away || !strings.Contains(err.Error(), x.says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: away %t: %v", x.url, errors.Is(err, ErrAway), err)
		}
	}
	silent := &patient{Connector: hanging{}}
	synctest.Test(t, func(t *testing.T) {
		if _, err := silent.Connect(t.Context()); !errors.Is(err, ErrAway) {
			t.Errorf("a server that says nothing: %v", err)
		}
	})
}

// hanging is a server that never answers.
type hanging struct{ driver.Connector }

func (hanging) Connect(ctx context.Context) (driver.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
