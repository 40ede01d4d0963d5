package manager

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/rest"
)

// networkDoc, portDoc and so on are what is read of the network API.
type networkDoc struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Project  string   `json:"project_id"`
	Shared   bool     `json:"shared"`
	External bool     `json:"router:external"`
	MTU      int      `json:"mtu"`
	Subnets  []string `json:"subnets"`
}

type portDoc struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Network  string `json:"network_id"`
	Project  string `json:"project_id"`
	MAC      string `json:"mac_address"`
	Status   string `json:"status"`
	DeviceID string `json:"device_id"`
	Owner    string `json:"device_owner"`
	Revision int    `json:"revision_number"`
	FixedIPs []struct {
		Subnet string `json:"subnet_id"`
		IP     string `json:"ip_address"`
	} `json:"fixed_ips"`
	Groups   []string `json:"security_groups"`
	HostID   string   `json:"binding:host_id"`
	VIFType  string   `json:"binding:vif_type"`
	VNICType string   `json:"binding:vnic_type"`
	Details  struct {
		Bridge   string `json:"bridge_name"`
		Datapath string `json:"datapath_type"`
	} `json:"binding:vif_details"`
}

type subnetDoc struct {
	ID      string          `json:"id"`
	CIDR    string          `json:"cidr"`
	Gateway *string         `json:"gateway_ip"`
	Version int             `json:"ip_version"`
	DHCP    bool            `json:"enable_dhcp"`
	V6Mode  *string         `json:"ipv6_address_mode"`
	DNS     []string        `json:"dns_nameservers"`
	Routes  []compute.Route `json:"host_routes"`
}

// NetworkRequest is one entry of a server's networks.
type NetworkRequest struct {
	NetworkID string
	PortID    string
	FixedIP   string
	Tag       string
}

