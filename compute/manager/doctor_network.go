package manager

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/doctor"
)

// wiring is the network service's ports and the rows of ours about them.
type wiring struct {
	ports map[string]portDoc // those of compute's and those that rows name
	rows  []compute.Port
}

func (m *Manager) wiring(ctx context.Context, l *doctor.Look) (*wiring, error) {
	return doctor.Fact(ctx, l, "compute.wiring", m.readWiring)
}

func (m *Manager) readWiring(ctx context.Context) (*wiring, error) {
	p, err := m.peer(ctx, "network", asService)
	if err != nil {
		return nil, err
	}
	list, err := pages(ctx, p, "ports", "ports", url.Values{"fields": {"id", "network_id", "device_id", "device_owner", "project_id", "binding:host_id"}}, func(d *portDoc) string { return d.ID })
	if err != nil {
		return nil, err
	}
	out := &wiring{ports: map[string]portDoc{}}
	for _, d := range list {
		out.ports[d.ID] = d
	}
	out.rows, err = m.store.AllPorts(ctx)
	return out, err
}

// findInterfaces finds interfaces of servers whose port is gone or was given
// to something else.
func (m *Manager) findInterfaces(ctx context.Context, l *doctor.Look) error {
	x, err := m.wiring(ctx, l)
	if err != nil {
		return err
	}
	w, err := m.ward(ctx, l)
	if err != nil {
		return err
	}
	for i := range x.rows {
		r := &x.rows[i]
		s := w.byID[r.ServerID]
		if s == nil || !w.quiet(s) || s.VMState == compute.StateError || r.State == compute.PortWanted && r.PortID == "" {
			continue
		}
		d, there := x.ports[r.PortID]
		f := doctor.Finding{Kind: "server", ID: s.ID + "/" + r.PortID}
		switch {
		case !there:
			f.Problem = fmt.Sprintf("the port %s of the server's interface does not exist", r.PortID)
		case d.DeviceID != s.ID:
			f.Problem = fmt.Sprintf("the port %s of the server's interface belongs to %q", r.PortID, d.DeviceID)
		default:
			continue
		}
		if f.Command = "openstack server remove port " + s.ID + " " + r.PortID; r.State == compute.PortAttached && fits(s, interfaceStates) {
			f.Command, f.Fix = "", "unplug the interface"
		}
		l.Found(f)
	}
	return nil
}

func (m *Manager) healInterface(ctx context.Context, f doctor.Finding) error {
	id, port, _ := strings.Cut(f.ID, "/")
	s, err := m.idle(ctx, id)
	if err != nil || s == nil {
		return err
	}
	ports, _, err := m.portsOf(ctx, id)
	if err != nil || slices.ContainsFunc(ports, func(d portDoc) bool { return d.ID == port }) {
		return err
	}
	rows, err := m.store.ServerPorts(ctx, id)
	if err != nil {
		return err
	}
	for i := range rows {
		if rows[i].PortID == port {
			_, err := m.startDetach(ctx, s, &rows[i], "")
			return err
		}
	}
	return nil
}

// findPortOrphans finds ports that are a server's by their own account only.
func (m *Manager) findPortOrphans(ctx context.Context, l *doctor.Look) error {
	x, err := m.wiring(ctx, l)
	if err != nil {
		return err
	}
	w, err := m.ward(ctx, l)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for i := range x.rows {
		known[x.rows[i].ServerID+"/"+x.rows[i].PortID] = true
	}
	for _, d := range x.ports {
		if !strings.HasPrefix(d.Owner, "compute:") || known[d.DeviceID+"/"+d.ID] || w.busy[d.DeviceID] {
			continue
		}
		s := w.byID[d.DeviceID]
		f := doctor.Finding{Kind: "port", ID: d.ID, Fix: "let the port go: it stays, and is nobody's"}
		switch {
		case s == nil:
			f.Problem = fmt.Sprintf("belongs to the server %s, which does not exist", orNone(d.DeviceID))
		case !w.quiet(s):
			continue
		default:
			f.Problem = fmt.Sprintf("belongs to the server %s, which has no such interface", s.ID)
			plugged, err := m.plugged(ctx, l, s, d.ID)
			if err != nil {
				l.Unchecked("host "+s.Host, err)
				continue
			}
			if plugged {
				f.Fix, f.Command = "", "openstack server remove port "+s.ID+" "+d.ID
				f.Problem += ", though its guest has"
			}
		}
		l.Found(f)
	}
	return nil
}

// plugged reports whether the guest of a server has an interface of the port.
func (m *Manager) plugged(ctx context.Context, l *doctor.Look, s *compute.Server, port string) (bool, error) {
	if s.Host == "" {
		return false, nil
	}
	hosts, err := m.hostViews(ctx, l)
	if err != nil {
		return false, err
	}
	h := hosts[s.Host]
	if h == nil {
		return false, nil // no agent was ever there
	}
	if h.err != nil {
		return false, h.err
	}
	for _, g := range h.facts.Guests {
		if g.ServerID == s.ID && slices.Contains(g.Ports, port) {
			return true, nil
		}
	}
	return false, nil
}

func (m *Manager) healPortOrphan(ctx context.Context, f doctor.Finding) error {
	p, err := m.peer(ctx, "network", asService)
	if err != nil {
		return err
	}
	var out struct {
		Port portDoc `json:"port"`
	}
	err = p.get(ctx, "ports/"+f.ID, &out)
	if isMissing(err) || err == nil && !strings.HasPrefix(out.Port.Owner, "compute:") {
		return nil
	}
	if err != nil {
		return err
	}
	rows, err := m.store.ServerPorts(ctx, out.Port.DeviceID)
	if err != nil || slices.ContainsFunc(rows, func(r compute.Port) bool { return r.PortID == f.ID }) {
		return err
	}
	active, err := m.tasks.Active(ctx, out.Port.DeviceID)
	if err != nil || len(active) > 0 {
		return err
	}
	err = p.do(ctx, http.MethodPut, "ports/"+f.ID, doc{"port": doc{"device_id": "", "device_owner": "", "binding:host_id": ""}}, nil)
	if isMissing(err) {
		return nil
	}
	return err
}
