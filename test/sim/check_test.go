package sim

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/db"
	networkagent "github.com/tropocloud/tropo/network/agent"
	networkmanager "github.com/tropocloud/tropo/network/manager"
	networkstore "github.com/tropocloud/tropo/network/store"
)

// finding collects what is wrong.
type finding []string

func (f *finding) add(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

func rowsOf[T any](w *world, service, query string, args ...any) []T {
	list, err := db.Select[T](context.Background(), w.dbs[service], query, args...)
	if err != nil {
		w.t.Errorf("%s: %v", query, err)
	}
	return list
}

type pair struct {
	A string `db:"a"`
	N int    `db:"n"`
}

// always are the violations that are wrong at any moment.
func (w *world) always() (f finding) {
	for name, q := range map[string]string{
		"address":          "SELECT subnet_id || ' ' || address AS a, count(*) AS n FROM allocations GROUP BY subnet_id, address HAVING count(*) > 1",
		"MAC address":      "SELECT mac_address AS a, count(*) AS n FROM ports GROUP BY network_id, mac_address HAVING count(*) > 1",
		"floating address": "SELECT floating_ip_address AS a, count(*) AS n FROM floatingips GROUP BY floating_ip_address HAVING count(*) > 1",
	} {
		for _, r := range rowsOf[pair](w, "network", q) {
			f.add("%s %s was handed out %d times", name, r.A, r.N)
		}
	}
	for _, r := range rowsOf[pair](w, "placement", `SELECT a.provider_uuid || ' ' || a.resource_class AS a, sum(a.used) AS n FROM allocations a
		JOIN inventories i ON i.provider_uuid = a.provider_uuid AND i.resource_class = a.resource_class
		GROUP BY a.provider_uuid, a.resource_class, i.total, i.reserved, i.allocation_ratio HAVING sum(a.used) > (i.total - i.reserved) * i.allocation_ratio`) {
		f.add("%d of %s are claimed, more than there are", r.N, r.A)
	}
	for name, q := range map[string]struct {
		service, query string
		limit          int
	}{
		"servers":      {"compute", "SELECT count(*) FROM servers", w.conf.compute.Quota.Instances},
		"cores":        {"compute", "SELECT COALESCE(sum(vcpus), 0) FROM servers", w.conf.compute.Quota.Cores},
		"ports":        {"network", "SELECT count(*) FROM ports WHERE project_id = '" + project + "'", w.conf.network.Quota.Port},
		"floating IPs": {"network", "SELECT count(*) FROM floatingips", w.conf.network.Quota.FloatingIP},
	} {
		if n := rowsOf[int](w, q.service, q.query); len(n) == 1 && n[0] > q.limit {
			f.add("%d %s, the quota is %d", n[0], name, q.limit)
		}
	}
	at := map[string][]string{}
	for _, h := range w.hosts {
		for id, state := range h.guests() {
			if state == "running" || state == "paused" {
				at[id] = append(at[id], h.name)
			}
		}
	}
	for id, hosts := range at {
		if len(hosts) > 1 {
			f.add("the guest of %s runs on %v", id, hosts)
		}
	}
	return f
}

type serverRow struct {
	ID     string                      `db:"id"`
	VM     string                      `db:"vm_state"`
	Task   string                      `db:"task_state"`
	Power  int                         `db:"power_state"`
	Host   string                      `db:"host"`
	Node   string                      `db:"node"`
	RootGB int                         `db:"root_gb"`
	Spec   db.JSON[compute.ServerSpec] `db:"spec"`
	Fault  db.JSON[*compute.Fault]     `db:"fault"`
	Old    string                      `db:"old_vm_state"`
}

type portRow struct {
	ID     string `db:"id"`
	Server string `db:"server_id"`
	Port   string `db:"port_id"`
	State  string `db:"state"`
	Owned  bool   `db:"owned"`
}

type netPort struct {
	ID     string `db:"id"`
	Device string `db:"device_id"`
	Owner  string `db:"device_owner"`
	Host   string `db:"host_id"`
	VIF    string `db:"vif_type"`
}

type held struct {
	Consumer string `db:"consumer_uuid"`
	Provider string `db:"provider_uuid"`
	Class    string `db:"resource_class"`
	Used     int    `db:"used"`
}

// atRest are the violations that are wrong when nothing goes on any more.
func (w *world) atRest() (f finding) {
	servers := rowsOf[serverRow](w, "compute", "SELECT id, vm_state, task_state, power_state, host, node, root_gb, spec, fault, old_vm_state FROM servers")
	for _, s := range rowsOf[pair](w, "compute", "SELECT name || ' of ' || object_id || ' step ' || step || ' ' || cause AS a, tries AS n FROM sagas") {
		f.add("unfinished saga %s (%d tries)", s.A, s.N)
	}
	byID := map[string]*serverRow{}
	for i := range servers {
		s := &servers[i]
		byID[s.ID] = s
		if s.Task != "" {
			f.add("server %s is stuck: %s/%s", s.ID, s.VM, s.Task)
		}
		if s.VM == "error" && (s.Fault.V == nil || s.Fault.V.Message == "") {
			f.add("server %s is in ERROR without a reason", s.ID)
		}
		if s.VM == "building" {
			f.add("server %s is still being built", s.ID)
		}
	}
	w.guestsAtRest(&f, byID)
	w.portsAtRest(&f, byID)
	w.claimsAtRest(&f, byID)
	w.actionsAtRest(&f, byID)
	w.acknowledged(&f, byID)
	f = append(f, w.images.atRest(byID, w.known.images)...)
	w.dataplaneAtRest(&f)
	sort.Strings(f)
	return f
}

func (w *world) guestsAtRest(f *finding, servers map[string]*serverRow) {
	at := map[string]map[string]string{}
	for _, h := range w.hosts {
		for id, state := range h.guests() {
			s := servers[id]
			switch {
			case s == nil:
				f.add("a guest on %s has no server: %s", h.name, id)
			case s.Host != h.name:
				f.add("a guest on %s is of server %s (%s), which is on %q", h.name, id, s.VM, s.Host)
			}
			if at[id] == nil {
				at[id] = map[string]string{}
			}
			at[id][h.name] = state
		}
	}
	for _, s := range servers {
		state := at[s.ID][s.Host]
		want := map[string]string{"active": "running", "paused": "paused", "stopped": "shutdown", "suspended": "suspended"}[s.VM]
		if s.VM == "resized" {
			want = map[int]string{compute.PowerRunning: "running", compute.PowerShutdown: "shutdown"}[s.Power]
		}
		if want != "" && state != want {
			f.add("server %s is %s (power %d) on %s, its guest is %q", s.ID, s.VM, s.Power, s.Host, state)
		}
	}
}

func (w *world) portsAtRest(f *finding, servers map[string]*serverRow) {
	mine, named := map[string]portRow{}, map[string]bool{} // attached ports; those of any row, with its server
	per := map[string][]string{}
	for _, p := range rowsOf[portRow](w, "compute", "SELECT id, server_id, port_id, state, owned FROM server_ports") {
		s := servers[p.Server]
		if s == nil {
			f.add("port row %s has no server", p.ID)
			continue
		}
		if p.State != string(compute.PortAttached) && s.VM != "error" && s.VM != "shelved_offloaded" {
			f.add("port row %s of server %s (%s) is %s", p.ID, p.Server, s.VM, p.State)
		}
		named[p.Server+" "+p.Port] = true
		if p.State == string(compute.PortAttached) {
			if other, ok := mine[p.Port]; ok {
				f.add("port %s is attached twice: to %s and %s", p.Port, other.Server, p.Server)
			}
			mine[p.Port] = p
			per[p.Server] = append(per[p.Server], p.Port)
		}
	}
	there := map[string]netPort{}
	for _, n := range rowsOf[netPort](w, "network", "SELECT id, device_id, device_owner, host_id, vif_type FROM ports") {
		there[n.ID] = n
		if n.VIF == "binding_failed" {
			f.add("binding of port %s failed", n.ID)
		}
		if !strings.HasPrefix(n.Owner, "compute:") {
			continue
		}
		switch {
		case servers[n.Device] == nil:
			f.add("port %s is of the server %s, which is not there", n.ID, n.Device)
		case !named[n.Device+" "+n.ID]:
			f.add("port %s is of the server %s (%s), which knows nothing of it", n.ID, n.Device, servers[n.Device].VM)
		}
	}
	for _, p := range mine {
		s := servers[p.Server]
		n, ok := there[p.Port]
		switch {
		case !ok:
			f.add("server %s (%s) has the port %s, which is not there", p.Server, s.VM, p.Port)
		case n.Device != p.Server || n.Host != s.Host && s.VM != "shelved_offloaded":
			f.add("port %s is bound to %q on %q, server %s (%s) is on %q", p.Port, n.Device, n.Host, p.Server, s.VM, s.Host)
		}
	}
	for _, h := range w.hosts {
		list, _ := h.driver.List(context.Background()) // guests reports the error
		for _, g := range list {
			var have []string
			for _, v := range g.VIFs {
				have = append(have, v.PortID)
			}
			want := per[g.ID]
			sort.Strings(have)
			sort.Strings(want)
			if s := servers[g.ID]; s != nil && s.Host == h.name && s.VM != "error" && !slices.Equal(have, want) {
				f.add("the guest of server %s (%s) has the interfaces %v, its rows say %v", g.ID, s.VM, have, want)
			}
		}
	}
}

func (w *world) claimsAtRest(f *finding, servers map[string]*serverRow) {
	nodes := map[string]string{}
	for _, n := range rowsOf[struct {
		UUID string `db:"uuid"`
		Name string `db:"name"`
	}](w, "compute", "SELECT uuid, name FROM nodes") {
		nodes[n.Name] = n.UUID
	}
	got := map[string]map[string]int{}
	for _, h := range rowsOf[held](w, "placement", "SELECT consumer_uuid, provider_uuid, resource_class, used FROM allocations") {
		if got[h.Consumer] == nil {
			got[h.Consumer] = map[string]int{}
		}
		got[h.Consumer][h.Provider+" "+h.Class] = h.Used
	}
	want := map[string]map[string]int{}
	for _, s := range servers {
		if s.Host == "" {
			continue
		}
		p := nodes[s.Node]
		fl := s.Spec.V.Flavor
		want[s.ID] = map[string]int{p + " VCPU": fl.VCPUs, p + " MEMORY_MB": fl.MemoryMB, p + " DISK_GB": s.RootGB}
		if s.VM == "resized" {
			if o := s.Spec.V.OldFlavor; o != nil {
				// Its disk may be larger than the flavor's, by an earlier resize.
				disk := max(o.RootGB, min(s.RootGB, got[s.Spec.V.MigrationID][p+" DISK_GB"]))
				want[s.Spec.V.MigrationID] = map[string]int{p + " VCPU": o.VCPUs, p + " MEMORY_MB": o.MemoryMB, p + " DISK_GB": disk}
			}
		}
	}
	for id, w := range want {
		if fmt.Sprint(got[id]) != fmt.Sprint(w) {
			f.add("consumer %s holds %v and should hold %v", id, got[id], w)
		}
	}
	for id := range got {
		if want[id] == nil {
			f.add("consumer %s holds %v and should hold nothing", id, got[id])
		}
	}
}

// outcome are the states that an action that succeeded leads to.
var outcome = map[string][]string{
	"create": {"active"}, "stop": {"stopped"}, "start": {"active"}, "reboot": {"active"}, "resize": {"resized"},
	"confirmResize": {"active", "stopped"}, "revertResize": {"active", "stopped"}, "rebuild": {"active", "stopped"},
	"evacuate": {"active", "stopped"}, "shelve": {"shelved_offloaded"}, "unshelve": {"active"}, "pause": {"paused"}, "unpause": {"active"}, "suspend": {"suspended"}, "resume": {"active"},
}

func (w *world) actionsAtRest(f *finding, servers map[string]*serverRow) {
	for _, r := range rowsOf[struct {
		Server string `db:"server_id"`
		Action string `db:"action"`
		Event  string `db:"event"`
	}](w, "compute", "SELECT a.server_id, a.action, e.event FROM instance_actions a JOIN instance_action_events e ON e.action_id = a.id WHERE e.finish_at IS NULL") {
		f.add("the part %s of the action %s of server %s has not ended", r.Event, r.Action, r.Server)
	}
	type done struct {
		Server string    `db:"server_id"`
		Action string    `db:"action"`
		Start  time.Time `db:"start_at"`
		Bad    int       `db:"bad"`
		Parts  int       `db:"parts"`
	}
	last := map[string]done{}
	for _, r := range rowsOf[done](w, "compute", `SELECT a.server_id, a.action, a.start_at, COALESCE(sum(CASE WHEN e.result = 'Success' THEN 0 ELSE 1 END), 0) AS bad, count(e.id) AS parts
		FROM instance_actions a LEFT JOIN instance_action_events e ON e.action_id = a.id GROUP BY a.id, a.server_id, a.action, a.start_at ORDER BY a.start_at, a.rowid`) {
		if outcome[r.Action] != nil {
			last[r.Server] = r
		}
	}
	for id, a := range last {
		s := servers[id]
		if s == nil {
			continue
		}
		switch {
		case a.Parts > 0 && a.Bad == 0:
			if !slices.Contains(outcome[a.Action], s.VM) && !(s.VM == "stopped" && w.disturbed(id)) {
				f.add("server %s is %s after %s, which succeeded", id, s.VM, a.Action)
			}
		case s.Fault.V == nil:
			f.add("%s of server %s (%s) failed and left no reason (%d of %d parts bad)", a.Action, id, s.VM, a.Bad, a.Parts)
		}
	}
}

// acknowledged checks that what was answered to users is there or gone.
func (w *world) acknowledged(f *finding, servers map[string]*serverRow) {
	k := &w.known
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, id := range k.servers {
		if k.unsure[id] {
			continue
		}
		if k.gone[id] && servers[id] != nil {
			f.add("server %s is there though its deletion was accepted", id)
		}
		if !k.gone[id] && servers[id] == nil {
			f.add("server %s was accepted and is lost", id)
		}
	}
	for name, most := range k.atMost {
		n := rowsOf[string](w, "compute", "SELECT id FROM servers WHERE name = ? OR name LIKE ? UNION SELECT id FROM deleted_servers WHERE name = ? OR name LIKE ?", name, name+"-%", name, name+"-%")
		if len(n) > most {
			f.add("%d servers were made of %s, which was asked for once with a key: %v", len(n), name, n)
		}
	}
	for table, list := range map[string][]string{"ports": k.ports, "floatingips": k.floating} {
		there := rowsOf[string](w, "network", "SELECT id FROM "+table)
		for _, id := range list {
			if slices.Contains(there, id) == k.gone[id] && !k.unsure[id] {
				f.add("%s %s: there is %v, deleted by a user %v", table, id, !k.gone[id], k.gone[id])
			}
		}
	}
}

// dataplaneAtRest checks that the dataplane is what the rows say.
func (w *world) dataplaneAtRest(f *finding) {
	for _, d := range rowsOf[pair](w, "network", "SELECT kind || ' ' || object_id || ' ' || problem AS a, attempts AS n FROM dirty") {
		f.add("the dataplane has not followed %s (%d tries)", d.A, d.N)
	}
	ctx := context.Background()
	st, err := networkstore.New(ctx, w.dbs["network"])
	if err != nil {
		f.add("open the network's store: %v", err)
		return
	}
	m, err := networkmanager.New(ctx, networkmanager.Options{Store: st, Config: w.conf.network, Dataplane: dataplane(), Log: w.journal.logger("check")})
	if err != nil {
		f.add("make a network manager: %v", err)
		return
	}
	if len(*f) > 0 {
		return // the comparison heals: only at the very end
	}
	a := networkagent.New(networkagent.Options{
		Rows: st, Manager: m, Driver: w.plane, Log: w.journal.logger("check"), Domain: w.conf.network.DNSDomain, External: w.conf.network.ExternalPhysical,
	})
	drift, err := a.Sync(ctx)
	if err != nil || len(drift.Healed)+len(drift.Deleted) > 0 {
		f.add("the dataplane differed from the rows: %+v, %v", drift, err)
	}
}

// leaks are what is left when everything was deleted.
func (w *world) leaks() (f finding) {
	for _, q := range []struct{ service, what, query string }{
		{"compute", "servers", "SELECT id FROM servers"},
		{"compute", "rows of ports", "SELECT id FROM server_ports"},
		{"compute", "sagas", "SELECT name || ' ' || object_id FROM sagas"},
		{"placement", "consumers", "SELECT uuid FROM consumers"},
		{"placement", "allocations", "SELECT consumer_uuid FROM allocations"},
		{"network", "ports", "SELECT id FROM ports WHERE device_owner LIKE 'compute:%' OR device_owner = '' OR device_owner = 'network:floatingip'"},
		{"network", "floating IPs", "SELECT id FROM floatingips"},
	} {
		if left := rowsOf[string](w, q.service, q.query); len(left) > 0 {
			f.add("left of %s %s: %v", q.service, q.what, left)
		}
	}
	for _, h := range w.hosts {
		if g := h.guests(); len(g) > 0 {
			f.add("left on %s: %v", h.name, g)
		}
	}
	f = append(f, w.images.atRest(nil, w.known.images)...)
	w.dataplaneAtRest(&f)
	return f
}
