package placement_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/placement"
)

func TestInventoryCapacity(t *testing.T) {
	for _, c := range []struct {
		total, reserved int
		ratio           float64
		want            int
	}{
		{8, 0, 16, 128}, {100, 30, 1, 70}, {10, 0, 0.25, 2}, {3, 3, 5, 0}, {7, 0, 1.5, 10},
	} {
		i := placement.Inventory{Total: c.total, Reserved: c.reserved, AllocationRatio: c.ratio}
		if got := i.Capacity(); got != c.want {
			t.Errorf("(%d - %d) × %v = %d, want %d", c.total, c.reserved, c.ratio, got, c.want)
		}
	}
}

func TestInventoryAllows(t *testing.T) {
	i := placement.Inventory{Total: 100, MinUnit: 10, MaxUnit: 50, StepSize: 5, AllocationRatio: 1}
	for amount, want := range map[int]bool{10: true, 50: true, 5: false, 55: false, 12: false, 15: true} {
		if got := i.Allows(amount); got != want {
			t.Errorf("%d: %v, want %v", amount, got, want)
		}
	}
}

func TestReservedLeavesSomething(t *testing.T) {
	for _, c := range []struct {
		reserved      int
		mayReserveAll bool
		want          fault.Kind
	}{
		{7, false, ""}, {8, false, fault.Invalid}, {8, true, ""}, {9, true, fault.Invalid},
	} {
		i := placement.Inventory{Total: 8, Reserved: c.reserved}
		if got := fault.KindOf(i.Validate(c.mayReserveAll)); got != c.want {
			t.Errorf("%d of 8 reserved (all allowed: %v): %q, want %q", c.reserved, c.mayReserveAll, got, c.want)
		}
	}
}

func TestStandardNames(t *testing.T) {
	traits, classes := placement.StandardTraits(), placement.StandardResourceClasses()
	for _, n := range slices.Concat(traits, classes) {
		if !placement.ValidName(n) || strings.HasPrefix(n, placement.CustomPrefix) {
			t.Errorf("%q cannot be a standard name", n)
		}
	}
	for _, want := range []string{"COMPUTE_NODE", "HW_CPU_X86_AVX512F", placement.SharingTrait} {
		if !slices.Contains(traits, want) {
			t.Errorf("no trait %s", want)
		}
	}
	if !slices.Equal(classes[:3], []string{"VCPU", "MEMORY_MB", "DISK_GB"}) {
		t.Errorf("the first classes are %v", classes[:3])
	}
}

func TestCustomNames(t *testing.T) {
	for name, want := range map[string]bool{
		"CUSTOM_A": true, "CUSTOM_": false, "custom_A": false, "CUSTOM_a": false, "GOLD": false, "CUSTOM_Ä": false,
		"CUSTOM_" + strings.Repeat("X", 248): true, "CUSTOM_" + strings.Repeat("X", 249): false,
	} {
		if got := placement.CheckCustom("trait", name) == nil; got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}
