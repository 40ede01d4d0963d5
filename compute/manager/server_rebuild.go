package manager

import (
	"context"
	"maps"
	"time"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/scheduler"
	"github.com/tropocloud/tropo/compute/store"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/task"
)

const (
	sagaRebuild  = "server-rebuild"
	eventRebuild = "compute_rebuild_instance"
)

// Rebuild is what a rebuild may change; nil leaves things as they are.
type Rebuild struct {
	ImageID     string
	Name        *string
	Description **string
	Hostname    *string
	AccessIPv4  *string
	AccessIPv6  *string
	Metadata    map[string]string // nil: as it is
	Files       []compute.File
	DiskConfig  string
	KeyName     **string
	UserData    **string
	Certs       []string
}

type rebuildState struct {
	ServerID string          `json:"server_id"`
	ActionID string          `json:"action_id"`
	Stopped  bool            `json:"stopped"` // it was, and shall be again
	From     compute.VMState `json:"from"`
}

func (m *Manager) registerRebuild() {
	task.Register(m.tasks, task.Saga[rebuildState]{
		Name: sagaRebuild,
		Steps: []task.Step[rebuildState]{
			{Name: "guest", Do: m.rebuildGuest, Timeout: m.conf.BuildTimeout + time.Minute},
			{Name: "finish", Do: m.rebuildFinish, Patience: forever},
		},
		Failed: m.rebuildFailed,
	})
}

// RebuildServer makes a server anew from an image, on its host and with its
// ports. The image passes the same checks as at the creation (threat 20), and
// the claim stays as it is.
func (m *Manager) RebuildServer(ctx context.Context, s *compute.Server, in Rebuild) error {
	if err := unlocked(ctx, s); err != nil {
		return err
	}
	img, err := m.bootImage(ctx, in.ImageID, &s.Spec.Flavor)
	if err != nil {
		return err
	}
	if err := m.sameHostFits(ctx, s, img); err != nil {
		return err
	}
	spec := s.Spec
	spec.ImageProps, spec.ImageMinDisk, spec.ImageMinRAM = img.Props, img.MinDisk, img.MinRAM
	spec.KernelID, spec.RamdiskID = img.Props["kernel_id"], img.Props["ramdisk_id"]
	if in.Files != nil {
		spec.Files = in.Files
	}
	if in.Certs != nil {
		spec.TrustedCerts = in.Certs
	}
	set := db.Set{"task_state": compute.TaskRebuilding, "image_id": img.ID, "fault": (*compute.Fault)(nil)}
	if err := m.rebuildColumns(ctx, s, in, set, &spec); err != nil {
		return err
	}
	set["spec"] = spec
	states := []compute.VMState{compute.StateActive, compute.StateStopped, compute.StateError}
	return m.store.Tx(ctx, func(ctx context.Context) error {
		if s.VMState == compute.StateError && s.Host == "" {
			return fault.Conflictf("Cannot 'rebuild' instance %s while it is in vm_state error: it was never on a host.", s.ID)
		}
		if err := m.change(ctx, s, "rebuild", store.Idle(states...), maps.Clone(set)); err != nil {
			return err
		}
		if in.Metadata != nil {
			l, err := m.limits(ctx, s.ProjectID, s.UserID)
			if err != nil {
				return err
			}
			if _, err := m.store.SetMetadata(ctx, s.ID, in.Metadata, true, l[compute.QuotaMetadata]); err != nil {
				return err
			}
		}
		id, err := m.startAction(ctx, s.ID, "rebuild", "")
		if err != nil {
			return err
		}
		return task.Start(ctx, m.tasks, sagaRebuild, s.ID, rebuildState{ServerID: s.ID, ActionID: id, Stopped: s.VMState == compute.StateStopped, From: s.VMState})
	})
}

