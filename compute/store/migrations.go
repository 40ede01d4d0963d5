package store

import (
	"context"
	"strings"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/db"
)

// InsertMigration records a move or resize.
func (s *Store) InsertMigration(ctx context.Context, m *compute.Migration) error {
	_, err := db.Exec(ctx, s.db, `INSERT INTO migrations_of_servers (uuid, server_id, project_id, user_id, type, status, source_host, source_node,
		dest_host, dest_node, old_flavor_id, new_flavor_id, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		m.UUID, m.ServerID, m.ProjectID, m.UserID, m.Type, m.Status, m.SourceHost, m.SourceNode,
		m.DestHost, m.DestNode, m.OldFlavorID, m.NewFlavorID, m.CreatedAt, m.UpdatedAt)
	return err
}

// SetMigrationStatus changes the status of a migration.
func (s *Store) SetMigrationStatus(ctx context.Context, uuid, status string) error {
	_, err := db.Update(ctx, s.db, "migrations_of_servers", db.Set{"status": status, "updated_at": db.Now()}, db.Where().Eq("uuid", uuid))
	return err
}

// SetMigrationTarget changes the status of a migration and says where it goes.
func (s *Store) SetMigrationTarget(ctx context.Context, uuid, status, host, node string) error {
	set := db.Set{"status": status, "dest_host": host, "dest_node": node, "updated_at": db.Now()}
	_, err := db.Update(ctx, s.db, "migrations_of_servers", set, db.Where().Eq("uuid", uuid))
	return err
}

// CompleteEvacuations notes that the guests that were evacuated from a host are
// gone there, but for those that it still has.
func (s *Store) CompleteEvacuations(ctx context.Context, host string, has []string) error {
	w := db.Where().Eq("source_host", host).Eq("type", compute.MigrationEvacuation).Eq("status", compute.MigrationDone)
	if len(has) > 0 {
		where, args := db.Where().In("server_id", has).SQL()
		w.Raw("NOT ("+strings.TrimPrefix(where, " WHERE ")+")", args...)
	}
	_, err := db.Update(ctx, s.db, "migrations_of_servers", db.Set{"status": compute.MigrationCompleted, "updated_at": db.Now()}, w)
	return err
}

// Migrations lists migrations, newest first; filter holds columns.
func (s *Store) Migrations(ctx context.Context, w *db.Cond, limit int) ([]compute.Migration, error) {
	where, args := w.SQL()
	return db.Select[compute.Migration](ctx, s.db, "SELECT * FROM migrations_of_servers"+where+" ORDER BY id DESC LIMIT ?", append(args, limit)...)
}
