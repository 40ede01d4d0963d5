package api

import (
	"strconv"
	"strings"
	"time"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/manager"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/rest"
)

// period reads start and end; by default the last four weeks.
func period(r *rest.Request) (from, to time.Time, err error) {
	to = db.Now()
	q := r.Query()
	if v := q.Get("end"); v != "" {
		t, err := parseTime("end", v)
		if err != nil {
			return from, to, err
		}
		to = *t
	}
	from = to.AddDate(0, 0, -28)
	if v := q.Get("start"); v != "" {
		t, err := parseTime("start", v)
		if err != nil {
			return from, to, err
		}
		from = *t
	}
	if from.After(to) {
		return from, to, fault.Invalidf("Invalid start time. The start time cannot occur after the end time.")
	}
	return from, to, nil
}

func usageDoc(project string, list []manager.ServerUsage, start, stop time.Time, detailed bool) m {
	hours, vcpus, memory, disk := 0.0, 0.0, 0.0, 0.0
	servers := []m{}
	for i := range list {
		u := &list[i]
		s := &u.Server
		gb := s.RootGB + s.EphemeralGB
		hours += u.Hours
		vcpus += u.Hours * float64(s.VCPUs)
		memory += u.Hours * float64(s.MemoryMB)
		disk += u.Hours * float64(gb)
		state := s.Status()
		if s.VMState == compute.StateDeleted {
			state = "terminated"
		}
		servers = append(servers, m{
			"instance_id": s.ID, "name": s.Name, "hours": u.Hours, "memory_mb": s.MemoryMB, "local_gb": gb, "vcpus": s.VCPUs, "tenant_id": s.ProjectID,
			"flavor": s.Spec.Flavor.Name, "started_at": micros(s.LaunchedAt), "ended_at": micros(s.DeletedAt), "state": lower(state), "uptime": u.Seconds,
		})
	}
	doc := m{
		"tenant_id": project, "start": micros(&start), "stop": micros(&stop), "total_hours": hours, "total_vcpus_usage": vcpus,
		"total_memory_mb_usage": memory, "total_local_gb_usage": disk,
	}
	if detailed {
		doc["server_usages"] = servers
	}
	return doc
}

func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// usagePage reads the paging of 2.40.
func usagePage(r *rest.Request, most int) (marker string, limit int, err error) {
	if !from(r, "2.40") {
		return "", 0, nil
	}
	p, err := r.Page(rest.PageOptions{Max: most})
	if p.Limit == 0 {
		p.Limit = most
	}
	return p.Marker, p.Limit, err
}

func (a *api) usage(r *rest.Request, project string) (list []manager.ServerUsage, start, stop time.Time, limit int, err error) {
	if start, stop, err = period(r); err != nil {
		return
	}
	marker, limit, err := usagePage(r, a.m.Config().MaxLimit)
	if err != nil {
		return
	}
	list, err = a.m.Usage(r.Context(), project, start, stop, marker, limit)
	return
}

func (a *api) listUsage(r *rest.Request) (any, error) {
	if strings.HasSuffix(r.HTTP.URL.Path, "/") {
		return nil, fault.New(fault.NotFound, "The resource could not be found.") // the usage of a project without an id
	}
	list, start, stop, limit, err := a.usage(r, "")
	if err != nil {
		return nil, err
	}
	detailed := false
	if v := r.Query().Get("detailed"); v != "" {
		n, err := strconv.Atoi(v)
		detailed = err == nil && n == 1
	}
	var order []string
	by := map[string][]manager.ServerUsage{}
	for _, u := range list {
		p := u.Server.ProjectID
		if by[p] == nil {
			order = append(order, p)
		}
		by[p] = append(by[p], u)
	}
	out := []m{}
	for _, p := range order {
		out = append(out, usageDoc(p, by[p], start, stop, detailed))
	}
	doc := m{"tenant_usages": out}
	if limit > 0 && len(list) == limit {
		doc["tenant_usages_links"] = []m{{"rel": "next", "href": r.NextLink(list[len(list)-1].Server.ID)}}
	}
	return doc, nil
}

func (a *api) showUsage(r *rest.Request) (any, error) {
	list, start, stop, limit, err := a.usage(r, r.Var("project"))
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return m{"tenant_usage": m{}}, nil
	}
	doc := m{"tenant_usage": usageDoc(r.Var("project"), list, start, stop, true)}
	if limit > 0 && len(list) == limit {
		doc["tenant_usage_links"] = []m{{"rel": "next", "href": r.NextLink(list[len(list)-1].Server.ID)}}
	}
	return doc, nil
}

func (a *api) listMigrations(r *rest.Request) (any, error) {
	q, w := r.Query(), db.Where()
	for name, col := range map[string]string{"status": "status", "instance_uuid": "server_id", "migration_type": "type", "source_compute": "source_host"} {
		if v := q.Get(name); v != "" {
			w.Eq(col, v)
		}
	}
	if v := q.Get("host"); v != "" {
		w.Raw("(source_host = ? OR dest_host = ?)", v, v)
	}
	if from(r, "2.80") {
		for _, name := range []string{"user_id", "project_id"} {
			if v := q.Get(name); v != "" {
				w.Eq(name, v)
			}
		}
	}
	limit := a.m.Config().MaxLimit
	if from(r, "2.59") {
		if err := migrationPage(r, w, &limit); err != nil {
			return nil, err
		}
	}
	list, err := a.m.Migrations(r.Context(), w, limit)
	if err != nil {
		return nil, err
	}
	out := []m{}
	for i := range list {
		out = append(out, migrationDoc(r, &list[i]))
	}
	doc := m{"migrations": out}
	if from(r, "2.59") && len(list) == limit && len(list) > 0 {
		doc["migrations_links"] = []m{{"rel": "next", "href": r.NextLink(list[len(list)-1].UUID)}}
	}
	return doc, nil
}

func migrationPage(r *rest.Request, w *db.Cond, limit *int) error {
	p, err := r.Page(rest.PageOptions{Max: *limit})
	if err != nil {
		return err
	}
	if p.Limit > 0 {
		*limit = p.Limit
	}
	if p.Marker != "" {
		w.Raw("id < (SELECT id FROM migrations_of_servers WHERE uuid = ?)", p.Marker)
	}
	for name, op := range map[string]string{"changes-since": ">=", "changes-before": "<="} {
		if v := r.Query().Get(name); v != "" {
			t, err := parseTime(name, v)
			if err != nil {
				return err
			}
			w.Raw("updated_at "+op+" ?", *t)
		}
	}
	return nil
}

func migrationDoc(r *rest.Request, g *compute.Migration) m {
	doc := m{
		"id": g.ID, "instance_uuid": g.ServerID, "status": g.Status, "source_compute": g.SourceHost, "source_node": g.SourceNode, "dest_compute": orNull(g.DestHost), "dest_node": orNull(g.DestNode),
		"dest_host": nil, "old_instance_type_id": intOrNull(g.OldFlavorID), "new_instance_type_id": intOrNull(g.NewFlavorID), "created_at": micros(&g.CreatedAt), "updated_at": micros(&g.UpdatedAt),
	}
	if from(r, "2.23") {
		doc["migration_type"] = g.Type
	}
	if from(r, "2.59") {
		doc["uuid"] = g.UUID
	}
	if from(r, "2.80") {
		doc["user_id"], doc["project_id"] = g.UserID, g.ProjectID
	}
	return doc
}

func intOrNull(s string) any {
	n, err := strconv.Atoi(s)
	if err != nil {
		return nil
	}
	return n
}
