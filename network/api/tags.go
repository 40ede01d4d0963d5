package api

import (
	"slices"

	"github.com/tropocloud/tropo/network/manager"
	"github.com/tropocloud/tropo/rest"
)

// The tags of a resource are changed by those who may change it: the routes
// load the object and ask policy like all others (CVE-2024-53916).

func (a *api) tags(res *resource) rest.Handler {
	return func(r *rest.Request) (any, error) {
		o, _ := r.Object().(*loaded)
		return map[string]any{"tags": o.v.Std().Tags}, nil
	}
}

func (a *api) hasTag(res *resource) rest.Handler {
	return func(r *rest.Request) (any, error) {
		o, _ := r.Object().(*loaded)
		if !slices.Contains(o.v.Std().Tags, r.Var("tag")) {
			return nil, manager.TagMissing(r.Var("tag"))
		}
		return nil, nil
	}
}

// setTags replaces the tags, or adds to them.
func (a *api) setTags(res *resource, add bool) rest.Handler {
	return func(r *rest.Request) (any, error) {
		var in struct {
			Tags any `json:"tags"`
		}
		if err := r.Decode(&in); err != nil {
			return nil, badRequest("Invalid tags body")
		}
		v, reason := tags(in.Tags)
		items, ok := v.([]any)
		if reason != "" || !ok || in.Tags == nil {
			return nil, badRequest("Invalid input for tags. Reason: %s", reason)
		}
		out, err := res.setTag(r.Context(), r.Var("id"), func(have []string) ([]string, error) {
			if !add {
				have = nil
			}
			for _, i := range items {
				if s, _ := i.(string); !slices.Contains(have, s) {
					have = append(have, s)
				}
			}
			return have, nil
		})
		return map[string]any{"tags": out}, err
	}
}

func (a *api) addTag(res *resource) rest.Handler {
	return func(r *rest.Request) (any, error) {
		t := r.Var("tag")
		if _, reason := tag(t); reason != "" {
			return nil, badRequest("Invalid input for tag. Reason: %s", reason)
		}
		_, err := res.setTag(r.Context(), r.Var("id"), func(have []string) ([]string, error) {
			if !slices.Contains(have, t) {
				have = append(have, t)
			}
			return have, nil
		})
		return nil, err
	}
}

func (a *api) dropTag(res *resource) rest.Handler {
	return func(r *rest.Request) (any, error) {
		t := r.Var("tag")
		_, err := res.setTag(r.Context(), r.Var("id"), func(have []string) ([]string, error) {
			i := slices.Index(have, t)
			if i < 0 {
				return nil, manager.TagMissing(t)
			}
			return slices.Delete(have, i, i+1), nil
		})
		return nil, err
	}
}

func (a *api) dropTags(res *resource) rest.Handler {
	return func(r *rest.Request) (any, error) {
		_, err := res.setTag(r.Context(), r.Var("id"), func([]string) ([]string, error) { return nil, nil })
		return nil, err
	}
}
