package manager

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/store"
)

// CreatePort makes a port on a network that the caller may see.
func (m *Manager) CreatePort(ctx context.Context, c network.Change) (*network.Port, error) {
	var out *network.Port
	err := m.tx(ctx, func(ctx context.Context) error {
		p := &network.Port{Status: network.StatusDown, VNICType: "normal"}
		if err := c.Into(p); err != nil {
			return err
		}
		if err := checkOwner(ctx, p.DeviceOwner); err != nil {
			return err
		}
		wishes := p.FixedIPs
		p.FixedIPs = nil
		p.DHCPOptions = mergeOptions(nil, p.DHCPOptions)
		if err := m.reserve(ctx, p.Kind(), p.ProjectID, 1); err != nil {
			return err
		}
		n, err := store.Find[network.Network](ctx, m.store, scope(ctx), p.NetworkID)
		if err != nil {
			return err
		}
		if err := m.addPort(ctx, p, n, portOptions{
			wishes: wishes, given: c.Has("fixed_ips"), groups: c.Has("security_groups"), security: c.Has("port_security_enabled"),
		}); err != nil {
			return err
		}
		out, err = store.Find[network.Port](ctx, m.store, network.Scope{All: true}, p.ID)
		return err
	})
	return out, err
}

// checkOwner keeps users from posing as the service: a port that claims to be
// the metadata service's or a router's would be wired as one (CVE-2015-5240).
func checkOwner(ctx context.Context, owner string) error {
	switch owner {
	case network.OwnerDistributed, network.OwnerRouterInterface, network.OwnerRouterGateway, network.OwnerFloatingIP:
		if !scope(ctx).All {
			return fault.Forbiddenf("The device owner %s is the network service's own.", owner).WithType("PolicyNotAuthorized")
		}
	}
	return nil
}

// portOptions tell which attributes of a new port were given.
type portOptions struct {
	wishes   []wish
	given    bool // wishes were given, perhaps empty
	groups   bool
	security bool
}

// addPort completes, checks and writes a new port.
func (m *Manager) addPort(ctx context.Context, p *network.Port, n *network.Network, o portOptions) error {
	if err := m.chooseMAC(ctx, p); err != nil {
		return err
	}
	if !o.security {
		p.PortSecurity = n.PortSecurity && !network.OfService(p.DeviceOwner)
	}
	switch {
	case network.OfRouter(p.DeviceOwner), p.DeviceOwner == network.OwnerDistributed:
		p.Status = network.StatusActive
	case p.DeviceOwner == network.OwnerFloatingIP:
		p.Status = "N/A"
	}
	if err := m.bind(ctx, p); err != nil {
		return err
	}
	groups := p.Groups
	if !o.groups && p.PortSecurity && !network.OfService(p.DeviceOwner) {
		id, err := m.defaultGroup(ctx, p.ProjectID)
		if err != nil {
			return err
		}
		groups = []string{id}
	}
	p.Groups = groups
	if err := m.checkPort(ctx, p); err != nil {
		return err
	}
	if err := store.Insert(ctx, m.store, p); err != nil {
		if db.IsUnique(err) {
			return fmt.Errorf("%w: MAC address", errAgain)
		}
		return err
	}
	if err := m.store.SetGroups(ctx, p.ID, groups); err != nil {
		return err
	}
	if err := m.assign(ctx, p, o.wishes, o.given); err != nil {
		return err
	}
	return m.markPort(ctx, p)
}

// chooseMAC makes an address where none is given; one that another port of
// the network has is refused.
func (m *Manager) chooseMAC(ctx context.Context, p *network.Port) error {
	if p.MAC != "" {
		return m.checkMAC(ctx, p)
	}
	base, err := net.ParseMAC(m.conf.BaseMAC)
	if err != nil || len(base) != 6 {
		return fmt.Errorf("option base_mac: %q is no MAC address", m.conf.BaseMAC)
	}
	for range 16 {
		r := rand.Uint32()
		p.MAC = net.HardwareAddr{base[0], base[1], base[2], byte(r >> 16), byte(r >> 8), byte(r)}.String()
		same, err := m.store.PortsOf(ctx, db.Where().Eq("network_id", p.NetworkID).Eq("mac_address", p.MAC))
		if err != nil || len(same) == 0 {
			return err
		}
	}
	return conflict("MacAddressGenerationFailure", "Unable to generate unique mac on network %s.", p.NetworkID)
}

