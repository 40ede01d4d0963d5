package manager

import (
	"context"
	"crypto/ed25519"
	"crypto/md5" //nolint:gosec // the API's fingerprints are MD5
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // so are those of certificates, with SHA-1
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
)

// KeyPair returns a user's key pair.
func (m *Manager) KeyPair(ctx context.Context, userID, name string) (*compute.KeyPair, error) {
	return m.store.KeyPair(ctx, userID, name)
}

// KeyPairs lists a user's key pairs.
func (m *Manager) KeyPairs(ctx context.Context, userID, marker string, limit int) ([]compute.KeyPair, error) {
	return m.store.KeyPairs(ctx, userID, marker, limit)
}

// DeleteKeyPair removes a user's key pair.
func (m *Manager) DeleteKeyPair(ctx context.Context, userID, name string) error {
	return m.store.DeleteKeyPair(ctx, userID, name)
}

// ImportKeyPair keeps a public key (ssh) or a certificate (x509).
func (m *Manager) ImportKeyPair(ctx context.Context, userID, name, kind, public string) (*compute.KeyPair, error) {
	print, err := fingerprint(kind, public)
	if err != nil {
		return nil, err
	}
	return m.addKeyPair(ctx, &compute.KeyPair{UserID: userID, Name: name, Type: kind, PublicKey: public, Fingerprint: print})
}

func (m *Manager) addKeyPair(ctx context.Context, k *compute.KeyPair) (*compute.KeyPair, error) {
	l, err := m.limits(ctx, "", "")
	if err != nil {
		return nil, err
	}
	k.CreatedAt = db.Now()
	return m.store.CreateKeyPair(ctx, k, l[compute.QuotaKeyPairs])
}

// CreateKeyPair makes a key pair and returns the private key, which is kept
// nowhere.
func (m *Manager) CreateKeyPair(ctx context.Context, userID, name, kind string) (k *compute.KeyPair, private string, err error) {
	make := newSSHKey
	if kind == compute.KeyX509 {
		make = newCertificate
	}
	public, private, err := make(name)
	if err != nil {
		return nil, "", err
	}
	print, err := fingerprint(kind, public)
	if err != nil {
		return nil, "", err
	}
	k, err = m.addKeyPair(ctx, &compute.KeyPair{UserID: userID, Name: name, Type: kind, PublicKey: public, Fingerprint: print})
	return k, private, err
}

// fingerprint is the MD5 of an SSH key or the SHA-1 of a certificate, in hex
// with colons.
func fingerprint(kind, public string) (string, error) {
	var sum []byte
	switch kind {
	case compute.KeySSH:
		if strings.ContainsAny(strings.TrimRight(public, "\r\n"), "\r\n") {
			return "", fault.Invalidf("Keypair data is invalid: it must be one public key on one line")
		}
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(public))
		if err != nil {
			return "", fault.Invalidf("Keypair data is invalid: failed to generate fingerprint")
		}
		h := md5.Sum(key.Marshal()) //nolint:gosec // see the import
		sum = h[:]
	case compute.KeyX509:
		block, _ := pem.Decode([]byte(public))
		if block == nil {
			return "", fault.Invalidf("Keypair data is invalid: failed to generate X509 fingerprint")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return "", fault.Invalidf("Keypair data is invalid: failed to generate X509 fingerprint")
		}
		h := sha1.Sum(cert.Raw) //nolint:gosec // see the import
		sum = h[:]
	default:
		return "", fault.Invalidf("Keypair data is invalid: unknown type %s", kind)
	}
	text := hex.EncodeToString(sum)
	var parts []string
	for i := 0; i < len(text); i += 2 {
		parts = append(parts, text[i:i+2])
	}
	return strings.Join(parts, ":"), nil
}

func newSSHKey(string) (public, private string, err error) {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", "", err
	}
	sp, err := ssh.NewPublicKey(pub)
	if err != nil {
		return "", "", err
	}
	block, err := ssh.MarshalPrivateKey(priv, "Generated-by-Nova")
	if err != nil {
		return "", "", err
	}
	public = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(sp))) + " Generated-by-Nova"
	return public, string(pem.EncodeToMemory(block)), nil
}

func newCertificate(name string) (public, private string, err error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", "", err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return "", "", err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return "", "", err
	}
	pk, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pk})), nil
}
