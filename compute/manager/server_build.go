package manager

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/guestdata"
	"github.com/tropocloud/tropo/compute/store"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/obs"
	"github.com/tropocloud/tropo/task"
)

const (
	sagaBuild  = "server-build"
	eventBuild = "compute__do_build_and_run_instance"
)

// buildState is what the saga remembers; no token, no secret.
type buildState struct {
	ServerID string    `json:"server_id"`
	ActionID string    `json:"action_id"`
	Hosts    []chosen  `json:"hosts,omitempty"` // in order of preference
	Attempt  int       `json:"attempt,omitempty"`
	Claimed  bool      `json:"claimed,omitempty"` // one of Hosts, surely
	PlugBy   time.Time `json:"plug_by,omitzero"`
	Details  string    `json:"details,omitempty"` // of a failure, for administrators
	// Ignore are hosts that turned out wrong, with the reason.
	Ignore map[string]string `json:"ignore,omitempty"`
}

// chosen is a host that can take the server.
type chosen struct {
	Host  string    `json:"host"`
	Node  string    `json:"node"`
	Zone  string    `json:"zone"`
	Claim claimable `json:"claim"`
}

func (m *Manager) registerBuild() {
	task.Register(m.tasks, task.Saga[buildState]{
		Name: sagaBuild,
		Steps: []task.Step[buildState]{
			{Name: "schedule", Do: m.buildSchedule},
			{Name: "claim", Do: m.buildClaim, Undo: m.undoClaim},
			{Name: "ports", Do: m.buildPorts, Undo: m.undoPorts},
			{Name: "spawn", Do: m.buildSpawn, Undo: m.undoSpawn, Timeout: m.conf.BuildTimeout + time.Minute},
			{Name: "plug", Do: m.buildPlug},
			{Name: "finish", Do: m.buildFinish},
		},
		Failed: m.buildFailed,
	})
}

// building returns the server of a build, or an error that ends it when the
// server is not being built any more.
func (m *Manager) building(ctx context.Context, st *buildState) (*compute.Server, error) {
	s, err := m.store.Server(ctx, st.ServerID)
	if err != nil {
		return nil, err
	}
	if s.VMState != compute.StateBuilding || s.TaskState == compute.TaskDeleting {
		return nil, fault.Wrap(fault.Conflict, task.ErrCancelled, "The server is no longer being built.")
	}
	return s, nil
}

// buildPorts makes and binds the server's ports.
func (m *Manager) buildPorts(ctx context.Context, st *buildState) error {
	s, err := m.building(ctx, st)
	if err != nil {
		return err
	}
	if _, err := m.store.ChangeServer(ctx, s.ID, store.Doing(compute.TaskScheduling), db.Set{"task_state": compute.TaskNetworking}); err != nil {
		return err
	}
	return m.recorded(ctx, st.ActionID, s.ID, func(ctx context.Context) error {
		return m.bindPorts(ctx, s, st.ActionID)
	})
}

// bindPorts makes what is missing of a server's ports and binds them to its
// host.
func (m *Manager) bindPorts(ctx context.Context, s *compute.Server, actionID string) (err error) {
	rows, err := m.store.ServerPorts(ctx, s.ID)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		for _, n := range []int{23, 24, 25} {
			obs.Step(ctx, n, "", obs.Note(obs.NoteSkipped))(nil)
		}
		return nil
	}
	sctx, end := obs.StepContext(ctx, 23, "")
	have, p, err := m.portsOf(sctx, s.ID)
	end(err)
	obs.Step(ctx, 24, "", obs.Note(obs.NoteInProcess), obs.Detail("checked as part of the request"))(err)
	if err != nil {
		return err
	}
	taken := map[string]bool{}
	for i := range rows {
		taken[rows[i].PortID] = true
	}
	sctx, end = obs.StepContext(ctx, 25, "")
	defer func() { end(err) }()
	bound, refs := map[string]*portDoc{}, []*compute.Port{}
	for i := range rows {
		d, err := m.ensurePort(sctx, p, s, &rows[i], have, taken, actionID)
		if err != nil {
			return err
		}
		bound[d.ID] = d
		refs = append(refs, &rows[i])
		if err := m.store.SavePort(ctx, &rows[i]); err != nil {
			return err
		}
	}
	if err := m.describe(sctx, p, refs, bound); err != nil {
		return err
	}
	for i := range rows {
		if t := rows[i].Info.Type; t == "binding_failed" {
			return fault.New(fault.Internal, "Binding failed for port %s.", rows[i].PortID)
		}
		rows[i].State = compute.PortAttached
		if err := m.store.SavePort(ctx, &rows[i]); err != nil {
			return err
		}
	}
	return nil
}

func (m *Manager) undoPorts(ctx context.Context, st *buildState) error {
	if err := m.knowPorts(ctx, st); err != nil {
		return err
	}
	return m.dropPorts(ctx, st.ServerID)
}

