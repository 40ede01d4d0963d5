package store

import (
	"context"
	"errors"
	"slices"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/placement"
)

// consumers returns those of the UUIDs that are consumers.
func (s *Store) consumers(ctx context.Context, uuids []string) (map[string]*placement.Consumer, error) {
	out := map[string]*placement.Consumer{}
	for chunk := range slices.Chunk(uuids, 500) {
		rows, err := db.Select[placement.Consumer](ctx, s.db, "SELECT * FROM consumers WHERE uuid IN ("+marks(len(chunk))+")", anys(chunk)...)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			out[rows[i].UUID] = &rows[i]
		}
	}
	return out, nil
}

// ConsumerAllocations returns what a consumer holds, and the consumer; nil and
// nothing where it holds nothing.
func (s *Store) ConsumerAllocations(ctx context.Context, uuid string) (*placement.Consumer, []placement.Held, error) {
	c, err := db.Get[placement.Consumer](ctx, s.db, "SELECT * FROM consumers WHERE uuid = ?", uuid)
	if errors.Is(err, db.ErrNoRows) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	held, err := db.Select[placement.Held](ctx, s.db, "SELECT a.*, p.generation AS provider_generation FROM allocations a JOIN providers p ON p.uuid = a.provider_uuid WHERE a.consumer_uuid = ? ORDER BY a.provider_uuid, a.resource_class", uuid)
	if err == nil && len(held) == 0 { // removed between the two
		return nil, nil, nil
	}
	return c, held, err
}

// ProviderAllocations returns what is held of a provider.
func (s *Store) ProviderAllocations(ctx context.Context, uuid string) ([]placement.Holding, error) {
	return db.Select[placement.Holding](ctx, s.db, "SELECT a.*, c.generation AS consumer_generation FROM allocations a JOIN consumers c ON c.uuid = a.consumer_uuid WHERE a.provider_uuid = ? ORDER BY a.consumer_uuid, a.resource_class", uuid)
}

// DeleteAllocations removes everything that a consumer holds, and the
// consumer.
func (s *Store) DeleteAllocations(ctx context.Context, consumer string) error {
	return s.tx(ctx, func(ctx context.Context) error {
		known, err := s.consumers(ctx, []string{consumer})
		if err != nil {
			return err
		}
		if known[consumer] == nil {
			return fault.New(fault.NotFound, "No allocations for consumer '%s'", consumer)
		}
		return s.replace(ctx, []placement.Claim{{ConsumerUUID: consumer}}, placement.Consumer{}, nil)
	})
}

// ProviderUsages returns a provider's usage of every class of which it has
// inventory.
func (s *Store) ProviderUsages(ctx context.Context, uuid string) ([]placement.Usage, error) {
	return db.Select[placement.Usage](ctx, s.db, `SELECT i.resource_class, COALESCE(SUM(a.used), 0) AS used FROM inventories i
		LEFT JOIN allocations a ON a.provider_uuid = i.provider_uuid AND a.resource_class = i.resource_class
		WHERE i.provider_uuid = ? GROUP BY i.resource_class ORDER BY i.resource_class`, uuid)
}

func usageOf(f placement.UsageFilter) *db.Cond {
	w := db.Where().Eq("c.project_id", f.ProjectID)
	if f.UserID != "" {
		w.Eq("c.user_id", f.UserID)
	}
	switch f.Type {
	case "":
	case placement.UnknownConsumerType:
		w.Eq("c.consumer_type", nil)
	default:
		w.Eq("c.consumer_type", f.Type)
	}
	return w
}

// Usages sums up what a project uses, by consumer type and class, and counts
// its consumers.
func (s *Store) Usages(ctx context.Context, f placement.UsageFilter) ([]placement.TypeUsage, []placement.TypeCount, error) {
	where, args := usageOf(f).SQL()
	usage, err := db.Select[placement.TypeUsage](ctx, s.db, "SELECT c.consumer_type, a.resource_class, SUM(a.used) AS used FROM allocations a JOIN consumers c ON c.uuid = a.consumer_uuid"+where+" GROUP BY c.consumer_type, a.resource_class ORDER BY a.resource_class", args...)
	if err != nil {
		return nil, nil, err
	}
	where, args = usageOf(f).SQL()
	count, err := db.Select[placement.TypeCount](ctx, s.db, "SELECT c.consumer_type, count(*) AS consumers FROM consumers c"+where+" GROUP BY c.consumer_type", args...)
	return usage, count, err
}
