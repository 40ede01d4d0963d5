package api

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/manager"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

func (a *api) listServers(r *rest.Request) (any, error) { return a.list(r, false) }

func (a *api) listServersDetail(r *rest.Request) (any, error) { return a.list(r, true) }

func (a *api) list(r *rest.Request, detail bool) (any, error) {
	f, err := a.serverFilter(r, detail)
	if err != nil {
		return nil, err
	}
	out := []m{}
	var list []compute.Server
	if f != nil { // nil: no server can match
		if list, err = a.m.Servers(r.Context(), *f); err != nil {
			return nil, err
		}
	}
	if !detail {
		for i := range list {
			out = append(out, m{"id": list[i].ID, "name": list[i].Name, "links": a.serverLinks(r, list[i].ID)})
		}
	} else {
		details, err := a.m.Details(r.Context(), list)
		if err != nil {
			return nil, err
		}
		for i := range list {
			out = append(out, a.viewServer(r, &list[i], details[list[i].ID], false))
		}
	}
	doc := m{"servers": out}
	if f != nil && len(list) == f.Page.Limit && len(list) > 0 {
		doc["servers_links"] = []m{{"rel": "next", "href": r.NextLink(list[len(list)-1].ID)}}
	}
	return doc, nil
}

// sortKeys are the sort keys of servers with their columns.
var sortKeys = map[string]string{
	"access_ip_v4": "access_ipv4", "access_ip_v6": "access_ipv6", "availability_zone": "zone", "config_drive": "config_drive", "created_at": "created_at",
	"display_name": "name", "display_description": "description", "host": "host", "node": "node", "hostname": "hostname", "image_ref": "image_id", "instance_type_id": "flavor_id",
	"key_name": "key_name", "launch_index": "launch_index", "launched_at": "launched_at", "power_state": "power_state", "progress": "progress", "project_id": "project_id",
	"root_device_name": "root_device", "task_state": "task_state", "terminated_at": "terminated_at", "updated_at": "updated_at", "user_id": "user_id", "uuid": "id", "vm_state": "vm_state",
	"auto_disk_config": "disk_config", "locked": "locked_by", "kernel_id": "image_id", "ramdisk_id": "image_id",
}

// userFilters are the filters of callers who are no administrators; others are
// passed over.
var userFilters = map[string]string{
	"name": "2.1", "status": "2.1", "flavor": "2.1", "image": "2.1", "changes-since": "2.1", "changes-before": "2.66", "ip": "2.1", "ip6": "2.5", "reservation_id": "2.1",
	"all_tenants": "2.1", "tags": "2.26", "tags-any": "2.26", "not-tags": "2.26", "not-tags-any": "2.26", "locked": "2.73",
	"availability_zone": "2.83", "config_drive": "2.83", "key_name": "2.83", "power_state": "2.83", "task_state": "2.83", "vm_state": "2.83", "user_id": "2.83",
	"created_at": "2.83", "launched_at": "2.83", "terminated_at": "2.83", "progress": "2.83",
}

// serverFilter reads the query; nil: nothing can match.
func (a *api) serverFilter(r *rest.Request, detail bool) (*manager.ServerFilter, error) {
	q, admin := r.Query(), r.Caller().IsAdmin()
	p, err := r.Page(rest.PageOptions{Max: a.m.Config().MaxLimit, Keys: sortKeys, Sort: []db.Sort{{Column: "created_at", Desc: true}}})
	if err != nil {
		return nil, err
	}
	if p.Limit == 0 {
		p.Limit = a.m.Config().MaxLimit
	}
	if len(q["sort_key"]) > 0 && len(q["sort_dir"]) == 0 { // Nova sorts descending unless told
		for i := range p.Sort {
			p.Sort[i].Desc = true
		}
	}
	f := &manager.ServerFilter{ProjectID: r.Caller().Project.ID, Page: p}
	if err := a.tenants(r, f, detail); err != nil {
		return nil, err
	}
	if q.Get("limit") == "0" {
		return nil, nil
	}
	get := func(name string) string {
		if since, ok := userFilters[name]; !admin && (!ok || !from(r, since)) {
			return ""
		}
		return q.Get(name)
	}
	f.NameRegex, f.ReservationID, f.ImageID, f.FlavorID = get("name"), get("reservation_id"), get("image"), get("flavor")
	f.Host, f.Node, f.Zone, f.UserID = get("host"), get("hypervisor_hostname")+get("node"), get("availability_zone"), get("user_id")
	f.IP, f.IP6 = plain(get("ip")), plain(get("ip6"))
	if err := times(get, f); err != nil {
		return nil, err
	}
	if ok, err := states(r, get, f); !ok || err != nil {
		return nil, err
	}
	if id := get("uuid"); id != "" {
		f.IDs = []string{id}
	}
	if err := flags(r, get, f); err != nil {
		return nil, err
	}
	if text := get("metadata"); text != "" {
		if json.Unmarshal([]byte(text), &f.Metadata) != nil {
			return nil, fault.Invalidf("Invalid filter metadata.")
		}
	}
	tagFilters(get, f)
	return f, nil
}

