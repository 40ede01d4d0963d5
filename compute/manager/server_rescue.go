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
	sagaRescue    = "server-rescue"
	sagaUnrescue  = "server-unrescue"
	eventRescue   = "compute_rescue_instance"
	eventUnrescue = "compute_unrescue_instance"
)

type rescueState struct {
	ServerID   string          `json:"server_id"`
	ActionID   string          `json:"action_id"`
	ImageID    string          `json:"image_id,omitempty"`
	KernelID   string          `json:"kernel_id,omitempty"`
	RamdiskID  string          `json:"ramdisk_id,omitempty"`
	KernelArgs string          `json:"kernel_args,omitempty"`
	From       compute.VMState `json:"from"`
}

func (m *Manager) registerRescue() {
	task.Register(m.tasks, task.Saga[rescueState]{
		Name: sagaRescue,
		Steps: []task.Step[rescueState]{
			{Name: "guest", Do: m.rescueGuest, Undo: m.undoRescueGuest, Timeout: m.conf.BuildTimeout + time.Minute},
			{Name: "finish", Do: m.rescueFinish, Patience: forever},
		},
		Failed: m.rescueFailed,
	})
	task.Register(m.tasks, task.Saga[rescueState]{
		Name: sagaUnrescue,
		Steps: []task.Step[rescueState]{
			{Name: "guest", Do: m.unrescueGuest},
			{Name: "finish", Do: m.unrescueFinish, Patience: forever},
		},
		Failed: m.unrescueFailed,
	})
}

// RescueServer restarts a server from another image's disk, with its own beside
// it; an empty image is the one that it was made of.
func (m *Manager) RescueServer(ctx context.Context, s *compute.Server, imageID string) error {
	if err := unlocked(ctx, s); err != nil {
		return err
	}
	e := store.Idle(compute.StateActive, compute.StateStopped, compute.StateError)
	if !fits(s, e) {
		return refusal(s, "rescue", e)
	}
	if s.Host == "" {
		return fault.Conflictf("Cannot 'rescue' instance %s: it is on no host.", s.ID)
	}
	st := rescueState{ServerID: s.ID, ImageID: s.ImageID, KernelID: s.Spec.KernelID, RamdiskID: s.Spec.RamdiskID, KernelArgs: s.Spec.ImageProps["os_command_line"], From: s.VMState}
	if imageID != "" && imageID != s.ImageID {
		// The rescue disk is the image's own size, whatever the flavor says.
		img, err := m.bootImage(ctx, imageID, &compute.Flavor{MemoryMB: s.MemoryMB})
		if err != nil {
			return err
		}
		st.ImageID, st.KernelID, st.RamdiskID, st.KernelArgs = img.ID, img.Props["kernel_id"], img.Props["ramdisk_id"], img.Props["os_command_line"]
	}
	return m.startRescue(ctx, s, "rescue", sagaRescue, e, compute.TaskRescuing, st)
}

// UnrescueServer restarts a rescued server from its own disk.
func (m *Manager) UnrescueServer(ctx context.Context, s *compute.Server) error {
	if err := unlocked(ctx, s); err != nil {
		return err
	}
	return m.startRescue(ctx, s, "unrescue", sagaUnrescue, store.Idle(compute.StateRescued), compute.TaskUnrescuing, rescueState{ServerID: s.ID, From: s.VMState})
}

func (m *Manager) startRescue(ctx context.Context, s *compute.Server, action, saga string, e store.Expect, t compute.TaskState, st rescueState) error {
	return m.store.Tx(ctx, func(ctx context.Context) error {
		if err := m.change(ctx, s, action, e, db.Set{"task_state": t}); err != nil {
			return err
		}
		id, err := m.startAction(ctx, s.ID, action, "")
		if err != nil {
			return err
		}
		st.ActionID = id
		return task.Start(ctx, m.tasks, saga, s.ID, st)
	})
}