func (m *Manager) checkMAC(ctx context.Context, p *network.Port) error {
	same, err := m.store.PortsOf(ctx, db.Where().Eq("network_id", p.NetworkID).Eq("mac_address", p.MAC).Ne("id", p.ID))
	if err == nil && len(same) > 0 {
		return conflict("MacAddressInUse", "Unable to complete operation for network %s. The mac address %s is in use.", p.NetworkID, p.MAC)
	}
	return err
}

// markPort marks a port, and the router whose leg it is.
func (m *Manager) markPort(ctx context.Context, p *network.Port) error {
	if err := m.mark(ctx, network.DirtyPort, p.ID); err != nil {
		return err
	}
	switch {
	case network.OfRouter(p.DeviceOwner) && p.DeviceID != "":
		return m.mark(ctx, network.DirtyRouter, p.DeviceID)
	case p.DeviceOwner == network.OwnerDistributed:
		if err := m.mark(ctx, network.DirtyNetwork, p.NetworkID); err != nil { // serves metadata, or ends it
			return err
		}
		for _, f := range p.FixedIPs {
			if err := m.mark(ctx, network.DirtySubnet, f.SubnetID); err != nil {
				return err
			}
		}
	}
	return nil
}

// bind computes what follows from binding:host_id: on a host with a living
// agent that has the network's wire the port is wired as that host does it,
// elsewhere binding fails.
func (m *Manager) bind(ctx context.Context, p *network.Port) error {
	p.VIFDetails = network.Map{}
	switch {
	case p.DeviceOwner == network.OwnerFloatingIP || network.OfRouter(p.DeviceOwner) || p.DeviceOwner == network.OwnerDistributed, p.HostID == "":
		p.VIFType = "unbound"
		return nil
	case p.VNICType != "normal":
		p.VIFType = vifFailed
		return nil
	}
	a, err := m.controllerOf(ctx, p.HostID)
	if err != nil {
		return err
	}
	ok := a != nil && m.Alive(a)
	if ok {
		if ok, err = m.wired(ctx, a, p.NetworkID); err != nil {
			return err
		}
	}
	if !ok {
		p.VIFType = vifFailed
		return nil
	}
	p.VIFType = text(a.Config, "vif_type", m.plane.VIFType)
	p.VIFDetails = network.Map{
		"port_filter": true, "connectivity": "l2", "bridge_name": text(a.Config, "integration_bridge", m.plane.Bridge),
		"datapath_type":   text(a.Config, "datapath-type", m.plane.DatapathType),
		"ovs_hybrid_plug": false, "bound_drivers": map[string]any{"0": "ovn"},
	}
	return nil
}

// vifFailed is the binding:vif_type of a port that its host can't wire.
const vifFailed = "binding_failed"

// controllerOf is the agent that wires a host's ports; nil: there is none.
func (m *Manager) controllerOf(ctx context.Context, host string) (*network.Agent, error) {
	agents, err := store.Select[network.Agent](ctx, m.store, db.Where().Eq("host", host))
	if err != nil {
		return nil, err
	}
	for i := range agents {
		if agents[i].IsController() {
			return &agents[i], nil
		}
	}
	return nil, nil
}

// wired says whether an agent's host has the physical network of a network.
func (m *Manager) wired(ctx context.Context, a *network.Agent, networkID string) (bool, error) {
	n, err := store.Get[network.Network](ctx, m.store, networkID)
	if err != nil || n.PhysicalNetwork == nil {
		return err == nil, err
	}
	list, _ := a.Config["bridge-mappings"].([]any)
	return slices.Contains(list, any(*n.PhysicalNetwork)), nil
}

// text is a text of an agent's configuration, or otherwise.
func text(c network.Map, key, otherwise string) string {
	if s, ok := c[key].(string); ok && s != "" {
		return s
	}
	return otherwise
}
