package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/cluster"
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
	{"feed", "/feed", ""},
}

// front is the common listener's handler: it hands each request to the service
// whose path it begins with, and answers 503 for one that is still starting.
type front struct {
	mu   sync.RWMutex
	by   map[string]http.Handler // service → handler under its mount
	root http.Handler            // identity again, for /v3
	news chan struct{}           // closed with the next set; nil: nobody waits
	// check says why a balancer should send nothing here; nil: never.
	check func(ctx context.Context) error
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
	if f.news != nil {
		close(f.news)
		f.news = nil
	}
}

// find returns the handler of a path; nil for a service that is known but does
// not answer yet.
func (f *front) find(path string) (h http.Handler, known bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.lookUp(path)
}

func (f *front) lookUp(path string) (h http.Handler, known bool) {
	for _, m := range mounts {
		if path == m.path || strings.HasPrefix(path, m.path+"/") {
			h, known = f.by[m.service], true
		}
	}
	// Clients that are told only a host and port look for identity there.
	if !known && (path == "/v3" || strings.HasPrefix(path, "/v3/") || path == "/") {
		h, known = f.root, true
	}
	return h, known
}

// next returns a channel that is closed when a service more answers; nil when
// that of the path does already.
func (f *front) next(path string) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if h, _ := f.lookUp(path); h != nil {
		return nil
	}
	if f.news == nil {
		f.news = make(chan struct{})
	}
	return f.news
}

// ServeHTTP implements http.Handler.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h, known := f.find(r.URL.Path)
	f.answer(w, r, h, known)
}

// answer answers with what find found for the request's path.
func (f *front) answer(w http.ResponseWriter, r *http.Request, h http.Handler, known bool) {
	switch {
	case h != nil:
		h.ServeHTTP(w, r)
	case known:
		w.Header().Set("Retry-After", "1")
		w.Header().Set(auth.UnhandledHeader, "1")
		http.Error(w, "The service is starting; try again.", http.StatusServiceUnavailable)
	case r.URL.Path == "/healthcheck":
		f.health(w, r)
	default:
		http.NotFound(w, r)
	}
}

// health answers balancers: 200 only where requests are welcome.
func (f *front) health(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if f.check != nil {
		if err := f.check(r.Context()); err != nil {
			http.Error(w, "UNAVAILABLE", http.StatusServiceUnavailable)
			return
		}
	}
	_, _ = fmt.Fprintln(w, "OK")
}

// listenSpec reads --listen values: "127.0.0.1:5000" for the common listener,
// "identity=127.0.0.1:5001" for a service of its own. byDefault is the common
// listener where none is given.
func listenSpec(values []string, byDefault string) (common string, own map[string]string, err error) {
	common, own = byDefault, map[string]string{}
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

// publicBase is the URL under which clients reach the cloud.
func (s *System) publicBase() string {
	if u := s.o.Config.Node.PublicEndpoint; u != "" {
		return strings.TrimRight(u, "/")
	}
	if s.place != nil && !s.place.now().Founder && s.place.now().Public != "" {
		return s.place.now().Public
	}
	return "http://" + s.reachable(s.common)
}

// reachable puts this machine's address where an address stands for all.
func (s *System) reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || s.member.alone() {
		return addr
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		return net.JoinHostPort(s.member.Management.String(), port)
	}
	return addr
}

// public is the public URL of a service.
func (s *System) public(service string) string {
	for _, m := range mounts {
		if m.service != service {
			continue
		}
		if addr, ok := s.own[service]; ok && s.o.Config.Node.PublicEndpoint == "" {
			return "http://" + s.reachable(addr) + m.suffix
		}
		return s.publicBase() + m.path + m.suffix
	}
	return ""
}

// endpoint is the URL of a service for this machine's own parts: within this
// process where the service runs here, of whichever control node answers
// otherwise. It is for s.transport alone.
func (s *System) endpoint(service string) string {
	for _, m := range mounts {
		if m.service != service {
			continue
		}
		if s.agentOnly() {
			return "https://" + cluster.AnyControl + m.path + m.suffix
		}
		if addr, ok := s.own[service]; ok {
			return "http://" + addr + m.suffix
		}
		return "http://" + s.common + m.path + m.suffix
	}
	return ""
}

// endpointOf is the URL for this machine's own parts by catalog type.
func (s *System) endpointOf(typ string) (string, bool) {
	u := s.endpoint(typ)
	return u, u != ""
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

func (s *System) serveOn(l net.Listener, h http.Handler) { s.serveTLS(l, h, nil) }

// serveTLS answers on a listener, with TLS unless c is nil.
func (s *System) serveTLS(l net.Listener, h http.Handler, c *tls.Config) {
	h = s.welcome(h)
	srv := &http.Server{
		TLSConfig:         c,
		Handler:           h,
		ReadHeaderTimeout: 20 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
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
		serve := srv.Serve
		if c != nil {
			serve = func(l net.Listener) error { return srv.ServeTLS(l, "", "") }
		}
		if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		<-stopped
		return nil
	})
}

// welcome turns away what comes after the end has begun (on connections that
// were there before): it was not begun, and may be sent to another node. What
// this process asks itself meanwhile goes on.
func (s *System) welcome(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.ctx.Err() == nil {
			if strings.HasSuffix(r.URL.Path, "/feed") { // has no end of its own
				ctx, cancel := context.WithCancel(r.Context())
				defer cancel()
				defer context.AfterFunc(s.ctx, cancel)()
				r = r.WithContext(ctx)
			}
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Retry-After", "1")
		w.Header().Set("Connection", "close")
		w.Header().Set(auth.UnhandledHeader, "1")
		http.Error(w, "The service is stopping; try again.", http.StatusServiceUnavailable)
	})
}

// ready says why this machine should not be asked: it is starting or stopping,
// or something that it needs does not answer. The answer holds for a second.
func (s *System) ready(ctx context.Context) error {
	if !s.up.Load() {
		return errors.New("it is starting")
	}
	if s.ctx.Err() != nil {
		return errors.New("it is stopping")
	}
	if at := s.checked.Load(); at != nil && time.Since(at.at) < time.Second {
		return at.err
	}
	v, _, _ := s.checking.Do("", func() (any, error) {
		c := &checked{at: time.Now()}
		for name, err := range s.health.Run(context.WithoutCancel(ctx), true) {
			if err != nil {
				c.err = errors.Join(c.err, fmt.Errorf("%s: %w", name, err))
			}
		}
		s.checked.Store(c)
		return c, nil
	})
	return v.(*checked).err
}

// checked is the outcome of the checks at a time.
type checked struct {
	at  time.Time
	err error
}
