package driver

import "context"

// Comparer is implemented by drivers that can tell what Sync would do without
// doing it.
type Comparer interface {
	// Compare is Sync that changes nothing. An object that can't be judged
	// (its container is missing, a part of it can't be expressed) is told as
	// different only if Sync could make it more equal.
	Compare(ctx context.Context, s State) (Drift, error)
}
