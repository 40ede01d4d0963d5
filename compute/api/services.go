package api

import (
	"strconv"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/rest"
)

func (a *api) serviceDoc(r *rest.Request, aggregates []compute.Aggregate, s *compute.Service) m {
	doc := m{
		"id": s.ID, "binary": s.Binary, "host": s.Host, "zone": a.m.ZoneOfHost(aggregates, s), "status": word(!s.Disabled, "enabled", "disabled"),
		"state": word(a.m.Up(s), "up", "down"), "updated_at": micros(s.UpdatedAt), "disabled_reason": s.DisabledReason,
	}
	if from(r, "2.11") {
		doc["forced_down"] = s.ForcedDown
	}
	if from(r, "2.53") {
		doc["id"] = s.UUID
	}
	return doc
}

func word(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

func (a *api) listServices(r *rest.Request) (any, error) {
	list, err := a.m.Services(r.Context())
	if err != nil {
		return nil, err
	}
	aggregates, err := a.m.Aggregates(r.Context())
	if err != nil {
		return nil, err
	}
	q, out := r.Query(), []m{}
	for i := range list {
		s := &list[i]
		if h := q.Get("host"); h != "" && h != s.Host {
			continue
		}
		if b := q.Get("binary"); b != "" && b != s.Binary {
			continue
		}
		out = append(out, a.serviceDoc(r, aggregates, s))
	}
	return m{"services": out}, nil
}

// serviceAction is one of the verbs before 2.53.
func (a *api) serviceAction(verb string) rest.Handler {
	return func(r *rest.Request) (any, error) {
		var in struct {
			Host   string   `json:"host"`
			Binary string   `json:"binary"`
			Reason *string  `json:"disabled_reason"`
			Down   *boolean `json:"forced_down"`
		}
		if err := r.Decode(&in); err != nil {
			return nil, err
		}
		s, err := a.m.ServiceOn(r.Context(), in.Host, in.Binary)
		if err != nil {
			return nil, err
		}
		doc := m{"host": s.Host, "binary": s.Binary}
		if verb == "force-down" {
			if in.Down == nil {
				return nil, fault.Invalidf("Missing forced_down field")
			}
			down := bool(*in.Down)
			doc["forced_down"] = down
			_, err := a.m.UpdateService(r.Context(), s.UUID, nil, nil, &down)
			return m{"service": doc}, err
		}
		if verb == "disable-log-reason" {
			if in.Reason == nil {
				return nil, fault.Invalidf("Missing disabled reason field")
			}
			doc["disabled_reason"] = *in.Reason
		} else {
			in.Reason = nil
		}
		disabled := verb != "enable"
		doc["status"] = word(!disabled, "enabled", "disabled")
		_, err = a.m.UpdateService(r.Context(), s.UUID, &disabled, in.Reason, nil)
		return m{"service": doc}, err
	}
}

func (a *api) updateService(r *rest.Request) (any, error) {
	var in struct {
		Status string   `json:"status"`
		Reason *string  `json:"disabled_reason"`
		Down   *boolean `json:"forced_down"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if in.Status == "" && in.Down == nil {
		return nil, fault.Invalidf("No updates were requested. Fields 'status' or 'forced_down' should be specified.")
	}
	if in.Reason != nil && in.Status != "disabled" {
		return nil, fault.Invalidf("Specifying disabled_reason when status is \"%s\" is invalid.", in.Status)
	}
	s, err := a.m.Service(r.Context(), r.Var("service"))
	if err != nil {
		return nil, err
	}
	if s.Binary != compute.BinaryCompute {
		return nil, fault.Invalidf("Updating a %s service is not supported. Only nova-compute services can be updated.", s.Binary)
	}
	var disabled, down *bool
	if in.Status != "" {
		v := in.Status == "disabled"
		disabled = &v
	}
	if in.Down != nil {
		v := bool(*in.Down)
		down = &v
	}
	if s, err = a.m.UpdateService(r.Context(), s.UUID, disabled, in.Reason, down); err != nil {
		return nil, err
	}
	aggregates, err := a.m.Aggregates(r.Context())
	if err != nil {
		return nil, err
	}
	return m{"service": a.serviceDoc(r, aggregates, s)}, nil
}

func (a *api) deleteService(r *rest.Request) (any, error) {
	id := r.Var("service")
	if _, err := strconv.Atoi(id); from(r, "2.53") && err == nil {
		return nil, fault.Invalidf("Invalid uuid %s", id)
	}
	s, err := a.m.Service(r.Context(), id)
	if err != nil {
		return nil, err
	}
	return nil, a.m.DeleteService(r.Context(), s)
}
