package store

import (
	"context"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/feed"
)

// Feed is what projects are told of changes.
func (s *Store) Feed() *feed.Feed { return s.feed }

// tell records a change of a server.
func (s *Store) tell(ctx context.Context, id, action string) error {
	row, err := db.Get[struct {
		ProjectID string            `db:"project_id"`
		VM        compute.VMState   `db:"vm_state"`
		Task      compute.TaskState `db:"task_state"`
	}](ctx, s.db, "SELECT project_id, vm_state, task_state FROM servers WHERE id = ?", id)
	if err != nil {
		return err
	}
	return s.feed.Record(ctx, row.ProjectID, "server", id, action, compute.Status(row.VM, row.Task))
}
