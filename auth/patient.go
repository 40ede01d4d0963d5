package auth

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// headerTimeout bounds how long another service may take to begin its answer.
const headerTimeout = time.Minute

// smallBody is up to what size a request's body counts as sent at once; what
// is larger (an image) may take its time.
const smallBody = 1 << 20

// patient gives up on answers that do not begin: a service that hangs must not
// hang those that call it. The body may then take as long as the caller's
// context allows.
type patient struct {
	next  http.RoundTripper // nil: http.DefaultTransport
	limit time.Duration
}

var _ http.RoundTripper = (*patient)(nil)

// RoundTrip implements http.RoundTripper.
func (p *patient) RoundTrip(req *http.Request) (*http.Response, error) {
	next := p.next
	if next == nil {
		next = http.DefaultTransport
	}
	if req.Body != nil && req.Body != http.NoBody && (req.ContentLength <= 0 || req.ContentLength > smallBody) {
		return next.RoundTrip(req)
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	timer := time.AfterFunc(p.limit, func() {
		cancel(fmt.Errorf("no answer from %s within %s: %w", req.URL.Host, p.limit, context.DeadlineExceeded))
	})
	res, err := next.RoundTrip(req.WithContext(ctx))
	inTime := timer.Stop()
	if err != nil {
		if !inTime && req.Context().Err() == nil {
			err = context.Cause(ctx)
		}
		cancel(nil)
		return nil, err
	}
	if res.StatusCode == http.StatusSwitchingProtocols { // the body is a connection, also to write to
		context.AfterFunc(req.Context(), func() { cancel(nil) })
		return res, nil
	}
	res.Body = &endingBody{res.Body, cancel}
	return res, nil
}

// endingBody frees the request's context with the body.
type endingBody struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (b *endingBody) Close() error {
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}
