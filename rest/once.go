package rest

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// onceKept is how long the answer to a key is kept; onceHeld how long a
// process that is not heard of keeps a key for itself; onceWait how long a
// second request with a key waits for the first.
const (
	onceKept = 24 * time.Hour
	onceHeld = 10 * time.Second
	onceWait = time.Minute
	oncePoll = 50 * time.Millisecond
)

// maxOnceAnswer bounds a body that is kept, in bytes. Of a larger one only the
// status and the headers are.
const maxOnceAnswer = 64 << 10

// Once makes a POST with an Idempotency-Key happen once: a repetition gets the
// first one's answer, for 24 hours. How much is kept for a user is bounded. It
// keeps its rows in the service's own database, so all processes of a service
// share it.
//
// A key belongs to a user and a project. Its answer is encrypted with it: what
// is in an answer (a password that was made) cannot be read from the database.
type Once struct {
	d      *db.DB
	holder string
	held   time.Duration
	most   int // bytes kept for a user

	mu     sync.Mutex
	pruned time.Time
	rooms  map[string]room // by owner
}

// NewOnce makes the table in a service's database.
func NewOnce(ctx context.Context, d *db.DB) (*Once, error) {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := d.Migrate(ctx, "idempotency", sub); err != nil {
		return nil, err
	}
	return &Once{d: d, holder: uuid.NewString(), held: onceHeld, most: onceMost, rooms: map[string]room{}}, nil
}

type onceRow struct {
	ID          string    `db:"id"`
	Fingerprint string    `db:"fingerprint"`
	Seed        string    `db:"seed"`
	Holder      string    `db:"holder"`
	HeldUntil   time.Time `db:"held_until"`
	Status      int       `db:"status"` // 0: not answered yet
	Answer      []byte    `db:"answer"`
	CreatedAt   time.Time `db:"created_at"`
	Owner       string    `db:"owner"`
	KeptBytes   int       `db:"kept_bytes"`
}

// claim is the right to do what a key asks for.
type claim struct {
	id, key, seed string
	holder        string // who has it, as long as nobody took it over
	again         bool   // somebody tried before and did not come to an end
}

// kept is an answer as it is stored.
type kept struct {
	Header http.Header     `json:"header"`
	Body   json.RawMessage `json:"body,omitempty"`
}

// onceID names a key among those of all callers.
func onceID(service, user, scope, key string) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{service, user, scope, key}, "\x00")))
	return hex.EncodeToString(sum[:])
}

// seal makes the cipher of a key's answer.
func seal(key, seed string) (cipher.AEAD, error) {
	k, err := hkdf.Key(sha256.New, []byte(key), []byte(seed), "tropo idempotency", 32)
	if err != nil {
		return nil, err
	}
	b, err := aes.NewCipher(k)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(b)
}

// begin returns the claim to a key of an owner or, where it was answered, the
// answer. It waits for another request with the key that is under way.
func (o *Once) begin(ctx context.Context, id, owner, key, fingerprint string) (*claim, *Response, error) {
	o.prune(ctx)
	if err := o.admit(ctx, id, owner); err != nil {
		return nil, nil, err
	}
	end := time.Now().Add(onceWait)
	for {
		now := db.Now()
		row := onceRow{
			ID: id, Fingerprint: fingerprint, Seed: uuid.NewString(), Holder: o.holder + "/" + uuid.NewString()[:8],
			HeldUntil: now.Add(o.held), Answer: []byte{}, CreatedAt: now, Owner: owner, KeptBytes: onceOverhead,
		}
		err := db.Insert(ctx, o.d, "idempotency", row)
		if err == nil {
			return &claim{id: id, key: key, seed: row.Seed, holder: row.Holder}, nil, nil
		}
		if !db.IsUnique(err) {
			return nil, nil, err
		}
		have, err := db.Get[onceRow](ctx, o.d, "SELECT "+db.Columns[onceRow]("")+" FROM idempotency WHERE id = ?", id)
		switch {
		case errors.Is(err, db.ErrNoRows):
			continue // it has just been given up
		case err != nil:
			return nil, nil, err
		case have.Fingerprint != fingerprint:
			return nil, nil, fault.New(fault.Unprocessable, "The Idempotency-Key was used for another request. Use a new key for each new request.")
		case have.Status != 0:
			res, err := have.answer(key)
			return nil, res, err
		case have.HeldUntil.Before(now):
			n, err := db.Exec(ctx, o.d, "UPDATE idempotency SET holder = ?, held_until = ? WHERE id = ? AND holder = ? AND status = 0 AND held_until = ?",
				row.Holder, row.HeldUntil, id, have.Holder, have.HeldUntil)
			if err != nil {
				return nil, nil, err
			}
			if n == 1 {
				return &claim{id: id, key: key, seed: have.Seed, holder: row.Holder, again: true}, nil, nil
			}
		}
		if time.Now().After(end) {
			return nil, nil, fault.Conflictf("A request with this Idempotency-Key is still being worked on. Try again later with the same key.")
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(oncePoll):
		}
	}
}

