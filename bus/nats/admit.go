package nats

import (
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"log/slog"
	"maps"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
)

// Admit says whether the owner of a certificate (whose chain is checked) may
// connect, and whether it may be a server of the cluster. It is asked again at
// each Review.
type Admit func(c *x509.Certificate) (peer bool, err error)

// gate lets in by certificates. This process itself, which comes in memory
// without TLS, has a random password.
type gate struct {
	admit    Admit
	limit    Limit  // nil: everybody may do everything
	prefix   string // of limited clients' names
	password string
	log      *slog.Logger

	mu      sync.Mutex
	clients map[uint64]*x509.Certificate
	peers   map[string]*x509.Certificate // by name
}

func newGate(admit Admit, log *slog.Logger) *gate {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return &gate{admit: admit, password: hex.EncodeToString(b), log: log, clients: map[uint64]*x509.Certificate{}, peers: map[string]*x509.Certificate{}}
}

// localUser is the name of this process.
const localUser = "local"

// client admits a client's connection.
type client struct{ *gate }

var _ server.Authentication = client{}

// Check implements server.Authentication.
func (g client) Check(c server.ClientAuthentication) bool {
	state := c.GetTLSConnectionState()
	if state == nil {
		o := c.GetOpts()
		return o.Username == localUser && subtle.ConstantTimeCompare([]byte(o.Password), []byte(g.password)) == 1
	}
	if len(state.VerifiedChains) == 0 {
		return false
	}
	cert := state.VerifiedChains[0][0]
	if _, err := g.admit(cert); err != nil {
		g.log.Warn("a node was refused by the message broker", slog.String("node", cert.Subject.CommonName), slog.Any("error", err))
		return false
	}
	if g.limit != nil {
		if l := g.limit(cert); l != nil {
			c.RegisterUser(&server.User{Username: cert.Subject.CommonName, Permissions: l.permissions(g.prefix)})
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.clients[c.GetID()] = cert
	return true
}

// router admits another server that connects.
type router struct{ *gate }

var _ server.Authentication = router{}

// Check implements server.Authentication; peerTLS has asked already.
func (g router) Check(c server.ClientAuthentication) bool {
	state := c.GetTLSConnectionState()
	return state != nil && len(state.VerifiedChains) > 0 && g.peer(state.VerifiedChains[0][0]) == nil
}

var errNoPeer = errors.New("the node is no server of the cluster")

func (g *gate) peer(cert *x509.Certificate) error {
	ok, err := g.admit(cert)
	if err == nil && !ok {
		err = errNoPeer
	}
	if err != nil {
		g.log.Warn("a server was refused by the message broker", slog.String("node", cert.Subject.CommonName), slog.Any("error", err))
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.peers[cert.Subject.CommonName] = cert
	return nil
}

// peerTLS checks the servers that connect and those that we connect to.
func (g *gate) peerTLS(c *tls.Config) *tls.Config {
	c = c.Clone()
	c.ClientAuth = tls.RequireAndVerifyClientCert
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.VerifiedChains) == 0 {
			return errNoPeer
		}
		return g.peer(s.VerifiedChains[0][0])
	}
	return c
}

// refused lists the clients, and reports whether there is a server, that must
// not be connected any more. The lock is not held while Admit is asked, which
// may take its time.
func (g *gate) refused(alive func(id uint64) bool) (clients []uint64, peers bool) {
	g.mu.Lock()
	maps.DeleteFunc(g.clients, func(id uint64, _ *x509.Certificate) bool { return !alive(id) })
	all, servers := maps.Clone(g.clients), maps.Clone(g.peers)
	g.mu.Unlock()
	for id, cert := range all {
		if _, err := g.admit(cert); err != nil {
			clients = append(clients, id)
		}
	}
	for name, cert := range servers {
		if ok, err := g.admit(cert); err != nil || !ok {
			g.mu.Lock()
			if g.peers[name] == cert {
				delete(g.peers, name)
				peers = true
			}
			g.mu.Unlock()
		}
	}
	return clients, peers
}
