package agent

import (
	"context"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/obs"
)

// spawn makes and starts a guest.
func (a *Agent) spawn(ctx context.Context, in compute.SpawnRequest) (compute.GuestInfo, error) {
	received(ctx, a.o.Host)
	ctx, end := a.cancellable(ctx, in.ServerID)
	defer end()
	spec := driver.Spec{
		ID: in.ServerID, Name: in.Name, Hostname: in.Hostname, ConfigDrive: in.ConfigDrive, Metadata: in.Metadata,
		KernelArgs: in.KernelArgs, Flavor: flavor(in.Flavor),
	}
	for _, i := range in.Interfaces {
		spec.VIFs = append(spec.VIFs, vif(i))
	}
	if err := a.images(ctx, in, &spec); err != nil {
		return compute.GuestInfo{}, gone(ctx, err)
	}
	a.spawning(in.ServerID)
	if err := a.allowed(ctx, in.ServerID, in.Order); err != nil {
		return compute.GuestInfo{}, gone(ctx, err)
	}
	sctx, done := obs.StepContext(ctx, 29, "", obs.Detail(a.host.HypervisorType+" on "+a.o.Host))
	err := a.o.Driver.Spawn(sctx, spec)
	done(err)
	if err != nil {
		return compute.GuestInfo{}, gone(ctx, err)
	}
	return a.info(ctx, in.ServerID)
}

// received records the steps by which the request got here. The record of the
// server travels with the message, so nobody needs to be asked for it.
func received(ctx context.Context, host string) {
	obs.Step(ctx, 13, "", obs.Detail(host))(nil)
	for _, n := range []int{14, 15, 16, 17, 18, 19} {
		obs.Step(ctx, n, "", obs.Note(obs.NoteInProcess), obs.Detail("the record came with the message"))(nil)
	}
}

func flavor(f compute.Flavor) driver.Flavor {
	return driver.Flavor{VCPUs: f.VCPUs, MemoryMiB: f.MemoryMB, RootGiB: f.RootGB, EphemeralGiB: f.EphemeralGB, SwapMiB: f.SwapMB}
}

func vif(i compute.Interface) driver.VIF {
	return driver.VIF{PortID: i.PortID, MAC: i.MAC, Type: i.Type, Bridge: i.Bridge, Datapath: i.Datapath, MTU: i.MTU}
}

// destroy ends a guest and removes all of it.
func (a *Agent) destroy(ctx context.Context, in compute.GuestRequest) (struct{}, error) {
	err := a.o.Driver.Destroy(ctx, in.ServerID, false)
	if err == nil {
		a.forget(in.ServerID)
	}
	return struct{}{}, err
}

// power changes what a guest does and returns what it does then.
func (a *Agent) power(ctx context.Context, in compute.PowerRequest) (compute.GuestInfo, error) {
	d, id := a.o.Driver, in.ServerID
	switch in.Op {
	case compute.PowerOn, compute.PowerRebootSoft, compute.PowerRebootHard, compute.PowerUnpause, compute.PowerResume:
		if err := a.allowed(ctx, id, ""); err != nil {
			return compute.GuestInfo{}, err
		}
	}
	var err error
	switch in.Op {
	case compute.PowerOn:
		err = d.PowerOn(ctx, id)
	case compute.PowerOff:
		err = d.PowerOff(ctx, id, in.Grace)
	case compute.PowerRebootSoft:
		err = d.Reboot(ctx, id, driver.RebootSoft, in.Grace)
	case compute.PowerRebootHard:
		err = d.Reboot(ctx, id, driver.RebootHard, 0)
	case compute.PowerPause:
		err = d.Pause(ctx, id)
	case compute.PowerUnpause:
		err = d.Unpause(ctx, id)
	case compute.PowerSuspend:
		err = d.Suspend(ctx, id)
	case compute.PowerResume:
		err = d.Resume(ctx, id)
	default:
		err = fault.New(fault.NotImplemented, "The host does not know the operation %s.", in.Op)
	}
	if err != nil {
		return compute.GuestInfo{}, err
	}
	return a.info(ctx, id)
}

