package manager

import (
	"context"
	"slices"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network"
)

// MaxTags bounds the tags of a resource.
const MaxTags = 50

// SetTags replaces the tags of a resource that the caller may see by what f
// makes of them, and returns them.
func SetTags[T any, P network.Row[T]](ctx context.Context, m *Manager, id string, f func(tags []string) ([]string, error)) ([]string, error) {
	v, err := update(ctx, m, id, network.Change{}, func(ctx context.Context, old, _ P) (bool, error) {
		tags, err := f(slices.Clone(old.Std().Tags))
		if err != nil {
			return false, err
		}
		if len(tags) > MaxTags {
			return false, fault.Invalidf("The number of tags exceeds the per-resource limit of %d", MaxTags).WithType("HTTPBadRequest")
		}
		return true, m.store.SetTags(ctx, id, tags)
	})
	if err != nil {
		return nil, err
	}
	return P(v).Std().Tags, nil
}

// TagMissing is the fault for a tag that a resource doesn't have.
func TagMissing(tag string) error {
	return fault.New(fault.NotFound, "Tag %s could not be found.", tag).WithType("TagNotFound")
}
