package api

import (
	"net/http"
	"slices"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/manager"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/rest"
)

func (a *api) listMetadata(r *rest.Request) (any, error) {
	all, err := a.m.Metadata(r.Context(), serverOf(r))
	return m{"metadata": all}, err
}

func (a *api) mergeMetadata(r *rest.Request) (any, error) { return a.writeMetadata(r, false) }

func (a *api) replaceMetadata(r *rest.Request) (any, error) { return a.writeMetadata(r, true) }

func (a *api) writeMetadata(r *rest.Request, replace bool) (any, error) {
	var in struct {
		Metadata map[string]string `json:"metadata"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	all, err := a.m.SetMetadata(r.Context(), serverOf(r), in.Metadata, replace)
	return m{"metadata": all}, err
}

func (a *api) showMetadata(r *rest.Request) (any, error) {
	all, err := a.m.Metadata(r.Context(), serverOf(r))
	if err != nil {
		return nil, err
	}
	v, ok := all[r.Var("item")]
	if !ok {
		return nil, fault.New(fault.NotFound, "Metadata item was not found")
	}
	return m{"meta": m{r.Var("item"): v}}, nil
}

func (a *api) setMetadata(r *rest.Request) (any, error) {
	var in struct {
		Meta map[string]string `json:"meta"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if _, ok := in.Meta[r.Var("item")]; !ok {
		return nil, fault.Invalidf("Request body and URI mismatch")
	}
	_, err := a.m.SetMetadata(r.Context(), serverOf(r), in.Meta, false)
	return m{"meta": in.Meta}, err
}

func (a *api) deleteMetadata(r *rest.Request) (any, error) {
	return nil, a.m.DeleteMetadata(r.Context(), serverOf(r), r.Var("item"))
}

func (a *api) listTags(r *rest.Request) (any, error) {
	tags, err := a.m.Tags(r.Context(), serverOf(r))
	return m{"tags": tags}, err
}

func (a *api) replaceTags(r *rest.Request) (any, error) {
	var in struct {
		Tags []string `json:"tags"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if err := a.m.SetTags(r.Context(), serverOf(r), in.Tags); err != nil {
		return nil, err
	}
	return a.listTags(r)
}

func (a *api) deleteTags(r *rest.Request) (any, error) {
	return nil, a.m.SetTags(r.Context(), serverOf(r), nil)
}

func (a *api) showTag(r *rest.Request) (any, error) {
	tags, err := a.m.Tags(r.Context(), serverOf(r))
	if err == nil && !slices.Contains(tags, r.Var("tag")) {
		err = fault.New(fault.NotFound, "Server %s has no tag '%s'", serverOf(r).ID, r.Var("tag"))
	}
	return nil, err
}

func (a *api) addTag(r *rest.Request) (any, error) {
	tag := r.Var("tag")
	if len(tag) > 60 {
		return nil, fault.Invalidf("Tag '%s' is longer than 60 characters.", tag)
	}
	if slices.Contains([]byte(tag), ',') || slices.Contains([]byte(tag), '/') || tag == "" {
		return nil, fault.Invalidf("Tag '%s' is invalid: it must not be empty nor hold a comma or a slash.", tag)
	}
	added, err := a.m.AddTag(r.Context(), serverOf(r), tag)
	if err != nil {
		return nil, err
	}
	if !added {
		return &rest.Response{Status: http.StatusNoContent}, nil
	}
	return &rest.Response{Status: http.StatusCreated, Header: http.Header{"Location": {r.Link("/v2.1/servers/" + serverOf(r).ID + "/tags/" + tag)}}}, nil
}

func (a *api) deleteTag(r *rest.Request) (any, error) {
	return nil, a.m.DeleteTag(r.Context(), serverOf(r), r.Var("tag"))
}

func (a *api) ports(r *rest.Request) ([]compute.Port, error) {
	s := serverOf(r)
	d, err := a.m.Details(r.Context(), []compute.Server{*s})
	return d[s.ID].Ports, err
}

func (a *api) listAddresses(r *rest.Request) (any, error) {
	ports, err := a.ports(r)
	return m{"addresses": addresses(ports, false)}, err
}

func (a *api) showAddresses(r *rest.Request) (any, error) {
	ports, err := a.ports(r)
	if err != nil {
		return nil, err
	}
	list, ok := addresses(ports, false)[r.Var("network")]
	if !ok {
		return nil, fault.New(fault.NotFound, "Network not found")
	}
	return m{r.Var("network"): list}, nil
}

func (a *api) interfaceDoc(r *rest.Request, p *compute.Port) m {
	ips := []m{}
	for _, ad := range p.Info.Addresses {
		ips = append(ips, m{"subnet_id": ad.SubnetID, "ip_address": ad.IP})
	}
	doc := m{"net_id": p.NetworkID, "port_id": p.PortID, "mac_addr": p.Info.MAC, "port_state": p.Info.Status, "fixed_ips": ips}
	if from(r, "2.70") {
		doc["tag"] = orNull(p.Tag)
	}
	return doc
}

func (a *api) listInterfaces(r *rest.Request) (any, error) {
	ports, err := a.m.Interfaces(r.Context(), serverOf(r))
	if err != nil {
		return nil, err
	}
	out := []m{}
	for i := range ports {
		out = append(out, a.interfaceDoc(r, &ports[i]))
	}
	return m{"interfaceAttachments": out}, nil
}

func (a *api) showInterface(r *rest.Request) (any, error) {
	ports, err := a.m.Interfaces(r.Context(), serverOf(r))
	if err != nil {
		return nil, err
	}
	for i := range ports {
		if ports[i].PortID == r.Var("port") {
			return m{"interfaceAttachment": a.interfaceDoc(r, &ports[i])}, nil
		}
	}
	return nil, fault.New(fault.NotFound, "Instance %s does not have a port with id %s", serverOf(r).ID, r.Var("port"))
}

func (a *api) attachInterface(r *rest.Request) (any, error) {
	var in struct {
		Attach struct {
			Net string `json:"net_id"`
			// Port names an existing port; with it nothing else may be given.
			Port string `json:"port_id"`
			IPs  []struct {
				IP string `json:"ip_address"`
			} `json:"fixed_ips"`
			Tag string `json:"tag"`
		} `json:"interfaceAttachment"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	v := &in.Attach
	if v.Net != "" && v.Port != "" {
		return nil, fault.Invalidf("Must not input both network_id and port_id")
	}
	q := manager.NetworkRequest{NetworkID: v.Net, PortID: v.Port, Tag: v.Tag}
	if len(v.IPs) > 0 {
		if q.FixedIP = v.IPs[0].IP; v.Net == "" {
			return nil, fault.Invalidf("Must input network_id when request IP address")
		}
	}
	p, err := a.m.AttachInterface(r.Context(), serverOf(r), q)
	if err != nil {
		return nil, err
	}
	return m{"interfaceAttachment": a.interfaceDoc(r, p)}, nil
}

func (a *api) detachInterface(r *rest.Request) (any, error) {
	return nil, a.m.DetachInterface(r.Context(), serverOf(r), r.Var("port"))
}

func (a *api) diagnostics(r *rest.Request) (any, error) {
	d, err := a.m.Diagnostics(r.Context(), serverOf(r))
	if err != nil {
		return nil, err
	}
	if !from(r, "2.48") {
		return oldDiagnostics(d), nil
	}
	cpus, nics, disks := []m{}, []m{}, []m{}
	for _, c := range d.CPUs {
		cpus = append(cpus, m{"id": c.ID, "time": c.Time, "utilisation": nil})
	}
	for _, n := range d.NICs {
		nics = append(nics, m{
			"mac_address": n.MAC, "rx_octets": n.RxOctets, "rx_errors": n.RxErrors, "rx_drop": n.RxDrop, "rx_packets": n.RxPackets, "rx_rate": nil,
			"tx_octets": n.TxOctets, "tx_errors": n.TxErrors, "tx_drop": n.TxDrop, "tx_packets": n.TxPackets, "tx_rate": nil,
		})
	}
	for _, k := range d.Disks {
		disks = append(disks, m{"read_bytes": k.ReadBytes, "read_requests": k.ReadRequests, "write_bytes": k.WriteBytes, "write_requests": k.WriteRequests, "errors_count": k.Errors})
	}
	return m{
		"state": d.State, "driver": driverName(d.Driver), "hypervisor": d.Hypervisor, "hypervisor_os": d.HypervisorOS, "uptime": d.Uptime, "config_drive": d.ConfigDrive,
		"num_cpus": len(cpus), "num_nics": len(nics), "num_disks": len(disks), "memory_details": m{"maximum": d.MemoryMax, "used": d.MemoryUsed},
		"cpu_details": cpus, "nic_details": nics, "disk_details": disks,
	}, nil
}

// driverName is one of the names that the API's schema knows.
func driverName(d string) string {
	if d == "vmware" {
		return "vmwareapi"
	}
	return "libvirt" // what clients expect of QEMU
}

// oldDiagnostics is the document before 2.48, whose keys depend on the
// hypervisor.
func oldDiagnostics(d *compute.Diagnostics) m {
	out := m{"memory": d.MemoryMax * 1024, "memory-actual": d.MemoryMax * 1024, "memory-rss": d.MemoryUsed * 1024}
	for _, c := range d.CPUs {
		out["cpu"+itoa(c.ID)+"_time"] = c.Time
	}
	for _, k := range d.Disks {
		out[k.Device+"_read"], out[k.Device+"_read_req"] = k.ReadBytes, k.ReadRequests
		out[k.Device+"_write"], out[k.Device+"_write_req"], out[k.Device+"_errors"] = k.WriteBytes, k.WriteRequests, k.Errors
	}
	for i, n := range d.NICs {
		p := "vnet" + itoa(i)
		out[p+"_rx"], out[p+"_rx_packets"], out[p+"_rx_drop"], out[p+"_rx_errors"] = n.RxOctets, n.RxPackets, n.RxDrop, n.RxErrors
		out[p+"_tx"], out[p+"_tx_packets"], out[p+"_tx_drop"], out[p+"_tx_errors"] = n.TxOctets, n.TxPackets, n.TxDrop, n.TxErrors
	}
	return out
}

func (a *api) serverSecurityGroups(r *rest.Request) (any, error) {
	groups, err := a.m.SecurityGroupsOf(r.Context(), serverOf(r))
	if err != nil {
		return nil, err
	}
	names, err := a.m.SecurityGroups(r.Context(), r.Caller().IsAdmin())
	if err != nil {
		return nil, err
	}
	return m{"security_groups": groupsDoc(groups, names)}, nil
}

// topology: guests have one node of memory, bound to none of the host's.
func (a *api) topology(r *rest.Request) (any, error) {
	return m{"nodes": []any{}, "pagesize_kb": nil}, nil
}

// serverPassword: the password that a guest encrypted for its owner; guests
// have no way to post one here.
func (a *api) serverPassword(*rest.Request) (any, error) { return m{"password": ""}, nil }

func (a *api) clearPassword(*rest.Request) (any, error) { return accepted() }

// listVolumes: servers have none without a volume service.
func (a *api) listVolumes(*rest.Request) (any, error) { return m{"volumeAttachments": []any{}}, nil }

func (a *api) externalEvents(r *rest.Request) (any, error) {
	var in struct {
		Events []struct {
			Server string `json:"server_uuid"`
			Name   string `json:"name"`
			Status string `json:"status"`
			Tag    string `json:"tag"`
		} `json:"events"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	var list []manager.ExternalEvent
	for _, e := range in.Events {
		if e.Status == "" {
			e.Status = "completed"
		}
		list = append(list, manager.ExternalEvent{Name: e.Name, ServerID: e.Server, Status: e.Status, Tag: e.Tag})
	}
	if err := a.m.ExternalEvents(r.Context(), list); err != nil {
		return nil, err
	}
	out, good, missing := []m{}, 0, 0
	for _, e := range list {
		d := m{"server_uuid": e.ServerID, "name": e.Name, "status": e.Status, "code": e.Code}
		if e.Tag != "" {
			d["tag"] = e.Tag
		}
		out = append(out, d)
		switch e.Code {
		case http.StatusOK:
			good++
		case http.StatusNotFound:
			missing++
		}
	}
	code := http.StatusOK
	if good == 0 && missing == len(list) {
		return nil, fault.New(fault.NotFound, "No instances found for any event")
	}
	if good < len(list) {
		code = http.StatusMultiStatus
	}
	return &rest.Response{Status: code, Body: m{"events": out}}, nil
}
