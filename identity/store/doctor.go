package store

import (
	"context"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/identity"
)

// LostAssignments returns role assignments whose user or group has no row, or
// whose project or domain has none. A user of a directory has no row either.
func (s *Store) LostAssignments(ctx context.Context) ([]identity.Assignment, error) {
	return db.Select[identity.Assignment](ctx, s.db, "SELECT "+db.Columns[identity.Assignment]("")+` FROM assignments WHERE
		(actor_type = 'user' AND NOT EXISTS (SELECT 1 FROM users u WHERE u.id = actor_id))
		OR (actor_type = 'group' AND NOT EXISTS (SELECT 1 FROM user_groups g WHERE g.id = actor_id))
		OR (target_type IN ('project', 'domain') AND NOT EXISTS (SELECT 1 FROM projects p WHERE p.id = target_id))
		ORDER BY target_id, actor_id, role_id`)
}
