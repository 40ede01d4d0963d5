package store

import (
	"context"
	"errors"
	"slices"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
)

// IDMapping returns what a public id stands for; fault.NotFound where it is
// no id of a directory's entry.
func (s *Store) IDMapping(ctx context.Context, publicID string) (*identity.IDMapping, error) {
	v, err := db.Get[identity.IDMapping](ctx, s.db, "SELECT "+db.Columns[identity.IDMapping]("")+" FROM id_mappings WHERE public_id = ?", publicID)
	if errors.Is(err, db.ErrNoRows) {
		return nil, fault.New(fault.NotFound, "Could not find entity: %s.", publicID)
	}
	return v, err
}

// MapIDs stores those mappings that are not there yet.
func (s *Store) MapIDs(ctx context.Context, list []identity.IDMapping) error {
	for chunk := range slices.Chunk(list, 500) {
		ids := make([]string, len(chunk))
		for i := range chunk {
			ids[i] = chunk[i].PublicID
		}
		w, args := db.Where().In("public_id", ids).SQL()
		have, err := db.Select[string](ctx, s.db, "SELECT public_id FROM id_mappings"+w, args...)
		if err != nil {
			return err
		}
		known := make(map[string]bool, len(have))
		for _, id := range have {
			known[id] = true
		}
		if len(have) == len(chunk) {
			continue
		}
		err = s.db.Tx(ctx, func(ctx context.Context) error {
			for i := range chunk {
				if known[chunk[i].PublicID] {
					continue
				}
				known[chunk[i].PublicID] = true
				if err := db.Upsert(ctx, s.db, "id_mappings", &chunk[i], "public_id"); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// RemoveMapped removes the role assignments of a domain's directory entries
// and their mappings, when the domain goes.
func (s *Store) RemoveMapped(ctx context.Context, domainID string) error {
	if _, err := db.Exec(ctx, s.db, "DELETE FROM assignments WHERE actor_id IN (SELECT public_id FROM id_mappings WHERE domain_id = ?)", domainID); err != nil {
		return err
	}
	_, err := db.Delete(ctx, s.db, "id_mappings", db.Where().Eq("domain_id", domainID))
	return err
}

// DriverOptions lists the options of every domain that say where its users
// are.
func (s *Store) DriverOptions(ctx context.Context) ([]identity.DomainOption, error) {
	return db.Select[identity.DomainOption](ctx, s.db, "SELECT "+db.Columns[identity.DomainOption]("")+
		" FROM domain_configs WHERE group_name IN ('identity', 'ldap') ORDER BY domain_id, group_name, option_name LIMIT 100000")
}

// OwnUsers lists the users that this service keeps itself: not those that are
// only noted here because they logged in from a directory.
func (s *Store) OwnUsers(ctx context.Context, q identity.Query) ([]identity.User, error) {
	return s.Users.ListWhere(ctx, q, db.Where().Raw("unique_name NOT LIKE ?", identity.DirectoryPrefix+"%"))
}
