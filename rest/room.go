package rest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
)

const (
	// onceMost bounds what is kept for one user of one service, in bytes: some
	// 50,000 answers of a usual size. Nothing is forgotten before its time; who
	// has that much sends no more keys.
	onceMost = 128 << 20
	// onceOverhead is what a key takes besides its answer, in bytes.
	onceOverhead = 1 << 10
	// onceLook is with how many of a user's new keys a process looks how much
	// is kept for the user, and onceFull how long it takes a user's room for
	// full without a look.
	onceLook = 64
	onceFull = 5 * time.Second
	// onceOwners bounds the users that a process remembers.
	onceOwners = 10000
)

// room is what a process knows of the room that a user's keys take.
type room struct {
	left  int       // keys until the next look
	until time.Time // it is full until then; zero: it is not
}

// onceOwner names whose a key is. The services' own users act for everybody, and
// make as many as the cloud makes: "" is not bounded.
func onceOwner(who *auth.Identity) string {
	if who.HasRole("service") || who.Service != nil && who.Service.HasRole("service") {
		return ""
	}
	sum := sha256.Sum256([]byte(who.User.ID))
	return hex.EncodeToString(sum[:])
}

// full reports whether a user has as much as one may. It asks the database now
// and then, so several processes together let a little more in.
func (o *Once) full(ctx context.Context, owner string) (bool, error) {
	if owner == "" {
		return false, nil
	}
	o.mu.Lock()
	r, known := o.rooms[owner]
	if known && r.until.IsZero() && r.left > 0 {
		r.left--
		o.rooms[owner] = r
		o.mu.Unlock()
		return false, nil
	}
	o.mu.Unlock()
	if known && time.Now().Before(r.until) {
		return true, nil
	}
	kept, err := db.Count(ctx, o.d, "SELECT COALESCE(SUM(kept_bytes), 0) FROM idempotency WHERE owner = ?", owner)
	if err != nil {
		return false, err
	}
	r = room{left: onceLook - 1}
	if kept >= o.most {
		r.until = time.Now().Add(onceFull)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.rooms) >= onceOwners {
		clear(o.rooms)
	}
	o.rooms[owner] = r
	return !r.until.IsZero(), nil
}

// admit refuses a new key of a user who has as many as one may; one that is
// there already has its answer.
func (o *Once) admit(ctx context.Context, id, owner string) error {
	full, err := o.full(ctx, owner)
	if err != nil || !full {
		return err
	}
	n, err := db.Count(ctx, o.d, "SELECT COUNT(*) FROM idempotency WHERE id = ?", id)
	if err != nil || n > 0 {
		return err
	}
	return fault.OverQuotaf("Too many answers are kept for your requests with an Idempotency-Key; each is kept for %d hours. Send the request without the header, or wait until older ones are forgotten.", int(onceKept/time.Hour))
}
