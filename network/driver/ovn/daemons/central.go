package daemons

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tropocloud/tropo/host"
)

// Ports of a control node's management address.
const (
	NorthboundPort     = 6641 // TLS: clients of the northbound database
	SouthboundPort     = 6642 // TLS: chassis
	northboundRaftPort = 6643 // TLS: the other members
	southboundRaftPort = 6644
)

// electionTimer is how long, in milliseconds, a database's members wait for
// their leader before they elect another. A second, OVN's own choice, is less
// than a loaded machine may pause.
const electionTimer = "3000"

// central is one of the two databases.
type central struct {
	name, database, schema string
	port, raft             int
}

func northbound() central {
	return central{"nb", "OVN_Northbound", "ovn-nb.ovsschema", NorthboundPort, northboundRaftPort}
}

func southbound() central {
	return central{"sb", "OVN_Southbound", "ovn-sb.ovsschema", SouthboundPort, southboundRaftPort}
}

// clustered says whether this machine's databases have, or may get, other
// members.
func (d *Daemons) clustered() bool { return d.conf.Central && d.conf.Address.IsValid() }

// hear takes over the control nodes and the removed ones that are known now,
// and says whether they are others than before.
func (d *Daemons) hear() bool {
	controls, removed := heard(d.conf.Controls), heard(d.conf.Removed)
	if len(controls) == 0 {
		controls = d.controls
	}
	if slices.Equal(controls, d.controls) && slices.Equal(removed, d.removed) {
		return false
	}
	d.controls, d.removed = controls, removed
	return true
}

func heard(f func() []netip.Addr) []netip.Addr {
	if f == nil {
		return nil
	}
	now := slices.DeleteFunc(slices.Clone(f()), func(a netip.Addr) bool { return !a.IsValid() })
	slices.SortFunc(now, netip.Addr.Compare)
	return slices.Compact(now)
}

// Northbound is the remote of the northbound database on this machine.
func (d *Daemons) Northbound() string { return "unix:" + d.run("nb.sock") }

// NorthboundRemotes are all places of the northbound database, this machine's
// first.
func (d *Daemons) NorthboundRemotes() []string { return d.locked(northbound()) }

// SouthboundRemotes are all places of the southbound database.
func (d *Daemons) SouthboundRemotes() []string { return d.locked(southbound()) }

func (d *Daemons) locked(c central) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.remotes(c)
}

// remotes lists where a database is to be reached: the machine's own, then
// those of the other control nodes.
func (d *Daemons) remotes(c central) []string {
	var out []string
	if d.conf.Central {
		out = append(out, "unix:"+d.run(c.name+".sock"))
	}
	for _, a := range d.controls {
		if a != d.conf.Address {
			out = append(out, remote("ssl", a, c.port))
		}
	}
	return out
}

func remote(scheme string, a netip.Addr, port int) string {
	return scheme + ":" + netip.AddrPortFrom(a, uint16(port)).String()
}

// tls are the arguments with which a daemon shows its certificate.
func (d *Daemons) tls() []string {
	if d.conf.TLS.Cert == "" {
		return nil
	}
	return []string{"--private-key=" + d.conf.TLS.Key, "--certificate=" + d.conf.TLS.Cert, "--ca-cert=" + d.conf.TLS.CA}
}

// centralProcesses are the daemons of OVN that control nodes run.
func (d *Daemons) centralProcesses() []process {
	if !d.conf.Central {
		return nil
	}
	return []process{d.centralDatabase(northbound()), d.centralDatabase(southbound()), d.northd()}
}

func (d *Daemons) centralDatabase(c central) process {
	file, schema := d.db(c.name+".db"), filepath.Join(d.conf.SchemasOVN, c.schema)
	p := d.database(c.name, c.name+".db", schema, c.name+".sock")
	p.netns, p.exact = d.conf.HostNetns, true
	if d.clustered() {
		p.args = append(append(p.args, "--remote="+pssl(d.conf.Address, c.port), "--ssl-protocols=TLSv1.2"), d.tls()...)
		p.prepare = func(ctx context.Context) error { return d.ensureMember(ctx, c, file, schema) }
	}
	return p
}

func pssl(a netip.Addr, port int) string {
	if a.Is6() {
		return fmt.Sprintf("pssl:%d:[%s]", port, a)
	}
	return fmt.Sprintf("pssl:%d:%s", port, a)
}

func (d *Daemons) startCentral(ctx context.Context) error {
	if err := d.ensureAccess(ctx); err != nil {
		return err
	}
	for _, p := range d.centralProcesses() {
		if _, err := d.ensureProcess(ctx, p); err != nil {
			return err
		}
	}
	return d.awaitNorthd(ctx)
}

