package manager_test

import (
	"context"
	"crypto/x509"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tropocloud/tropo/cluster"
	"github.com/tropocloud/tropo/cluster/manager"
	"github.com/tropocloud/tropo/cluster/pki"
	"github.com/tropocloud/tropo/cluster/store"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/fault"
)

// cloud is a control node under a clock.
type cloud struct {
	*manager.Manager
	t   *testing.T
	dir string
	now atomic.Int64 // what the clock is ahead
}

func start(t *testing.T, d *db.DB, name, dir string) (*cloud, error) {
	t.Helper()
	s, err := store.New(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	c := &cloud{t: t, dir: dir}
	c.Manager, err = manager.New(t.Context(), manager.Options{
		Store: s, Dir: dir, Metadata: func(node string) string { return "metadata of " + node }, Now: func() time.Time { return db.Now().Add(time.Duration(c.now.Load())) },
		Self: cluster.Node{Name: name, Roles: cluster.Roles(), Management: netip.MustParseAddr("10.0.0.1")},
		Share: func(context.Context) (*cluster.ControlDocument, error) {
			return &cluster.ControlDocument{Database: "db"}, nil
		},
	})
	return c, err
}

func newCloud(t *testing.T, d *db.DB) *cloud {
	t.Helper()
	c, err := start(t, d, "c1", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *cloud) token(roles ...cluster.Role) cluster.TokenText {
	c.t.Helper()
	_, text, err := c.CreateToken(c.t.Context(), roles, 0, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	p, err := cluster.ParseToken(text)
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

// machine is one that wants to join.
type machine struct {
	key  []byte
	node cluster.Node
}

func newMachine(t *testing.T, name, address string, roles ...cluster.Role) *machine {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return &machine{key, cluster.Node{Name: name, Roles: roles, Management: netip.MustParseAddr(address)}}
}

func (m *machine) request(t *testing.T, token cluster.TokenText) cluster.JoinRequest {
	t.Helper()
	csr, err := pki.Request(m.node.Name, m.key)
	if err != nil {
		t.Fatal(err)
	}
	return cluster.JoinRequest{TokenID: token.ID, Secret: token.Secret, Node: m.node.Document(), Request: string(csr)}
}

func certificate(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	c, err := pki.ParseCertificate([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestJoinAndRemove(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		c, ctx := newCloud(t, d), t.Context()
		h1 := newMachine(t, "h1", "10.0.0.21", cluster.Compute)
		token := c.token(cluster.Compute, cluster.Network)
		e, err := c.Join(ctx, h1.request(t, token))
		if err != nil {
			t.Fatal(err)
		}
		if len(e.Controls) != 1 || e.Controls[0].Name != "c1" || e.Metadata != "metadata of h1" || e.Node.Name != "h1" {
			t.Errorf("%+v", e)
		}
		cert := certificate(t, e.Certificate)
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(e.CA))
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
			if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: "10.0.0.21", KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
				t.Error(err)
			}
		}
		if err := cert.VerifyHostname(cluster.AnyControl); err == nil {
			t.Error("a node without the role control has the control nodes' name")
		}
		if n, err := c.Admit(cert); err != nil || n.Name != "h1" {
			t.Errorf("%+v, %v", n, err)
		}
		if _, err := c.Join(ctx, h1.request(t, token)); err != nil {
			t.Errorf("the same machine again: %v", err)
		}
		if _, err := c.Beat(ctx, h1.node, "v1"); err != nil {
			t.Error(err)
		}
		if _, err := c.Share(ctx, h1.node); !fault.Is(err, fault.Forbidden) {
			t.Errorf("secrets for a compute node: %v", err)
		}
		if err := c.Remove(ctx, "h1"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Admit(cert); !fault.Is(err, fault.Forbidden) {
			t.Errorf("a removed node: %v", err)
		}
		if _, err := c.Beat(ctx, h1.node, "v1"); err == nil {
			t.Error("a removed node beats")
		}
		if _, err := c.Join(ctx, h1.request(t, token)); !fault.Is(err, fault.Forbidden) {
			t.Errorf("with the used token: %v", err)
		}
		if _, err := c.Join(ctx, h1.request(t, c.token(cluster.Compute))); err != nil {
			t.Errorf("with a new token: %v", err)
		}
		if _, err := c.Admit(cert); !fault.Is(err, fault.Forbidden) {
			t.Errorf("the old certificate after it came back: %v", err)
		}
		if err := c.Remove(ctx, "c1"); !fault.Is(err, fault.Conflict) {
			t.Errorf("itself: %v", err)
		}
		if err := c.Remove(ctx, "nobody"); !fault.Is(err, fault.NotFound) {
			t.Errorf("nobody: %v", err)
		}
	})
}

func TestJoinRefuses(t *testing.T) {
	c, ctx := newCloud(t, dbtest.New(t)), t.Context()
	if _, err := c.Join(ctx, newMachine(t, "h1", "10.0.0.21", cluster.Compute).request(t, c.token(cluster.Compute))); err != nil {
		t.Fatal(err)
	}
	good := c.token(cluster.Compute)
	wrong := good
	wrong.Secret = cluster.NewTokenText(good.Fingerprint).Secret
	for _, x := range []struct {
		what  string
		m     *machine
		token cluster.TokenText
		kind  fault.Kind
		says  string
	}{
		{"a wrong secret", newMachine(t, "h2", "10.0.0.22", cluster.Compute), wrong, fault.Forbidden, "tropo node token"},
		{"another cloud's token", newMachine(t, "h2", "10.0.0.22", cluster.Compute), cluster.NewTokenText(good.Fingerprint), fault.Forbidden, "not one of this cloud"},
		{"a role too many", newMachine(t, "h2", "10.0.0.22", cluster.Compute, cluster.Network), good, fault.Forbidden, "--roles compute,network"},
		{"a name that is taken", newMachine(t, "h1", "10.0.0.22", cluster.Compute), good, fault.Conflict, "tropo node remove h1"},
		{"an address that is taken", newMachine(t, "h2", "10.0.0.21", cluster.Compute), good, fault.Conflict, "--address"},
		{"the control node's name", newMachine(t, "c1", "10.0.0.22", cluster.Compute), good, fault.Conflict, "--name"},
		{"a bad name", newMachine(t, "h 2", "10.0.0.22", cluster.Compute), good, fault.Invalid, "letters"},
		{"the symbolic name", newMachine(t, cluster.AnyControl, "10.0.0.22", cluster.Compute), good, fault.Invalid, "cannot name"},
		{"the symbolic name in other letters", newMachine(t, "Control.Tropo.Internal", "10.0.0.22", cluster.Compute), good, fault.Invalid, "cannot name"},
		{"an address for a name", newMachine(t, "10.0.0.1", "10.0.0.22", cluster.Compute), good, fault.Invalid, "cannot name"},
		{"another's name in other letters", newMachine(t, "C1", "10.0.0.22", cluster.Compute), good, fault.Conflict, "case"},
		{"a control node's address for its storage", withStorage(newMachine(t, "h2", "10.0.0.22", cluster.Compute), "10.0.0.1"), good, fault.Conflict, "--storage-address"},
		{"a control node's address in another form", withStorage(newMachine(t, "h2", "10.0.0.22", cluster.Compute), "::ffff:10.0.0.1"), good, fault.Conflict, "10.0.0.1"},
		{"no address", newMachine(t, "h2", "0.0.0.0", cluster.Compute), good, fault.Invalid, "address"},
	} {
		if _, err := c.Join(ctx, x.m.request(t, x.token)); !fault.Is(err, x.kind) || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s: %v", x.what, err)
		}
	}
	r := newMachine(t, "h2", "10.0.0.22", cluster.Compute).request(t, good)
	damaged := []byte(r.Request)
	if at := len(damaged) / 2; damaged[at] == 'A' {
		damaged[at] = 'B'
	} else {
		damaged[at] = 'A'
	}
	for _, bad := range []string{"", "text", string(damaged)} {
		r.Request = bad
		if _, err := c.Join(ctx, r); !fault.Is(err, fault.Invalid) {
			t.Errorf("request %.20q: %v", bad, err)
		}
	}
	// None of it has used the token.
	if _, err := c.Join(ctx, newMachine(t, "h2", "10.0.0.22", cluster.Compute).request(t, good)); err != nil {
		t.Error(err)
	}
	late := c.token(cluster.Compute)
	c.now.Store(int64(2 * time.Hour))
	if _, err := c.Join(ctx, newMachine(t, "h3", "10.0.0.23", cluster.Compute).request(t, late)); !fault.Is(err, fault.Forbidden) || !strings.Contains(err.Error(), "expired") {
		t.Errorf("an expired token: %v", err)
	}
}

func withStorage(m *machine, address string) *machine {
	m.node.Storage = netip.MustParseAddr(address)
	return m
}

// TestANameThatReturns: what was signed for a machine that was removed is worth
// nothing when another gets its name, even if it was signed during the removal.
func TestANameThatReturns(t *testing.T) {
	d := dbtest.New(t)
	c, ctx := newCloud(t, d), t.Context()
	e, err := c.Join(ctx, newMachine(t, "h1", "10.0.0.21", cluster.Compute).request(t, c.token(cluster.Compute)))
	if err != nil {
		t.Fatal(err)
	}
	old := certificate(t, e.Certificate)
	if err := c.Remove(ctx, "h1"); err != nil {
		t.Fatal(err)
	}
	s, err := store.New(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddCertificate(ctx, pki.Serial(old), "h1", old.NotAfter); err != nil { // a renewal that was under way
		t.Fatal(err)
	}
	if _, err := c.Join(ctx, newMachine(t, "h1", "10.0.0.21", cluster.Compute).request(t, c.token(cluster.Compute))); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Admit(old); !fault.Is(err, fault.Forbidden) {
		t.Errorf("the removed machine: %v", err)
	}
}

func TestControlNodesNeedASharedDatabase(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		c := newCloud(t, d)
		_, _, err := c.CreateToken(t.Context(), []cluster.Role{cluster.Control}, 0, 0)
		if d.Dialect() == db.SQLite {
			if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "PostgreSQL") {
				t.Error(err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		m := newMachine(t, "c2", "10.0.0.2", cluster.Control)
		e, err := c.Join(t.Context(), m.request(t, c.token(cluster.Control)))
		if err != nil {
			t.Fatal(err)
		}
		if err := certificate(t, e.Certificate).VerifyHostname(cluster.AnyControl); err != nil || e.Metadata != "" || len(e.Controls) != 2 {
			t.Errorf("%+v, %v", e, err)
		}
		if _, err := c.Share(t.Context(), m.node); !fault.Is(err, fault.Unavailable) {
			t.Errorf("without keys yet: %v", err)
		}
	})
}

func TestOneTokenOneNode(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		c := newCloud(t, d)
		token := c.token(cluster.Compute)
		var joined atomic.Int32
		var wg sync.WaitGroup
		for i := range 6 {
			r := newMachine(t, "h"+string(rune('0'+i)), "10.0.1."+string(rune('1'+i)), cluster.Compute).request(t, token)
			wg.Go(func() {
				if _, err := c.Join(t.Context(), r); err == nil {
					joined.Add(1)
				} else if !fault.Is(err, fault.Forbidden) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if joined.Load() != 1 {
			t.Errorf("%d joined by a token for one", joined.Load())
		}
	})
}

func TestCertificatesAreRenewed(t *testing.T) {
	d := dbtest.New(t)
	c, ctx := newCloud(t, d), t.Context()
	own, err := os.ReadFile(filepath.Join(c.dir, "node.pem"))
	if err != nil {
		t.Fatal(err)
	}
	h1 := newMachine(t, "h1", "10.0.0.21", cluster.Compute)
	e, err := c.Join(ctx, h1.request(t, c.token(cluster.Compute)))
	if err != nil {
		t.Fatal(err)
	}
	renew := func() error {
		csr, err := pki.Request("h1", h1.key)
		if err != nil {
			t.Fatal(err)
		}
		text, err := c.Renew(ctx, h1.node, string(csr))
		if err != nil {
			return err
		}
		if n, err := c.Admit(certificate(t, text)); err != nil || n.Name != "h1" {
			t.Errorf("the new certificate: %v, %v", n, err)
		}
		return nil
	}
	if err := renew(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Admit(certificate(t, e.Certificate)); err != nil {
		t.Errorf("the old certificate, as long as it may be in use: %v", err)
	}

	again, err := start(t, d, "c1", c.dir)
	if err != nil {
		t.Fatal(err)
	}
	same, err := os.ReadFile(filepath.Join(c.dir, "node.pem"))
	if err != nil || string(same) != string(own) {
		t.Errorf("a young certificate was replaced: %v", err)
	}
	if again.Fingerprint() != c.Fingerprint() {
		t.Error("a restart made another authority")
	}
	// What is broken or not this node's is made anew.
	if err := os.WriteFile(filepath.Join(c.dir, "node.pem"), []byte(e.Certificate), 0o600); err != nil {
		t.Fatal(err)
	}
	if again, err = start(t, d, "c1", c.dir); err != nil {
		t.Fatal(err)
	}
	now, err := os.ReadFile(filepath.Join(c.dir, "node.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := again.Admit(certificate(t, string(now))); err != nil || n.Name != "c1" {
		t.Errorf("%v, %v", n, err)
	}
	if err := c.Remove(ctx, "h1"); err != nil {
		t.Fatal(err)
	}
	if err := renew(); !fault.Is(err, fault.Forbidden) {
		t.Errorf("renewal by a removed node: %v", err)
	}
}

func TestOneAuthority(t *testing.T) {
	d := dbtest.New(t)
	newCloud(t, d)
	if _, err := start(t, d, "c9", t.TempDir()); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "tropo join") {
		t.Errorf("a second cloud on the same database: %v", err)
	}
}

// TestOthersLearn: what one control node changes another knows when asked.
func TestOthersLearn(t *testing.T) {
	d := dbtest.New(t)
	c := newCloud(t, d)
	other, err := start(t, d, "c1", c.dir) // the same place stands for another's
	if err != nil {
		t.Fatal(err)
	}
	var looks atomic.Int32
	other.Watch(func() { looks.Add(1) })
	e, err := c.Join(t.Context(), newMachine(t, "h1", "10.0.0.21", cluster.Compute).request(t, c.token(cluster.Compute)))
	if err != nil {
		t.Fatal(err)
	}
	cert := certificate(t, e.Certificate)
	deadline := time.Now().Add(time.Minute)
	for {
		if _, err = other.Admit(cert); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil || looks.Load() == 0 {
		t.Errorf("after %d looks: %v", looks.Load(), err)
	}
	if err := c.Remove(t.Context(), "h1"); err != nil {
		t.Fatal(err)
	}
	if err := other.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Admit(cert); !fault.Is(err, fault.Forbidden) {
		t.Error(err)
	}
	if err := c.SetPublic(t.Context(), "https://cloud"); err != nil || c.Public() != "https://cloud" {
		t.Error(err)
	}
}
