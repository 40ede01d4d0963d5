package manager

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/fault"
)

// NetworkRef is what the old API shows of a network.
type NetworkRef struct {
	ID   string
	Name string
}

// ProjectNetworks lists the networks that servers of the caller's project can
// have: its own and the shared ones; all: those of every project.
func (m *Manager) ProjectNetworks(ctx context.Context, all bool) ([]NetworkRef, error) {
	p, err := m.peer(ctx, "network", asCaller)
	if err != nil {
		return nil, err
	}
	var out struct {
		Networks []networkDoc `json:"networks"`
	}
	if err := p.get(ctx, "networks", &out); err != nil {
		return nil, err
	}
	project, list := auth.From(ctx).Project.ID, []NetworkRef{}
	for _, n := range out.Networks {
		if all || n.Project == project || n.Shared {
			list = append(list, NetworkRef{ID: n.ID, Name: n.Name})
		}
	}
	return list, nil
}

// Network returns a network that the caller may see.
func (m *Manager) Network(ctx context.Context, id string) (*NetworkRef, error) {
	p, err := m.peer(ctx, "network", asCaller)
	if err != nil {
		return nil, err
	}
	var out struct {
		Network networkDoc `json:"network"`
	}
	if err := p.get(ctx, "networks/"+segment(id), &out); err != nil {
		if isMissing(err) {
			return nil, fault.New(fault.NotFound, "Network not found")
		}
		return nil, err
	}
	return &NetworkRef{ID: out.Network.ID, Name: out.Network.Name}, nil
}

// segment makes an id that a caller chose one segment of a path.
func segment(id string) string {
	if strings.Trim(id, ".") == "" {
		return "-" // no service has such an id
	}
	return url.PathEscape(id)
}

// FloatingIP is a floating IP as the old API shows it.
type FloatingIP struct {
	ID       string
	IP       string
	FixedIP  string // "": not associated
	Pool     string // the external network's name
	ServerID string
}

type floatingDoc struct {
	ID      string  `json:"id"`
	IP      string  `json:"floating_ip_address"`
	Fixed   *string `json:"fixed_ip_address"`
	Port    *string `json:"port_id"`
	Network string  `json:"floating_network_id"`
}

// FloatingIPs lists the floating IPs of the caller's project.
func (m *Manager) FloatingIPs(ctx context.Context) ([]FloatingIP, error) {
	return m.floatingIPs(ctx, url.Values{"project_id": {auth.From(ctx).Project.ID}})
}

// FloatingIP returns one of the caller's floating IPs.
func (m *Manager) FloatingIP(ctx context.Context, id string) (*FloatingIP, error) {
	list, err := m.floatingIPs(ctx, url.Values{"id": {id}})
	if err == nil && len(list) == 0 {
		err = fault.New(fault.NotFound, "Floating IP not found for ID %s", id)
	}
	if err != nil {
		return nil, err
	}
	return &list[0], nil
}

// floatingIPs reads floating IPs with their pools and servers.
func (m *Manager) floatingIPs(ctx context.Context, q url.Values) ([]FloatingIP, error) {
	p, err := m.peer(ctx, "network", asCaller)
	if err != nil {
		return nil, err
	}
	var found struct {
		List []floatingDoc `json:"floatingips"`
	}
	if err := p.get(ctx, "floatingips?"+q.Encode(), &found); err != nil {
		return nil, err
	}
	nets, ports := url.Values{}, url.Values{}
	for _, f := range found.List {
		add(nets, "id", f.Network)
		if f.Port != nil {
			add(ports, "id", *f.Port)
		}
	}
	var out struct {
		Networks []networkDoc `json:"networks"`
		Ports    []portDoc    `json:"ports"`
	}
	for path, q := range map[string]url.Values{"networks": nets, "ports": ports} {
		if len(q) == 0 {
			continue
		}
		if err := p.get(ctx, path+"?"+q.Encode(), &out); err != nil {
			return nil, err
		}
	}
	list := []FloatingIP{}
	for _, f := range found.List {
		v := FloatingIP{ID: f.ID, IP: f.IP}
		if f.Fixed != nil {
			v.FixedIP = *f.Fixed
		}
		for _, n := range out.Networks {
			if n.ID == f.Network {
				v.Pool = n.Name
			}
		}
		for _, d := range out.Ports {
			if f.Port != nil && d.ID == *f.Port {
				v.ServerID = d.DeviceID
			}
		}
		list = append(list, v)
	}
	return list, nil
}

