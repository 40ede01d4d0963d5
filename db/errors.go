package db

import (
	"database/sql"
	"errors"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"

	"github.com/tropocloud/tropo/fault"
)

// ErrNoRows is what Get returns (wrapped in nothing) when no row matches; a
// store turns it into its own fault, as in fault.Missing("Server", id).
var ErrNoRows = sql.ErrNoRows

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
		return p.Code == "40001" || p.Code == "40P01"
	}
	var m *mysql.MySQLError
	return errors.As(err, &m) && (m.Number == 1213 || m.Number == 1205)
}

// mapError gives constraint violations a kind, so that one that a store did
// not foresee still answers 409 and not 500.
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
	return err
}