// plain takes the anchors and escapes off an address given as an expression.
func plain(s string) string {
	return strings.NewReplacer("^", "", "$", "", `\`, "", ".*", "").Replace(s)
}

// tenants widens the list to all projects for those who may.
func (a *api) tenants(r *rest.Request, f *manager.ServerFilter, detail bool) error {
	q := r.Query()
	all := false
	if q.Has("all_tenants") {
		v := q.Get("all_tenants")
		var err error
		if all, err = rest.ParseBool(v); err != nil && v != "" {
			return fault.Invalidf("Invalid input for query parameters all_tenants: %s", v)
		}
		all = all || v == ""
	}
	name := rule("servers:index:get_all_tenants")
	if detail {
		name = rule("servers:detail:get_all_tenants")
	}
	who := r.Caller()
	if all {
		if err := r.Check(name, policy.Target{"project_id": who.Project.ID, "user_id": who.User.ID}); err != nil {
			return err
		}
		f.ProjectID = ""
	}
	if id := q.Get("project_id") + q.Get("tenant_id"); id != "" && who.IsAdmin() && all {
		f.ProjectID = id
	}
	return nil
}

func times(get func(string) string, f *manager.ServerFilter) (err error) {
	if v := get("changes-since"); v != "" {
		if f.ChangesSince, err = parseTime("changes-since", v); err != nil {
			return err
		}
		f.All = true
	}
	if v := get("changes-before"); v != "" {
		if f.ChangesBefore, err = parseTime("changes-before", v); err != nil {
			return err
		}
		if f.ChangesSince != nil && f.ChangesBefore.Before(*f.ChangesSince) {
			return fault.Invalidf("The value of changes-since must be less than or equal to changes-before.")
		}
	}
	return nil
}

// states reads what asks about the state; false: no server can match.
func states(r *rest.Request, get func(string) string, f *manager.ServerFilter) (bool, error) {
	admin := r.Caller().IsAdmin()
	for _, word := range r.Query()["status"] {
		if word == "" {
			continue
		}
		if strings.EqualFold(word, "deleted") {
			if !admin {
				return false, fault.Forbiddenf("Only administrators may list deleted instances")
			}
			f.Deleted, f.All = true, false
			continue
		}
		vm, task, ok := compute.StatesOf(word)
		if !ok {
			if from(r, "2.38") {
				return false, fault.Invalidf("Invalid status value")
			}
			return false, nil
		}
		f.Statuses = append(f.Statuses, manager.StatusFilter{VM: vm, Task: task})
	}
	if v := get("vm_state"); v != "" {
		f.VMStates = []string{v}
	}
	if v := get("task_state"); v != "" {
		if strings.EqualFold(v, "none") {
			v = ""
		}
		f.TaskState = &v
	}
	if v := get("power_state"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			return false, fault.Invalidf("Invalid input for query parameters power_state: %s", v)
		}
		f.PowerState = &n
	}
	if v := get("deleted"); v != "" && admin {
		yes, err := rest.ParseBool(v)
		if err != nil {
			return false, fault.Invalidf("Invalid input for query parameters deleted: %s", v)
		}
		f.Deleted, f.All = yes, false
	}
	return true, nil
}

func flags(r *rest.Request, get func(string) string, f *manager.ServerFilter) error {
	if v := get("key_name"); v != "" {
		f.KeyName = &v
	}
	for name, into := range map[string]**bool{"config_drive": &f.ConfigDrive, "locked": &f.Locked} {
		v := get(name)
		if v == "" || name == "locked" && !from(r, "2.73") {
			continue
		}
		yes, err := rest.ParseBool(v)
		if err != nil {
			return fault.Invalidf("Invalid input for query parameters %s: %s", name, v)
		}
		*into = &yes
	}
	for name, col := range map[string]string{"launch_index": "launch_index", "hostname": "hostname", "progress": "progress", "description": "description"} {
		if v := get(name); v != "" {
			if f.Equal == nil {
				f.Equal = map[string]any{}
			}
			f.Equal[col] = v
			if n, err := strconv.Atoi(v); err == nil && (col == "launch_index" || col == "progress") {
				f.Equal[col] = n
			}
		}
	}
	return nil
}

func tagFilters(get func(string) string, f *manager.ServerFilter) {
	for name, into := range map[string]*[]string{"tags": &f.Tags, "tags-any": &f.TagsAny, "not-tags": &f.NotTags, "not-tags-any": &f.NotTagsAny} {
		if v := get(name); v != "" {
			*into = strings.Split(v, ",")
		}
	}
}
