// Package outbound makes HTTP clients that may fetch URLs which strangers
// chose, without becoming their way into the operator's own networks.
//
// What counts is the address that a connection really goes to, so the check is
// in the dialer, after name resolution: a name that resolves to an internal
// address, differently at every look, or a redirect to one, gets no
// connection. Scheme, port and host are checked for every request, redirects
// included.
package outbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
)

// ErrRefused is in the chain of every error of a URL that the policy forbids.
var ErrRefused = errors.New("outbound: the URL is not allowed")

// MaxRedirects bounds how often one request is sent elsewhere.
const MaxRedirects = 5

// Policy says what may be fetched. The zero value allows http and https on
// their usual ports, to addresses of the public internet.
type Policy struct {
	Schemes []string // empty: http and https
	Ports   []string // empty: 80 and 443
	Hosts   []string // names or addresses; empty: any
	Blocked []string // names or addresses that are refused in any case
	// Networks are internal networks that may be reached all the same.
	Networks []netip.Prefix
}

// Check refuses a URL by its text: scheme, port, host, user information.
func (p *Policy) Check(u *url.URL) error {
	scheme, host, port := strings.ToLower(u.Scheme), strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")), u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	switch {
	case !contains(p.Schemes, []string{"http", "https"}, scheme):
		return fmt.Errorf("%w: scheme %q", ErrRefused, scheme)
	case host == "":
		return fmt.Errorf("%w: it names no host", ErrRefused)
	case u.User != nil:
		return fmt.Errorf("%w: it holds credentials", ErrRefused)
	case !contains(p.Ports, []string{"80", "443"}, port):
		return fmt.Errorf("%w: port %q", ErrRefused, port)
	case len(p.Hosts) > 0 && !contains(p.Hosts, nil, host), contains(p.Blocked, nil, host):
		return fmt.Errorf("%w: host %q", ErrRefused, host)
	}
	return nil
}

func contains(list, otherwise []string, s string) bool {
	if len(list) == 0 {
		list = otherwise
	}
	return slices.ContainsFunc(list, func(x string) bool { return strings.EqualFold(x, s) })
}

// special are the address blocks that are not of the public internet (IANA
// special-purpose registries), and those in which IPv4 addresses can hide.
var special = []string{
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
	"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
	"::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16",
	"3fff::/20", "5f00::/16", "fc00::/7", "fe80::/9", "ff00::/8",
}

// CheckAddress refuses an address that is not of the public internet, unless
// it lies in one of p.Networks.
func (p *Policy) CheckAddress(a netip.Addr) error {
	a = a.Unmap().WithZone("")
	if slices.ContainsFunc(p.Networks, func(n netip.Prefix) bool { return n.Contains(a) }) {
		return nil
	}
	for _, s := range special {
		if netip.MustParsePrefix(s).Contains(a) {
			return fmt.Errorf("%w: %s is an internal address", ErrRefused, a)
		}
	}
	return nil
}

// Client returns a client that keeps to p. It uses no proxy and keeps no
// cookies; timeout bounds a whole request with its body.
func Client(p Policy, timeout time.Duration) *http.Client {
	dialer := &net.Dialer{Timeout: 20 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
		return p.CheckAddress(at.Addr())
	}}
	return &http.Client{
		Timeout: timeout,
		Transport: &guard{policy: &p, next: &http.Transport{
			Proxy: nil, DialContext: dialer.DialContext, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10,
			TLSHandshakeTimeout: 20 * time.Second, ResponseHeaderTimeout: time.Minute, DisableCompression: true,
		}},
		CheckRedirect: func(_ *http.Request, via []*http.Request) error {
			if len(via) > MaxRedirects {
				return fmt.Errorf("%w: more than %d redirects", ErrRefused, MaxRedirects)
			}
			return nil
		},
	}
}

// guard checks each request, the redirected ones too.
type guard struct {
	policy *Policy
	next   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := g.policy.Check(r.URL); err != nil {
		return nil, err
	}
	return g.next.RoundTrip(r)
}

// Get fetches a URL; an answer other than 200 is an error.
func Get(ctx context.Context, c *http.Client, rawURL string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	res, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("%s answered %s", req.URL.Host, res.Status), res.Body.Close())
	}
	return res, nil
}
