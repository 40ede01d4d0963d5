package scheduler

import (
	"strings"
	"testing"

	"github.com/tropocloud/tropo/compute"
)

func options(driver string) *compute.Config {
	c := &compute.Config{}
	c.Scheduler.Driver = driver
	for _, f := range allFilters {
		c.Scheduler.Filters = append(c.Scheduler.Filters, f.Name())
	}
	c.Scheduler.RAMWeight, c.Scheduler.CPUWeight, c.Scheduler.AffinityWeight, c.Scheduler.AntiWeight = 1, 1, 10, 10
	return c
}

func hosts() []Host {
	h := func(name, zone string, used int) Host {
		return Host{
			Name: name, Node: name, Zone: zone, Up: true, NumServers: used, UsedMB: 1024 * used, UsedVCPUs: used, ServerIDs: map[string]bool{},
			Inventory: compute.Inventory{Type: "QEMU", VCPUs: 8, MemoryMB: 8192, DiskGB: 100, CPURatio: 1, RAMRatio: 1, DiskRatio: 1, CPU: compute.CPU{Arch: "x86_64", Features: []string{"avx"}}},
		}
	}
	return []Host{h("a", "east", 3), h("b", "east", 1), h("c", "west", 2)}
}

func request() *Request {
	return &Request{Server: &compute.Server{}, Flavor: compute.Flavor{VCPUs: 1, MemoryMB: 512, RootGB: 1, ExtraSpecs: map[string]string{}}, ImageProps: map[string]string{}, Hints: map[string][]string{}, ProjectID: "p"}
}

func order(list []Host) string {
	var out []string
	for _, h := range list {
		out = append(out, h.Name)
	}
	return strings.Join(out, " ")
}

func TestFilters(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(h []Host, r *Request)
		want   string
		filter string // that refused the first host refused
	}{
		"all, the emptiest first": {func([]Host, *Request) {}, "b c a", ""},
		"down":                    {func(h []Host, _ *Request) { h[1].Up = false }, "c a", "ComputeFilter"},
		"disabled":                {func(h []Host, _ *Request) { h[1].Disabled = true }, "c a", "ComputeFilter"},
		"forced, though disabled": {func(h []Host, r *Request) { h[0].Disabled, r.Server.Spec.ForceHost = true, "a" }, "a", "ComputeFilter"},
		"asked for":               {func(_ []Host, r *Request) { r.Server.Spec.WantNode = "c" }, "c", "ComputeFilter"},
		"zone":                    {func(_ []Host, r *Request) { r.Zone = "east" }, "b a", "AvailabilityZoneFilter"},
		"architecture":            {func(_ []Host, r *Request) { r.ImageProps["hw_architecture"] = "aarch64" }, "", "ImagePropertiesFilter"},
		"another word for it":     {func(_ []Host, r *Request) { r.ImageProps["hw_architecture"] = "amd64" }, "b c a", ""},
		"hypervisor":              {func(_ []Host, r *Request) { r.ImageProps["img_hv_type"] = "xen" }, "", "ImagePropertiesFilter"},
		"capability":              {func(_ []Host, r *Request) { r.Flavor.ExtraSpecs["capabilities:cpu_info:features"] = "<in> avx" }, "b c a", ""},
		"no such capability":      {func(_ []Host, r *Request) { r.Flavor.ExtraSpecs["capabilities:magic"] = "1" }, "", "ComputeCapabilitiesFilter"},
		"aggregate": {func(h []Host, r *Request) {
			h[2].Aggregates = []compute.Aggregate{{Metadata: map[string]string{"ssd": "true"}}}
			r.Flavor.ExtraSpecs["aggregate_instance_extra_specs:ssd"] = "true"
		}, "c", "AggregateInstanceExtraSpecsFilter"},
		"kept for others": {func(h []Host, _ *Request) {
			h[1].Aggregates = []compute.Aggregate{{Metadata: map[string]string{"filter_tenant_id": "q, r"}}}
		}, "c a", "AggregateMultiTenancyIsolation"},
		"kept for us": {func(h []Host, _ *Request) {
			h[1].Aggregates = []compute.Aggregate{{Metadata: map[string]string{"filter_tenant_id": "q, p"}}}
		}, "b c a", ""},
		"memory":            {func(_ []Host, r *Request) { r.Flavor.MemoryMB = 6500 }, "b", "RamFilter"},
		"cores":             {func(_ []Host, r *Request) { r.Flavor.VCPUs = 7 }, "b", "CoreFilter"},
		"disk":              {func(_ []Host, r *Request) { r.Flavor.RootGB = 101 }, "", "DiskFilter"},
		"same host":         {func(h []Host, r *Request) { h[0].ServerIDs["x"] = true; r.Hints["same_host"] = []string{"x"} }, "a", "SameHostFilter"},
		"different host":    {func(h []Host, r *Request) { h[1].ServerIDs["x"] = true; r.Hints["different_host"] = []string{"y", "x"} }, "c a", "DifferentHostFilter"},
		"affinity":          {group(compute.Affinity, 0), "a", "ServerGroupAffinityFilter"},
		"anti-affinity":     {group(compute.AntiAffinity, 0), "b c", "ServerGroupAntiAffinityFilter"},
		"two to a host":     {group(compute.AntiAffinity, 2), "b c a", ""},
		"soft affinity":     {group(compute.SoftAffinity, 0), "a b c", ""},
		"soft anti":         {group(compute.SoftAntiAffinity, 0), "b c a", ""},
		"given up before":   {func(_ []Host, r *Request) { r.IgnoreHosts = map[string]string{"b": "it failed"} }, "c a", "RetryFilter"},
		"query":             {query(`["and", [">=", "$free_ram_mb", 6000], ["not", ["=", "$host", "c"]]]`), "b", "JsonFilter"},
		"query in":          {query(`["in", "$host", "a", "c"]`), "c a", "JsonFilter"},
		"query of a choice": {query(`["or", ["<", "$num_instances", 2], ["=", "$availability_zone", "west"]]`), "b c", "JsonFilter"},
		"a wrong query":     {query(`["like", "$host", "a"]`), "", "JsonFilter"},
		"not JSON":          {query(`rm -rf`), "", "JsonFilter"},
		"too deep":          {query(strings.Repeat(`["not", `, 50) + `true` + strings.Repeat(`]`, 50)), "", "JsonFilter"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := New(options("filter"))
			if err != nil {
				t.Fatal(err)
			}
			h, r := hosts(), request()
			tt.change(h, r)
			chosen, refused := s.Select(h, r)
			if got := order(chosen); got != tt.want {
				t.Errorf("chosen %q, want %q; refused:\n%s", got, tt.want, Explain(refused))
			}
			if len(chosen)+len(refused) != 3 {
				t.Errorf("a host is neither chosen nor refused: %v %v", chosen, refused)
			}
			if tt.filter != "" && (len(refused) == 0 || refused[0].Filter != tt.filter || refused[0].Why == "") {
				t.Errorf("refused: %v, want by %s", refused, tt.filter)
			}
		})
	}
}

