package token

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/tropocloud/tropo/lib/fernet"
)

// Maker makes and reads tokens. It is safe for concurrent use.
type Maker struct {
	keys    *Repository
	methods []string
}

// NewMaker uses the keys of a repository. methods is [auth] methods: their
// order gives the bits of a token, and must equal that of every other process
// (a Keystone's too) that shares the keys.
func NewMaker(keys *Repository, methods []string) *Maker {
	return &Maker{keys: keys, methods: methods}
}

// Make seals a payload with the primary key. IssuedAt and ExpiresAt are cut to
// seconds, in p too.
func (m *Maker) Make(p *Payload) (string, error) {
	p.IssuedAt = p.IssuedAt.UTC().Truncate(time.Second)
	p.ExpiresAt = p.ExpiresAt.UTC().Truncate(time.Second)
	b, err := p.marshal(m.methods)
	if err != nil {
		return "", err
	}
	keys, err := m.keys.Keys()
	if err != nil {
		return "", err
	}
	t, err := fernet.Seal(b, p.IssuedAt, keys[0])
	return strings.TrimRight(t, "="), err
}

// Read opens a token. Its expiry is not checked; any text that is no token of
// ours is ErrToken.
func (m *Maker) Read(text string) (*Payload, error) {
	keys, err := m.keys.Keys()
	if err != nil {
		return nil, err
	}
	b, made, err := fernet.Open(text, keys...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrToken, err)
	}
	p, err := unmarshal(b, m.methods)
	if err != nil {
		return nil, err
	}
	p.IssuedAt = made
	return p, nil
}

// NewAuditID makes a random audit id, 16 bytes in base64 without padding.
func NewAuditID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}
