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

const sagaEvacuate = "server-evacuate"

// Evacuate says how a server leaves a dead host.
type Evacuate struct {
	Host   string // the new host; empty: the scheduler's choice
	Force  bool   // without asking the scheduler whether Host is fit
	Shared bool   // the caller believes that the disk outlived the host
	Stop   bool   // leave the server stopped
}

type evacuateState struct {
	ServerID  string          `json:"server_id"`
	ActionID  string          `json:"action_id"`
	Migration string          `json:"migration"`
	Want      string          `json:"want,omitempty"`
	Force     bool            `json:"force,omitempty"`
	From      chosen          `json:"from"`
	Hosts     []chosen        `json:"hosts,omitempty"`
	To        chosen          `json:"to,omitzero"`
	Stopped   bool            `json:"stopped,omitempty"`
	PlugBy    time.Time       `json:"plug_by,omitzero"`
	Details   string          `json:"details,omitempty"`
	Before    compute.VMState `json:"before"`
}

func (m *Manager) registerEvacuate() {
	task.Register(m.tasks, task.Saga[evacuateState]{
		Name: sagaEvacuate,
		Steps: []task.Step[evacuateState]{
			{Name: "schedule", Do: m.evacuateSchedule},
			{Name: "claim", Do: m.evacuateClaim, Undo: m.undoEvacuateClaim},
			{Name: "host", Do: m.evacuateHost, Undo: m.undoEvacuateHost},
			{Name: "ports", Do: m.evacuatePorts},
			{Name: "guest", Do: m.evacuateGuest, Undo: m.undoEvacuateGuest, Timeout: m.conf.BuildTimeout + time.Minute},
			{Name: "plug", Do: m.evacuatePlug},
			{Name: "finish", Do: m.evacuateFinish, Patience: forever},
		},
		Failed: m.evacuateFailed,
	})
}

// EvacuateServer makes a server of a host that is down anew on another one: from
// its image, as its disk was on the dead host, with its ports, and so with its
// addresses. The service of the host must be down, or be forced down: an
// operator who does that says that nothing runs there any more. When the host
// comes back it removes what it has of the server before it starts anything.
func (m *Manager) EvacuateServer(ctx context.Context, s *compute.Server, in Evacuate) error {
	if err := m.checkEvacuation(ctx, s, in); err != nil {
		return err
	}
	e := store.Idle(compute.StateActive, compute.StateStopped, compute.StateError)
	return m.store.Tx(ctx, func(ctx context.Context) error {
		if err := m.change(ctx, s, "evacuate", e, db.Set{"task_state": compute.TaskRebuilding}); err != nil {
			return err
		}
		now := db.Now()
		mig := &compute.Migration{
			UUID: newID(), ServerID: s.ID, ProjectID: s.ProjectID, UserID: s.UserID, Type: compute.MigrationEvacuation, Status: compute.MigrationAccepted,
			SourceHost: s.Host, SourceNode: s.Node, DestHost: in.Host, OldFlavorID: s.FlavorID, NewFlavorID: s.FlavorID, CreatedAt: now, UpdatedAt: now,
		}
		if err := m.store.InsertMigration(ctx, mig); err != nil {
			return err
		}
		id, err := m.startAction(ctx, s.ID, "evacuate", "")
		if err != nil {
			return err
		}
		return task.Start(ctx, m.tasks, sagaEvacuate, s.ID, evacuateState{
			ServerID: s.ID, ActionID: id, Migration: mig.UUID, Want: in.Host, Force: in.Force, From: chosen{Host: s.Host, Node: s.Node, Zone: s.Zone},
			Stopped: in.Stop || s.VMState == compute.StateStopped, Before: s.VMState,
		})
	})
}

func (m *Manager) checkEvacuation(ctx context.Context, s *compute.Server, in Evacuate) error {
	if s.Host == "" {
		return fault.Conflictf("Cannot 'evacuate' instance %s: it is on no host.", s.ID)
	}
	if in.Host != "" {
		if !m.knownHost(ctx, in.Host) {
			return fault.Invalidf("Compute host %s not found.", in.Host)
		}
		if in.Host == s.Host {
			return fault.Invalidf("The target host can't be the same one.")
		}
	}
	down, err := m.hostDown(ctx, s.Host)
	if err != nil {
		return err
	}
	if !down {
		return fault.Invalidf("Compute service of %s is still in use.", s.Host)
	}
	if in.Shared {
		return fault.Invalidf("Invalid state of instance files on shared storage: the disks of servers are on their hosts here.")
	}
	return nil
}

