package store

import (
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/network"
)

// visible adds the condition that the scope may see the row: its own project,
// what is shared with it, and for some kinds what hangs on its networks.
func visible(w *db.Cond, k *network.Kind, sc network.Scope) *db.Cond {
	if sc.All {
		return w
	}
	p := sc.ProjectID
	shared := "(SELECT object_id FROM rbac_policies WHERE object_type = ? AND target_project IN ('*', ?))"
	switch k.Name {
	case "network", "subnetpool", "address_scope", "security_group", "address_group":
		return w.Raw("project_id = ? OR id IN "+shared, p, k.Name, p)
	case "subnet":
		return w.Raw("project_id = ? OR network_id IN (SELECT id FROM networks WHERE project_id = ?) OR network_id IN (SELECT object_id FROM rbac_policies WHERE object_type = 'network' AND action = ? AND target_project IN ('*', ?))", p, p, network.ActionShared, p)
	case "port":
		return w.Raw("project_id = ? OR network_id IN (SELECT id FROM networks WHERE project_id = ?)", p, p)
	case "security_group_rule":
		return w.Raw("project_id = ? OR security_group_id IN (SELECT id FROM security_groups WHERE project_id = ?) OR security_group_id IN "+shared, p, p, "security_group", p)
	case "rbac_policy":
		return w.Raw("project_id = ? OR target_project = ?", p, p)
	case "default_security_group_rule":
		return w
	case "flavor":
		return w.Raw("enabled = ?", true)
	case "agent", "service_profile":
		return w.Raw("1 = 0")
	}
	return w.Raw("project_id = ?", p)
}
