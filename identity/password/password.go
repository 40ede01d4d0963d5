// Package password hashes and checks passwords in Keystone's formats: bcrypt
// ($2b$…; $bcrypt-sha256$… for checking alone), scrypt ($scrypt$…) and PBKDF2 ($pbkdf2-sha512$…).
//
// Source: keystone.common.password_hashing; passlib.readthedocs.io, "Modular
// Crypt Format".
package password

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/scrypt"
)

// The algorithms that Hash knows.
const (
	Bcrypt       = "bcrypt"
	Scrypt       = "scrypt"
	PBKDF2SHA512 = "pbkdf2_sha512"
)

// maxBcrypt is how many bytes of a password bcrypt sees; Keystone cuts there.
const maxBcrypt = 72

// ErrFormat says that a stored hash is in no known format.
var ErrFormat = errors.New("password: unknown hash format")

// Hasher makes and checks hashes, as many at a time as there are processors,
// so that a rush of logins leaves other requests their share. It is safe for
// concurrent use.
type Hasher struct {
	opts Options
	slot chan struct{}
}

// Options tell how new hashes are made.
type Options struct {
	Algorithm string // default Bcrypt
	// Rounds is the cost: of bcrypt the logarithm (4 to 31, default 12), of
	// scrypt the logarithm of N (default 16), of PBKDF2 the iterations
	// (default 25,000).
	Rounds int
	// MaxLength cuts longer passwords, in bytes (default 4096).
	MaxLength int
}

// New makes a hasher.
func New(o Options) (*Hasher, error) {
	if o.Algorithm == "" {
		o.Algorithm = Bcrypt
	}
	if o.MaxLength == 0 {
		o.MaxLength = 4096
	}
	rounds := map[string]int{Bcrypt: 12, Scrypt: 16, PBKDF2SHA512: 25000}
	def, ok := rounds[o.Algorithm]
	if !ok {
		return nil, fmt.Errorf("password: no algorithm %q", o.Algorithm)
	}
	if o.Rounds == 0 {
		o.Rounds = def
	}
	return &Hasher{opts: o, slot: make(chan struct{}, max(runtime.GOMAXPROCS(0), 1))}, nil
}

// Hash hashes with the configured cost.
func (h *Hasher) Hash(pw string) (string, error) { return h.HashCost(pw, h.opts.Rounds) }

// HashCost hashes with another cost; for random secrets, which need none.
func (h *Hasher) HashCost(pw string, rounds int) (string, error) {
	h.slot <- struct{}{}
	defer func() { <-h.slot }()
	b := h.cut(pw)
	switch h.opts.Algorithm {
	case Scrypt:
		return hashScrypt(b, rounds)
	case PBKDF2SHA512:
		return hashPBKDF2(b, rounds)
	}
	return hashBcrypt(b, rounds)
}

func (h *Hasher) cut(pw string) []byte {
	return []byte(pw[:min(len(pw), h.opts.MaxLength)])
}

// Verify reports whether pw is the password of a hash of any known format.
func (h *Hasher) Verify(pw, stored string) (bool, error) {
	h.slot <- struct{}{}
	defer func() { <-h.slot }()
	b := h.cut(pw)
	switch {
	case strings.HasPrefix(stored, "$2"):
		err := bcrypt.CompareHashAndPassword([]byte(stored), b[:min(len(b), maxBcrypt)])
		if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
			return false, nil
		}
		return err == nil, err
	case strings.HasPrefix(stored, "$bcrypt-sha256$"):
		return verifyBcryptSHA256(b, stored)
	case strings.HasPrefix(stored, "$scrypt$"):
		return verifyScrypt(b, stored)
	case strings.HasPrefix(stored, "$pbkdf2"):
		return verifyPBKDF2(b, stored)
	}
	return false, ErrFormat
}

// Dummy spends the time of a Verify on nobody's hash, so that an unknown user
// cannot be told from a wrong password by the clock (CVE-2021-38155).
func (h *Hasher) Dummy(pw string) {
	_, _ = h.Hash(pw)
}

func hashBcrypt(pw []byte, rounds int) (string, error) {
	b, err := bcrypt.GenerateFromPassword(pw[:min(len(pw), maxBcrypt)], rounds)
	if err != nil {
		return "", fmt.Errorf("password: %w", err)
	}
	return "$2b" + string(b[3:]), nil // the same algorithm, by the name that Keystone writes
}

