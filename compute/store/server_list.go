package store

import (
	"context"
	"time"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/db"
)

// ServerFilter says which servers are listed; zero fields filter nothing.
type ServerFilter struct {
	ProjectID     string
	UserID        string
	IDs           []string
	NameRegex     string // as the engine understands it
	Statuses      []StatusFilter
	VMStates      []string
	TaskState     *string
	PowerState    *int
	Host, Node    string
	Zone          string
	ImageID       string
	FlavorID      string
	ReservationID string
	KeyName       *string
	Locked        *bool
	ConfigDrive   *bool
	Equal         map[string]any // further columns
	IP, IP6       string         // part of an address
	Tags, TagsAny []string
	NotTags       []string // not all of them
	NotTagsAny    []string // none of them
	Metadata      map[string]string
	AfterID       string // ids greater than this
	ChangesSince  *time.Time
	ChangesBefore *time.Time
	// LaunchedBefore and DeletedAfter choose those that ran in between.
	LaunchedBefore, DeletedAfter *time.Time
	// Deleted: false lists servers that exist, true those in the history;
	// All lists both.
	Deleted, All bool
	Page         db.Page
}

// StatusFilter is a status as pairs of states.
type StatusFilter struct {
	VM   []compute.VMState
	Task []compute.TaskState
}

// Servers lists servers.
func (s *Store) Servers(ctx context.Context, f ServerFilter) ([]compute.Server, error) {
	table := "servers"
	switch {
	case f.All:
		table = "all_servers"
	case f.Deleted:
		table = "deleted_servers"
	}
	if len(f.Page.Sort) == 0 {
		f.Page.Sort = []db.Sort{{Column: "created_at", Desc: true}}
	}
	rows, err := db.SelectPage[serverRow](ctx, s.db, table, s.cond(f), f.Page)
	out := make([]compute.Server, len(rows))
	for i := range rows {
		out[i] = *rows[i].server()
	}
	return out, err
}

// CountServers is how many servers match, without paging.
func (s *Store) CountServers(ctx context.Context, f ServerFilter) (int, error) {
	where, args := s.cond(f).SQL()
	return db.Count(ctx, s.db, "SELECT count(*) FROM servers"+where, args...)
}

func (s *Store) cond(f ServerFilter) *db.Cond {
	w := db.Where()
	for col, v := range map[string]string{
		"project_id": f.ProjectID, "user_id": f.UserID, "host": f.Host, "node": f.Node, "zone": f.Zone,
		"image_id": f.ImageID, "flavor_id": f.FlavorID, "reservation_id": f.ReservationID,
	} {
		if v != "" {
			w.Eq(col, v)
		}
	}
	for col, v := range f.Equal {
		w.Eq(col, v)
	}
	if f.IDs != nil {
		w.In("id", f.IDs)
	}
	if f.NameRegex != "" {
		s.regex(w, "name", f.NameRegex)
	}
	statusCond(w, f.Statuses)
	if len(f.VMStates) > 0 {
		w.In("vm_state", f.VMStates)
	}
	if f.TaskState != nil {
		w.Eq("task_state", *f.TaskState)
	}
	if f.PowerState != nil {
		w.Eq("power_state", *f.PowerState)
	}
	if f.KeyName != nil {
		w.Eq("key_name", *f.KeyName)
	}
	if f.ConfigDrive != nil {
		w.Eq("config_drive", *f.ConfigDrive)
	}
	if f.Locked != nil {
		if *f.Locked {
			w.Ne("locked_by", "")
		} else {
			w.Eq("locked_by", "")
		}
	}
	if f.AfterID != "" {
		w.Raw("id > ?", f.AfterID)
	}
	if f.ChangesSince != nil {
		w.Raw("updated_at >= ?", *f.ChangesSince)
	}
	if f.ChangesBefore != nil {
		w.Raw("updated_at <= ?", *f.ChangesBefore)
	}
	if f.LaunchedBefore != nil {
		w.Raw("launched_at IS NOT NULL AND launched_at <= ?", *f.LaunchedBefore)
	}
	if f.DeletedAfter != nil {
		w.Raw("(deleted_at IS NULL OR deleted_at >= ?)", *f.DeletedAfter)
	}
	relatedCond(w, f)
	return w
}

