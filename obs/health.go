package obs

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"
)

// checkTimeout bounds each health check.
const checkTimeout = 5 * time.Second

// Health holds named checks. The zero value is ready; it is safe for
// concurrent use. Log, if set before use, is told why a check failed: the
// answer names the check only, as it may be read without a token.
type Health struct {
	Log *slog.Logger

	mu     sync.Mutex
	checks map[string]healthCheck
}

type healthCheck struct {
	live bool
	run  func(context.Context) error
}

// Add registers or replaces a check of readiness: whether to send work here.
func (h *Health) Add(name string, check func(context.Context) error) { h.add(name, false, check) }

// AddLive registers or replaces a check of life, which counts for readiness
// too: whether a restart would help.
func (h *Health) AddLive(name string, check func(context.Context) error) { h.add(name, true, check) }

// Remove forgets a check.
func (h *Health) Remove(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.checks, name)
}

func (h *Health) add(name string, live bool, check func(context.Context) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.checks == nil {
		h.checks = map[string]healthCheck{}
	}
	h.checks[name] = healthCheck{live, check}
}

// Run runs the checks of life, or all of them, at the same time, each for 5 s
// at most, and returns the result of each; nil is good.
func (h *Health) Run(ctx context.Context, all bool) map[string]error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	h.mu.Lock()
	run := map[string]func(context.Context) error{}
	for name, c := range h.checks {
		if c.live || all {
			run[name] = c.run
		}
	}
	h.mu.Unlock()
	type result struct {
		name string
		err  error
	}
	done := make(chan result, len(run))
	for name, f := range run {
		go func() {
			defer func() {
				if p := recover(); p != nil {
					done <- result{name, fmt.Errorf("panic: %v", p)}
				}
			}()
			done <- result{name, f(ctx)}
		}()
	}
	out := map[string]error{}
	for range run {
		select {
		case r := <-done:
			out[r.name] = r.err
		case <-ctx.Done():
			for name := range run {
				if _, ok := out[name]; !ok {
					out[name] = ctx.Err()
				}
			}
			return out
		}
	}
	return out
}

// Handler answers …/readyz with all checks and every other path, such as
// /healthz, with the checks of life: 200 or 503 and a JSON document.
func (h *Health) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, code := "ok", http.StatusOK
		checks := map[string]string{}
		for name, err := range h.Run(r.Context(), strings.HasSuffix(r.URL.Path, "/readyz")) {
			checks[name] = "ok"
			if err == nil {
				continue
			}
			checks[name], status, code = "failed", "failed", http.StatusServiceUnavailable
			if h.Log != nil {
				h.Log.WarnContext(r.Context(), "health check failed", slog.String("check", name), slog.Any("error", err))
			}
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(map[string]any{"status": status, "checks": checks})
	})
}
