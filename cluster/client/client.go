// Package client asks the cluster's API: as a machine that joins, as a node,
// as the admin on a control node's socket.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tropocloud/tropo/cluster"
	"github.com/tropocloud/tropo/cluster/pki"
	"github.com/tropocloud/tropo/fault"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 4 << 20

// timeout bounds one request.
const timeout = 30 * time.Second

// Client asks one base URL.
type Client struct {
	base string
	http *http.Client
}

// New is a client of the API at base ("https://h:5443/cluster") through t.
func New(base string, t http.RoundTripper) *Client {
	return &Client{strings.TrimRight(base, "/"), &http.Client{Transport: t, Timeout: timeout}}
}

// Local is the client of a control node's admin socket.
func Local(socket string) *Client {
	return New("http://local/cluster", &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
			if err != nil {
				return nil, fault.Wrap(fault.Unavailable, err, "No control node runs in this state folder (nothing listens at %s).", socket)
			}
			return c, nil
		},
	})
}

// Join asks the control node at a URL ("https://h:5443") to take this machine
// in. It believes the server only with the authority that the token names.
func Join(ctx context.Context, control string, token cluster.TokenText, n cluster.Node, key []byte) (*cluster.Enrolment, error) {
	u, err := ControlURL(control)
	if err != nil {
		return nil, err
	}
	csr, err := pki.Request(n.Name, key)
	if err != nil {
		return nil, err
	}
	t := &http.Transport{TLSClientConfig: pki.Pinned(token.Fingerprint, u.Hostname()), DisableKeepAlives: true}
	in := cluster.JoinRequest{TokenID: token.ID, Secret: token.Secret, Node: n.Document(), Request: string(csr)}
	var e cluster.Enrolment
	if err := New(u.String()+"/cluster", t).do(ctx, http.MethodPost, "/v1/join", in, &e); err != nil {
		if errors.Is(err, pki.ErrStranger) {
			return nil, fault.Wrap(fault.Forbidden, err, "%s is not the cloud that made the token: check the address, or make a token there.", u.Host)
		}
		return nil, err
	}
	ca, err := pki.ParseCertificate([]byte(e.CA))
	if err != nil || pki.Fingerprint(ca) != token.Fingerprint {
		return nil, fault.Wrap(fault.Forbidden, err, "%s answered with another authority than the token names.", u.Host)
	}
	return &e, nil
}

// ControlURL reads where a control node is: "https://h:5443", "h:5443" or "h".
func ControlURL(s string) (*url.URL, error) {
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
		return nil, fault.Invalidf("%q is not the address of a control node: write https://ADDRESS:%d.", s, cluster.ManagementPort)
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), fmt.Sprint(cluster.ManagementPort))
	}
	u.Path = ""
	return u, nil
}

// Beat tells the control nodes that this node lives.
func (c *Client) Beat(ctx context.Context, version string) (*cluster.Membership, error) {
	var m cluster.Membership
	return &m, c.do(ctx, http.MethodPost, "/v1/self/beat", map[string]string{"version": version}, &m)
}

// Renew asks for a new certificate of this node for its key.
func (c *Client) Renew(ctx context.Context, node string, key []byte) ([]byte, error) {
	csr, err := pki.Request(node, key)
	if err != nil {
		return nil, err
	}
	var out struct {
		Certificate string `json:"certificate"`
	}
	err = c.do(ctx, http.MethodPost, "/v1/self/certificate", map[string]string{"certificate_request": string(csr)}, &out)
	return []byte(out.Certificate), err
}

// Control asks for what a control node needs.
func (c *Client) Control(ctx context.Context) (*cluster.ControlDocument, error) {
	var d cluster.ControlDocument
	return &d, c.do(ctx, http.MethodGet, "/v1/self/control", nil, &d)
}

// Keys asks for identity's keys; without files where have is their digest.
func (c *Client) Keys(ctx context.Context, have string) (*cluster.Keys, error) {
	var k cluster.Keys
	return &k, c.do(ctx, http.MethodGet, "/v1/self/keys?have="+url.QueryEscape(have), nil, &k)
}

// Nodes lists the nodes of the cloud.
func (c *Client) Nodes(ctx context.Context) ([]cluster.Node, error) {
	var out struct {
		Nodes []cluster.NodeDocument `json:"nodes"`
	}
	if err := c.do(ctx, http.MethodGet, "/v1/nodes", nil, &out); err != nil {
		return nil, err
	}
	list := make([]cluster.Node, len(out.Nodes))
	for i, d := range out.Nodes {
		list[i] = d.Node()
	}
	return list, nil
}

// Remove removes a node from the cloud.
func (c *Client) Remove(ctx context.Context, name string) error {
	return c.do(ctx, http.MethodDelete, "/v1/nodes/"+url.PathEscape(name), nil, nil)
}

// Token makes a join token and returns its text.
func (c *Client) Token(ctx context.Context, roles []cluster.Role, uses int, life time.Duration) (string, error) {
	in := map[string]any{"roles": roles, "uses": uses, "ttl": int64(life / time.Second)}
	var out struct {
		Token struct {
			Token string `json:"token"`
		} `json:"token"`
	}
	err := c.do(ctx, http.MethodPost, "/v1/tokens", in, &out)
	return out.Token.Token, err
}

// do sends in and reads the answer into out; an error document becomes a
// fault of its kind.
func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		if f, ok := fault.As(err); ok {
			return f
		}
		return fault.Wrap(fault.Unavailable, err, "The control node at %s is out of reach.", c.base)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "The control node at %s broke off.", c.base)
	}
	if res.StatusCode/100 != 2 {
		return answered(res.StatusCode, b)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.base, err)
	}
	return nil
}

func answered(status int, body []byte) error {
	kind := map[int]fault.Kind{
		400: fault.Invalid, 401: fault.Unauthenticated, 403: fault.Forbidden, 404: fault.NotFound, 409: fault.Conflict,
		413: fault.TooLarge, 503: fault.Unavailable,
	}[status]
	var doc struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &doc) != nil || doc.Error.Message == "" {
		doc.Error.Message = strings.TrimSpace(string(body[:min(len(body), 300)]))
	}
	return fault.New(kind, "%s", doc.Error.Message)
}
