package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// findings are what is wrong with a cloud in which nothing should happen.
type findings struct {
	lost    []string // acknowledged, and not there (or there although deleted)
	stuck   []string // neither there nor gone, or in ERROR
	orphans []string // there, and nobody asked for it
}

func (f findings) none() bool { return len(f.lost)+len(f.stuck)+len(f.orphans) == 0 }

func (f findings) String() string {
	var b strings.Builder
	for _, l := range []struct {
		what string
		list []string
	}{{"lost", f.lost}, {"stuck", f.stuck}, {"orphan", f.orphans}} {
		for _, s := range l.list {
			_, _ = fmt.Fprintf(&b, "%s: %s\n", l.what, s)
		}
	}
	return b.String()
}

// settle waits until the cloud has exactly what was acknowledged, and returns
// what is still wrong when the time is over.
func (t *tenant) settle(ctx context.Context, limit time.Duration) findings {
	var f findings
	err := until(ctx, limit, func(ctx context.Context) error {
		var err error
		if f, err = t.compare(ctx); err != nil {
			return err
		}
		if !f.none() {
			return fmt.Errorf("not settled")
		}
		return nil
	})
	if err != nil && f.none() {
		f.stuck = append(f.stuck, err.Error())
	}
	return f
}

// thing is one thing that a list of an API holds.
type thing struct {
	ID, Name, Description string
	Status                string
	Task                  string `json:"OS-EXT-STS:task_state"`
	Host                  string `json:"OS-EXT-SRV-ATTR:host"`
	DeviceID              string `json:"device_id"`
	DeviceOwner           string `json:"device_owner"`
	Fault                 struct{ Message string }
}

// lists are where the things of each kind are listed.
var lists = map[kind]struct{ path, field string }{
	serverKind:     {computePath + "/servers/detail?all_tenants=1&limit=1000", "servers"},
	portKind:       {networkPath + "/ports", "ports"},
	floatingIPKind: {networkPath + "/floatingips", "floatingips"},
	imageKind:      {imagePath + "/images?limit=1000", "images"},
}

func (t *tenant) list(ctx context.Context, k kind) ([]thing, error) {
	out := map[string]json.RawMessage{}
	if err := t.c.get(ctx, lists[k].path, &out); err != nil {
		return nil, err
	}
	var things []thing
	err := json.Unmarshal(out[lists[k].field], &things)
	return things, err
}

// compare holds the ledger against the APIs, and what the APIs say against
// the machines.
func (t *tenant) compare(ctx context.Context) (findings, error) {
	var f findings
	all := map[kind][]thing{}
	for _, k := range []kind{serverKind, portKind, floatingIPKind, imageKind} {
		list, err := t.list(ctx, k)
		if err != nil {
			return f, err
		}
		all[k] = list
		t.compareKind(k, list, &f)
	}
	t.comparePorts(all[serverKind], all[portKind], &f)
	if err := t.compareAllocations(ctx, all[serverKind], &f); err != nil {
		return f, err
	}
	t.compareGuests(all[serverKind], &f)
	return f, nil
}

// ours reports whether a name is of the load's making.
func (t *tenant) ours(name string) bool {
	return strings.HasPrefix(name, t.prefix) || strings.HasPrefix(name, "canary-")
}

