package store

import (
	"context"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/feed"
)

// serverRow is a server as stored, with its documents.
type serverRow struct {
	compute.Server
	SpecJ  db.JSON[compute.ServerSpec] `db:"spec"`
	FaultJ db.JSON[*compute.Fault]     `db:"fault"`
}

func (r *serverRow) server() *compute.Server {
	s := r.Server
	s.Spec, s.Fault = r.SpecJ.V, r.FaultJ.V
	return &s
}

func rowOf(s *compute.Server) serverRow {
	return serverRow{Server: *s, SpecJ: db.J(s.Spec), FaultJ: db.J(s.Fault)}
}

// Server returns a server that exists.
func (s *Store) Server(ctx context.Context, id string) (*compute.Server, error) {
	r, err := db.Get[serverRow](ctx, s.db, "SELECT * FROM servers WHERE id = ?", id)
	if r, err = found(r, err, "Instance", id); err != nil {
		return nil, err
	}
	return r.server(), nil
}

// AnyServer returns a server that exists or is in the history.
func (s *Store) AnyServer(ctx context.Context, id string) (*compute.Server, error) {
	r, err := db.Get[serverRow](ctx, s.db, "SELECT * FROM all_servers WHERE id = ?", id)
	if r, err = found(r, err, "Instance", id); err != nil {
		return nil, err
	}
	return r.server(), nil
}

// InsertServer adds a new server; call it in the transaction that starts its
// saga.
func (s *Store) InsertServer(ctx context.Context, v *compute.Server) error {
	if err := db.Insert(ctx, s.db, "servers", rowOf(v)); err != nil {
		return err
	}
	return s.tell(ctx, v.ID, feed.Create)
}

// Expect is what a server must be for a change to happen. Nil: anything.
type Expect struct {
	VM   []compute.VMState
	Task []compute.TaskState
}

// Idle expects these vm_states and no task.
func Idle(vm ...compute.VMState) Expect { return Expect{VM: vm, Task: []compute.TaskState{""}} }

// Doing expects a task.
func Doing(t ...compute.TaskState) Expect { return Expect{Task: t} }

// ChangeServer is a compare-and-swap: it sets columns of a server that is as
// expected, and reports whether it was.
func (s *Store) ChangeServer(ctx context.Context, id string, e Expect, set db.Set) (bool, error) {
	w := db.ByID(id)
	if e.VM != nil {
		w.In("vm_state", e.VM)
	}
	if e.Task != nil {
		w.In("task_state", e.Task)
	}
	if _, ok := set["updated_at"]; !ok {
		set["updated_at"] = db.Now()
	}
	for k, v := range set {
		switch v := v.(type) {
		case compute.ServerSpec:
			set[k] = db.J(v)
		case *compute.Fault:
			set[k] = db.J(v)
		}
	}
	changed := false
	err := s.db.Tx(ctx, func(ctx context.Context) error {
		n, err := db.Update(ctx, s.db, "servers", set, w)
		if changed = n > 0; err != nil || !changed {
			return err
		}
		return s.tell(ctx, id, feed.Update)
	})
	return changed && err == nil, err
}

// MoveToHistory replaces a server by one line of the history, with everything
// that hangs on it but its actions.
func (s *Store) MoveToHistory(ctx context.Context, id string) error {
	return s.db.Tx(ctx, func(ctx context.Context) error {
		v, err := s.Server(ctx, id)
		if fault.Is(err, fault.NotFound) {
			return nil // done before
		}
		if err != nil {
			return err
		}
		now := db.Now()
		v.VMState, v.TaskState, v.PowerState = compute.StateDeleted, "", compute.PowerNone
		v.UpdatedAt, v.DeletedAt, v.TerminatedAt = now, &now, &now
		// The content of the guest is nobody's business any more.
		v.UserData, v.Spec.Files, v.Spec.PublicKey = "", nil, ""
		if err := db.Insert(ctx, s.db, "deleted_servers", rowOf(v)); err != nil {
			return err
		}
		if err := s.feed.Record(ctx, v.ProjectID, "server", id, feed.Delete, v.Status()); err != nil {
			return err
		}
		if _, err := db.Delete(ctx, s.db, "servers", db.ByID(id)); err != nil {
			return err
		}
		for _, t := range []string{"server_tags", "spawn_orders"} {
			if _, err := db.Delete(ctx, s.db, t, db.Where().Eq("server_id", id)); err != nil {
				return err
			}
		}
		return nil
	})
}

// ServersOnHost returns the servers of a host.
func (s *Store) ServersOnHost(ctx context.Context, host string) ([]compute.Server, error) {
	return s.selectServers(ctx, "SELECT * FROM servers WHERE host = ? ORDER BY id", host)
}

// ServersInHistory returns which of the ids are in the history, with the host
// that they were on.
func (s *Store) ServersInHistory(ctx context.Context, ids []string) (map[string]string, error) {
	type row struct {
		ID   string `db:"id"`
		Host string `db:"host"`
	}
	where, args := db.Where().In("id", ids).SQL()
	rows, err := db.Select[row](ctx, s.db, "SELECT id, host FROM deleted_servers"+where, args...)
	out := make(map[string]string, len(rows))
	for _, r := range rows {
		out[r.ID] = r.Host
	}
	return out, err
}

// ServersByID returns the servers with these ids that exist.
func (s *Store) ServersByID(ctx context.Context, ids []string) ([]compute.Server, error) {
	where, args := db.Where().In("id", ids).SQL()
	return s.selectServers(ctx, "SELECT * FROM servers"+where, args...)
}

// SoftDeleted returns servers whose time to be restored has passed.
func (s *Store) SoftDeleted(ctx context.Context, before any) ([]compute.Server, error) {
	return s.selectServers(ctx, "SELECT * FROM servers WHERE vm_state = ? AND task_state = '' AND terminated_at < ? LIMIT 100", compute.StateSoftDeleted, before)
}

func (s *Store) selectServers(ctx context.Context, q string, args ...any) ([]compute.Server, error) {
	rows, err := db.Select[serverRow](ctx, s.db, q, args...)
	out := make([]compute.Server, len(rows))
	for i := range rows {
		out[i] = *rows[i].server()
	}
	return out, err
}

// TrimHistory removes history that is older than before or beyond the newest
// keep lines, with its actions.
func (s *Store) TrimHistory(ctx context.Context, before any, keep int) error {
	ids, err := db.Select[string](ctx, s.db, "SELECT id FROM deleted_servers WHERE deleted_at < ? LIMIT 500", before)
	if err != nil {
		return err
	}
	n, err := db.Count(ctx, s.db, "SELECT count(*) FROM deleted_servers")
	if err != nil {
		return err
	}
	if over := n - len(ids) - keep; over > 0 {
		more, err := db.Select[string](ctx, s.db, "SELECT id FROM deleted_servers ORDER BY deleted_at LIMIT ?", min(len(ids)+over, 1000))
		if err != nil {
			return err
		}
		ids = more
	}
	if len(ids) == 0 {
		return nil
	}
	return s.db.Tx(ctx, func(ctx context.Context) error {
		for _, t := range []string{"instance_actions", "server_metadata", "migrations_of_servers"} {
			if _, err := db.Delete(ctx, s.db, t, db.Where().In("server_id", ids)); err != nil {
				return err
			}
		}
		_, err := db.Delete(ctx, s.db, "deleted_servers", db.Where().In("id", ids))
		return err
	})
}
