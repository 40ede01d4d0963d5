package placement

import "github.com/tropocloud/tropo/fault"

// Error codes, the "code" of the API's error documents.
// Source: https://docs.openstack.org/api-ref/placement/#errors
const (
	CodeInventoryInUse     = "placement.inventory.inuse"
	CodeConcurrentUpdate   = "placement.concurrent_update"
	CodeDuplicateName      = "placement.duplicate_name"
	CodeProviderInUse      = "placement.resource_provider.inuse"
	CodeCannotDeleteParent = "placement.resource_provider.cannot_delete_parent"
	CodeProviderNotFound   = "placement.resource_provider.not_found"
	CodeDuplicateParameter = "placement.query.duplicate_key"
	CodeBadParameter       = "placement.query.bad_value"
	CodeMissingParameter   = "placement.query.missing_value"
)

// NoProvider says that no provider has this UUID.
func NoProvider(uuid string) error {
	return fault.New(fault.NotFound, "No resource provider with uuid %s found", uuid)
}

// UnknownProvider says that a request about several providers names one that
// does not exist.
func UnknownProvider(uuid string) error {
	return fault.Invalidf("Allocation for resource provider '%s' that does not exist.", uuid).WithType(CodeProviderNotFound)
}

// GenerationConflict says that a provider was changed by somebody else.
func GenerationConflict(uuid string) error {
	return fault.Conflictf("resource provider generation conflict: provider %s was changed meanwhile; read it again.", uuid).WithType(CodeConcurrentUpdate)
}

// ConsumerConflict says that a consumer is not at the generation that the
// client expected (nil: that it should not exist).
func ConsumerConflict(uuid string, expected *int, actual *int) error {
	show := func(g *int) any {
		if g == nil {
			return "null"
		}
		return *g
	}
	return fault.Conflictf("consumer generation conflict - expected %v but got %v for consumer %s", show(actual), show(expected), uuid).WithType(CodeConcurrentUpdate)
}

// InventoryInUse says that inventory with allocations cannot go away.
func InventoryInUse(uuid, classes string) error {
	return fault.Conflictf("Inventory for '%s' on resource provider '%s' in use.", classes, uuid).WithType(CodeInventoryInUse)
}

// DuplicateName says that another resource has the name or UUID.
func DuplicateName(what, name string) error {
	return fault.Conflictf("Conflicting %s %s already exists.", what, name).WithType(CodeDuplicateName)
}
