package token

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tropocloud/tropo/host"
)

// Provider makes and reads tokens: Fernet's Maker or JWS.
type Provider interface {
	// Make makes a token of a payload, whose times it cuts to seconds.
	Make(p *Payload) (string, error)
	// Read opens a token, ErrToken where the text is none of ours. Its
	// expiry is not checked.
	Read(text string) (*Payload, error)
}

var (
	_ Provider = (*Maker)(nil)
	_ Provider = (*JWS)(nil)
)

// JWS makes and reads tokens that are JSON Web Signatures (RFC 7515, ES256)
// with Keystone's claims, so that either side validates the other's. Whoever
// has the public keys can read and check them; the private key signs. It is
// safe for concurrent use and sees changed keys within a second.
//
// Source: https://docs.openstack.org/keystone/latest/admin/jws-key-rotation.html
type JWS struct {
	private, public string

	mu      sync.Mutex
	stamp   string
	checked time.Time
	signer  jose.Signer
	keys    []*ecdsa.PublicKey
}

// The files of a key pair.
const (
	privateFile = "private.pem"
	publicFile  = "public.pem"
)

// maxJWS bounds a token that is read; one with a hundred groups has 5 KiB.
const maxJWS = 16 << 10

// NewJWS signs with private.pem in one folder and believes every public key in
// the other.
func NewJWS(privateDir, publicDir string) *JWS { return &JWS{private: privateDir, public: publicDir} }

// group is how a federated group stands in a token.
type group struct {
	ID string `json:"id"`
}

// claims are the claims of a token, Keystone's.
type claims struct {
	Subject       string   `json:"sub"`
	IssuedAt      int64    `json:"iat"`
	Expires       int64    `json:"exp"`
	Methods       []string `json:"openstack_methods"`
	AuditIDs      []string `json:"openstack_audit_ids"`
	System        string   `json:"openstack_system,omitempty"`
	DomainID      string   `json:"openstack_domain_id,omitempty"`
	ProjectID     string   `json:"openstack_project_id,omitempty"`
	TrustID       string   `json:"openstack_trust_id,omitempty"`
	GroupIDs      []group  `json:"openstack_group_ids,omitempty"`
	ProviderID    string   `json:"openstack_idp_id,omitempty"`
	ProtocolID    string   `json:"openstack_protocol_id,omitempty"`
	AccessTokenID string   `json:"openstack_access_token_id,omitempty"`
	AppCredID     string   `json:"openstack_app_cred_id,omitempty"`
	Thumbprint    string   `json:"openstack_thumbprint,omitempty"`
}

// Make implements Provider.
func (j *JWS) Make(p *Payload) (string, error) {
	p.IssuedAt = p.IssuedAt.UTC().Truncate(time.Second)
	p.ExpiresAt = p.ExpiresAt.UTC().Truncate(time.Second)
	c := claims{
		Subject: p.UserID, IssuedAt: p.IssuedAt.Unix(), Expires: p.ExpiresAt.Unix(), Methods: p.Methods, AuditIDs: p.AuditIDs,
		DomainID: p.DomainID, ProjectID: p.ProjectID, TrustID: p.TrustID, ProviderID: p.ProviderID, ProtocolID: p.ProtocolID,
		AccessTokenID: p.AccessTokenID, AppCredID: p.AppCredID, Thumbprint: p.Thumbprint,
	}
	if p.System {
		c.System = "all"
	}
	for _, id := range p.GroupIDs {
		c.GroupIDs = append(c.GroupIDs, group{id})
	}
	b, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	signer, _, err := j.load()
	if err != nil {
		return "", err
	}
	s, err := signer.Sign(b)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return s.CompactSerialize()
}

// Read implements Provider.
func (j *JWS) Read(text string) (*Payload, error) {
	if len(text) > maxJWS {
		return nil, ErrToken
	}
	s, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrToken, err)
	}
	_, keys, err := j.load()
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		b, err := s.Verify(k)
		if err != nil {
			continue
		}
		var c claims
		if err := json.Unmarshal(b, &c); err != nil {
			return nil, fmt.Errorf("%w: claims: %w", ErrToken, err)
		}
		if c.Subject == "" || c.Expires == 0 || len(c.AuditIDs) == 0 {
			return nil, fmt.Errorf("%w: a claim is missing", ErrToken)
		}
		return c.payload(), nil
	}
	return nil, ErrToken
}

