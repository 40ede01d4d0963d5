package store

import (
	"context"
	"testing"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/identity"
)

// TestEpochSince: whoever is content with a state since a time sees every
// change that was made before it, also by another process, and may get what
// was read for another request meanwhile.
func TestEpochSince(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		here, err := New(ctx, d)
		if err != nil {
			t.Fatal(err)
		}
		there, err := New(ctx, d)
		if err != nil {
			t.Fatal(err)
		}
		epoch := func(s *Store, since time.Time) Epoch {
			t.Helper()
			e, err := s.EpochSince(db.ReadSince(ctx, since))
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
		came := time.Now()
		first := epoch(here, came)

		if err := there.Bump(ctx); err != nil {
			t.Fatal(err)
		}
		if got := epoch(here, time.Now()); got.Generation != first.Generation+1 {
			t.Errorf("a change before the request is not seen: %+v after %+v", got, first)
		}
		r := &identity.Revocation{ID: "r", AuditID: "a", IssuedBefore: came, RevokedAt: came, ForgetAt: came.Add(time.Hour)}
		if err := there.Revoke(ctx, r); err != nil {
			t.Fatal(err)
		}
		revoked := time.Now()
		for !time.Now().After(revoked) { // the reading is to begin after it, also by a coarse clock
		}
		if got := epoch(here, revoked); got.Revocations != first.Revocations+1 {
			t.Errorf("a revocation before the request is not seen: %+v after %+v", got, first)
		}

		if err := there.Bump(ctx); err != nil {
			t.Fatal(err)
		}
		if got, want := epoch(here, revoked), first.Generation+1; got.Generation != want {
			t.Errorf("the state since %v was read anew: generation %d; want %d", revoked, got.Generation, want)
		}
		err = here.Tx(db.ReadSince(ctx, revoked), func(ctx context.Context) error {
			e, err := here.EpochSince(ctx)
			if err == nil && e.Generation != first.Generation+2 {
				t.Errorf("a transaction got an earlier state: %+v", e)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
