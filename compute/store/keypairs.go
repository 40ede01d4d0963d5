package store

import (
	"context"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
)

// KeyPair returns a user's key pair.
func (s *Store) KeyPair(ctx context.Context, userID, name string) (*compute.KeyPair, error) {
	k, err := db.Get[compute.KeyPair](ctx, s.db, "SELECT * FROM keypairs WHERE user_id = ? AND name = ?", userID, name)
	if k, err = found(k, err, "Keypair", name); err != nil {
		return nil, err
	}
	return k, nil
}

// KeyPairs lists a user's key pairs by name, after marker (a name).
func (s *Store) KeyPairs(ctx context.Context, userID, marker string, limit int) ([]compute.KeyPair, error) {
	if marker != "" {
		if _, err := s.KeyPair(ctx, userID, marker); fault.Is(err, fault.NotFound) {
			return nil, fault.Invalidf("marker [%s] not found", marker)
		}
	}
	q := "SELECT * FROM keypairs WHERE user_id = ? AND name > ? ORDER BY name LIMIT ?"
	return db.Select[compute.KeyPair](ctx, s.db, q, userID, marker, limit)
}

// CreateKeyPair adds k unless the user has limit of them already.
func (s *Store) CreateKeyPair(ctx context.Context, k *compute.KeyPair, limit int) (*compute.KeyPair, error) {
	err := s.db.Tx(ctx, func(ctx context.Context) error {
		if err := s.lockQuota(ctx, "user:"+k.UserID); err != nil {
			return err
		}
		n, err := db.Count(ctx, s.db, "SELECT count(*) FROM keypairs WHERE user_id = ?", k.UserID)
		if err != nil {
			return err
		}
		same, err := db.Count(ctx, s.db, "SELECT count(*) FROM keypairs WHERE user_id = ? AND name = ?", k.UserID, k.Name)
		switch {
		case err != nil:
			return err
		case same > 0:
			return fault.Conflictf("Key pair '%s' already exists.", k.Name)
		case limit >= 0 && n >= limit:
			return fault.OverQuotaf("Quota exceeded, too many key pairs.")
		}
		_, err = db.Exec(ctx, s.db, "INSERT INTO keypairs (user_id, name, type, public_key, fingerprint, created_at) VALUES (?, ?, ?, ?, ?, ?)",
			k.UserID, k.Name, k.Type, k.PublicKey, k.Fingerprint, k.CreatedAt)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.KeyPair(ctx, k.UserID, k.Name)
}

// DeleteKeyPair removes a key pair; servers keep their copy of the key.
func (s *Store) DeleteKeyPair(ctx context.Context, userID, name string) error {
	n, err := db.Delete(ctx, s.db, "keypairs", db.Where().Eq("user_id", userID).Eq("name", name))
	if err == nil && n == 0 {
		return fault.Missing("Keypair", name)
	}
	return err
}

// KeyPairCount is how many key pairs a user has.
func (s *Store) KeyPairCount(ctx context.Context, userID string) (int, error) {
	return db.Count(ctx, s.db, "SELECT count(*) FROM keypairs WHERE user_id = ?", userID)
}
