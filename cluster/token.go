package cluster

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/tropocloud/tropo/fault"
)

// Limits of join tokens.
const (
	DefaultTokenLife = time.Hour
	MaxTokenLife     = 30 * 24 * time.Hour
	MaxTokenUses     = 1000
)

// Token lets machines join: what is kept of it. The secret itself is only in
// the text that its maker was shown.
type Token struct {
	ID      string
	Digest  string // SHA-256 of the secret, in hex
	Roles   []Role // a node may take any of them
	Uses    int    // how many nodes may still join by it
	Created time.Time
	Expires time.Time
}

// TokenText is a join token as people carry it: who it is, its secret, and the
// fingerprint of the cloud's authority, by which the machine that joins knows
// whom it talks to.
type TokenText struct {
	ID          string
	Secret      string
	Fingerprint string // SHA-256 of the authority's certificate, in hex
}

const tokenPrefix = "tropo1."

// NewTokenText makes a random one.
func NewTokenText(fingerprint string) TokenText {
	return TokenText{ID: randomHex(8), Secret: randomHex(32), Fingerprint: fingerprint}
}

// String is the text; it is a secret.
func (t TokenText) String() string {
	return tokenPrefix + t.ID + "." + t.Secret + "." + t.Fingerprint
}

// ParseToken reads the text of a token; what is none is fault.Invalid.
func ParseToken(s string) (TokenText, error) {
	f := strings.Split(strings.TrimPrefix(strings.TrimSpace(s), tokenPrefix), ".")
	if !strings.HasPrefix(strings.TrimSpace(s), tokenPrefix) || len(f) != 3 || !isHex(f[0], 8) || !isHex(f[1], 32) || !isHex(f[2], sha256.Size) {
		return TokenText{}, fault.Invalidf("This is no join token: copy the whole line that `tropo node token` printed.")
	}
	return TokenText{ID: f[0], Secret: f[1], Fingerprint: f[2]}, nil
}

// Digest is what is kept of a secret.
func Digest(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

func isHex(s string, n int) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == n
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}
