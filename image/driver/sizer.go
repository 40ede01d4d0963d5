package driver

import "context"

// Sizer is implemented by drivers that can tell how much data a key has
// without reading it.
type Sizer interface {
	// Size is the length of a key's data in bytes; a key without (finished)
	// data is fault.NotFound.
	Size(ctx context.Context, key string) (int64, error)
}
