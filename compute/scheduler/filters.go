package scheduler

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tropocloud/tropo/compute"
)

// allFilters are the filters that enabled_filters may name.
var allFilters = []Filter{
	computeFilter{},
	zoneFilter{},
	imageFilter{},
	capabilitiesFilter{},
	extraSpecsFilter{},
	tenancyFilter{},
	antiAffinityFilter{},
	affinityFilter{},
	sameHostFilter{},
	differentHostFilter{},
	jsonFilter{},
	coreFilter{},
	ramFilter{},
	diskFilter{},
}

// basic is what the drivers without filters of their own ask as well: a host
// that is down, in the wrong zone or not the forced one is never right.
var basic = []Filter{computeFilter{}, zoneFilter{}}

type computeFilter struct{}

func (computeFilter) Name() string { return "ComputeFilter" }

func (computeFilter) Pass(h *Host, r *Request) (bool, string) {
	switch spec := r.Server.Spec; {
	case !h.Up:
		return false, "the host gave no sign of life"
	case spec.ForceHost != "":
		// An administrator who names the host may use a disabled one.
		return match("host", spec.ForceHost, h.Name, spec.ForceNode, h.Node)
	case h.Disabled:
		return false, "the host is disabled: " + h.Reason
	default:
		return match("host", spec.WantHost, h.Name, spec.WantNode, h.Node)
	}
}

func match(what, host, isHost, node, isNode string) (bool, string) {
	if host != "" && host != isHost {
		return false, fmt.Sprintf("the %s %s was asked for", what, host)
	}
	if node != "" && node != isNode {
		return false, fmt.Sprintf("the hypervisor %s was asked for", node)
	}
	return true, ""
}

type zoneFilter struct{}

func (zoneFilter) Name() string { return "AvailabilityZoneFilter" }

func (zoneFilter) Pass(h *Host, r *Request) (bool, string) {
	if r.Zone == "" || r.Zone == h.Zone {
		return true, ""
	}
	return false, fmt.Sprintf("the host is in zone %s, not %s", h.Zone, r.Zone)
}

type imageFilter struct{}

func (imageFilter) Name() string { return "ImagePropertiesFilter" }

func (imageFilter) Pass(h *Host, r *Request) (bool, string) {
	if a := r.ImageProps["hw_architecture"]; a != "" && !sameArch(a, h.Inventory.CPU.Arch) {
		return false, fmt.Sprintf("the image needs the architecture %s, the host has %s", a, h.Inventory.CPU.Arch)
	}
	if a := r.ImageProps["architecture"]; a != "" && !sameArch(a, h.Inventory.CPU.Arch) {
		return false, fmt.Sprintf("the image needs the architecture %s, the host has %s", a, h.Inventory.CPU.Arch)
	}
	if t := r.ImageProps["img_hv_type"]; t != "" && !sameHypervisor(t, h.Inventory.Type) {
		return false, fmt.Sprintf("the image needs the hypervisor %s, the host has %s", t, h.Inventory.Type)
	}
	return true, ""
}

func sameArch(a, b string) bool {
	word := func(s string) string {
		switch s = strings.ToLower(s); s {
		case "amd64", "x64":
			return "x86_64"
		case "arm64":
			return "aarch64"
		}
		return s
	}
	return word(a) == word(b)
}

func sameHypervisor(a, b string) bool {
	word := func(s string) string {
		if s = strings.ToLower(s); s == "kvm" {
			return "qemu"
		}
		return s
	}
	return word(a) == word(b)
}

type capabilitiesFilter struct{}

func (capabilitiesFilter) Name() string { return "ComputeCapabilitiesFilter" }

func (capabilitiesFilter) Pass(h *Host, r *Request) (bool, string) {
	for k, want := range r.Flavor.ExtraSpecs {
		key, scoped := strings.CutPrefix(k, "capabilities:")
		if !scoped {
			continue
		}
		var have string
		switch key {
		case "hypervisor_type":
			have = h.Inventory.Type
		case "hypervisor_version":
			have = strconv.Itoa(h.Inventory.Version)
		case "cpu_info:arch":
			have = h.Inventory.CPU.Arch
		case "cpu_info:vendor":
			have = h.Inventory.CPU.Vendor
		case "cpu_info:model":
			have = h.Inventory.CPU.Model
		case "cpu_info:features":
			have = strings.Join(h.Inventory.CPU.Features, " ")
		default:
			return false, fmt.Sprintf("the host does not have the capability %s", key)
		}
		if !satisfies(have, want) {
			return false, fmt.Sprintf("%s is %q and not %q", key, have, want)
		}
	}
	return true, ""
}

// satisfies compares as flavors' extra specs do: "== 1", "s== x", ">= 2",
// "<in> part", "<or> a <or> b", or the value itself.
func satisfies(have, want string) bool {
	op, rest, _ := strings.Cut(want, " ")
	rest = strings.TrimSpace(rest)
	switch op {
	case "<in>":
		return strings.Contains(have, rest)
	case "<or>":
		for part := range strings.SplitSeq(want, "<or>") {
			if p := strings.TrimSpace(part); p != "" && p == have {
				return true
			}
		}
		return false
	case "s==":
		return have == rest
	case "s!=":
		return have != rest
	case "=", "==", "!=", ">=", "<=":
		a, err1 := strconv.ParseFloat(have, 64)
		b, err2 := strconv.ParseFloat(rest, 64)
		if err1 != nil || err2 != nil {
			return false
		}
		return op == "=" && a >= b || op == "==" && a == b || op == "!=" && a != b || op == ">=" && a >= b || op == "<=" && a <= b
	}
	return have == want
}

