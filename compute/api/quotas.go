package api

import (
	"encoding/json"
	"slices"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

// projectOfPath makes the project in the path the policy target.
func projectOfPath(r *rest.Request) (any, policy.Target, error) {
	id := r.Var("project")
	return id, policy.Target{"project_id": id}, nil
}

// networkQuotas were compute's once; they are shown as unlimited where an old
// microversion wants them.
var networkQuotas = []string{"floating_ips", "fixed_ips", "security_groups", "security_group_rules"}

// quotaResources are the resources that a microversion shows; until is the last
// one with those of the network.
func quotaResources(r *rest.Request, until string) []string {
	var out []string
	for _, q := range compute.QuotaResources {
		injected := q == compute.QuotaFiles || q == compute.QuotaFileBytes || q == compute.QuotaFilePath
		if injected && from(r, "2.57") {
			continue
		}
		out = append(out, q)
	}
	if v := rest.V(until); !v.Less(r.Version()) {
		out = append(out, networkQuotas...)
	}
	return out
}

func limitOf(l compute.Limits, resource string) int {
	if n, ok := l[resource]; ok {
		return n
	}
	return compute.Unlimited
}

func quotaDoc(r *rest.Request, id string, l compute.Limits) m {
	doc := m{}
	if id != "" {
		doc["id"] = id
	}
	for _, q := range quotaResources(r, "2.35") {
		doc[q] = limitOf(l, q)
	}
	return m{"quota_set": doc}
}

func (a *api) showQuota(r *rest.Request) (any, error) {
	q, err := a.m.Quota(r.Context(), r.Var("project"), r.Query().Get("user_id"))
	if err != nil {
		return nil, err
	}
	return quotaDoc(r, r.Var("project"), q.Limits), nil
}

func (a *api) quotaDetail(r *rest.Request) (any, error) {
	q, err := a.m.Quota(r.Context(), r.Var("project"), r.Query().Get("user_id"))
	if err != nil {
		return nil, err
	}
	doc := m{"id": r.Var("project")}
	for _, name := range quotaResources(r, "2.35") {
		doc[name] = m{"limit": limitOf(q.Limits, name), "in_use": q.Usage[name], "reserved": 0}
	}
	return m{"quota_set": doc}, nil
}

func (a *api) quotaDefaults(r *rest.Request) (any, error) {
	l, err := a.m.DefaultQuota(r.Context())
	return quotaDoc(r, r.Var("project"), l), err
}

// readLimits takes the limits of compute's and of more resources out of a
// quota document.
func readLimits(raw map[string]json.RawMessage, more ...string) (compute.Limits, error) {
	l := compute.Limits{}
	for k, v := range raw {
		if !slices.Contains(compute.QuotaResources[:], k) && !slices.Contains(more, k) {
			continue
		}
		var n number
		if err := json.Unmarshal(v, &n); err != nil {
			return nil, fault.Invalidf("Invalid input for field/attribute %s.", k)
		}
		l[k] = int(n)
	}
	return l, nil
}

func (a *api) updateQuota(r *rest.Request) (any, error) {
	var in struct {
		Set map[string]json.RawMessage `json:"quota_set"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	l, err := readLimits(in.Set)
	if err != nil {
		return nil, err
	}
	var force boolean
	if v, ok := in.Set["force"]; ok {
		if err := json.Unmarshal(v, &force); err != nil {
			return nil, fault.Invalidf("Invalid input for field/attribute force.")
		}
	}
	project, user := r.Var("project"), r.Query().Get("user_id")
	if err := a.m.SetQuota(r.Context(), project, user, l, bool(force)); err != nil {
		return nil, err
	}
	q, err := a.m.Quota(r.Context(), project, user)
	if err != nil {
		return nil, err
	}
	return quotaDoc(r, "", q.Limits), nil
}

func (a *api) deleteQuota(r *rest.Request) (any, error) {
	return nil, a.m.ResetQuota(r.Context(), r.Var("project"), r.Query().Get("user_id"))
}

func classDoc(r *rest.Request, id string, l compute.Limits) m {
	doc := m{}
	if id != "" {
		doc["id"] = id
	}
	for _, q := range quotaResources(r, "2.49") {
		if groups := q == compute.QuotaGroups || q == compute.QuotaGroupMembers; groups && !from(r, "2.50") {
			continue
		}
		doc[q] = limitOf(l, q)
	}
	return m{"quota_class_set": doc}
}

func (a *api) showClass(r *rest.Request) (any, error) {
	l, err := a.m.ClassQuota(r.Context(), r.Var("class"))
	return classDoc(r, r.Var("class"), l), err
}

func (a *api) updateClass(r *rest.Request) (any, error) {
	var in struct {
		Set map[string]json.RawMessage `json:"quota_class_set"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	l, err := readLimits(in.Set, networkQuotas...)
	if err != nil {
		return nil, err
	}
	if err := a.m.SetClassQuota(r.Context(), r.Var("class"), l); err != nil {
		return nil, err
	}
	l, err = a.m.ClassQuota(r.Context(), r.Var("class"))
	return classDoc(r, "", l), err
}

func (a *api) limits(r *rest.Request) (any, error) {
	project := r.Caller().Project.ID
	if v := r.Query().Get("tenant_id"); v != "" && v != project {
		if err := r.Check(rule("limits:other_project"), policy.Target{"project_id": v}); err != nil {
			return nil, err
		}
		project = v
	}
	q, err := a.m.Quota(r.Context(), project, "")
	if err != nil {
		return nil, err
	}
	l, u := q.Limits, q.Usage
	doc := m{
		"maxTotalInstances": l[compute.QuotaInstances], "maxTotalCores": l[compute.QuotaCores], "maxTotalRAMSize": l[compute.QuotaRAM],
		"maxServerMeta": l[compute.QuotaMetadata], "maxTotalKeypairs": l[compute.QuotaKeyPairs], "maxServerGroups": l[compute.QuotaGroups], "maxServerGroupMembers": l[compute.QuotaGroupMembers],
		"totalInstancesUsed": u[compute.QuotaInstances], "totalCoresUsed": u[compute.QuotaCores], "totalRAMUsed": u[compute.QuotaRAM], "totalServerGroupsUsed": u[compute.QuotaGroups],
	}
	if !from(r, "2.36") {
		for _, k := range []string{"maxSecurityGroups", "maxSecurityGroupRules", "maxTotalFloatingIps"} {
			doc[k] = compute.Unlimited
		}
		doc["totalSecurityGroupsUsed"], doc["totalFloatingIpsUsed"] = 0, 0
	}
	if !from(r, "2.39") {
		doc["maxImageMeta"] = l[compute.QuotaMetadata]
	}
	if !from(r, "2.57") {
		doc["maxPersonality"], doc["maxPersonalitySize"] = l[compute.QuotaFiles], l[compute.QuotaFileBytes]
	}
	return m{"limits": m{"rate": []any{}, "absolute": doc}}, nil
}
