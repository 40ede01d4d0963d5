package ovsdb

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
)

var errNoRemotes = errors.New("ovsdb: no server is known")

// dial connects to "unix:PATH", "tcp:HOST:PORT" or "ssl:HOST:PORT".
func (c *Client) dial(ctx context.Context, remote string) (net.Conn, error) {
	network, address, ok := strings.Cut(remote, ":")
	dial := c.opts.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	switch {
	case ok && (network == "unix" || network == "tcp"):
		return dial(ctx, network, address)
	case ok && network == "ssl" && c.opts.TLS != nil:
		return c.dialTLS(ctx, dial, address)
	}
	return nil, fmt.Errorf("ovsdb: remote %q is neither unix:PATH nor tcp:HOST:PORT nor ssl:HOST:PORT with a certificate", remote)
}

func (c *Client) dialTLS(ctx context.Context, dial DialFunc, address string) (net.Conn, error) {
	conf, err := c.opts.TLS()
	if err != nil {
		return nil, fmt.Errorf("ovsdb: certificate: %w", err)
	}
	if conf.ServerName == "" {
		conf = conf.Clone()
		if conf.ServerName, _, err = net.SplitHostPort(address); err != nil {
			return nil, fmt.Errorf("ovsdb: %w", err)
		}
	}
	plain, err := dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	secure := tls.Client(plain, conf)
	if err := secure.HandshakeContext(ctx); err != nil {
		plain.Close()
		return nil, err
	}
	return secure, nil
}

// serverMonitor is the id of the monitor of what the server says of itself.
const serverMonitor = "tropo-server"

// watchServer asks the server about the database (ovsdb-server(7), the
// database _Server): a member of a cluster that is cut off from the others,
// or does not lead where that is wanted, is left for another.
func (c *Client) watchServer(ctx context.Context, k *conn) error {
	requests := map[string]any{"Database": []any{map[string]any{"columns": []string{"name", "model", "connected", "leader"}}}}
	_, err := k.call(ctx, "monitor", []any{"_Server", serverMonitor, requests}, func(result json.RawMessage) error {
		return c.judge(result)
	})
	var refused *Error
	if errors.As(err, &refused) {
		return nil // a server of the time before clusters
	}
	return err
}

func (c *Client) serverChanged(params json.RawMessage) error {
	var p [2]json.RawMessage // monitor id, updates
	if err := json.Unmarshal(params, &p); err != nil {
		return fmt.Errorf("ovsdb: bad update: %w", err)
	}
	if string(p[0]) != `"`+serverMonitor+`"` {
		return nil
	}
	return c.judge(p[1])
}

// judge reads <table-updates> (RFC 7047 §4.1.6) of _Server; the error says why
// the connection is of no use.
func (c *Client) judge(updates json.RawMessage) error {
	var u struct {
		Database map[UUID]struct {
			New *struct {
				Name      string `json:"name"`
				Model     string `json:"model"`
				Connected bool   `json:"connected"`
				Leader    bool   `json:"leader"`
			} `json:"new"`
		}
	}
	if err := json.Unmarshal(updates, &u); err != nil {
		return fmt.Errorf("ovsdb: bad update of _Server: %w", err)
	}
	for _, row := range u.Database {
		switch d := row.New; {
		case d == nil || d.Name != c.opts.Database || d.Model != "clustered":
		case !d.Connected:
			return fmt.Errorf("ovsdb: this server of %s is cut off from the others", d.Name)
		case !d.Leader && !c.opts.Follower:
			return fmt.Errorf("ovsdb: another server of %s leads", d.Name)
		}
	}
	return nil
}
