package api

import (
	"strconv"
	"time"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/manager"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/rest"
)

func itoa(n int) string { return strconv.Itoa(n) }

func (a *api) actionDoc(r *rest.Request, c *compute.Action) m {
	doc := m{
		"action": c.Name, "instance_uuid": c.ServerID, "request_id": c.RequestID, "user_id": c.UserID, "project_id": c.ProjectID,
		"start_time": micros(&c.StartAt), "message": orNull(c.Message),
	}
	if from(r, "2.58") {
		doc["updated_at"] = micros(&c.UpdatedAt)
	}
	return doc
}

func (a *api) listActions(r *rest.Request) (any, error) {
	f := manager.ActionFilter{Limit: a.m.Config().MaxLimit}
	if from(r, "2.58") {
		p, err := r.Page(rest.PageOptions{Max: a.m.Config().MaxLimit})
		if err != nil {
			return nil, err
		}
		if f.Marker = p.Marker; p.Limit > 0 {
			f.Limit = p.Limit
		}
		if v := r.Query().Get("changes-since"); v != "" {
			if f.Since, err = parseTime("changes-since", v); err != nil {
				return nil, err
			}
		}
		if v := r.Query().Get("changes-before"); v != "" && from(r, "2.66") {
			if f.Before, err = parseTime("changes-before", v); err != nil {
				return nil, err
			}
		}
	}
	if err := gone(r); err != nil {
		return nil, err
	}
	list, err := a.m.Actions(r.Context(), serverOf(r).ID, f)
	if err != nil {
		return nil, err
	}
	out := []m{}
	for i := range list {
		out = append(out, a.actionDoc(r, &list[i]))
	}
	doc := m{"instanceActions": out}
	if from(r, "2.58") && len(list) == f.Limit && len(list) > 0 {
		doc["links"] = []m{{"rel": "next", "href": r.NextLink(list[len(list)-1].RequestID)}}
	}
	return doc, nil
}

// gone hides the actions of deleted servers before 2.21.
func gone(r *rest.Request) error {
	if s := serverOf(r); s.VMState == compute.StateDeleted && !from(r, "2.21") {
		return fault.Missing("Instance", s.ID)
	}
	return nil
}

func (a *api) showAction(r *rest.Request) (any, error) {
	if err := gone(r); err != nil {
		return nil, err
	}
	act, events, err := a.m.Action(r.Context(), serverOf(r).ID, r.Var("request"))
	if err != nil {
		return nil, err
	}
	doc := a.actionDoc(r, act)
	admin := r.Allowed(rule("os-instance-actions:events:details"))
	if !admin && !from(r, "2.51") {
		return m{"instanceAction": doc}, nil
	}
	out := []m{}
	for i := range events {
		e := &events[i]
		d := m{"event": e.Name, "start_time": micros(&e.StartAt), "finish_time": micros(e.FinishAt), "result": orNull(e.Result)}
		if admin {
			d["traceback"] = orNull(e.Trace)
		}
		if from(r, "2.62") {
			d["hostId"] = hostID(act.ProjectID, e.Host)
			if admin {
				d["host"] = e.Host
			}
		}
		if from(r, "2.84") {
			d["details"] = orNull(e.Details)
		}
		out = append(out, d)
	}
	doc["events"] = out
	return m{"instanceAction": doc}, nil
}

// showBirth is tropo's own view of how a server was made: the classic 29 steps
// and its own, by time, with durations in nanoseconds.
func (a *api) showBirth(r *rest.Request) (any, error) {
	s := serverOf(r)
	steps, err := a.m.Birth(r.Context(), s.ID)
	if err != nil {
		return nil, err
	}
	admin := r.Caller().IsAdmin()
	out := []m{}
	for i := range steps {
		b := &steps[i]
		d := m{
			"step": b.Step, "name": b.Name, "part": b.Part, "start": b.StartAt.Format(time.RFC3339Nano), "duration_ns": b.Duration, "note": orNull(b.Note),
			"detail": nil, "error": nil,
		}
		if admin { // details name hosts
			d["detail"], d["error"] = orNull(b.Detail), orNull(b.Error)
		} else if b.Error != "" {
			d["error"] = "failed"
		}
		out = append(out, d)
	}
	return m{"birth": m{"server_id": s.ID, "status": s.Status(), "created": moment(s.CreatedAt), "launched_at": micros(s.LaunchedAt), "steps": out}}, nil
}
