package placement

import "time"

// SharingTrait marks a provider whose inventory can be used by all provider
// trees with which it has an aggregate in common.
const SharingTrait = "MISC_SHARES_VIA_AGGREGATE"

// Provider is a resource provider: something that has inventory, such as a
// host, one of its NUMA nodes, or a shared storage pool. Providers form trees.
type Provider struct {
	UUID string `db:"uuid"`
	Name string `db:"name"`
	// Generation is what clients send back to show that they have seen the
	// latest change of inventory, traits, aggregates or allocations.
	Generation int `db:"generation"`
	// Revision is a random number, new with every change of anything that
	// concerns the provider; see store.Snapshot.
	Revision   int64     `db:"revision"`
	ParentUUID *string   `db:"parent_uuid"` // nil: a root
	RootUUID   string    `db:"root_uuid"`   // its own UUID for a root
	CreatedAt  time.Time `db:"created_at"`
	UpdatedAt  time.Time `db:"updated_at"`
}

// Parent returns the parent's UUID, or "" for a root.
func (p *Provider) Parent() string {
	if p.ParentUUID == nil {
		return ""
	}
	return *p.ParentUUID
}

// ParentChange says what becomes of a provider's parent in an update.
type ParentChange struct {
	Parent *string // nil: it becomes a root
	// Move allows to change or take away a parent that is set already.
	Move bool
}
