package driver

import "context"

// Stray is something on the host that no guest's definition names. Its fields
// are those of compute.Stray.
type Stray struct {
	Kind     string // "process", "tap"
	Name     string // pid, or name of the link
	ServerID string // for which it was made, if that can be seen
}

// Strays is implemented by drivers that can leave something on the host beside
// their guests' files.
type Strays interface {
	// Strays lists what is on the host and belongs to no guest.
	Strays(ctx context.Context) ([]Stray, error)
	// RemoveStray removes one that is still there and still nobody's; else
	// nothing happens.
	RemoveStray(ctx context.Context, s Stray) error
}