func (a *Agent) consoleOutput(ctx context.Context, in compute.ConsoleRequest) (compute.ConsoleOutput, error) {
	data, err := a.o.Driver.ConsoleOutput(ctx, in.ServerID, in.Lines)
	return compute.ConsoleOutput{Data: data}, err
}

func (a *Agent) diagnostics(ctx context.Context, in compute.GuestRequest) (compute.Diagnostics, error) {
	d, err := a.o.Driver.Diagnostics(ctx, in.ServerID)
	if err != nil {
		return compute.Diagnostics{}, err
	}
	out := compute.Diagnostics{
		State: string(d.State), Driver: d.Driver, Hypervisor: d.Hypervisor, HypervisorOS: d.HypervisorOS,
		Uptime: int64(d.Uptime.Seconds()), ConfigDrive: d.ConfigDrive, MemoryMax: d.MemoryMaxMiB, MemoryUsed: d.MemoryUsedMiB,
	}
	for _, c := range d.CPUs {
		out.CPUs = append(out.CPUs, compute.CPUTime{ID: c.ID, Time: c.Time.Nanoseconds()})
	}
	for _, n := range d.NICs {
		out.NICs = append(out.NICs, compute.NICStat{
			MAC: n.MAC, RxOctets: n.RxOctets, RxPackets: n.RxPackets, RxDrop: n.RxDropped, RxErrors: n.RxErrors,
			TxOctets: n.TxOctets, TxPackets: n.TxPackets, TxDrop: n.TxDropped, TxErrors: n.TxErrors,
		})
	}
	for _, k := range d.Disks {
		out.Disks = append(out.Disks, compute.DiskStat(k))
	}
	return out, nil
}

func (a *Agent) attachInterface(ctx context.Context, in compute.InterfaceRequest) (struct{}, error) {
	return struct{}{}, a.o.Driver.AttachInterface(ctx, in.ServerID, vif(in.Interface))
}

func (a *Agent) detachInterface(ctx context.Context, in compute.InterfaceRequest) (struct{}, error) {
	err := a.o.Driver.DetachInterface(ctx, in.ServerID, in.Interface.PortID)
	if fault.Is(err, fault.NotFound) {
		err = nil // no guest, no interface
	}
	return struct{}{}, err
}

func (a *Agent) resize(ctx context.Context, in compute.ResizeRequest) (struct{}, error) {
	return struct{}{}, a.o.Driver.Resize(ctx, in.ServerID, flavor(in.Flavor))
}

// rescue restarts a guest from another image's disk.
func (a *Agent) rescue(ctx context.Context, in compute.RescueRequest) (compute.GuestInfo, error) {
	ctx, end := a.cancellable(ctx, in.ServerID)
	defer end()
	var spec driver.Spec
	err := a.images(ctx, compute.SpawnRequest{ServerID: in.ServerID, ImageID: in.ImageID, KernelID: in.KernelID, RamdiskID: in.RamdiskID}, &spec)
	if err == nil {
		err = a.allowed(ctx, in.ServerID, "")
	}
	if err == nil {
		err = a.o.Driver.Rescue(ctx, in.ServerID, driver.Rescue{Image: spec.Image, Kernel: spec.Kernel, Ramdisk: spec.Ramdisk, KernelArgs: in.KernelArgs})
	}
	if err != nil {
		return compute.GuestInfo{}, gone(ctx, err)
	}
	return a.info(ctx, in.ServerID)
}

func (a *Agent) unrescue(ctx context.Context, in compute.GuestRequest) (compute.GuestInfo, error) {
	if err := a.allowed(ctx, in.ServerID, ""); err != nil {
		return compute.GuestInfo{}, err
	}
	if err := a.o.Driver.Unrescue(ctx, in.ServerID); err != nil {
		return compute.GuestInfo{}, err
	}
	return a.info(ctx, in.ServerID)
}
