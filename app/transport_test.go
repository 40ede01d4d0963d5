package app

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tropocloud/tropo/cluster"
	clustermanager "github.com/tropocloud/tropo/cluster/manager"
	"github.com/tropocloud/tropo/cluster/pki"
)

// TestNodesAskControlNodesAlone: a node that answers at a control node's
// address, with a certificate that is even for that address, gets no request
// and so no password and no token.
func TestNodesAskControlNodesAlone(t *testing.T) {
	caPEM, caKey, err := pki.NewAuthority("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ca, err := pki.LoadAuthority(caPEM, caKey)
	if err != nil {
		t.Fatal(err)
	}
	node := func(name string, names ...string) *pki.Identity {
		key, err := pki.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		text, err := pki.Request(name, key)
		if err != nil {
			t.Fatal(err)
		}
		csr, err := pki.ParseRequest(string(text))
		if err != nil {
			t.Fatal(err)
		}
		_, cert, err := ca.Sign(csr, name, names, []netip.Addr{netip.MustParseAddr("127.0.0.1")}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		files := clustermanager.Files(t.TempDir())
		for f, b := range map[string][]byte{files.CA: caPEM, files.Cert: cert, files.Key: key} {
			if err := os.WriteFile(filepath.Clean(f), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		id, err := pki.Load(files)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	client := &http.Client{Transport: nodeTransport(node("h1"))}
	for _, c := range []struct {
		server *pki.Identity
		good   bool
	}{{node("c1", cluster.AnyControl), true}, {node("h2"), false}} {
		asked := false
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
		s.TLS = c.server.Server(false, nil)
		s.StartTLS()
		res, err := client.Get(s.URL)
		if err == nil {
			_ = res.Body.Close()
		}
		if (err == nil) != c.good || asked != c.good {
			t.Errorf("%v, asked: %t; want %t", err, asked, c.good)
		}
		s.Close()
	}
}
