package store

import (
	"context"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/placement"
)

// Aggregates returns the aggregates of a provider.
func (s *Store) Aggregates(ctx context.Context, uuid string) ([]string, error) {
	return db.Select[string](ctx, s.db, "SELECT aggregate_uuid FROM provider_aggregates WHERE provider_uuid = ? ORDER BY aggregate_uuid", uuid)
}

// SetAggregates makes list the aggregates of a provider and returns it with
// its new generation. Without a generation (API before 1.19) nothing is
// compared and the generation stays.
func (s *Store) SetAggregates(ctx context.Context, uuid string, generation *int, list []string) (*placement.Provider, error) {
	var p *placement.Provider
	err := s.tx(ctx, func(ctx context.Context) error {
		var err error
		if generation != nil {
			err = s.advance(ctx, uuid, *generation)
		} else {
			err = s.touch(ctx, []string{uuid}, never)
		}
		if err != nil {
			return err
		}
		if p, err = s.Provider(ctx, uuid); err != nil {
			return err
		}
		have, err := s.names(ctx, "SELECT aggregate_uuid FROM provider_aggregates WHERE provider_uuid = ?", uuid)
		if err != nil {
			return err
		}
		var add [][]any
		for _, a := range list {
			if !have[a] {
				add = append(add, []any{uuid, a})
			}
			delete(have, a)
		}
		return s.changeSet(ctx, "provider_aggregates", "aggregate_uuid", uuid, add, have)
	})
	if db.IsUnique(err) {
		return nil, fault.Wrap(fault.Conflict, err, "Update conflict: another request has changed the aggregates of resource provider %s.", uuid).WithType(placement.CodeConcurrentUpdate)
	}
	return p, err
}
