// Package fake is a network dataplane in memory, for tests and simulations. It
// passes the same conformance suite as the real ones (package drivertest).
package fake

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"sync"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network/driver"
)

// Driver holds the objects that it was given.
type Driver struct {
	mu      sync.Mutex
	objects map[driver.Object]any
	plugged map[string]bool // ports that something is plugged into
	wake    chan struct{}   // closed and replaced at each change
	down    error           // what every call answers, if set
}

var _ driver.Driver = (*Driver)(nil)

// New returns an empty dataplane.
func New() *Driver {
	return &Driver{objects: map[driver.Object]any{}, plugged: map[string]bool{}, wake: make(chan struct{})}
}

// Capabilities implements driver.Driver.
func (d *Driver) Capabilities() driver.Capabilities {
	return driver.Capabilities{
		DatapathType: "system", VIFType: "ovs", Bridge: "br-int",
		NetworkTypes: []string{driver.TypeGeneve, driver.TypeFlat, driver.TypeVLAN},
		TunnelMTU:    1442, PhysicalMTU: 1500, PhysicalNetworks: []string{"public"},
	}
}

// Close implements driver.Driver.
func (d *Driver) Close() error { return nil }

// Fail makes every call answer err until Fail(nil): a dataplane out of reach.
func (d *Driver) Fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down = err
}

// Plug says that something is plugged into a port, or no longer: an existing
// port goes up or down. The fake's counterpart of the hypervisor's work.
func (d *Driver) Plug(portID string, in bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.plugged[portID] = in
	d.changed()
}

// RemoveHost implements driver.Driver; the fake has no hosts.
func (d *Driver) RemoveHost(context.Context, string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.down
}

// Lose forgets an object behind everyone's back: drift for Sync to heal.
func (d *Driver) Lose(o driver.Object) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.objects, o)
	d.changed()
}

// Object returns what was ensured last for o, nil if there is none: a
// driver.Network, driver.Subnet, … value.
func (d *Driver) Object(o driver.Object) any {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.objects[o]
}

// changed wakes watchers; d.mu is held.
func (d *Driver) changed() {
	close(d.wake)
	d.wake = make(chan struct{})
}

// put stores an object below its container and says whether it differed.
// problems are the parts that were left out.
func (d *Driver) put(ctx context.Context, o driver.Object, value any, container driver.Object, problems ...error) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, fault.Wrap(fault.Unavailable, err, "The network dataplane does not answer.")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down != nil {
		return false, d.down
	}
	if !driver.ValidID(o.ID) {
		return false, fault.Invalidf("Invalid %s id %q.", o.Kind, o.ID)
	}
	if _, there := d.objects[container]; container != (driver.Object{}) && !there {
		return false, fault.Missing(string(container.Kind), container.ID)
	}
	old, there := d.objects[o]
	d.objects[o] = value
	d.changed()
	if err := errors.Join(problems...); err != nil {
		return !there || !reflect.DeepEqual(old, value), fault.Invalidf("%s: %s.", o, err)
	}
	return !there || !reflect.DeepEqual(old, value), nil
}

func (d *Driver) remove(ctx context.Context, kind driver.ObjectKind, id string) error {
	if err := ctx.Err(); err != nil {
		return fault.Wrap(fault.Unavailable, err, "The network dataplane does not answer.")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down != nil {
		return d.down
	}
	delete(d.objects, driver.Object{Kind: kind, ID: id})
	for o, v := range d.objects { // containers take their content along
		port, isPort := v.(driver.Port)
		fip, isFIP := v.(driver.FloatingIP)
		if isPort && kind == driver.ObjectNetwork && port.NetworkID == id || isFIP && kind == driver.ObjectRouter && fip.RouterID == id {
			delete(d.objects, o)
		}
	}
	d.changed()
	return nil
}

// Watch implements driver.Driver.
func (d *Driver) Watch(ctx context.Context, f func(driver.PortEvent)) error {
	told := map[string]bool{}
	for {
		states, wake := d.states()
		for _, id := range slices.Sorted(maps.Keys(told)) {
			if _, known := states[id]; !known {
				if told[id] {
					f(driver.PortEvent{PortID: id})
				}
				delete(told, id)
			}
		}
		for _, id := range slices.Sorted(maps.Keys(states)) {
			if was, known := told[id]; !known || was != states[id] {
				told[id] = states[id]
				f(driver.PortEvent{PortID: id, Up: states[id]})
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
		}
	}
}

func (d *Driver) states() (map[string]bool, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := map[string]bool{}
	for _, v := range d.objects {
		if p, ok := v.(driver.Port); ok && p.Kind == driver.KindVIF {
			out[p.ID] = d.plugged[p.ID]
		}
	}
	return out, d.wake
}

// Owned implements driver.Driver.
func (d *Driver) Owned(context.Context) ([]driver.Object, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down != nil {
		return nil, d.down
	}
	out := slices.Collect(maps.Keys(d.objects))
	slices.SortFunc(out, func(a, b driver.Object) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
	})
	return out, nil
}
