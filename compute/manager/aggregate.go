package manager

import (
	"context"
	"slices"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/store"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
)

// Aggregates lists all aggregates.
func (m *Manager) Aggregates(ctx context.Context) ([]compute.Aggregate, error) {
	return m.store.Aggregates(ctx)
}

// Aggregate returns one.
func (m *Manager) Aggregate(ctx context.Context, id int64) (*compute.Aggregate, error) {
	return m.store.Aggregate(ctx, id)
}

// CreateAggregate adds an aggregate, with a zone if one is given.
func (m *Manager) CreateAggregate(ctx context.Context, name, zone string) (*compute.Aggregate, error) {
	a := &compute.Aggregate{UUID: newID(), Name: name, CreatedAt: db.Now(), Metadata: map[string]string{}}
	if zone != "" {
		a.Metadata[compute.ZoneKey] = zone
	}
	id, err := m.store.CreateAggregate(ctx, a)
	if err != nil {
		return nil, err
	}
	return m.store.Aggregate(ctx, id)
}

// UpdateAggregate changes name and zone; nil leaves things as they are.
func (m *Manager) UpdateAggregate(ctx context.Context, a *compute.Aggregate, name, zone *string) (*compute.Aggregate, error) {
	if name != nil {
		if err := m.store.RenameAggregate(ctx, a.ID, *name); err != nil {
			return nil, err
		}
	}
	if zone != nil {
		return m.SetAggregateMetadata(ctx, a, map[string]*string{compute.ZoneKey: zone})
	}
	return m.store.Aggregate(ctx, a.ID)
}

// SetAggregateMetadata sets items; a nil value removes one.
func (m *Manager) SetAggregateMetadata(ctx context.Context, a *compute.Aggregate, items map[string]*string) (*compute.Aggregate, error) {
	set, remove := map[string]string{}, []string{}
	for k, v := range items {
		if v == nil {
			remove = append(remove, k)
			continue
		}
		set[k] = *v
	}
	if zone, ok := set[compute.ZoneKey]; ok {
		for _, h := range a.Hosts {
			if err := m.zoneFree(ctx, a, h, zone); err != nil {
				return nil, err
			}
		}
	}
	if err := m.store.SetAggregateMetadata(ctx, a.ID, set, remove); err != nil {
		return nil, err
	}
	return m.store.Aggregate(ctx, a.ID)
}

// zoneFree refuses to put a host into a second zone, or to move it while it has
// servers.
func (m *Manager) zoneFree(ctx context.Context, a *compute.Aggregate, host, zone string) error {
	list, err := m.store.Aggregates(ctx)
	if err != nil {
		return err
	}
	now := m.zoneOf(list, host)
	for i := range list {
		o := &list[i]
		if o.ID != a.ID && o.Zone() != "" && o.Zone() != zone && slices.Contains(o.Hosts, host) {
			return fault.Conflictf("Cannot add host to aggregate %d. Reason: Host %s already in availability zone %s.", a.ID, host, o.Zone())
		}
	}
	if now == zone {
		return nil
	}
	n, err := m.store.CountServers(ctx, store.ServerFilter{Host: host})
	if err == nil && n > 0 {
		return fault.Conflictf("One or more hosts contain instances in zone %s; the zone of %s cannot change.", now, host)
	}
	return err
}

// AddAggregateHost puts a host into an aggregate.
func (m *Manager) AddAggregateHost(ctx context.Context, a *compute.Aggregate, host string) (*compute.Aggregate, error) {
	if _, err := m.store.ServiceOn(ctx, host, compute.BinaryCompute); err != nil {
		if isMissing(err) {
			return nil, fault.New(fault.NotFound, "Compute host %s could not be found.", host)
		}
		return nil, err
	}
	if z := a.Zone(); z != "" {
		if err := m.zoneFree(ctx, a, host, z); err != nil {
			return nil, err
		}
	}
	if err := m.store.AddAggregateHost(ctx, a.ID, host); err != nil {
		return nil, err
	}
	if err := m.mirrorAggregate(ctx, host, a.UUID, true); err != nil {
		return nil, err
	}
	return m.store.Aggregate(ctx, a.ID)
}

// RemoveAggregateHost takes a host out of an aggregate.
func (m *Manager) RemoveAggregateHost(ctx context.Context, a *compute.Aggregate, host string) (*compute.Aggregate, error) {
	if a.Zone() != "" && slices.Contains(a.Hosts, host) {
		n, err := m.store.CountServers(ctx, store.ServerFilter{Host: host})
		if err != nil {
			return nil, err
		}
		if n > 0 {
			return nil, fault.Conflictf("Cannot remove host from aggregate %d. Reason: One or more instances are in zone %s on host %s.", a.ID, a.Zone(), host)
		}
	}
	if err := m.store.RemoveAggregateHost(ctx, a.ID, host); err != nil {
		return nil, err
	}
	if err := m.mirrorAggregate(ctx, host, a.UUID, false); err != nil {
		return nil, err
	}
	return m.store.Aggregate(ctx, a.ID)
}

// DeleteAggregate removes an aggregate without hosts.
func (m *Manager) DeleteAggregate(ctx context.Context, id int64) error {
	return m.store.DeleteAggregate(ctx, id)
}
