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
	sagaShelve   = "server-shelve"
	sagaUnshelve = "server-unshelve"

	eventShelve   = "compute_shelve_instance"
	eventUnshelve = "compute_unshelve_instance"
)

type shelveState struct {
	ServerID string          `json:"server_id"`
	ActionID string          `json:"action_id"`
	ImageID  string          `json:"image_id"`
	From     compute.VMState `json:"from"`
}

func (m *Manager) registerShelve() {
	task.Register(m.tasks, task.Saga[shelveState]{
		Name: sagaShelve,
		Steps: []task.Step[shelveState]{
			{Name: "image", Do: m.shelveImage, Undo: m.undoShelveImage},
			{Name: "stop", Do: m.shelveStop, Timeout: m.conf.ShutdownGrace + time.Minute},
			{Name: "copy", Do: m.shelveCopy, Timeout: time.Hour},
			{Name: "offload", Do: m.shelveOffload, Patience: forever},
			{Name: "finish", Do: m.shelveFinish, Patience: forever},
		},
		Failed: m.shelveFailed,
	})
	task.Register(m.tasks, task.Saga[buildState]{
		Name: sagaUnshelve,
		Steps: []task.Step[buildState]{
			{Name: "schedule", Do: m.unshelveSchedule},
			{Name: "claim", Do: m.unshelveClaim, Undo: m.undoClaim},
			{Name: "ports", Do: m.unshelvePorts, Undo: m.undoUnshelvePorts},
			{Name: "spawn", Do: m.unshelveSpawn, Undo: m.undoSpawn, Timeout: m.conf.BuildTimeout + time.Minute},
			{Name: "finish", Do: m.unshelveFinish, Patience: forever},
		},
		Failed: m.unshelveFailed,
	})
}

// ShelveServer keeps a server as an image alone and gives its host free.
func (m *Manager) ShelveServer(ctx context.Context, s *compute.Server) error {
	if err := unlocked(ctx, s); err != nil {
		return err
	}
	return m.store.Tx(ctx, func(ctx context.Context) error {
		spec := s.Spec
		spec.ShelvedImage = newID()
		e := store.Idle(compute.StateActive, compute.StateStopped, compute.StatePaused, compute.StateSuspended)
		if err := m.change(ctx, s, "shelve", e, db.Set{"task_state": compute.TaskShelving, "spec": spec, "old_vm_state": s.VMState}); err != nil {
			return err
		}
		id, err := m.startAction(ctx, s.ID, "shelve", "")
		if err != nil {
			return err
		}
		return task.Start(ctx, m.tasks, sagaShelve, s.ID, shelveState{s.ID, id, spec.ShelvedImage, s.VMState})
	})
}

func (m *Manager) shelveImage(ctx context.Context, st *shelveState) error {
	s, err := m.doing(ctx, st.ServerID, compute.TaskShelving)
	if err != nil {
		return err
	}
	if err := m.event(ctx, st.ActionID, eventShelve, s.Host); err != nil {
		return err
	}
	return m.shelfImage(ctx, s, st)
}

func (m *Manager) shelfImage(ctx context.Context, s *compute.Server, st *shelveState) error {
	return m.newImage(ctx, st.ImageID, s.Name+"-shelved", s, nil, asService)
}

// undoShelveImage drops the image. The request for it may still be under way, so
// it is asked for once more, see knowPorts.
func (m *Manager) undoShelveImage(ctx context.Context, st *shelveState) error {
	s, err := m.store.Server(ctx, st.ServerID)
	if err != nil && !isMissing(err) {
		return err
	}
	if err == nil {
		if err := m.shelfImage(ctx, s, st); fault.Is(err, fault.Unavailable) {
			return err
		}
	}
	return m.dropImage(ctx, st.ImageID, true)
}

func (m *Manager) shelveStop(ctx context.Context, st *shelveState) error {
	s, err := m.doing(ctx, st.ServerID, compute.TaskShelving)
	if err != nil {
		return err
	}
	return m.agent(ctx, s.Host, compute.MethodPower, s.ID, compute.PowerRequest{ServerID: s.ID, Op: compute.PowerOff, Grace: m.grace(s)}, nil)
}

func (m *Manager) shelveCopy(ctx context.Context, st *shelveState) error {
	s, err := m.doing(ctx, st.ServerID, compute.TaskShelving)
	if err != nil {
		return err
	}
	return m.agent(ctx, s.Host, compute.MethodSnapshot, s.ID, compute.SnapshotRequest{ServerID: s.ID, ImageID: st.ImageID}, nil)
}

// shelveOffload gives the host free: from here on there is no way back but
// unshelve, so it is tried until it succeeds.
func (m *Manager) shelveOffload(ctx context.Context, st *shelveState) error {
	s, err := m.store.Server(ctx, st.ServerID)
	if err != nil || s.TaskState == compute.TaskDeleting {
		return err
	}
	if _, err := m.store.ChangeServer(ctx, s.ID, store.Doing(compute.TaskShelving), db.Set{"task_state": compute.TaskShelveOffload, "vm_state": compute.StateShelved}); err != nil {
		return err
	}
	if err := m.destroyGuest(ctx, s); err != nil {
		return stubborn(err)
	}
	return stubborn(m.giveUp(ctx, s))
}