// checkNetworks turns what a caller asked for into port rows, checking that the
// caller may use it.
func (m *Manager) checkNetworks(ctx context.Context, want []NetworkRequest, mode string, count int) ([]compute.Port, error) {
	if mode == "none" {
		return nil, nil
	}
	p, err := m.peer(ctx, "network", asCaller)
	if err != nil {
		return nil, err
	}
	if len(want) == 0 {
		return m.defaultNetwork(ctx, p, mode)
	}
	var rows []compute.Port
	for i, w := range want {
		row := compute.Port{Position: i, Tag: w.Tag, State: compute.PortWanted}
		if w.PortID != "" {
			if count > 1 {
				return nil, fault.Invalidf("Unable to launch multiple instances with a single configured port ID. Please launch your instance one by one with different ports.")
			}
			err = m.checkPort(ctx, p, w.PortID, &row)
		} else {
			if w.FixedIP != "" && count > 1 {
				return nil, fault.Invalidf("Invalid fixed IP: several servers cannot have one address.")
			}
			row.Owned, row.FixedIP = true, w.FixedIP
			err = m.checkNetwork(ctx, p, w.NetworkID, &row)
		}
		if err != nil {
			return nil, err
		}
		if w.PortID != "" && slices.ContainsFunc(rows, func(r compute.Port) bool { return r.PortID == w.PortID }) {
			return nil, fault.Invalidf("Port %s is named twice.", w.PortID)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func (m *Manager) checkPort(ctx context.Context, p *peer, id string, row *compute.Port) error {
	var out struct {
		Port portDoc `json:"port"`
	}
	if err := p.get(ctx, "ports/"+segment(id), &out); err != nil {
		if isMissing(err) {
			return fault.Invalidf("Port %s could not be found.", id)
		}
		return err
	}
	if out.Port.DeviceID != "" {
		return fault.Conflictf("Port %s is still in use.", id)
	}
	if len(out.Port.FixedIPs) == 0 {
		return fault.Invalidf("Port %s requires a FixedIP in order to be used.", id)
	}
	row.PortID, row.NetworkID = id, out.Port.Network
	return nil
}

func (m *Manager) checkNetwork(ctx context.Context, p *peer, id string, row *compute.Port) error {
	var out struct {
		Network networkDoc `json:"network"`
	}
	if err := p.get(ctx, "networks/"+segment(id), &out); err != nil {
		if isMissing(err) {
			return fault.Invalidf("Network %s could not be found.", id)
		}
		return err
	}
	row.NetworkID = id
	return usable(ctx, &out.Network)
}

func usable(ctx context.Context, n *networkDoc) error {
	if len(n.Subnets) == 0 {
		return fault.Invalidf("Network %s requires a subnet in order to boot instances on.", n.ID)
	}
	if who := auth.From(ctx); n.External && !n.Shared && !who.IsAdmin() {
		return fault.Forbiddenf("It is not allowed to create an interface on external network %s", n.ID)
	}
	return nil
}

// defaultNetwork is the one network that the project can use, if there is one.
func (m *Manager) defaultNetwork(ctx context.Context, p *peer, mode string) ([]compute.Port, error) {
	project := auth.From(ctx).Project.ID
	byID := map[string]networkDoc{}
	for _, q := range []url.Values{{"project_id": {project}, "shared": {"false"}}, {"shared": {"true"}}} {
		var out struct {
			Networks []networkDoc `json:"networks"`
		}
		if err := p.get(ctx, "networks?"+q.Encode(), &out); err != nil {
			return nil, err
		}
		for _, n := range out.Networks {
			if n.Project == project || n.Shared {
				byID[n.ID] = n
			}
		}
	}
	switch {
	case len(byID) == 0 && mode == "auto":
		return m.autoNetwork(ctx, p, project)
	case len(byID) == 0:
		return nil, nil
	case len(byID) > 1:
		return nil, fault.Conflictf("Multiple possible networks found, use a Network ID to be more specific.")
	}
	for _, n := range byID {
		if err := usable(ctx, &n); err != nil {
			return nil, err
		}
		return []compute.Port{{NetworkID: n.ID, Owned: true, State: compute.PortWanted}}, nil
	}
	return nil, nil
}

// autoNetwork asks the network service for the project's automatic topology.
func (m *Manager) autoNetwork(ctx context.Context, p *peer, project string) ([]compute.Port, error) {
	var out struct {
		Topology struct {
			ID string `json:"id"`
		} `json:"auto_allocated_topology"`
	}
	if err := p.get(ctx, "auto-allocated-topology/"+segment(project), &out); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "Unable to automatically allocate a network for project %s", project)
	}
	return []compute.Port{{NetworkID: out.Topology.ID, Owned: true, State: compute.PortWanted}}, nil
}

// checkGroups finds the ids of security groups given by name or id.
func (m *Manager) checkGroups(ctx context.Context, names []string) ([]compute.SecurityGroup, error) {
	if len(names) == 0 {
		return nil, nil
	}
	p, err := m.peer(ctx, "network", asCaller)
	if err != nil {
		return nil, err
	}
	var out struct {
		Groups []compute.SecurityGroup `json:"security_groups"`
	}
	project := auth.From(ctx).Project.ID
	if err := p.get(ctx, "security-groups?"+url.Values{"project_id": {project}, "fields": {"id", "name"}}.Encode(), &out); err != nil {
		return nil, err
	}
	var found []compute.SecurityGroup
	for _, name := range names {
		g, err := pickGroup(out.Groups, name, project)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(found, *g) {
			found = append(found, *g)
		}
	}
	return found, nil
}

func pickGroup(list []compute.SecurityGroup, name, project string) (*compute.SecurityGroup, error) {
	var hit *compute.SecurityGroup
	for i := range list {
		g := &list[i]
		if g.ID == name {
			return g, nil
		}
		if g.Name == name {
			if hit != nil {
				return nil, fault.Conflictf("Multiple security groups found matching '%s'. Use an ID to be more specific.", name)
			}
			hit = g
		}
	}
	if hit == nil {
		return nil, fault.Invalidf("Security group %s not found for project %s.", name, project)
	}
	return hit, nil
}

// portsOf returns the network service's ports of a server.
func (m *Manager) portsOf(ctx context.Context, serverID string) ([]portDoc, *peer, error) {
	p, err := m.peer(ctx, "network", asService)
	if err != nil {
		return nil, nil, err
	}
	var out struct {
		Ports []portDoc `json:"ports"`
	}
	err = p.get(ctx, "ports?"+url.Values{"device_id": {serverID}}.Encode(), &out)
	return out.Ports, p, err
}

// ensurePort makes or binds the port of a row. A port that an interrupted try
// made is found again among the server's ports; one that it may still be making
// is not made twice, as all requests of an action for a row are one.
func (m *Manager) ensurePort(ctx context.Context, p *peer, s *compute.Server, row *compute.Port, have []portDoc, taken map[string]bool, actionID string) (*portDoc, error) {
	owner := "compute:" + s.Zone
	bind := doc{"device_id": s.ID, "device_owner": owner, "binding:host_id": s.Host}
	if row.PortID == "" {
		for i := range have {
			if d := &have[i]; !taken[d.ID] && d.Network == row.NetworkID && strings.HasPrefix(d.Owner, "compute:") && wantedAddress(d, row.FixedIP) {
				row.PortID = d.ID
				break
			}
		}
	}
	var out struct {
		Port portDoc `json:"port"`
	}
	if row.PortID == "" {
		in := bind
		in["network_id"], in["project_id"], in["admin_state_up"] = row.NetworkID, s.ProjectID, true
		if row.FixedIP != "" {
			in["fixed_ips"] = []doc{{"ip_address": row.FixedIP}}
		}
		if g := s.Spec.SecurityGroups; len(g) > 0 {
			ids := make([]string, len(g))
			for i := range g {
				ids[i] = g[i].ID
			}
			in["security_groups"] = ids
		}
		key := map[string]string{rest.IdempotencyKey: actionID + " " + row.ID + " " + s.Host}
		if err := p.doWith(ctx, http.MethodPost, "ports", doc{"port": in}, &out, key); err != nil {
			return nil, portFault(err)
		}
		row.PortID = out.Port.ID
	} else {
		d, err := m.mayTake(ctx, p, s, row, have)
		if err != nil {
			return nil, err
		}
		if err := p.doWith(ctx, http.MethodPut, "ports/"+segment(row.PortID), doc{"port": bind}, &out, d.unchanged()); err != nil {
			return nil, portFault(err)
		}
	}
	taken[row.PortID] = true
	return &out.Port, nil
}

// mayTake returns the port of a row as it is before it is bound, and makes sure
// that nothing else has it: two servers may have been asked for with one port at
// once, and the first to bind it gets it.
func (m *Manager) mayTake(ctx context.Context, p *peer, s *compute.Server, row *compute.Port, have []portDoc) (*portDoc, error) {
	for i := range have {
		if have[i].ID == row.PortID {
			return &have[i], nil
		}
	}
	var out struct {
		Port portDoc `json:"port"`
	}
	if err := p.get(ctx, "ports/"+segment(row.PortID), &out); err != nil {
		return nil, portFault(err)
	}
	if d := out.Port.DeviceID; d != "" && d != s.ID {
		return nil, fault.Conflictf("Port %s is still in use.", row.PortID)
	}
	return &out.Port, nil
}

// unchanged is a header that has a change of the port refused where it is not as
// it was seen: a request that is handled late does not touch what became of the
// port meanwhile.
func (d *portDoc) unchanged() map[string]string {
	if d.Revision == 0 {
		return nil // the network service does not count changes
	}
	return map[string]string{"If-Match": fmt.Sprintf("revision_number=%d", d.Revision)}
}

func wantedAddress(d *portDoc, ip string) bool {
	if ip == "" {
		return true
	}
	for _, f := range d.FixedIPs {
		if f.IP == ip {
			return true
		}
	}
	return false
}

// portFault keeps a refusal's words, which name nothing of the infrastructure,
// and makes anything unclear a fault of the network. A port that has just been
// changed by somebody else is looked at again.
func portFault(err error) error {
	if fault.Is(err, fault.Precondition) {
		return fault.Wrap(fault.Unavailable, err, "The port was changed meanwhile.")
	}
	if f, ok := fault.As(err); ok && f.Kind != fault.Internal {
		return err
	}
	return fault.Wrap(fault.Internal, err, "The network of the server could not be set up.")
}

// dropPort deletes a port made for a server, or lets a given one go.
func (m *Manager) dropPort(ctx context.Context, p *peer, row *compute.Port) error {
	if row.PortID == "" {
		return nil
	}
	if row.Owned {
		return p.remove(ctx, "ports/"+segment(row.PortID))
	}
	var out struct {
		Port portDoc `json:"port"`
	}
	err := p.get(ctx, "ports/"+segment(row.PortID), &out)
	if isMissing(err) || err == nil && out.Port.DeviceID != row.ServerID {
		return nil // gone, or somebody else's by now
	}
	if err != nil {
		return err
	}
	in := doc{"port": doc{"device_id": "", "device_owner": "", "binding:host_id": ""}}
	err = p.doWith(ctx, http.MethodPut, "ports/"+segment(row.PortID), in, nil, out.Port.unchanged())
	if isMissing(err) {
		return nil
	}
	if fault.Is(err, fault.Precondition) {
		err = portFault(err)
	}
	return err
}

func interfaceOf(row *compute.Port) compute.Interface {
	i := row.Info
	return compute.Interface{PortID: row.PortID, MAC: i.MAC, Type: i.Type, Bridge: i.Bridge, Datapath: i.Datapath, MTU: i.MTU}
}
