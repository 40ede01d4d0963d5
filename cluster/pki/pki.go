// Package pki makes and reads the certificates of a cloud's nodes: an authority
// of its own, requests, and the certificates that it signs. All keys are ECDSA
// on P-256, which everything that speaks TLS takes; all files are PEM.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"time"

	"github.com/tropocloud/tropo/fault"
)

// Lives of certificates.
const (
	AuthorityLife = 20 * 365 * 24 * time.Hour
	NodeLife      = 365 * 24 * time.Hour
	// skew is how far the clock of a node may be behind the authority's.
	skew = time.Hour
)

// Authority signs certificates of nodes.
type Authority struct {
	Certificate *x509.Certificate
	key         crypto.Signer
}

// NewAuthority makes an authority and returns its certificate and key.
func NewAuthority(name string, now time.Time) (cert, key []byte, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name, Organization: []string{"tropo"}},
		NotBefore: now.Add(-skew), NotAfter: now.Add(AuthorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, k.Public(), k)
	if err != nil {
		return nil, nil, fmt.Errorf("make the authority: %w", err)
	}
	key, err = encodeKey(k)
	return encode("CERTIFICATE", der), key, err
}

// LoadAuthority reads an authority from the PEM of its certificate and key.
func LoadAuthority(cert, key []byte) (*Authority, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("the authority's certificate and key: %w", err)
	}
	c, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("the authority's certificate: %w", err)
	}
	signer, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !c.IsCA {
		return nil, errors.New("the authority's certificate may not sign others (basic constraint CA)")
	}
	return &Authority{Certificate: c, key: signer}, nil
}

// Fingerprint is the SHA-256 of a certificate in hex.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// Sign makes the certificate of a node for the public key of a request: it
// serves and asks under the name, the extra names and the addresses. Nothing
// else of the request is taken over.
func (a *Authority) Sign(csr *x509.CertificateRequest, node string, names []string, addresses []netip.Addr, now time.Time) (*x509.Certificate, []byte, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, nil, err
	}
	end := now.Add(NodeLife)
	if a.Certificate.NotAfter.Before(end) {
		end = a.Certificate.NotAfter
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: node, Organization: []string{"tropo"}},
		NotBefore: now.Add(-skew), NotAfter: end, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    append([]string{node}, names...),
	}
	for _, ip := range addresses {
		if ip.IsValid() {
			t.IPAddresses = append(t.IPAddresses, net.IP(ip.AsSlice()))
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.Certificate, csr.PublicKey, a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("sign the certificate of %s: %w", node, err)
	}
	c, err := x509.ParseCertificate(der)
	return c, encode("CERTIFICATE", der), err
}

// NewKey makes a node's key.
func NewKey() ([]byte, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return encodeKey(k)
}

// Request asks for a certificate of a node for the key (PEM).
func Request(node string, key []byte) ([]byte, error) {
	b, _ := pem.Decode(key)
	if b == nil {
		return nil, errors.New("the node's key is no PEM")
	}
	k, err := x509.ParsePKCS8PrivateKey(b.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the node's key: %w", err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: node}}, k)
	if err != nil {
		return nil, fmt.Errorf("make a certificate request: %w", err)
	}
	return encode("CERTIFICATE REQUEST", der), nil
}

// ParseRequest reads a request and checks that its maker has the key. Keys
// that are weak or unknown are fault.Invalid.
func ParseRequest(text string) (*x509.CertificateRequest, error) {
	b, _ := pem.Decode([]byte(text))
	if b == nil || b.Type != "CERTIFICATE REQUEST" {
		return nil, fault.Invalidf("The certificate request is not in PEM.")
	}
	csr, err := x509.ParseCertificateRequest(b.Bytes)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "The certificate request cannot be read.")
	}
	k, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || k.Curve != elliptic.P256() {
		return nil, fault.Invalidf("The key of a certificate request must be ECDSA on P-256.")
	}
	return csr, nil
}

// KeyDigest names the public key of a request.
func KeyDigest(csr *x509.CertificateRequest) string {
	sum := sha256.Sum256(csr.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// Serial is a certificate's number as it is kept.
func Serial(c *x509.Certificate) string { return hex.EncodeToString(c.SerialNumber.Bytes()) }

// ParseCertificate reads the first certificate of a PEM text.
func ParseCertificate(text []byte) (*x509.Certificate, error) {
	b, _ := pem.Decode(text)
	if b == nil || b.Type != "CERTIFICATE" {
		return nil, errors.New("no certificate in PEM")
	}
	return x509.ParseCertificate(b.Bytes)
}

// RenewAt is when a certificate is to be replaced: when two thirds are over.
func RenewAt(c *x509.Certificate) time.Time {
	return c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) * 2 / 3)
}

func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		return nil, err
	}
	return n.SetBit(n, 126, 1), nil // never zero, always of the same length
}

func encodeKey(k *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return nil, err
	}
	return encode("PRIVATE KEY", der), nil
}

func encode(typ string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der})
}
