package manager

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/store"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/doctor"
	"github.com/tropocloud/tropo/fault"
)

// jsonList is a list, or nothing where a document's member is something else
// (the links of a page).
type jsonList[T any] struct{ V []T }

// UnmarshalJSON implements json.Unmarshaler.
func (l *jsonList[T]) UnmarshalJSON(b []byte) error {
	if len(b) == 0 || b[0] != '[' {
		return nil
	}
	return json.Unmarshal(b, &l.V)
}

// findStuck finds servers in a state that only a saga ends, without one.
func (m *Manager) findStuck(ctx context.Context, l *doctor.Look) error {
	w, err := m.ward(ctx, l)
	if err != nil {
		return err
	}
	for i := range w.servers {
		s := &w.servers[i]
		since := w.now.Sub(s.UpdatedAt)
		if !stuck(s) || w.busy[s.ID] || since < settleTime {
			continue
		}
		l.Found(doctor.Finding{
			Kind: "server", ID: s.ID, Fix: cure(s).what,
			Problem: fmt.Sprintf("%s for %s (vm_state %s, task_state %s), and nothing works on it", s.Status(), since.Round(time.Second), s.VMState, orNone(string(s.TaskState))),
		})
	}
	return nil
}

func stuck(s *compute.Server) bool { return s.TaskState != "" || s.VMState == compute.StateBuilding }

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// remedy is what is done about a stuck server.
type remedy struct {
	what   string
	remove bool
	set    db.Set
}

// cure chooses: what its owner wanted gone goes; where the guest is as before
// or the host's agent will tell, the task is forgotten; what may be half done
// becomes an error, which its owner can rebuild, reboot or delete.
func cure(s *compute.Server) remedy {
	switch s.TaskState {
	case compute.TaskDeleting:
		return remedy{what: "begin the deletion anew", remove: true}
	case compute.TaskPoweringOn, compute.TaskPoweringOff, compute.TaskPausing, compute.TaskUnpausing, compute.TaskRebooting, compute.TaskRebootingHard,
		compute.TaskSuspending, compute.TaskResuming, compute.TaskSnapshot, compute.TaskUploading, compute.TaskSoftDeleting, compute.TaskRestoring, compute.TaskResizePrep:
		if s.VMState != compute.StateBuilding {
			return remedy{what: "forget the task; the host's agent tells what the guest does", set: db.Set{"task_state": "", "power_state": compute.PowerNone}}
		}
	}
	why := fault.New(fault.Internal, "What was being done to the server (%s) was lost.", orNone(string(s.TaskState)))
	return remedy{what: "set the server to ERROR", set: db.Set{"vm_state": compute.StateError, "task_state": "", "fault": faultOf(why, "set by the doctor")}}
}

func (m *Manager) healStuck(ctx context.Context, f doctor.Finding) error {
	active, err := m.tasks.Active(ctx, f.ID)
	if err != nil || len(active) > 0 {
		return err
	}
	s, err := m.store.Server(ctx, f.ID)
	if isMissing(err) || err == nil && !stuck(s) {
		return nil
	}
	if err != nil {
		return err
	}
	r := cure(s)
	if r.remove {
		return m.startDelete(ctx, s, "delete")
	}
	return m.store.Tx(ctx, func(ctx context.Context) error {
		// A saga is begun in the transaction that changes the states, so
		// that they are as read means that none was.
		_, err := m.store.ChangeServer(ctx, s.ID, store.Expect{VM: []compute.VMState{s.VMState}, Task: []compute.TaskState{s.TaskState}}, r.set)
		return err
	})
}
