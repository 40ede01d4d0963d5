package qemu

import (
	"context"
	"fmt"

	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/lib/qmp"
)

// Diagnostics implements driver.Driver.
func (d *QEMU) Diagnostics(ctx context.Context, id string) (driver.Diagnostics, error) {
	if !driver.ValidID(id) {
		return driver.Diagnostics{}, fault.Missing("Server", id)
	}
	g := d.guest(id)
	def, err := g.load()
	if err != nil {
		return driver.Diagnostics{}, err
	}
	p := d.process(g)
	if p == nil {
		return driver.Diagnostics{}, fault.Conflictf("The server is not running.")
	}
	diag, err := d.diagnose(ctx, g, def, p)
	if err != nil {
		return diag, internal(err, "The server's diagnostics could not be read.")
	}
	return diag, nil
}

func (d *QEMU) diagnose(ctx context.Context, g *guest, def *definition, p *process) (driver.Diagnostics, error) {
	diag := driver.Diagnostics{
		State: d.state(ctx, g), Driver: "qemu", Hypervisor: "qemu", HypervisorOS: "linux",
		ConfigDrive: def.ConfigDrive, MemoryMaxMiB: def.Spec.Flavor.MemoryMiB, MemoryUsedMiB: def.Spec.Flavor.MemoryMiB,
	}
	if d.machine.accelerator == "kvm" {
		diag.Hypervisor = "kvm"
	}
	_, start, err := processTimes(procPath(p.pid, "stat"))
	if err != nil {
		return diag, err
	}
	up, err := sinceBoot()
	if err != nil {
		return diag, err
	}
	diag.Uptime = up - start
	m, err := d.connect(ctx, g)
	if err != nil {
		return diag, err
	}
	if diag.CPUs, err = cpuCounters(ctx, m, p); err != nil {
		return diag, err
	}
	if diag.Disks, err = diskCounters(ctx, m, def, g.dir); err != nil {
		return diag, err
	}
	for _, v := range def.Spec.VIFs {
		c, err := d.plugger.Counters(ctx, v)
		if err != nil {
			return diag, err
		}
		// What the host receives on the tap the guest has sent.
		diag.NICs = append(diag.NICs, driver.NICDiagnostics{
			MAC:      v.MAC,
			RxOctets: c.TxBytes, RxPackets: c.TxPackets, RxDropped: c.TxDropped, RxErrors: c.TxErrors,
			TxOctets: c.RxBytes, TxPackets: c.RxPackets, TxDropped: c.RxDropped, TxErrors: c.RxErrors,
		})
	}
	return diag, nil
}

func cpuCounters(ctx context.Context, m *qmp.Client, p *process) ([]driver.CPUDiagnostics, error) {
	var cpus []struct {
		Index  int `json:"cpu-index"`
		Thread int `json:"thread-id"`
	}
	if err := command(ctx, m, "query-cpus-fast", nil, &cpus); err != nil {
		return nil, err
	}
	var all []driver.CPUDiagnostics
	for _, c := range cpus {
		used, _, err := processTimes(procPath(p.pid, fmt.Sprintf("task/%d/stat", c.Thread)))
		if err != nil {
			return nil, err
		}
		all = append(all, driver.CPUDiagnostics{ID: c.Index, Time: used})
	}
	return all, nil
}

// diskCounters reports the disks in the guest's order, under the names that a
// Linux guest gives them.
func diskCounters(ctx context.Context, m *qmp.Client, def *definition, dir string) ([]driver.DiskDiagnostics, error) {
	var stats []struct {
		QDev  string `json:"qdev"`
		Stats struct {
			ReadBytes  int64 `json:"rd_bytes"`
			Reads      int64 `json:"rd_operations"`
			WriteBytes int64 `json:"wr_bytes"`
			Writes     int64 `json:"wr_operations"`
			BadReads   int64 `json:"failed_rd_operations"`
			BadWrites  int64 `json:"failed_wr_operations"`
		} `json:"stats"`
	}
	if err := command(ctx, m, "query-blockstats", nil, &stats); err != nil {
		return nil, err
	}
	var all []driver.DiskDiagnostics
	for i, k := range disks(def, dir) {
		if k.id == cdromNode {
			continue
		}
		for _, s := range stats {
			if !ownsQDev(s.QDev, "dev-"+k.id) {
				continue
			}
			all = append(all, driver.DiskDiagnostics{
				Device:    "vd" + string(rune('a'+i)),
				ReadBytes: s.Stats.ReadBytes, ReadRequests: s.Stats.Reads,
				WriteBytes: s.Stats.WriteBytes, WriteRequests: s.Stats.Writes,
				Errors: s.Stats.BadReads + s.Stats.BadWrites,
			})
		}
	}
	return all, nil
}

// ownsQDev: QEMU shows the path of the device, for virtio of its back half.
func ownsQDev(path, id string) bool {
	const root = "/machine/peripheral/"
	return path == id || path == root+id || path == root+id+"/virtio-backend"
}
