package manager

import (
	"context"
	"log/slog"
	"time"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/store"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/task"
)

const sagaDelete = "server-delete"

type deleteState struct {
	ServerID string `json:"server_id"`
	ActionID string `json:"action_id"`
	Host     string `json:"host,omitempty"`
}

// forever is how long the parts of a deletion are tried: it never gives up.
const forever = 100 * 365 * 24 * time.Hour

func (m *Manager) registerDelete() {
	task.Register(m.tasks, task.Saga[deleteState]{
		Name: sagaDelete,
		Steps: []task.Step[deleteState]{
			{Name: "guest", Do: m.deleteGuest, Patience: forever},
			{Name: "ports", Do: m.deletePorts, Patience: forever},
			{Name: "claim", Do: m.deleteClaim, Patience: forever},
			{Name: "record", Do: m.deleteRecord, Patience: forever},
		},
		Failed: m.deleteFailed,
	})
}

// DeleteServer begins the deletion of a server, whatever is being done to it.
// With reclaim_instance_interval it can be restored for a while, unless force
// is set.
func (m *Manager) DeleteServer(ctx context.Context, s *compute.Server, force bool) error {
	if err := unlocked(ctx, s); err != nil {
		return err
	}
	if m.conf.Reclaim > 0 && !force && s.VMState != compute.StateSoftDeleted && s.VMState != compute.StateBuilding && s.VMState != compute.StateError && s.Host != "" {
		return m.softDelete(ctx, s)
	}
	name := "delete"
	if force {
		name = "forceDelete"
	}
	return m.startDelete(ctx, s, name)
}

func (m *Manager) startDelete(ctx context.Context, s *compute.Server, action string) error {
	begun := false
	err := m.store.Tx(ctx, func(ctx context.Context) error {
		begun = false
		active, err := m.tasks.Active(ctx, s.ID)
		if err != nil {
			return err
		}
		for _, name := range active {
			if name == sagaDelete {
				return nil // it goes on by itself
			}
		}
		ok, err := m.store.ChangeServer(ctx, s.ID, store.Expect{}, db.Set{"task_state": compute.TaskDeleting})
		if err != nil || !ok {
			return err // gone: deleted by somebody else
		}
		if err := m.tasks.Cancel(ctx, s.ID); err != nil {
			return err
		}
		id, err := m.startAction(ctx, s.ID, action, "")
		if err != nil {
			return err
		}
		begun = true
		return task.Start(ctx, m.tasks, sagaDelete, s.ID, deleteState{ServerID: s.ID, ActionID: id})
	})
	if err == nil && begun {
		m.interrupt(ctx, s.ID)
		m.notify(ctx, compute.EventDeleteStart, s)
	}
	return err
}

// interrupt ends what the host does for the server right now; a lost message
// only makes the deletion wait for it.
func (m *Manager) interrupt(ctx context.Context, serverID string) {
	s, err := m.store.Server(ctx, serverID)
	if err != nil || s.Host == "" {
		return
	}
	cctx, cancel := context.WithTimeout(ctx, bus.TellTimeout)
	defer cancel()
	err = m.bus.Cast(cctx, agentOf(s.Host), compute.MethodCancel, compute.GuestRequest{ServerID: s.ID})
	if err != nil && !fault.Is(err, fault.Unavailable) {
		m.log.LogAttrs(ctx, slog.LevelInfo, "the host was not told of a deletion", slog.String("server", s.ID), slog.String("error", err.Error()))
	}
}

func (m *Manager) deleteGuest(ctx context.Context, st *deleteState) error {
	s, err := m.store.Server(ctx, st.ServerID)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	st.Host = s.Host
	if err := m.event(ctx, st.ActionID, "compute_terminate_instance", s.Host); err != nil {
		return err
	}
	err = m.destroyGuest(ctx, s)
	if err != nil && ctx.Err() == nil && !fault.Is(err, fault.Unavailable) {
		// The host is there and cannot do it: that is mended there.
		m.log.LogAttrs(ctx, slog.LevelError, "a guest cannot be destroyed; trying again", slog.String("server", s.ID), slog.String("host", s.Host), slog.String("error", err.Error()))
		return task.Later(5 * time.Second)
	}
	return err
}

func (m *Manager) deletePorts(ctx context.Context, st *deleteState) error {
	_, err := m.store.Server(ctx, st.ServerID)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return stubborn(m.dropPorts(ctx, st.ServerID))
}

// stubborn makes any error one that is tried again: a deletion never ends
// halfway because another service refuses something for now.
func stubborn(err error) error {
	if err == nil || fault.Is(err, fault.Unavailable) {
		return err
	}
	return fault.Wrap(fault.Unavailable, err, "Another service refused a part of the deletion.")
}

func (m *Manager) deleteClaim(ctx context.Context, st *deleteState) error {
	s, err := m.store.Server(ctx, st.ServerID)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, consumer := range []string{s.ID, s.Spec.MigrationID} {
		if err := m.release(ctx, consumer); err != nil {
			return stubborn(err)
		}
	}
	return stubborn(m.dropImage(ctx, s.Spec.ShelvedImage, true))
}

func (m *Manager) deleteRecord(ctx context.Context, st *deleteState) error {
	s, err := m.store.Server(ctx, st.ServerID)
	if err != nil && !isMissing(err) {
		return err
	}
	if err := m.eventEnd(ctx, st.ActionID, "compute_terminate_instance", nil); err != nil {
		return err
	}
	if s == nil {
		return nil
	}
	if err := m.store.MoveToHistory(ctx, s.ID); err != nil {
		return err
	}
	m.notify(ctx, compute.EventDeleteEnd, s)
	return nil
}

// deleteFailed lets the deletion be asked for again.
func (m *Manager) deleteFailed(ctx context.Context, st *deleteState, cause error) error {
	if err := m.eventEnd(ctx, st.ActionID, "compute_terminate_instance", cause); err != nil {
		return err
	}
	_, err := m.store.ChangeServer(ctx, st.ServerID, store.Doing(compute.TaskDeleting),
		db.Set{"vm_state": compute.StateError, "task_state": "", "fault": faultOf(cause, "")})
	return err
}

// softDelete stops a server that can be restored for a while.
func (m *Manager) softDelete(ctx context.Context, s *compute.Server) error {
	return m.store.Tx(ctx, func(ctx context.Context) error {
		return m.startPower(ctx, s, powerSoftDelete, 0)
	})
}

// RestoreServer brings a server back that was deleted and not yet reclaimed.
func (m *Manager) RestoreServer(ctx context.Context, s *compute.Server) error {
	return m.store.Tx(ctx, func(ctx context.Context) error {
		if s.VMState == compute.StateSoftDeleted {
			if err := m.store.LockQuota(ctx, s.ProjectID); err != nil {
				return err
			}
			want := compute.Usage{compute.QuotaInstances: 1, compute.QuotaCores: s.VCPUs, compute.QuotaRAM: s.MemoryMB}
			if err := m.within(ctx, s.ProjectID, s.UserID, want); err != nil {
				return err
			}
		}
		return m.startPower(ctx, s, powerRestore, 0)
	})
}

// reclaim deletes servers whose time to be restored has passed.
func (m *Manager) reclaim(ctx context.Context) error {
	list, err := m.store.SoftDeleted(ctx, db.Now().Add(-m.conf.Reclaim))
	if err != nil {
		return err
	}
	for i := range list {
		if err := m.startDelete(ctx, &list[i], "delete"); err != nil {
			return err
		}
	}
	return nil
}
