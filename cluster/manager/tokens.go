package manager

import (
	"context"
	"time"

	"github.com/tropocloud/tropo/cluster"
	"github.com/tropocloud/tropo/fault"
)

// CreateToken makes a join token for nodes with any of the roles, for uses
// nodes (0: one), valid for life (0: an hour). The text is shown only now.
func (m *Manager) CreateToken(ctx context.Context, roles []cluster.Role, uses int, life time.Duration) (*cluster.Token, string, error) {
	if uses == 0 {
		uses = 1
	}
	if life == 0 {
		life = cluster.DefaultTokenLife
	}
	switch {
	case len(roles) == 0:
		return nil, "", fault.Invalidf("Say for which roles the token is: control, compute, network, storage.")
	case uses < 1 || uses > cluster.MaxTokenUses:
		return nil, "", fault.Invalidf("A join token is for 1 to %d nodes.", cluster.MaxTokenUses)
	case life < time.Second || life > cluster.MaxTokenLife:
		return nil, "", fault.Invalidf("A join token is valid for at least a second and at most %d days.", int(cluster.MaxTokenLife.Hours()/24))
	}
	for _, r := range roles {
		if r == cluster.Control {
			if err := m.sharable(); err != nil {
				return nil, "", err
			}
		}
	}
	text := cluster.NewTokenText(m.Fingerprint())
	now := m.now()
	t := cluster.Token{ID: text.ID, Digest: cluster.Digest(text.Secret), Roles: roles, Uses: uses, Created: now, Expires: now.Add(life)}
	if err := m.store.CreateToken(ctx, t); err != nil {
		return nil, "", err
	}
	return &t, text.String(), nil
}

// Tokens are all join tokens, without their secrets.
func (m *Manager) Tokens(ctx context.Context) ([]cluster.Token, error) { return m.store.Tokens(ctx) }

// DeleteToken makes a join token worthless; fault.NotFound.
func (m *Manager) DeleteToken(ctx context.Context, id string) error {
	return m.store.DeleteToken(ctx, id)
}

// sharable refuses control nodes beside this one where the database is a file.
func (m *Manager) sharable() error {
	if m.store.Shared() {
		return nil
	}
	return fault.Conflictf("The cloud keeps its state in SQLite files, which only one control node can use: for more, start it with [database] connection naming a PostgreSQL or MariaDB server.")
}
