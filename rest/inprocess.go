package rest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
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

// holdBack is how much of an answer is kept until the handler ends or
// flushes, as net/http does: a small answer needs no pipe.
const holdBack = 32 << 10

// call runs the handler in its own goroutine and returns when it has ended,
// flushed, or written more than holdBack; what follows streams through a pipe.
// The end of the caller's context, or the close of the body, ends both the
// handler's context and its writes. A body that is neither read nor closed
// holds a handler with a long answer, as it would over TCP.
func call(h http.Handler, req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(context.Background())
	w := &pipeWriter{header: make(http.Header, 8), ready: make(chan struct{}), cancel: cancel, head: req.Method == http.MethodHead, length: -1}
	stop := context.AfterFunc(req.Context(), func() {
		cancel()
		w.giveUp(req.Context().Err())
	})
	in := req.WithContext(ctx)
	uri := req.URL.RequestURI()
	u, err := url.ParseRequestURI(uri)
	if err != nil {
		stop()
		cancel()
		return nil, err
	}
	in.URL, in.RequestURI, in.RemoteAddr = u, uri, "127.0.0.1:0"
	in.Proto, in.ProtoMajor, in.ProtoMinor = "HTTP/1.1", 1, 1
	in.Host = req.URL.Host
	if req.Host != "" {
		in.Host = req.Host
	}
	switch {
	case in.Body == nil:
		in.Body = http.NoBody
	case in.Body != http.NoBody && in.ContentLength == 0:
		in.ContentLength = -1 // a client's 0 means unknown
	}
	go func() {
		defer stop()
		defer func() {
			_ = in.Body.Close()
			if p := recover(); p != nil {
				w.finish(fmt.Errorf("the handler was cut off: %w", io.ErrUnexpectedEOF))
				return
			}
			w.finish(nil)
		}()
		h.ServeHTTP(w, in)
	}()
	select {
	case <-w.ready:
	case <-req.Context().Done():
	}
	// Both may be so by now: a caller who has gone gets no answer.
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	return w.response(req), nil
}

// pipeWriter is the ResponseWriter of one call.
type pipeWriter struct {
	header http.Header
	ready  chan struct{} // closed when the caller may have the answer
	cancel context.CancelFunc
	head   bool
	length int64 // that the handler declared; -1: none

	// Written by the handler before ready is closed, read by the caller after.
	code int
	sent http.Header
	body []byte // the first part, or all, of the answer
	err  error  // cut off before anything was handed over
	done bool   // body is all

	mu      sync.Mutex
	gaveUp  error
	reader  *io.PipeReader
	pipe    *io.PipeWriter // nil until the answer outgrows body
	written int64
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(code int) {
	if w.code != 0 || code >= 100 && code < 200 {
		return
	}
	w.code, w.sent = code, w.header.Clone()
	if n, err := strconv.ParseInt(w.sent.Get("Content-Length"), 10, 64); err == nil && n >= 0 {
		w.length = n
	}
}

func (w *pipeWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	w.written += int64(len(p))
	if w.head || w.code == http.StatusNoContent || w.code == http.StatusNotModified {
		return len(p), nil
	}
	if w.pipe == nil {
		if len(w.body)+len(p) <= holdBack {
			w.body = append(w.body, p...)
			return len(p), nil
		}
		w.open()
	}
	return w.pipe.Write(p)
}

// Flush hands over what there is.
func (w *pipeWriter) Flush() {
	w.WriteHeader(http.StatusOK)
	if w.pipe == nil && !w.head {
		w.open()
	}
}

// open begins to stream.
func (w *pipeWriter) open() {
	r, p := io.Pipe()
	w.mu.Lock()
	w.reader, w.pipe = r, p
	if w.gaveUp != nil {
		_ = r.CloseWithError(w.gaveUp)
	}
	w.mu.Unlock()
	close(w.ready)
}

// giveUp ends the handler's writes.
func (w *pipeWriter) giveUp(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gaveUp = err
	if w.reader != nil {
		_ = w.reader.CloseWithError(err)
	}
}

// finish is called when the handler has ended.
func (w *pipeWriter) finish(err error) {
	defer w.cancel()
	if err != nil && w.code == 0 {
		w.WriteHeader(http.StatusInternalServerError)
		err = nil
	}
	w.WriteHeader(http.StatusOK)
	if err == nil && w.length > w.written && !w.head && w.code != http.StatusNotModified {
		err = io.ErrUnexpectedEOF // less than was declared
	}
	if w.pipe != nil {
		_ = w.pipe.CloseWithError(err)
		return
	}
	w.err, w.done = err, true
	close(w.ready)
}

func (w *pipeWriter) response(req *http.Request) *http.Response {
	res := &http.Response{
		Status: strconv.Itoa(w.code) + " " + http.StatusText(w.code), StatusCode: w.code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, ContentLength: w.length, Request: req,
	}
	first := bytes.NewReader(w.body)
	switch {
	case !w.done:
		res.Body = &pipeBody{io.MultiReader(first, w.reader), w}
	case w.err != nil:
		res.Body = io.NopCloser(io.MultiReader(first, failingReader{w.err}))
	case len(w.body) == 0:
		res.Body = http.NoBody
		if !w.head {
			res.ContentLength = 0
		}
	default:
		res.Body, res.ContentLength = io.NopCloser(first), int64(len(w.body))
	}
	return res
}

// pipeBody is the caller's end of a streamed answer.
type pipeBody struct {
	io.Reader
	w *pipeWriter
}

// Close tells the handler that nobody reads any more.
func (b *pipeBody) Close() error {
	b.w.cancel()
	return b.w.reader.Close()
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }

var _ http.Flusher = (*pipeWriter)(nil)
