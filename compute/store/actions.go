package store

import (
	"context"
	"time"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
)

// ActionFilter says which actions of a server are listed.
type ActionFilter struct {
	Since, Before *time.Time
	Marker        string // a request id
	Limit         int
}

// InsertAction records that something was asked of a server.
func (s *Store) InsertAction(ctx context.Context, a *compute.Action) error {
	return db.Insert(ctx, s.db, "instance_actions", a)
}

// Actions lists a server's actions, newest first.
func (s *Store) Actions(ctx context.Context, serverID string, f ActionFilter) ([]compute.Action, error) {
	w := db.Where().Eq("server_id", serverID)
	if f.Since != nil {
		w.Raw("updated_at >= ?", *f.Since)
	}
	if f.Before != nil {
		w.Raw("updated_at <= ?", *f.Before)
	}
	p := db.Page{Limit: f.Limit, Sort: []db.Sort{{Column: "start_at", Desc: true}}}
	if f.Marker != "" {
		a, err := s.ActionByRequest(ctx, serverID, f.Marker)
		if err != nil {
			return nil, fault.Invalidf("marker [%s] not found", f.Marker)
		}
		p.Marker = a.ID
	}
	return db.SelectPage[compute.Action](ctx, s.db, "instance_actions", w, p)
}

// ActionByRequest returns a server's action by the id of its request.
func (s *Store) ActionByRequest(ctx context.Context, serverID, requestID string) (*compute.Action, error) {
	a, err := db.Get[compute.Action](ctx, s.db, "SELECT * FROM instance_actions WHERE server_id = ? AND request_id = ? ORDER BY start_at DESC", serverID, requestID)
	if a, err = found(a, err, "Action", requestID); err != nil {
		return nil, fault.New(fault.NotFound, "Action for request_id %s on instance %s not found", requestID, serverID)
	}
	return a, nil
}

// ActionEvents returns the parts of an action, oldest first.
func (s *Store) ActionEvents(ctx context.Context, actionID string) ([]compute.ActionEvent, error) {
	return db.Select[compute.ActionEvent](ctx, s.db, "SELECT * FROM instance_action_events WHERE action_id = ? ORDER BY start_at, id", actionID)
}

// StartEvent records that a part of an action began; repeated, it stays as it
// was.
func (s *Store) StartEvent(ctx context.Context, e *compute.ActionEvent) error {
	n, err := db.Count(ctx, s.db, "SELECT count(*) FROM instance_action_events WHERE action_id = ? AND event = ?", e.ActionID, e.Name)
	if err != nil || n > 0 {
		return err
	}
	err = db.Insert(ctx, s.db, "instance_action_events", e)
	if db.IsUnique(err) || db.IsForeignKey(err) {
		return nil
	}
	return err
}

// EventOver reports whether it is recorded how a part of an action ended.
func (s *Store) EventOver(ctx context.Context, actionID, name string) (bool, error) {
	n, err := db.Count(ctx, s.db, "SELECT count(*) FROM instance_action_events WHERE action_id = ? AND event = ? AND finish_at IS NOT NULL", actionID, name)
	return n > 0, err
}

// FinishEvent records how a part of an action ended; failure marks the action.
func (s *Store) FinishEvent(ctx context.Context, actionID, name, result, details string) error {
	return s.db.Tx(ctx, func(ctx context.Context) error {
		now := db.Now()
		_, err := db.Update(ctx, s.db, "instance_action_events", db.Set{"finish_at": now, "result": result, "details": details},
			db.Where().Eq("action_id", actionID).Eq("event", name))
		if err != nil {
			return err
		}
		set := db.Set{"updated_at": now}
		if result == "Error" {
			set["message"] = "Error"
		}
		_, err = db.Update(ctx, s.db, "instance_actions", set, db.ByID(actionID))
		return err
	})
}

// BirthSteps returns the steps by which a server was made, by time.
func (s *Store) BirthSteps(ctx context.Context, serverID string) ([]compute.BirthStep, error) {
	return db.Select[compute.BirthStep](ctx, s.db, "SELECT * FROM birth_steps WHERE server_id = ? ORDER BY start_at, seq", serverID)
}

// SaveBirthSteps stores steps; a step that was done again replaces the earlier
// record.
func (s *Store) SaveBirthSteps(ctx context.Context, steps []compute.BirthStep) error {
	if len(steps) == 0 {
		return nil
	}
	return s.db.Tx(ctx, func(ctx context.Context) error {
		for _, st := range steps {
			err := db.Upsert(ctx, s.db, "birth_steps", st, "action_id", "seq")
			if err != nil && !db.IsForeignKey(err) {
				return err
			}
		}
		return nil
	})
}
