package qemu

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tropocloud/tropo/compute/driver"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestCommandLine(t *testing.T) {
	const id = "0b1f6a52-9c1e-4f0c-8a55-3f2d1c4b5a60"
	vif := func(n, datapath string) driver.VIF {
		return driver.VIF{
			PortID: "1111111" + n + "-aaaa-4bbb-8ccc-dddddddddddd", MAC: "FA:16:3E:00:00:0" + n,
			Type: driver.VIFTypeOVS, Bridge: "br-int", Datapath: datapath, MTU: 1442,
		}
	}
	spec := driver.Spec{
		ID: id, Name: "odd, name=\"x\"", Hostname: "web-1",
		Flavor: driver.Flavor{VCPUs: 2, MemoryMiB: 512, RootGiB: 10, EphemeralGiB: 1, SwapMiB: 64},
	}
	for _, tt := range []struct {
		name         string
		base, format string
		change       func(*driver.Spec)
		launch       launch
	}{
		{"tcg", "/state/images-cache/base", "qcow2", func(s *driver.Spec) {
			s.VIFs = []driver.VIF{vif("1", "netdev")}
			s.ConfigDrive = map[string][]byte{"openstack/latest/meta_data.json": []byte("{}")}
		}, launch{machine: machine{accelerator: "tcg", cpuModel: "qemu64", sandbox: true}}},
		{"kvm", "/state/images-cache/base", "raw", func(s *driver.Spec) {
			s.Flavor.EphemeralGiB, s.Flavor.SwapMiB = 0, 0
			s.VIFs = []driver.VIF{vif("1", "system"), vif("2", "")}
		}, launch{machine: machine{accelerator: "kvm", cpuModel: "host", sandbox: true}, incoming: true}},
		{"kernel", "/state/images-cache/base", "raw", func(s *driver.Spec) {
			s.Kernel, s.Ramdisk = "/state/images-cache/aki", "/state/images-cache/ari"
		}, launch{machine: machine{accelerator: "tcg", cpuModel: "qemu64"}}},
		{"iso", "/state/images-cache/cd", isoFormat, func(*driver.Spec) {}, launch{machine: machine{accelerator: "tcg", cpuModel: "qemu64"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := spec
			tt.change(&s)
			def, err := newDefinition(s)
			ok(t, err)
			def.Base, def.BaseFormat = tt.base, tt.format
			tt.launch.dir = "/state/instances/" + id
			got := lines(commandLine(def, tt.launch))
			golden := filepath.Join("testdata", tt.name+".args")
			if *update {
				ok(t, os.WriteFile(golden, []byte(got), 0o644))
			}
			want, err := os.ReadFile(golden)
			ok(t, err)
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("command line (-want +got):\n%s", diff)
			}
		})
	}
}

// lines puts each option with its argument on a line.
func lines(args []string) string {
	var b strings.Builder
	for i, a := range args {
		switch {
		case i == 0:
		case strings.HasPrefix(a, "-"):
			b.WriteByte('\n')
		default:
			b.WriteByte(' ')
		}
		b.WriteString(a)
	}
	return b.String() + "\n"
}

func TestSlots(t *testing.T) {
	def, err := newDefinition(driver.Spec{})
	ok(t, err)
	port := func(n int) driver.VIF { return driver.VIF{PortID: strings.Repeat(string(rune('a'+n)), 8)} }
	for n := range spareRootPorts {
		ok(t, def.addVIF(port(n)))
		ok(t, def.addVIF(port(n)))
	}
	if err := def.addVIF(port(spareRootPorts)); err == nil {
		t.Error("more interfaces than slots")
	}
	def.removeVIF(port(3).PortID)
	ok(t, def.addVIF(port(20)))
	if def.Slots[port(20).PortID] != 3 || def.Slots[port(4).PortID] != 4 {
		t.Errorf("slots %v", def.Slots)
	}
}