func (t *tenant) compareKind(k kind, list []thing, f *findings) {
	there := map[string][]thing{}
	for _, th := range list {
		name := th.Name
		if k == floatingIPKind {
			name = th.Description
		}
		there[name] = append(there[name], th)
	}
	for _, e := range t.ledger.of(k) {
		have := there[e.name]
		delete(there, e.name)
		switch {
		case e.gone && len(have) > 0:
			f.stuck = append(f.stuck, fmt.Sprintf("%s %s (%s) is there though its delete was acknowledged: %s %s", k, e.name, e.id, have[0].Status, have[0].Task))
		case !e.gone && e.made && len(have) == 0:
			f.lost = append(f.lost, fmt.Sprintf("%s %s (%s)", k, e.name, e.id))
		case !e.made && len(have) > 0:
			f.orphans = append(f.orphans, fmt.Sprintf("%s %s (%s): its create was refused", k, e.name, have[0].ID))
		case len(have) > 1:
			f.orphans = append(f.orphans, fmt.Sprintf("%s %s is there %d times: %v", k, e.name, len(have), ids(have)))
		case e.made && !e.gone && have[0].ID != e.id:
			f.lost = append(f.lost, fmt.Sprintf("%s %s is %s, not %s as was answered", k, e.name, have[0].ID, e.id))
		case e.made && !e.gone && !settled(k, have[0]):
			f.stuck = append(f.stuck, fmt.Sprintf("%s %s (%s) on %q is %s %s %s", k, e.name, e.id, have[0].Host, have[0].Status, have[0].Task, have[0].Fault.Message))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(there)) {
		if t.ours(name) {
			f.orphans = append(f.orphans, fmt.Sprintf("%s %s: nobody asked for it", k, name))
		}
	}
}

func ids(list []thing) []string {
	var out []string
	for _, t := range list {
		out = append(out, t.ID)
	}
	return out
}

// settled reports whether a thing is as its user wanted it.
func settled(k kind, th thing) bool {
	switch k {
	case serverKind:
		return th.Status == "ACTIVE" && th.Task == ""
	case imageKind:
		return th.Status == "active"
	}
	return true
}

// comparePorts: each server has one port, and no port is of a server that is
// gone.
func (t *tenant) comparePorts(servers, ports []thing, f *findings) {
	has := map[string]int{}
	for _, s := range servers {
		has[s.ID] = 0
	}
	for _, p := range ports {
		if !strings.HasPrefix(p.DeviceOwner, "compute:") {
			continue
		}
		if _, ok := has[p.DeviceID]; !ok {
			f.orphans = append(f.orphans, fmt.Sprintf("port %s of the server %s, which is gone", p.ID, p.DeviceID))
		}
		has[p.DeviceID]++
	}
	for _, s := range servers {
		if n := has[s.ID]; n != 1 && s.Status == "ACTIVE" {
			f.lost = append(f.lost, fmt.Sprintf("server %s (%s) has %d ports", s.Name, s.ID, n))
		}
	}
}

// compareAllocations: the consumers in placement are the servers.
func (t *tenant) compareAllocations(ctx context.Context, servers []thing, f *findings) error {
	var providers struct {
		Providers []struct{ UUID, Name string } `json:"resource_providers"`
	}
	if err := t.c.get(ctx, placementPath+"/resource_providers", &providers); err != nil {
		return err
	}
	consumers := map[string]string{}
	for _, p := range providers.Providers {
		var out struct{ Allocations m }
		if err := t.c.get(ctx, placementPath+"/resource_providers/"+p.UUID+"/allocations", &out); err != nil {
			return err
		}
		for c := range out.Allocations {
			if other, twice := consumers[c]; twice {
				f.orphans = append(f.orphans, fmt.Sprintf("allocations of %s at %s and %s", c, other, p.Name))
			}
			consumers[c] = p.Name
		}
	}
	for _, s := range servers {
		if s.Status == "ACTIVE" && consumers[s.ID] != s.Host {
			f.lost = append(f.lost, fmt.Sprintf("server %s (%s) on %s has its allocation at %q", s.Name, s.ID, s.Host, consumers[s.ID]))
		}
		delete(consumers, s.ID)
	}
	for c, p := range consumers {
		f.orphans = append(f.orphans, fmt.Sprintf("allocation of %s at %s", c, p))
	}
	return nil
}

// compareGuests: each server's guest runs once, where the API says, and no
// other guest or guest's folder is on any machine.
func (t *tenant) compareGuests(servers []thing, f *findings) {
	where := map[string]string{}
	for _, s := range servers {
		where[s.ID] = s.Host
	}
	for _, n := range t.c.with("compute") {
		folder := filepath.Join(n.state(), "compute", "instances")
		running := map[string]int{}
		for _, pid := range n.daemons("qemu-system-x86_64") {
			running[guestOf(pid)]++
		}
		for _, s := range servers {
			if s.Status != "ACTIVE" || s.Host != n.name {
				continue
			}
			if running[s.ID] != 1 {
				f.stuck = append(f.stuck, fmt.Sprintf("server %s (%s) is ACTIVE on %s, where %d guests of it run", s.Name, s.ID, n.name, running[s.ID]))
			}
		}
		for id := range running {
			if where[id] != n.name {
				f.orphans = append(f.orphans, fmt.Sprintf("a guest of %s runs on %s; the API says %q", id, n.name, where[id]))
			}
		}
		dirs, err := filepath.Glob(filepath.Join(folder, "*"))
		if err != nil {
			f.orphans = append(f.orphans, err.Error())
		}
		for _, d := range dirs {
			if id := filepath.Base(d); where[id] != n.name {
				f.orphans = append(f.orphans, fmt.Sprintf("files of %s on %s; the API says %q", id, n.name, where[id]))
			}
		}
	}
}

// guestOf is the server whose guest a QEMU process is.
func guestOf(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(b), "\x00-uuid\x00")
	id, _, _ := strings.Cut(rest, "\x00")
	return id
}
