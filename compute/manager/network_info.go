package manager

import (
	"context"
	"log/slog"
	"net/url"
	"reflect"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/store"
	"github.com/tropocloud/tropo/db"
)

// describe reads what rows' ports, networks, subnets and floating IPs are into
// the rows, with one request for each kind.
func (m *Manager) describe(ctx context.Context, p *peer, rows []*compute.Port, ports map[string]*portDoc) error {
	nets, subs, ids := url.Values{}, url.Values{}, url.Values{}
	for _, r := range rows {
		d := ports[r.PortID]
		if d == nil {
			continue
		}
		add(nets, "id", d.Network)
		add(ids, "port_id", d.ID)
		for _, f := range d.FixedIPs {
			add(subs, "id", f.Subnet)
		}
	}
	var out struct {
		Networks  []networkDoc `json:"networks"`
		Subnets   []subnetDoc  `json:"subnets"`
		Floatings []struct {
			IP    string `json:"floating_ip_address"`
			Port  string `json:"port_id"`
			Fixed string `json:"fixed_ip_address"`
		} `json:"floatingips"`
	}
	for path, q := range map[string]url.Values{"networks": nets, "subnets": subs, "floatingips": ids} {
		if len(q) == 0 {
			continue
		}
		if err := p.get(ctx, path+"?"+q.Encode(), &out); err != nil && !(path == "floatingips" && isMissing(err)) {
			return err
		}
	}
	for _, r := range rows {
		d := ports[r.PortID]
		if d == nil {
			continue
		}
		v := compute.VIF{MAC: d.MAC, Type: d.VIFType, VNICType: d.VNICType, Bridge: d.Details.Bridge, Datapath: d.Details.Datapath, Groups: d.Groups, Status: d.Status}
		for _, n := range out.Networks {
			if n.ID == d.Network {
				v.Network, v.MTU = n.Name, n.MTU
			}
		}
		for _, f := range d.FixedIPs {
			a := compute.Address{IP: f.IP, SubnetID: f.Subnet}
			for _, fl := range out.Floatings {
				if fl.Port == d.ID && fl.Fixed == f.IP {
					a.Floating = append(a.Floating, fl.IP)
				}
			}
			v.Addresses = append(v.Addresses, a)
			for i := range out.Subnets {
				if out.Subnets[i].ID == f.Subnet {
					v.Subnets = append(v.Subnets, out.Subnets[i].subnet())
				}
			}
		}
		r.NetworkID, r.Info = d.Network, v
	}
	return nil
}

func (d *subnetDoc) subnet() compute.Subnet {
	s := compute.Subnet{ID: d.ID, CIDR: d.CIDR, Version: d.Version, DHCP: d.DHCP, DNS: d.DNS, Routes: d.Routes}
	if d.Gateway != nil {
		s.Gateway = *d.Gateway
	}
	if d.V6Mode != nil {
		s.V6Mode = *d.V6Mode
	}
	return s
}

func add(q url.Values, key, v string) {
	for _, have := range q[key] {
		if have == v {
			return
		}
	}
	if v != "" {
		q.Add(key, v)
	}
}

// refreshPorts brings what is known of a server's ports up to date.
func (m *Manager) refreshPorts(ctx context.Context, serverID string) error {
	rows, err := m.store.ServerPorts(ctx, serverID)
	if err != nil || len(rows) == 0 {
		return err
	}
	ports, p, err := m.portsOf(ctx, serverID)
	if err != nil {
		return err
	}
	byID := map[string]*portDoc{}
	for i := range ports {
		byID[ports[i].ID] = &ports[i]
	}
	var attached []*compute.Port
	before := map[string]compute.VIF{}
	for i := range rows {
		if rows[i].State == compute.PortAttached {
			attached = append(attached, &rows[i])
			before[rows[i].ID] = rows[i].Info
		}
	}
	if err := m.describe(ctx, p, attached, byID); err != nil {
		return err
	}
	for _, r := range attached {
		switch {
		case byID[r.PortID] == nil:
			err = m.portVanished(ctx, serverID, r)
		case !reflect.DeepEqual(before[r.ID], r.Info):
			err = m.store.RefreshPort(ctx, r) // it may have been let go meanwhile
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// portVanished unplugs the interface of a port that was deleted in the network
// service.
func (m *Manager) portVanished(ctx context.Context, serverID string, r *compute.Port) error {
	s, err := m.store.Server(ctx, serverID)
	if err != nil || s.TaskState != "" {
		return nil //nolint:nilerr // the server is going away or being worked on; the next look decides
	}
	_, err = m.startDetach(ctx, s, r, "")
	return err
}

// keepsPorts are the states in which a server has ports: those of a shelved one
// wait for it.
var keepsPorts = []string{
	string(compute.StateActive), string(compute.StateStopped), string(compute.StatePaused), string(compute.StateSuspended),
	string(compute.StateResized), string(compute.StateRescued), string(compute.StateSoftDeleted), string(compute.StateShelvedOffloaded), string(compute.StateError),
}

// healBatch is how many servers one run of healPorts looks at.
const healBatch = 20

// healPorts refreshes the servers' ports, some at each run, in turn. What
// changes in the network service is told by its events; this mends lost ones.
func (m *Manager) healPorts(ctx context.Context) error {
	list, err := m.store.Servers(ctx, store.ServerFilter{
		VMStates: keepsPorts, AfterID: m.healed, Page: db.Page{Limit: healBatch, Sort: []db.Sort{{Column: "id"}}},
	})
	if err != nil {
		return err
	}
	m.healed = ""
	if len(list) == healBatch {
		m.healed = list[len(list)-1].ID
	}
	for i := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		if list[i].TaskState != "" {
			continue
		}
		if err := m.refreshPorts(ctx, list[i].ID); err != nil {
			m.log.LogAttrs(ctx, slog.LevelInfo, "the ports of a server were not refreshed", slog.String("server", list[i].ID), slog.String("error", err.Error()))
		}
	}
	return nil
}
