// Package manager does what the cluster's operations ask for: it lets machines
// join, signs their certificates, knows who is part of the cloud, and removes.
package manager

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/cluster"
	"github.com/tropocloud/tropo/cluster/pki"
	"github.com/tropocloud/tropo/cluster/store"
	"github.com/tropocloud/tropo/db"
)

// Beat is how often a node says that it lives, within a fifth.
const Beat = 5 * time.Second

// Options make a manager.
type Options struct {
	Store *store.Store
	// Self is this control node.
	Self    cluster.Node
	Version string // of this program
	// Dir holds the authority (ca.pem, ca-key.pem) and this node's
	// certificate (node.pem, node-key.pem). What is missing is made.
	Dir string
	// Session makes the users of nodes in identity. nil: nodes get none.
	Session *auth.Session
	// Bus is the URL of the message broker for nodes; empty: the embedded one.
	Bus string
	// Metadata is the secret between a node's metadata proxy and compute;
	// nil: nodes get none.
	Metadata func(node string) string
	// Share gives another control node what this one has.
	Share func(ctx context.Context) (*cluster.ControlDocument, error)
	// Keys gives another control node identity's keys, without the files
	// themselves where it has the digest.
	Keys func(ctx context.Context, have string) (*cluster.Keys, error)
	// Changed is called after nodes joined or were removed, to tell the other
	// control nodes; they call Reload. It may get lost.
	Changed func(ctx context.Context)
	Log     *slog.Logger     // nil: slog.Default
	Now     func() time.Time // nil: the database's notion of now
}

// Manager implements the service. It is safe for concurrent use.
type Manager struct {
	o     Options
	store *store.Store
	log   *slog.Logger
	now   func() time.Time
	ca    *pki.Authority
	caPEM []byte

	flight singleflight.Group
	mu     sync.RWMutex
	nodes  map[string]cluster.Node // of the cloud now
	serial map[string]string       // certificates accepted → node
	began  time.Time               // when the reading of it began
	asked  time.Time               // when the database last answered
	public string
	watch  []func()
}

// New makes a manager: the authority where there is none, and this node's own
// place and certificate.
func New(ctx context.Context, o Options) (*Manager, error) {
	m := &Manager{o: o, store: o.Store, log: o.Log, now: o.Now}
	if m.log == nil {
		m.log = slog.Default()
	}
	if m.now == nil {
		m.now = db.Now
	}
	if err := m.openAuthority(ctx); err != nil {
		return nil, err
	}
	if err := m.enrolSelf(ctx); err != nil {
		return nil, err
	}
	return m, m.Reload(ctx)
}

// Files are this node's certificate and the authority's.
func (m *Manager) Files() cluster.Files { return Files(m.o.Dir) }

// Fingerprint is that of the cloud's authority.
func (m *Manager) Fingerprint() string { return pki.Fingerprint(m.ca.Certificate) }

// Reload reads from the database who is part of the cloud. When it cannot be
// asked, what was known stays.
func (m *Manager) Reload(ctx context.Context) error {
	_, err, _ := m.flight.Do("reload", func() (any, error) { return nil, m.read(context.WithoutCancel(ctx)) })
	if err == nil {
		m.tell()
	}
	return err
}

// reload is Reload that does not take over what began before.
func (m *Manager) reload(ctx context.Context) error {
	err := m.read(ctx)
	if err == nil {
		m.tell()
	}
	return err
}

// tell calls those who watch.
func (m *Manager) tell() {
	m.mu.RLock()
	watch := m.watch
	m.mu.RUnlock()
	for _, f := range watch {
		f()
	}
}

func (m *Manager) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	began := time.Now()
	list, err := m.store.Nodes(ctx)
	if err != nil {
		return err
	}
	serials, err := m.store.Certificates(ctx)
	if err != nil {
		return err
	}
	public, err := m.store.Fact(ctx, factPublic)
	if err != nil {
		return err
	}
	nodes := map[string]cluster.Node{}
	for _, n := range list {
		if !n.Revoked {
			nodes[n.Name] = n
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !began.Before(m.began) { // else another that began later was faster
		m.nodes, m.serial, m.began, m.public = nodes, serials, began, public
	}
	m.asked = time.Now()
	return nil
}

// Watch calls f after each look at the database; f must not wait for long nor
// ask the manager to look again.
func (m *Manager) Watch(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watch = append(m.watch, f)
}

// changed makes a change known here and elsewhere.
func (m *Manager) changed(ctx context.Context) {
	if err := m.reload(context.WithoutCancel(ctx)); err != nil {
		m.log.LogAttrs(ctx, slog.LevelWarn, "the nodes could not be read again", slog.Any("error", err))
	}
	if m.o.Changed != nil {
		m.o.Changed(context.WithoutCancel(ctx))
	}
}

// Run keeps this node's heartbeat, certificate and knowledge fresh until ctx
// ends.
func (m *Manager) Run(ctx context.Context) error {
	pruned := time.Time{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(Beat*4/5 + rand.N(Beat*2/5)): //nolint:gosec // jitter is no secret
		}
		if err := m.beatSelf(ctx); err != nil && ctx.Err() == nil {
			m.log.LogAttrs(ctx, slog.LevelWarn, "the cluster's database does not answer", slog.Any("error", err))
			continue
		}
		if time.Since(pruned) > time.Hour {
			pruned = time.Now()
			if err := m.store.Prune(ctx, m.now()); err != nil && ctx.Err() == nil {
				m.log.LogAttrs(ctx, slog.LevelWarn, "old join tokens were not removed", slog.Any("error", err))
			}
		}
	}
}

func (m *Manager) beatSelf(ctx context.Context) error {
	if err := m.store.Seen(ctx, m.o.Self.Name, m.o.Version, m.now()); err != nil {
		return err
	}
	if err := m.Reload(ctx); err != nil {
		return err
	}
	return m.renewSelf(ctx)
}