func (r *onceRow) answer(key string) (*Response, error) {
	c, err := seal(key, r.Seed)
	if err != nil {
		return nil, err
	}
	text, err := c.Open(nil, nil, r.Answer, []byte(r.ID))
	if err != nil {
		return nil, fmt.Errorf("read a kept answer: %w", err)
	}
	var k kept
	if err := json.Unmarshal(text, &k); err != nil {
		return nil, fmt.Errorf("read a kept answer: %w", err)
	}
	k.Header.Set("Idempotent-Replayed", "true")
	res := &Response{Status: r.Status, Header: k.Header}
	if len(k.Body) > 0 {
		res.Body = []byte(k.Body)
	}
	return res, nil
}

// hold keeps a claim alive until the returned function is called.
func (o *Once) hold(ctx context.Context, c *claim) (release func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(o.held / 3)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C: // a failure is made good by the next
				_, _ = db.Exec(ctx, o.d, "UPDATE idempotency SET held_until = ? WHERE id = ? AND status = 0 AND holder = ?", db.Now().Add(o.held), c.id, c.holder)
			}
		}
	}()
	return func() { cancel(); <-done }
}

// keep stores the answer to a claim.
func (o *Once) keep(ctx context.Context, c *claim, status int, k kept) error {
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	aead, err := seal(c.key, c.seed)
	if err != nil {
		return err
	}
	answer := aead.Seal(nil, nil, text, []byte(c.id))
	_, err = db.Exec(ctx, o.d, "UPDATE idempotency SET status = ?, answer = ?, kept_bytes = ? WHERE id = ?", status, answer, onceOverhead+len(answer), c.id)
	return err
}

// giveUp forgets a key whose request was refused: nothing was made. Where
// another took the claim over meanwhile, it is the other's to end.
func (o *Once) giveUp(ctx context.Context, c *claim) error {
	_, err := db.Exec(ctx, o.d, "DELETE FROM idempotency WHERE id = ? AND status = 0 AND holder = ?", c.id, c.holder)
	return err
}

// letGo lets the next request with the key go on where this one failed, with
// the ids that it used.
func (o *Once) letGo(ctx context.Context, c *claim) error {
	_, err := db.Exec(ctx, o.d, "UPDATE idempotency SET held_until = ? WHERE id = ? AND status = 0 AND holder = ?", db.Now().Add(-time.Second), c.id, c.holder)
	return err
}

// prune forgets old keys, now and then.
func (o *Once) prune(ctx context.Context) {
	o.mu.Lock()
	due := time.Since(o.pruned) > onceKept/100
	if due {
		o.pruned = time.Now()
	}
	o.mu.Unlock()
	if due { // a failure is made good by the next
		_, _ = db.Exec(ctx, o.d, "DELETE FROM idempotency WHERE created_at < ?", db.Now().Add(-onceKept))
	}
}
