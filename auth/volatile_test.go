package auth_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tropocloud/tropo/auth"
)

type volatile struct{ n atomic.Int32 }

func (v *volatile) Validate(context.Context, string) (*auth.Identity, error) {
	v.n.Add(1)
	return &auth.Identity{ExpiresAt: time.Now().Add(time.Hour), Volatile: true}, nil
}

// An answer that rests on what nobody tells of is asked for at every use
// (OSSA-2026-007: threat 35).
func TestThreat35VolatileAnswersAreNotRemembered(t *testing.T) {
	next := &volatile{}
	c := auth.NewCache(next, time.Hour)
	for i := range int32(3) {
		if id, err := c.Validate(t.Context(), "a"); err != nil || id.ValidatedFromCache || next.n.Load() != i+1 {
			t.Errorf("asked %d times, want %d: %v", next.n.Load(), i+1, err)
		}
	}
}
