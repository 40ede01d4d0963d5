package store

import (
	"context"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
)

// Group returns a server group with its members.
func (s *Store) Group(ctx context.Context, id string) (*compute.Group, error) {
	g, err := db.Get[compute.Group](ctx, s.db, "SELECT * FROM server_groups WHERE id = ?", id)
	if g, err = found(g, err, "Instance group", id); err != nil {
		return nil, err
	}
	list := []compute.Group{*g}
	err = s.fillMembers(ctx, list)
	return &list[0], err
}

func (s *Store) fillMembers(ctx context.Context, list []compute.Group) error {
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = list[i].ID
	}
	type member struct {
		GroupID string `db:"group_id"`
		ID      string `db:"id"`
	}
	where, args := db.Where().In("group_id", ids).SQL()
	rows, err := db.Select[member](ctx, s.db, "SELECT group_id, id FROM servers"+where+" ORDER BY created_at, id", args...)
	if err != nil {
		return err
	}
	by := map[string][]string{}
	for _, r := range rows {
		by[r.GroupID] = append(by[r.GroupID], r.ID)
	}
	for i := range list {
		list[i].Members = by[list[i].ID]
	}
	return nil
}

// Groups lists server groups; an empty project lists all.
func (s *Store) Groups(ctx context.Context, projectID string, limit, offset int) ([]compute.Group, error) {
	w := db.Where()
	if projectID != "" {
		w.Eq("project_id", projectID)
	}
	where, args := w.SQL()
	list, err := db.Select[compute.Group](ctx, s.db, "SELECT * FROM server_groups"+where+" ORDER BY created_at, id LIMIT ? OFFSET ?", append(args, limit, offset)...)
	if err != nil || len(list) == 0 {
		return list, err
	}
	return list, s.fillMembers(ctx, list)
}

// CreateGroup adds g unless the project has limit of them.
func (s *Store) CreateGroup(ctx context.Context, g *compute.Group, limit int) error {
	return s.db.Tx(ctx, func(ctx context.Context) error {
		if err := s.lockQuota(ctx, g.ProjectID); err != nil {
			return err
		}
		n, err := s.GroupCount(ctx, g.ProjectID)
		if err != nil {
			return err
		}
		if limit >= 0 && n >= limit {
			return fault.OverQuotaf("Quota exceeded, too many server groups.")
		}
		return db.Insert(ctx, s.db, "server_groups", g)
	})
}

// GroupCount is how many server groups a project has.
func (s *Store) GroupCount(ctx context.Context, projectID string) (int, error) {
	return db.Count(ctx, s.db, "SELECT count(*) FROM server_groups WHERE project_id = ?", projectID)
}

// LockGroup makes transactions that place members of a group run one after the
// other.
func (s *Store) LockGroup(ctx context.Context, id string) error {
	_, err := db.Exec(ctx, s.db, "UPDATE server_groups SET max_per_host = max_per_host WHERE id = ?", id)
	return err
}

// DeleteGroup removes a server group; its servers stay.
func (s *Store) DeleteGroup(ctx context.Context, id string) error {
	return s.db.Tx(ctx, func(ctx context.Context) error {
		n, err := db.Delete(ctx, s.db, "server_groups", db.ByID(id))
		if err == nil && n == 0 {
			return fault.Missing("Instance group", id)
		}
		if err != nil {
			return err
		}
		_, err = db.Update(ctx, s.db, "servers", db.Set{"group_id": ""}, db.Where().Eq("group_id", id))
		return err
	})
}
