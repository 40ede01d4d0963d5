package ovsdb

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"
)

// Options configure a Client.
type Options struct {
	// Remotes are tried in turn: "unix:PATH", "tcp:HOST:PORT" or
	// "ssl:HOST:PORT". Find, if set, tells them anew before each attempt.
	Remotes []string
	Find    func() []string
	// TLS makes the configuration of an "ssl" connection, for each anew.
	TLS func() (*tls.Config, error)
	// Dial makes the connections; nil: a net.Dialer does.
	Dial DialFunc
	// Follower also takes a member of a cluster that does not lead: what it
	// reads may be a moment old. Otherwise the client goes on to the leader.
	Follower bool
	// Database is the database's name, e.g. "OVN_Northbound".
	Database string
	// Tables to keep in the cache, with their columns (none: all). No
	// tables: no cache.
	Tables map[string][]string
	// Indexes are secondary indexes of the cache by table and index name.
	Indexes map[string]map[string]IndexFunc
	// OnChange, if set, sees every change of the cache, in order, one call
	// at a time. It must not block and must not call the Client.
	OnChange func([]Change)
	// OnState, if set, hears of each connection (nil) and its loss (why).
	// The same rules as for OnChange.
	OnState func(error)
	// Probe is the interval of echo requests; 0: 5 s. A server that leaves
	// one unanswered for three intervals is left, and one that does not greet
	// within two is not waited for.
	Probe time.Duration
	// MaxBackoff bounds the wait between attempts to connect; 0: 5 s.
	MaxBackoff time.Duration
}

// DialFunc connects as net.Dialer.DialContext does.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Client is a connection to one database that repairs itself. Its methods may
// be used concurrently.
type Client struct {
	opts   Options
	cancel context.CancelFunc
	ended  chan struct{}

	mu     sync.RWMutex
	cache  *cache
	conn   *conn
	ready  chan struct{} // closed while connected and synchronised
	reason error         // why not
}

