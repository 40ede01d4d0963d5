package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/tropocloud/tropo/rest"
)

// mounts are the services' paths on the common listener, as DevStack lays
// them out, and what follows in the catalog.
var mounts = []struct{ service, path, suffix string }{
	{"identity", "/identity", ""},
	{"image", "/image", ""},
	{"placement", "/placement", ""},
	{"compute", "/compute", "/v2.1"},
	{"network", "/networking", ""},
	{"metadata", "/metadata", ""},
}

// front is the common listener's handler: it hands each request to the service
// whose path it begins with, and answers 503 for one that is still starting.
type front struct {
	mu   sync.RWMutex
	by   map[string]http.Handler // service → handler under its mount
	root http.Handler            // identity again, for /v3
}

func (f *front) set(service string, h http.Handler) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.by == nil {
		f.by = map[string]http.Handler{}
	}
	for _, m := range mounts {
		if m.service == service {
			f.by[service] = rest.Mount(m.path, h)
		}
	}
	if service == "identity" {
		f.root = h
	}
}

// ServeHTTP implements http.Handler.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.RLock()
	var h http.Handler
	known := false
	for _, m := range mounts {
		if r.URL.Path == m.path || strings.HasPrefix(r.URL.Path, m.path+"/") {
			h, known = f.by[m.service], true
		}
	}
	// Clients that are told only a host and port look for identity there.
	if !known && (r.URL.Path == "/v3" || strings.HasPrefix(r.URL.Path, "/v3/") || r.URL.Path == "/") {
		h, known = f.root, true
	}
	f.mu.RUnlock()
	switch {
	case h != nil:
		h.ServeHTTP(w, r)
	case known:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "The service is starting; try again.", http.StatusServiceUnavailable)
	case r.URL.Path == "/healthcheck":
		_, _ = fmt.Fprintln(w, "OK")
	default:
		http.NotFound(w, r)
	}
}

// listenSpec reads --listen values: "127.0.0.1:5000" for the common listener,
// "identity=127.0.0.1:5001" for a service of its own.
func listenSpec(values []string) (common string, own map[string]string, err error) {
	common, own = DefaultListen, map[string]string{}
	for _, v := range values {
		service, addr, ok := strings.Cut(v, "=")
		if !ok {
			service, addr = "", v
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return "", nil, fmt.Errorf("--listen %s: write ADDRESS:PORT or SERVICE=ADDRESS:PORT: %w", v, err)
		}
		if service == "" {
			common = addr
			continue
		}
		known := false
		for _, m := range mounts {
			known = known || m.service == service
		}
		if !known {
			return "", nil, fmt.Errorf("--listen %s: there is no service %q", v, service)
		}
		own[service] = addr
	}
	return common, own, nil
}

// DefaultListen is the address of the common listener.
const DefaultListen = "127.0.0.1:5000"

// endpoint is the public URL of a service.
func (s *System) endpoint(service string) string {
	for _, m := range mounts {
		if m.service != service {
			continue
		}
		if addr, ok := s.own[service]; ok {
			return "http://" + addr + m.suffix
		}
		return "http://" + s.common + m.path + m.suffix
	}
	return ""
}

// serve answers on an address until the system stops.
func (s *System) serve(addr string, h http.Handler) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w (is another cloud running there? --listen takes another address)", err)
	}
	s.serveOn(l, h)
	return l, nil
}

// serveUnix answers on a unix socket that only the owner may use.
func (s *System) serveUnix(path string, h http.Handler) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return errors.Join(err, l.Close())
	}
	s.serveOn(l, h)
	return nil
}

func (s *System) serveOn(l net.Listener, h http.Handler) {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 20 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	s.Go("listener "+l.Addr().String(), func(ctx context.Context) error {
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			<-ctx.Done()
			grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if srv.Shutdown(grace) != nil {
				_ = srv.Close()
			}
		}()
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		<-stopped
		return nil
	})
}