// ensureMember makes a database a member of a raft cluster: the first control
// node's is the beginning of one, with what it had alone; later ones join.
func (d *Daemons) ensureMember(ctx context.Context, c central, path, schema string) error {
	local := remote("ssl", d.conf.Address, c.raft)
	var others []string
	for _, a := range d.controls {
		if a != d.conf.Address {
			others = append(others, remote("ssl", a, c.raft))
		}
	}
	member, err := isMember(path)
	switch {
	case member:
		return d.checkMember(ctx, path, local)
	case errors.Is(err, fs.ErrNotExist) && len(others) > 0:
		return d.replaceDatabase(ctx, path, func(fresh string) error {
			_, err := d.command(ctx, "ovsdb-tool", append([]string{"join-cluster", fresh, c.database, local}, others...)...)
			return err
		})
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := d.ensureDatabase(ctx, path, schema); err != nil {
		return err
	}
	return d.replaceDatabase(ctx, path, func(fresh string) error {
		_, err := d.command(ctx, "ovsdb-tool", "--election-timer="+electionTimer, "create-cluster", fresh, path, local)
		return err
	})
}

// isMember says whether a database file is of a raft cluster.
func isMember(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	const magic = "OVSDB CLUSTER"
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(f, head); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	return bytes.Equal(head, []byte(magic)), nil
}

// checkMember refuses a file of a machine that had another address: raft
// knows members by it.
func (d *Daemons) checkMember(ctx context.Context, path, local string) error {
	out, err := d.command(ctx, "ovsdb-tool", "db-local-address", path)
	if err != nil {
		return err
	}
	if had := strings.TrimSpace(string(out)); had != local {
		return fmt.Errorf("%s belongs to the address %s, not to %s: remove this control node and join it again with the new address", path, had, local)
	}
	return nil
}

// replaceDatabase puts what build makes in the place of path, whole.
func (d *Daemons) replaceDatabase(_ context.Context, path string, build func(fresh string) error) error {
	fresh := path + ".new"
	lock := filepath.Join(filepath.Dir(path), "."+filepath.Base(fresh)+".~lock~")
	if err := removeAll(fresh, lock); err != nil {
		return err
	}
	if err := build(fresh); err != nil {
		return err
	}
	if err := os.Rename(fresh, path); err != nil {
		return err
	}
	return errors.Join(removeAll(lock), host.SyncDir(filepath.Dir(path)))
}

// Refresh makes the daemons follow the control nodes and the removed machines
// now, as Run does within a second.
func (d *Daemons) Refresh(ctx context.Context) error { return d.follow(ctx, false) }

// follow makes the daemons follow the control nodes: new ones are remotes of
// the controller and northd, those that left are thrown out of the databases.
func (d *Daemons) follow(ctx context.Context, members bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var err error
	if d.hear() {
		err = d.start(ctx)
	}
	if members && d.clustered() {
		err = errors.Join(err, d.dismiss(ctx, northbound()), d.dismiss(ctx, southbound()))
	}
	return err
}

// memberLine is a server in the answer of cluster/status: its short id and
// address.
var memberLine = regexp.MustCompile(`(?m)^    ([0-9a-f]{4}) \([0-9a-f]{4} at (ssl:[^ )]+)\)`)

// dismiss throws members out that are control nodes no more, where this
// machine's database leads.
func (d *Daemons) dismiss(ctx context.Context, c central) error {
	out, err := d.status(ctx, c)
	if err != nil || !leading(out) || !slices.Contains(d.controls, d.conf.Address) {
		return err
	}
	if d.missed == nil {
		d.missed = map[string]time.Time{}
	}
	known := map[string]bool{}
	for _, a := range d.controls {
		known[remote("ssl", a, c.raft)] = true
	}
	for _, m := range memberLine.FindAllStringSubmatch(out, -1) {
		id, address := m[1], m[2]
		since, missed := d.missed[c.name+id]
		switch {
		case known[address]:
			delete(d.missed, c.name+id)
		case !missed:
			d.missed[c.name+id] = time.Now()
		case time.Since(since) >= d.conf.LeaveTime:
			if _, err := d.control(ctx, d.run(c.name+".ctl"), "cluster/kick", c.database, id); err != nil {
				return err
			}
			d.conf.Log.InfoContext(ctx, "network database has a member less", slog.String("database", c.database), slog.String("member", address))
			delete(d.missed, c.name+id)
		}
	}
	return nil
}

// Members returns the addresses of a database's members, as this machine's
// knows them, and whether it leads; for tests and diagnosis.
func (d *Daemons) Members(ctx context.Context, southboundToo bool) (members []string, leads bool, err error) {
	c := northbound()
	if southboundToo {
		c = southbound()
	}
	out, err := d.status(ctx, c)
	if err != nil {
		return nil, false, err
	}
	for _, m := range memberLine.FindAllStringSubmatch(out, -1) {
		members = append(members, m[2])
	}
	slices.Sort(members)
	return members, leading(out), nil
}

// status is what a database of this machine says of its cluster, a line each
// (ovsdb-server(1), cluster/status).
func (d *Daemons) status(ctx context.Context, c central) (string, error) {
	return d.control(ctx, d.run(c.name+".ctl"), "cluster/status", c.database)
}

// leading says whether the database of a status leads its cluster.
func leading(status string) bool { return strings.Contains(status, "\nRole: leader\n") }

// led says whether the cluster of a status has a leader that its database hears.
func led(status string) bool {
	return strings.Contains(status, "\nStatus: cluster member\n") && !strings.Contains(status, "\nLeader: unknown\n")
}

// Ports of tunnels, by encapsulation.
func tunnelPort(encap string) string {
	if encap == "vxlan" {
		return strconv.Itoa(4789)
	}
	return strconv.Itoa(6081)
}
