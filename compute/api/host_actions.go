package api

import (
	"fmt"
	"strings"
	"time"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/rest"
)

// hostActionRoutes are what administrators did to hosts before the services
// API, and the log of audits.
func (a *api) hostActionRoutes() []rest.Route {
	const h, log = "/v2.1/os-hosts/{host}", "/v2.1/os-instance_usage_audit_log"
	old := rest.Until("2.42")
	return []rest.Route{
		rest.PUT(h, a.updateHost, can("os-hosts:update"), old, a.s.body("host_update")),
		rest.GET(h+"/startup", a.hostPower, can("os-hosts:start"), old),
		rest.GET(h+"/shutdown", a.hostPower, can("os-hosts:shutdown"), old),
		rest.GET(h+"/reboot", a.hostPower, can("os-hosts:reboot"), old),
		rest.GET(log, a.listAudits, can("os-instance-usage-audit-log:list")),
		rest.GET(log+"/{before}", a.showAudits, can("os-instance-usage-audit-log:show")),
	}
}

// updateHost enables or disables the compute service of a host.
func (a *api) updateHost(r *rest.Request) (any, error) {
	var in struct {
		Status      string `json:"status"`
		Maintenance string `json:"maintenance_mode"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	s, err := a.m.ServiceOn(r.Context(), r.Var("host"), compute.BinaryCompute)
	if err != nil {
		return nil, err
	}
	if in.Maintenance != "" {
		return nil, fault.New(fault.NotImplemented, "Virt driver does not implement host maintenance mode.")
	}
	disabled := strings.EqualFold(strings.TrimSpace(in.Status), "disable")
	if _, err := a.m.UpdateService(r.Context(), s.UUID, &disabled, nil, nil); err != nil {
		return nil, err
	}
	return m{"host": s.Host, "status": word(disabled, "disabled", "enabled")}, nil
}

// hostPower: a hypervisor cannot switch off what it runs on.
func (a *api) hostPower(r *rest.Request) (any, error) {
	if _, err := a.m.ServiceOn(r.Context(), r.Var("host"), compute.BinaryCompute); err != nil {
		return nil, err
	}
	return nil, fault.New(fault.NotImplemented, "Virt driver does not implement host power management.")
}

func (a *api) listAudits(r *rest.Request) (any, error) {
	doc, err := a.audits(r, time.Now().UTC())
	return m{"instance_usage_audit_logs": doc}, err
}

func (a *api) showAudits(r *rest.Request) (any, error) {
	var before time.Time
	for _, f := range []string{"2006-01-02 15:04:05.999999", "2006-01-02 15:04:05"} {
		if t, err := time.Parse(f, r.Var("before")); err == nil {
			before = t
		}
	}
	if before.IsZero() {
		return nil, fault.Invalidf("Invalid timestamp for date %s", r.Var("before"))
	}
	doc, err := a.audits(r, before)
	return m{"instance_usage_audit_log": doc}, err
}

// audits tells of the last whole month before a moment. Usage is read from the
// servers themselves, so no host runs audits.
func (a *api) audits(r *rest.Request, before time.Time) (m, error) {
	list, err := a.m.Services(r.Context())
	if err != nil {
		return nil, err
	}
	hosts := []string{}
	for i := range list {
		if list[i].Binary == compute.BinaryCompute {
			hosts = append(hosts, list[i].Host)
		}
	}
	end := time.Date(before.Year(), before.Month(), 1, 0, 0, 0, 0, time.UTC)
	const form = "2006-01-02 15:04:05"
	return m{
		"period_beginning": end.AddDate(0, -1, 0).Format(form), "period_ending": end.Format(form), "num_hosts": len(hosts), "num_hosts_done": 0, "num_hosts_running": 0,
		"num_hosts_not_run": len(hosts), "hosts_not_run": hosts, "total_instances": 0, "total_errors": 0, "log": m{},
		"overall_status": fmt.Sprintf("0 of %d hosts done. 0 errors.", len(hosts)),
	}, nil
}
