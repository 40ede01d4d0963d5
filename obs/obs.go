// Package obs is what an operator sees: logs, metrics, traces, health, and the
// record of the steps by which a server is born.
//
// Nothing here is global: an app makes one Logger, one Metrics, one Tracing
// and one Health, and hands them on.
package obs

import (
	"context"
	"io"
	"log/slog"
	"strings"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"
)

type contextKey int

const (
	requestIDKey contextKey = iota
	recorderKey
	tracingKey
)

// NewRequestID makes an id as OpenStack's services do: "req-" and a UUID.
func NewRequestID() string { return "req-" + uuid.NewString() }

// WithRequestID returns ctx with the id of the request it works for.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey, id)
}

// RequestID returns the id of the request that ctx works for, or "".
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey).(string)
	return id
}

// Logger makes a logger that writes to w. level is "debug", "info", "warn" or
// "error" (anything else: info), format "json" or "text" (anything else:
// text). Each line that is logged with a context carries its request_id and
// trace_id. Attributes whose name says that they are secret print as ***.
func Logger(w io.Writer, level, format string) *slog.Logger {
	opts := &slog.HandlerOptions{Level: parseLevel(level), ReplaceAttr: redact}
	if format == "json" {
		return slog.New(&contextHandler{slog.NewJSONHandler(w, opts)})
	}
	return slog.New(&contextHandler{slog.NewTextHandler(w, opts)})
}

func parseLevel(s string) slog.Level {
	var l slog.Level
	if strings.EqualFold(s, "warning") {
		return slog.LevelWarn
	}
	if err := l.UnmarshalText([]byte(s)); err != nil {
		return slog.LevelInfo
	}
	return l
}

// redact is the net below Secret: a password that was logged as plain text
// under its own name does not reach the log (CVE-2017-2592).
func redact(_ []string, a slog.Attr) slog.Attr {
	switch strings.ToLower(strings.ReplaceAll(a.Key, "-", "_")) {
	case "password", "adminpass", "admin_pass", "secret", "token", "auth_token", "x_auth_token",
		"x_subject_token", "x_service_token", "authorization", "passphrase", "private_key", "cookie":
		return slog.String(a.Key, redacted)
	}
	return a
}

// contextHandler adds what the context knows to each record.
type contextHandler struct{ slog.Handler }

var _ slog.Handler = (*contextHandler)(nil)

// Handle adds request_id and trace_id.
func (h *contextHandler) Handle(ctx context.Context, r slog.Record) error {
	if id := RequestID(ctx); id != "" {
		r.AddAttrs(slog.String("request_id", id))
	}
	if sc := trace.SpanContextFromContext(ctx); sc.HasTraceID() {
		r.AddAttrs(slog.String("trace_id", sc.TraceID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs keeps the wrapping.
func (h *contextHandler) WithAttrs(a []slog.Attr) slog.Handler {
	return &contextHandler{h.Handler.WithAttrs(a)}
}

// WithGroup keeps the wrapping.
func (h *contextHandler) WithGroup(name string) slog.Handler {
	return &contextHandler{h.Handler.WithGroup(name)}
}
