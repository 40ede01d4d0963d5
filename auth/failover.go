package auth

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// UnhandledHeader marks a 503 of which the sender knows that nothing was done
// with the request, so that even a POST may be tried elsewhere.
const UnhandledHeader = "Tropo-Unhandled"

// resting is how long a base that failed is asked only after the others.
const resting = 5 * time.Second

// replayBody is up to what size a body without GetBody is kept to be sent
// again.
const replayBody = 1 << 20

// Failover is a RoundTripper that sends the requests for one symbolic host to
// any of several bases in turn, and to the next where one fails: always when no
// connection could be made, and for requests that may be repeated (GET, HEAD,
// OPTIONS, PUT, DELETE with a body that can be sent again) also when the
// connection broke or the answer is 502, 503 or 504.
type Failover struct {
	// Host is the symbolic host ("control.tropo.internal"); requests for
	// others go to Next as they are.
	Host string
	// Bases are where the host can be found ("https://10.0.0.11:5443"), as
	// known now.
	Bases func() []string
	// Next carries the requests; nil: http.DefaultTransport.
	Next http.RoundTripper

	turn atomic.Uint32
	mu   sync.Mutex
	bad  map[string]time.Time // until when a base rests
}

var _ http.RoundTripper = (*Failover)(nil)

// RoundTrip implements http.RoundTripper.
func (f *Failover) RoundTrip(req *http.Request) (*http.Response, error) {
	next := f.Next
	if next == nil {
		next = http.DefaultTransport
	}
	if req.URL.Host != f.Host {
		return next.RoundTrip(req)
	}
	bases := f.order()
	if len(bases) == 0 {
		closeBody(req)
		return nil, errors.New("no control node is known")
	}
	body, err := newReplay(req)
	if err != nil {
		return nil, err
	}
	defer body.finish()
	var last error
	for i, base := range bases {
		u, err := url.Parse(base)
		if err != nil {
			last = err
			continue
		}
		res, connected, err := f.try(next, req, u, body)
		if err == nil && !unwell(res.StatusCode) {
			f.mark(base, false)
			return res, nil
		}
		if req.Context().Err() == nil {
			f.mark(base, true)
		}
		if i == len(bases)-1 || req.Context().Err() != nil || !body.again(req, connected, res) {
			return res, err
		}
		if res != nil {
			_, _ = io.CopyN(io.Discard, res.Body, 64<<10)
			_ = res.Body.Close()
		}
		last = err
	}
	return nil, last
}

// try sends the request to one base, and reports whether a connection was
// there to send it on.
func (f *Failover) try(next http.RoundTripper, req *http.Request, base *url.URL, body *replay) (*http.Response, bool, error) {
	var connected atomic.Bool
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	r := req.Clone(ctx)
	r.URL.Scheme, r.URL.Host, r.Host = base.Scheme, base.Host, ""
	var err error
	if r.Body, err = body.open(); err != nil {
		return nil, true, err
	}
	res, err := next.RoundTrip(r)
	return res, connected.Load() || res != nil, err
}

func unwell(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}

// order is the bases, another first each time, those that rest last.
func (f *Failover) order() []string {
	bases := f.Bases()
	if len(bases) < 2 {
		return bases
	}
	first := int(f.turn.Add(1)-1) % len(bases)
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	var well, rest []string
	for i := range bases {
		b := bases[(first+i)%len(bases)]
		if now.Before(f.bad[b]) {
			rest = append(rest, b)
		} else {
			well = append(well, b)
		}
	}
	return append(well, rest...)
}

func (f *Failover) mark(base string, bad bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !bad {
		delete(f.bad, base)
		return
	}
	if f.bad == nil {
		f.bad = map[string]time.Time{}
	}
	f.bad[base] = time.Now().Add(resting)
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// replay gives a request's body to one try after the other.
type replay struct {
	req   *http.Request
	kept  []byte      // the whole body, where it is small
	once  *unreadBody // where it is a stream
	empty bool
}

func newReplay(req *http.Request) (*replay, error) {
	p := &replay{req: req}
	switch {
	case req.Body == nil || req.Body == http.NoBody:
		p.empty = true
	case req.GetBody != nil:
	case req.ContentLength > 0 && req.ContentLength <= replayBody:
		b, err := io.ReadAll(io.LimitReader(req.Body, req.ContentLength))
		closeBody(req)
		if err != nil {
			return nil, err
		}
		p.kept = b
	default:
		p.once = &unreadBody{body: req.Body}
	}
	return p, nil
}

func (p *replay) open() (io.ReadCloser, error) {
	switch {
	case p.empty:
		return p.req.Body, nil
	case p.kept != nil:
		return io.NopCloser(bytes.NewReader(p.kept)), nil
	case p.once != nil:
		return p.once, nil
	}
	return p.req.GetBody()
}

// again reports whether the request may be sent to another base.
func (p *replay) again(req *http.Request, connected bool, res *http.Response) bool {
	if p.once != nil && p.once.touched() {
		return false
	}
	if !connected {
		return true
	}
	if res != nil && res.Header.Get(UnhandledHeader) != "" {
		return true
	}
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// finish closes the body of the caller, as a RoundTripper must; a stream that
// is still being sent ends itself.
func (p *replay) finish() {
	switch {
	case p.once != nil:
		p.once.release()
	case p.kept == nil && !p.empty:
		closeBody(p.req)
	}
}

// unreadBody is a stream that survives a Close as long as nothing was read
// from it.
type unreadBody struct {
	mu       sync.Mutex
	body     io.ReadCloser
	read     bool
	released bool
	closed   bool
}

func (b *unreadBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	b.read = true
	b.mu.Unlock()
	return b.body.Read(p)
}

// Close implements io.Closer.
func (b *unreadBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if b.read || b.released {
		return b.body.Close()
	}
	return nil
}

func (b *unreadBody) touched() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.read
}

// release lets the next Close be the last; one that came already is done now.
func (b *unreadBody) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.released = true
	if b.closed && !b.read {
		_ = b.body.Close()
	}
}

// FixedEndpoints tells where each service is by its catalog type, for sessions
// that do not depend on the catalog's addresses.
type FixedEndpoints func(typ string) (url string, ok bool)

// fixed reports the URL of a service for this session, "" for the catalog's.
func (s *Session) fixed(typ string) string {
	if s.opts.Endpoints == nil {
		return ""
	}
	u, ok := s.opts.Endpoints(typ)
	if !ok {
		return ""
	}
	return u
}
