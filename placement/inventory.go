package placement

import (
	"math"
	"time"

	"github.com/tropocloud/tropo/fault"
)

// MaxInt is the largest amount that the API knows.
const MaxInt = math.MaxInt32

// Inventory is how much of a resource class a provider has. Amounts are in the
// class's own unit.
type Inventory struct {
	ProviderUUID    string    `db:"provider_uuid"`
	ResourceClass   string    `db:"resource_class"`
	Total           int       `db:"total"`
	Reserved        int       `db:"reserved"`
	MinUnit         int       `db:"min_unit"`
	MaxUnit         int       `db:"max_unit"`
	StepSize        int       `db:"step_size"`
	AllocationRatio float64   `db:"allocation_ratio"`
	UpdatedAt       time.Time `db:"updated_at"`
}

// Capacity is the amount that may be allocated in all.
func (i *Inventory) Capacity() int {
	return int(math.Floor(float64(i.Total-i.Reserved) * i.AllocationRatio))
}

// Allows reports whether one allocation may be of this amount at all.
func (i *Inventory) Allows(amount int) bool {
	return amount >= i.MinUnit && amount <= i.MaxUnit && amount%i.StepSize == 0
}

// Validate checks what a schema cannot say: the reserved amount leaves
// something over (or nothing, where mayReserveAll).
func (i *Inventory) Validate(mayReserveAll bool) error {
	if i.Reserved > i.Total || i.Reserved == i.Total && !mayReserveAll {
		return fault.Invalidf("Unable to update inventory for resource provider %s: Invalid inventory for '%s' on resource provider '%s'. The reserved value is greater than%s total.",
			i.ProviderUUID, i.ResourceClass, i.ProviderUUID, map[bool]string{true: "", false: " or equal to"}[mayReserveAll])
	}
	return nil
}

// Shape is the whole inventory that a provider is to have.
type Shape struct {
	ProviderUUID string
	Generation   int
	Inventories  []Inventory
}
