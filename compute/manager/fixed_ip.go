package manager

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/store"
	"github.com/tropocloud/tropo/fault"
)

var multinicStates = store.Expect{VM: []compute.VMState{
	compute.StateActive, compute.StatePaused, compute.StateSuspended, compute.StateStopped, compute.StateRescued,
}}

// AddFixedIP gives a server another address of a network on which it has a
// port: of the first subnet that has one left.
func (m *Manager) AddFixedIP(ctx context.Context, s *compute.Server, networkID string) error {
	ports, p, err := m.multinic(ctx, s, "add_fixed_ip")
	if err != nil {
		return err
	}
	var out struct {
		Subnets []subnetDoc `json:"subnets"`
	}
	if err := p.get(ctx, "subnets?"+url.Values{"network_id": {networkID}}.Encode(), &out); err != nil {
		return err
	}
	slices.SortStableFunc(out.Subnets, func(a, b subnetDoc) int { return a.Version - b.Version })
	for i := range ports {
		d := &ports[i]
		if d.Network != networkID {
			continue
		}
		for _, n := range out.Subnets {
			err := m.setAddresses(ctx, p, s, d, append(addresses(d, ""), doc{"subnet_id": n.ID}))
			if err == nil || !fault.Is(err, fault.Conflict) {
				return err
			}
		}
		return fault.Invalidf("No fixed IP addresses available for network: %s", networkID)
	}
	return fault.Invalidf("Network could not be found for instance %s.", s.ID)
}

// RemoveFixedIP takes an address away from a server.
func (m *Manager) RemoveFixedIP(ctx context.Context, s *compute.Server, address string) error {
	ports, p, err := m.multinic(ctx, s, "remove_fixed_ip")
	if err != nil {
		return err
	}
	for i := range ports {
		d := &ports[i]
		if left := addresses(d, address); len(left) < len(d.FixedIPs) {
			return m.setAddresses(ctx, p, s, d, left)
		}
	}
	return fault.Invalidf("Instance %s does not have fixed IP '%s'.", s.ID, address)
}

// multinic returns the ports of a server whose addresses may be changed.
func (m *Manager) multinic(ctx context.Context, s *compute.Server, action string) ([]portDoc, *peer, error) {
	if err := unlocked(ctx, s); err != nil {
		return nil, nil, err
	}
	if !fits(s, multinicStates) {
		return nil, nil, refusal(s, action, multinicStates)
	}
	p, err := m.peer(ctx, "network", asCaller)
	if err != nil {
		return nil, nil, err
	}
	var out struct {
		Ports []portDoc `json:"ports"`
	}
	err = p.get(ctx, "ports?"+url.Values{"device_id": {s.ID}}.Encode(), &out)
	return out.Ports, p, err
}

// addresses are a port's addresses but for one, as the network API takes them.
func addresses(d *portDoc, but string) []doc {
	out := []doc{}
	for _, f := range d.FixedIPs {
		if f.IP != but {
			out = append(out, doc{"subnet_id": f.Subnet, "ip_address": f.IP})
		}
	}
	return out
}

func (m *Manager) setAddresses(ctx context.Context, p *peer, s *compute.Server, d *portDoc, list []doc) error {
	if err := p.do(ctx, http.MethodPut, "ports/"+segment(d.ID), doc{"port": doc{"fixed_ips": list}}, nil); err != nil {
		return portFault(err)
	}
	return m.refreshPorts(ctx, s.ID)
}
