package manager

import (
	"context"
	"maps"
	"time"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/scheduler"
	"github.com/tropocloud/tropo/compute/store"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/task"
)

const (
	sagaResize  = "server-resize"
	sagaConfirm = "server-resize-confirm"
	sagaRevert  = "server-resize-revert"
	eventResize = "compute_resize_instance"
)

type resizeState struct {
	ServerID  string         `json:"server_id"`
	ActionID  string         `json:"action_id"`
	Migration string         `json:"migration"`
	New       compute.Flavor `json:"new"`
	Old       compute.Flavor `json:"old"`
	Running   bool           `json:"running"`
	Done      bool           `json:"done,omitempty"` // the guest has the other size
}

func (m *Manager) registerResize() {
	wait := m.conf.ShutdownGrace + 5*time.Minute
	task.Register(m.tasks, task.Saga[resizeState]{
		Name: sagaResize,
		Steps: []task.Step[resizeState]{
			{Name: "claim", Do: m.resizeClaim, Undo: m.undoResizeClaim},
			{Name: "guest", Do: m.resizeGuest, Undo: m.undoResizeGuest, Timeout: wait},
			{Name: "finish", Do: m.resizeFinish, Patience: forever},
		},
		Failed: m.resizeFailed,
	})
	task.Register(m.tasks, task.Saga[resizeState]{
		Name: sagaConfirm,
		Steps: []task.Step[resizeState]{
			{Name: "claim", Do: m.confirmClaim, Patience: forever},
			{Name: "finish", Do: m.confirmFinish, Patience: forever},
		},
		Failed: m.confirmFailed,
	})
	task.Register(m.tasks, task.Saga[resizeState]{
		Name: sagaRevert,
		Steps: []task.Step[resizeState]{
			{Name: "guest", Do: m.revertGuest, Timeout: wait},
			{Name: "claim", Do: m.revertClaim, Patience: forever},
			{Name: "finish", Do: m.revertFinish, Patience: forever},
		},
		Failed: m.revertFailed,
	})
}

// ResizeServer gives a server another flavor, on its own host. The old claim is
// kept under the migration's id until the resize is confirmed.
func (m *Manager) ResizeServer(ctx context.Context, s *compute.Server, flavorID, diskConfig string) error {
	if err := unlocked(ctx, s); err != nil {
		return err
	}
	f, err := m.flavorFor(ctx, flavorID)
	if isMissing(err) {
		return fault.Invalidf("Unable to locate requested flavor.")
	}
	if err != nil {
		return err
	}
	switch {
	case f.ID == s.FlavorID:
		return fault.Invalidf("When resizing, instances must change flavor!")
	case f.RootGB < s.Spec.Flavor.RootGB && (f.RootGB != 0 || s.Spec.Flavor.RootGB != 0):
		return fault.Invalidf("The disk of a server cannot shrink: the flavor has %d GB, the server %d GB.", f.RootGB, s.Spec.Flavor.RootGB)
	case f.EphemeralGB != s.Spec.Flavor.EphemeralGB || f.SwapMB != s.Spec.Flavor.SwapMB:
		return fault.Invalidf("A resize cannot change ephemeral and swap disks here.")
	case s.Spec.ImageMinRAM > f.MemoryMB:
		return fault.Invalidf("Flavor's memory is too small for requested image.")
	}
	set := db.Set{"task_state": compute.TaskResizePrep, "old_vm_state": s.VMState}
	if diskConfig != "" {
		set["disk_config"] = diskConfig
	}
	return m.store.Tx(ctx, func(ctx context.Context) error {
		if err := m.store.LockQuota(ctx, s.ProjectID); err != nil {
			return err
		}
		// Until it is confirmed the server counts as the larger of both.
		set["vcpus"], set["memory_mb"] = max(f.VCPUs, s.VCPUs), max(f.MemoryMB, s.MemoryMB)
		want := compute.Usage{compute.QuotaCores: f.VCPUs - s.VCPUs, compute.QuotaRAM: f.MemoryMB - s.MemoryMB}
		if err := m.within(ctx, s.ProjectID, s.UserID, want); err != nil {
			return err
		}
		if err := m.change(ctx, s, "resize", store.Idle(compute.StateActive, compute.StateStopped), maps.Clone(set)); err != nil {
			return err
		}
		now := db.Now()
		mig := &compute.Migration{
			UUID: newID(), ServerID: s.ID, ProjectID: s.ProjectID, UserID: s.UserID, Type: "resize", Status: "migrating",
			SourceHost: s.Host, SourceNode: s.Node, DestHost: s.Host, DestNode: s.Node, OldFlavorID: s.FlavorID, NewFlavorID: f.ID, CreatedAt: now, UpdatedAt: now,
		}
		if err := m.store.InsertMigration(ctx, mig); err != nil {
			return err
		}
		id, err := m.startAction(ctx, s.ID, "resize", "")
		if err != nil {
			return err
		}
		return task.Start(ctx, m.tasks, sagaResize, s.ID, resizeState{
			ServerID: s.ID, ActionID: id, Migration: mig.UUID, New: *f, Old: s.Spec.Flavor, Running: s.VMState == compute.StateActive,
		})
	})
}

