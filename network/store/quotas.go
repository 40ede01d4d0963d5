package store

import (
	"context"

	"github.com/tropocloud/tropo/db"
)

type quotaRow struct {
	Project  string `db:"project_id"`
	Resource string `db:"resource"`
	Limit    int    `db:"limit_value"`
}

// Quotas returns the limits that were set for projects, by project and
// resource; an empty project means all.
func (s *Store) Quotas(ctx context.Context, project string) (map[string]map[string]int, error) {
	w := db.Where()
	if project != "" {
		w.Eq("project_id", project)
	}
	where, args := w.SQL()
	rows, err := db.Select[quotaRow](ctx, s.db, "SELECT * FROM quotas"+where+" ORDER BY project_id LIMIT 50000", args...)
	out := map[string]map[string]int{}
	for _, r := range rows {
		if out[r.Project] == nil {
			out[r.Project] = map[string]int{}
		}
		out[r.Project][r.Resource] = r.Limit
	}
	return out, err
}

// SetQuota sets one limit of a project; -1 means none.
func (s *Store) SetQuota(ctx context.Context, project, resource string, limit int) error {
	return db.Upsert(ctx, s.db, "quotas", quotaRow{project, resource, limit}, "project_id", "resource")
}

// ResetQuotas forgets a project's limits, so that the defaults hold.
func (s *Store) ResetQuotas(ctx context.Context, project string) (bool, error) {
	n, err := db.Delete(ctx, s.db, "quotas", db.Where().Eq("project_id", project))
	return n > 0, err
}

// Topology is a project's automatically made network, and its router.
type Topology struct {
	Project   string `db:"project_id"`
	NetworkID string `db:"network_id"`
	RouterID  string `db:"router_id"`
}

// Topologies returns the project's topology, if any.
func (s *Store) Topologies(ctx context.Context, project string) ([]Topology, error) {
	return db.Select[Topology](ctx, s.db, "SELECT * FROM auto_topologies WHERE project_id = ?", project)
}

// AddTopology notes one.
func (s *Store) AddTopology(ctx context.Context, t Topology) error {
	return db.Insert(ctx, s.db, "auto_topologies", t)
}

// DropTopology forgets one.
func (s *Store) DropTopology(ctx context.Context, project string) error {
	_, err := db.Delete(ctx, s.db, "auto_topologies", db.Where().Eq("project_id", project))
	return err
}

// LinkProfile adds a service profile to a flavor, or takes it away.
func (s *Store) LinkProfile(ctx context.Context, flavor, profile string, linked bool) (int64, error) {
	if !linked {
		return db.Delete(ctx, s.db, "flavor_profiles", db.Where().Eq("flavor_id", flavor).Eq("profile_id", profile))
	}
	row := struct {
		F string `db:"flavor_id"`
		P string `db:"profile_id"`
	}{flavor, profile}
	return 1, db.Insert(ctx, s.db, "flavor_profiles", row)
}

// Usage is the number of addresses that ports hold, by subnet.
func (s *Store) Usage(ctx context.Context, subnets []string) (map[string]int, error) {
	type row struct {
		Subnet string `db:"subnet_id"`
		N      int    `db:"n"`
	}
	out := map[string]int{}
	err := byIDs(subnets, func(ids []string) error {
		rows, err := db.Select[row](ctx, s.db, "SELECT subnet_id, COUNT(*) AS n FROM allocations WHERE subnet_id IN ("+marks(len(ids))+") GROUP BY subnet_id", anys(ids)...)
		for _, r := range rows {
			out[r.Subnet] = r.N
		}
		return err
	})
	return out, err
}

// Seen notes an agent's heartbeat.
func (s *Store) Seen(ctx context.Context, agent, stamp string, seconds float64) error {
	_, err := db.Update(ctx, s.db, "agents", db.Set{"heartbeat_at": stamp, "last_seen": seconds}, db.ByID(agent))
	return err
}