func (m *Manager) shelveFinish(ctx context.Context, st *shelveState) error {
	return m.conclude(ctx, st.ActionID, eventShelve, st.ServerID, store.Doing(compute.TaskShelveOffload), db.Set{
		"vm_state": compute.StateShelvedOffloaded, "task_state": "", "power_state": compute.PowerShutdown, "host": "", "node": "",
	}, nil)
}

func (m *Manager) shelveFailed(ctx context.Context, st *shelveState, cause error) error {
	set := db.Set{"task_state": "", "fault": faultOf(cause, "")}
	if s, err := m.store.Server(ctx, st.ServerID); err == nil {
		spec := s.Spec
		spec.ShelvedImage = ""
		set["spec"] = spec
		if s.PowerState == compute.PowerShutdown {
			set["vm_state"] = compute.StateStopped
		}
	}
	return m.conclude(ctx, st.ActionID, eventShelve, st.ServerID, store.Doing(compute.TaskShelving), set, cause)
}

// Unshelve says where a shelved server shall go; zero: anywhere.
type Unshelve struct {
	Zone *string // nil: as it is; "": any
	Host string
}

// UnshelveServer brings a shelved server back on some host.
func (m *Manager) UnshelveServer(ctx context.Context, s *compute.Server, in Unshelve) error {
	if err := unlocked(ctx, s); err != nil {
		return err
	}
	e := store.Idle(compute.StateShelvedOffloaded)
	if !fits(s, e) {
		return refusal(s, "unshelve", e)
	}
	spec := s.Spec
	set := db.Set{"task_state": compute.TaskUnshelving}
	if in.Zone != nil {
		if *in.Zone != "" {
			if err := m.prepareZone(ctx, &compute.Server{}, &NewServer{Zone: *in.Zone}); err != nil {
				return err
			}
		}
		set["pinned_zone"] = *in.Zone
	}
	if spec.WantHost = in.Host; in.Host != "" && !m.knownHost(ctx, in.Host) {
		return fault.Invalidf("Compute host %s could not be found.", in.Host)
	}
	spec.ForceHost, spec.ForceNode, spec.WantNode = "", "", ""
	set["spec"] = spec
	return m.store.Tx(ctx, func(ctx context.Context) error {
		if err := m.change(ctx, s, "unshelve", e, set); err != nil {
			return err
		}
		id, err := m.startAction(ctx, s.ID, "unshelve", "")
		if err != nil {
			return err
		}
		return task.Start(ctx, m.tasks, sagaUnshelve, s.ID, buildState{ServerID: s.ID, ActionID: id})
	})
}

func (m *Manager) unshelveSchedule(ctx context.Context, st *buildState) error {
	s, err := m.doing(ctx, st.ServerID, compute.TaskUnshelving)
	if err != nil {
		return err
	}
	if err := m.event(ctx, st.ActionID, eventUnshelve, m.host); err != nil {
		return err
	}
	return m.schedule(ctx, s, st)
}

func (m *Manager) unshelveClaim(ctx context.Context, st *buildState) error {
	s, err := m.doing(ctx, st.ServerID, compute.TaskUnshelving)
	if err != nil {
		return err
	}
	h, err := m.claimOne(ctx, s, st)
	if err != nil {
		return err
	}
	_, err = m.store.ChangeServer(ctx, s.ID, store.Doing(compute.TaskUnshelving), db.Set{"host": h.Host, "node": h.Node, "zone": h.Zone})
	return err
}

func (m *Manager) unshelvePorts(ctx context.Context, st *buildState) error {
	s, err := m.doing(ctx, st.ServerID, compute.TaskUnshelving)
	if err != nil {
		return err
	}
	return m.bindPorts(ctx, s, st.ActionID)
}

// undoUnshelvePorts leaves the ports with the server: it is shelved again, and
// keeps its addresses.
func (m *Manager) undoUnshelvePorts(context.Context, *buildState) error { return nil }

func (m *Manager) unshelveSpawn(ctx context.Context, st *buildState) error {
	s, err := m.doing(ctx, st.ServerID, compute.TaskUnshelving)
	if err != nil {
		return err
	}
	return m.spawn(ctx, s, s.Spec.ShelvedImage)
}

func (m *Manager) unshelveFinish(ctx context.Context, st *buildState) error {
	over, err := m.store.EventOver(ctx, st.ActionID, eventUnshelve)
	if err != nil || over {
		return err
	}
	s, err := m.store.Server(ctx, st.ServerID)
	if err != nil {
		return err
	}
	if err := m.dropImage(ctx, s.Spec.ShelvedImage, true); err != nil {
		return stubborn(err)
	}
	spec := s.Spec
	spec.ShelvedImage = ""
	return m.conclude(ctx, st.ActionID, eventUnshelve, s.ID, store.Doing(compute.TaskUnshelving), db.Set{
		"vm_state": compute.StateActive, "task_state": "", "power_state": compute.PowerRunning, "launched_at": db.Now(), "spec": spec, "old_vm_state": "",
		"fault": (*compute.Fault)(nil),
	}, nil)
}

func (m *Manager) unshelveFailed(ctx context.Context, st *buildState, cause error) error {
	return m.conclude(ctx, st.ActionID, eventUnshelve, st.ServerID, store.Doing(compute.TaskUnshelving),
		db.Set{"task_state": "", "fault": faultOf(cause, st.Details)}, cause)
}