// knowPorts finds out which ports a build has made before they are dropped. The
// request for one may still be under way: to ask for it again, as the same
// request, gets the port or makes it, and afterwards no other one comes.
func (m *Manager) knowPorts(ctx context.Context, st *buildState) error {
	s, err := m.store.Server(ctx, st.ServerID)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	rows, err := m.store.ServerPorts(ctx, s.ID)
	if err != nil {
		return err
	}
	have, p, err := m.portsOf(ctx, s.ID)
	if err != nil {
		return err
	}
	taken := map[string]bool{}
	for i := range rows {
		taken[rows[i].PortID] = true
	}
	for i := range rows {
		if rows[i].PortID != "" {
			continue
		}
		if _, err := m.ensurePort(ctx, p, s, &rows[i], have, taken, st.ActionID); fault.Is(err, fault.Unavailable) {
			return err
		} else if err != nil {
			continue // refused: there is none
		}
		if err := m.store.SavePort(ctx, &rows[i]); err != nil {
			return err
		}
	}
	return nil
}

// dropPorts deletes the ports made for a server and lets given ones go. Ports
// that an interrupted try made are found by the server's id.
func (m *Manager) dropPorts(ctx context.Context, serverID string) error {
	rows, err := m.store.ServerPorts(ctx, serverID)
	if err != nil {
		return err
	}
	have, p, err := m.portsOf(ctx, serverID)
	if err != nil {
		return err
	}
	given := map[string]bool{}
	for i := range rows {
		r := &rows[i]
		given[r.PortID] = !r.Owned
		if err := m.dropPort(ctx, p, r); err != nil {
			return err
		}
		r.State, r.Info = compute.PortWanted, compute.VIF{}
		if r.Owned {
			r.PortID = ""
		}
		if err := m.store.SavePort(ctx, r); err != nil {
			return err
		}
	}
	for _, d := range have {
		if !given[d.ID] && strings.HasPrefix(d.Owner, "compute:") {
			if err := p.remove(ctx, "ports/"+segment(d.ID)); err != nil {
				return err
			}
		}
	}
	return nil
}

// buildSpawn has the host's agent make the guest.
func (m *Manager) buildSpawn(ctx context.Context, st *buildState) error {
	s, err := m.building(ctx, st)
	if err != nil {
		return err
	}
	if err := m.event(ctx, st.ActionID, eventBuild, s.Host); err != nil {
		return err
	}
	_, err = m.store.ChangeServer(ctx, s.ID, store.Doing(compute.TaskNetworking, compute.TaskScheduling), db.Set{"task_state": compute.TaskSpawning})
	if err != nil {
		return err
	}
	err = m.recorded(ctx, st.ActionID, s.ID, func(ctx context.Context) error {
		for _, n := range []int{26, 27, 28} {
			obs.Step(ctx, n, "", obs.Note(obs.NoteSkipped), obs.Detail("the server has no volumes"))(nil)
		}
		return m.spawnSomewhere(ctx, s, st)
	})
	if err != nil {
		st.Details = "on host " + s.Host + ": " + err.Error()
	}
	return err
}

// spawn tells the agent of s.Host to make the guest of an image. Only the last
// order counts: a host that gets an earlier one late does not follow it.
func (m *Manager) spawn(ctx context.Context, s *compute.Server, imageID string) error {
	in, err := m.spawnRequest(ctx, s, imageID)
	if err != nil {
		return err
	}
	in.Order = newID()
	if err := m.store.IssueOrder(ctx, s.ID, s.Host, in.Order); err != nil {
		return err
	}
	end := obs.Step(ctx, 12, "", obs.Detail(s.Host))
	ctx, cancel := context.WithTimeout(ctx, m.conf.BuildTimeout)
	defer cancel()
	end(nil)
	var info compute.GuestInfo
	return m.agent(ctx, s.Host, compute.MethodSpawn, s.ID, in, &info)
}

func (m *Manager) spawnRequest(ctx context.Context, s *compute.Server, imageID string) (*compute.SpawnRequest, error) {
	g, err := m.Guest(ctx, s)
	if err != nil {
		return nil, err
	}
	in := &compute.SpawnRequest{
		ServerID: s.ID, Name: s.Name, Hostname: s.Hostname, Flavor: sized(s, s.Spec.Flavor), ImageID: imageID,
		KernelID: s.Spec.KernelID, RamdiskID: s.Spec.RamdiskID, KernelArgs: s.Spec.ImageProps["os_command_line"],
		Metadata: map[string]string{"project_id": s.ProjectID, "user_id": s.UserID, "flavor": s.Spec.Flavor.Name, "name": s.Name},
	}
	in.Flavor.ExtraSpecs = nil
	for i := range g.Ports {
		if p := &g.Ports[i]; p.PortID != "" && p.State == compute.PortAttached {
			in.Interfaces = append(in.Interfaces, interfaceOf(p))
		}
	}
	if !s.ConfigDrive {
		return in, nil
	}
	g.Seed = make([]byte, 512)
	_, _ = rand.Read(g.Seed)
	in.ConfigDrive, err = g.Drive()
	return in, err
}