func (c *claims) payload() *Payload {
	p := &Payload{
		UserID: c.Subject, Methods: c.Methods, AuditIDs: c.AuditIDs, IssuedAt: time.Unix(c.IssuedAt, 0).UTC(), ExpiresAt: time.Unix(c.Expires, 0).UTC(),
		System: c.System != "", DomainID: c.DomainID, ProjectID: c.ProjectID, TrustID: c.TrustID, ProviderID: c.ProviderID, ProtocolID: c.ProtocolID,
		AccessTokenID: c.AccessTokenID, AppCredID: c.AppCredID, Thumbprint: c.Thumbprint,
	}
	for _, g := range c.GroupIDs {
		p.GroupIDs = append(p.GroupIDs, g.ID)
	}
	return p
}

// load returns the keys, read again where the files have changed.
func (j *JWS) load() (jose.Signer, []*ecdsa.PublicKey, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.signer != nil && time.Since(j.checked) < recheck {
		return j.signer, j.keys, nil
	}
	files, err := filepath.Glob(filepath.Join(j.public, "*"))
	if err != nil {
		return nil, nil, fmt.Errorf("public keys: %w", err)
	}
	files = slices.DeleteFunc(files, func(f string) bool { return strings.HasPrefix(filepath.Base(f), ".") }) // a lock is no key
	sort.Strings(files)
	private := filepath.Join(j.private, privateFile)
	stamp := ""
	for _, f := range append(files, private) {
		info, err := os.Stat(f)
		if err != nil {
			return nil, nil, fmt.Errorf("token keys: %w", err)
		}
		stamp += fmt.Sprintf("%s@%d ", f, info.ModTime().UnixNano())
	}
	if stamp == j.stamp && j.signer != nil {
		j.checked = time.Now()
		return j.signer, j.keys, nil
	}
	var keys []*ecdsa.PublicKey
	for _, f := range files {
		k, err := readPublic(f)
		if err != nil {
			return nil, nil, err
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, nil, fmt.Errorf("%s has no public key: make a pair with create-jws-keypair", j.public)
	}
	k, err := readPrivate(private)
	if err != nil {
		return nil, nil, err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: k}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", private, err)
	}
	j.signer, j.keys, j.stamp, j.checked = signer, keys, stamp, time.Now()
	return signer, keys, nil
}

func readPEM(name string) ([]byte, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("token key: %w", err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("token key %s is no PEM", name)
	}
	return block.Bytes, nil
}

func readPublic(name string) (*ecdsa.PublicKey, error) {
	b, err := readPEM(name)
	if err != nil {
		return nil, err
	}
	k, err := x509.ParsePKIXPublicKey(b)
	if err != nil {
		return nil, fmt.Errorf("token key %s: %w", name, err)
	}
	e, ok := k.(*ecdsa.PublicKey)
	if !ok || e.Curve != elliptic.P256() {
		return nil, fmt.Errorf("token key %s is none of the curve P-256", name)
	}
	return e, nil
}

func readPrivate(name string) (*ecdsa.PrivateKey, error) {
	b, err := readPEM(name)
	if err != nil {
		return nil, err
	}
	k, err := x509.ParsePKCS8PrivateKey(b)
	if err != nil {
		if e, err := x509.ParseECPrivateKey(b); err == nil {
			return e, nil
		}
		return nil, fmt.Errorf("token key %s: %w", name, err)
	}
	e, ok := k.(*ecdsa.PrivateKey)
	if !ok || e.Curve != elliptic.P256() {
		return nil, fmt.Errorf("token key %s is none of the curve P-256", name)
	}
	return e, nil
}

// CreateJWSPair writes a new key pair, private.pem and public.pem; files that
// are there already stay, and are an error that wraps fs.ErrExist.
func CreateJWSPair(ctx context.Context, privateDir, publicDir string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	private, public := filepath.Join(privateDir, privateFile), filepath.Join(publicDir, publicFile)
	for _, f := range []string{private, public} {
		if err := os.MkdirAll(filepath.Dir(f), 0o700); err != nil {
			return fmt.Errorf("token keys: %w", err)
		}
		if _, err := os.Stat(f); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("token key %s: %w", f, fs.ErrExist)
		}
	}
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	priv, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return err
	}
	pub, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
	if err != nil {
		return err
	}
	if err := host.WriteFile(public, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub}), 0o600); err != nil {
		return err
	}
	return host.WriteFile(private, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: priv}), 0o600)
}
