// Package qmp speaks the QEMU Machine Protocol to one QEMU process over a
// unix socket.
//
// The protocol (QEMU documentation, "QEMU Machine Protocol Specification") is
// JSON, one message a line: a greeting, the command qmp_capabilities, then
// commands with ids, their replies, and events at any time. A QEMU monitor
// serves one client at a time; a second one waits in the listen queue and sees
// no greeting until the first has gone, so every wait is bound to a context.
package qmp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// MaxLine bounds one message from QEMU in bytes. A peer that sends a longer
// line is cut off: the longest honest answers (query-qmp-schema) are about
// 200 KiB.
const MaxLine = 8 << 20

// ErrClosed says that the connection is gone: QEMU ended, or Close was called.
var ErrClosed = errors.New("qmp: connection closed")

// Error is a command's failure as QEMU reports it.
type Error struct {
	Class string // "GenericError", "CommandNotFound", "DeviceNotFound", …
	Desc  string // for people; may name files of the host
}

// Error returns class and description.
func (e *Error) Error() string { return "qmp: " + e.Class + ": " + e.Desc }

// IsClass reports whether err is a QMP error of this class.
func IsClass(err error, class string) bool {
	var e *Error
	return errors.As(err, &e) && e.Class == class
}

// Version is QEMU's version from the greeting.
type Version struct {
	Major, Minor, Micro int
}

// Client is a negotiated QMP connection. Its methods are safe for concurrent
// use; replies are matched by id.
type Client struct {
	conn    net.Conn
	version Version
	done    chan struct{}

	write sync.Mutex // one message at a time on the wire

	mu      sync.Mutex
	err     error // why the connection ended
	next    uint64
	pending map[string]chan reply
	subs    map[*Subscription]struct{}
}

type reply struct {
	result json.RawMessage
	err    error
}