type extraSpecsFilter struct{}

func (extraSpecsFilter) Name() string { return "AggregateInstanceExtraSpecsFilter" }

func (extraSpecsFilter) Pass(h *Host, r *Request) (bool, string) {
	for k, want := range r.Flavor.ExtraSpecs {
		key, scoped := strings.CutPrefix(k, "aggregate_instance_extra_specs:")
		if !scoped {
			continue
		}
		ok := false
		for _, a := range h.Aggregates {
			if v, has := a.Metadata[key]; has && satisfies(v, want) {
				ok = true
			}
		}
		if !ok {
			return false, fmt.Sprintf("no aggregate of the host has %s=%s", key, want)
		}
	}
	return true, ""
}

type tenancyFilter struct{}

func (tenancyFilter) Name() string { return "AggregateMultiTenancyIsolation" }

// Pass keeps hosts of aggregates with filter_tenant_id for those projects.
func (tenancyFilter) Pass(h *Host, r *Request) (bool, string) {
	limited := false
	for _, a := range h.Aggregates {
		for k, v := range a.Metadata {
			if k != "filter_tenant_id" && !strings.HasPrefix(k, "filter_tenant_id_") {
				continue
			}
			limited = true
			for id := range strings.SplitSeq(v, ",") {
				if strings.TrimSpace(id) == r.ProjectID {
					return true, ""
				}
			}
		}
	}
	if limited {
		return false, "the host is kept for other projects"
	}
	return true, ""
}

type coreFilter struct{}

func (coreFilter) Name() string { return "CoreFilter" }

func (coreFilter) Pass(h *Host, r *Request) (bool, string) {
	if r.Flavor.VCPUs > h.Inventory.VCPUs && h.Inventory.CPURatio <= 1 {
		return false, fmt.Sprintf("%d processors wanted, the host has %d", r.Flavor.VCPUs, h.Inventory.VCPUs)
	}
	if free := h.FreeVCPUs(); r.Flavor.VCPUs > free {
		return false, fmt.Sprintf("%d processors wanted, %d free", r.Flavor.VCPUs, free)
	}
	return true, ""
}

type ramFilter struct{}

func (ramFilter) Name() string { return "RamFilter" }

func (ramFilter) Pass(h *Host, r *Request) (bool, string) {
	if free := h.FreeMB(); r.Flavor.MemoryMB > free {
		return false, fmt.Sprintf("%d MiB wanted, %d free", r.Flavor.MemoryMB, free)
	}
	return true, ""
}

type diskFilter struct{}

func (diskFilter) Name() string { return "DiskFilter" }

func (diskFilter) Pass(h *Host, r *Request) (bool, string) {
	if free := h.FreeGB(); r.Flavor.DiskGB() > free {
		return false, fmt.Sprintf("%d GiB wanted, %d free", r.Flavor.DiskGB(), free)
	}
	return true, ""
}

// hintValues are the values of a hint, which may be one text of several ids.
func hintValues(r *Request, name string) []string {
	var out []string
	for _, v := range r.Hints[name] {
		for part := range strings.SplitSeq(v, ",") {
			if p := strings.TrimSpace(part); p != "" {
				out = append(out, p)
			}
		}
	}
	return out
}

func policyIs(r *Request, policy string) bool {
	return r.Group != nil && r.Group.Policy == policy
}

type sameHostFilter struct{}

func (sameHostFilter) Name() string { return "SameHostFilter" }

func (sameHostFilter) Pass(h *Host, r *Request) (bool, string) {
	ids := hintValues(r, "same_host")
	for _, id := range ids {
		if h.ServerIDs[id] {
			return true, ""
		}
	}
	if len(ids) > 0 {
		return false, "none of the servers of the hint same_host is here"
	}
	return true, ""
}

type differentHostFilter struct{}

func (differentHostFilter) Name() string { return "DifferentHostFilter" }

func (differentHostFilter) Pass(h *Host, r *Request) (bool, string) {
	for _, id := range hintValues(r, "different_host") {
		if h.ServerIDs[id] {
			return false, "a server of the hint different_host is here"
		}
	}
	return true, ""
}

type affinityFilter struct{}

func (affinityFilter) Name() string { return "ServerGroupAffinityFilter" }

func (affinityFilter) Pass(h *Host, r *Request) (bool, string) {
	if !policyIs(r, compute.Affinity) || h.GroupMembers > 0 {
		return true, ""
	}
	if r.Server.Spec.ForceHost != "" {
		return true, ""
	}
	if groupPlaced(r) {
		return false, "the server group's other members are elsewhere"
	}
	return true, ""
}

type antiAffinityFilter struct{}

func (antiAffinityFilter) Name() string { return "ServerGroupAntiAffinityFilter" }

func (antiAffinityFilter) Pass(h *Host, r *Request) (bool, string) {
	if !policyIs(r, compute.AntiAffinity) {
		return true, ""
	}
	if limit := max(1, r.Group.MaxPerHost); h.GroupMembers >= limit {
		return false, fmt.Sprintf("the host has %d members of the server group already", h.GroupMembers)
	}
	return true, ""
}

// groupPlaced reports whether any member of the group has a host: the manager
// leaves only those in Members.
func groupPlaced(r *Request) bool { return r.Group != nil && len(r.Group.Members) > 0 }