// regex adds a match of a regular expression. SQLite has none, so there names
// are matched as parts (what clients use it for).
func (s *Store) regex(w *db.Cond, col, expr string) {
	switch s.db.Dialect() {
	case db.PostgreSQL:
		w.Raw(db.Quote(col)+" ~ ?", expr)
	case db.MySQL:
		w.Raw(db.Quote(col)+" REGEXP ?", expr)
	default:
		pattern, ok := likeOf(expr)
		if !ok {
			return // the manager filters by the expression itself
		}
		w.Raw(db.Quote(col)+" LIKE ? ESCAPE '!'", pattern)
	}
}

// NeedsRegex reports whether the engine left a name filter to the caller.
func (s *Store) NeedsRegex(expr string) bool {
	if expr == "" || s.db.Dialect() != db.SQLite {
		return false
	}
	return true // LIKE ignores the case of ASCII letters
}

func statusCond(w *db.Cond, list []StatusFilter) {
	if len(list) == 0 {
		return
	}
	sql, args := "", []any{}
	for i, f := range list {
		if i > 0 {
			sql += " OR "
		}
		part := db.Where()
		if len(f.VM) > 0 {
			part.In("vm_state", f.VM)
		}
		if len(f.Task) > 0 {
			part.In("task_state", f.Task)
		} else {
			part.Raw("task_state NOT IN ('rebooting', 'rebooting_hard', 'rebuilding', 'resize_prep', 'resize_finish', 'resize_reverting')")
		}
		where, a := part.SQL()
		sql += "(" + where[len(" WHERE "):] + ")"
		args = append(args, a...)
	}
	w.Raw("("+sql+")", args...)
}

func relatedCond(w *db.Cond, f ServerFilter) {
	for _, t := range f.Tags {
		w.Raw("id IN (SELECT server_id FROM server_tags WHERE tag = ?)", t)
	}
	in := func(not string, tags []string) {
		where, args := db.Where().In("tag", tags).SQL()
		w.Raw("id "+not+"IN (SELECT server_id FROM server_tags"+where+")", args...)
	}
	if len(f.TagsAny) > 0 {
		in("", f.TagsAny)
	}
	if len(f.NotTagsAny) > 0 {
		in("NOT ", f.NotTagsAny)
	}
	if len(f.NotTags) > 0 {
		where, args := db.Where().In("tag", f.NotTags).SQL()
		w.Raw("id NOT IN (SELECT server_id FROM server_tags"+where+" GROUP BY server_id HAVING count(*) = ?)", append(args, len(f.NotTags))...)
	}
	for k, v := range f.Metadata {
		w.Raw("id IN (SELECT server_id FROM server_metadata WHERE name = ? AND text_value = ?)", k, v)
	}
	for _, ip := range []string{f.IP, f.IP6} {
		if ip != "" {
			w.Raw("id IN (SELECT server_id FROM server_ports WHERE CAST(info AS CHAR(8000)) LIKE ? ESCAPE '!')", "%"+db.Escape(ip)+"%")
		}
	}
}

// likeOf turns an expression without special characters but anchors into a
// LIKE pattern.
func likeOf(expr string) (string, bool) {
	start, end := "%", "%"
	if len(expr) > 0 && expr[0] == '^' {
		expr, start = expr[1:], ""
	}
	if len(expr) > 0 && expr[len(expr)-1] == '$' {
		expr, end = expr[:len(expr)-1], ""
	}
	for i := range len(expr) {
		switch expr[i] {
		case '\\', '.', '+', '*', '?', '(', ')', '|', '[', ']', '{', '}', '^', '$':
			return "", false
		}
	}
	return start + db.Escape(expr) + end, true
}
