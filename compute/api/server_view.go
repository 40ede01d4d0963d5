package api

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/manager"
	"github.com/tropocloud/tropo/rest"
)

// basicServer is the part of a server's view that all answers have.
func (a *api) basicServer(r *rest.Request, s *compute.Server, d manager.Details) m {
	doc := m{
		"id": s.ID, "name": s.Name, "status": s.Status(), "tenant_id": s.ProjectID, "user_id": s.UserID, "metadata": orEmpty(d.Metadata),
		"hostId": hostID(s.ProjectID, s.Host), "image": a.imageOf(r, s), "flavor": a.flavorOf(r, s), "created": moment(s.CreatedAt), "updated": moment(s.UpdatedAt),
		"addresses": addresses(d.Ports, false), "accessIPv4": s.AccessIPv4, "accessIPv6": canonical(s.AccessIPv6), "links": a.serverLinks(r, s.ID),
		"OS-DCF:diskConfig": s.DiskConfig,
	}
	switch s.Status() {
	case "ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE", "MIGRATING":
		doc["progress"] = s.Progress
	}
	if s.Fault != nil && (s.VMState == compute.StateError || s.VMState == compute.StateDeleted) {
		doc["fault"] = a.fault(r, s.Fault)
	}
	if from(r, "2.9") {
		doc["locked"] = s.Locked()
	}
	if from(r, "2.19") {
		doc["description"] = s.Description
	}
	if from(r, "2.26") {
		doc["tags"] = orNone(d.Tags)
	}
	if from(r, "2.63") {
		doc["trusted_image_certificates"] = nil
		if len(s.Spec.TrustedCerts) > 0 {
			doc["trusted_image_certificates"] = s.Spec.TrustedCerts
		}
	}
	if from(r, "2.73") {
		doc["locked_reason"] = orNull(s.LockedReason)
	}
	return doc
}

// canonical is an address as RFC 5952 writes it; clients send any form.
func canonical(address string) string {
	if ip, err := netip.ParseAddr(address); err == nil {
		return ip.String()
	}
	return address
}

// viewServer is the view of show and, with one unset, of detailed lists.
func (a *api) viewServer(r *rest.Request, s *compute.Server, d manager.Details, one bool) m {
	doc := a.basicServer(r, s, d)
	doc["addresses"] = addresses(d.Ports, true)
	doc["key_name"] = orNull(s.KeyName)
	doc["config_drive"] = ""
	if s.ConfigDrive {
		doc["config_drive"] = "True"
	}
	doc["OS-EXT-AZ:availability_zone"] = d.Zone
	doc["OS-EXT-STS:vm_state"], doc["OS-EXT-STS:task_state"], doc["OS-EXT-STS:power_state"] = s.VMState, orNull(string(s.TaskState)), s.PowerState
	doc["OS-SRV-USG:launched_at"], doc["OS-SRV-USG:terminated_at"] = micros(s.LaunchedAt), micros(s.TerminatedAt)
	doc["os-extended-volumes:volumes_attached"] = []any{}
	if g := groupNames(s, inGroup(d.Ports)); len(g) > 0 {
		doc["security_groups"] = g
	}
	a.extended(r, s, doc)
	if from(r, "2.16") && r.Check(rule("servers:show:host_status"), serverTarget(s)) == nil {
		doc["host_status"] = d.HostStatus
	}
	if from(r, "2.71") && one {
		doc["server_groups"] = groupIDs(s)
	}
	if from(r, "2.96") {
		doc["pinned_availability_zone"] = orNull(s.PinnedAZ)
	}
	return doc
}