// verifyBcryptSHA256 reads passlib's version 2: bcrypt of the base64 of an
// HMAC of the password under the salt.
func verifyBcryptSHA256(pw []byte, stored string) (bool, error) {
	parts := strings.Split(stored, "$") // "", bcrypt-sha256, v=2,t=2b,r=12, salt, digest
	if len(parts) != 5 {
		return false, ErrFormat
	}
	opts := map[string]string{}
	for o := range strings.SplitSeq(parts[2], ",") {
		k, v, _ := strings.Cut(o, "=")
		opts[k] = v
	}
	rounds, err := strconv.Atoi(opts["r"])
	if err != nil || opts["v"] != "2" {
		return false, ErrFormat
	}
	mac := hmac.New(sha256.New, []byte(parts[3]))
	mac.Write(pw)
	key := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	inner := fmt.Sprintf("$2b$%02d$%s%s", rounds, parts[3], parts[4])
	err = bcrypt.CompareHashAndPassword([]byte(inner), []byte(key))
	if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		return false, nil
	}
	return err == nil, err
}

const scryptR, scryptP, saltSize = 8, 1, 16

func salt() []byte {
	s := make([]byte, saltSize)
	_, _ = rand.Read(s) // never fails
	return s
}

func hashScrypt(pw []byte, ln int) (string, error) {
	s := salt()
	k, err := scrypt.Key(pw, s, 1<<ln, scryptR, scryptP, 32)
	if err != nil {
		return "", fmt.Errorf("password: %w", err)
	}
	return fmt.Sprintf("$scrypt$ln=%d,r=%d,p=%d$%s$%s", ln, scryptR, scryptP,
		base64.RawStdEncoding.EncodeToString(s), base64.RawStdEncoding.EncodeToString(k)), nil
}

func verifyScrypt(pw []byte, stored string) (bool, error) {
	var ln, r, p int
	parts := strings.Split(stored, "$")
	if len(parts) != 5 {
		return false, ErrFormat
	}
	if _, err := fmt.Sscanf(parts[2], "ln=%d,r=%d,p=%d", &ln, &r, &p); err != nil || ln < 1 || ln > 24 || r*p > 256 {
		return false, ErrFormat
	}
	s, err1 := base64.RawStdEncoding.DecodeString(parts[3])
	want, err2 := base64.RawStdEncoding.DecodeString(parts[4])
	if err := errors.Join(err1, err2); err != nil {
		return false, ErrFormat
	}
	got, err := scrypt.Key(pw, s, 1<<ln, r, p, len(want))
	if err != nil {
		return false, fmt.Errorf("password: %w", err)
	}
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}

// passlib writes "." for "+".
func ab64(b []byte) string {
	return strings.ReplaceAll(base64.RawStdEncoding.EncodeToString(b), "+", ".")
}

func unab64(s string) ([]byte, error) {
	return base64.RawStdEncoding.DecodeString(strings.ReplaceAll(s, ".", "+"))
}

func hashPBKDF2(pw []byte, rounds int) (string, error) {
	s := salt()
	k, err := pbkdf2.Key(sha512.New, string(pw), s, rounds, sha512.Size)
	if err != nil {
		return "", fmt.Errorf("password: %w", err)
	}
	return fmt.Sprintf("$pbkdf2-sha512$%d$%s$%s", rounds, ab64(s), ab64(k)), nil
}

func verifyPBKDF2(pw []byte, stored string) (bool, error) {
	parts := strings.Split(stored, "$")
	if len(parts) != 5 {
		return false, ErrFormat
	}
	var f func() hash.Hash
	switch parts[1] {
	case "pbkdf2-sha512":
		f = sha512.New
	case "pbkdf2-sha256":
		f = sha256.New
	default:
		return false, ErrFormat
	}
	rounds, err := strconv.Atoi(parts[2])
	if err != nil || rounds < 1 || rounds > 10_000_000 {
		return false, ErrFormat
	}
	s, err1 := unab64(parts[3])
	want, err2 := unab64(parts[4])
	if err := errors.Join(err1, err2); err != nil || len(want) == 0 {
		return false, ErrFormat
	}
	got, err := pbkdf2.Key(f, string(pw), s, rounds, len(want))
	if err != nil {
		return false, fmt.Errorf("password: %w", err)
	}
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}
