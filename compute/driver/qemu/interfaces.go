package qemu

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/lib/qmp"
)

// unplugTime is how long a guest may take to let go of a device. One without a
// running operating system never does.
const unplugTime = 30 * time.Second

// AttachInterface implements driver.Driver. The definition comes first, so that
// a crash leaves an interface that Destroy finds.
func (d *QEMU) AttachInterface(ctx context.Context, id string, v driver.VIF) error {
	if err := v.Validate(); err != nil {
		return err
	}
	g, def, ctx, done, err := d.known(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	if g.has(memoryFile) {
		return fault.Conflictf("The server is suspended.")
	}
	if err := def.addVIF(v); err != nil {
		return err
	}
	if err := g.store(def); err != nil {
		return err
	}
	v, _ = def.vif(v.PortID)
	if err := d.plugger.Plug(ctx, g.id, v); err != nil {
		return err
	}
	if d.process(g) == nil {
		return nil // it is there from the next start
	}
	m, err := d.connect(ctx, g)
	if err == nil {
		err = plugNIC(ctx, m, v, def.Slots[v.PortID])
	}
	if err != nil {
		return internal(err, "The interface could not be attached.")
	}
	return nil
}

func plugNIC(ctx context.Context, m *qmp.Client, v driver.VIF, slot int) error {
	present, err := hasDevice(ctx, m, nicID(v.PortID))
	if err != nil || present {
		return err
	}
	if err := command(ctx, m, "netdev_add", netdev(v), nil); err != nil {
		// Left by an attach that was cut short: with the same id it is the
		// same tap.
		if gone := dropNetdev(ctx, m, v.PortID); gone != nil {
			return errors.Join(err, gone)
		}
		if err := command(ctx, m, "netdev_add", netdev(v), nil); err != nil {
			return err
		}
	}
	if err := command(ctx, m, "device_add", nic(v, slot), nil); err != nil {
		return errors.Join(err, dropNetdev(context.WithoutCancel(ctx), m, v.PortID))
	}
	return nil
}

// DetachInterface implements driver.Driver. The definition is last: until then
// the call can be repeated.
func (d *QEMU) DetachInterface(ctx context.Context, id, portID string) error {
	g, def, ctx, done, err := d.known(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	v, ok := def.vif(portID)
	if !ok {
		return nil
	}
	if g.has(memoryFile) {
		return fault.Conflictf("The server is suspended.")
	}
	if d.process(g) != nil {
		m, err := d.connect(ctx, g)
		if err == nil {
			err = unplugNIC(ctx, m, portID)
		}
		if err != nil {
			return internal(err, "The interface could not be detached.")
		}
	}
	if err := d.plugger.Unplug(ctx, v); err != nil {
		return err
	}
	def.removeVIF(portID)
	return g.store(def)
}

func unplugNIC(ctx context.Context, m *qmp.Client, portID string) error {
	device := nicID(portID)
	present, err := hasDevice(ctx, m, device)
	if err != nil {
		return err
	}
	if present {
		if err := deleteDevice(ctx, m, device); err != nil {
			return err
		}
	}
	return dropNetdev(ctx, m, portID)
}

// deleteDevice asks the guest to let go of the device and waits until it has.
func deleteDevice(ctx context.Context, m *qmp.Client, device string) error {
	ctx, cancel := context.WithTimeout(ctx, unplugTime)
	defer cancel()
	sub := m.Subscribe("DEVICE_DELETED", "DEVICE_UNPLUG_GUEST_ERROR")
	defer sub.Close()
	err := command(ctx, m, "device_del", properties{"id": device}, nil)
	var refused *qmp.Error
	switch {
	case qmp.IsClass(err, "DeviceNotFound"):
		return nil
	case errors.As(err, &refused): // "already in the process of unplug": wait for that
	case err != nil:
		return err
	}
	e, err := sub.Next(ctx, func(e qmp.Event) bool {
		var data struct {
			Device string `json:"device"`
		}
		return e.Decode(&data) == nil && data.Device == device
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return fault.Wrap(fault.Conflict, err, "The guest did not release the interface.")
	}
	if err != nil {
		return err
	}
	if e.Name != "DEVICE_DELETED" {
		return fault.Conflictf("The guest refused to release the interface.")
	}
	return nil
}

// dropNetdev removes the host side; one that is gone is fine.
func dropNetdev(ctx context.Context, m *qmp.Client, portID string) error {
	err := command(ctx, m, "netdev_del", properties{"id": netdevID(portID)}, nil)
	var refused *qmp.Error
	if errors.As(err, &refused) {
		return nil
	}
	return err
}

// hasDevice looks for a device by id.
func hasDevice(ctx context.Context, m *qmp.Client, id string) (bool, error) {
	err := command(ctx, m, "qom-get", properties{"path": "/machine/peripheral/" + id, "property": "type"}, nil)
	if qmp.IsClass(err, "DeviceNotFound") {
		return false, nil
	}
	var refused *qmp.Error
	if errors.As(err, &refused) {
		return false, fmt.Errorf("look for device: %w", err)
	}
	return err == nil, err
}
