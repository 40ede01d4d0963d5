package fake

import (
	"context"
	"errors"
	"slices"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network/driver"
)

// ensured is one object ready to be stored, as each Ensure method and Sync
// make it.
type ensured struct {
	o         driver.Object
	value     any
	container driver.Object
	refusal   error // why it can't be made at all
	problems  []error
}

func (d *Driver) ensure(ctx context.Context, e ensured) (bool, error) {
	if e.refusal != nil {
		return false, e.refusal
	}
	return d.put(ctx, e.o, e.value, e.container, e.problems...)
}

func object(kind driver.ObjectKind, id string) driver.Object {
	return driver.Object{Kind: kind, ID: id}
}

func network(n driver.Network) ensured {
	return ensured{o: object(driver.ObjectNetwork, n.ID), value: n, refusal: n.Validate()}
}

func subnet(s driver.Subnet) ensured {
	e := ensured{o: object(driver.ObjectSubnet, s.ID), value: s, container: object(driver.ObjectNetwork, s.NetworkID)}
	if !s.CIDR.IsValid() {
		e.refusal = fault.Invalidf("Subnet %s has no valid CIDR.", s.ID)
	}
	return e
}

func port(p driver.Port) ensured {
	e := ensured{o: object(driver.ObjectPort, p.ID), value: p, container: object(driver.ObjectNetwork, p.NetworkID)}
	if _, ok := driver.NormalMAC(p.MAC); !ok {
		e.refusal = fault.Invalidf("Port %s: invalid MAC address %q.", p.ID, p.MAC)
	}
	for _, pair := range p.AllowedPairs {
		e.problems = append(e.problems, pair.Validate())
	}
	for _, o := range p.DHCPOptions {
		_, _, _, err := o.Translate()
		e.problems = append(e.problems, err)
	}
	return e
}

func securityGroup(g driver.SecurityGroup) ensured {
	e := ensured{o: object(driver.ObjectSecurityGroup, g.ID), value: g}
	for _, r := range g.Rules {
		e.problems = append(e.problems, r.Validate())
	}
	return e
}

func router(r driver.Router) ensured {
	e := ensured{o: object(driver.ObjectRouter, r.ID), value: r}
	for _, route := range r.Routes {
		e.problems = append(e.problems, route.Validate())
	}
	return e
}

func floatingIP(f driver.FloatingIP) ensured {
	return ensured{o: object(driver.ObjectFloatingIP, f.ID), value: f, container: object(driver.ObjectRouter, f.RouterID), refusal: f.Validate()}
}

// EnsureNetwork implements driver.Driver.
func (d *Driver) EnsureNetwork(ctx context.Context, n driver.Network) error {
	_, err := d.ensure(ctx, network(n))
	return err
}

// DeleteNetwork implements driver.Driver.
func (d *Driver) DeleteNetwork(ctx context.Context, id string) error {
	return d.remove(ctx, driver.ObjectNetwork, id)
}

// EnsureSubnet implements driver.Driver.
func (d *Driver) EnsureSubnet(ctx context.Context, s driver.Subnet) error {
	if !s.DHCP && s.CIDR.IsValid() {
		return d.DeleteSubnet(ctx, s.ID) // without DHCP there is nothing to hold
	}
	_, err := d.ensure(ctx, subnet(s))
	return err
}

// DeleteSubnet implements driver.Driver.
func (d *Driver) DeleteSubnet(ctx context.Context, id string) error {
	return d.remove(ctx, driver.ObjectSubnet, id)
}

// EnsurePort implements driver.Driver.
func (d *Driver) EnsurePort(ctx context.Context, p driver.Port) error {
	if p.Kind == driver.KindReserved {
		return d.DeletePort(ctx, p.ID)
	}
	_, err := d.ensure(ctx, port(p))
	return err
}

// DeletePort implements driver.Driver.
func (d *Driver) DeletePort(ctx context.Context, id string) error {
	return d.remove(ctx, driver.ObjectPort, id)
}

// EnsureSecurityGroup implements driver.Driver.
func (d *Driver) EnsureSecurityGroup(ctx context.Context, g driver.SecurityGroup) error {
	_, err := d.ensure(ctx, securityGroup(g))
	return err
}

// DeleteSecurityGroup implements driver.Driver.
func (d *Driver) DeleteSecurityGroup(ctx context.Context, id string) error {
	return d.remove(ctx, driver.ObjectSecurityGroup, id)
}

// EnsureAddressGroup implements driver.Driver.
func (d *Driver) EnsureAddressGroup(ctx context.Context, g driver.AddressGroup) error {
	_, err := d.ensure(ctx, ensured{o: object(driver.ObjectAddressGroup, g.ID), value: g})
	return err
}

// DeleteAddressGroup implements driver.Driver.
func (d *Driver) DeleteAddressGroup(ctx context.Context, id string) error {
	return d.remove(ctx, driver.ObjectAddressGroup, id)
}

// EnsureRouter implements driver.Driver.
func (d *Driver) EnsureRouter(ctx context.Context, r driver.Router) error {
	_, err := d.ensure(ctx, router(r))
	return err
}

// DeleteRouter implements driver.Driver.
func (d *Driver) DeleteRouter(ctx context.Context, id string) error {
	return d.remove(ctx, driver.ObjectRouter, id)
}

// EnsureFloatingIP implements driver.Driver.
func (d *Driver) EnsureFloatingIP(ctx context.Context, f driver.FloatingIP) error {
	_, err := d.ensure(ctx, floatingIP(f))
	return err
}

// DeleteFloatingIP implements driver.Driver.
func (d *Driver) DeleteFloatingIP(ctx context.Context, id string) error {
	return d.remove(ctx, driver.ObjectFloatingIP, id)
}

// Sync implements driver.Driver.
func (d *Driver) Sync(ctx context.Context, s driver.State) (driver.Drift, error) {
	var drift driver.Drift
	var errs []error
	keep := map[driver.Object]bool{}
	for _, e := range all(s) {
		keep[e.o] = true
		changed, err := d.ensure(ctx, e)
		if changed {
			drift.Healed = append(drift.Healed, e.o)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	there, err := d.Owned(ctx)
	if err != nil {
		return drift, err
	}
	for _, o := range there {
		if !keep[o] && (s.Known == nil || slices.Contains(s.Known, o)) {
			errs = append(errs, d.remove(ctx, o.Kind, o.ID))
			drift.Deleted = append(drift.Deleted, o)
		}
	}
	return drift, errors.Join(errs...)
}

func all(s driver.State) []ensured {
	var out []ensured
	for _, n := range s.Networks {
		out = append(out, network(n))
	}
	for _, n := range s.Subnets {
		if n.DHCP {
			out = append(out, subnet(n))
		}
	}
	for _, g := range s.AddressGroups {
		out = append(out, ensured{o: object(driver.ObjectAddressGroup, g.ID), value: g})
	}
	for _, g := range s.SecurityGroups {
		out = append(out, securityGroup(g))
	}
	for _, p := range s.Ports {
		if p.Kind != driver.KindReserved {
			out = append(out, port(p))
		}
	}
	for _, r := range s.Routers {
		out = append(out, router(r))
	}
	for _, f := range s.FloatingIPs {
		out = append(out, floatingIP(f))
	}
	return out
}
