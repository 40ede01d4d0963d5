package store

import (
	"context"
	"errors"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
)

// FederatedUsers lists the names that a user has at identity providers.
func (s *Store) FederatedUsers(ctx context.Context, userID string) ([]identity.FederatedUser, error) {
	return db.Select[identity.FederatedUser](ctx, s.db, "SELECT "+db.Columns[identity.FederatedUser]("")+
		" FROM federated_users WHERE user_id = ? ORDER BY idp_id, protocol_id LIMIT 100", userID)
}

// FederatedUser finds the user behind a name at a provider; fault.NotFound
// where there is none.
func (s *Store) FederatedUser(ctx context.Context, providerID, protocolID, uniqueID string) (*identity.FederatedUser, error) {
	f, err := db.Get[identity.FederatedUser](ctx, s.db, "SELECT "+db.Columns[identity.FederatedUser]("")+
		" FROM federated_users WHERE idp_id = ? AND protocol_id = ? AND unique_id = ?", providerID, protocolID, uniqueID)
	if errors.Is(err, db.ErrNoRows) {
		return nil, fault.New(fault.NotFound, "Could not find user: %s.", uniqueID)
	}
	return f, err
}

// AddFederatedUser ties a user to a name at a provider.
func (s *Store) AddFederatedUser(ctx context.Context, f identity.FederatedUser) error {
	err := db.Insert(ctx, s.db, "federated_users", f)
	if db.IsUnique(err) {
		return fault.Wrap(fault.Conflict, err, "Conflict occurred attempting to store federated user - Duplicate entry.")
	}
	return err
}

// UsersByExpiry lists users whose newest password ends before or after a time.
func (s *Store) UsersByExpiry(ctx context.Context, q identity.Query, op identity.Op, at time.Time) ([]identity.User, error) {
	cmp := map[identity.Op]string{identity.Below: "<", identity.AtMost: "<=", identity.Above: ">", identity.AtLeast: ">=", identity.Not: "<>", identity.Equals: "="}[op]
	return s.Users.ListWhere(ctx, q, db.Where().Raw("id IN (SELECT p.user_id FROM passwords p WHERE p.expires_at "+cmp+
		" ? AND p.created_at = (SELECT MAX(n.created_at) FROM passwords n WHERE n.user_id = p.user_id))", at))
}

// Protocols lists the protocols of a provider.
func (s *Store) Protocols(ctx context.Context, providerID string) ([]identity.Protocol, error) {
	return db.Select[identity.Protocol](ctx, s.db, "SELECT "+db.Columns[identity.Protocol]("")+" FROM federation_protocols WHERE idp_id = ? ORDER BY id LIMIT "+bound, providerID)
}

// Protocol returns one protocol of a provider.
func (s *Store) Protocol(ctx context.Context, providerID, id string) (*identity.Protocol, error) {
	p, err := db.Get[identity.Protocol](ctx, s.db, "SELECT "+db.Columns[identity.Protocol]("")+" FROM federation_protocols WHERE idp_id = ? AND id = ?", providerID, id)
	if errors.Is(err, db.ErrNoRows) {
		return nil, fault.New(fault.NotFound, "Could not find federated protocol %s for identity provider: %s.", id, providerID)
	}
	return p, err
}

// CreateProtocol adds a protocol.
func (s *Store) CreateProtocol(ctx context.Context, p *identity.Protocol) error {
	err := db.Insert(ctx, s.db, "federation_protocols", p)
	if db.IsUnique(err) {
		return fault.Wrap(fault.Conflict, err, "Conflict occurred attempting to store federation_protocol - Duplicate entry.")
	}
	return err
}

// UpdateProtocol writes a protocol.
func (s *Store) UpdateProtocol(ctx context.Context, p *identity.Protocol) error {
	_, err := db.Update(ctx, s.db, "federation_protocols", db.Set{"mapping_id": p.MappingID, "remote_id_attribute": p.RemoteAttr},
		db.Where().Eq("idp_id", p.ProviderID).Eq("id", p.ID))
	return err
}

// DeleteProtocol removes a protocol.
func (s *Store) DeleteProtocol(ctx context.Context, providerID, id string) error {
	_, err := db.Delete(ctx, s.db, "federation_protocols", db.Where().Eq("idp_id", providerID).Eq("id", id))
	return err
}

// SetRemoteIDs replaces the remote ids of a provider; one that another
// provider has is fault.Conflict.
func (s *Store) SetRemoteIDs(ctx context.Context, providerID string, ids []string) error {
	if _, err := db.Delete(ctx, s.db, "idp_remote_ids", db.Where().Eq("idp_id", providerID)); err != nil {
		return err
	}
	for _, id := range ids {
		_, err := db.Exec(ctx, s.db, "INSERT INTO idp_remote_ids (remote_id, idp_id) VALUES (?, ?)", id, providerID)
		if db.IsUnique(err) {
			return fault.Wrap(fault.Conflict, err, "Duplicate remote ID: %s", id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// MembershipEnds returns until when identity providers put a user into groups
// of which it is not a member anyway, by group; of several ends the latest.
func (s *Store) MembershipEnds(ctx context.Context, userID string, now time.Time) (map[string]time.Time, error) {
	type row struct {
		GroupID   string    `db:"group_id"`
		ExpiresAt time.Time `db:"expires_at"`
	}
	list, err := db.Select[row](ctx, s.db, "SELECT group_id, expires_at FROM expiring_memberships WHERE user_id = ? AND expires_at > ?"+
		" AND group_id NOT IN (SELECT group_id FROM memberships WHERE user_id = ?) ORDER BY expires_at LIMIT "+bound, userID, now, userID)
	if err != nil {
		return nil, err
	}
	out := make(map[string]time.Time, len(list))
	for _, r := range list {
		out[r.GroupID] = r.ExpiresAt
	}
	return out, nil
}
