package api

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/rest"
)

// specRule says what a well-known extra spec may be.
type specRule struct {
	key    *regexp.Regexp
	check  func(v string) bool
	expect string
}

func isInt(v string) bool  { n, err := strconv.Atoi(v); return err == nil && n >= 0 }
func isBool(v string) bool { _, err := rest.ParseBool(v); return err == nil }

func oneOf(words ...string) func(string) bool {
	return func(v string) bool { return slices.Contains(words, v) }
}

// specRules are the namespaces whose keys and values are checked (Nova's
// "Extra Specs" reference); keys of other namespaces are free.
var specRules = []specRule{
	{regexp.MustCompile(`^resources\d*:([A-Z][A-Z0-9_]*)$`), isInt, "an integer"},
	{regexp.MustCompile(`^trait\d*:([A-Z][A-Z0-9_]*)$`), oneOf("required", "forbidden"), "required or forbidden"},
	{regexp.MustCompile(`^hw:cpu_policy$`), oneOf("dedicated", "shared", "mixed"), "dedicated, shared or mixed"},
	{regexp.MustCompile(`^hw:cpu_thread_policy$`), oneOf("prefer", "isolate", "require"), "prefer, isolate or require"},
	{regexp.MustCompile(`^hw:(cpu|max|cpu_max)_?(sockets|cores|threads)$`), isInt, "an integer"},
	{regexp.MustCompile(`^hw:(numa_nodes|serial_port_count|pci_numa_count|mem_encryption_count|watchdog_count)$`), isInt, "an integer"},
	{regexp.MustCompile(`^hw:(boot_menu|mem_encryption|emulator_threads|vif_multiqueue_enabled)$`), func(v string) bool { return isBool(v) || v == "share" || v == "isolate" }, "a boolean"},
	{regexp.MustCompile(`^hw:mem_page_size$`), func(v string) bool {
		return v == "small" || v == "large" || v == "any" || len(v) > 0 && v[0] >= '0' && v[0] <= '9'
	}, "small, large, any or a size"},
	{regexp.MustCompile(`^hw:(cpu_realtime|locked_memory|hide_hypervisor_id)$`), isBool, "a boolean"},
	{regexp.MustCompile(`^hw:(numa_cpus|numa_mem|cpu_realtime_mask|cpu_dedicated_mask|tpm_version|tpm_model|pci_numa_affinity_policy|pmem|viommu_model|maxphysaddr_mode|maxphysaddr_bits|video_ram|input_bus|watchdog_action)(\.\d+)?$`), func(v string) bool { return v != "" }, "a value"},
	{regexp.MustCompile(`^hw_rng:allowed$`), isBool, "a boolean"},
	{regexp.MustCompile(`^hw_rng:(rate_bytes|rate_period)$`), isInt, "an integer"},
	{regexp.MustCompile(`^hw_video:ram_max_mb$`), isInt, "an integer"},
	{regexp.MustCompile(`^quota:[a-z0-9_]+$`), func(v string) bool { return isInt(v) || v == "shares" || strings.HasPrefix(v, "-") }, "an integer"},
}

// checkSpec refuses unknown keys and wrong values of the namespaces that Nova
// owns.
func checkSpec(key, value string) error {
	space, _, scoped := strings.Cut(key, ":")
	owned := scoped && (space == "hw" || space == "hw_rng" || space == "hw_video" || space == "quota" || strings.HasPrefix(space, "resources") || strings.HasPrefix(space, "trait"))
	if !owned {
		return nil
	}
	for _, s := range specRules {
		if !s.key.MatchString(key) {
			continue
		}
		if !s.check(value) {
			return fault.Invalidf("Validation failed; extra spec '%s' cannot be %q: it must be %s.", key, value, s.expect)
		}
		return nil
	}
	return fault.Invalidf("Validation failed; extra spec '%s' does not appear in the extra spec registry.", key)
}