func (m *Manager) rebuildColumns(ctx context.Context, s *compute.Server, in Rebuild, set db.Set, spec *compute.ServerSpec) error {
	for col, v := range map[string]*string{"name": in.Name, "hostname": in.Hostname, "access_ipv4": in.AccessIPv4, "access_ipv6": in.AccessIPv6} {
		if v != nil {
			set[col] = *v
		}
	}
	if in.Description != nil {
		set["description"] = *in.Description
	}
	if in.DiskConfig != "" {
		set["disk_config"] = in.DiskConfig
	}
	if in.UserData != nil {
		set["user_data"] = ""
		if *in.UserData != nil {
			set["user_data"] = **in.UserData
		}
	}
	if in.KeyName == nil {
		return nil
	}
	set["key_name"], spec.PublicKey, spec.KeyType = "", "", ""
	if *in.KeyName == nil {
		return nil
	}
	k, err := m.store.KeyPair(ctx, auth.From(ctx).User.ID, **in.KeyName)
	if isMissing(err) {
		return fault.Invalidf("Invalid key_name provided.")
	}
	if err != nil {
		return err
	}
	set["key_name"], spec.PublicKey, spec.KeyType = k.Name, k.PublicKey, k.Type
	return nil
}

// sameHostFits asks the scheduler whether the server's host can take an image.
func (m *Manager) sameHostFits(ctx context.Context, s *compute.Server, img *image) error {
	if s.Host == "" || img.ID == s.ImageID {
		return nil
	}
	n, err := m.store.NodeByName(ctx, s.Node)
	if err != nil {
		return nil //nolint:nilerr // a host that is gone is found out by the agent's silence
	}
	if err := m.hasTraits(ctx, n.UUID, traits(compute.Flavor{}, img.Props)); err != nil {
		return err
	}
	all := map[string]claimable{n.UUID: {Provider: n.UUID}}
	hosts, _, err := m.hosts(ctx, s, all)
	if err != nil {
		return err
	}
	r := &scheduler.Request{Server: s, Flavor: s.Spec.Flavor, ImageProps: img.Props, Zone: s.PinnedAZ, ProjectID: s.ProjectID}
	if ok, _ := m.sched.Select(hosts, r); len(ok) == 0 && len(hosts) > 0 {
		return fault.Invalidf("No valid host was found. The server's host cannot run the image.")
	}
	return nil
}

func (m *Manager) rebuildGuest(ctx context.Context, st *rebuildState) error {
	s, err := m.store.Server(ctx, st.ServerID)
	if err != nil {
		return err
	}
	if s.TaskState != compute.TaskRebuilding {
		return fault.Wrap(fault.Conflict, task.ErrCancelled, "Another operation took over.")
	}
	if err := m.event(ctx, st.ActionID, eventRebuild, s.Host); err != nil {
		return err
	}
	if err := m.agent(ctx, s.Host, compute.MethodDestroy, s.ID, compute.GuestRequest{ServerID: s.ID}, nil); err != nil {
		return err
	}
	if err := m.bindPorts(ctx, s, st.ActionID); err != nil { // it may come from an error before its ports were there
		return err
	}
	if err := m.spawn(ctx, s, s.ImageID); err != nil {
		return err
	}
	if !st.Stopped {
		return nil
	}
	return m.agent(ctx, s.Host, compute.MethodPower, s.ID, compute.PowerRequest{ServerID: s.ID, Op: compute.PowerOff}, nil)
}

func (m *Manager) rebuildFinish(ctx context.Context, st *rebuildState) error {
	set := db.Set{"vm_state": compute.StateActive, "task_state": "", "power_state": compute.PowerRunning, "launched_at": db.Now()}
	if st.Stopped {
		set["vm_state"], set["power_state"] = compute.StateStopped, compute.PowerShutdown
	}
	return m.conclude(ctx, st.ActionID, eventRebuild, st.ServerID, store.Doing(compute.TaskRebuilding), set, nil)
}

func (m *Manager) rebuildFailed(ctx context.Context, st *rebuildState, cause error) error {
	return m.conclude(ctx, st.ActionID, eventRebuild, st.ServerID, store.Doing(compute.TaskRebuilding),
		db.Set{"vm_state": compute.StateError, "task_state": "", "fault": faultOf(cause, "")}, cause)
}
