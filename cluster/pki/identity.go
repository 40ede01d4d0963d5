package pki

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/tropocloud/tropo/cluster"
)

// Identity is a node's certificate, read anew when its file was replaced, and
// the authority that all nodes believe. It is safe for concurrent use.
type Identity struct {
	files cluster.Files
	roots *x509.CertPool
	ca    [][]byte // DER, sent after the leaf so that who joins can check it

	mu    sync.Mutex
	stamp string
	pair  *tls.Certificate
}

// Load reads a node's files.
func Load(files cluster.Files) (*Identity, error) {
	text, err := os.ReadFile(files.CA)
	if err != nil {
		return nil, fmt.Errorf("the authority's certificate: %w", err)
	}
	i := &Identity{files: files, roots: x509.NewCertPool()}
	for b, rest := pem.Decode(text); b != nil; b, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fmt.Errorf("the authority's certificate: %w", err)
		}
		i.roots.AddCert(c)
		i.ca = append(i.ca, b.Bytes)
	}
	if len(i.ca) == 0 {
		return nil, errors.New("the authority's certificate is missing in " + files.CA)
	}
	if _, err := i.Certificate(); err != nil {
		return nil, err
	}
	return i, nil
}

// Certificate is the node's present certificate with its key.
func (i *Identity) Certificate() (*tls.Certificate, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	info, err := os.Stat(i.files.Cert)
	if err != nil {
		if i.pair != nil { // what was good stays good
			return i.pair, nil
		}
		return nil, fmt.Errorf("the node's certificate: %w", err)
	}
	stamp := fmt.Sprint(info.ModTime().UnixNano(), info.Size())
	if i.pair != nil && stamp == i.stamp {
		return i.pair, nil
	}
	pair, err := tls.LoadX509KeyPair(i.files.Cert, i.files.Key)
	if err != nil {
		if i.pair != nil {
			return i.pair, nil
		}
		return nil, fmt.Errorf("the node's certificate: %w", err)
	}
	pair.Certificate = append(pair.Certificate[:1:1], i.ca...)
	i.pair, i.stamp = &pair, stamp
	return i.pair, nil
}

// Leaf is the node's present certificate.
func (i *Identity) Leaf() (*x509.Certificate, error) {
	p, err := i.Certificate()
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(p.Certificate[0])
}

// Client is the configuration for asking other nodes.
func (i *Identity) Client() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: i.roots,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return i.Certificate() },
	}
}

// Server is the configuration for answering. Certificates that are shown must
// be the authority's, and admit (nil: everybody) must take them; need says
// whether one must be shown.
func (i *Identity) Server(need bool, admit func(*x509.Certificate) error) *tls.Config {
	c := &tls.Config{
		MinVersion: tls.VersionTLS13, ClientCAs: i.roots, RootCAs: i.roots, ClientAuth: tls.VerifyClientCertIfGiven,
		GetCertificate:       func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return i.Certificate() },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return i.Certificate() },
	}
	if need {
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	if admit != nil {
		c.VerifyConnection = func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return nil
			}
			return admit(s.PeerCertificates[0])
		}
	}
	return c
}

// Pinned is the configuration for a machine that joins: it believes the
// server whose chain ends in the authority with the fingerprint, for the host
// (a name or an address) that it asked.
func Pinned(fingerprint, host string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, //nolint:gosec // VerifyConnection checks, by the fingerprint
		ServerName: host,
		VerifyConnection: func(s tls.ConnectionState) error {
			roots := x509.NewCertPool()
			found := false
			for _, c := range s.PeerCertificates {
				if Fingerprint(c) == fingerprint {
					roots.AddCert(c)
					found = true
				}
			}
			if !found {
				return ErrStranger
			}
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{
				Roots: roots, DNSName: host, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
			})
			return err
		},
	}
}

// ErrStranger says that the server is not of the cloud that made the token.
var ErrStranger = errors.New("the server's authority is not the one that the token names: it is another cloud, or somebody in between")