func (m *Manager) rescueGuest(ctx context.Context, st *rescueState) error {
	s, err := m.doing(ctx, st.ServerID, compute.TaskRescuing)
	if err != nil {
		return err
	}
	if err := m.event(ctx, st.ActionID, eventRescue, s.Host); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, m.conf.BuildTimeout)
	defer cancel()
	if st.From == compute.StateActive {
		off := compute.PowerRequest{ServerID: s.ID, Op: compute.PowerOff, Grace: m.grace(s)}
		if err := m.agent(ctx, s.Host, compute.MethodPower, s.ID, off, nil); err != nil {
			return err
		}
	}
	in := compute.RescueRequest{ServerID: s.ID, ImageID: st.ImageID, KernelID: st.KernelID, RamdiskID: st.RamdiskID, KernelArgs: st.KernelArgs}
	return m.agent(ctx, s.Host, compute.MethodRescue, s.ID, in, nil)
}

// undoRescueGuest lets the guest boot from its own disk again, if its host can.
func (m *Manager) undoRescueGuest(ctx context.Context, st *rescueState) error {
	s, err := m.store.Server(ctx, st.ServerID)
	if err != nil || s.TaskState == compute.TaskDeleting {
		if isMissing(err) {
			err = nil
		}
		return err
	}
	err = m.agent(ctx, s.Host, compute.MethodUnrescue, s.ID, compute.GuestRequest{ServerID: s.ID}, nil)
	if !fault.Is(err, fault.Unavailable) {
		return nil // the server is in its error state then
	}
	if down, derr := m.hostDown(ctx, s.Host); derr == nil && down {
		return nil
	}
	return err
}

func (m *Manager) rescueFinish(ctx context.Context, st *rescueState) error {
	return m.rescueEnd(ctx, st, compute.TaskRescuing, compute.StateRescued, eventRescue)
}

func (m *Manager) rescueEnd(ctx context.Context, st *rescueState, t compute.TaskState, to compute.VMState, event string) error {
	set := db.Set{"vm_state": to, "task_state": "", "power_state": compute.PowerRunning, "launched_at": db.Now(), "fault": (*compute.Fault)(nil)}
	if err := m.conclude(ctx, st.ActionID, event, st.ServerID, store.Doing(t), set, nil); err != nil {
		return err
	}
	if s, err := m.store.Server(ctx, st.ServerID); err == nil {
		m.notify(ctx, compute.EventUpdate, s)
	}
	return nil
}

// rescueFailed says that what the guest does is unknown now; a hard reboot or
// another rescue mends it.
func (m *Manager) rescueFailed(ctx context.Context, st *rescueState, cause error) error {
	return m.conclude(ctx, st.ActionID, eventRescue, st.ServerID, store.Doing(compute.TaskRescuing),
		db.Set{"vm_state": compute.StateError, "task_state": "", "fault": faultOf(cause, "")}, cause)
}

func (m *Manager) unrescueGuest(ctx context.Context, st *rescueState) error {
	s, err := m.doing(ctx, st.ServerID, compute.TaskUnrescuing)
	if err != nil {
		return err
	}
	if err := m.event(ctx, st.ActionID, eventUnrescue, s.Host); err != nil {
		return err
	}
	return m.agent(ctx, s.Host, compute.MethodUnrescue, s.ID, compute.GuestRequest{ServerID: s.ID}, nil)
}

func (m *Manager) unrescueFinish(ctx context.Context, st *rescueState) error {
	return m.rescueEnd(ctx, st, compute.TaskUnrescuing, compute.StateActive, eventUnrescue)
}

// unrescueFailed leaves the server rescued.
func (m *Manager) unrescueFailed(ctx context.Context, st *rescueState, cause error) error {
	return m.conclude(ctx, st.ActionID, eventUnrescue, st.ServerID, store.Doing(compute.TaskUnrescuing),
		db.Set{"task_state": "", "fault": faultOf(cause, "")}, cause)
}
