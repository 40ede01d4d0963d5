package manager

import (
	"context"
	"reflect"
	"time"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/store"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/task"
)

const sagaPower = "server-power"

func agentOf(host string) bus.Target { return bus.Target{Topic: compute.TopicAgent, Host: host} }

// powerKind names a change of what a server does.
type powerKind string

const (
	powerStart      powerKind = "start"
	powerStop       powerKind = "stop"
	powerReboot     powerKind = "reboot"
	powerRebootHard powerKind = "reboot-hard"
	powerPause      powerKind = "pause"
	powerUnpause    powerKind = "unpause"
	powerSuspend    powerKind = "suspend"
	powerResume     powerKind = "resume"
	powerSoftDelete powerKind = "softDelete"
	powerRestore    powerKind = "restore"
)

// powerRule is one line of the table of changes: from which states, by which
// task and which operation of the host, to which state.
type powerRule struct {
	action string // of the instance action and of refusals
	from   []compute.VMState
	task   compute.TaskState
	op     compute.PowerOp
	to     compute.VMState
	power  int
	event  string
}

func powerRuleOf(k powerKind) powerRule {
	const (
		active, stopped, paused, suspended = compute.StateActive, compute.StateStopped, compute.StatePaused, compute.StateSuspended
		failed                             = compute.StateError
	)
	type states = []compute.VMState
	switch k {
	case powerStart:
		return powerRule{"start", states{stopped}, compute.TaskPoweringOn, compute.PowerOn, active, compute.PowerRunning, "compute_start_instance"}
	case powerStop:
		return powerRule{"stop", states{active, failed}, compute.TaskPoweringOff, compute.PowerOff, stopped, compute.PowerShutdown, "compute_stop_instance"}
	case powerReboot:
		return powerRule{"reboot", states{active}, compute.TaskRebooting, compute.PowerRebootSoft, active, compute.PowerRunning, "compute_reboot_instance"}
	case powerRebootHard:
		return powerRule{"reboot", states{active, stopped, paused, suspended, failed}, compute.TaskRebootingHard, compute.PowerRebootHard, active, compute.PowerRunning, "compute_reboot_instance"}
	case powerPause:
		return powerRule{"pause", states{active}, compute.TaskPausing, compute.PowerPause, paused, compute.PowerPaused, "compute_pause_instance"}
	case powerUnpause:
		return powerRule{"unpause", states{paused}, compute.TaskUnpausing, compute.PowerUnpause, active, compute.PowerRunning, "compute_unpause_instance"}
	case powerSuspend:
		return powerRule{"suspend", states{active}, compute.TaskSuspending, compute.PowerSuspend, suspended, compute.PowerShutdown, "compute_suspend_instance"}
	case powerResume:
		return powerRule{"resume", states{suspended}, compute.TaskResuming, compute.PowerResume, active, compute.PowerRunning, "compute_resume_instance"}
	case powerSoftDelete:
		return powerRule{"delete", states{active, stopped, paused, suspended}, compute.TaskSoftDeleting, compute.PowerOff, compute.StateSoftDeleted, compute.PowerShutdown, "compute_soft_delete_instance"}
	default:
		return powerRule{"restore", states{compute.StateSoftDeleted}, compute.TaskRestoring, compute.PowerOn, active, compute.PowerRunning, "compute_restore_instance"}
	}
}

type powerState struct {
	ServerID string          `json:"server_id"`
	ActionID string          `json:"action_id"`
	Kind     powerKind       `json:"kind"`
	Grace    time.Duration   `json:"grace,omitempty"`
	From     compute.VMState `json:"from"`
	Power    int             `json:"power"`
}

func (m *Manager) registerPower() {
	task.Register(m.tasks, task.Saga[powerState]{
		Name: sagaPower,
		Steps: []task.Step[powerState]{
			{Name: "act", Do: m.powerAct, Timeout: m.conf.ShutdownGrace + 5*time.Minute, Patience: 30 * time.Second},
			{Name: "finish", Do: m.powerFinish, Patience: forever},
		},
		Failed: m.powerFailed,
	})
}

// unlocked refuses an owner's change of a locked server.
func unlocked(ctx context.Context, s *compute.Server) error {
	who := auth.From(ctx)
	if s.Locked() && (who == nil || !who.IsAdmin()) {
		return fault.Conflictf("Instance %s is locked", s.ID)
	}
	return nil
}

// refusal says why a server cannot be acted on.
func refusal(s *compute.Server, action string, e store.Expect) error {
	for _, vm := range e.VM {
		if vm == s.VMState {
			task := string(s.TaskState)
			if task == "" {
				task = "None"
			}
			return fault.Conflictf("Cannot '%s' instance %s while it is in task_state %s", action, s.ID, task)
		}
	}
	return fault.Conflictf("Cannot '%s' instance %s while it is in vm_state %s", action, s.ID, s.VMState)
}

// change is the compare-and-swap that begins an operation; it belongs into the
// transaction that starts its saga. A new spec was made of the one in s, so that
// must be the present one: whole operations fit between a request's look at the
// server and its change.
func (m *Manager) change(ctx context.Context, s *compute.Server, action string, e store.Expect, set db.Set) error {
	if set["spec"] != nil {
		now, err := m.store.Server(ctx, s.ID)
		if err != nil {
			return err
		}
		if fits(now, e) && !reflect.DeepEqual(now.Spec, s.Spec) {
			return fault.Conflictf("Cannot '%s' instance %s: it was changed meanwhile.", action, s.ID)
		}
	}
	ok, err := m.store.ChangeServer(ctx, s.ID, e, set)
	if err != nil || ok {
		return err
	}
	now, err := m.store.Server(ctx, s.ID)
	if err != nil {
		return err
	}
	return refusal(now, action, e)
}

