package nats_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/bus/nats"
	tropocluster "github.com/tropocloud/tropo/cluster"
	"github.com/tropocloud/tropo/cluster/pki"
	"github.com/tropocloud/tropo/fault"
)

// authority makes certificates, and knows who was removed.
type authority struct {
	t  *testing.T
	ca *pki.Authority

	pem     []byte
	mu      sync.Mutex
	removed map[string]bool
}

func newAuthority(t *testing.T) *authority {
	cert, key, err := pki.NewAuthority("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ca, err := pki.LoadAuthority(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{t: t, ca: ca, pem: cert, removed: map[string]bool{}}
}

func (a *authority) node(name string) *pki.Identity {
	key, err := pki.NewKey()
	if err != nil {
		a.t.Fatal(err)
	}
	text, err := pki.Request(name, key)
	if err != nil {
		a.t.Fatal(err)
	}
	csr, err := pki.ParseRequest(string(text))
	if err != nil {
		a.t.Fatal(err)
	}
	_, cert, err := a.ca.Sign(csr, name, nil, []netip.Addr{netip.MustParseAddr("127.0.0.1")}, time.Now())
	if err != nil {
		a.t.Fatal(err)
	}
	dir := a.t.TempDir()
	files := tropocluster.Files{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "node.pem"), Key: filepath.Join(dir, "node-key.pem")}
	for f, b := range map[string][]byte{files.CA: a.pem, files.Cert: cert, files.Key: key} {
		if err := os.WriteFile(f, b, 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	id, err := pki.Load(files)
	if err != nil {
		a.t.Fatal(err)
	}
	return id
}

func (a *authority) admit(c *x509.Certificate) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.removed[c.Subject.CommonName] {
		return false, errors.New("removed")
	}
	return c.Subject.CommonName[0] == 'c', nil
}

func (a *authority) remove(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.removed[name] = true
}

// controls starts the servers of n control nodes.
func (a *authority) controls(n int) []*nats.Server {
	var list []*nats.Server
	var routes []string
	for i := range n {
		name := fmt.Sprintf("c%d", i)
		s := embed(a.t, nats.ServerOptions{
			Name: name, Listen: "127.0.0.1:0", Cluster: "127.0.0.1:0", Routes: routes,
			TLS: a.node(name).Server(true, nil), Admit: a.admit,
		})
		routes = append(routes, s.Cluster())
		list = append(list, s)
	}
	for _, s := range list {
		eventually(a.t, "routes", func(context.Context) error {
			if s.Peers() < n-1 {
				return fmt.Errorf("%d of %d", s.Peers(), n-1)
			}
			return nil
		})
	}
	return list
}

func (a *authority) agent(name string, servers ...*nats.Server) bus.Bus {
	o := nats.Options{Name: name, TLS: a.node(name).Client()}
	for _, s := range servers {
		o.URLs = append(o.URLs, s.URL())
	}
	return open(a.t, o)
}

// TestNodesWithServersDown: agents that hold certificates reach each other
// with three, two and one server of three.
func TestNodesWithServersDown(t *testing.T) {
	a := newAuthority(t)
	servers := a.controls(3)
	control := open(t, nats.Options{Server: servers[2]})
	h1, h2 := a.agent("h1", servers...), a.agent("h2", servers...)
	for host, b := range map[string]bus.Bus{"h1": h1, "h2": h2, "c2": control} {
		if _, err := b.Serve(t.Context(), "compute", host, func(context.Context, string, func(any) error) (any, error) { return host, nil }); err != nil {
			t.Fatal(err)
		}
	}
	for up := 3; up > 0; up-- {
		for from, b := range map[string]bus.Bus{"h1": h1, "h2": h2, "c2": control} {
			for _, to := range []string{"h1", "h2", "c2"} {
				eventually(t, fmt.Sprintf("%s to %s with %d of 3", from, to, up), func(ctx context.Context) error {
					return b.Call(ctx, bus.Target{Topic: "compute", Host: to}, "m", nil, nil)
				})
			}
		}
		if up > 1 {
			servers[3-up].Close()
		}
	}
}

// TestNodesRefused: strangers and removed nodes get no connection, and lose
// the one they have.
func TestNodesRefused(t *testing.T) {
	a := newAuthority(t)
	servers := a.controls(2)
	h1 := a.agent("h1", servers[0])
	h2 := a.agent("h2", servers[1])
	if _, err := h1.Serve(t.Context(), "compute", "h1", func(context.Context, string, func(any) error) (any, error) { return nil, nil }); err != nil {
		t.Fatal(err)
	}
	call := func(ctx context.Context) error {
		return h2.Call(ctx, bus.Target{Topic: "compute", Host: "h1"}, "m", nil, nil)
	}
	eventually(t, "call", call)

	stranger := newAuthority(t)
	for name, c := range map[string]*tls.Config{
		"another cloud's node": stranger.node("h1").Client(),
		"no certificate":       {RootCAs: a.node("x").Client().RootCAs, MinVersion: tls.VersionTLS13},
	} {
		if name == "another cloud's node" {
			c.RootCAs = a.node("x").Client().RootCAs
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		if b, err := nats.Open(ctx, nats.Options{URLs: []string{servers[0].URL()}, TLS: c}); !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v, %v", name, b, err)
		}
		cancel()
	}

	a.remove("h1")
	for _, s := range servers {
		if err := s.Review(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the removed node is gone", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := call(ctx); err == nil {
			return errors.New("it still answers")
		}
		return nil
	})

	a.remove("c1")
	if err := servers[0].Review(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the removed server has no route", func(context.Context) error {
		if n := servers[0].Peers(); n > 0 {
			return fmt.Errorf("%d peers", n)
		}
		return nil
	})
	// The server that started anew serves its own.
	h3 := a.agent("h3", servers[0])
	if err := h3.Fanout(t.Context(), "compute", "m", nil); err != nil {
		t.Error(err)
	}
}