// FloatingPools lists the external networks.
func (m *Manager) FloatingPools(ctx context.Context) ([]NetworkRef, error) {
	p, err := m.peer(ctx, "network", asCaller)
	if err != nil {
		return nil, err
	}
	var out struct {
		Networks []networkDoc `json:"networks"`
	}
	if err := p.get(ctx, "networks?router%3Aexternal=true", &out); err != nil {
		return nil, err
	}
	list := []NetworkRef{}
	for _, n := range out.Networks {
		if n.External {
			list = append(list, NetworkRef{ID: n.ID, Name: n.Name})
		}
	}
	return list, nil
}

// CreateFloatingIP takes an address of a pool, which is named by id or name;
// "": the only pool, or the first.
func (m *Manager) CreateFloatingIP(ctx context.Context, pool string) (*FloatingIP, error) {
	pools, err := m.FloatingPools(ctx)
	if err != nil {
		return nil, err
	}
	id := ""
	for _, n := range pools {
		if pool == "" || n.ID == pool || n.Name == pool {
			id = n.ID
			break
		}
	}
	if id == "" {
		return nil, fault.New(fault.NotFound, "Floating IP pool not found.")
	}
	p, err := m.peer(ctx, "network", asCaller)
	if err != nil {
		return nil, err
	}
	var out struct {
		Floating floatingDoc `json:"floatingip"`
	}
	if err := p.do(ctx, http.MethodPost, "floatingips", doc{"floatingip": doc{"floating_network_id": id}}, &out); err != nil {
		return nil, refusedByNetwork(err)
	}
	return m.FloatingIP(ctx, out.Floating.ID)
}

// DeleteFloatingIP gives an address back.
func (m *Manager) DeleteFloatingIP(ctx context.Context, id string) error {
	return m.deleteOfNetwork(ctx, "floatingips/"+segment(id))
}

// AddFloatingIP gives a server a floating address of the project; fixed "":
// the server's first IPv4 address.
func (m *Manager) AddFloatingIP(ctx context.Context, s *compute.Server, address, fixed string) error {
	ports, err := m.Interfaces(ctx, s)
	if err != nil {
		return err
	}
	port := ""
	for i := range ports {
		for _, a := range ports[i].Info.Addresses {
			if port == "" && (a.IP == fixed || fixed == "" && !isIPv6(a.IP)) {
				port, fixed = ports[i].PortID, a.IP
			}
		}
	}
	switch {
	case port == "" && fixed != "":
		return fault.Invalidf("Specified fixed address not assigned to instance")
	case port == "":
		return fault.Invalidf("No fixed IPs associated to instance")
	}
	f, err := m.floatingAt(ctx, address)
	if err != nil {
		return err
	}
	return m.moveFloating(ctx, f.ID, doc{"port_id": port, "fixed_ip_address": fixed}, s.ID, f.ServerID)
}

// RemoveFloatingIP takes a floating address from a server.
func (m *Manager) RemoveFloatingIP(ctx context.Context, s *compute.Server, address string) error {
	f, err := m.floatingAt(ctx, address)
	if err != nil {
		return err
	}
	switch f.ServerID {
	case s.ID:
		return m.moveFloating(ctx, f.ID, doc{"port_id": nil}, s.ID)
	case "":
		return fault.New(fault.Unprocessable, "Floating IP %s is not associated with instance %s.", address, s.ID)
	}
	return fault.Conflictf("Floating IP %s is not associated with instance %s.", address, s.ID)
}

func (m *Manager) floatingAt(ctx context.Context, address string) (*FloatingIP, error) {
	list, err := m.floatingIPs(ctx, url.Values{"floating_ip_address": {address}})
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].IP == address {
			return &list[i], nil
		}
	}
	return nil, fault.New(fault.NotFound, "floating IP not found")
}

// moveFloating changes what a floating IP leads to, and what is shown of the
// servers that it concerns.
func (m *Manager) moveFloating(ctx context.Context, id string, to doc, servers ...string) error {
	p, err := m.peer(ctx, "network", asCaller)
	if err != nil {
		return err
	}
	if err := p.do(ctx, http.MethodPut, "floatingips/"+segment(id), doc{"floatingip": to}, nil); err != nil {
		return refusedByNetwork(err)
	}
	for _, s := range servers {
		if s == "" {
			continue
		}
		if err := m.refreshPorts(ctx, s); err != nil {
			return err
		}
	}
	return nil
}
