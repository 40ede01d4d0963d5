package manager

import (
	"context"
	"slices"
	"time"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/store"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/task"
)

const (
	sagaAttach = "interface-attach"
	sagaDetach = "interface-detach"
	// attachWait is how long a request waits for its interface.
	attachWait = 60 * time.Second
)

type interfaceState struct {
	ServerID string `json:"server_id"`
	ActionID string `json:"action_id"`
	RowID    string `json:"row_id"`
}

func (m *Manager) registerInterface() {
	task.Register(m.tasks, task.Saga[interfaceState]{
		Name: sagaAttach,
		Steps: []task.Step[interfaceState]{
			{Name: "port", Do: m.attachPort, Undo: m.undoAttachPort},
			{Name: "guest", Do: m.attachGuest, Undo: m.undoAttachGuest},
			{Name: "finish", Do: m.attachFinish, Patience: forever},
		},
		Failed: func(ctx context.Context, st *interfaceState, cause error) error {
			if f, ok := fault.As(cause); ok && f.Kind == fault.Unavailable {
				cause = fault.Wrap(fault.Internal, cause, failedText) // not the caller's doing
			}
			return m.eventEnd(ctx, st.ActionID, "compute_attach_interface", cause)
		},
	})
	task.Register(m.tasks, task.Saga[interfaceState]{
		Name: sagaDetach,
		Steps: []task.Step[interfaceState]{
			{Name: "guest", Do: m.detachGuest, Undo: m.undoDetachGuest},
			{Name: "port", Do: m.detachPort, Patience: forever},
		},
		Failed: m.detachFailed,
	})
}

var interfaceStates = store.Expect{VM: []compute.VMState{compute.StateActive, compute.StatePaused, compute.StateStopped}, Task: []compute.TaskState{""}}

// AttachInterface adds an interface to a server and waits until it is there.
func (m *Manager) AttachInterface(ctx context.Context, s *compute.Server, in NetworkRequest) (*compute.Port, error) {
	if err := unlocked(ctx, s); err != nil {
		return nil, err
	}
	if !fits(s, interfaceStates) {
		return nil, refusal(s, "attach_interface", interfaceStates)
	}
	var want []NetworkRequest
	if in.NetworkID != "" || in.PortID != "" {
		want = []NetworkRequest{in}
	}
	rows, err := m.checkNetworks(ctx, want, "", 1)
	if err != nil {
		return nil, attachFault(err)
	}
	if len(rows) != 1 {
		return nil, fault.Invalidf("No network is available for the interface.")
	}
	row := rows[0]
	row.ID, row.ServerID, row.Tag = newID(), s.ID, in.Tag
	var action string
	err = m.store.Tx(ctx, func(ctx context.Context) error {
		if err := m.change(ctx, s, "attach_interface", interfaceStates, db.Set{}); err != nil {
			return err
		}
		have, err := m.store.ServerPorts(ctx, s.ID)
		if err != nil {
			return err
		}
		if row.PortID != "" && slices.ContainsFunc(have, func(r compute.Port) bool { return r.PortID == row.PortID }) {
			return fault.Conflictf("Port %s is still in use.", row.PortID) // the same was asked for before
		}
		if row.Position, err = m.store.NextPosition(ctx, s.ID); err != nil {
			return err
		}
		if err := m.store.InsertPort(ctx, &row); err != nil {
			return err
		}
		if action, err = m.startAction(ctx, s.ID, "attach_interface", ""); err != nil {
			return err
		}
		return task.Start(ctx, m.tasks, sagaAttach, s.ID, interfaceState{s.ID, action, row.ID})
	})
	if err != nil {
		return nil, err
	}
	return m.attached(ctx, interfaceState{s.ID, action, row.ID})
}

// attachFault: what names nothing that exists is not found here.
func attachFault(err error) error {
	if f, ok := fault.As(err); ok && f.Kind == fault.Invalid && len(f.Message) > 20 && f.Message[len(f.Message)-19:] == "could not be found." {
		return fault.New(fault.NotFound, "%s", f.Message)
	}
	return err
}

