// Package fernet makes and opens Fernet tokens, version 0x80: AES-128-CBC
// under HMAC-SHA256, url-safe base64 (https://github.com/fernet/spec).
//
// A token is authenticated and encrypted: whoever lacks the key can neither
// read nor alter it. What the payload means is the caller's business.
//
//	version 0x80 (1) | seconds since 1970 (8) | IV (16) | ciphertext (16·n) | HMAC (32)
package fernet

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

const (
	version    = 0x80
	headerSize = 1 + 8 + aes.BlockSize // version, timestamp, IV
	minSize    = headerSize + aes.BlockSize + sha256.Size
	// MaxTokenSize is the longest token, in characters, that Open reads. It
	// bounds the work that an unauthenticated caller can cause.
	MaxTokenSize = 64 << 10
	// MaxClockSkew is how far in the future a timestamp may lie when a
	// lifetime is checked (spec: "unacceptable clock skew").
	MaxClockSkew = 60 * time.Second
)

// The reasons why a token is refused. Tell them apart in logs and tests only:
// a caller of an API learns no more than "invalid token".
var (
	ErrMalformed = errors.New("fernet: malformed token")                // not base64, wrong length, wrong version, bad padding
	ErrMAC       = errors.New("fernet: no key authenticates the token") // altered, or made with another key
	ErrExpired   = errors.New("fernet: token expired")
	ErrFuture    = errors.New("fernet: token from the future")
)

// Open verifies token with each key in turn, newest first, and returns its
// payload and the time it was made at (UTC, whole seconds). The base64 padding
// may be missing, as Keystone strips it. Lifetimes are not checked; see
// OpenTTL.
func Open(token string, keys ...Key) (payload []byte, made time.Time, err error) {
	raw, err := decode(token)
	if err != nil {
		return nil, time.Time{}, err
	}
	if len(raw) < minSize || (len(raw)-headerSize-sha256.Size)%aes.BlockSize != 0 {
		return nil, time.Time{}, fmt.Errorf("%w: %d bytes long", ErrMalformed, len(raw))
	}
	if raw[0] != version {
		return nil, time.Time{}, fmt.Errorf("%w: version 0x%02x", ErrMalformed, raw[0])
	}
	signed, mac := raw[:len(raw)-sha256.Size], raw[len(raw)-sha256.Size:]
	for _, k := range keys {
		if !hmac.Equal(mac, k.mac(signed)) {
			continue
		}
		payload, err := k.decrypt(signed[headerSize-aes.BlockSize:headerSize], signed[headerSize:])
		return payload, timestamp(signed), err
	}
	return nil, time.Time{}, ErrMAC
}

// OpenTTL is Open that also refuses a token older than ttl at the time now, or
// made more than MaxClockSkew after it.
func OpenTTL(token string, ttl time.Duration, now time.Time, keys ...Key) ([]byte, error) {
	payload, made, err := Open(token, keys...)
	if err != nil {
		return nil, err
	}
	if made.Add(ttl).Before(now) {
		return nil, ErrExpired
	}
	if made.After(now.Add(MaxClockSkew)) {
		return nil, ErrFuture
	}
	return payload, nil
}

// Seal encrypts payload under k with the timestamp made (cut to seconds) and a
// random IV. The token is padded base64; strip "=" where the protocol asks.
func Seal(payload []byte, made time.Time, k Key) (string, error) {
	return seal(rand.Reader, payload, made, k)
}

func seal(random io.Reader, payload []byte, made time.Time, k Key) (string, error) {
	pad := aes.BlockSize - len(payload)%aes.BlockSize
	out := make([]byte, headerSize+len(payload)+pad, headerSize+len(payload)+pad+sha256.Size)
	out[0] = version
	binary.BigEndian.PutUint64(out[1:], uint64(made.Unix()))
	iv := out[headerSize-aes.BlockSize : headerSize]
	if _, err := io.ReadFull(random, iv); err != nil {
		return "", fmt.Errorf("fernet: read a random IV: %w", err)
	}
	body := out[headerSize:]
	copy(body, payload)
	for i := len(payload); i < len(body); i++ {
		body[i] = byte(pad) // PKCS #7
	}
	block, err := aes.NewCipher(k.encryption())
	if err != nil {
		return "", fmt.Errorf("fernet: %w", err)
	}
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(body, body)
	out = append(out, k.mac(out)...)
	return base64.URLEncoding.EncodeToString(out), nil
}

// Timestamp reads the time in token without verifying anything: for picking a
// revocation list or a log line, never for a decision.
func Timestamp(token string) (time.Time, error) {
	raw, err := decode(token)
	if err != nil {
		return time.Time{}, err
	}
	if len(raw) < minSize || raw[0] != version {
		return time.Time{}, ErrMalformed
	}
	return timestamp(raw), nil
}

func timestamp(raw []byte) time.Time {
	return time.Unix(int64(binary.BigEndian.Uint64(raw[1:])), 0).UTC()
}

func decode(token string) ([]byte, error) {
	if len(token) > MaxTokenSize {
		return nil, fmt.Errorf("%w: longer than %d characters", ErrMalformed, MaxTokenSize)
	}
	// The decoder skips line breaks; a token with one is not the token issued.
	if strings.ContainsAny(token, "\r\n") {
		return nil, fmt.Errorf("%w: line break", ErrMalformed)
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimRight(token, "="))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return raw, nil
}

func (k Key) mac(signed []byte) []byte {
	h := hmac.New(sha256.New, k.signing())
	h.Write(signed)
	return h.Sum(nil)
}

// decrypt removes the CBC layer and the PKCS #7 padding. The MAC was checked
// before, so the padding is no oracle; it is compared without branches anyway.
func (k Key) decrypt(iv, body []byte) ([]byte, error) {
	block, err := aes.NewCipher(k.encryption())
	if err != nil {
		return nil, fmt.Errorf("fernet: %w", err)
	}
	out := make([]byte, len(body))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(out, body)
	pad := int(out[len(out)-1])
	if pad == 0 || pad > aes.BlockSize {
		return nil, fmt.Errorf("%w: padding", ErrMalformed)
	}
	good := 1
	for _, b := range out[len(out)-pad:] {
		good &= subtle.ConstantTimeByteEq(b, byte(pad))
	}
	if good != 1 {
		return nil, fmt.Errorf("%w: padding", ErrMalformed)
	}
	return out[:len(out)-pad], nil
}
