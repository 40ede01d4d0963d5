package manager

import (
	"context"
	"slices"
	"strings"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/store"
)

// UpdatePort changes a port.
func (m *Manager) UpdatePort(ctx context.Context, id string, c network.Change) (*network.Port, error) {
	return update(ctx, m, id, c, func(ctx context.Context, old, p *network.Port) (bool, error) {
		wishes := p.FixedIPs
		p.FixedIPs = old.FixedIPs
		if err := m.checkPortUpdate(ctx, old, p, c); err != nil {
			return false, err
		}
		if c.Has("extra_dhcp_opts") {
			p.DHCPOptions = mergeOptions(old.DHCPOptions, p.DHCPOptions)
		}
		if old.HostID != p.HostID || old.VNICType != p.VNICType || old.DeviceOwner != p.DeviceOwner || old.VIFType == vifFailed {
			if err := m.bind(ctx, p); err != nil {
				return false, err
			}
		}
		if old.HostID != p.HostID && !network.OfService(p.DeviceOwner) {
			p.Status = network.StatusDown
		}
		if err := m.checkPort(ctx, p); err != nil {
			return false, err
		}
		if c.Has("security_groups") {
			if err := m.store.SetGroups(ctx, id, p.Groups); err != nil {
				return false, err
			}
		}
		if c.Has("fixed_ips") || old.MAC != p.MAC {
			if !c.Has("fixed_ips") {
				wishes = rewish(ctx, m, old, p)
			}
			if err := m.checkFloating(ctx, p, wishes); err != nil {
				return false, err
			}
			if err := m.assign(ctx, p, wishes, true); err != nil {
				return false, err
			}
			m.store.AfterCommit(ctx, func() { m.tell.changed(p) })
		}
		return c.HasAny("security_groups", "fixed_ips"), m.markPort(ctx, p)
	})
}

// mergeOptions changes, adds and (without a value) removes DHCP options;
// others stay.
func mergeOptions(old, change []network.DHCPOption) []network.DHCPOption {
	out := slices.Clone(old)
	for _, o := range change {
		i := slices.IndexFunc(out, func(x network.DHCPOption) bool { return x.Name == o.Name && x.IPVersion == o.IPVersion })
		switch {
		case i >= 0 && o.Value == "":
			out = slices.Delete(out, i, i+1)
		case i >= 0:
			out[i] = o
		case o.Value != "":
			out = append(out, o)
		}
	}
	return out
}

// rewish keeps the addresses on a change of the MAC, but makes automatic ones
// anew.
func rewish(ctx context.Context, m *Manager, old, p *network.Port) []wish {
	var out []wish
	for _, f := range old.FixedIPs {
		if s, err := store.Get[network.Subnet](ctx, m.store, f.SubnetID); err == nil && s.Auto() {
			continue
		}
		out = append(out, f)
	}
	return out
}

func (m *Manager) checkPortUpdate(ctx context.Context, old, p *network.Port, c network.Change) error {
	if old.DeviceOwner != p.DeviceOwner {
		if err := checkOwner(ctx, p.DeviceOwner); err != nil {
			return err
		}
	}
	if old.MAC != p.MAC {
		if old.HostID != "" && strings.HasPrefix(old.DeviceOwner, "compute:") {
			return conflict("PortBound", "Unable to complete operation on port %s, port is already bound, port type: %s, old_mac %s, new_mac %s.", p.ID, old.VIFType, old.MAC, p.MAC)
		}
		if err := m.checkMAC(ctx, p); err != nil {
			return err
		}
	}
	if network.OfRouter(old.DeviceOwner) {
		if c.HasAny("device_id", "device_owner") && (old.DeviceID != p.DeviceID || old.DeviceOwner != p.DeviceOwner) {
			return conflict("ServicePortInUse", "Port %s cannot be changed directly via the port API: has device owner %s.", p.ID, old.DeviceOwner)
		}
	} else if network.OfRouter(p.DeviceOwner) && p.DeviceID != "" && old.DeviceID != p.DeviceID {
		// Plugging into a router goes by the router's API alone, which checks
		// who may (CVE-2014-0056).
		return conflict("DeviceIDNotOwnedByTenant", "The following device_id %s is not owned by your tenant or matches another tenants router.", p.DeviceID)
	}
	return nil
}

// checkFloating refuses to take an address away that a floating IP leads to.
func (m *Manager) checkFloating(ctx context.Context, p *network.Port, wishes []wish) error {
	fips, err := store.Select[network.FloatingIP](ctx, m.store, db.Where().Eq("port_id", p.ID))
	if err != nil {
		return err
	}
	for i := range fips {
		f := &fips[i]
		keeps := false
		for _, w := range wishes {
			keeps = keeps || f.FixedIP != nil && w.Address == *f.FixedIP || w.Address == ""
		}
		if keeps {
			continue
		}
		if err := m.detachFloating(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// DeletePort deletes a port that is no part of a router or floating IP.
func (m *Manager) DeletePort(ctx context.Context, id string, ifMatch int) error {
	err := m.tx(ctx, func(ctx context.Context) error {
		p, err := store.Find[network.Port](ctx, m.store, scope(ctx), id)
		if err != nil {
			return err
		}
		if err := match(p, ifMatch); err != nil {
			return err
		}
		if network.OfRouter(p.DeviceOwner) || p.DeviceOwner == network.OwnerFloatingIP {
			held, err := m.held(ctx, p)
			if err != nil {
				return err
			}
			if held {
				return conflict("ServicePortInUse", "Port %s cannot be deleted directly via the port API: has device owner %s.", id, p.DeviceOwner)
			}
		}
		fips, err := store.Select[network.FloatingIP](ctx, m.store, db.Where().Eq("port_id", id))
		if err != nil {
			return err
		}
		for i := range fips {
			if err := m.detachFloating(ctx, &fips[i]); err != nil {
				return err
			}
		}
		m.store.AfterCommit(ctx, func() { m.tell.deleted(p) })
		return m.dropPort(ctx, p)
	})
	return err
}

// held says whether the router or floating IP that a port belongs to exists.
func (m *Manager) held(ctx context.Context, p *network.Port) (bool, error) {
	var err error
	if p.DeviceOwner == network.OwnerFloatingIP {
		_, err = store.Get[network.FloatingIP](ctx, m.store, p.DeviceID)
	} else {
		_, err = store.Get[network.Router](ctx, m.store, p.DeviceID)
	}
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil, err
}

// dropPort deletes a port's rows and marks it.
func (m *Manager) dropPort(ctx context.Context, p *network.Port) error {
	if err := m.store.ReleaseAll(ctx, p.ID); err != nil {
		return err
	}
	if err := m.store.SetGroups(ctx, p.ID, nil); err != nil {
		return err
	}
	if _, err := store.Delete(ctx, m.store, p); err != nil {
		return err
	}
	return m.markPort(ctx, p)
}

// PortUp takes the dataplane's word that a port's wiring came up or went down.
func (m *Manager) PortUp(ctx context.Context, id string, up bool) error {
	p, err := store.Get[network.Port](ctx, m.store, id)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil || network.OfService(p.DeviceOwner) {
		return err
	}
	status := network.StatusDown
	if up && p.AdminStateUp && p.HostID != "" {
		status = network.StatusActive
	}
	changed, err := m.store.SetPortStatus(ctx, id, status)
	if err == nil && changed {
		m.tell.status(p, status)
	}
	return err
}
