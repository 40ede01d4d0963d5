package fernet

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// KeySize is the size of a key in bytes: half signs, half encrypts.
const KeySize = 32

// Key is a Fernet key: 16 bytes for the HMAC, then 16 for AES. It prints as a
// placeholder everywhere, logs included; Encode gives the secret.
type Key struct{ secret [KeySize]byte }

// GenerateKey makes a random key.
func GenerateKey() (Key, error) {
	var k Key
	if _, err := rand.Read(k.secret[:]); err != nil {
		return Key{}, fmt.Errorf("fernet: generate a key: %w", err)
	}
	return k, nil
}

// ErrKey says that a text is no Fernet key. It never holds the text.
var ErrKey = errors.New("fernet: a key is 32 bytes in url-safe base64")

// ParseKey reads a key as Keystone's key files hold it: url-safe base64, with
// or without padding, with white space around it.
func ParseKey(s string) (Key, error) {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(s), "="))
	if err != nil || len(raw) != KeySize {
		return Key{}, ErrKey
	}
	var k Key
	copy(k.secret[:], raw)
	return k, nil
}

// Encode returns the key in padded url-safe base64, the form of a key file.
func (k Key) Encode() string { return base64.URLEncoding.EncodeToString(k.secret[:]) }

// String returns a placeholder, never the secret.
func (k Key) String() string { return "fernet.Key(…)" }

// GoString returns a placeholder, never the secret.
func (k Key) GoString() string { return k.String() }

// LogValue returns a placeholder, never the secret.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

func (k Key) signing() []byte    { return k.secret[:16] }
func (k Key) encryption() []byte { return k.secret[16:] }

var _ slog.LogValuer = Key{}
