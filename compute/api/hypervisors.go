package api

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/tropocloud/tropo/compute/manager"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/rest"
)

func (a *api) hypervisorID(r *rest.Request, h *manager.Hypervisor) any {
	if from(r, "2.53") {
		return h.UUID
	}
	return h.ID
}

func (a *api) hypervisorDoc(r *rest.Request, h *manager.Hypervisor, detail bool) (m, error) {
	doc := m{"id": a.hypervisorID(r, h), "hypervisor_hostname": h.Name, "state": word(a.m.Up(&h.Service), "up", "down"), "status": word(!h.Service.Disabled, "enabled", "disabled")}
	if !detail {
		return doc, nil
	}
	i, u := &h.Inventory, &h.Usage
	var service any = h.Service.ID
	if from(r, "2.53") {
		service = h.Service.UUID
	}
	doc["service"] = m{"id": service, "host": h.Host, "disabled_reason": h.Service.DisabledReason}
	doc["host_ip"], doc["hypervisor_type"], doc["hypervisor_version"] = orNull(i.IP), i.Type, i.Version
	if from(r, "2.88") {
		doc["uptime"] = orNull(i.Uptime)
		return doc, nil
	}
	used := u.MemoryMB + i.ReservedMB
	doc["vcpus"], doc["vcpus_used"], doc["memory_mb"], doc["memory_mb_used"], doc["free_ram_mb"] = i.VCPUs, u.VCPUs, i.MemoryMB, used, i.MemoryMB-used
	doc["local_gb"], doc["local_gb_used"], doc["free_disk_gb"], doc["disk_available_least"] = i.DiskGB, u.DiskGB, i.DiskGB-u.DiskGB, i.FreeDiskGB
	doc["running_vms"], doc["current_workload"] = u.Servers, h.Workload
	cpu := m{"arch": i.CPU.Arch, "model": i.CPU.Model, "vendor": i.CPU.Vendor, "features": orNone(i.CPU.Features), "topology": m{"cells": 1, "sockets": i.CPU.Sockets, "cores": i.CPU.Cores, "threads": i.CPU.Threads}}
	doc["cpu_info"] = cpu
	if !from(r, "2.28") {
		text, err := json.Marshal(cpu)
		if err != nil {
			return nil, err
		}
		doc["cpu_info"] = string(text)
	}
	return doc, nil
}

func (a *api) listHypervisors(detail bool) rest.Handler {
	return func(r *rest.Request) (any, error) {
		list, err := a.m.Hypervisors(r.Context())
		if err != nil {
			return nil, err
		}
		if p := r.Query().Get("hypervisor_hostname_pattern"); p != "" && from(r, "2.53") {
			if list = matching(list, p); len(list) == 0 {
				return nil, fault.New(fault.NotFound, "No hypervisor matching '%s' could be found.", p)
			}
		}
		list, next, err := a.pageHypervisors(r, list)
		if err != nil {
			return nil, err
		}
		out := []m{}
		for i := range list {
			doc, err := a.hypervisorDoc(r, &list[i], detail)
			if err != nil {
				return nil, err
			}
			if err := a.withServers(r, &list[i], doc); err != nil {
				return nil, err
			}
			out = append(out, doc)
		}
		doc := m{"hypervisors": out}
		if next != "" {
			doc["hypervisors_links"] = []m{{"rel": "next", "href": r.NextLink(next)}}
		}
		return doc, nil
	}
}

func matching(list []manager.Hypervisor, part string) []manager.Hypervisor {
	var out []manager.Hypervisor
	for _, h := range list {
		if strings.Contains(h.Name, part) {
			out = append(out, h)
		}
	}
	return out
}

// pageHypervisors cuts a page out since 2.33.
func (a *api) pageHypervisors(r *rest.Request, list []manager.Hypervisor) (page []manager.Hypervisor, next string, err error) {
	if !from(r, "2.33") {
		return list, "", nil
	}
	p, err := r.Page(rest.PageOptions{Max: a.m.Config().MaxLimit})
	if err != nil {
		return nil, "", err
	}
	id := func(h *manager.Hypervisor) string {
		if from(r, "2.53") {
			return h.UUID
		}
		return strconv.FormatInt(h.ID, 10)
	}
	if p.Marker != "" {
		at := -1
		for i := range list {
			if id(&list[i]) == p.Marker {
				at = i
			}
		}
		if at < 0 {
			return nil, "", fault.Invalidf("marker [%s] not found", p.Marker)
		}
		list = list[at+1:]
	}
	if p.Limit > 0 && len(list) >= p.Limit {
		list = list[:p.Limit]
		next = id(&list[len(list)-1])
	}
	return list, next, nil
}