func (m *Manager) evacuating(ctx context.Context, st *evacuateState) (*compute.Server, error) {
	return m.doing(ctx, st.ServerID, compute.TaskRebuilding)
}

func (m *Manager) evacuateSchedule(ctx context.Context, st *evacuateState) error {
	s, err := m.evacuating(ctx, st)
	if err != nil {
		return err
	}
	if err := m.event(ctx, st.ActionID, eventRebuild, m.host); err != nil {
		return err
	}
	b := buildState{Ignore: map[string]string{st.From.Host: "the server leaves this host"}}
	if st.Force {
		st.Hosts, err = m.forcedHost(ctx, s, st.Want)
		return err
	}
	// Where the server was to go when it was made does not bind it now.
	s.Spec.ForceHost, s.Spec.ForceNode, s.Spec.WantNode, s.Spec.WantHost = "", "", "", st.Want
	err = m.schedule(ctx, s, &b)
	st.Hosts, st.Details = b.Hosts, b.Details
	return err
}

// forcedHost is a host that nobody but the caller chose; that it has room is
// placement's to say.
func (m *Manager) forcedHost(ctx context.Context, s *compute.Server, host string) ([]chosen, error) {
	nodes, err := m.store.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	aggregates, err := m.store.Aggregates(ctx)
	if err != nil {
		return nil, err
	}
	for i := range nodes {
		if n := &nodes[i]; n.Host == host {
			return []chosen{{Host: host, Node: n.Name, Zone: m.zoneOf(aggregates, host), Claim: claimable{n.UUID, resources(sized(s, s.Spec.Flavor))}}}, nil
		}
	}
	return nil, noHost(s)
}

// evacuateClaim takes the resources of the new host, and hands what the server
// holds of the dead one over to the migration, in one step.
func (m *Manager) evacuateClaim(ctx context.Context, st *evacuateState) error {
	s, err := m.evacuating(ctx, st)
	if err != nil {
		return err
	}
	have, err := m.allocation(ctx, s.ID)
	if err != nil {
		return err
	}
	for _, h := range st.Hosts {
		if _, ok := have.Allocations[h.Claim.Provider]; ok { // claimed before the process died
			st.To = h
			return nil
		}
	}
	for _, h := range st.Hosts {
		if len(have.Allocations) == 0 {
			err = m.claim(ctx, s.ID, s.ProjectID, s.UserID, h.Claim, st.ActionID+" claim "+h.Claim.Provider)
		} else {
			err = m.moveClaim(ctx, s, s.ID, st.Migration, h.Claim)
		}
		if err == nil {
			st.To = h
			return nil
		}
		if !fault.Is(err, fault.Conflict) {
			return err
		}
	}
	return noHost(s)
}

// undoEvacuateClaim gives the server back what it held.
func (m *Manager) undoEvacuateClaim(ctx context.Context, st *evacuateState) error {
	s, err := m.store.Server(ctx, st.ServerID)
	if isMissing(err) {
		return m.release(ctx, st.Migration)
	}
	if err != nil {
		return err
	}
	moved, err := m.moveBack(ctx, s, st.Migration)
	if err != nil || moved {
		return err
	}
	have, err := m.allocation(ctx, s.ID)
	if err != nil {
		return err
	}
	for _, h := range st.Hosts { // it held nothing before
		if _, ok := have.Allocations[h.Claim.Provider]; ok {
			return m.release(ctx, s.ID)
		}
	}
	return nil
}

// evacuateHost writes the new host down: from here on the old one has nothing
// to say about the server, and removes it when it comes back.
func (m *Manager) evacuateHost(ctx context.Context, st *evacuateState) error {
	s, err := m.evacuating(ctx, st)
	if err != nil {
		return err
	}
	why := ""
	err = m.store.Tx(ctx, func(ctx context.Context) error {
		if why, err = m.breaksGroup(ctx, s, st.To.Host); err != nil || why != "" && !st.Force {
			return err
		}
		if err := m.rehome(ctx, st, st.From.Host, st.To); err != nil {
			return err
		}
		return m.store.SetMigrationTarget(ctx, st.Migration, "pre-migrating", st.To.Host, st.To.Node)
	})
	if err == nil && why != "" && !st.Force {
		st.Details = st.To.Host + ": " + why
		return noHost(s)
	}
	return err
}

