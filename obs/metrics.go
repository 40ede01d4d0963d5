package obs

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics is one app's Prometheus registry. Names begin with "tropo_".
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
	inFlight *prometheus.GaugeVec
}

// NewMetrics makes a registry with the Go and process collectors, the build's
// version and the HTTP metrics.
func NewMetrics(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tropo_http_request_duration_seconds", Help: "Time to answer a request, by route.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"service", "method", "route", "status"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tropo_http_requests_in_flight", Help: "Requests being answered.",
		}, []string{"service"}),
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "tropo_build_info", Help: "Always 1; the label is the version."}, []string{"version"})
	build.WithLabelValues(version).Set(1)
	m.registry.MustRegister(m.requests, m.inFlight, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves the metrics in Prometheus' text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry, MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

// Registry is for collectors that do not fit the helpers.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// ObserveHTTP counts a request that was answered. route is the pattern, never
// the path (a path holds ids and would make a series each).
func (m *Metrics) ObserveHTTP(service, method, route string, status int, d time.Duration) {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions, "COPY":
	default:
		method = "other" // the client chooses it: bound the number of series
	}
	m.requests.WithLabelValues(service, method, route, strconv.Itoa(status)).Observe(d.Seconds())
}

// InFlight counts a request in; the result counts it out.
func (m *Metrics) InFlight(service string) (done func()) {
	g := m.inFlight.WithLabelValues(service)
	g.Inc()
	return g.Dec
}

// Counter registers a counter, or returns the one of that name.
func (m *Metrics) Counter(name, help string, labels ...string) *prometheus.CounterVec {
	return register(m.registry, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels))
}

// Gauge registers a gauge, or returns the one of that name.
func (m *Metrics) Gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return register(m.registry, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels))
}

// Histogram registers a histogram, or returns the one of that name. Nil
// buckets are Prometheus' default ones, for seconds.
func (m *Metrics) Histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return register(m.registry, prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels))
}

// register panics, like Prometheus' own, when a name is used for two kinds of
// metric or with two sets of labels: that is a programmer's mistake.
func register[C prometheus.Collector](r *prometheus.Registry, c C) C {
	err := r.Register(c)
	if err == nil {
		return c
	}
	var dup prometheus.AlreadyRegisteredError
	if errors.As(err, &dup) {
		if have, ok := dup.ExistingCollector.(C); ok {
			return have
		}
	}
	panic(err)
}
