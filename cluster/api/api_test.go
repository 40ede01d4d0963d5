package api_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/cluster"
	"github.com/tropocloud/tropo/cluster/api"
	"github.com/tropocloud/tropo/cluster/client"
	"github.com/tropocloud/tropo/cluster/manager"
	"github.com/tropocloud/tropo/cluster/pki"
	"github.com/tropocloud/tropo/cluster/store"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/rest"
	"github.com/tropocloud/tropo/rest/resttest"
)

// personas is a validator whose tokens are the names of roles.
type personas struct{}

func (personas) Validate(_ context.Context, token string) (*auth.Identity, error) {
	switch token {
	case "admin", "member":
		return &auth.Identity{Token: token, User: auth.Ref{ID: token}, Project: auth.Ref{ID: "p"}, Roles: []auth.Ref{{Name: token}}, ExpiresAt: time.Now().Add(time.Hour)}, nil
	}
	return nil, fault.Unauthenticatedf("no such token")
}

func service(t *testing.T) (*manager.Manager, *rest.API) {
	t.Helper()
	s, err := store.New(t.Context(), dbtest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	m, err := manager.New(t.Context(), manager.Options{
		Store: s, Dir: t.TempDir(), Metadata: func(node string) string { return "metadata of " + node }, Version: "v0",
		Self: cluster.Node{Name: "c1", Roles: cluster.Roles(), Management: netip.MustParseAddr("127.0.0.1")},
		Keys: func(context.Context, string) (*cluster.Keys, error) { return &cluster.Keys{Digest: "d"}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	a, err := api.New(m, api.Options{Validator: personas{}})
	if err != nil {
		t.Fatal(err)
	}
	return m, a
}

func TestExchanges(t *testing.T) {
	resttest.Run(t, "testdata", func(t *testing.T) (http.Handler, map[string]string) {
		_, a := service(t)
		return a, map[string]string{"admin": "admin", "member": "member"}
	})
	_, a := service(t)
	resttest.Covered(t, a, "testdata")
}

// listen serves the API as a control node does, and returns its address.
func listen(t *testing.T, m *manager.Manager, a http.Handler) string {
	t.Helper()
	id, err := pki.Load(m.Files())
	if err != nil {
		t.Fatal(err)
	}
	conf := id.Server(false, func(c *x509.Certificate) error {
		_, err := m.Admit(c)
		return err
	})
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: tls.NewListener(l, conf), Config: &http.Server{
		Handler: rest.Mount("/cluster", a), ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0),
	}}
	srv.Start()
	t.Cleanup(srv.Close)
	return l.Addr().String()
}

// join lets a machine join through the client, and returns its own client.
func join(t *testing.T, addr string, text string) (*client.Client, *cluster.Enrolment, []byte) {
	t.Helper()
	token, err := cluster.ParseToken(text)
	if err != nil {
		t.Fatal(err)
	}
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	n := cluster.Node{Name: "h1", Roles: []cluster.Role{cluster.Compute}, Management: netip.MustParseAddr("127.0.0.2")}
	e, err := client.Join(t.Context(), addr, token, n, key)
	if err != nil {
		t.Fatal(err)
	}
	return node(t, addr, e, key), e, key
}

func node(t *testing.T, addr string, e *cluster.Enrolment, key []byte) *client.Client {
	t.Helper()
	dir := t.TempDir()
	f := manager.Files(dir)
	for file, text := range map[string]string{f.CA: e.CA, f.Cert: e.Certificate, f.Key: string(key)} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	id, err := pki.Load(f)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{TLSClientConfig: id.Client(), ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return client.New("https://"+addr+"/cluster", tr)
}

// TestLifeOfANode goes through the client over TLS, as nodes do.
func TestLifeOfANode(t *testing.T) {
	m, a := service(t)
	addr := listen(t, m, a)
	local, err := api.Local(m, api.Options{})
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: rest.Mount("/cluster", local), ReadHeaderTimeout: time.Minute}}
	srv.Start()
	t.Cleanup(srv.Close)
	admin := client.Local(socket)
	text, err := admin.Token(t.Context(), []cluster.Role{cluster.Compute}, 1, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	h1, e, key := join(t, addr, text)
	ms, err := h1.Beat(t.Context(), "v1")
	if err != nil || ms.Node.Name != "h1" || len(ms.Controls) != 1 {
		t.Errorf("%+v, %v", ms, err)
	}
	if cert, err := h1.Renew(t.Context(), "h1", key); err != nil || string(cert) == e.Certificate {
		t.Errorf("renewal: %v", err)
	}
	if _, err := h1.Control(t.Context()); !fault.Is(err, fault.Forbidden) {
		t.Errorf("secrets of control nodes for a compute node: %v", err)
	}
	if _, err := h1.Keys(t.Context(), ""); !fault.Is(err, fault.Forbidden) {
		t.Errorf("keys for a compute node: %v", err)
	}
	if _, err := h1.Nodes(t.Context()); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("a node's certificate is no admin's token: %v", err)
	}
	list, err := admin.Nodes(t.Context())
	if err != nil || len(list) != 2 || list[1].Version != "v1" || list[1].Seen.IsZero() {
		t.Errorf("%+v, %v", list, err)
	}
	if err := admin.Remove(t.Context(), "h1"); err != nil {
		t.Fatal(err)
	}
	if _, err := h1.Beat(t.Context(), "v1"); err == nil {
		t.Error("a removed node on its old connection")
	}
	if _, err := node(t, addr, e, key).Beat(t.Context(), "v1"); err == nil {
		t.Error("a removed node on a new connection")
	}
}

func TestJoinKnowsWhomItAsks(t *testing.T) {
	m, a := service(t)
	addr := listen(t, m, a)
	other, _ := service(t)
	_, text, err := other.CreateToken(t.Context(), []cluster.Role{cluster.Compute}, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	token, err := cluster.ParseToken(text)
	if err != nil {
		t.Fatal(err)
	}
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	n := cluster.Node{Name: "h1", Roles: []cluster.Role{cluster.Compute}, Management: netip.MustParseAddr("127.0.0.2")}
	if _, err := client.Join(t.Context(), addr, token, n, key); !fault.Is(err, fault.Forbidden) || !strings.Contains(err.Error(), "not the cloud that made the token") {
		t.Errorf("another cloud's token: %v", err)
	}
	token.Fingerprint = m.Fingerprint()
	if _, err := client.Join(t.Context(), addr, token, n, key); !fault.Is(err, fault.Forbidden) || !strings.Contains(err.Error(), "tropo node token") {
		t.Errorf("a secret of another cloud: %v", err)
	}
	// The authority is right, but the certificate is for another host.
	_, port, _ := net.SplitHostPort(addr)
	if _, err := client.Join(t.Context(), "localhost:"+port, token, n, key); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a host that the certificate does not name: %v", err)
	}
	for _, bad := range []string{"http://h:1", "https://", "https://h/path", "://"} {
		if _, err := client.ControlURL(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if u, err := client.ControlURL("10.0.0.1"); err != nil || u.String() != "https://10.0.0.1:5443" {
		t.Errorf("%v, %v", u, err)
	}
}

func TestLocalSocketIsGone(t *testing.T) {
	_, err := client.Local(filepath.Join(t.TempDir(), "none")).Nodes(t.Context())
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "No control node runs") {
		t.Error(err)
	}
}
