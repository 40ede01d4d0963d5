package store

import (
	"context"
	"time"

	"github.com/tropocloud/tropo/cluster"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
)

type tokenRow struct {
	ID      string    `db:"id"`
	Digest  string    `db:"digest"`
	Roles   string    `db:"roles"`
	Uses    int       `db:"uses_left"`
	Created time.Time `db:"created_at"`
	Expires time.Time `db:"expires_at"`
}

func (r tokenRow) token() cluster.Token {
	return cluster.Token{ID: r.ID, Digest: r.Digest, Roles: splitRoles(r.Roles), Uses: r.Uses, Created: r.Created, Expires: r.Expires}
}

// CreateToken keeps a join token.
func (s *Store) CreateToken(ctx context.Context, t cluster.Token) error {
	return db.Insert(ctx, s.db, "join_tokens", tokenRow{t.ID, t.Digest, joinRoles(t.Roles), t.Uses, t.Created, t.Expires})
}

// Token returns one; fault.NotFound.
func (s *Store) Token(ctx context.Context, id string) (*cluster.Token, error) {
	r, err := db.Get[tokenRow](ctx, s.db, "SELECT "+db.Columns[tokenRow]("")+" FROM join_tokens WHERE id = ?", id)
	if err != nil {
		return nil, missing(err, "Join token", id)
	}
	t := r.token()
	return &t, nil
}

// Tokens returns all tokens, by id.
func (s *Store) Tokens(ctx context.Context) ([]cluster.Token, error) {
	rows, err := db.SelectPage[tokenRow](ctx, s.db, "join_tokens", db.Where(), db.Page{Limit: MaxList})
	if err != nil {
		return nil, err
	}
	out := make([]cluster.Token, len(rows))
	for i, r := range rows {
		out[i] = r.token()
	}
	return out, nil
}

// UseToken takes one use of a token, so that of many who ask at the same time
// no more get one than there are; none left (or expired) is fault.Forbidden.
func (s *Store) UseToken(ctx context.Context, id string, now time.Time) error {
	n, err := db.Exec(ctx, s.db, "UPDATE join_tokens SET uses_left = uses_left - 1 WHERE id = ? AND uses_left > 0 AND expires_at > ?", id, now)
	if err != nil {
		return err
	}
	if n == 0 {
		return fault.Forbiddenf("The join token has expired or was used: make another with `tropo node token`.")
	}
	return nil
}

// DeleteToken removes a token; fault.NotFound.
func (s *Store) DeleteToken(ctx context.Context, id string) error {
	n, err := db.Delete(ctx, s.db, "join_tokens", db.ByID(id))
	if err == nil && n == 0 {
		return fault.Missing("Join token", id)
	}
	return err
}
