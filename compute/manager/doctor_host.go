package manager

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/doctor"
	"github.com/tropocloud/tropo/fault"
)

// hostView is what a host's agent answered.
type hostView struct {
	facts compute.HostFacts
	err   error
}

// askTime bounds how long an agent is waited for.
const askTime = 20 * time.Second

// hostViews asks the agents of all hosts that give signs of life.
func (m *Manager) hostViews(ctx context.Context, l *doctor.Look) (map[string]*hostView, error) {
	return doctor.Fact(ctx, l, "compute.hosts", m.readHosts)
}

func (m *Manager) readHosts(ctx context.Context) (map[string]*hostView, error) {
	services, err := m.store.Services(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]*hostView{}
	var wg sync.WaitGroup
	slots := make(chan struct{}, 32)
	for i := range services {
		v := &services[i]
		if v.Binary != compute.BinaryCompute {
			continue
		}
		h := &hostView{}
		out[v.Host] = h
		if !m.Up(v) {
			h.err = fault.Unavailablef("The host gives no sign of life%s.", lastSeen(v))
			continue
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			actx, cancel := context.WithTimeout(ctx, askTime)
			defer cancel()
			h.err = m.ask(actx, v.Host, compute.MethodFacts, struct{}{}, &h.facts)
		})
	}
	wg.Wait()
	return out, nil
}

func lastSeen(v *compute.Service) string {
	switch {
	case v.ForcedDown:
		return " (it was forced down)"
	case v.SeenAt == nil:
		return ""
	}
	return " since " + v.SeenAt.UTC().Format(time.RFC3339)
}

// eachHost calls f for every host that answered and tells of those that did
// not.
func (m *Manager) eachHost(ctx context.Context, l *doctor.Look, f func(host string, facts *compute.HostFacts)) error {
	hosts, err := m.hostViews(ctx, l)
	if err != nil {
		return err
	}
	for _, name := range sortedHosts(hosts) {
		if h := hosts[name]; h.err != nil {
			l.Unchecked("host "+name, h.err)
		} else {
			f(name, &h.facts)
		}
	}
	return nil
}

