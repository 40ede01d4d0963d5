package rest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	"github.com/tropocloud/tropo/obs"
)

// InProcess is a RoundTripper that calls handlers of the same process
// directly for the hosts it knows, and Next for all others. Nothing but the
// HTTP message crosses: the handler gets a fresh context (with the caller's
// cancellation), so that the path is the same as over TCP.
type InProcess struct {
	mu    sync.RWMutex
	hosts map[string]http.Handler // "127.0.0.1:5000"
	// Next carries requests to other hosts; nil: http.DefaultTransport.
	Next http.RoundTripper
}

// Add answers requests to host ("name:port") by h.
func (t *InProcess) Add(host string, h http.Handler) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.hosts == nil {
		t.hosts = map[string]http.Handler{}
	}
	t.hosts[host] = h
}

// RoundTrip implements http.RoundTripper. Trace context travels in headers.
func (t *InProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	obs.Inject(req.Context(), req.Header)
	t.mu.RLock()
	h := t.hosts[req.URL.Host]
	t.mu.RUnlock()
	if h == nil {
		next := t.Next
		if next == nil {
			next = http.DefaultTransport
		}
		return next.RoundTrip(req)
	}
	return call(h, req)
}

// call runs the handler in its own goroutine and returns as soon as it has
// written its header; the body streams through a pipe.
func call(h http.Handler, req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(context.Background())
	stop := context.AfterFunc(req.Context(), cancel)
	in := req.WithContext(ctx)
	u, err := url.ParseRequestURI(req.URL.RequestURI())
	if err != nil {
		cancel()
		return nil, err
	}
	in.URL, in.RequestURI, in.RemoteAddr = u, req.URL.RequestURI(), "127.0.0.1:0"
	in.Host = req.URL.Host
	if req.Host != "" {
		in.Host = req.Host
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	pr, pw := io.Pipe()
	w := &pipeWriter{header: http.Header{}, pipe: pw, buf: bufio.NewWriterSize(pw, 32<<10), ready: make(chan struct{})}
	go func() {
		defer stop()
		defer cancel()
		defer func() {
			_ = in.Body.Close()
			if p := recover(); p != nil {
				w.WriteHeader(http.StatusInternalServerError)
				_ = pw.CloseWithError(fmt.Errorf("the handler was cut off: %w", io.ErrUnexpectedEOF))
				return
			}
			w.WriteHeader(http.StatusOK)
			_ = pw.CloseWithError(w.buf.Flush())
		}()
		h.ServeHTTP(w, in)
	}()
	select {
	case <-w.ready:
	case <-req.Context().Done():
		_ = pr.CloseWithError(req.Context().Err())
		return nil, req.Context().Err()
	}
	res := &http.Response{
		Status: fmt.Sprintf("%d %s", w.code, http.StatusText(w.code)), StatusCode: w.code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: pr, ContentLength: -1, Request: req,
	}
	if req.Method == http.MethodHead || w.code == http.StatusNoContent {
		res.Body, res.ContentLength = http.NoBody, 0
		_ = pr.Close()
	}
	return res, nil
}

type pipeWriter struct {
	header http.Header
	sent   http.Header
	code   int
	pipe   *io.PipeWriter
	buf    *bufio.Writer
	once   sync.Once
	ready  chan struct{}
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(code int) {
	w.once.Do(func() {
		w.code, w.sent = code, w.header.Clone()
		close(w.ready)
	})
}

func (w *pipeWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.buf.Write(p)
}

// Flush sends what is buffered.
func (w *pipeWriter) Flush() {
	w.WriteHeader(http.StatusOK)
	_ = w.buf.Flush()
}
