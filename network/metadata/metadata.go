// Package metadata passes guests' questions on to compute's metadata service.
//
// A guest asks 169.254.169.254 in its network; who asks is told by the network
// that the question came in on and by the sender's address, which port
// security makes trustworthy. The guest's own word counts for nothing: headers
// that say who it is are removed before those of this proxy are set
// (OSSN-0074).
package metadata

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/tropocloud/tropo/fault"
)

// Guests tells which server has an address in a network: its id and project.
// An address without a server is fault.NotFound.
type Guests interface {
	GuestAt(ctx context.Context, networkID string, a netip.Addr) (server, project string, err error)
}

// Options make a Proxy.
type Options struct {
	Guests Guests
	// URL is compute's metadata service.
	URL string
	// Secret is shared with compute: it signs the server's id.
	Secret func() string
	// Node is this node, if the secret is its own; empty: that of all.
	Node string
	// Transport carries the requests; nil: http.DefaultTransport.
	Transport http.RoundTripper
	Log       *slog.Logger // nil: slog.Default
}

// Proxy answers the metadata requests of all networks.
type Proxy struct {
	o   Options
	to  *url.URL
	fwd *httputil.ReverseProxy
}

// maxBody bounds what a guest may send, in bytes (an encrypted password).
const maxBody = 64 << 10

// answerTime bounds one request.
const answerTime = time.Minute

type guestKey struct{}

type guest struct{ server, project, address string }

// New makes a proxy.
func New(o Options) (*Proxy, error) {
	to, err := url.Parse(o.URL)
	if err != nil || to.Host == "" || to.Scheme != "http" && to.Scheme != "https" {
		return nil, fmt.Errorf("metadata: %q is no URL of a metadata service", o.URL)
	}
	if o.Secret == nil {
		return nil, errors.New("metadata: a shared secret is needed")
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	p := &Proxy{o: o, to: to}
	p.fwd = &httputil.ReverseProxy{Rewrite: p.rewrite, Transport: o.Transport, ErrorHandler: p.failed, ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug)}
	return p, nil
}

// Serve answers a request that came in on a network.
func (p *Proxy) Serve(w http.ResponseWriter, r *http.Request, networkID string) {
	ctx, cancel := context.WithTimeout(r.Context(), answerTime)
	defer cancel()
	a, err := sender(r.RemoteAddr)
	if err != nil {
		http.Error(w, "404 Not Found", http.StatusNotFound)
		return
	}
	server, project, err := p.o.Guests.GuestAt(ctx, networkID, a)
	if err != nil {
		if fault.Is(err, fault.NotFound) {
			http.Error(w, "404 Not Found", http.StatusNotFound)
			return
		}
		p.failed(w, r, err)
		return
	}
	r = r.WithContext(context.WithValue(ctx, guestKey{}, guest{server, project, a.String()}))
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	p.fwd.ServeHTTP(w, r)
}

// sender is the address of host:port.
func sender(remote string) (netip.Addr, error) {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return netip.Addr{}, err
	}
	a, err := netip.ParseAddr(host)
	return a.WithZone("").Unmap(), err
}

func (p *Proxy) rewrite(r *httputil.ProxyRequest) {
	g, _ := r.In.Context().Value(guestKey{}).(guest)
	r.SetURL(p.to)
	r.Out.Host = p.to.Host
	for name := range r.Out.Header {
		if !harmless(name) {
			delete(r.Out.Header, name)
		}
	}
	mac := hmac.New(sha256.New, []byte(p.o.Secret()))
	mac.Write([]byte(g.server))
	r.Out.Header.Set("X-Instance-ID", g.server)
	r.Out.Header.Set("X-Tenant-ID", g.project)
	r.Out.Header.Set("X-Instance-ID-Signature", hex.EncodeToString(mac.Sum(nil)))
	r.Out.Header.Set("X-Forwarded-For", g.address)
	if p.o.Node != "" {
		r.Out.Header.Set("X-Tropo-Node", p.o.Node)
	}
}

// harmless says which of a guest's headers may pass: the few that a metadata
// service looks at, whatever is invented elsewhere.
func harmless(name string) bool {
	switch strings.ToLower(strings.ReplaceAll(name, "_", "-")) {
	case "accept", "accept-encoding", "user-agent", "content-type", "content-length", "range", "if-none-match", "if-modified-since",
		"x-aws-ec2-metadata-token", "x-aws-ec2-metadata-token-ttl-seconds", "metadata-flavor":
		return !strings.Contains(name, "_")
	}
	return false
}

func (p *Proxy) failed(w http.ResponseWriter, r *http.Request, err error) {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		http.Error(w, "413 Request Entity Too Large", http.StatusRequestEntityTooLarge)
		return
	}
	p.o.Log.LogAttrs(r.Context(), slog.LevelWarn, "metadata request failed", slog.String("error", err.Error()))
	w.Header().Set("Retry-After", "1")
	http.Error(w, "503 Service Unavailable", http.StatusServiceUnavailable)
}
