package store

import (
	"context"
	"errors"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/identity"
)

// Ancestors returns the projects above one, the nearest first, its domain
// last.
func (s *Store) Ancestors(ctx context.Context, p *identity.Project) ([]identity.Project, error) {
	var out []identity.Project
	for next := p.ParentID; next != "" && len(out) < 64; {
		a, err := s.Projects.Get(ctx, next)
		if err != nil {
			return nil, err
		}
		out = append(out, *a)
		next = a.ParentID
	}
	return out, nil
}

// Subtree returns the projects below one, level by level, at most MaxList.
func (s *Store) Subtree(ctx context.Context, id string) ([]identity.Project, error) {
	var out []identity.Project
	level := []string{id}
	for len(level) > 0 && len(out) < MaxList {
		var next []string
		for len(level) > 0 {
			n := min(len(level), 500)
			w, args := db.Where().In("parent_id", level[:n]).SQL()
			rows, err := db.Select[identity.Project](ctx, s.db, "SELECT "+db.Columns[identity.Project]("")+" FROM projects"+w+" ORDER BY name LIMIT "+bound, args...)
			if err != nil {
				return nil, err
			}
			for _, r := range rows {
				next = append(next, r.ID)
			}
			out = append(out, rows...)
			level = level[n:]
		}
		level = next
	}
	return out, nil
}

type tagRow struct {
	ProjectID string `db:"project_id"`
	Name      string `db:"name"`
}

// Tags returns the tags of some projects, sorted, by project.
func (s *Store) Tags(ctx context.Context, ids []string) (map[string][]string, error) {
	out := map[string][]string{}
	for len(ids) > 0 {
		n := min(len(ids), 500)
		w, args := db.Where().In("project_id", ids[:n]).SQL()
		rows, err := db.Select[tagRow](ctx, s.db, "SELECT project_id, name FROM project_tags"+w+" ORDER BY project_id, name", args...)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			out[r.ProjectID] = append(out[r.ProjectID], r.Name)
		}
		ids = ids[n:]
	}
	return out, nil
}

// AddTag tags a project.
func (s *Store) AddTag(ctx context.Context, projectID, tag string) error {
	return db.Upsert(ctx, s.db, "project_tags", tagRow{projectID, tag}, "project_id", "name")
}

// RemoveTag takes a tag (empty: every one) from a project and returns how
// many there were.
func (s *Store) RemoveTag(ctx context.Context, projectID, tag string) (int64, error) {
	w := db.Where().Eq("project_id", projectID)
	if tag != "" {
		w.Eq("name", tag)
	}
	return db.Delete(ctx, s.db, "project_tags", w)
}

// TagFilter narrows a list of projects by tags: with all, with any, without
// all, without any of the names.
type TagFilter struct{ All, Any, NotAll, NotAny []string }

// ListProjects lists projects by query and tags.
func (s *Store) ListProjects(ctx context.Context, q identity.Query, tags TagFilter) ([]identity.Project, error) {
	w := db.Where()
	count := func(names []string) (string, []any) {
		c, args := db.Where().In("t.name", names).SQL()
		return "(SELECT COUNT(DISTINCT t.name) FROM project_tags t" + c + " AND t.project_id = projects.id)", args
	}
	add := func(names []string, test string, more ...any) {
		if len(names) > 0 {
			c, args := count(names)
			w.Raw(c+test, append(args, more...)...)
		}
	}
	add(tags.All, " = ?", len(tags.All))
	add(tags.Any, " > 0")
	add(tags.NotAll, " < ?", len(tags.NotAll))
	add(tags.NotAny, " = 0")
	return s.Projects.ListWhere(ctx, q, w)
}

// ForgetDefaultProject clears the default project of the users that have it.
func (s *Store) ForgetDefaultProject(ctx context.Context, id string) error {
	_, err := db.Exec(ctx, s.db, "UPDATE users SET default_project_id = NULL WHERE default_project_id = ?", id)
	return err
}

// ProjectID returns the id of the project (or, with isDomain and an empty
// domain, of the domain) of a name. Logins ask for it each time, so it is one
// lookup in the unique index. fault.NotFound where there is none.
func (s *Store) ProjectID(ctx context.Context, domainID, name string, isDomain bool) (string, error) {
	row, err := db.Get[struct {
		ID string `db:"id"`
	}](ctx, s.db, "SELECT id FROM projects WHERE domain_id = ? AND name = ? AND is_domain = ?", domainID, name, isDomain)
	if errors.Is(err, db.ErrNoRows) || (err == nil && row.ID == "") { // "" is the root of domains
		return "", s.Projects.missing(name)
	}
	if err != nil {
		return "", err
	}
	return row.ID, nil
}
