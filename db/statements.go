package db

import (
	"container/list"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
)

// maxStatements bounds how many prepared statements a connection keeps, and
// maxStatementText how long the text of one may be, in bytes.
const (
	maxStatements    = 64
	maxStatementText = 4096
)

// preparing makes connections to SQLite that keep the statements they have
// prepared. Parsing and planning a statement costs SQLite more than running a
// typical one, and database/sql prepares anew for each call.
type preparing struct{ driver.Connector }

func (p preparing) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := p.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	full, ok := c.(fullConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("the SQLite driver's connection %T lacks methods", c), c.Close())
	}
	return &stmtConn{fullConn: full, byText: map[string]*list.Element{}}, nil
}

// fullConn is what database/sql makes use of in SQLite's connection.
type fullConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// fullStmt is what it makes use of in a statement.
type fullStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// stmtConn is a connection with its prepared statements, the one used last in
// front. A statement in use is not among them: the same text meanwhile gets a
// second one. database/sql lets one goroutine at a time use a connection and
// the rows that came of it.
type stmtConn struct {
	fullConn
	byText map[string]*list.Element
	recent list.List // of kept
}

var _ fullConn = (*stmtConn)(nil)

type kept struct {
	text string
	stmt fullStmt
}

// keeps reports whether a statement is of the kind that comes again: not what
// changes the schema or the connection.
func keeps(text string) bool {
	if len(text) > maxStatementText {
		return false
	}
	verb, _, _ := strings.Cut(strings.TrimLeft(text, " \t\n"), " ")
	switch verb {
	case "SELECT", "INSERT", "UPDATE", "DELETE":
		return true
	}
	return false
}

// take returns a statement for its user alone.
func (c *stmtConn) take(ctx context.Context, text string) (fullStmt, error) {
	if e := c.byText[text]; e != nil {
		delete(c.byText, text)
		return c.recent.Remove(e).(kept).stmt, nil
	}
	s, err := c.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	full, ok := s.(fullStmt)
	if !ok {
		return nil, errors.Join(fmt.Errorf("the SQLite driver's statement %T lacks methods", s), s.Close())
	}
	return full, nil
}

// give takes a statement back that went well. That it does not end well any
// more changes nothing of what it did.
func (c *stmtConn) give(text string, s fullStmt) {
	if c.byText[text] != nil {
		_ = s.Close()
		return
	}
	c.byText[text] = c.recent.PushFront(kept{text, s})
	if c.recent.Len() <= maxStatements {
		return
	}
	oldest := c.recent.Remove(c.recent.Back()).(kept)
	delete(c.byText, oldest.text)
	_ = oldest.stmt.Close()
}

func (c *stmtConn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	if !keeps(text) {
		return c.fullConn.ExecContext(ctx, text, args)
	}
	s, err := c.take(ctx, text)
	if err != nil {
		return nil, err
	}
	res, err := s.ExecContext(ctx, args)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	c.give(text, s)
	return res, nil
}

func (c *stmtConn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	if !keeps(text) {
		return c.fullConn.QueryContext(ctx, text, args)
	}
	s, err := c.take(ctx, text)
	if err != nil {
		return nil, err
	}
	rows, err := s.QueryContext(ctx, args)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &stmtRows{Rows: rows, c: c, text: text, stmt: s}, nil
}

// Close ends the statements and the connection.
func (c *stmtConn) Close() error {
	var errs []error
	for e := c.recent.Front(); e != nil; e = e.Next() {
		errs = append(errs, e.Value.(kept).stmt.Close())
	}
	c.recent.Init()
	clear(c.byText)
	return errors.Join(append(errs, c.fullConn.Close())...)
}

// stmtRows gives the statement back when its rows have been read.
type stmtRows struct {
	driver.Rows
	c    *stmtConn
	text string
	stmt fullStmt
}

// Close ends the rows; a second time it does nothing.
func (r *stmtRows) Close() error {
	if r.stmt == nil {
		return nil
	}
	s := r.stmt
	r.stmt = nil
	if err := r.Rows.Close(); err != nil {
		return errors.Join(err, s.Close())
	}
	r.c.give(r.text, s)
	return nil
}
