// Package daemons runs Open vSwitch and OVN for one cloud on one machine: the
// switch's database and vswitchd, the northbound and southbound databases,
// northd and the controller, all in a directory of the cloud's own. The switch
// lives in a network namespace of the cloud, so clouds stand side by side and
// a system-wide Open vSwitch is never touched.
//
// A cloud of one machine has everything on it, on unix sockets. In one of many
// the databases are on the control nodes, one raft cluster each, which others
// reach by TLS; the switch and the controller are on the compute and network
// nodes.
//
// The daemons outlive tropo. Start finds those that run, by pid file, command
// line and an answer on the control socket, and starts what is missing; Run
// keeps them running; Stop ends and removes everything.
package daemons

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/host"
	"github.com/tropocloud/tropo/lib/ovsdb"
	"github.com/tropocloud/tropo/network/driver"
)

func (d *Daemons) run(name string) string { return filepath.Join(d.conf.Dir, "run", name) }
func (d *Daemons) log(name string) string { return filepath.Join(d.conf.Dir, "log", name) }
func (d *Daemons) db(name string) string  { return filepath.Join(d.conf.Dir, "db", name) }

// Netns is the network namespace of the cloud's switch.
func (d *Daemons) Netns() string { return "tropo-" + d.short }

// HostLink is the host's end of the link to the provider bridge.
func (d *Daemons) HostLink() string { return "tr" + d.short }

func (d *Daemons) bridgeLink() string { return "tr" + d.short + "p" }

// MetadataPrefix begins the names of the metadata namespaces of this cloud.
func (d *Daemons) MetadataPrefix() string { return "trmd-" + d.short + "-" }

// Chassis is this host's name in OVN.
func (d *Daemons) Chassis() string { return d.conf.Chassis }

// Gateway says whether gateways of routers may be here.
func (d *Daemons) Gateway() bool { return d.conf.Gateway }

// Encapsulation is the type and this host's address of tunnels.
func (d *Daemons) Encapsulation() (typ, ip string) { return d.conf.EncapType, d.conf.EncapIP }

// OVSDB is the remote of the switch's database.
func (d *Daemons) OVSDB() string { return "unix:" + d.run("db.sock") }

// Capabilities describe the dataplane; DatapathType is known after Start.
func (d *Daemons) Capabilities() driver.Capabilities {
	d.mu.Lock()
	defer d.mu.Unlock()
	overhead := 58 // Geneve over IPv4: 14 + 20 + 8 + 16
	if a, err := netip.ParseAddr(d.conf.EncapIP); err == nil && a.Is6() {
		overhead += 20
	}
	return driver.Capabilities{
		DatapathType: d.datapath, VIFType: "ovs", Bridge: integrationBridge, Netns: d.Netns(), OVSDB: d.run("db.sock"),
		NetworkTypes: []string{driver.TypeGeneve, driver.TypeFlat, driver.TypeVLAN},
		TunnelMTU:    d.conf.UnderlayMTU - overhead, PhysicalMTU: d.conf.UnderlayMTU,
		PhysicalNetworks: slices.Sorted(maps.Keys(d.conf.PhysicalNetworks)),
	}
}

// env keeps the daemons and tools off the system-wide directories.
func (d *Daemons) env() []string {
	env := []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	for _, p := range []string{"OVS", "OVN"} {
		env = append(env, p+"_RUNDIR="+d.run(""), p+"_LOGDIR="+d.log(""), p+"_DBDIR="+d.db(""), p+"_SYSCONFDIR="+d.db(""))
	}
	return env
}

// Vsctl runs ovs-vsctl on the cloud's switch and returns what it prints.
func (d *Daemons) Vsctl(ctx context.Context, args ...string) (string, error) {
	out, err := d.command(ctx, "ovs-vsctl", append([]string{"--db=" + d.OVSDB(), "--timeout=15"}, args...)...)
	return strings.TrimSpace(string(out)), err
}

func (d *Daemons) command(ctx context.Context, path string, args ...string) ([]byte, error) {
	return host.Run(ctx, host.Command{Path: path, Args: args, Env: d.env(), Netns: d.conf.HostNetns, Timeout: commandTimeout})
}

// control runs a command in a daemon over its control socket.
func (d *Daemons) control(ctx context.Context, socket, command string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	return ovsdb.Control(ctx, socket, command, args...)
}

// Start makes everything run: it is idempotent, and leaves what runs alone.
func (d *Daemons) Start(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.start(ctx); err != nil {
		return fault.Wrap(fault.Unavailable, err, "The OVN daemons could not be started.")
	}
	return nil
}