// power begins a change of what a server does.
func (m *Manager) power(ctx context.Context, s *compute.Server, k powerKind, grace time.Duration) error {
	if err := unlocked(ctx, s); err != nil {
		return err
	}
	return m.store.Tx(ctx, func(ctx context.Context) error { return m.startPower(ctx, s, k, grace) })
}

func (m *Manager) startPower(ctx context.Context, s *compute.Server, k powerKind, grace time.Duration) error {
	r := powerRuleOf(k)
	set := db.Set{"task_state": r.task}
	if k == powerSoftDelete {
		set["old_vm_state"], set["terminated_at"] = s.VMState, db.Now()
	}
	e := store.Idle(r.from...)
	if fits(s, e) && s.Host == "" {
		return notReady(s.ID)
	}
	if err := m.change(ctx, s, r.action, e, set); err != nil {
		return err
	}
	id, err := m.startAction(ctx, s.ID, r.action, "")
	if err != nil {
		return err
	}
	return task.Start(ctx, m.tasks, sagaPower, s.ID, powerState{ServerID: s.ID, ActionID: id, Kind: k, Grace: grace, From: s.VMState})
}

// StartServer powers a stopped server on.
func (m *Manager) StartServer(ctx context.Context, s *compute.Server) error {
	return m.power(ctx, s, powerStart, 0)
}

// StopServer shuts a server down, by force after shutdown_timeout.
func (m *Manager) StopServer(ctx context.Context, s *compute.Server) error {
	return m.power(ctx, s, powerStop, m.grace(s))
}

// RebootServer restarts a server.
func (m *Manager) RebootServer(ctx context.Context, s *compute.Server, hard bool) error {
	if hard {
		return m.power(ctx, s, powerRebootHard, 0)
	}
	return m.power(ctx, s, powerReboot, m.grace(s))
}

// PauseServer stops a server's processors.
func (m *Manager) PauseServer(ctx context.Context, s *compute.Server) error {
	return m.power(ctx, s, powerPause, 0)
}

// UnpauseServer lets a paused server go on.
func (m *Manager) UnpauseServer(ctx context.Context, s *compute.Server) error {
	return m.power(ctx, s, powerUnpause, 0)
}

// SuspendServer writes a server's memory to disk.
func (m *Manager) SuspendServer(ctx context.Context, s *compute.Server) error {
	return m.power(ctx, s, powerSuspend, 0)
}

// ResumeServer brings a suspended server back.
func (m *Manager) ResumeServer(ctx context.Context, s *compute.Server) error {
	return m.power(ctx, s, powerResume, 0)
}

// grace is how long a guest may take to shut down; its image may say so.
func (m *Manager) grace(s *compute.Server) time.Duration {
	if n, err := atoi(s.Spec.ImageProps["os_shutdown_timeout"]); err == nil && n >= 0 && n <= 3600 {
		return time.Duration(n) * time.Second
	}
	return m.conf.ShutdownGrace
}

func (m *Manager) powerAct(ctx context.Context, st *powerState) error {
	r := powerRuleOf(st.Kind)
	s, err := m.store.Server(ctx, st.ServerID)
	if err != nil {
		return err
	}
	if s.TaskState != r.task {
		return fault.Wrap(fault.Conflict, task.ErrCancelled, "Another operation took over.")
	}
	if err := m.event(ctx, st.ActionID, r.event, s.Host); err != nil {
		return err
	}
	op := r.op
	if st.Kind == powerRestore && s.OldState != compute.StateActive {
		op = compute.PowerOff // it was not running before
	}
	var info compute.GuestInfo
	err = m.agent(ctx, s.Host, compute.MethodPower, s.ID, compute.PowerRequest{ServerID: s.ID, Op: op, Grace: st.Grace}, &info)
	st.Power = info.PowerState
	return err
}

func (m *Manager) powerFinish(ctx context.Context, st *powerState) error {
	r := powerRuleOf(st.Kind)
	set := db.Set{"vm_state": r.to, "task_state": "", "power_state": r.power}
	if st.Kind == powerRestore {
		s, err := m.store.Server(ctx, st.ServerID)
		if err != nil {
			return err
		}
		set["terminated_at"] = nil
		if s.OldState != compute.StateActive {
			set["vm_state"], set["power_state"] = compute.StateStopped, compute.PowerShutdown
		}
	}
	if set["vm_state"] == compute.StateActive {
		set["fault"] = (*compute.Fault)(nil)
	}
	if err := m.conclude(ctx, st.ActionID, r.event, st.ServerID, store.Doing(r.task), set, nil); err != nil {
		return err
	}
	if s, err := m.store.Server(ctx, st.ServerID); err == nil {
		m.notify(ctx, compute.EventUpdate, s)
	}
	return nil
}

func (m *Manager) powerFailed(ctx context.Context, st *powerState, cause error) error {
	r := powerRuleOf(st.Kind)
	set := db.Set{"task_state": "", "fault": faultOf(cause, "")}
	if st.Kind == powerReboot || st.Kind == powerRebootHard {
		set["vm_state"] = compute.StateError
		if fault.Is(cause, fault.Unavailable) {
			set["vm_state"] = st.From
		}
	}
	return m.conclude(ctx, st.ActionID, r.event, st.ServerID, store.Doing(r.task), set, cause)
}