// extended adds what administrators see.
func (a *api) extended(r *rest.Request, s *compute.Server, doc m) {
	const p = "OS-EXT-SRV-ATTR:"
	if from(r, "2.90") {
		doc[p+"hostname"] = s.Hostname
	}
	if r.Check(rule("os-extended-server-attributes"), serverTarget(s)) != nil {
		return
	}
	doc[p+"host"], doc[p+"hypervisor_hostname"], doc[p+"instance_name"] = orNull(s.Host), orNull(s.Node), s.InstanceName()
	if !from(r, "2.3") {
		return
	}
	doc[p+"reservation_id"], doc[p+"launch_index"], doc[p+"hostname"] = s.ReservationID, s.LaunchIndex, s.Hostname
	doc[p+"kernel_id"], doc[p+"ramdisk_id"], doc[p+"root_device_name"] = s.Spec.KernelID, s.Spec.RamdiskID, s.RootDevice
	doc[p+"user_data"] = orNull(s.UserData)
}

// fault shows details to administrators alone, unless the fault is the
// owner's own (threat 24).
func (a *api) fault(r *rest.Request, f *compute.Fault) m {
	doc := m{"code": f.Code, "message": f.Message, "created": moment(f.Created)}
	if f.Details != "" && r.Caller().IsAdmin() {
		doc["details"] = f.Details
	}
	return doc
}

func (a *api) imageOf(r *rest.Request, s *compute.Server) any {
	if s.ImageID == "" {
		return ""
	}
	doc := m{"id": s.ImageID, "links": []m{{"rel": "bookmark", "href": r.Link("/images/" + s.ImageID)}}}
	return doc
}

// flavorOf is a link to the flavor, or since 2.47 what the flavor was when the
// server was made.
func (a *api) flavorOf(r *rest.Request, s *compute.Server) m {
	if !from(r, "2.47") {
		return m{"id": s.FlavorID, "links": []m{{"rel": "bookmark", "href": r.Link("/flavors/" + s.FlavorID)}}}
	}
	f := s.Spec.Flavor
	return m{"vcpus": f.VCPUs, "ram": f.MemoryMB, "disk": f.RootGB, "ephemeral": f.EphemeralGB, "swap": f.SwapMB, "original_name": f.Name, "extra_specs": orEmpty(f.ExtraSpecs)}
}

// hostID is the same for servers of a project on the same host, and tells
// nothing else about it.
func hostID(project, host string) string {
	if host == "" {
		return ""
	}
	h := sha256.Sum224([]byte(project + host))
	return hex.EncodeToString(h[:])
}

// addresses are a server's addresses by network; long adds what detailed views
// have.
func addresses(ports []compute.Port, long bool) m {
	out := m{}
	for _, p := range ports {
		if p.Info.Network == "" {
			continue
		}
		list, _ := out[p.Info.Network].([]m)
		for _, ad := range p.Info.Addresses {
			list = append(list, address(ad.IP, "fixed", p.Info.MAC, long))
			for _, f := range ad.Floating {
				list = append(list, address(f, "floating", p.Info.MAC, long))
			}
		}
		if list == nil {
			list = []m{}
		}
		out[p.Info.Network] = list
	}
	return out
}

func address(ip, kind, mac string, long bool) m {
	v := 4
	if strings.Contains(ip, ":") {
		v = 6
	}
	doc := m{"addr": ip, "version": v}
	if long {
		doc["OS-EXT-IPS:type"], doc["OS-EXT-IPS-MAC:mac_addr"] = kind, mac
	}
	return doc
}

// inGroup reports whether any port is in a security group; one that was never
// described is in the default group.
func inGroup(ports []compute.Port) bool {
	return slices.ContainsFunc(ports, func(p compute.Port) bool { return len(p.Info.Groups) > 0 || p.Info.MAC == "" })
}

func groupNames(s *compute.Server, def bool) []m {
	out := []m{}
	for _, g := range s.Spec.SecurityGroups {
		out = append(out, m{"name": g.Name})
	}
	if len(out) == 0 && def {
		out = append(out, m{"name": "default"})
	}
	return out
}

func groupIDs(s *compute.Server) []string {
	if s.GroupID == "" {
		return []string{}
	}
	return []string{s.GroupID}
}

func orEmpty(x map[string]string) map[string]string {
	if x == nil {
		return map[string]string{}
	}
	return x
}

func orNone(x []string) []string {
	if x == nil {
		return []string{}
	}
	return x
}
