package nats

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/bus/broker"
)

// startTimeout bounds how long an embedded server may take to start; it takes
// milliseconds.
const startTimeout = 10 * time.Second

// maxPayload is what a message of bus.MaxMessage needs with its envelope.
const maxPayload = bus.MaxMessage + 1<<20

// maxPings is how many probes may be without an answer: the next finds the
// connection lost.
const maxPings = 2

// ServerOptions are those of an embedded server.
type ServerOptions struct {
	Name string // of the node, unique in the cluster; empty: by chance
	// Listen is where clients of other processes connect: "host:port", with
	// port 0 for any; empty: only this process, in memory. (One of a cluster
	// listens on loopback then, as a server that does not listen starts no
	// routes.)
	Listen string
	// Cluster is where the servers of the other control nodes connect:
	// "host:port", with port 0 for any; empty: a server alone.
	Cluster string
	// Routes are the Cluster addresses of the others, "host:port". Servers
	// tell each other of more, and try again until they are connected.
	Routes []string
	// Username and Password are what clients and routes must say; needed
	// unless nothing listens.
	Username, Password string
	// TLS, if not nil, is used for clients and (both ways) between servers.
	TLS *tls.Config
	// Admit, if not nil, lets in by certificates instead of Username and
	// Password; it needs TLS.
	Admit Admit
	// Limit, if not nil, bounds what those may do whom Admit lets in.
	Limit Limit
	// Prefix begins the names of those who are limited, as in
	// broker.Options; "tropo".
	Prefix string
	// Heartbeat is how often silent clients and servers of the cluster are
	// probed, as in broker.Options; 0: Heartbeat.
	Heartbeat time.Duration
	Log       *slog.Logger // nil: slog.Default
}

// Server is a NATS server inside this process. It keeps everything in memory.
type Server struct {
	opts ServerOptions
	gate *gate // nil: by password

	mu sync.Mutex
	s  *server.Server // another after a restart
}

// Embed starts a server.
func Embed(opts ServerOptions) (*Server, error) {
	if opts.Log == nil {
		opts.Log = slog.Default()
	}
	e := &Server{opts: opts}
	switch {
	case opts.Admit != nil && opts.TLS == nil:
		return nil, errors.New("nats: a server that lets in by certificates needs one")
	case opts.Admit != nil:
		e.gate = newGate(opts.Admit, opts.Log)
		e.gate.limit, e.gate.prefix = opts.Limit, cmp.Or(opts.Prefix, broker.Options{}.Defaults().Prefix)
		e.opts.Username, e.opts.Password = localUser, e.gate.password
	case (opts.Listen != "" || opts.Cluster != "") && (opts.Username == "" || opts.Password == ""):
		return nil, errors.New("nats: a server that listens needs a username and a password")
	}
	var err error
	if e.s, err = e.start(); err != nil {
		return nil, err
	}
	return e, nil
}

func (s *Server) start() (*server.Server, error) {
	so, err := s.opts.server()
	if err != nil {
		return nil, err
	}
	if s.gate != nil {
		so.Username, so.Password = "", ""
		so.CustomClientAuthentication, so.CustomRouterAuthentication = client{s.gate}, router{s.gate}
		so.Cluster.Username, so.Cluster.Password, so.Cluster.TLSConfig = "", "", s.gate.peerTLS(s.opts.TLS)
		for _, r := range so.Routes {
			r.User = nil
		}
	}
	n, err := server.NewServer(so)
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	n.SetLogger(&logger{s.opts.Log}, false, false)
	n.Start()
	if !n.ReadyForConnections(startTimeout) {
		n.Shutdown()
		n.WaitForShutdown()
		return nil, fmt.Errorf("nats: the embedded server did not start: listen %q, cluster %q", s.opts.Listen, s.opts.Cluster)
	}
	return n, nil
}

func (s *Server) now() *server.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.s
}

// Review asks Admit again about everybody who is connected, and ends the
// connections of those that are refused now. For a server of the cluster this
// one starts anew, as routes cannot be ended otherwise; the others come back.
func (s *Server) Review() error {
	if s.gate == nil {
		return nil
	}
	n := s.now()
	clients, peers := s.gate.refused(func(id uint64) bool { return n.GetClient(id) != nil })
	for _, id := range clients {
		_ = n.DisconnectClientByID(id) // it may have gone by itself
	}
	if !peers && n.Running() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.s.Shutdown()
	s.s.WaitForShutdown()
	fresh, err := s.start()
	if err != nil {
		return err
	}
	s.s = fresh
	return nil
}

