package obs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// CVE-2015-9543, CVE-2017-7214, CVE-2017-2592, CVE-2014-7230: passwords and
// tokens in logs and errors.
func TestSecretCannotBePrinted(t *testing.T) {
	const password = "hunter2"
	s := Secret(password)
	type wrapped struct {
		Key Secret
		Map map[string]Secret
		Ptr *Secret
	}
	w := wrapped{s, map[string]Secret{"k": s}, &s}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10s", "%t"} {
		fmt.Fprintf(&out, verb+verb+verb, s, w, []Secret{s})
	}
	fmt.Fprint(&out, s, w, fmt.Errorf("failed with %w and %v", errors.New("x"), s))
	for _, format := range []string{"json", "text"} {
		l := Logger(&out, "debug", format)
		l.Info("m", slog.Any("a", s), slog.Any("b", w), slog.Any("c", []Secret{s}), slog.Group("g", slog.Any("d", s)))
		l.With(slog.Any("e", s)).WithGroup("h").Info("m", slog.String("password", password), slog.String("X-Auth-Token", password))
	}
	j, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(j)
	if strings.Contains(out.String(), password) || strings.Contains(out.String(), fmt.Sprintf("%x", password)) {
		t.Errorf("the secret is printed: %s", out.String())
	}
	var back Secret
	if err := json.Unmarshal([]byte(`"hunter2"`), &back); err != nil || string(back) != password {
		t.Errorf("%q, %v", string(back), err)
	}
}

func TestLoggerAddsContext(t *testing.T) {
	tracing := newTracing(t, TracingOptions{})
	var out bytes.Buffer
	l := Logger(&out, "info", "json").With(slog.String("service", "nova-api"))
	ctx, end := StartSpan(WithTracing(WithRequestID(t.Context(), "req-1"), tracing), "x")
	defer end(nil)
	l.InfoContext(ctx, "server created", slog.String("server", "s1"))
	l.DebugContext(ctx, "hidden")
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatal(err, out.String())
	}
	if line["request_id"] != "req-1" || line["trace_id"] != TraceID(ctx) || len(TraceID(ctx)) != 32 || line["service"] != "nova-api" || line["server"] != "s1" {
		t.Fatal(line)
	}
	out.Reset()
	Logger(&out, "WARNING", "text").Info("hidden")
	Logger(&out, "nonsense", "").Debug("hidden")
	if out.Len() != 0 {
		t.Error(out.String())
	}
}

func TestRequestID(t *testing.T) {
	a, b := NewRequestID(), NewRequestID()
	if a == b || len(a) != len("req-")+36 || RequestID(t.Context()) != "" {
		t.Fatal(a, b)
	}
}

func newTracing(t *testing.T, o TracingOptions) *Tracing {
	t.Helper()
	tr, err := NewTracing(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return tr
}

func TestTracePropagates(t *testing.T) {
	tracing := newTracing(t, TracingOptions{Service: "a"})
	ctx, end := StartSpan(WithTracing(t.Context(), tracing), "caller", attribute.String("k", "v"))
	defer end(errors.New("noted"))
	h, m := http.Header{}, map[string]string{}
	Inject(ctx, h)
	InjectMap(ctx, m)
	if h.Get("Traceparent") == "" || m["traceparent"] != h.Get("Traceparent") {
		t.Fatal(h, m)
	}
	for _, remote := range []context.Context{Extract(t.Context(), h), ExtractMap(t.Context(), m)} {
		if TraceID(remote) != TraceID(ctx) {
			t.Error("the trace is lost")
		}
		child, end := StartSpan(WithTracing(remote, tracing), "callee")
		if TraceID(child) != TraceID(ctx) {
			t.Error("the callee's span is in another trace")
		}
		end(nil)
	}
	for _, bad := range []string{"", "00-zz", "00-" + strings.Repeat("0", 32) + "-" + strings.Repeat("0", 16) + "-01", strings.Repeat("x", 10000)} {
		if id := TraceID(Extract(t.Context(), http.Header{"Traceparent": {bad}})); id != "" {
			t.Errorf("%.20q gives trace %s", bad, id)
		}
	}
	if _, end := StartSpan(t.Context(), "without a tracer"); end == nil {
		t.Fatal("no end")
	} else {
		end(nil)
	}
}

func TestTracesLeaveOnlyWithAnEndpoint(t *testing.T) {
	got := make(chan string, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.URL.Path }))
	defer srv.Close()
	for _, c := range []struct {
		endpoint string
		want     int
	}{{"", 0}, {srv.URL + "/v1/traces", 1}} {
		tr, err := NewTracing(TracingOptions{Service: "a", Endpoint: c.endpoint})
		if err != nil {
			t.Fatal(err)
		}
		_, end := StartSpan(WithTracing(t.Context(), tr), "x")
		end(nil)
		if err := tr.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(got) != c.want {
			t.Errorf("endpoint %q: %d exports; want %d", c.endpoint, len(got), c.want)
		}
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if _, err := NewTracing(TracingOptions{Sample: 2}); err == nil {
		t.Error("a share of 2 is accepted")
	}
}

type spans struct {
	sdktrace.SpanProcessor
	mu    sync.Mutex
	names []string
}

func (s *spans) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (s *spans) OnEnd(r sdktrace.ReadOnlySpan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names = append(s.names, r.Name())
}
func (s *spans) Shutdown(context.Context) error   { return nil }
func (s *spans) ForceFlush(context.Context) error { return nil }