func (d *Daemons) start(ctx context.Context) error {
	for _, dir := range []string{d.run(""), d.log(""), d.db("")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	d.hear()
	if d.conf.NoChassis {
		return d.startCentral(ctx)
	}
	if err := d.startSwitch(ctx); err != nil {
		return err
	}
	if err := d.startCentral(ctx); err != nil {
		return err
	}
	if _, err := d.ensureProcess(ctx, d.controller()); err != nil {
		return err
	}
	return d.ensureProviderLink(ctx)
}

// startSwitch starts the switch with its bridges and the way of its tunnels.
func (d *Daemons) startSwitch(ctx context.Context) error {
	if err := d.forgetSwitch(ctx); err != nil {
		return err
	}
	if err := host.EnsureNetns(d.Netns()); err != nil {
		return err
	}
	if _, err := d.ensureProcess(ctx, d.switchDB()); err != nil {
		return err
	}
	if err := d.configureChassis(ctx); err != nil {
		return err
	}
	if _, err := d.ensureProcess(ctx, d.vswitchd()); err != nil {
		return err
	}
	if err := d.ensureBridges(ctx); err != nil {
		return err
	}
	if err := d.releaseLinks(ctx); err != nil {
		return err
	}
	return d.ensureUnderlay(ctx)
}

// forgetSwitch drops the switch's database when its namespace is gone (after
// a reboot): its ports name taps that no longer are.
func (d *Daemons) forgetSwitch(ctx context.Context) error {
	if host.NetnsExists(d.Netns()) {
		return nil
	}
	for _, p := range []process{d.controller(), d.vswitchd(), d.switchDB()} {
		if err := d.stopProcess(ctx, p); err != nil {
			return err
		}
	}
	return removeAll(d.db("conf.db"), d.db(".conf.db.~lock~"))
}

// Run keeps the daemons running until ctx ends, and leaves them running then.
// It looks every second, and tells its log of each start.
func (d *Daemons) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for round := 1; ; round++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if round%60 == 0 {
			d.rotateLogs(ctx)
		}
		if missing := d.missing(); len(missing) > 0 {
			d.conf.Log.WarnContext(ctx, "network daemons died", slog.String("daemons", strings.Join(missing, " ")), slog.String("last", d.lastWords(missing[0])))
			if err := d.Start(ctx); err != nil && ctx.Err() == nil {
				d.conf.Log.ErrorContext(ctx, "network daemons not restarted", slog.Any("error", err))
			}
			continue
		}
		if err := d.follow(ctx, round%followRounds == 0); err != nil && ctx.Err() == nil {
			d.conf.Log.WarnContext(ctx, "network daemons do not follow the control nodes yet", slog.Any("error", err))
		}
		if err := d.mindNorthd(ctx); err != nil && ctx.Err() == nil {
			d.conf.Log.WarnContext(ctx, "northd not looked after", slog.Any("error", err))
		}
	}
}

// lastWords is the end of a daemon's log: what it died of, maybe.
func (d *Daemons) lastWords(name string) string {
	f, err := os.Open(d.log(name + ".log"))
	if err != nil {
		return ""
	}
	defer f.Close()
	const most = 400
	if info, err := f.Stat(); err == nil && info.Size() > most {
		_, _ = f.Seek(-most, io.SeekEnd) // from the beginning, then
	}
	b, _ := io.ReadAll(io.LimitReader(f, most)) // as much as there is
	return strings.TrimSpace(string(b))
}

// followRounds is how many seconds pass between looks at the databases'
// members.
const followRounds = 10

func (d *Daemons) missing() []string {
	var names []string
	for _, p := range d.processes() {
		if _, ok := d.find(p); !ok {
			names = append(names, p.name)
		}
	}
	return names
}

// Stop ends all daemons and removes namespaces, links and files, metadata
// namespaces included; links that were taken from the host are given back. It
// is idempotent and goes on after an error. Databases that are members of a
// cluster are kept: the others count on this one to come back.
func (d *Daemons) Stop(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	if !d.conf.NoChassis {
		d.leave(ctx)
	}
	for _, p := range slices.Backward(d.processes()) {
		errs = append(errs, d.stopProcess(ctx, p))
	}
	errs = append(errs, host.DeleteLink(d.conf.HostNetns, d.HostLink()), d.dropAccess(ctx), d.dropUnderlay(ctx), d.giveBack(), d.deleteTaps())
	spaces, err := d.MetadataNamespaces()
	errs = append(errs, err)
	for _, ns := range append(spaces, d.Netns()) {
		errs = append(errs, host.DeleteNetns(ns))
	}
	if errors.Join(errs...) != nil {
		return errors.Join(errs...) // the files say what is left to do
	}
	errs = append(errs, removeAll(d.run(""), d.log("")), d.removeDatabases())
	if err := os.Remove(d.conf.Dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		// Not empty: the directory has other things, which are not ours.
		d.conf.Log.DebugContext(ctx, "network directory kept", slog.Any("error", err))
	}
	return errors.Join(errs...)
}

func (d *Daemons) removeDatabases() error {
	entries, err := os.ReadDir(d.db(""))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	kept := false
	var errs []error
	for _, e := range entries {
		path := d.db(e.Name())
		if e.Type().IsRegular() && filepath.Ext(path) == ".db" {
			member, err := isMember(path)
			errs = append(errs, err)
			if member {
				kept = true
				continue
			}
		}
		errs = append(errs, removeAll(path))
	}
	if !kept {
		errs = append(errs, removeAll(d.db("")))
	}
	return errors.Join(errs...)
}

// MetadataNamespaces lists the metadata namespaces of this cloud.
func (d *Daemons) MetadataNamespaces() ([]string, error) {
	entries, err := os.ReadDir("/run/netns")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list network namespaces: %w", err)
	}
	var out []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), d.MetadataPrefix()) {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

// deleteTaps deletes what is left in the switch's namespace: a process that
// still holds the namespace must not keep taps and links alive.
func (d *Daemons) deleteTaps() error {
	if !host.NetnsExists(d.Netns()) {
		return nil
	}
	links, err := host.Links(d.Netns())
	errs := []error{err}
	for _, l := range links {
		if l.Type == "veth" || l.Type == "tuntap" || l.Type == "tun" {
			errs = append(errs, host.DeleteLink(d.Netns(), l.Name))
		}
	}
	return errors.Join(errs...)
}

func removeAll(paths ...string) error {
	var errs []error
	for _, p := range paths {
		errs = append(errs, os.RemoveAll(p))
	}
	return errors.Join(errs...)
}
