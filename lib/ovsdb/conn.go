package ovsdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// ErrDisconnected says that the connection was lost before a reply came. A
// transaction may or may not have been committed.
var ErrDisconnected = errors.New("ovsdb: disconnected")

// maxMessage bounds one message from the server, in bytes.
const maxMessage = 1 << 30

// writeTimeout bounds the wait for a server that does not read.
const writeTimeout = 30 * time.Second

// message is any JSON-RPC 1.0 message.
type message struct {
	ID     any             `json:"id"`
	Method string          `json:"method,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  json.RawMessage `json:"error,omitempty"`
}

// conn is one JSON-RPC connection.
type conn struct {
	c      net.Conn
	notify func(method string, params json.RawMessage) error

	writing sync.Mutex

	mu      sync.Mutex
	next    uint64
	pending map[uint64]*call
	err     error
	done    chan struct{}
}

// call is a request that waits for its reply. hook, when set, sees the result
// in the reading goroutine, before any later message.
type call struct {
	hook  func(json.RawMessage) error
	reply chan message
}

func newConn(c net.Conn, notify func(string, json.RawMessage) error) *conn {
	return &conn{c: c, notify: notify, pending: map[uint64]*call{}, done: make(chan struct{})}
}

// read handles messages until the connection ends.
func (c *conn) read() {
	limited := &io.LimitedReader{R: c.c}
	dec := json.NewDecoder(limited)
	for {
		limited.N = maxMessage
		var m message
		if err := dec.Decode(&m); err != nil {
			c.close(err)
			return
		}
		if err := c.handle(m); err != nil {
			c.close(err)
			return
		}
	}
}

func (c *conn) handle(m message) error {
	switch {
	case m.Method == "echo" && m.ID != nil:
		return c.write(struct {
			ID     any             `json:"id"`
			Result json.RawMessage `json:"result"`
			Error  any             `json:"error"`
		}{m.ID, m.Params, nil})
	case m.Method != "":
		return c.notify(m.Method, m.Params)
	}
	id, ok := m.ID.(float64)
	if !ok {
		return nil
	}
	c.mu.Lock()
	w := c.pending[uint64(id)]
	delete(c.pending, uint64(id))
	c.mu.Unlock()
	if w == nil {
		return nil // its caller gave up
	}
	if w.hook != nil && isNull(m.Error) {
		if err := w.hook(m.Result); err != nil {
			return err
		}
	}
	w.reply <- m
	return nil
}

func isNull(m json.RawMessage) bool { return len(m) == 0 || string(m) == "null" }

func (c *conn) write(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.c.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err = c.c.Write(b)
	return err
}

// call sends a request and waits for the reply, the end of ctx or of the
// connection.
func (c *conn) call(ctx context.Context, method string, params any, hook func(json.RawMessage) error) (json.RawMessage, error) {
	w := &call{hook: hook, reply: make(chan message, 1)}
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return nil, fmt.Errorf("%w: %w", ErrDisconnected, c.err)
	}
	c.next++
	id := c.next
	c.pending[id] = w
	c.mu.Unlock()
	request := struct {
		ID     uint64 `json:"id"`
		Method string `json:"method"`
		Params any    `json:"params"`
	}{id, method, params}
	if err := c.write(request); err != nil {
		c.forget(id)
		var netErr net.Error
		if errors.As(err, &netErr) || errors.Is(err, net.ErrClosed) {
			c.close(err) // part of a message may be out: the stream is spoilt
			return nil, fmt.Errorf("%w: %w", ErrDisconnected, err)
		}
		return nil, fmt.Errorf("ovsdb: send %s: %w", method, err)
	}
	outcome := func(m message) (json.RawMessage, error) {
		if !isNull(m.Error) {
			return nil, rpcError(m.Error)
		}
		return m.Result, nil
	}
	select {
	case m := <-w.reply:
		return outcome(m)
	case <-c.done:
		select {
		case m := <-w.reply: // came before the end
			return outcome(m)
		default:
		}
		return nil, fmt.Errorf("%w: %w", ErrDisconnected, c.cause())
	case <-ctx.Done():
		c.forget(id)
		return nil, fmt.Errorf("ovsdb: %s: %w", method, ctx.Err())
	}
}

func (c *conn) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, id)
}

func (c *conn) cause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *conn) close(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	close(c.done)
	c.c.Close()
}

// rpcError reads a JSON-RPC error: an <error> object or a bare string.
func rpcError(raw json.RawMessage) error {
	var o struct {
		Error   string `json:"error"`
		Details string `json:"details"`
	}
	if err := json.Unmarshal(raw, &o); err != nil || o.Error == "" {
		return &Error{Name: strings.Trim(string(raw), `"`), Op: -1}
	}
	return &Error{Name: o.Error, Details: o.Details, Op: -1}
}
