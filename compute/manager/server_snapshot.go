package manager

import (
	"context"
	"time"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/store"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/task"
)

const (
	sagaSnapshot  = "server-snapshot"
	eventSnapshot = "compute_snapshot_instance"
	eventBackup   = "compute_backup_instance"
)

type snapshotState struct {
	ServerID string `json:"server_id"`
	ActionID string `json:"action_id"`
	ImageID  string `json:"image_id"`
	// Backup is the type of a backup ("daily"), of which the newest Rotation
	// are kept; empty: an image like any other.
	Backup   string `json:"backup,omitempty"`
	Rotation int    `json:"rotation,omitempty"`
}

// task is what is shown of the server meanwhile.
func (st *snapshotState) task() compute.TaskState {
	if st.Backup != "" {
		return compute.TaskBackup
	}
	return compute.TaskSnapshot
}

// event is the name of the action's part.
func (st *snapshotState) event() string {
	if st.Backup != "" {
		return eventBackup
	}
	return eventSnapshot
}

func (m *Manager) registerSnapshot() {
	task.Register(m.tasks, task.Saga[snapshotState]{
		Name: sagaSnapshot,
		Steps: []task.Step[snapshotState]{
			{Name: "copy", Do: m.snapshotCopy, Timeout: time.Hour},
			{Name: "rotate", Do: m.backupRotate},
			{Name: "finish", Do: m.snapshotFinish, Patience: forever},
		},
		Failed: m.snapshotFailed,
	})
}

// CreateImage makes an image of a server's root disk. The image belongs to the
// caller and is there at once, without data.
func (m *Manager) CreateImage(ctx context.Context, s *compute.Server, name string, props map[string]string) (imageID string, err error) {
	return m.startSnapshot(ctx, s, "createImage", name, props, snapshotState{ServerID: s.ID, ImageID: newID()})
}

func (m *Manager) startSnapshot(ctx context.Context, s *compute.Server, verb, name string, props map[string]string, st snapshotState) (imageID string, err error) {
	if err := unlocked(ctx, s); err != nil {
		return "", err
	}
	e := store.Idle(compute.StateActive, compute.StateStopped, compute.StatePaused, compute.StateSuspended)
	if !fits(s, e) {
		return "", refusal(s, verb, e)
	}
	id := st.ImageID
	if err := m.newImage(ctx, id, name, s, props, asCaller); err != nil {
		if fault.Is(err, fault.Unavailable) { // it may have been made all the same
			_ = m.dropImage(context.WithoutCancel(ctx), id, false)
		}
		return "", err
	}
	err = m.store.Tx(ctx, func(ctx context.Context) error {
		if err := m.change(ctx, s, verb, e, db.Set{"task_state": st.task()}); err != nil {
			return err
		}
		action, err := m.startAction(ctx, s.ID, verb, "")
		if err != nil {
			return err
		}
		st.ActionID = action
		return task.Start(ctx, m.tasks, sagaSnapshot, s.ID, st)
	})
	if err != nil {
		_ = m.dropImage(context.WithoutCancel(ctx), id, false) // the refusal is what the caller must see
		return "", err
	}
	return id, nil
}

func fits(s *compute.Server, e store.Expect) bool {
	ok := e.VM == nil
	for _, vm := range e.VM {
		ok = ok || vm == s.VMState
	}
	if e.Task == nil {
		return ok
	}
	for _, t := range e.Task {
		if t == s.TaskState {
			return ok
		}
	}
	return false
}

func (m *Manager) snapshotCopy(ctx context.Context, st *snapshotState) error {
	s, err := m.doing(ctx, st.ServerID, st.task())
	if err != nil {
		return err
	}
	if err := m.event(ctx, st.ActionID, st.event(), s.Host); err != nil {
		return err
	}
	return m.agent(ctx, s.Host, compute.MethodSnapshot, s.ID, compute.SnapshotRequest{ServerID: s.ID, ImageID: st.ImageID}, nil)
}

func (m *Manager) snapshotFinish(ctx context.Context, st *snapshotState) error {
	return m.conclude(ctx, st.ActionID, st.event(), st.ServerID, store.Doing(st.task()), db.Set{"task_state": ""}, nil)
}

// snapshotFailed drops the image, which was made before the saga: also where that
// was cancelled before its first step.
func (m *Manager) snapshotFailed(ctx context.Context, st *snapshotState, cause error) error {
	if err := m.dropImage(ctx, st.ImageID, false); err != nil {
		return err
	}
	return m.conclude(ctx, st.ActionID, st.event(), st.ServerID, store.Doing(st.task()),
		db.Set{"task_state": "", "fault": faultOf(cause, "")}, cause)
}