// attached waits until an interface is plugged or given up.
func (m *Manager) attached(ctx context.Context, st interfaceState) (*compute.Port, error) {
	ctx, cancel := context.WithTimeout(ctx, attachWait)
	defer cancel()
	pause := 10 * time.Millisecond
	for {
		rows, err := m.store.ServerPorts(ctx, st.ServerID)
		if err != nil {
			return nil, err
		}
		row := rowByID(rows, st.RowID)
		if row != nil && row.State == compute.PortAttached {
			return row, nil
		}
		if row == nil {
			if over, err := m.notAttached(ctx, st); err != nil || over {
				return nil, err
			}
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, fault.Unavailablef("The interface is not attached yet; look again later.")
		case <-t.C:
		}
		pause = min(2*pause, 500*time.Millisecond)
	}
}

// notAttached says why an interface was given up, once its saga has ended:
// over is false before. What the network refused (an address in use, a quota)
// is the caller's to mend; that is told by the record of the action.
func (m *Manager) notAttached(ctx context.Context, st interfaceState) (over bool, err error) {
	active, err := m.tasks.Active(ctx, st.ServerID)
	if err != nil || slices.Contains(active, sagaAttach) {
		return false, err
	}
	events, err := m.store.ActionEvents(ctx, st.ActionID)
	if err != nil {
		return false, err
	}
	for _, e := range events {
		if e.Result == "Error" && e.Details != failedText {
			return true, fault.Invalidf("%s", e.Details)
		}
	}
	return true, fault.New(fault.Internal, "Failed to attach network adapter device to %s", st.ServerID)
}

func rowByID(rows []compute.Port, id string) *compute.Port {
	for i := range rows {
		if rows[i].ID == id {
			return &rows[i]
		}
	}
	return nil
}