func (o ServerOptions) server() (*server.Options, error) {
	so := &server.Options{
		ServerName: o.Name, NoSigs: true, MaxPayload: maxPayload, MaxPending: 64 << 20,
		Username: o.Username, Password: o.Password, TLSConfig: o.TLS, DontListen: o.Listen == "", MaxControlLine: 8 << 10,
		PingInterval: cmp.Or(o.Heartbeat, Heartbeat), MaxPingsOut: maxPings,
	}
	if o.TLS != nil {
		so.TLSTimeout = 5
	}
	var err error
	if o.Listen == "" && o.Cluster != "" {
		so.DontListen, so.Host, so.Port = false, "127.0.0.1", server.RANDOM_PORT
	}
	if o.Listen != "" {
		if so.Host, so.Port, err = split(o.Listen); err != nil {
			return nil, err
		}
	}
	if o.Cluster == "" {
		return so, nil
	}
	so.Cluster = server.ClusterOpts{
		Name: "tropo", Username: o.Username, Password: o.Password, TLSConfig: o.TLS, TLSTimeout: 5,
		NoAdvertise: o.Listen == "", PingInterval: so.PingInterval, MaxPingsOut: maxPings,
	}
	if so.Cluster.Host, so.Cluster.Port, err = split(o.Cluster); err != nil {
		return nil, err
	}
	for _, r := range o.Routes {
		if _, _, err := split(r); err != nil {
			return nil, err
		}
		so.Routes = append(so.Routes, &url.URL{Scheme: "nats", Host: r, User: url.UserPassword(o.Username, o.Password)})
	}
	return so, nil
}

// split reads "host:port"; port 0 becomes the server's "any port", -1.
func split(address string) (string, int, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("nats: address %q: %w", address, err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("nats: address %q: %w", address, err)
	}
	if port == 0 {
		return host, server.RANDOM_PORT, nil
	}
	return host, int(port), nil
}

// URL is where clients connect, with user and password; "" when nothing
// listens.
func (s *Server) URL() string {
	if s.opts.Listen == "" {
		return ""
	}
	u, err := url.Parse(s.now().ClientURL())
	if err != nil {
		return ""
	}
	if s.gate == nil {
		u.User = url.UserPassword(s.opts.Username, s.opts.Password)
	}
	return u.String()
}

// Cluster is the address for Routes of others; "" when it is not clustered.
func (s *Server) Cluster() string {
	if a := s.now().ClusterAddr(); a != nil {
		return a.String()
	}
	return ""
}

// Peers is how many other servers of the cluster it is connected to.
func (s *Server) Peers() int { return s.now().NumRemotes() }

// InProcessConn makes Server what nats.go connects to in memory.
func (s *Server) InProcessConn() (net.Conn, error) { return s.now().InProcessConn() }

// Close stops the server; its connections break.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.s.Shutdown()
	s.s.WaitForShutdown()
}

// logger hands the server's log on.
type logger struct{ log *slog.Logger }

var _ server.Logger = (*logger)(nil)

func (l *logger) to(level slog.Level, format string, v []any) {
	l.log.Log(context.Background(), level, "nats server", slog.String("text", fmt.Sprintf(format, v...)))
}

func (l *logger) Noticef(format string, v ...any) { l.to(slog.LevelDebug, format, v) }

// Warnf is server.Logger. On every start the server discourages our maxPayload
// (such messages are rare) and a password in memory (routes need it).
func (l *logger) Warnf(format string, v ...any) {
	if strings.HasPrefix(format, "Maximum payloads over") || strings.HasPrefix(format, "Plaintext passwords") {
		return
	}
	l.to(slog.LevelWarn, format, v)
}

func (l *logger) Fatalf(format string, v ...any) { l.to(slog.LevelError, format, v) }
func (l *logger) Errorf(format string, v ...any) { l.to(slog.LevelWarn, format, v) }
func (l *logger) Debugf(format string, v ...any) { l.to(slog.LevelDebug, format, v) }
func (l *logger) Tracef(format string, v ...any) { l.to(slog.LevelDebug, format, v) }
