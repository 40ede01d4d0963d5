// Package manager does what the operations of the Identity API ask for.
package manager

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/password"
	"github.com/tropocloud/tropo/identity/store"
	"github.com/tropocloud/tropo/identity/token"
	"github.com/tropocloud/tropo/task"
)

// InvalidateEvent is announced on the bus after every change that may end or
// alter tokens: caches of validated tokens must be flushed.
const InvalidateEvent = "identity.invalidate"

// Options make a manager.
type Options struct {
	Store  *store.Store
	Config identity.Config
	Tasks  *task.Engine // nil: nothing is pruned
	Bus    bus.Bus      // nil: nobody is told of revocations
	Log    *slog.Logger // nil: slog.Default
	// Now is the clock; nil: the database's notion of now.
	Now func() time.Time
}

// Manager implements the service. It is safe for concurrent use, and is the
// auth.Validator of its own API.
type Manager struct {
	store  *store.Store
	cfg    identity.Config
	bus    bus.Bus
	log    *slog.Logger
	now    func() time.Time
	hash   *password.Hasher
	keys   *token.Repository
	tokens token.Provider
	sealed *token.Repository // the keys of receipts
	proofs *token.Receipts
	crypt  *token.Repository
	rules  *passwordRules

	mu    sync.Mutex
	cache map[[32]byte]*cached
	// meanings are what users' tokens of a scope mean, by user and scope.
	meanings map[string]meaning
	book     *book
	dirs     *directories
}

var _ auth.Validator = (*Manager)(nil)

// New makes a manager; its key repositories are set up when they are empty.
func New(ctx context.Context, o Options) (*Manager, error) {
	h, err := password.New(password.Options{
		Algorithm: o.Config.Identity.PasswordHashAlgorithm,
		Rounds:    o.Config.Identity.PasswordHashRounds, MaxLength: o.Config.Identity.MaxPasswordLength,
	})
	if err != nil {
		return nil, err
	}
	m := &Manager{
		store: o.Store, cfg: o.Config, bus: o.Bus, log: o.Log, now: o.Now, hash: h,
		keys:  token.NewRepository(o.Config.FernetTokens.KeyRepository),
		crypt: token.NewRepository(o.Config.Credential.KeyRepository),
		cache: map[[32]byte]*cached{}, meanings: map[string]meaning{},
	}
	if m.log == nil {
		m.log = slog.Default()
	}
	if m.now == nil {
		m.now = db.Now
	}
	if m.rules, err = newPasswordRules(&o.Config); err != nil {
		return nil, err
	}
	m.sealed = m.keys
	if dir := o.Config.FernetReceipts.KeyRepository; dir != "" {
		m.sealed = token.NewRepository(dir)
	}
	for _, r := range []*token.Repository{m.keys, m.crypt, m.sealed} {
		if err := r.Setup(ctx); err != nil {
			return nil, err
		}
	}
	m.proofs = token.NewReceipts(m.sealed, o.Config.Auth.Methods)
	m.tokens = token.NewMaker(m.keys, o.Config.Auth.Methods)
	if o.Config.Token.Provider == "jws" {
		c := &o.Config.JWTTokens
		if err := token.CreateJWSPair(ctx, c.PrivateKeyRepository, c.PublicKeyRepository); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		m.tokens = token.NewJWS(c.PrivateKeyRepository, c.PublicKeyRepository)
	}
	if o.Tasks != nil {
		o.Tasks.Every("identity-prune", time.Minute, func(ctx context.Context) error { return m.store.Prune(ctx, m.now()) })
	}
	return m, nil
}

// RotateTokenKeys makes the staged key of the token repository the primary.
func (m *Manager) RotateTokenKeys(ctx context.Context) error {
	return m.keys.Rotate(ctx, m.cfg.FernetTokens.MaxActiveKeys)
}

// RotateReceiptKeys makes the staged key of the receipts' repository the
// primary. Where it is that of the tokens, it rotates with them alone.
func (m *Manager) RotateReceiptKeys(ctx context.Context) error {
	if m.sealed == m.keys {
		return fault.Conflictf("[fernet_receipts] key_repository is not set: receipts are sealed with the keys of tokens.")
	}
	return m.sealed.Rotate(ctx, m.cfg.FernetReceipts.MaxActiveKeys)
}

// CreateJWSKeys makes a key pair for JWS tokens, in one folder, or where the
// configuration says if dir is empty; fault.Conflict where there is one.
func (m *Manager) CreateJWSKeys(ctx context.Context, dir string) error {
	private, public := m.cfg.JWTTokens.PrivateKeyRepository, m.cfg.JWTTokens.PublicKeyRepository
	if dir != "" {
		private, public = dir, dir
	}
	err := token.CreateJWSPair(ctx, private, public)
	if errors.Is(err, fs.ErrExist) {
		return fault.Wrap(fault.Conflict, err, "There is a key pair already; rename or remove it first, and make another with --target-directory to rotate.")
	}
	return err
}

// NewID makes an id as Keystone's: 32 hex digits.
func NewID() string {
	u := uuid.New()
	return hex.EncodeToString(u[:])
}

// rowID is NewID for what a request makes, which may be repeated after a crash.
func rowID(ctx context.Context) string { return strings.ReplaceAll(db.NewID(ctx), "-", "") }

// change runs f in a transaction after which tokens may mean something else:
// whatever is remembered about them is dropped, here and everywhere.
func (m *Manager) change(ctx context.Context, f func(ctx context.Context) error) error {
	return m.store.Tx(ctx, func(ctx context.Context) error {
		if err := f(ctx); err != nil {
			return err
		}
		if err := m.store.Bump(ctx); err != nil {
			return fmt.Errorf("raise generation: %w", err)
		}
		m.store.AfterCommit(ctx, func() { m.announce(ctx) })
		return nil
	})
}

// announce tells the other services to ask again. It may get lost: their
// caches are short.
func (m *Manager) announce(ctx context.Context) {
	if m.bus == nil {
		return
	}
	if err := bus.Tell(context.WithoutCancel(ctx), m.bus, InvalidateEvent, struct{}{}); err != nil {
		m.log.LogAttrs(ctx, slog.LevelWarn, "revocation was not announced", slog.String("error", err.Error()))
	}
}

// revoke stores a revocation of what was issued until now, within a
// transaction of change.
func (m *Manager) revoke(ctx context.Context, r identity.Revocation) error {
	now := m.now()
	r.ID, r.RevokedAt, r.IssuedBefore = NewID(), now, now
	r.ForgetAt = now.Add(m.cfg.TokenLife() + time.Duration(m.cfg.Token.AllowExpiredWindow)*time.Second + time.Hour)
	return m.store.Revoke(ctx, &r)
}