// Open starts a client; it connects in the background. End it with Close.
func Open(opts Options) (*Client, error) {
	if len(opts.Remotes) == 0 && opts.Find == nil || opts.Database == "" {
		return nil, errors.New("ovsdb: Remotes and Database are required")
	}
	if opts.Probe == 0 {
		opts.Probe = 5 * time.Second
	}
	if opts.MaxBackoff == 0 {
		opts.MaxBackoff = 5 * time.Second
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &Client{opts: opts, cancel: cancel, ended: make(chan struct{}), ready: make(chan struct{}), reason: errors.New("ovsdb: not connected yet")}
	go c.run(ctx)
	return c, nil
}

// Close ends the client; calls under way fail with ErrDisconnected.
func (c *Client) Close() error {
	c.cancel()
	<-c.ended
	return nil
}

func (c *Client) run(ctx context.Context) {
	defer close(c.ended)
	const shortest = 50 * time.Millisecond
	wait, attempt := shortest, 0
	if c.opts.Follower {
		attempt = rand.N(1 << 16) // any member will do: many clients spread over them
	}
	for ; ; attempt++ {
		remotes := c.opts.Remotes
		if c.opts.Find != nil {
			remotes = c.opts.Find()
		}
		connected, err := false, errNoRemotes
		if len(remotes) > 0 {
			connected, err = c.session(ctx, remotes[attempt%len(remotes)])
		}
		if ctx.Err() != nil {
			return
		}
		if connected {
			wait = shortest
		}
		c.setReason(err)
		if c.opts.OnState != nil {
			c.opts.OnState(err)
		}
		pause := wait
		if (attempt+1)%max(1, len(remotes)) == 0 {
			wait = min(2*wait, c.opts.MaxBackoff)
		} else {
			pause = shortest // another place may do
		}
		// Half fixed, half random: many clients don't return at once.
		pause = pause/2 + rand.N(pause/2)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// session runs one connection to its end and says whether it ever was ready.
func (c *Client) session(ctx context.Context, remote string) (bool, error) {
	// A machine that is cut off, or stands still, must not keep the client from
	// the others.
	greeting, cancel := context.WithTimeout(ctx, 2*c.opts.Probe)
	defer cancel()
	nc, err := c.dial(greeting, remote)
	if err != nil {
		return false, err
	}
	k := newConn(nc, c.notification)
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		k.read()
	}()
	defer func() {
		k.close(io.EOF)
		<-reading
	}()
	stop := context.AfterFunc(ctx, func() { k.close(context.Canceled) })
	defer stop()
	defer c.unready(k)
	schema, err := c.greet(greeting, k)
	if err != nil {
		return false, err
	}
	filling, cancel := context.WithTimeout(ctx, fillTime)
	defer cancel()
	if err := c.fill(filling, k, schema); err != nil {
		return false, err
	}
	if c.opts.OnState != nil {
		c.opts.OnState(nil)
	}
	return true, c.probe(ctx, k)
}

// fillTime bounds how long reading a database may take.
const fillTime = 30 * time.Second

// greet reads the schema and finds out whether the server is one to stay with.
func (c *Client) greet(ctx context.Context, k *conn) (*Schema, error) {
	raw, err := k.call(ctx, "get_schema", []any{c.opts.Database}, nil)
	if err != nil {
		return nil, fmt.Errorf("get_schema: %w", err)
	}
	schema := new(Schema)
	if err := json.Unmarshal(raw, schema); err != nil {
		return nil, fmt.Errorf("ovsdb: bad schema: %w", err)
	}
	return schema, c.watchServer(ctx, k)
}

// fill reads the tables and makes the client ready.
func (c *Client) fill(ctx context.Context, k *conn, schema *Schema) error {
	fresh := newCache(schema, c.opts.Indexes)
	if len(c.opts.Tables) == 0 {
		c.swap(k, fresh)
		return nil
	}
	requests := make(map[string]any, len(c.opts.Tables))
	for table, columns := range c.opts.Tables {
		known, ok := schema.Tables[table]
		if !ok {
			return fmt.Errorf("ovsdb: no table %s in schema %s %s", table, schema.Name, schema.Version)
		}
		if len(columns) == 0 { // named one by one, as the default includes _version
			columns = slices.Sorted(maps.Keys(known.Columns))
		}
		requests[table] = []any{map[string]any{"columns": columns}}
	}
	const never = "00000000-0000-0000-0000-000000000000"
	_, err := k.call(ctx, "monitor_cond_since", []any{c.opts.Database, "tropo", requests, never}, func(result json.RawMessage) error {
		// [found, last transaction, updates]
		var reply [3]json.RawMessage
		if err := json.Unmarshal(result, &reply); err != nil {
			return fmt.Errorf("ovsdb: bad monitor reply: %w", err)
		}
		if _, err := fresh.update(reply[2]); err != nil {
			return err
		}
		c.swap(k, fresh)
		return nil
	})
	if err != nil {
		return fmt.Errorf("monitor: %w", err)
	}
	return nil
}

// swap puts a new cache in place of the old and tells the differences.
func (c *Client) swap(k *conn, fresh *cache) {
	c.mu.Lock()
	old := c.cache
	c.cache, c.conn, c.reason = fresh, k, nil
	close(c.ready)
	c.mu.Unlock()
	if c.opts.OnChange == nil {
		return
	}
	if old == nil {
		old = newCache(fresh.schema, nil)
	}
	if changes := fresh.differences(old); len(changes) > 0 {
		c.opts.OnChange(changes)
	}
}

func (c *Client) unready(k *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != k {
		return // never was ready
	}
	c.conn = nil
	c.reason = ErrDisconnected
	c.ready = make(chan struct{})
}

func (c *Client) setReason(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reason = err
}

// notification applies update3 and follows what the server says of itself;
// other notifications are of no interest.
func (c *Client) notification(method string, params json.RawMessage) error {
	switch method {
	case "update":
		return c.serverChanged(params)
	case "update3":
	default:
		return nil
	}
	var p [3]json.RawMessage // monitor id, transaction, updates
	if err := json.Unmarshal(params, &p); err != nil {
		return fmt.Errorf("ovsdb: bad update3: %w", err)
	}
	c.mu.Lock()
	changes, err := c.cache.update(p[2])
	c.mu.Unlock()
	if err != nil {
		return err // reconnecting brings the cache in order again
	}
	if c.opts.OnChange != nil && len(changes) > 0 {
		c.opts.OnChange(changes)
	}
	return nil
}

// probe sends echoes until the connection ends.
func (c *Client) probe(ctx context.Context, k *conn) error {
	tick := time.NewTicker(c.opts.Probe)
	defer tick.Stop()
	for {
		select {
		case <-k.done:
			return k.cause()
		case <-tick.C:
		}
		limit, cancel := context.WithTimeout(ctx, 3*c.opts.Probe)
		_, err := k.call(limit, "echo", []any{}, nil)
		cancel()
		if err != nil {
			return fmt.Errorf("probe: %w", err)
		}
	}
}

// Wait returns when the client is connected and its cache filled.
func (c *Client) Wait(ctx context.Context) error {
	for {
		c.mu.RLock()
		ready, reason := c.ready, c.reason
		c.mu.RUnlock()
		select {
		case <-ready:
			return nil
		case <-c.ended:
			return ErrDisconnected
		case <-ctx.Done():
			c.mu.RLock()
			reason = errors.Join(ctx.Err(), c.reason, reason)
			c.mu.RUnlock()
			return fmt.Errorf("ovsdb: %s not reached: %w", c.opts.Database, reason)
		}
	}
}

// View calls f with the cache when it is current, waiting for it if needed.
// f must be short, must not keep the View and must not call the client.
func (c *Client) View(ctx context.Context, f func(View) error) error {
	for {
		if err := c.Wait(ctx); err != nil {
			return err
		}
		c.mu.RLock()
		if c.conn == nil { // lost again in between
			c.mu.RUnlock()
			continue
		}
		defer c.mu.RUnlock()
		return f(View{c.cache})
	}
}

// Schema returns the database's schema, waiting for a connection if needed.
func (c *Client) Schema(ctx context.Context) (*Schema, error) {
	var s *Schema
	err := c.View(ctx, func(v View) error { s = v.Schema(); return nil })
	return s, err
}

// Transact runs operations as one atomic transaction, waiting for a
// connection if needed. The error is an *Error when the server refused, wraps
// ErrDisconnected when the outcome is unknown. Selected rows come back as
// Result.Rows in the cache's form.
func (c *Client) Transact(ctx context.Context, ops ...Operation) ([]Result, error) {
	if err := c.Wait(ctx); err != nil {
		return nil, err
	}
	c.mu.RLock()
	k, cached := c.conn, c.cache
	c.mu.RUnlock()
	if k == nil {
		return nil, ErrDisconnected
	}
	params := make([]any, 0, len(ops)+1)
	params = append(params, c.opts.Database)
	for _, o := range ops {
		params = append(params, o)
	}
	raw, err := k.call(ctx, "transact", params, nil)
	if err != nil {
		return nil, err
	}
	return results(raw, ops, cached.schema)
}

// Barrier returns when the cache holds everything that any client committed
// before the call: updates are sent before the reply to a transaction, an
// empty one included.
func (c *Client) Barrier(ctx context.Context) error {
	tables := slices.Sorted(maps.Keys(c.opts.Tables))
	if len(tables) == 0 {
		return c.Wait(ctx)
	}
	_, err := c.Transact(ctx, Select(tables[0], ByUUID("00000000-0000-0000-0000-000000000000"), "_uuid"))
	return err
}

// results reads the reply of a transaction.
func results(raw json.RawMessage, ops []Operation, schema *Schema) ([]Result, error) {
	var list []*struct {
		Count   int              `json:"count"`
		UUID    []string         `json:"uuid"`
		Rows    []map[string]any `json:"rows"`
		Error   string           `json:"error"`
		Details string           `json:"details"`
	}
	if err := unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("ovsdb: bad transact reply: %w", err)
	}
	out := make([]Result, 0, len(ops))
	for i, r := range list {
		if r == nil {
			continue // not run: an earlier operation failed, which was or will be seen
		}
		if r.Error != "" {
			return nil, &Error{Name: r.Error, Details: r.Details, Op: i}
		}
		res := Result{Count: r.Count}
		if len(r.UUID) == 2 {
			res.UUID = UUID(r.UUID[1])
		}
		for _, columns := range r.Rows {
			row := Row{}
			table, _ := ops[i].fields["table"].(string)
			for name, v := range columns {
				t, err := schema.columnType(table, name)
				if err != nil {
					return nil, err
				}
				if row[name], err = decode(v, t); err != nil {
					return nil, err
				}
			}
			res.Rows = append(res.Rows, row)
		}
		out = append(out, res)
	}
	if len(out) < len(ops) {
		return nil, fmt.Errorf("ovsdb: %d results for %d operations", len(out), len(ops))
	}
	return out, nil
}