type message struct {
	QMP *struct {
		Version struct {
			QEMU Version `json:"qemu"`
		} `json:"version"`
	} `json:"QMP"`
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`
	ID        string          `json:"id"`
	Event     string          `json:"event"`
	Data      json.RawMessage `json:"data"`
	Timestamp struct {
		Seconds      int64 `json:"seconds"`
		Microseconds int64 `json:"microseconds"`
	} `json:"timestamp"`
}

// Dial connects to the monitor socket at path and negotiates.
func Dial(ctx context.Context, path string) (*Client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("qmp: %w", err)
	}
	return New(ctx, conn)
}

// New negotiates over conn and owns it from then on: it is closed when the
// negotiation fails or the client ends. The context bounds the negotiation
// only.
func New(ctx context.Context, conn net.Conn) (*Client, error) {
	c := &Client{
		conn: conn, done: make(chan struct{}),
		pending: map[string]chan reply{}, subs: map[*Subscription]struct{}{},
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	lines := bufio.NewScanner(conn)
	lines.Buffer(make([]byte, 0, 4096), MaxLine)
	err := c.greet(lines)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("qmp: greeting: %w", err)
	}
	go c.read(lines)
	if err := c.Execute(ctx, "qmp_capabilities", nil, nil); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Client) greet(lines *bufio.Scanner) error {
	if !lines.Scan() {
		return scanError(lines)
	}
	var m message
	if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
		return err
	}
	if m.QMP == nil {
		return errors.New("the peer is no QMP server")
	}
	c.version = m.QMP.Version.QEMU
	return nil
}

// Version returns the version that QEMU greeted with.
func (c *Client) Version() Version { return c.version }

// Done is closed when the connection has ended.
func (c *Client) Done() <-chan struct{} { return c.done }

// Close ends the connection and all waiting calls. QEMU goes on.
func (c *Client) Close() error {
	err := c.conn.Close()
	<-c.done
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Execute runs a command and decodes its result into result, unless that is
// nil. Arguments may be nil. It returns an *Error for a command that QEMU
// refused, ErrClosed when the connection ends first, or the context's error;
// in the last two cases the command may or may not have run.
func (c *Client) Execute(ctx context.Context, command string, args, result any) error {
	return c.execute(ctx, nil, command, args, result)
}

// ExecuteWithFile is Execute with an open file passed along (SCM_RIGHTS), as
// the commands getfd and add-fd want it. The caller keeps and closes f.
func (c *Client) ExecuteWithFile(ctx context.Context, f *os.File, command string, args, result any) error {
	return c.execute(ctx, f, command, args, result)
}

func (c *Client) execute(ctx context.Context, f *os.File, command string, args, result any) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	id, answer, err := c.enroll()
	if err != nil {
		return err
	}
	defer c.forget(id)
	line, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
		ID        string `json:"id"`
	}{command, args, id})
	if err != nil {
		return fmt.Errorf("qmp: %s: %w", command, err)
	}
	if err := c.send(ctx, append(line, '\n'), f); err != nil {
		return err
	}
	select {
	case r := <-answer:
		if r.err != nil || result == nil {
			return r.err
		}
		if err := json.Unmarshal(r.result, result); err != nil {
			return fmt.Errorf("qmp: %s: %w", command, err)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.done:
		return c.reason()
	}
}

// enroll reserves an id before anything is sent, so no reply can be missed.
func (c *Client) enroll() (string, chan reply, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return "", nil, c.err
	}
	c.next++
	id := strconv.FormatUint(c.next, 10)
	answer := make(chan reply, 1)
	c.pending[id] = answer
	return id, answer, nil
}

func (c *Client) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, id)
}

// send writes one line. A write cut short by the context would leave half a
// message on the wire, so it ends the connection.
func (c *Client) send(ctx context.Context, line []byte, f *os.File) error {
	c.write.Lock()
	defer c.write.Unlock()
	cut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		c.conn.SetWriteDeadline(time.Unix(1, 0))
		close(cut)
	})
	err := c.sendWithFile(line, f)
	ended := !stop()
	switch {
	case err != nil && ended:
		c.conn.Close()
		return ctx.Err()
	case err != nil:
		c.conn.Close()
		return fmt.Errorf("%w: %w", ErrClosed, err)
	case ended: // too late to cut anything: the line is out whole
		<-cut
		c.conn.SetWriteDeadline(time.Time{})
	}
	return nil
}

func (c *Client) sendWithFile(line []byte, f *os.File) error {
	if f == nil {
		_, err := c.conn.Write(line)
		return err
	}
	u, ok := c.conn.(*net.UnixConn)
	if !ok {
		return errors.New("files can be passed over a unix socket only")
	}
	n, _, err := u.WriteMsgUnix(line, syscall.UnixRights(int(f.Fd())), nil)
	if err != nil {
		return err
	}
	_, err = u.Write(line[n:])
	return err
}

func (c *Client) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// read hands out replies and events until the connection ends.
func (c *Client) read(lines *bufio.Scanner) {
	var err error
	for lines.Scan() {
		var m message
		if err = json.Unmarshal(lines.Bytes(), &m); err != nil {
			break
		}
		c.dispatch(&m)
	}
	if err == nil {
		err = scanError(lines)
	}
	c.conn.Close()
	c.mu.Lock()
	c.err = fmt.Errorf("%w: %w", ErrClosed, err)
	for s := range c.subs {
		close(s.events)
	}
	c.subs = nil
	c.mu.Unlock()
	close(c.done)
}

func (c *Client) dispatch(m *message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.Event != "" {
		t := time.Unix(m.Timestamp.Seconds, m.Timestamp.Microseconds*1000).UTC()
		for s := range c.subs {
			s.offer(Event{Name: m.Event, Data: m.Data, Time: t})
		}
		return
	}
	answer, ok := c.pending[m.ID]
	if !ok {
		return // the caller gave up
	}
	delete(c.pending, m.ID)
	if m.Error != nil {
		answer <- reply{err: &Error{Class: m.Error.Class, Desc: m.Error.Desc}}
		return
	}
	answer <- reply{result: append(json.RawMessage(nil), m.Return...)}
}

func scanError(lines *bufio.Scanner) error {
	if err := lines.Err(); err != nil {
		return err
	}
	return errors.New("end of stream")
}
