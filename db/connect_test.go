package db

import (
	"context"
	"database/sql/driver"
	"errors"
	"net"
	"os"
	"testing"
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

func TestPatientTellsAllAtOnce(t *testing.T) {
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
	a.up, p.until = true, time.Now()
	if _, err := p.Connect(t.Context()); err != nil {
		t.Errorf("after it came back: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	a.up = false
	if _, err := p.Connect(ended); err == nil || fault.Is(err, fault.Unavailable) {
		t.Errorf("a caller that gave up: %v", err)
	}
	a.up = true
	if _, err := p.Connect(t.Context()); err != nil {
		t.Errorf("what another gave up must not count: %v", err)
	}
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
