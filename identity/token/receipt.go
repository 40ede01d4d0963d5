package token

import (
	"fmt"
	"strings"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/tropocloud/tropo/lib/fernet"
)

// Receipt says which methods a user has passed who needs more of them
// (Openstack-Auth-Receipt).
type Receipt struct {
	UserID    string
	Methods   []string
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// Receipts makes and reads receipts in Keystone's format: a Fernet message
// around user, methods and expiry. It is safe for concurrent use.
type Receipts struct {
	keys    *Repository
	methods []string
}

// NewReceipts uses the keys of a repository; methods are as for NewMaker.
func NewReceipts(keys *Repository, methods []string) *Receipts { return &Receipts{keys, methods} }

// Make seals a receipt, whose times it cuts to seconds.
func (r *Receipts) Make(v *Receipt) (string, error) {
	v.IssuedAt, v.ExpiresAt = v.IssuedAt.UTC().Truncate(time.Second), v.ExpiresAt.UTC().Truncate(time.Second)
	bits, err := methodBits(v.Methods, r.methods)
	if err != nil {
		return "", err
	}
	b, err := msgpack.Marshal([]any{packID(v.UserID), bits, float64(v.ExpiresAt.Unix())})
	if err != nil {
		return "", err
	}
	keys, err := r.keys.Keys()
	if err != nil {
		return "", err
	}
	t, err := fernet.Seal(b, v.IssuedAt, keys[0])
	return strings.TrimRight(t, "="), err
}

// Read opens a receipt; ErrToken where the text is none of ours. Its expiry is
// not checked.
func (r *Receipts) Read(text string) (*Receipt, error) {
	keys, err := r.keys.Keys()
	if err != nil {
		return nil, err
	}
	b, made, err := fernet.Open(text, keys...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrToken, err)
	}
	var raw []any
	if err := msgpack.Unmarshal(b, &raw); err != nil {
		return nil, fmt.Errorf("%w: receipt: %w", ErrToken, err)
	}
	if len(raw) != 3 {
		return nil, fmt.Errorf("%w: receipt with %d fields", ErrToken, len(raw))
	}
	var p Payload
	for i, field := range "ume" {
		if err := p.read(field, raw[i], r.methods); err != nil {
			return nil, err
		}
	}
	return &Receipt{UserID: p.UserID, Methods: p.Methods, IssuedAt: made, ExpiresAt: p.ExpiresAt}, nil
}
