package manager

import (
	"context"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/placement"
)

// ConsumerAllocations returns a consumer and what it holds; nil and nothing
// where it holds nothing.
func (m *Manager) ConsumerAllocations(ctx context.Context, consumer string) (*placement.Consumer, []placement.Held, error) {
	return m.store.ConsumerAllocations(ctx, consumer)
}

// ProviderAllocations returns a provider and what is held of it.
func (m *Manager) ProviderAllocations(ctx context.Context, id string) (*placement.Provider, []placement.Holding, error) {
	p, err := m.store.Provider(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	list, err := m.store.ProviderAllocations(ctx, id)
	return p, list, err
}

// SetAllocations makes each claim the whole of what its consumer holds, all of
// them or none.
func (m *Manager) SetAllocations(ctx context.Context, claims []placement.Claim) error {
	return m.store.SetAllocations(ctx, claims, m.standIn())
}

// DeleteAllocations removes everything that a consumer holds.
func (m *Manager) DeleteAllocations(ctx context.Context, consumer string) error {
	return m.store.DeleteAllocations(ctx, consumer)
}

// Reshape moves inventory and the allocations of it in one step.
func (m *Manager) Reshape(ctx context.Context, shapes []placement.Shape, claims []placement.Claim) error {
	for _, sh := range shapes {
		p, err := m.store.Provider(ctx, sh.ProviderUUID)
		if fault.Is(err, fault.NotFound) {
			return fault.Invalidf("Resource provider %s in inventories could not be found: %s", sh.ProviderUUID, err.Error()).WithType(placement.CodeProviderNotFound)
		}
		if err != nil {
			return err
		}
		if p.Generation != sh.Generation {
			return placement.GenerationConflict(sh.ProviderUUID)
		}
		if err := m.check(ctx, sh.Inventories, true); err != nil {
			return err
		}
	}
	return m.store.Reshape(ctx, shapes, claims, m.standIn())
}

func (m *Manager) standIn() placement.Consumer {
	return placement.Consumer{ProjectID: m.config.IncompleteConsumerProjectID, UserID: m.config.IncompleteConsumerUserID}
}
