package store

import (
	"context"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/db"
)

// AllServers returns every server that exists, by id.
func (s *Store) AllServers(ctx context.Context) ([]compute.Server, error) {
	return s.selectServers(ctx, "SELECT * FROM servers ORDER BY id")
}

// AllPorts returns the port rows of every server, by id of the row.
func (s *Store) AllPorts(ctx context.Context) ([]compute.Port, error) {
	rows, err := db.Select[portRow](ctx, s.db, "SELECT * FROM server_ports ORDER BY id")
	out := make([]compute.Port, len(rows))
	for i := range rows {
		out[i] = rows[i].Port
		out[i].Info = rows[i].InfoJ.V
	}
	return out, err
}

// OpenMigrations returns the ids of migrations that have not ended: consumers
// of resources beside servers.
func (s *Store) OpenMigrations(ctx context.Context) (map[string]bool, error) {
	ids, err := db.Select[string](ctx, s.db, "SELECT uuid FROM migrations_of_servers WHERE status NOT IN ('confirmed', 'reverted', 'error', 'failed', 'cancelled', 'completed', 'done')")
	out := make(map[string]bool, len(ids))
	for _, id := range ids {
		out[id] = true
	}
	return out, err
}

// ForgetSynced makes the next report of a hypervisor's agent tell placement
// everything anew.
func (s *Store) ForgetSynced(ctx context.Context, nodeID string) error {
	_, err := db.Update(ctx, s.db, "nodes", db.Set{"synced": false}, db.Where().Eq("uuid", nodeID))
	return err
}