// portRow returns the server and the row that a saga is about; nil: gone.
func (m *Manager) portRow(ctx context.Context, st *interfaceState) (*compute.Server, *compute.Port, error) {
	s, err := m.store.Server(ctx, st.ServerID)
	if isMissing(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	rows, err := m.store.ServerPorts(ctx, st.ServerID)
	return s, rowByID(rows, st.RowID), err
}

func (m *Manager) attachPort(ctx context.Context, st *interfaceState) error {
	s, row, err := m.portRow(ctx, st)
	if err != nil || row == nil {
		return err
	}
	if err := m.event(ctx, st.ActionID, "compute_attach_interface", s.Host); err != nil {
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
		taken[rows[i].PortID] = rows[i].ID != row.ID
	}
	d, err := m.ensurePort(ctx, p, s, row, have, taken, st.ActionID)
	if err != nil {
		return err
	}
	if err := m.store.SavePort(ctx, row); err != nil {
		return err
	}
	if err := m.describe(ctx, p, []*compute.Port{row}, map[string]*portDoc{d.ID: d}); err != nil {
		return err
	}
	return m.store.SavePort(ctx, row)
}

func (m *Manager) undoAttachPort(ctx context.Context, st *interfaceState) error {
	s, row, err := m.portRow(ctx, st)
	if err != nil || row == nil {
		return err
	}
	p, err := m.peer(ctx, "network", asService)
	if err != nil {
		return err
	}
	if row.PortID == "" { // the request for it may still be under way, see knowPorts
		have, _, err := m.portsOf(ctx, s.ID)
		if err != nil {
			return err
		}
		rows, err := m.store.ServerPorts(ctx, s.ID)
		if err != nil {
			return err
		}
		known := map[string]bool{}
		for i := range rows {
			known[rows[i].PortID] = true
		}
		if _, err := m.ensurePort(ctx, p, s, row, have, known, st.ActionID); fault.Is(err, fault.Unavailable) {
			return err
		}
	}
	if err := m.dropPort(ctx, p, row); err != nil {
		return err
	}
	return m.store.DeletePort(ctx, row.ID)
}

func (m *Manager) attachGuest(ctx context.Context, st *interfaceState) error {
	s, row, err := m.portRow(ctx, st)
	if err != nil || row == nil {
		return err
	}
	return m.agent(ctx, s.Host, compute.MethodAttach, s.ID, compute.InterfaceRequest{ServerID: s.ID, Interface: interfaceOf(row)}, nil)
}

func (m *Manager) undoAttachGuest(ctx context.Context, st *interfaceState) error {
	s, row, err := m.portRow(ctx, st)
	if err != nil || row == nil || s.TaskState == compute.TaskDeleting {
		return err
	}
	return m.agent(ctx, s.Host, compute.MethodDetach, s.ID, compute.InterfaceRequest{ServerID: s.ID, Interface: interfaceOf(row)}, nil)
}

func (m *Manager) attachFinish(ctx context.Context, st *interfaceState) error {
	if _, err := m.store.ChangePortState(ctx, st.RowID, compute.PortWanted, compute.PortAttached); err != nil {
		return err
	}
	return m.eventEnd(ctx, st.ActionID, "compute_attach_interface", nil)
}

// DetachInterface begins the removal of an interface.
func (m *Manager) DetachInterface(ctx context.Context, s *compute.Server, portID string) error {
	if err := unlocked(ctx, s); err != nil {
		return err
	}
	if !fits(s, interfaceStates) {
		return refusal(s, "detach_interface", interfaceStates)
	}
	rows, err := m.store.ServerPorts(ctx, s.ID)
	if err != nil {
		return err
	}
	for i := range rows {
		if rows[i].PortID == portID && portID != "" {
			_, err := m.startDetach(ctx, s, &rows[i], "detach_interface")
			return err
		}
	}
	return fault.New(fault.NotFound, "Port %s not found", portID)
}

// startDetach begins a removal and reports whether it was not begun before. An
// empty action records none.
func (m *Manager) startDetach(ctx context.Context, s *compute.Server, row *compute.Port, action string) (begun bool, err error) {
	err = m.store.Tx(ctx, func(ctx context.Context) error {
		begun, err = m.store.ChangePortState(ctx, row.ID, compute.PortAttached, compute.PortDetaching)
		if err != nil || !begun {
			return err
		}
		id := ""
		if action != "" {
			if id, err = m.startAction(ctx, s.ID, action, ""); err != nil {
				return err
			}
		}
		return task.Start(ctx, m.tasks, sagaDetach, s.ID, interfaceState{s.ID, id, row.ID})
	})
	return begun, err
}

func (m *Manager) detachGuest(ctx context.Context, st *interfaceState) error {
	s, row, err := m.portRow(ctx, st)
	if err != nil || row == nil || s.Host == "" {
		return err
	}
	if err := m.event(ctx, st.ActionID, "compute_detach_interface", s.Host); err != nil {
		return err
	}
	return m.agent(ctx, s.Host, compute.MethodDetach, s.ID, compute.InterfaceRequest{ServerID: s.ID, Interface: interfaceOf(row)}, nil)
}

// undoDetachGuest gives the guest back what it may have lost before the removal
// failed: its row will say that it has it.
func (m *Manager) undoDetachGuest(ctx context.Context, st *interfaceState) error {
	s, row, err := m.portRow(ctx, st)
	if err != nil || row == nil || s.Host == "" || s.TaskState == compute.TaskDeleting {
		return err
	}
	err = m.agent(ctx, s.Host, compute.MethodAttach, s.ID, compute.InterfaceRequest{ServerID: s.ID, Interface: interfaceOf(row)}, nil)
	if isMissing(err) {
		return nil // no guest
	}
	if fault.Is(err, fault.Unavailable) {
		if down, derr := m.hostDown(ctx, s.Host); derr == nil && down {
			return nil
		}
	}
	return err
}

func (m *Manager) detachPort(ctx context.Context, st *interfaceState) error {
	_, row, err := m.portRow(ctx, st)
	if err != nil {
		return err
	}
	if row != nil {
		p, err := m.peer(ctx, "network", asService)
		if err != nil {
			return err
		}
		if err := m.dropPort(ctx, p, row); err != nil {
			return stubborn(err)
		}
		if err := m.store.DeletePort(ctx, row.ID); err != nil {
			return err
		}
	}
	return m.eventEnd(ctx, st.ActionID, "compute_detach_interface", nil)
}

func (m *Manager) detachFailed(ctx context.Context, st *interfaceState, cause error) error {
	if _, err := m.store.ChangePortState(ctx, st.RowID, compute.PortDetaching, compute.PortAttached); err != nil {
		return err
	}
	return m.eventEnd(ctx, st.ActionID, "compute_detach_interface", cause)
}

// Interfaces lists a server's interfaces as the network service sees them now.
// A port that the server has not got is none: it may have become another's.
func (m *Manager) Interfaces(ctx context.Context, s *compute.Server) ([]compute.Port, error) {
	if err := m.refreshPorts(ctx, s.ID); err != nil {
		return nil, err
	}
	rows, err := m.store.ServerPorts(ctx, s.ID)
	if err != nil {
		return nil, err
	}
	out := []compute.Port{}
	for _, r := range rows {
		if r.State != compute.PortWanted {
			out = append(out, r)
		}
	}
	return out, nil
}
