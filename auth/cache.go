package auth

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// askTimeout bounds one question to identity.
const askTimeout = 20 * time.Second

// Cache is a Validator that remembers answers for a short time. A revocation
// must call Flush (the identity service announces one over the bus); while
// the bus is down, TTL bounds how long a revoked token is still taken.
type Cache struct {
	next Validator
	ttl  time.Duration
	max  int

	flight  singleflight.Group
	mu      sync.RWMutex
	entries map[[32]byte]cacheEntry
	epoch   uint64
	swept   time.Time
}

type cacheEntry struct {
	id    *Identity
	until time.Time
}

// NewCache caches up to 20,000 answers of next for ttl each (0: 10 s).
func NewCache(next Validator, ttl time.Duration) *Cache {
	if ttl == 0 {
		ttl = 10 * time.Second
	}
	return &Cache{next: next, ttl: ttl, max: 20000, entries: map[[32]byte]cacheEntry{}}
}

// Validate answers from the cache or asks next, once for concurrent callers
// with the same token.
func (c *Cache) Validate(ctx context.Context, token string) (*Identity, error) {
	key := sha256.Sum256([]byte(token))
	now := time.Now()
	c.mu.RLock()
	e, ok := c.entries[key]
	epoch := c.epoch
	c.mu.RUnlock()
	if ok && now.Before(e.until) { // until is never after the token's end
		return e.id, nil
	}
	answer := c.flight.DoChan(fmt.Sprintf("%x/%d", key, epoch), func() (any, error) {
		// The answer serves all waiters, so one that gives up must not
		// end it for the others.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
		defer cancel()
		id, err := c.next.Validate(ctx, token)
		if err != nil {
			return nil, err
		}
		c.put(key, id, epoch)
		return id, nil
	})
	select {
	case a := <-answer:
		if a.Err != nil {
			return nil, a.Err
		}
		return a.Val.(*Identity), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *Cache) put(key [32]byte, id *Identity, epoch uint64) {
	if id.Volatile {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch != epoch { // flushed while the answer was under way
		return
	}
	now := time.Now()
	if now.Sub(c.swept) > c.ttl || len(c.entries) >= c.max {
		c.sweep(now)
	}
	hit := *id // shared by all later callers, as Identity is read-only
	hit.ValidatedFromCache = true
	until := now.Add(c.ttl)
	if id.ExpiresAt.Before(until) {
		until = id.ExpiresAt
	}
	c.entries[key] = cacheEntry{&hit, until}
}

// sweep drops what is over and, where that is not enough, a sixteenth of the
// rest in no order: dropping all would send everybody to identity at once.
func (c *Cache) sweep(now time.Time) {
	c.swept = now
	for k, e := range c.entries {
		if !now.Before(e.until) {
			delete(c.entries, k)
		}
	}
	if len(c.entries) < c.max {
		return
	}
	n := c.max/16 + 1
	for k := range c.entries {
		if n--; n < 0 {
			return
		}
		delete(c.entries, k)
	}
}

// Flush forgets everything.
func (c *Cache) Flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	clear(c.entries)
}
