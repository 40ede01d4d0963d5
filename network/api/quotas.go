package api

import (
	"maps"
	"slices"

	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

// loadProject gives the project in the path as the target.
func loadProject(r *rest.Request) (any, policy.Target, error) {
	p := r.Var("project")
	return p, policy.Target{"project_id": p, "tenant_id": p}, nil
}

func (a *api) allQuotas(r *rest.Request) (any, error) {
	all, err := a.m.AllQuotas(r.Context())
	if err != nil {
		return nil, err
	}
	list := []map[string]any{}
	for _, project := range slices.Sorted(maps.Keys(all)) {
		doc := map[string]any{"project_id": project, "tenant_id": project}
		if r.Check("get_quota", policy.Target{"project_id": project, "tenant_id": project}) != nil {
			continue
		}
		for name, n := range all[project] {
			doc[name] = n
		}
		list = append(list, doc)
	}
	return map[string]any{"quotas": list}, nil
}

func (a *api) ownProjectID(key string) rest.Handler {
	return func(r *rest.Request) (any, error) {
		c := r.Caller()
		return map[string]any{key: map[string]string{key + "_id": c.Project.ID}}, nil
	}
}

func (a *api) showQuota(r *rest.Request) (any, error) {
	q, err := a.m.Quotas(r.Context(), r.Var("project"))
	return map[string]any{"quota": q}, err
}

func (a *api) defaultQuota(*rest.Request) (any, error) {
	return map[string]any{"quota": a.m.QuotaDefaults()}, nil
}

func (a *api) quotaDetails(r *rest.Request) (any, error) {
	q, err := a.m.QuotaDetails(r.Context(), r.Var("project"))
	return map[string]any{"quota": q}, err
}

func (a *api) setQuota(r *rest.Request) (any, error) {
	in, err := body(r, "quota")
	if err != nil {
		return nil, err
	}
	known := a.m.QuotaDefaults()
	limits := map[string]int{}
	checkLimit := false
	for name, v := range in {
		if name == "check_limit" || name == "force" {
			b, reason := boolean(v)
			if reason != "" {
				return nil, badRequest("Invalid input for %s. Reason: %s", name, reason)
			}
			yes, _ := b.(bool)
			checkLimit = checkLimit || name == "check_limit" && yes
			continue
		}
		if name == "project_id" || name == "tenant_id" {
			continue
		}
		if _, ok := known[name]; !ok {
			return nil, badRequest("Unrecognized attribute(s) '%s'", cut(name))
		}
		n, reason := integer(-1, wholeRange)(v)
		if reason != "" {
			return nil, badRequest("Invalid input for %s. Reason: %s", name, reason)
		}
		limits[name], _ = n.(int)
	}
	q, err := a.m.SetQuotas(r.Context(), r.Var("project"), limits, checkLimit)
	return map[string]any{"quota": q}, err
}

func (a *api) resetQuota(r *rest.Request) (any, error) {
	return nil, a.m.ResetQuotas(r.Context(), r.Var("project"))
}