func sortedHosts(hosts map[string]*hostView) []string {
	var names []string
	for n := range hosts {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// findGuestOrphans finds guests, or parts of them, where no server should be.
func (m *Manager) findGuestOrphans(ctx context.Context, l *doctor.Look) error {
	w, err := m.ward(ctx, l)
	if err != nil {
		return err
	}
	var unknown []string
	at := map[string]string{}
	err = m.eachHost(ctx, l, func(host string, facts *compute.HostFacts) {
		for _, g := range facts.Guests {
			s := w.byID[g.ServerID]
			if w.busy[g.ServerID] || s != nil && (s.Host == host || !w.quiet(s)) {
				continue
			}
			unknown = append(unknown, g.ServerID)
			at[g.ServerID] = host
		}
	})
	if err != nil || len(unknown) == 0 {
		return err
	}
	deleted, err := m.store.ServersInHistory(ctx, unknown)
	if err != nil {
		return err
	}
	for _, id := range unknown {
		f := doctor.Finding{Kind: "guest", ID: at[id] + "/" + id, Fix: "end the guest and remove its files"}
		_, was := deleted[id]
		switch s := w.byID[id]; {
		case s != nil:
			f.Problem = fmt.Sprintf("on %s, though the server lives on %s", at[id], orNone(s.Host))
			if s.Host == "" && s.VMState == compute.StateError {
				f.Fix, f.Command = "", "openstack server delete "+id
			}
		case was:
			f.Problem = fmt.Sprintf("on %s, though the server was deleted", at[id])
		default:
			f.Problem = fmt.Sprintf("on %s, and there never was such a server here", at[id])
			f.Fix, f.Command = "", "on "+at[id]+": move STATE/compute/instances/"+id+" away after its process was ended"
		}
		l.Found(f)
	}
	return nil
}

func (m *Manager) healGuestOrphan(ctx context.Context, f doctor.Finding) error {
	host, id, _ := strings.Cut(f.ID, "/")
	active, err := m.tasks.Active(ctx, id)
	if err != nil || len(active) > 0 {
		return err
	}
	sure, err := m.leftovers(ctx, host, []string{id})
	if err != nil || !slices.Contains(sure, id) {
		return err
	}
	return m.agent(ctx, host, compute.MethodDestroy, id, compute.GuestRequest{ServerID: id}, nil)
}

// findGuestsMissing finds servers that should have a guest, on a host that
// answers and has none. Its disks are gone: nobody but its owner can say what
// shall become of it.
func (m *Manager) findGuestsMissing(ctx context.Context, l *doctor.Look) error {
	w, err := m.ward(ctx, l)
	if err != nil {
		return err
	}
	hosts, err := m.hostViews(ctx, l)
	if err != nil {
		return err
	}
	has := map[string]bool{}
	if err := m.eachHost(ctx, l, func(host string, facts *compute.HostFacts) {
		for _, g := range facts.Guests {
			if g.Exists {
				has[host+"/"+g.ServerID] = true
			}
		}
	}); err != nil {
		return err
	}
	for i := range w.servers {
		s := &w.servers[i]
		if w.wanted(s) == nil || !w.quiet(s) || has[s.Host+"/"+s.ID] {
			continue
		}
		if h := hosts[s.Host]; h == nil || h.err != nil {
			continue // told above, or never heard of
		}
		l.Found(doctor.Finding{
			Kind: "server", ID: s.ID, Problem: fmt.Sprintf("is %s, and %s has no guest of it", s.Status(), s.Host),
			Command: "openstack server rebuild " + s.ID + " (its disk is lost), or openstack server delete " + s.ID,
		})
	}
	return nil
}

// findStrays finds processes and interfaces on hosts that no guest has. What is
// of a server that exists is left to a person: the process of a guest whose
// folder was removed holds the last copy of its disks.
func (m *Manager) findStrays(ctx context.Context, l *doctor.Look) error {
	w, err := m.ward(ctx, l)
	if err != nil {
		return err
	}
	var found []doctor.Finding
	var of []string
	err = m.eachHost(ctx, l, func(host string, facts *compute.HostFacts) {
		for _, x := range facts.Strays {
			if s := w.byID[x.ServerID]; w.busy[x.ServerID] || s != nil && !w.quiet(s) {
				continue
			}
			found = append(found, doctor.Finding{
				Kind: x.Kind, ID: strings.Join([]string{host, x.Kind, x.Name, x.ServerID}, "/"),
				Problem: fmt.Sprintf("on %s, of no guest there (server %s)", host, orNone(x.ServerID)), Fix: "remove it from the host",
			})
			of = append(of, x.ServerID)
		}
	})
	if err != nil || len(found) == 0 {
		return err
	}
	deleted, err := m.store.ServersInHistory(ctx, of)
	if err != nil {
		return err
	}
	for i, f := range found {
		_, was := deleted[of[i]]
		if w.byID[of[i]] != nil || f.Kind == compute.StrayProcess && !was {
			f.Fix, f.Command = "", "look at it on its host; a process may hold the last copy of its disks (/proc/PID/fd)"
		}
		l.Found(f)
	}
	return nil
}

func (m *Manager) healStray(ctx context.Context, f doctor.Finding) error {
	part := strings.SplitN(f.ID, "/", 4)
	if len(part) != 4 {
		return fault.Invalidf("%q names no stray.", f.ID)
	}
	gone, err := m.gone(ctx, part[3])
	if err != nil || !gone {
		return err
	}
	return m.ask(ctx, part[0], compute.MethodSweep, compute.Stray{Kind: part[1], Name: part[2], ServerID: part[3]}, nil)
}