func (m *Manager) doing(ctx context.Context, id string, t ...compute.TaskState) (*compute.Server, error) {
	s, err := m.store.Server(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, want := range t {
		if s.TaskState == want {
			return s, nil
		}
	}
	return nil, fault.Wrap(fault.Conflict, task.ErrCancelled, "Another operation took over.")
}

func (m *Manager) resizeClaim(ctx context.Context, st *resizeState) error {
	s, err := m.doing(ctx, st.ServerID, compute.TaskResizePrep)
	if err != nil {
		return err
	}
	if err := m.event(ctx, st.ActionID, eventResize, s.Host); err != nil {
		return err
	}
	n, err := m.store.NodeByName(ctx, s.Node)
	if err != nil {
		return err
	}
	hosts, _, err := m.hosts(ctx, s, map[string]claimable{n.UUID: {Provider: n.UUID}})
	if err != nil {
		return err
	}
	r := &scheduler.Request{Server: s, Flavor: sized(s, st.New), ImageProps: s.Spec.ImageProps, ProjectID: s.ProjectID}
	if ok, why := m.sched.Select(hosts, r); len(ok) == 0 {
		return fault.New(fault.Internal, "No valid host was found. The server's host has no room for the new flavor: %s", reasons(why))
	}
	err = m.moveClaim(ctx, s, s.ID, st.Migration, claimable{n.UUID, resources(sized(s, st.New))})
	if fault.Is(err, fault.Conflict) {
		return fault.New(fault.Internal, "No valid host was found. The server's host has no room for the new flavor.")
	}
	return err
}

// reasons are the refusals' texts without hosts, which owners do not see.
func reasons(list []scheduler.Refusal) string {
	if len(list) == 0 {
		return "the host is gone"
	}
	return list[0].Why
}

func (m *Manager) undoResizeClaim(ctx context.Context, st *resizeState) error {
	return m.claimBack(ctx, st, st.Old)
}

// claimBack gives the server what it had and drops the migration's claim.
func (m *Manager) claimBack(ctx context.Context, st *resizeState, f compute.Flavor) error {
	s, err := m.store.Server(ctx, st.ServerID)
	if err != nil || s.Node == "" {
		if isMissing(err) {
			err = nil
		}
		return err
	}
	n, err := m.store.NodeByName(ctx, s.Node)
	if err != nil {
		return err
	}
	if err := m.release(ctx, st.Migration); err != nil {
		return err
	}
	return m.claim(ctx, s.ID, s.ProjectID, s.UserID, claimable{n.UUID, resources(sized(s, f))}, st.ActionID+" claim back")
}

func (m *Manager) resizeGuest(ctx context.Context, st *resizeState) error {
	s, err := m.doing(ctx, st.ServerID, compute.TaskResizePrep, compute.TaskResizeFinish)
	if err != nil {
		return err
	}
	if _, err := m.store.ChangeServer(ctx, s.ID, store.Doing(compute.TaskResizePrep), db.Set{"task_state": compute.TaskResizeFinish}); err != nil {
		return err
	}
	return m.setSize(ctx, s, sized(s, st.New), st.Running)
}

// setSize stops the guest, gives it a size and starts it where it ran.
func (m *Manager) setSize(ctx context.Context, s *compute.Server, f compute.Flavor, run bool) error {
	off := compute.PowerRequest{ServerID: s.ID, Op: compute.PowerOff, Grace: m.grace(s)}
	if err := m.agent(ctx, s.Host, compute.MethodPower, s.ID, off, nil); err != nil {
		return err
	}
	if err := m.agent(ctx, s.Host, compute.MethodResize, s.ID, compute.ResizeRequest{ServerID: s.ID, Flavor: f}, nil); err != nil {
		return err
	}
	if !run {
		return nil
	}
	return m.agent(ctx, s.Host, compute.MethodPower, s.ID, compute.PowerRequest{ServerID: s.ID, Op: compute.PowerOn}, nil)
}

// shrunk is a flavor with a root disk that is as large as the guest's has
// become: a disk never shrinks.
func shrunk(to, from compute.Flavor) compute.Flavor {
	to.RootGB = max(to.RootGB, from.RootGB)
	return to
}

func (m *Manager) undoResizeGuest(ctx context.Context, st *resizeState) error {
	s, err := m.store.Server(ctx, st.ServerID)
	if err != nil || s.TaskState == compute.TaskDeleting {
		if isMissing(err) {
			err = nil
		}
		return err
	}
	err = m.setSize(ctx, s, sized(s, shrunk(st.Old, st.New)), st.Running)
	if fault.Is(err, fault.Unavailable) {
		return err
	}
	if err != nil { // the disk had not grown yet
		return m.setSize(ctx, s, sized(s, st.Old), st.Running)
	}
	return nil
}

func (m *Manager) resizeFinish(ctx context.Context, st *resizeState) error {
	over, err := m.store.EventOver(ctx, st.ActionID, eventResize)
	if err != nil || over {
		return err
	}
	s, err := m.doing(ctx, st.ServerID, compute.TaskResizeFinish)
	if err != nil {
		return err
	}
	if err := m.store.SetMigrationStatus(ctx, st.Migration, "finished"); err != nil {
		return err
	}
	spec := s.Spec
	old := st.Old
	spec.Flavor, spec.OldFlavor, spec.MigrationID = st.New, &old, st.Migration
	set := flavorColumns(st.New)
	set["root_gb"] = sized(s, st.New).RootGB
	set["vcpus"], set["memory_mb"] = max(st.New.VCPUs, old.VCPUs), max(st.New.MemoryMB, old.MemoryMB)
	set["vm_state"], set["task_state"], set["spec"], set["launched_at"] = compute.StateResized, "", spec, db.Now()
	set["power_state"] = power(st.Running)
	return m.conclude(ctx, st.ActionID, eventResize, s.ID, store.Doing(compute.TaskResizeFinish), set, nil)
}

func power(running bool) int {
	if running {
		return compute.PowerRunning
	}
	return compute.PowerShutdown
}

func flavorColumns(f compute.Flavor) db.Set {
	return db.Set{"flavor_id": f.ID, "vcpus": f.VCPUs, "memory_mb": f.MemoryMB, "root_gb": f.RootGB, "ephemeral_gb": f.EphemeralGB}
}

func (m *Manager) resizeFailed(ctx context.Context, st *resizeState, cause error) error {
	// The server is as it was; only the fault tells.
	if err := m.store.SetMigrationStatus(ctx, st.Migration, "error"); err != nil {
		return err
	}
	set := db.Set{"vcpus": st.Old.VCPUs, "memory_mb": st.Old.MemoryMB, "task_state": "", "fault": faultOf(cause, "")}
	return m.conclude(ctx, st.ActionID, eventResize, st.ServerID, store.Doing(compute.TaskResizePrep, compute.TaskResizeFinish), set, cause)
}