// rehome gives the server another host, and voids what the other was told.
func (m *Manager) rehome(ctx context.Context, st *evacuateState, from string, to chosen) error {
	if _, err := m.store.ChangeServer(ctx, st.ServerID, store.Expect{}, db.Set{"host": to.Host, "node": to.Node, "zone": to.Zone}); err != nil {
		return err
	}
	return m.store.DropOrder(ctx, st.ServerID, from)
}

// undoEvacuateHost gives the server its old host back. Its ports go back as
// well, as far as the network service binds them to a host that is down.
func (m *Manager) undoEvacuateHost(ctx context.Context, st *evacuateState) error {
	err := m.store.Tx(ctx, func(ctx context.Context) error { return m.rehome(ctx, st, st.To.Host, st.From) })
	if err != nil {
		return err
	}
	s, err := m.store.Server(ctx, st.ServerID)
	if isMissing(err) || err == nil && s.TaskState == compute.TaskDeleting {
		return nil
	}
	if err != nil {
		return err
	}
	if err := m.bindPorts(ctx, s, st.ActionID); fault.Is(err, fault.Unavailable) {
		return err
	}
	return nil
}

func (m *Manager) evacuatePorts(ctx context.Context, st *evacuateState) error {
	s, err := m.evacuating(ctx, st)
	if err != nil {
		return err
	}
	return m.bindPorts(ctx, s, st.ActionID)
}

func (m *Manager) evacuateGuest(ctx context.Context, st *evacuateState) error {
	s, err := m.evacuating(ctx, st)
	if err != nil {
		return err
	}
	if err := m.spawn(ctx, s, s.ImageID); err != nil {
		st.Details = "on host " + s.Host + ": " + err.Error()
		return err
	}
	if !st.Stopped {
		return nil
	}
	return m.agent(ctx, s.Host, compute.MethodPower, s.ID, compute.PowerRequest{ServerID: s.ID, Op: compute.PowerOff}, nil)
}

func (m *Manager) undoEvacuateGuest(ctx context.Context, st *evacuateState) error {
	return m.undoSpawn(ctx, &buildState{ServerID: st.ServerID})
}

// evacuatePlug waits until the ports are up on the new host.
func (m *Manager) evacuatePlug(ctx context.Context, st *evacuateState) error {
	s, err := m.evacuating(ctx, st)
	if err != nil {
		return err
	}
	if st.PlugBy.IsZero() {
		st.PlugBy = db.Now().Add(m.conf.PlugTimeout)
	}
	if st.Stopped {
		return nil
	}
	up, err := m.portsUp(ctx, s)
	switch {
	case err != nil:
		return err
	case up:
		return nil
	case db.Now().Before(st.PlugBy):
		return task.Later(time.Second)
	case m.conf.PlugFatal:
		return fault.New(fault.Internal, "Virtual Interface creation failed")
	}
	return nil
}

func (m *Manager) evacuateFinish(ctx context.Context, st *evacuateState) error {
	if err := m.release(ctx, st.Migration); err != nil {
		return stubborn(err)
	}
	set := db.Set{
		"vm_state": compute.StateActive, "task_state": "", "power_state": compute.PowerRunning, "launched_at": db.Now(), "fault": (*compute.Fault)(nil),
	}
	if st.Stopped {
		set["vm_state"], set["power_state"] = compute.StateStopped, compute.PowerShutdown
	}
	if err := m.store.SetMigrationStatus(ctx, st.Migration, compute.MigrationDone); err != nil {
		return err
	}
	if err := m.conclude(ctx, st.ActionID, eventRebuild, st.ServerID, store.Doing(compute.TaskRebuilding), set, nil); err != nil {
		return err
	}
	if s, err := m.store.Server(ctx, st.ServerID); err == nil {
		m.notify(ctx, compute.EventUpdate, s)
	}
	return nil
}

// evacuateFailed leaves the server on its old host, in its error state, so that
// it can be evacuated again.
func (m *Manager) evacuateFailed(ctx context.Context, st *evacuateState, cause error) error {
	if err := m.store.SetMigrationStatus(ctx, st.Migration, compute.MigrationFailed); err != nil {
		return err
	}
	return m.conclude(ctx, st.ActionID, eventRebuild, st.ServerID, store.Doing(compute.TaskRebuilding),
		db.Set{"vm_state": compute.StateError, "task_state": "", "fault": faultOf(cause, st.Details)}, cause)
}
