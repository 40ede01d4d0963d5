package api

import (
	"strconv"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

// group loads the server group that a route is about.
func (a *api) group(r *rest.Request) (any, policy.Target, error) {
	g, err := a.m.Group(r.Context(), r.Var("group"))
	if err != nil {
		return nil, nil, err
	}
	if who := r.Caller(); !who.IsAdmin() && who.Project.ID != g.ProjectID {
		return nil, nil, fault.Missing("Instance group", g.ID)
	}
	return g, policy.Target{"project_id": g.ProjectID, "user_id": g.UserID}, nil
}

func groupDoc(r *rest.Request, g *compute.Group) m {
	doc := m{"id": g.ID, "name": g.Name, "members": orNone(g.Members)}
	if from(r, "2.13") {
		doc["project_id"], doc["user_id"] = g.ProjectID, g.UserID
	}
	if !from(r, "2.64") {
		doc["policies"], doc["metadata"] = []string{g.Policy}, m{}
		return doc
	}
	rules := m{}
	if g.MaxPerHost > 0 {
		rules["max_server_per_host"] = g.MaxPerHost
	}
	doc["policy"], doc["rules"] = g.Policy, rules
	return doc
}

func (a *api) listGroups(r *rest.Request) (any, error) {
	q := r.Query()
	all := false
	if q.Has("all_projects") {
		if all = r.Allowed(rule("os-server-groups:index:all_projects")); !all {
			return nil, fault.Forbiddenf("Policy doesn't allow os_compute_api:os-server-groups:index:all_projects to be performed.")
		}
	}
	limit, offset := a.m.Config().MaxLimit, 0
	for name, into := range map[string]*int{"limit": &limit, "offset": &offset} {
		if v := q.Get(name); v != "" {
			n, err := strconv.Atoi(v)
			if err != nil || n < 0 {
				return nil, fault.Invalidf("Invalid input for query parameters %s. Value: %s.", name, v)
			}
			if name != "limit" || n > 0 && n < limit {
				*into = n
			}
		}
	}
	list, err := a.m.Groups(r.Context(), all, limit, offset)
	if err != nil {
		return nil, err
	}
	out := []m{}
	for i := range list {
		out = append(out, groupDoc(r, &list[i]))
	}
	return m{"server_groups": out}, nil
}

func (a *api) createGroup(r *rest.Request) (any, error) {
	var in struct {
		Group struct {
			Name     string   `json:"name"`
			Policies []string `json:"policies"`
			Policy   string   `json:"policy"`
			Rules    struct {
				Max number `json:"max_server_per_host"`
			} `json:"rules"`
		} `json:"server_group"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	v := &in.Group
	if !from(r, "2.64") {
		if len(v.Policies) != 1 {
			return nil, fault.Invalidf("Invalid input for field/attribute policies: exactly one is needed.")
		}
		v.Policy = v.Policies[0]
	}
	if !from(r, "2.15") && (v.Policy == compute.SoftAffinity || v.Policy == compute.SoftAntiAffinity) {
		return nil, fault.Invalidf("Invalid input for field/attribute policies. Value: %s.", v.Policy)
	}
	if v.Rules.Max > 0 && v.Policy != compute.AntiAffinity {
		return nil, fault.Invalidf("Only anti-affinity policy supports rules.")
	}
	g, err := a.m.CreateGroup(r.Context(), v.Name, v.Policy, int(v.Rules.Max))
	if err != nil {
		return nil, err
	}
	return m{"server_group": groupDoc(r, g)}, nil
}

func (a *api) showGroup(r *rest.Request) (any, error) {
	return m{"server_group": groupDoc(r, r.Object().(*compute.Group))}, nil
}

func (a *api) deleteGroup(r *rest.Request) (any, error) {
	return nil, a.m.DeleteGroup(r.Context(), r.Object().(*compute.Group).ID)
}
