package manager

import (
	"context"
	"log/slog"
	"maps"
	"strings"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/store"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/obs"
)

// startAction records that the caller asked something of a server and returns
// the record's id; id may be empty.
func (m *Manager) startAction(ctx context.Context, serverID, name, id string) (string, error) {
	if id == "" {
		id = newID()
	}
	now := db.Now()
	a := &compute.Action{ID: id, ServerID: serverID, Name: name, RequestID: obs.RequestID(ctx), StartAt: now, UpdatedAt: now}
	if a.RequestID == "" {
		a.RequestID = "req-" + newID()
	}
	if who := auth.From(ctx); who != nil {
		a.UserID, a.ProjectID = who.User.ID, who.Project.ID
	}
	return id, m.store.InsertAction(ctx, a)
}

// event records the begin of a part of an action.
func (m *Manager) event(ctx context.Context, actionID, name, host string) error {
	if actionID == "" {
		return nil
	}
	return m.store.StartEvent(ctx, &compute.ActionEvent{ID: newID(), ActionID: actionID, Name: name, Host: host, StartAt: db.Now()})
}

// failedText is all that an owner is told of a failure inside.
const failedText = "The operation failed."

// eventEnd records how a part of an action ended.
func (m *Manager) eventEnd(ctx context.Context, actionID, name string, cause error) error {
	if actionID == "" {
		return nil
	}
	if cause == nil {
		return m.store.FinishEvent(ctx, actionID, name, "Success", "")
	}
	text := failedText
	if f, ok := fault.As(cause); ok && f.Kind != fault.Internal {
		text = f.Message
	}
	return m.store.FinishEvent(ctx, actionID, name, "Error", text)
}

// conclude is a saga's last word about a server: it changes the row, if that is
// as expected, and records how the saga's part of the action ended, together. A
// process that dies right after it has the saga say it again, maybe when the
// row waits for the next saga of the same kind already: what is recorded is not
// said twice.
func (m *Manager) conclude(ctx context.Context, actionID, event, serverID string, e store.Expect, set db.Set, cause error) error {
	return m.store.Tx(ctx, func(ctx context.Context) error {
		over, err := m.store.EventOver(ctx, actionID, event)
		if err != nil || over {
			return err
		}
		if _, err := m.store.ChangeServer(ctx, serverID, e, maps.Clone(set)); err != nil {
			return err
		}
		if err := m.event(ctx, actionID, event, ""); err != nil { // it may have failed before
			return err
		}
		return m.eventEnd(ctx, actionID, event, cause)
	})
}

// ownSteps are the steps of a birth that tropo has beside the classic 29, at
// index seq-30.
var ownSteps = []string{stepClaim, stepPlug}

const (
	stepClaim = "The resources are claimed in placement under the server's id"
	stepPlug  = "The ports come up"
)

// saveSteps stores what rec recorded of a server's birth. A record is a
// convenience: losing it must not fail the birth.
func (m *Manager) saveSteps(ctx context.Context, actionID, serverID string, rec *obs.Recorder) {
	var out []compute.BirthStep
	for _, r := range rec.Records() {
		seq := r.Step
		for i, name := range ownSteps {
			if r.Step == 0 && r.Name == name {
				seq = 30 + i
			}
		}
		if seq == 0 {
			continue
		}
		out = append(out, compute.BirthStep{
			ActionID: actionID, ServerID: serverID, Seq: seq, Step: r.Step, Name: r.Name, Part: r.Part, Detail: r.Detail,
			StartAt: r.Start.Truncate(1000), Duration: r.Duration.Nanoseconds(), Note: r.Note, Error: r.Error,
		})
	}
	if err := m.store.SaveBirthSteps(ctx, out); err != nil && ctx.Err() == nil {
		m.log.LogAttrs(ctx, slog.LevelWarn, "the birth of a server was not recorded", slog.String("server", serverID), slog.String("error", err.Error()))
	}
}

// recorded runs f with a recorder and stores what it recorded.
func (m *Manager) recorded(ctx context.Context, actionID, serverID string, f func(ctx context.Context) error) error {
	rec := &obs.Recorder{}
	err := f(obs.WithRecorder(ctx, rec))
	if strings.HasPrefix(actionID, "c") {
		m.saveSteps(context.WithoutCancel(ctx), actionID, serverID, rec)
	}
	return err
}

// Actions lists what was asked of a server, newest first.
func (m *Manager) Actions(ctx context.Context, serverID string, f store.ActionFilter) ([]compute.Action, error) {
	return m.store.Actions(ctx, serverID, f)
}

// Action returns one action of a server with its parts.
func (m *Manager) Action(ctx context.Context, serverID, requestID string) (*compute.Action, []compute.ActionEvent, error) {
	a, err := m.store.ActionByRequest(ctx, serverID, requestID)
	if err != nil {
		return nil, nil, err
	}
	events, err := m.store.ActionEvents(ctx, a.ID)
	return a, events, err
}

// Birth returns the steps by which a server was made.
func (m *Manager) Birth(ctx context.Context, serverID string) ([]compute.BirthStep, error) {
	return m.store.BirthSteps(ctx, serverID)
}