// Guest is what a server's guest may read about itself.
func (m *Manager) Guest(ctx context.Context, s *compute.Server) (*guestdata.Guest, error) {
	ports, err := m.store.ServerPorts(ctx, s.ID)
	if err != nil {
		return nil, err
	}
	meta, err := m.store.Metadata(ctx, []string{s.ID})
	return &guestdata.Guest{Server: s, Metadata: meta[s.ID], Ports: ports, Domain: m.conf.DHCPDomain}, err
}

// buildPlug waits until the network service says that the ports are up.
func (m *Manager) buildPlug(ctx context.Context, st *buildState) error {
	s, err := m.building(ctx, st)
	if err != nil {
		return err
	}
	if st.PlugBy.IsZero() {
		st.PlugBy = db.Now().Add(m.conf.PlugTimeout)
	}
	up, err := m.portsUp(ctx, s)
	if err != nil {
		return err
	}
	late := db.Now().After(st.PlugBy)
	if !up && !late {
		return task.Later(time.Second)
	}
	return m.recorded(ctx, st.ActionID, s.ID, func(ctx context.Context) error {
		note := obs.Detail("all ports are up")
		if !up {
			note = obs.Detail("the ports did not come up in time")
		}
		obs.Step(ctx, 0, stepPlug, obs.Part("neutron-server"), note)(nil)
		if !up && m.conf.PlugFatal {
			return fault.New(fault.Internal, "Virtual Interface creation failed")
		}
		return nil
	})
}

// portsUp reports whether all of a server's ports are ACTIVE; those of
// simulated guests never are.
func (m *Manager) portsUp(ctx context.Context, s *compute.Server) (bool, error) {
	rows, err := m.store.ServerPorts(ctx, s.ID)
	if err != nil || len(rows) == 0 || m.conf.PlugTimeout == 0 {
		return true, err
	}
	if n, err := m.store.NodeByName(ctx, s.Node); err == nil && n.Inventory.Simulated {
		return true, nil
	}
	ports, _, err := m.portsOf(ctx, s.ID)
	if err != nil {
		return false, err
	}
	for _, d := range ports {
		if d.Status != "ACTIVE" {
			return false, nil
		}
	}
	return true, nil
}

// buildFinish makes the server active.
func (m *Manager) buildFinish(ctx context.Context, st *buildState) error {
	now := db.Now()
	_, err := m.store.ChangeServer(ctx, st.ServerID, store.Expect{
		VM: []compute.VMState{compute.StateBuilding}, Task: []compute.TaskState{"", compute.TaskScheduling, compute.TaskNetworking, compute.TaskSpawning},
	}, db.Set{"vm_state": compute.StateActive, "task_state": "", "power_state": compute.PowerRunning, "launched_at": now, "progress": 0, "fault": (*compute.Fault)(nil)})
	if err != nil {
		return err
	}
	if err := m.eventEnd(ctx, st.ActionID, "conductor_build_instance", nil); err != nil {
		return err
	}
	if err := m.eventEnd(ctx, st.ActionID, eventBuild, nil); err != nil {
		return err
	}
	if s, err := m.store.Server(ctx, st.ServerID); err == nil {
		m.notify(ctx, compute.EventCreateEnd, s)
	}
	return nil
}

// buildFailed brings the server into its error state, unless it is being
// deleted.
func (m *Manager) buildFailed(ctx context.Context, st *buildState, cause error) error {
	if errors.Is(cause, task.ErrCancelled) {
		return m.endBuildEvents(ctx, st, cause)
	}
	if err := m.endBuildEvents(ctx, st, cause); err != nil {
		return err
	}
	ok, err := m.store.ChangeServer(ctx, st.ServerID, store.Expect{VM: []compute.VMState{compute.StateBuilding}, Task: buildTasks},
		db.Set{"vm_state": compute.StateError, "task_state": "", "fault": faultOf(cause, st.Details)})
	if err != nil || !ok {
		return err
	}
	if s, err := m.store.Server(ctx, st.ServerID); err == nil {
		m.notify(ctx, compute.EventCreateError, s)
	}
	return nil
}

var buildTasks = []compute.TaskState{"", compute.TaskScheduling, compute.TaskNetworking, compute.TaskSpawning}

func (m *Manager) endBuildEvents(ctx context.Context, st *buildState, cause error) error {
	if err := m.eventEnd(ctx, st.ActionID, "conductor_build_instance", cause); err != nil {
		return err
	}
	return m.eventEnd(ctx, st.ActionID, eventBuild, cause)
}

// faultOf is what a server shows of a failure: the message of a fault that is
// meant for its owner, otherwise none of the infrastructure's (threat 24);
// details are for administrators.
func faultOf(cause error, details string) *compute.Fault {
	f := &compute.Fault{Code: 500, Message: "The server could not be built.", Details: details, Created: db.Now()}
	if ft, ok := fault.As(cause); ok && ft.Message != "" {
		f.Message = ft.Message
		if ft.Kind == fault.Invalid {
			f.Code = 400
		}
	}
	if f.Details == "" && cause != nil {
		f.Details = cause.Error()
	}
	return f
}
