package daemons

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"
)

// configureChassis writes what ovn-controller reads (ovn-controller(8)).
func (d *Daemons) configureChassis(ctx context.Context) error {
	var mappings []string
	for _, network := range slices.Sorted(maps.Keys(d.conf.PhysicalNetworks)) {
		mappings = append(mappings, network+":"+d.conf.PhysicalNetworks[network])
	}
	args := []string{
		"--no-wait", "init", "--", "set", "Open_vSwitch", ".",
		"external_ids:system-id=" + d.conf.Chassis,
		"external_ids:hostname=" + d.conf.Chassis,
		"external_ids:rundir=" + d.run(""),
		"external_ids:ovn-encap-type=" + d.conf.EncapType,
		"external_ids:ovn-encap-ip=\"" + d.conf.EncapIP + "\"",
		"external_ids:ovn-bridge-mappings=\"" + strings.Join(mappings, ",") + "\"",
		"external_ids:ovn-monitor-all=true",
		// In ms; a database is left after two of them. A control node may pause
		// for a while when it is loaded.
		"external_ids:ovn-remote-probe-interval=5000",
	}
	// While no control node is known (a node that starts before it heard of
	// any), the controller keeps those it had.
	if remotes := d.remotes(southbound()); len(remotes) > 0 {
		args = append(args, "external_ids:ovn-remote=\""+strings.Join(remotes, ",")+"\"")
	}
	if d.conf.Gateway {
		args = append(args, "external_ids:ovn-cms-options=enable-chassis-as-gw")
	} else {
		args = append(args, "--", "remove", "Open_vSwitch", ".", "external_ids", "ovn-cms-options")
	}
	_, err := d.Vsctl(ctx, args...)
	return err
}

// leave has the controller take this chassis out of the southbound database, as
// well as that can be reached, and end.
func (d *Daemons) leave(ctx context.Context) {
	p := d.controller()
	proc, ok := d.find(p)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if _, err := d.control(ctx, d.controlSocket(p, proc.PID), "exit"); err == nil {
		_ = proc.Wait(ctx) // what does not end is ended
	}
}

// Connected says whether the controller speaks with a southbound database:
// without it the host's ports stay as they were.
func (d *Daemons) Connected(ctx context.Context) bool {
	p := d.controller()
	proc, ok := d.find(p)
	return ok && d.connected(ctx, d.controlSocket(p, proc.PID), "connection-status")
}

// connected asks a client of the databases about a connection of its own.
func (d *Daemons) connected(ctx context.Context, socket, command string) bool {
	out, err := d.control(ctx, socket, command)
	return err == nil && strings.TrimSpace(out) == "connected"
}
