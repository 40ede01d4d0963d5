package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
)

// Generation returns the number that rises with every change after which a
// token may mean something else.
func (s *Store) Generation(ctx context.Context) (int64, error) {
	n, err := db.Get[int64](ctx, s.db, "SELECT number FROM generation WHERE id = 1")
	if err != nil {
		return 0, err
	}
	return *n, nil
}

// Bump raises the generation, within the transaction of the change.
func (s *Store) Bump(ctx context.Context) error {
	_, err := db.Exec(ctx, s.db, "UPDATE generation SET number = number + 1 WHERE id = 1")
	return err
}

// Epoch says as of when something is known of tokens. It holds while the
// epoch is the same.
type Epoch struct {
	Generation  int64 `db:"number"`  // raised by changes after which a token may mean something else
	Revocations int64 `db:"revoked"` // how many there ever were
}

// reading is an epoch and when its reading began.
type reading struct {
	epoch Epoch
	began time.Time
}

// Epoch returns the epoch of now.
func (s *Store) Epoch(ctx context.Context) (Epoch, error) {
	e, err := db.Get[Epoch](ctx, s.db, "SELECT number, revoked FROM generation WHERE id = 1")
	if err != nil {
		return Epoch{}, err
	}
	return *e, nil
}

// EpochSince is Epoch, but where the context allows an earlier state
// (db.ReadSince), of the last reading that is late enough.
func (s *Store) EpochSince(ctx context.Context) (Epoch, error) {
	since, ok := s.db.Since(ctx)
	if !ok {
		return s.Epoch(ctx)
	}
	if last := s.epoch.Load(); last != nil && last.began.After(since) {
		return last.epoch, nil
	}
	began := time.Now()
	e, err := s.Epoch(ctx)
	if err != nil {
		return Epoch{}, err
	}
	s.epoch.Store(&reading{e, began})
	return e, nil
}

// Revoked reports whether a revocation with one of the keys covers a token
// that was issued at the time. Its cost does not grow with the number of
// revocations.
func (s *Store) Revoked(ctx context.Context, keys []string, issued time.Time) (bool, error) {
	n, err := db.Count(ctx, s.db, "SELECT COUNT(*) FROM revocations WHERE match_key IN ("+
		strings.Repeat(", ?", len(keys))[2:]+") AND issued_before >= ?", append(anys(keys), issued)...)
	return n > 0, err
}

func anys(keys []string) []any {
	out := make([]any, 0, len(keys)+1)
	for _, k := range keys {
		out = append(out, k)
	}
	return out
}

// Revoke stores a revocation.
func (s *Store) Revoke(ctx context.Context, r *identity.Revocation) error {
	r.MatchKey = r.Key()
	return s.db.Tx(ctx, func(ctx context.Context) error {
		if err := db.Insert(ctx, s.db, "revocations", r); err != nil {
			return err
		}
		_, err := db.Exec(ctx, s.db, "UPDATE generation SET revoked = revoked + 1 WHERE id = 1")
		return err
	})
}

// Revocations lists those made since a time (zero: all), newest last.
func (s *Store) Revocations(ctx context.Context, since time.Time) ([]identity.Revocation, error) {
	return db.SelectPage[identity.Revocation](ctx, s.db, "revocations", db.Where().Raw("revoked_at >= ?", since),
		db.Page{Limit: MaxList, Sort: []db.Sort{{Column: "revoked_at"}}})
}

// Prune forgets what has no meaning any more at a time: revocations of tokens
// that have expired, used secrets, expired request tokens and memberships.
func (s *Store) Prune(ctx context.Context, now time.Time) error {
	_, err1 := db.Delete(ctx, s.db, "revocations", db.Where().Raw("forget_at < ?", now))
	_, err2 := db.Delete(ctx, s.db, "used_secrets", db.Where().Raw("forget_at < ?", now))
	_, err3 := db.Delete(ctx, s.db, "request_tokens", db.Where().Raw("expires_at < ?", now))
	_, err4 := db.Delete(ctx, s.db, "expiring_memberships", db.Where().Raw("expires_at < ?", now))
	return errors.Join(err1, err2, err3, err4)
}

// UseOnce records a secret as used until a time; fault.Conflict if it was
// used before.
func (s *Store) UseOnce(ctx context.Context, digest string, forget time.Time) error {
	_, err := db.Exec(ctx, s.db, "INSERT INTO used_secrets (digest, forget_at) VALUES (?, ?)", digest, forget)
	if db.IsUnique(err) {
		return fault.Wrap(fault.Conflict, err, "It was used before.")
	}
	return err
}

// UseTrust counts one use of a trust down, and reports whether there was one
// left.
func (s *Store) UseTrust(ctx context.Context, id string) (bool, error) {
	n, err := db.Exec(ctx, s.db, "UPDATE trusts SET remaining_uses = remaining_uses - 1 WHERE id = ? AND (remaining_uses IS NULL OR remaining_uses > 0)", id)
	return n > 0, err
}
