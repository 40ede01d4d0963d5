package manager

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/tropocloud/tropo/cluster"
	"github.com/tropocloud/tropo/cluster/pki"
	"github.com/tropocloud/tropo/cluster/store"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/host"
)

// Facts that all control nodes agree on.
const (
	factAuthority = "authority"
	factPublic    = "public_endpoint"
)

// keepCertificates is how many certificates of one node are accepted: the one
// in use and its successors.
const keepCertificates = 3

// Files are the paths of a node's certificate in its folder.
func Files(dir string) cluster.Files {
	return cluster.Files{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "node.pem"), Key: filepath.Join(dir, "node-key.pem")}
}

// openAuthority reads the authority, or makes it at the cloud's first start.
func (m *Manager) openAuthority(ctx context.Context) error {
	if err := os.MkdirAll(m.o.Dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of certificates: %w", err)
	}
	certFile, keyFile := m.Files().CA, filepath.Join(m.o.Dir, "ca-key.pem")
	if _, err := os.Stat(certFile); errors.Is(err, os.ErrNotExist) {
		cert, key, err := pki.NewAuthority("tropo "+m.o.Self.Name, m.now())
		if err != nil {
			return err
		}
		// The certificate is last: what was cut off before it is made anew.
		if err := host.WriteFile(keyFile, key, 0o600); err != nil {
			return err
		}
		if err := host.WriteFile(certFile, cert, 0o600); err != nil {
			return err
		}
	}
	cert, err := os.ReadFile(certFile)
	if err != nil {
		return err
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return fmt.Errorf("the authority's key: %w", err)
	}
	if m.ca, err = pki.LoadAuthority(cert, key); err != nil {
		return err
	}
	m.caPEM = cert
	theirs, err := m.store.FirstFact(ctx, factAuthority, m.Fingerprint())
	if err != nil {
		return err
	}
	if theirs != m.Fingerprint() {
		return fault.Conflictf("The database belongs to a cloud with another authority: let this machine join it by `tropo join`, or give it a database of its own.")
	}
	return nil
}

// enrolSelf makes this control node part of the cloud, and its certificate
// fit its addresses.
func (m *Manager) enrolSelf(ctx context.Context) error {
	self := m.o.Self
	self.Seen, self.Version = m.now(), m.o.Version
	n, err := m.store.Node(ctx, self.Name)
	switch {
	case fault.Is(err, fault.NotFound):
		self.Joined = self.Seen
		if err := m.store.CreateNode(ctx, store.Enrolled{Node: self}); err != nil {
			return err
		}
	case err != nil:
		return err
	case n.Revoked:
		return fault.Forbiddenf("The node %s was removed from the cloud: let it join again with an empty state folder.", self.Name)
	default:
		self.Joined = n.Joined
		n.Node = self
		if err := m.store.UpdateNode(ctx, *n); err != nil {
			return err
		}
	}
	return m.renewSelf(ctx)
}

// renewSelf replaces this node's certificate where it is missing, wrong or
// old.
func (m *Manager) renewSelf(ctx context.Context) error {
	f := m.Files()
	key, err := os.ReadFile(f.Key)
	if errors.Is(err, os.ErrNotExist) {
		if key, err = pki.NewKey(); err != nil {
			return err
		}
		err = host.WriteFile(f.Key, key, 0o600)
	}
	if err != nil {
		return fmt.Errorf("the node's key: %w", err)
	}
	good, err := m.fits(ctx, f.Cert)
	if err != nil || good {
		return err
	}
	text, err := pki.Request(m.o.Self.Name, key)
	if err != nil {
		return err
	}
	csr, err := pki.ParseRequest(string(text))
	if err != nil {
		return err
	}
	_, cert, err := m.sign(ctx, csr, m.o.Self)
	if err != nil {
		return err
	}
	return host.WriteFile(f.Cert, cert, 0o600)
}

// fits reports whether this node's certificate needs no replacement.
func (m *Manager) fits(ctx context.Context, file string) (bool, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	c, err := pki.ParseCertificate(text)
	if err != nil || c.CheckSignatureFrom(m.ca.Certificate) != nil || c.Subject.CommonName != m.o.Self.Name || m.now().After(pki.RenewAt(c)) {
		return false, nil //nolint:nilerr // what cannot be read is made anew
	}
	for _, want := range m.o.Self.Addresses() {
		if !slices.ContainsFunc(c.IPAddresses, func(ip net.IP) bool { a, _ := netip.AddrFromSlice(ip); return a.Unmap() == want.Unmap() }) {
			return false, nil
		}
	}
	m.mu.RLock()
	node, known := m.serial[pki.Serial(c)]
	m.mu.RUnlock()
	if known {
		return node == m.o.Self.Name, nil
	}
	accepted, err := m.store.Certificates(ctx)
	return accepted[pki.Serial(c)] == m.o.Self.Name, err
}

// sign makes a certificate of a node that is accepted from now on.
func (m *Manager) sign(ctx context.Context, csr *x509.CertificateRequest, n cluster.Node) (*x509.Certificate, []byte, error) {
	var names []string
	if n.Has(cluster.Control) {
		names = append(names, cluster.AnyControl)
	}
	c, text, err := m.ca.Sign(csr, n.Name, names, n.Addresses(), m.now())
	if err != nil {
		return nil, nil, err
	}
	if err := m.store.AddCertificate(ctx, pki.Serial(c), n.Name, c.NotAfter); err != nil {
		return nil, nil, err
	}
	return c, text, m.store.KeepCertificates(ctx, n.Name, keepCertificates)
}