func group(policy string, most int) func(h []Host, r *Request) {
	return func(h []Host, r *Request) {
		h[0].GroupMembers = 1
		r.Group = &compute.Group{Policy: policy, MaxPerHost: most, Members: []string{"m"}}
	}
}

func query(q string) func(h []Host, r *Request) {
	return func(_ []Host, r *Request) { r.Hints["query"] = []string{q} }
}

func TestDrivers(t *testing.T) {
	for driver, want := range map[string]string{"simple": "b c a", "chance": "c b a", "filter": "b c a", "multi": "b c a"} {
		s, err := New(options(driver))
		if err != nil {
			t.Fatal(err)
		}
		s.shuffle = func(n int, swap func(i, j int)) { // reversed, to be told from the rest
			if n == 3 {
				swap(0, 2)
			}
		}
		if chosen, _ := s.Select(hosts(), request()); order(chosen) != want {
			t.Errorf("%s: %q, want %q", driver, order(chosen), want)
		}
	}
	s, err := New(options("multi"))
	if err != nil {
		t.Fatal(err)
	}
	r := request()
	r.Flavor.MemoryMB = 9000 // no filter lets it pass: the simple one takes over
	if chosen, _ := s.Select(hosts(), r); order(chosen) != "b c a" {
		t.Errorf("multi: %q", order(chosen))
	}
	if _, err := New(options("nonsense")); err == nil {
		t.Error("an unknown driver is taken")
	}
	c := options("filter")
	c.Scheduler.Filters = []string{"NoSuchFilter"}
	if _, err := New(c); err == nil {
		t.Error("an unknown filter is taken")
	}
}

func TestSatisfies(t *testing.T) {
	for _, tt := range []struct {
		have, want string
		ok         bool
	}{
		{"4", ">= 3", true},
		{"2", ">= 3", false},
		{"3", "== 3", true},
		{"x", "s== x", true},
		{"x", "s!= x", false},
		{"b", "<or> a <or> b", true},
		{"c", "<or> a <or> b", false},
		{"avx sse", "<in> sse", true},
		{"x", "x", true},
		{"x", "y", false},
		{"x", "<= 3", false},
		{"4", "= 3", true},
	} {
		if satisfies(tt.have, tt.want) != tt.ok {
			t.Errorf("%q %q", tt.have, tt.want)
		}
	}
}
