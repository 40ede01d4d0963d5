package db

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"sync/atomic"

	"github.com/google/uuid"
)

type seedKey struct{}

type seeded struct {
	seed string
	next atomic.Uint64
}

// WithSeed makes the ids that NewID gives in this context follow from a seed:
// the first, the second … of a seed are always the same. A request that may be
// tried again after a crash finds by them what it made before.
func WithSeed(ctx context.Context, seed string) context.Context {
	return context.WithValue(ctx, seedKey{}, &seeded{seed: seed})
}

// NewID returns the UUID of a row that a request makes: random, or the next of
// the context's seed.
func NewID(ctx context.Context) string {
	s, ok := ctx.Value(seedKey{}).(*seeded)
	if !ok {
		return uuid.NewString()
	}
	return SeededID(s.seed, s.next.Add(1)-1)
}

// SeededID is the n-th id of a seed, from 0 on, in the form of a random UUID
// (RFC 9562, version 4).
func SeededID(seed string, n uint64) string {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(seed), n))
	var id uuid.UUID
	copy(id[:], sum[:])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id.String()
}
