package app

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/cluster"
	clusterapi "github.com/tropocloud/tropo/cluster/api"
	clusterclient "github.com/tropocloud/tropo/cluster/client"
	clustermanager "github.com/tropocloud/tropo/cluster/manager"
	"github.com/tropocloud/tropo/cluster/pki"
	clusterstore "github.com/tropocloud/tropo/cluster/store"
	computemetadata "github.com/tropocloud/tropo/compute/metadata"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/host"
	"github.com/tropocloud/tropo/rest"
)

// changedEvent is announced on the bus when a node joined or was removed.
const changedEvent = "cluster.changed"

// defaultListen is the common listener's address where none was given: the
// management address, as nobody else reaches loopback.
func (s *System) defaultListen() string {
	if s.member.alone() {
		return DefaultListen
	}
	return net.JoinHostPort(s.member.Management.String(), "5000")
}

// openCluster makes this machine a node of its cloud: on a control node the
// service that knows the others, on another the way to it. A machine alone
// needs neither.
func (s *System) openCluster() error {
	if s.member.alone() {
		return nil
	}
	if !s.agentOnly() {
		if err := s.openNodes(); err != nil {
			return fmt.Errorf("cluster: %w", err)
		}
	}
	var err error
	if s.identity, err = pki.Load(*s.member.Files); err != nil {
		return err
	}
	s.transport.Next = &auth.Failover{Host: cluster.AnyControl, Bases: s.controlBases, Next: nodeTransport(s.identity)}
	if s.agentOnly() {
		s.Go("heartbeat", s.beat)
	}
	return nil
}

// controlTLS is how a node asks control nodes: whoever answers must be one, and
// not just any node, wherever the connection leads.
func controlTLS(id *pki.Identity) *tls.Config {
	c := id.Client()
	c.ServerName = cluster.AnyControl
	return c
}

// nodeTransport carries requests to control nodes. A peer that is gone is
// noticed within seconds.
func nodeTransport(id *pki.Identity) *http.Transport {
	return &http.Transport{
		TLSClientConfig: controlTLS(id), ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute,
		DialContext:         (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 5 * time.Second}).DialContext,
		TLSHandshakeTimeout: 5 * time.Second,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: 3 * time.Second, PingTimeout: 3 * time.Second, WriteByteTimeout: 10 * time.Second},
	}
}

// controlBases are the management URLs of the control nodes.
func (s *System) controlBases() []string {
	var out []string
	for _, n := range s.member.Controls() {
		if n.Management.IsValid() {
			out = append(out, managementURL(n))
		}
	}
	return out
}

func managementURL(n cluster.Node) string {
	return "https://" + net.JoinHostPort(n.Management.String(), strconv.Itoa(cluster.ManagementPort))
}

// openNodes opens the cluster's service on a control node.
func (s *System) openNodes() error {
	d, err := s.openDB(s.ctx, "cluster")
	if err != nil {
		return err
	}
	st, err := clusterstore.New(s.ctx, d)
	if err != nil {
		return err
	}
	c := s.o.Config
	shared := cmp.Or(c.Bus.NodeURL, c.Bus.URL)
	if strings.HasPrefix(shared, "nats-embedded:") {
		shared = "" // that is in here, and nodes know the way
	}
	s.nodes, err = clustermanager.New(s.ctx, clustermanager.Options{
		Store: st, Self: s.member.Node, Version: s.o.Version, Dir: s.state.Path("pki"), Session: s.session("nova"),
		Bus: shared, Metadata: s.metadataSecret, Share: s.shareControl, Keys: s.shareKeys, Log: s.log,
		Changed: func(ctx context.Context) {
			if err := bus.Tell(ctx, s.bus, changedEvent, struct{}{}); err != nil {
				s.log.LogAttrs(ctx, slog.LevelWarn, "a change of the nodes was not announced", slog.Any("error", err))
			}
		},
	})
	if err != nil {
		return err
	}
	s.member.Controls, s.turns = s.nodes.Controls, d
	if want := s.publicBase(); (s.place.now().Founder || c.Node.PublicEndpoint != "") && s.nodes.Public() != want {
		if err := s.nodes.SetPublic(s.ctx, want); err != nil {
			return err
		}
	}
	s.nodes.Watch(func() {
		m := cluster.Membership{Bus: s.place.now().Bus, Public: s.nodes.Public()}
		for _, n := range s.nodes.Controls() {
			m.Controls = append(m.Controls, n.Document())
		}
		if err := s.keepPlace(s.ctx, m); err != nil {
			s.log.LogAttrs(s.ctx, slog.LevelError, "the control nodes' addresses were not stored", slog.Any("error", err))
		}
	})
	s.Go("nodes", s.nodes.Run)
	return nil
}

