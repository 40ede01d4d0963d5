package manager

import (
	"context"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/store"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/task"
)

// ConfirmResize keeps the new size of a resized server.
func (m *Manager) ConfirmResize(ctx context.Context, s *compute.Server) error {
	return m.endResize(ctx, s, "confirmResize", sagaConfirm, "")
}

// RevertResize gives a resized server its old size back. Its root disk stays as
// large as it has become.
func (m *Manager) RevertResize(ctx context.Context, s *compute.Server) error {
	return m.endResize(ctx, s, "revertResize", sagaRevert, compute.TaskResizeRevert)
}

func (m *Manager) endResize(ctx context.Context, s *compute.Server, action, saga string, t compute.TaskState) error {
	if err := unlocked(ctx, s); err != nil {
		return err
	}
	return m.store.Tx(ctx, func(ctx context.Context) error {
		set := db.Set{"task_state": t}
		if saga == sagaConfirm { // at once: what is left to do is invisible
			set["vm_state"], set["old_vm_state"] = resumed(s), ""
			set["vcpus"], set["memory_mb"] = s.Spec.Flavor.VCPUs, s.Spec.Flavor.MemoryMB
		}
		if err := m.change(ctx, s, action, store.Idle(compute.StateResized), set); err != nil {
			return err
		}
		id, err := m.startAction(ctx, s.ID, action, "")
		if err != nil {
			return err
		}
		st := resizeState{ServerID: s.ID, ActionID: id, Migration: s.Spec.MigrationID, New: s.Spec.Flavor, Running: resumed(s) == compute.StateActive}
		if s.Spec.OldFlavor != nil {
			st.Old = *s.Spec.OldFlavor
		}
		return task.Start(ctx, m.tasks, saga, s.ID, st)
	})
}

// resumed is the state of a server after its resize.
func resumed(s *compute.Server) compute.VMState {
	if s.OldState == compute.StateStopped {
		return compute.StateStopped
	}
	return compute.StateActive
}

func (m *Manager) confirmClaim(ctx context.Context, st *resizeState) error {
	if err := m.event(ctx, st.ActionID, "compute_confirm_resize", m.host); err != nil {
		return err
	}
	return m.release(ctx, st.Migration)
}

func (m *Manager) confirmFinish(ctx context.Context, st *resizeState) error {
	if err := m.store.SetMigrationStatus(ctx, st.Migration, "confirmed"); err != nil {
		return err
	}
	err := m.store.Tx(ctx, func(ctx context.Context) error {
		s, err := m.store.Server(ctx, st.ServerID)
		if err != nil {
			return err
		}
		spec := s.Spec
		spec.OldFlavor, spec.MigrationID = nil, ""
		return m.conclude(ctx, st.ActionID, "compute_confirm_resize", s.ID, store.Expect{}, db.Set{"spec": spec}, nil)
	})
	if isMissing(err) {
		return m.eventEnd(ctx, st.ActionID, "compute_confirm_resize", nil)
	}
	return err
}

// confirmFailed ends a confirmation that a deletion of the server cut short. It
// had its effect at once; the deletion gives back what is left.
func (m *Manager) confirmFailed(ctx context.Context, st *resizeState, cause error) error {
	if err := m.store.SetMigrationStatus(ctx, st.Migration, "confirmed"); err != nil {
		return err
	}
	return m.store.Tx(ctx, func(ctx context.Context) error {
		if err := m.event(ctx, st.ActionID, "compute_confirm_resize", ""); err != nil {
			return err
		}
		return m.eventEnd(ctx, st.ActionID, "compute_confirm_resize", cause)
	})
}

func (m *Manager) revertGuest(ctx context.Context, st *resizeState) error {
	s, err := m.doing(ctx, st.ServerID, compute.TaskResizeRevert)
	if err != nil {
		return err
	}
	if err := m.event(ctx, st.ActionID, "compute_revert_resize", s.Host); err != nil {
		return err
	}
	return m.setSize(ctx, s, sized(s, shrunk(st.Old, st.New)), st.Running)
}

func (m *Manager) revertClaim(ctx context.Context, st *resizeState) error {
	return m.claimBack(ctx, st, shrunk(st.Old, st.New))
}

func (m *Manager) revertFinish(ctx context.Context, st *resizeState) error {
	if err := m.store.SetMigrationStatus(ctx, st.Migration, "reverted"); err != nil {
		return err
	}
	err := m.store.Tx(ctx, func(ctx context.Context) error {
		s, err := m.store.Server(ctx, st.ServerID)
		if err != nil {
			return err
		}
		spec := s.Spec
		spec.Flavor, spec.OldFlavor, spec.MigrationID = st.Old, nil, ""
		set := flavorColumns(st.Old)
		set["root_gb"] = sized(s, shrunk(st.Old, st.New)).RootGB
		set["vm_state"], set["task_state"], set["spec"], set["old_vm_state"], set["power_state"] = resumed(s), "", spec, "", power(st.Running)
		return m.conclude(ctx, st.ActionID, "compute_revert_resize", s.ID, store.Doing(compute.TaskResizeRevert), set, nil)
	})
	if isMissing(err) {
		return m.eventEnd(ctx, st.ActionID, "compute_revert_resize", nil)
	}
	return err
}

// revertFailed leaves the server with its new flavor, which it has claimed: the
// way back is closed, so what it held before is given up.
func (m *Manager) revertFailed(ctx context.Context, st *resizeState, cause error) error {
	if err := m.store.SetMigrationStatus(ctx, st.Migration, "error"); err != nil {
		return err
	}
	if err := m.release(ctx, st.Migration); err != nil {
		return err
	}
	set := db.Set{"vm_state": compute.StateError, "task_state": "", "fault": faultOf(cause, "")}
	return m.store.Tx(ctx, func(ctx context.Context) error {
		if s, err := m.store.Server(ctx, st.ServerID); err == nil {
			spec := s.Spec
			spec.OldFlavor, spec.MigrationID = nil, ""
			set["spec"] = spec
		} else if !isMissing(err) {
			return err
		}
		return m.conclude(ctx, st.ActionID, "compute_revert_resize", st.ServerID, store.Doing(compute.TaskResizeRevert), set, cause)
	})
}
