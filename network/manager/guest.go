package manager

import (
	"context"
	"net"
	"net/netip"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network"
)

// GuestAt returns the server, and its project, whose port has an address in a
// network; for the metadata service. A link-local IPv6 address is looked up by
// the MAC that it was made from.
func (m *Manager) GuestAt(ctx context.Context, networkID string, a netip.Addr) (server, project string, err error) {
	var p *network.Port
	if a.Is6() && a.IsLinkLocalUnicast() {
		list, err := m.store.PortsOf(ctx, db.Where().Eq("network_id", networkID).Eq("mac_address", macOf(a)))
		if err != nil {
			return "", "", err
		}
		if len(list) > 0 {
			p = &list[0]
		}
	} else if p, err = m.portWith(ctx, networkID, a); err != nil {
		return "", "", err
	}
	if p == nil || p.DeviceID == "" || network.OfService(p.DeviceOwner) {
		return "", "", fault.New(fault.NotFound, "No server has the address %s.", a)
	}
	return p.DeviceID, p.ProjectID, nil
}

// macOf is the MAC of an address made by EUI-64.
func macOf(a netip.Addr) string {
	b := a.As16()
	return net.HardwareAddr{b[8] ^ 2, b[9], b[10], b[13], b[14], b[15]}.String()
}
