package ovn

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/lib/ovsdb"
	"github.com/tropocloud/tropo/network/driver"
)

// wanted is one object of a State with its rendering.
type wanted struct {
	driver.Object
	render render
}

// Sync implements driver.Driver.
func (d *Driver) Sync(ctx context.Context, s driver.State) (driver.Drift, error) {
	var drift driver.Drift
	var errs []error
	if err := d.refresh(ctx); err != nil {
		return drift, err
	}
	if _, err := d.apply(ctx, base, renderBase); err != nil {
		return drift, err
	}
	keep := map[driver.Object]bool{}
	for _, w := range d.objects(s) {
		keep[w.Object] = true
		if !driver.ValidID(w.ID) {
			errs = append(errs, fault.Invalidf("Invalid %s id %q.", w.Kind, w.ID))
			continue
		}
		changed, err := d.apply(ctx, w.Object, w.render)
		if changed {
			drift.Healed = append(drift.Healed, w.Object)
		}
		if fault.Is(err, fault.Unavailable) {
			return drift, err
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	there, err := d.owned(ctx)
	if err != nil {
		return drift, err
	}
	for _, o := range there {
		if keep[o] || s.Known != nil && !slices.Contains(s.Known, o) {
			continue
		}
		gone := render(nothing)
		if o.Kind == driver.ObjectSubnet {
			gone = renderNoSubnet(o.ID)
		}
		changed, err := d.apply(ctx, o, gone)
		if changed {
			drift.Deleted = append(drift.Deleted, o)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return drift, errors.Join(errs...)
}

// objects lists the state in the order of containment.
func (d *Driver) objects(s driver.State) []wanted {
	var out []wanted
	add := func(kind driver.ObjectKind, id string, r render) {
		out = append(out, wanted{driver.Object{Kind: kind, ID: id}, r})
	}
	for _, n := range s.Networks {
		add(driver.ObjectNetwork, n.ID, renderNetwork(n))
	}
	for _, n := range s.Subnets {
		add(driver.ObjectSubnet, n.ID, renderSubnet(n))
	}
	for _, g := range s.AddressGroups {
		add(driver.ObjectAddressGroup, g.ID, renderAddressGroup(g))
	}
	for _, g := range s.SecurityGroups {
		add(driver.ObjectSecurityGroup, g.ID, renderSecurityGroup(g))
	}
	for _, p := range s.Ports {
		add(driver.ObjectPort, p.ID, renderPort(p))
	}
	for _, r := range s.Routers {
		add(driver.ObjectRouter, r.ID, renderRouter(r, d.opts.GatewayChassis))
	}
	for _, f := range s.FloatingIPs {
		add(driver.ObjectFloatingIP, f.ID, renderFloatingIP(f))
	}
	return out
}

// refresh waits until the cache holds what others wrote up to now.
func (d *Driver) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.opts.Timeout)
	defer cancel()
	return unavailable(d.client.Barrier(ctx))
}

// Owned implements driver.Driver.
func (d *Driver) Owned(ctx context.Context) ([]driver.Object, error) {
	if err := d.refresh(ctx); err != nil {
		return nil, err
	}
	return d.owned(ctx)
}

func (d *Driver) owned(ctx context.Context) ([]driver.Object, error) {
	found := map[driver.Object]bool{}
	err := d.view(ctx, func(v ovsdb.View) error {
		for _, table := range managedTables() {
			for _, owner := range v.Keys(table, indexOwner) {
				kind, id, _ := strings.Cut(owner, "/")
				if o := (driver.Object{Kind: driver.ObjectKind(kind), ID: id}); o != base {
					found[o] = true
				}
			}
		}
		return nil
	})
	out := make([]driver.Object, 0, len(found))
	for o := range found {
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b driver.Object) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
	})
	return out, err
}