// withServers adds the servers of a hypervisor where they are asked for.
func (a *api) withServers(r *rest.Request, h *manager.Hypervisor, doc m) error {
	v := r.Query().Get("with_servers")
	if v == "" || !from(r, "2.53") {
		return nil
	}
	yes, err := rest.ParseBool(v)
	if err != nil {
		return fault.Invalidf("Invalid input for query parameters with_servers: %s", v)
	}
	if !yes {
		return nil
	}
	servers, err := a.serversOn(r, h.Host)
	if err == nil && len(servers) > 0 || from(r, "2.75") {
		doc["servers"] = servers
	}
	return err
}

func (a *api) serversOn(r *rest.Request, host string) ([]m, error) {
	list, err := a.m.Servers(r.Context(), manager.ServerFilter{Host: host})
	out := []m{}
	for i := range list {
		name := list[i].InstanceName()
		out = append(out, m{"name": name, "uuid": list[i].ID})
	}
	return out, err
}

func (a *api) hypervisor(r *rest.Request) (*manager.Hypervisor, error) {
	list, err := a.m.Hypervisors(r.Context())
	if err != nil {
		return nil, err
	}
	id := r.Var("hypervisor")
	for i := range list {
		if h := &list[i]; from(r, "2.53") && h.UUID == id || !from(r, "2.53") && strconv.FormatInt(h.ID, 10) == id {
			return h, nil
		}
	}
	return nil, fault.New(fault.NotFound, "Hypervisor with ID '%s' could not be found.", id)
}

func (a *api) showHypervisor(r *rest.Request) (any, error) {
	h, err := a.hypervisor(r)
	if err != nil {
		return nil, err
	}
	doc, err := a.hypervisorDoc(r, h, true)
	if err != nil {
		return nil, err
	}
	return m{"hypervisor": doc}, a.withServers(r, h, doc)
}

func (a *api) hypervisorUptime(r *rest.Request) (any, error) {
	h, err := a.hypervisor(r)
	if err != nil {
		return nil, err
	}
	doc, err := a.hypervisorDoc(r, h, false)
	if err != nil {
		return nil, err
	}
	doc["uptime"] = h.Inventory.Uptime
	return m{"hypervisor": doc}, nil
}

func (a *api) searchHypervisors(r *rest.Request) (any, error) {
	list, err := a.m.Hypervisors(r.Context())
	if err != nil {
		return nil, err
	}
	if list = matching(list, r.Var("hypervisor")); len(list) == 0 {
		return nil, fault.New(fault.NotFound, "No hypervisor matching '%s' could be found.", r.Var("hypervisor"))
	}
	out := []m{}
	for i := range list {
		doc, err := a.hypervisorDoc(r, &list[i], false)
		if err != nil {
			return nil, err
		}
		out = append(out, doc)
	}
	return m{"hypervisors": out}, nil
}

func (a *api) hypervisorServers(r *rest.Request) (any, error) {
	list, err := a.m.Hypervisors(r.Context())
	if err != nil {
		return nil, err
	}
	if list = matching(list, r.Var("hypervisor")); len(list) == 0 {
		return nil, fault.New(fault.NotFound, "No hypervisor matching '%s' could be found.", r.Var("hypervisor"))
	}
	out := []m{}
	for i := range list {
		doc, err := a.hypervisorDoc(r, &list[i], false)
		if err != nil {
			return nil, err
		}
		servers, err := a.serversOn(r, list[i].Host)
		if err != nil {
			return nil, err
		}
		if len(servers) > 0 {
			doc["servers"] = servers
		}
		out = append(out, doc)
	}
	return m{"hypervisors": out}, nil
}

func (a *api) hypervisorStatistics(r *rest.Request) (any, error) {
	list, err := a.m.Hypervisors(r.Context())
	if err != nil {
		return nil, err
	}
	sum := map[string]int{}
	for i := range list {
		h := &list[i]
		n, u := &h.Inventory, &h.Usage
		for k, v := range map[string]int{
			"count": 1, "vcpus": n.VCPUs, "vcpus_used": u.VCPUs, "memory_mb": n.MemoryMB, "memory_mb_used": u.MemoryMB + n.ReservedMB,
			"free_ram_mb": n.MemoryMB - u.MemoryMB - n.ReservedMB, "local_gb": n.DiskGB, "local_gb_used": u.DiskGB, "free_disk_gb": n.DiskGB - u.DiskGB,
			"disk_available_least": n.FreeDiskGB, "running_vms": u.Servers, "current_workload": h.Workload,
		} {
			sum[k] += v
		}
	}
	if len(list) == 0 {
		for _, k := range []string{"count", "vcpus", "vcpus_used", "memory_mb", "memory_mb_used", "free_ram_mb", "local_gb", "local_gb_used", "free_disk_gb", "disk_available_least", "running_vms", "current_workload"} {
			sum[k] = 0
		}
	}
	return m{"hypervisor_statistics": sum}, nil
}
