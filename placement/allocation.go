package placement

import (
	"maps"
	"slices"
	"time"
)

// UnknownConsumerType is how the API calls the type of consumers that were
// written without one.
const UnknownConsumerType = "unknown"

// Consumer holds allocations: a server, a migration, a volume.
type Consumer struct {
	UUID       string    `db:"uuid"`
	ProjectID  string    `db:"project_id"`
	UserID     string    `db:"user_id"`
	Type       *string   `db:"consumer_type"` // nil: unknown
	Generation int       `db:"generation"`
	CreatedAt  time.Time `db:"created_at"`
	UpdatedAt  time.Time `db:"updated_at"`
}

// TypeName returns the type as the API shows it.
func (c *Consumer) TypeName() string {
	if c.Type == nil {
		return UnknownConsumerType
	}
	return *c.Type
}

// Allocation is an amount of one class that a consumer holds of a provider.
type Allocation struct {
	ConsumerUUID  string    `db:"consumer_uuid"`
	ProviderUUID  string    `db:"provider_uuid"`
	ResourceClass string    `db:"resource_class"`
	Used          int       `db:"used"`
	CreatedAt     time.Time `db:"created_at"`
}

// Claim is the whole of what a consumer is to hold from now on. No allocations
// means that it holds nothing any more.
type Claim struct {
	ConsumerUUID string
	// CheckGeneration asks that the consumer's generation is Generation, or
	// that there is no such consumer where it is nil. Without it whatever
	// the consumer holds is replaced.
	CheckGeneration bool
	Generation      *int
	ProjectID       string // "": as it was, or the configured stand-in
	UserID          string
	Type            *string // nil: as it was
	Allocations     []Allocation
}

// Usage is the sum of the allocations of one class.
type Usage struct {
	ResourceClass string `db:"resource_class"`
	Used          int    `db:"used"`
}

// Held is an allocation together with its provider's generation.
type Held struct {
	Allocation
	ProviderGeneration int `db:"provider_generation"`
}

// Holding is an allocation together with its consumer's generation.
type Holding struct {
	Allocation
	ConsumerGeneration int `db:"consumer_generation"`
}

// UsageFilter narrows the usage of a project.
type UsageFilter struct {
	ProjectID string
	UserID    string // "": any
	// Type is a consumer type, UnknownConsumerType, or "" for any.
	Type string
}

// TypeUsage is the usage of one class by consumers of one type.
type TypeUsage struct {
	Type          *string `db:"consumer_type"`
	ResourceClass string  `db:"resource_class"`
	Used          int     `db:"used"`
}

// TypeCount is how many consumers of a type there are.
type TypeCount struct {
	Type  *string `db:"consumer_type"`
	Count int     `db:"consumers"`
}

// Add appends what is asked for of a provider, in the order of the classes.
func (c *Claim) Add(provider string, resources map[string]int) {
	for _, class := range slices.Sorted(maps.Keys(resources)) {
		c.Allocations = append(c.Allocations, Allocation{ConsumerUUID: c.ConsumerUUID, ProviderUUID: provider, ResourceClass: class, Used: resources[class]})
	}
}
