package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"

	"github.com/tropocloud/tropo/fault"
)

// ErrNoRows is what Get returns (wrapped in nothing) when no row matches; a
// store turns it into its own fault, as in fault.Missing("Server", id).
var ErrNoRows = sql.ErrNoRows

// ErrAway is what errors are (errors.Is) that tell that the engine cannot be
// reached, is starting or stopping, or takes no more connections: what may pass
// by itself. One that answers and refuses, as for a wrong password, is not away.
var ErrAway = errors.New("the database is away")

// awayError marks an error as ErrAway and reads as it did.
type awayError struct{ err error }

func (a awayError) Error() string        { return a.err.Error() }
func (a awayError) Unwrap() error        { return a.err }
func (a awayError) Is(target error) bool { return target == ErrAway }

// sqlite extended result codes.
const (
	sqliteBusy       = 5
	sqliteLocked     = 6
	sqliteForeignKey = 787
	sqlitePrimaryKey = 1555
	sqliteUnique     = 2067
	sqliteRowID      = 2579
	sqliteTrigger    = 1811
)

// IsUnique reports whether err is a violated unique constraint or primary key.
func IsUnique(err error) bool {
	var l *sqlite.Error
	if errors.As(err, &l) {
		c := l.Code()
		return c == sqlitePrimaryKey || c == sqliteUnique || c == sqliteRowID
	}
	var p *pgconn.PgError
	if errors.As(err, &p) {
		return p.Code == "23505"
	}
	var m *mysql.MySQLError
	return errors.As(err, &m) && m.Number == 1062
}

// IsForeignKey reports whether err is a violated foreign key.
func IsForeignKey(err error) bool {
	var l *sqlite.Error
	if errors.As(err, &l) {
		return l.Code() == sqliteForeignKey || l.Code() == sqliteTrigger
	}
	var p *pgconn.PgError
	if errors.As(err, &p) {
		return p.Code == "23503" || p.Code == "23001"
	}
	var m *mysql.MySQLError
	return errors.As(err, &m) && (m.Number == 1451 || m.Number == 1452)
}

// retryable reports whether the engine ended a transaction for a conflict
// with another, so that running it again may succeed.
func retryable(err error) bool {
	var l *sqlite.Error
	if errors.As(err, &l) {
		c := l.Code() & 0xff
		return c == sqliteBusy || c == sqliteLocked
	}
	var p *pgconn.PgError
	if errors.As(err, &p) {
		// The last: a table was migrated under a prepared statement, which
		// the driver forgets on this error.
		return p.Code == "40001" || p.Code == "40P01" || p.Code == "0A000" && strings.HasPrefix(p.Message, "cached plan")
	}
	var m *mysql.MySQLError
	return errors.As(err, &m) && (m.Number == 1213 || m.Number == 1205)
}

// isUnstorable reports whether the engine refused a value for what it is: too
// long for its column, out of range, or no text (PostgreSQL takes no NUL).
func isUnstorable(err error) bool {
	var p *pgconn.PgError
	if errors.As(err, &p) {
		return p.Code == "22001" || p.Code == "22003" || p.Code == "22021"
	}
	var m *mysql.MySQLError
	return errors.As(err, &m) && (m.Number == 1406 || m.Number == 1264 || m.Number == 1366)
}

// mapError gives constraint violations and values that cannot be stored a
// kind, so that one that a store did not foresee still answers 409 or 400 and
// not 500.
func mapError(err error) error {
	if err == nil || errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if IsUnique(err) {
		return fault.Wrap(fault.Conflict, err, "A resource with these values exists already.")
	}
	if IsForeignKey(err) {
		return fault.Wrap(fault.Conflict, err, "The resource is in use, or refers to one that does not exist.")
	}
	if isUnstorable(err) {
		return fault.Wrap(fault.Invalid, err, "The request holds a value that is too long, too large or no text.")
	}
	if isAway(err) {
		return fault.Wrap(fault.Unavailable, awayError{err}, "The database is out of reach; try again.")
	}
	return err
}

// isAway reports whether an engine's error is one of ErrAway.
func isAway(err error) bool {
	var p *pgconn.PgError
	if errors.As(err, &p) { // classes: connection, resources, operator intervention
		return strings.HasPrefix(p.Code, "08") || strings.HasPrefix(p.Code, "53") || strings.HasPrefix(p.Code, "57P") ||
			p.Code == "25P03" || // see idleInTransaction
			p.Code == "25006" // read-only: no (longer the) primary
	}
	var m *mysql.MySQLError
	if errors.As(err, &m) {
		switch m.Number {
		case 1040, 1053, 1203, // too many connections, shutdown
			1047,       // a node of Galera that is not (or no longer) of the primary component
			1290, 1836: // read-only: no (longer the) primary
			return true
		}
		return false
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false // the caller's
	}
	var n net.Error
	return errors.As(err, &n) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT)
}
