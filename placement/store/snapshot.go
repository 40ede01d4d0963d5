package store

import (
	"context"
	"slices"
	"sync"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/placement"
	"github.com/tropocloud/tropo/placement/candidate"
)

// snapshotCache keeps the last snapshot. It is only a copy of rows, checked
// against them at each use, so any number of processes may have their own.
type snapshotCache struct {
	mu      sync.Mutex
	current *candidate.Snapshot
	known   fingerprint
}

// fingerprint tells whether any provider has changed.
type fingerprint struct {
	Providers int   `db:"providers"`
	Sum       int64 `db:"revisions"`
}

// Snapshot returns all providers with their inventory, usage, traits and
// aggregates, not older than the call. Only what has changed since the last
// one is read again.
//
// Nothing may be given away on the word of a snapshot: it is for choosing.
// SetAllocations checks anew.
func (s *Store) Snapshot(ctx context.Context) (*candidate.Snapshot, error) {
	cast := "BIGINT"
	if s.db.Dialect() == db.MySQL {
		cast = "SIGNED"
	}
	f, err := db.Get[fingerprint](ctx, s.db, "SELECT count(*) AS providers, CAST(COALESCE(SUM(revision), 0) AS "+cast+") AS revisions FROM providers")
	if err != nil {
		return nil, err
	}
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	if s.cache.current != nil && *f == s.cache.known {
		return s.cache.current, nil
	}
	next, known, err := s.refresh(ctx, s.cache.current)
	if err != nil {
		return nil, err
	}
	s.cache.current, s.cache.known = next, known
	return next, nil
}

// refresh reads the providers and, for those whose revision is not that of
// old, what belongs to them. What is read after the revision may be newer than
// it, never older: then the next fingerprint differs and it is read again.
func (s *Store) refresh(ctx context.Context, old *candidate.Snapshot) (*candidate.Snapshot, fingerprint, error) {
	type brief struct {
		UUID     string `db:"uuid"`
		Revision int64  `db:"revision"`
	}
	all, err := db.Select[brief](ctx, s.db, "SELECT uuid, revision FROM providers")
	if err != nil {
		return nil, fingerprint{}, err
	}
	f := fingerprint{Providers: len(all)}
	var changed []string
	kept := make([]*candidate.Provider, 0, len(all))
	for _, b := range all {
		f.Sum += b.Revision
		if p := old.Provider(b.UUID); p != nil && p.Revision == b.Revision {
			kept = append(kept, p)
			continue
		}
		changed = append(changed, b.UUID)
	}
	for chunk := range slices.Chunk(changed, 500) {
		list, err := s.load(ctx, chunk)
		if err != nil {
			return nil, fingerprint{}, err
		}
		kept = append(kept, list...)
	}
	return candidate.NewSnapshot(kept), f, nil
}

// load reads providers with all that belongs to them, one query a table.
func (s *Store) load(ctx context.Context, uuids []string) ([]*candidate.Provider, error) {
	args := func() []any { return anys(uuids) }
	in := " IN (" + marks(len(uuids)) + ")"
	rows, err := db.Select[placement.Provider](ctx, s.db, "SELECT * FROM providers WHERE uuid"+in, args()...)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]*candidate.Provider, len(rows))
	out := make([]*candidate.Provider, 0, len(rows))
	for _, r := range rows {
		p := candidate.NewProvider(r)
		byID[r.UUID] = p
		out = append(out, p)
	}
	inventories, used, err := s.stock(ctx, uuids)
	if err != nil {
		return nil, err
	}
	for k, i := range inventories {
		if p := byID[k.provider]; p != nil {
			p.SetInventory(*i, used[k])
		}
	}
	type pair struct {
		ProviderUUID string `db:"provider_uuid"`
		Value        string `db:"value"`
	}
	traits, err := db.Select[pair](ctx, s.db, "SELECT provider_uuid, trait AS value FROM provider_traits WHERE provider_uuid"+in+" ORDER BY trait", args()...)
	if err != nil {
		return nil, err
	}
	for _, t := range traits {
		if p := byID[t.ProviderUUID]; p != nil {
			p.AddTrait(t.Value)
		}
	}
	aggregates, err := db.Select[pair](ctx, s.db, "SELECT provider_uuid, aggregate_uuid AS value FROM provider_aggregates WHERE provider_uuid"+in+" ORDER BY aggregate_uuid", args()...)
	if err != nil {
		return nil, err
	}
	for _, a := range aggregates {
		if p := byID[a.ProviderUUID]; p != nil {
			p.AddAggregate(a.Value)
		}
	}
	return out, nil
}
