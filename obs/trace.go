package obs

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const scope = "github.com/tropocloud/tropo"

// TracingOptions configure NewTracing.
type TracingOptions struct {
	Service string // service.name
	Version string // service.version
	// Endpoint is the OTLP/HTTP collector's URL, such as
	// "http://127.0.0.1:4318"; empty: spans get ids, so that logs can be
	// joined, and are not exported.
	Endpoint string
	// Sample is the share of new traces that are exported, from 0 to 1;
	// 0 counts as 1. A caller's decision is followed.
	Sample float64
	// Processor, if set, sees every span as well; for tests and for tools.
	Processor sdktrace.SpanProcessor
}

// Tracing is one app's tracer.
type Tracing struct {
	provider *sdktrace.TracerProvider
}

// NewTracing makes a tracer. Nothing leaves the process without an endpoint.
func NewTracing(opts TracingOptions) (*Tracing, error) {
	if opts.Sample < 0 || opts.Sample > 1 {
		return nil, fmt.Errorf("obs: the share of sampled traces is %v; want 0 to 1", opts.Sample)
	}
	if opts.Sample == 0 {
		opts.Sample = 1
	}
	set := []sdktrace.TracerProviderOption{
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(opts.Sample))),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", opts.Service), attribute.String("service.version", opts.Version))),
	}
	if opts.Processor != nil {
		set = append(set, sdktrace.WithSpanProcessor(opts.Processor))
	}
	if opts.Endpoint != "" {
		exp, err := otlptracehttp.New(context.Background(), otlptracehttp.WithEndpointURL(opts.Endpoint))
		if err != nil {
			return nil, fmt.Errorf("obs: traces to %s: %w", opts.Endpoint, err)
		}
		set = append(set, sdktrace.WithBatcher(exp))
	}
	return &Tracing{sdktrace.NewTracerProvider(set...)}, nil
}

// Provider is for instrumentation that wants OpenTelemetry's own interface.
func (t *Tracing) Provider() trace.TracerProvider { return t.provider }

// Shutdown exports what is left and stops.
func (t *Tracing) Shutdown(ctx context.Context) error { return t.provider.Shutdown(ctx) }

// WithTracing returns ctx with the tracer that StartSpan and Step use. An app
// puts it into the base context of its servers and its bus.
func WithTracing(ctx context.Context, t *Tracing) context.Context {
	return context.WithValue(ctx, tracingKey, t)
}

func tracer(ctx context.Context) trace.Tracer {
	if t, ok := ctx.Value(tracingKey).(*Tracing); ok && t != nil {
		return t.provider.Tracer(scope)
	}
	return trace.SpanFromContext(ctx).TracerProvider().Tracer(scope)
}

// StartSpan begins a span below that of ctx and returns a context that holds
// it; end, called once, ends it with the operation's result. Without a tracer
// in ctx it costs next to nothing.
func StartSpan(ctx context.Context, name string, attrs ...attribute.KeyValue) (_ context.Context, end func(error)) {
	ctx, span := tracer(ctx).Start(ctx, name, trace.WithAttributes(attrs...))
	return ctx, func(err error) {
		if err != nil && !errors.Is(err, context.Canceled) {
			span.RecordError(err)
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}

// Inject writes ctx's trace context into headers (W3C traceparent, tracestate).
func Inject(ctx context.Context, h http.Header) {
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(h))
}

// Extract returns ctx with the trace context of headers; ctx as it is when
// they have none or a malformed one.
func Extract(ctx context.Context, h http.Header) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(h))
}

// InjectMap is Inject for messages; m must not be nil.
func InjectMap(ctx context.Context, m map[string]string) {
	propagation.TraceContext{}.Inject(ctx, propagation.MapCarrier(m))
}

// ExtractMap is Extract for messages.
func ExtractMap(ctx context.Context, m map[string]string) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier(m))
}

// TraceID returns the id of ctx's trace in hex, or "".
func TraceID(ctx context.Context) string {
	if sc := trace.SpanContextFromContext(ctx); sc.HasTraceID() {
		return sc.TraceID().String()
	}
	return ""
}
