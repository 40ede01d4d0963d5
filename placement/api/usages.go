package api

import (
	"time"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/placement"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

// allTypes asks for one sum over all consumer types.
const allTypes = "all"

// usagesTarget is the project that is asked about: its readers may see it.
func usagesTarget(r *rest.Request) (any, policy.Target, error) {
	project := single(r.Query(), "project_id")
	return nil, policy.Target{"project_id": project, "tenant_id": project}, nil
}

func usageFilter(r *rest.Request) (f placement.UsageFilter, together bool, err error) {
	q := r.Query()
	if err := only(q, r.Version(), map[string]string{"project_id": "1.9", "user_id": "1.9", "consumer_type": "1.38"}); err != nil {
		return f, false, err
	}
	for _, name := range []string{"project_id", "user_id"} {
		if v := single(q, name); v == "" && (name == "project_id" || q.Has(name)) || len(v) > 255 {
			return f, false, fault.Invalidf("Invalid query string parameters: '%s' is a required property of 1 to 255 characters", name)
		}
	}
	f.ProjectID, f.UserID, f.Type = single(q, "project_id"), single(q, "user_id"), single(q, "consumer_type")
	switch {
	case f.Type == allTypes:
		f.Type = ""
		return f, true, nil
	case !q.Has("consumer_type"), f.Type == placement.UnknownConsumerType, placement.ValidName(f.Type):
		return f, false, nil
	}
	return f, false, fault.Invalidf("Invalid query string parameters: consumer_type '%s' does not match '^[A-Z0-9_]+$|^all$|^unknown$'", f.Type)
}

func (a *api) usages(r *rest.Request) (any, error) {
	f, together, err := usageFilter(r)
	if err != nil {
		return nil, err
	}
	usages, counts, err := a.manager.Usages(r.Context(), f)
	if err != nil {
		return nil, err
	}
	modified(r, time.Time{})
	flat := r.Version().Less(rest.V("1.38"))
	byType := map[string]map[string]int{}
	in := func(t *string) map[string]int {
		name := placement.UnknownConsumerType
		if t != nil {
			name = *t
		}
		if together || flat {
			name = allTypes
		}
		if byType[name] == nil {
			byType[name] = map[string]int{}
		}
		return byType[name]
	}
	for _, u := range usages {
		in(u.Type)[u.ResourceClass] += u.Used
	}
	if flat {
		sum := byType[allTypes]
		if sum == nil {
			sum = map[string]int{}
		}
		return object{"usages": sum}, nil
	}
	for _, c := range counts {
		in(c.Type)["consumer_count"] += c.Count
	}
	return object{"usages": byType}, nil
}