func TestSteps(t *testing.T) {
	seen := &spans{}
	tracing := newTracing(t, TracingOptions{Processor: seen})
	synctest.Test(t, func(t *testing.T) {
		rec := new(Recorder)
		ctx := WithRecorder(WithTracing(t.Context(), tracing), rec)
		end := Step(ctx, 10, "", Detail("3 hosts"), Note(NoteInProcess))
		time.Sleep(40 * time.Millisecond) // synctest's clock
		end(nil)
		inner, end := StepContext(ctx, 29, "start", Part("qemu"))
		Step(inner, 0, "claim")(errors.New("no room"))
		end(nil)
		Step(t.Context(), 1, "")(nil) // without a recorder
		got := rec.Records()
		if len(got) != 3 {
			t.Fatalf("%+v", got)
		}
		want := StepRecord{Step: 10, Name: Steps29[9].Name, Part: "nova-scheduler", Detail: "3 hosts", Note: "in-process", Duration: 40 * time.Millisecond}
		want.Start = got[0].Start
		if got[0] != want {
			t.Errorf("%+v; want %+v", got[0], want)
		}
		if got[1].Name != "claim" || got[1].Error != "no room" || got[2].Name != "start" || got[2].Part != "qemu" {
			t.Errorf("%+v", got[1:])
		}
	})
	if !slices.Contains(seen.names, Steps29[9].Name) || len(seen.names) != 3 {
		t.Error(seen.names)
	}
}

func TestRecorderIsBoundedAndSafe(t *testing.T) {
	var r Recorder
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				r.Add(StepRecord{Name: "x"})
				_ = r.Records()[0]
			}
		})
	}
	wg.Wait()
	if n := len(r.Records()); n != maxRecords {
		t.Fatal(n)
	}
	if RecorderFrom(t.Context()) != nil {
		t.Error("a recorder from nowhere")
	}
}

func TestSteps29(t *testing.T) {
	for i, s := range Steps29 {
		if s.Step != i+1 || s.Name == "" || s.Part == "" {
			t.Errorf("%d: %+v", i, s)
		}
	}
}

func TestMetrics(t *testing.T) {
	m, other := NewMetrics("1.2"), NewMetrics("1.2")
	done := m.InFlight("compute")
	m.ObserveHTTP("compute", "GET", "/servers/{id}", 200, 30*time.Millisecond)
	m.ObserveHTTP("compute", "EVIL1", "/servers/{id}", 400, time.Millisecond)
	m.ObserveHTTP("compute", "EVIL2", "/servers/{id}", 400, time.Millisecond)
	m.Counter("tropo_x_total", "X.", "k").WithLabelValues("v").Inc()
	m.Counter("tropo_x_total", "X.", "k").WithLabelValues("v").Inc()
	m.Gauge("tropo_y", "Y.").WithLabelValues().Set(3)
	m.Histogram("tropo_z_seconds", "Z.", nil).WithLabelValues().Observe(1)
	text := scrape(t, m)
	for _, want := range []string{
		`tropo_http_request_duration_seconds_count{method="GET",route="/servers/{id}",service="compute",status="200"} 1`,
		`tropo_http_request_duration_seconds_count{method="other",route="/servers/{id}",service="compute",status="400"} 2`,
		`tropo_http_requests_in_flight{service="compute"} 1`,
		`tropo_x_total{k="v"} 2`, `tropo_y 3`, `tropo_z_seconds_count 1`, `tropo_build_info{version="1.2"} 1`, "go_goroutines",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing", want)
		}
	}
	done()
	if strings.Contains(scrape(t, other), "tropo_x_total") {
		t.Error("two apps share a registry")
	}
	defer func() {
		if recover() == nil {
			t.Error("one name for two kinds is accepted")
		}
	}()
	m.Gauge("tropo_x_total", "X.", "k")
}

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

func TestHealth(t *testing.T) {
	var log bytes.Buffer
	h := &Health{Log: Logger(&log, "info", "text")}
	var live, ready error
	h.AddLive("loop", func(context.Context) error { return live })
	h.Add("database", func(context.Context) error { return ready })
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		h.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code, strings.TrimSpace(w.Body.String())
	}
	for _, c := range []struct {
		live, ready     error
		healthz, readyz int
	}{
		{nil, nil, 200, 200},
		{nil, errors.New("dial 10.0.0.1"), 200, 503},
		{errors.New("stuck"), nil, 503, 503},
	} {
		live, ready = c.live, c.ready
		if code, body := get("/healthz"); code != c.healthz || strings.Contains(body, "database") {
			t.Errorf("%v, %v: healthz %d %s", c.live, c.ready, code, body)
		}
		if code, body := get("/readyz"); code != c.readyz || strings.Contains(body, "10.0.0.1") {
			t.Errorf("%v, %v: readyz %d %s", c.live, c.ready, code, body)
		}
	}
	if !strings.Contains(log.String(), "10.0.0.1") {
		t.Error("the log does not say why")
	}
	live = nil
	h.Add("panics", func(context.Context) error { panic("x") })
	if code, _ := get("/readyz"); code != 503 {
		t.Error(code)
	}
	h.Remove("panics")
	if code, body := get("/readyz"); code != 200 || body != `{"checks":{"database":"ok","loop":"ok"},"status":"ok"}` {
		t.Error(code, body)
	}
}

func TestHealthDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h Health
		release := make(chan struct{})
		h.Add("hangs", func(context.Context) error { <-release; return nil })
		h.Add("good", func(context.Context) error { return nil })
		start := time.Now()
		got := h.Run(t.Context(), true)
		if !errors.Is(got["hangs"], context.DeadlineExceeded) || got["good"] != nil || time.Since(start) != checkTimeout {
			t.Error(got, time.Since(start))
		}
		close(release)
	})
}