// metadataSecret is what a node's metadata proxy signs with: good for the
// servers there alone.
func (s *System) metadataSecret(node string) string {
	return computemetadata.NodeSecret(s.secrets.Metadata, node)
}

// serveCluster makes the cluster's API and the management listener of a
// control node answer.
func (s *System) serveCluster(admin *http.ServeMux) error {
	if s.nodes == nil {
		admin.HandleFunc("/cluster/", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusConflict)
			_, _ = fmt.Fprintf(w, `{"error": {"code": 409, "title": "Conflict", "message": %q}}`, s.whyNoNodes())
		})
		return nil
	}
	o := clusterapi.Options{
		Validator: s.validator("nova"), PolicyFile: s.policyFile("cluster"), EnforceScope: s.o.Config.EnforceScope, AuthURL: s.authURL(),
		Log: s.log, Metrics: s.metrics, Tracing: s.tracing,
	}
	local, err := clusterapi.Local(s.nodes, clusterapi.Options{Log: s.log})
	if err != nil {
		return err
	}
	admin.Handle("/cluster/", rest.Mount("/cluster", local))
	api, err := clusterapi.New(s.nodes, o)
	if err != nil {
		return err
	}
	// The cluster's own API is on the management address alone.
	mounted := rest.Mount("/cluster", api)
	all := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/cluster/") {
			mounted.ServeHTTP(w, r)
			return
		}
		s.front.ServeHTTP(w, r)
	})
	s.onStop(stopper(s.bus.Subscribe(changedEvent, func(ctx context.Context, _ bus.Event) {
		if err := s.nodes.Reload(ctx); err != nil {
			s.log.LogAttrs(ctx, slog.LevelWarn, "the nodes could not be read again", slog.Any("error", err))
		}
	})))
	addr := net.JoinHostPort(s.member.Management.String(), strconv.Itoa(cluster.ManagementPort))
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen for the other nodes: %w", err)
	}
	s.serveTLS(l, s.admitted(all), s.identity.Server(false, func(c *x509.Certificate) error {
		_, err := s.nodes.Admit(c)
		return err
	}))
	return nil
}

func (s *System) whyNoNodes() string {
	if s.agentOnly() {
		return "This node is no control node: ask one."
	}
	return "This cloud has one machine: start it with --address ADDRESS to let others join."
}

// admitted refuses requests on connections whose certificate has been revoked
// since they were made.
func (s *System) admitted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			if _, err := s.nodes.Admit(r.TLS.PeerCertificates[0]); err != nil {
				w.Header().Set("Connection", "close")
				http.Error(w, "The node was removed from the cloud.", http.StatusForbidden)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// beat tells the control nodes that this node lives, learns from them, and
// keeps its certificate young.
func (s *System) beat(ctx context.Context) error {
	c := clusterclient.New("https://"+cluster.AnyControl+"/cluster", s.transport)
	var last atomic.Int64
	last.Store(time.Now().UnixNano())
	s.health.Add("control nodes", func(context.Context) error {
		if ago := time.Since(time.Unix(0, last.Load())); ago > 6*clustermanager.Beat {
			return fmt.Errorf("no control node has answered for %s", ago.Round(time.Second))
		}
		return nil
	})
	for pause := time.Duration(0); ; pause = clustermanager.Beat*4/5 + rand.N(clustermanager.Beat*2/5) { //nolint:gosec // jitter is no secret
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		switch err := s.beatOnce(ctx, c); {
		case err == nil:
			last.Store(time.Now().UnixNano())
		case ctx.Err() != nil:
		case fault.Is(err, fault.Forbidden):
			s.log.LogAttrs(ctx, slog.LevelError, "this node is not part of the cloud any more", slog.Any("error", err))
		default:
			s.log.LogAttrs(ctx, slog.LevelWarn, "no control node takes the heartbeat", slog.Any("error", err))
		}
	}
}

func (s *System) beatOnce(ctx context.Context, c *clusterclient.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	m, err := c.Beat(ctx, s.o.Version)
	if err != nil {
		return err
	}
	if err := s.keepPlace(ctx, *m); err != nil {
		return err
	}
	leaf, err := s.identity.Leaf()
	if err != nil || time.Now().Before(pki.RenewAt(leaf)) {
		return err
	}
	key, err := os.ReadFile(s.member.Files.Key)
	if err != nil {
		return err
	}
	cert, err := c.Renew(ctx, s.member.Name, key)
	if err != nil {
		return err
	}
	if _, err := pki.ParseCertificate(cert); err != nil {
		return errors.Join(errors.New("the new certificate cannot be read"), err)
	}
	return host.WriteFile(s.member.Files.Cert, cert, 0o600)
}
