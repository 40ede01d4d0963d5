package store

import (
	"context"
	"strconv"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
)

// Aggregates lists all aggregates with hosts and metadata, by id.
func (s *Store) Aggregates(ctx context.Context) ([]compute.Aggregate, error) {
	list, err := db.Select[compute.Aggregate](ctx, s.db, "SELECT * FROM aggregates ORDER BY id")
	if err != nil || len(list) == 0 {
		return list, err
	}
	type member struct {
		ID   int64  `db:"aggregate_id"`
		Host string `db:"host"`
	}
	hosts, err := db.Select[member](ctx, s.db, "SELECT aggregate_id, host FROM aggregate_hosts ORDER BY added_at, host")
	if err != nil {
		return nil, err
	}
	meta, err := pairs(ctx, s.db, "aggregate_metadata", "aggregate_id", db.Where())
	if err != nil {
		return nil, err
	}
	for i := range list {
		a := &list[i]
		a.Metadata = meta[strconv.FormatInt(a.ID, 10)]
		for _, h := range hosts {
			if h.ID == a.ID {
				a.Hosts = append(a.Hosts, h.Host)
			}
		}
	}
	return list, nil
}

// Aggregate returns one aggregate.
func (s *Store) Aggregate(ctx context.Context, id int64) (*compute.Aggregate, error) {
	list, err := s.Aggregates(ctx)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].ID == id {
			return &list[i], nil
		}
	}
	return nil, fault.Missing("Aggregate", strconv.FormatInt(id, 10))
}

// CreateAggregate adds an aggregate with metadata and returns its id.
func (s *Store) CreateAggregate(ctx context.Context, a *compute.Aggregate) (id int64, err error) {
	err = s.db.Tx(ctx, func(ctx context.Context) error {
		_, err := db.Exec(ctx, s.db, "INSERT INTO aggregates (uuid, name, created_at) VALUES (?, ?, ?)", a.UUID, a.Name, a.CreatedAt)
		if db.IsUnique(err) {
			return fault.Conflictf("Aggregate %s already exists.", a.Name)
		}
		if err != nil {
			return err
		}
		v, err := db.Get[int64](ctx, s.db, "SELECT id FROM aggregates WHERE uuid = ?", a.UUID)
		if err != nil {
			return err
		}
		id = *v
		return s.SetAggregateMetadata(ctx, id, a.Metadata, nil)
	})
	return id, err
}

// RenameAggregate gives an aggregate another name.
func (s *Store) RenameAggregate(ctx context.Context, id int64, name string) error {
	_, err := db.Update(ctx, s.db, "aggregates", db.Set{"name": name, "updated_at": db.Now()}, db.Where().Eq("id", id))
	if db.IsUnique(err) {
		return fault.Conflictf("Aggregate %s already exists.", name)
	}
	return err
}

type aggregateItem struct {
	ID    int64  `db:"aggregate_id"`
	Name  string `db:"name"`
	Value string `db:"text_value"`
}

// SetAggregateMetadata sets items and removes those named in remove.
func (s *Store) SetAggregateMetadata(ctx context.Context, id int64, items map[string]string, remove []string) error {
	return s.db.Tx(ctx, func(ctx context.Context) error {
		for k, v := range items {
			if err := db.Upsert(ctx, s.db, "aggregate_metadata", aggregateItem{id, k, v}, "aggregate_id", "name"); err != nil {
				return err
			}
		}
		for _, k := range remove {
			if _, err := db.Delete(ctx, s.db, "aggregate_metadata", db.Where().Eq("aggregate_id", id).Eq("name", k)); err != nil {
				return err
			}
		}
		_, err := db.Update(ctx, s.db, "aggregates", db.Set{"updated_at": db.Now()}, db.Where().Eq("id", id))
		return err
	})
}

// AddAggregateHost puts a host into an aggregate.
func (s *Store) AddAggregateHost(ctx context.Context, id int64, host string) error {
	_, err := db.Exec(ctx, s.db, "INSERT INTO aggregate_hosts (aggregate_id, host, added_at) VALUES (?, ?, ?)", id, host, db.Now())
	if db.IsUnique(err) {
		return fault.Conflictf("Aggregate %d already has host %s.", id, host)
	}
	return err
}

// RemoveAggregateHost takes a host out of an aggregate.
func (s *Store) RemoveAggregateHost(ctx context.Context, id int64, host string) error {
	n, err := db.Delete(ctx, s.db, "aggregate_hosts", db.Where().Eq("aggregate_id", id).Eq("host", host))
	if err == nil && n == 0 {
		return fault.New(fault.NotFound, "Host %s is not in aggregate %d.", host, id)
	}
	return err
}

// DeleteAggregate removes an aggregate without hosts.
func (s *Store) DeleteAggregate(ctx context.Context, id int64) error {
	return s.db.Tx(ctx, func(ctx context.Context) error {
		n, err := db.Count(ctx, s.db, "SELECT count(*) FROM aggregate_hosts WHERE aggregate_id = ?", id)
		if err != nil {
			return err
		}
		if n > 0 {
			return fault.Invalidf("Cannot remove aggregate %d: it has hosts.", id)
		}
		if _, err := db.Delete(ctx, s.db, "aggregate_metadata", db.Where().Eq("aggregate_id", id)); err != nil {
			return err
		}
		gone, err := db.Delete(ctx, s.db, "aggregates", db.Where().Eq("id", id))
		if err == nil && gone == 0 {
			return fault.Missing("Aggregate", strconv.FormatInt(id, 10))
		}
		return err
	})
}
