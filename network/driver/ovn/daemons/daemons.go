// Package daemons runs Open vSwitch and OVN for one cloud on one machine: the
// switch's database and vswitchd, the northbound and southbound databases,
// northd and the controller, all in a directory of the cloud's own. The switch
// lives in a network namespace of the cloud, so clouds stand side by side and
// a system-wide Open vSwitch is never touched.
//
// The daemons outlive tropo. Start finds those that run, by pid file, command
// line and an answer on the control socket, and starts what is missing; Run
// keeps them running; Stop ends and removes everything.
package daemons

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/host"
	"github.com/tropocloud/tropo/network/driver"
)

// Config describes a cloud's daemons on this machine.
type Config struct {
	// ID of the cloud; names of namespaces and links are derived from it.
	ID string
	// Dir holds databases, sockets, pid files and logs. Its path is at most
	// 80 bytes long, as sockets' names are limited.
	Dir string
	// Chassis is OVN's name of this host and what ports are bound to;
	// empty: "host-" and the cloud's short id.
	Chassis string
	// EncapType and EncapIP of tunnels between chassis; empty: geneve on
	// 127.0.0.1, which serves a single chassis.
	EncapType string
	EncapIP   string
	// PhysicalNetworks map physical networks to bridges; nil: public on
	// br-ex. The bridge br-ex is linked to the host.
	PhysicalNetworks map[string]string
	// Central says whether the northbound and southbound databases and
	// northd run here too. If not, SouthboundRemote is where they are.
	Central          bool
	SouthboundRemote string
	// Listen are further remotes of the two databases, e.g.
	// "ptcp:6641:192.0.2.1", for other hosts.
	ListenNorthbound []string
	ListenSouthbound []string
	// UnderlayMTU is the MTU between hosts in bytes; 0: 1500.
	UnderlayMTU int
	// Datapath is "system", "netdev" or empty: system where the kernel has it.
	Datapath string
	// SchemasOVS and SchemasOVN are the directories of the database schemas; empty:
	// /usr/share/openvswitch and /usr/share/ovn.
	SchemasOVS, SchemasOVN string
	Log                    *slog.Logger // nil: slog.Default
}

// Daemons are the daemons of one cloud on this machine.
type Daemons struct {
	conf  Config
	short string

	mu       sync.Mutex
	datapath string // once Start knows it
}

const (
	integrationBridge = "br-int"
	providerBridge    = "br-ex"
	commandTimeout    = 20 * time.Second
)

var safeName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// ShortID is the part of a cloud's names that comes from its id: 8 hex digits.
func ShortID(id string) string {
	h := sha256.Sum256([]byte(id))
	return hex.EncodeToString(h[:4])
}

// New checks a configuration. Nothing is started.
func New(c Config) (*Daemons, error) {
	d := &Daemons{conf: c, short: ShortID(c.ID)}
	dir, err := filepath.Abs(c.Dir)
	if err != nil || c.ID == "" || c.Dir == "" {
		return nil, fault.Invalidf("The OVN daemons need an id and a directory.")
	}
	d.conf.Dir = dir
	setDefault(&d.conf.Chassis, "host-"+d.short)
	setDefault(&d.conf.EncapType, "geneve")
	setDefault(&d.conf.EncapIP, "127.0.0.1")
	setDefault(&d.conf.SchemasOVS, "/usr/share/openvswitch")
	setDefault(&d.conf.SchemasOVN, "/usr/share/ovn")
	if c.PhysicalNetworks == nil {
		d.conf.PhysicalNetworks = map[string]string{"public": providerBridge}
	}
	if c.UnderlayMTU == 0 {
		d.conf.UnderlayMTU = 1500
	}
	if c.Log == nil {
		d.conf.Log = slog.Default()
	}
	if c.Central && c.SouthboundRemote == "" {
		d.conf.SouthboundRemote = "unix:" + d.run("sb.sock")
	}
	return d, d.check()
}

func setDefault(s *string, v string) {
	if *s == "" {
		*s = v
	}
}

func (d *Daemons) check() error {
	c := d.conf
	switch {
	case len(c.Dir) > 80:
		return fault.Invalidf("The directory %s has too long a name for sockets in it.", c.Dir)
	case strings.ContainsAny(c.Dir, ",\"\n"):
		return fault.Invalidf("The directory %q has characters that OVSDB remotes can't have.", c.Dir)
	case !safeName.MatchString(c.Chassis):
		return fault.Invalidf("%q cannot name a chassis.", c.Chassis)
	case c.EncapType != "geneve" && c.EncapType != "vxlan":
		return fault.Invalidf("Unknown encapsulation %q.", c.EncapType)
	case c.SouthboundRemote == "":
		return fault.Invalidf("A chassis without the central databases needs their remote.")
	case c.Datapath != "" && c.Datapath != "system" && c.Datapath != "netdev":
		return fault.Invalidf("Unknown datapath type %q.", c.Datapath)
	}
	if _, err := netip.ParseAddr(c.EncapIP); err != nil {
		return fault.Invalidf("Invalid encapsulation address %q.", c.EncapIP)
	}
	for network, bridge := range c.PhysicalNetworks {
		if !safeName.MatchString(network) || !safeName.MatchString(bridge) || len(bridge) > 15 || bridge == integrationBridge {
			return fault.Invalidf("Invalid mapping of physical network %q to bridge %q.", network, bridge)
		}
	}
	return nil
}

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

// Northbound is the remote of the northbound database on this machine.
func (d *Daemons) Northbound() string { return "unix:" + d.run("nb.sock") }

// Southbound is the remote of the southbound database.
func (d *Daemons) Southbound() string { return d.conf.SouthboundRemote }

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
	return host.Run(ctx, host.Command{Path: path, Args: args, Env: d.env(), Timeout: commandTimeout})
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
	for _, p := range d.central() {
		if _, err := d.ensureProcess(ctx, p); err != nil {
			return err
		}
	}
	if err := d.awaitNorthd(ctx); err != nil {
		return err
	}
	if _, err := d.ensureProcess(ctx, d.controller()); err != nil {
		return err
	}
	return d.ensureHostLink(ctx)
}

// awaitNorthd returns when northd has filled the southbound database.
// ovn-controller 23.03 now and then dies of one that is still empty.
func (d *Daemons) awaitNorthd(ctx context.Context) error {
	if !d.conf.Central {
		return nil
	}
	_, err := d.command(ctx, "ovn-nbctl", "--db="+d.Northbound(), "--timeout=15", "--wait=sb", "sync")
	return err
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

// configureChassis writes what ovn-controller reads (ovn-controller(8)).
func (d *Daemons) configureChassis(ctx context.Context) error {
	var mappings []string
	for _, network := range slices.Sorted(maps.Keys(d.conf.PhysicalNetworks)) {
		mappings = append(mappings, network+":"+d.conf.PhysicalNetworks[network])
	}
	_, err := d.Vsctl(ctx, "--no-wait", "init", "--", "set", "Open_vSwitch", ".",
		"external_ids:system-id="+d.conf.Chassis,
		"external_ids:hostname="+d.conf.Chassis,
		"external_ids:rundir="+d.run(""),
		"external_ids:ovn-remote=\""+d.conf.SouthboundRemote+"\"",
		"external_ids:ovn-encap-type="+d.conf.EncapType,
		"external_ids:ovn-encap-ip=\""+d.conf.EncapIP+"\"",
		"external_ids:ovn-bridge-mappings=\""+strings.Join(mappings, ",")+"\"",
		"external_ids:ovn-monitor-all=true",
	)
	return err
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
		missing := d.missing()
		if len(missing) == 0 {
			continue
		}
		d.conf.Log.WarnContext(ctx, "network daemons died", slog.String("daemons", strings.Join(missing, " ")))
		if err := d.Start(ctx); err != nil && ctx.Err() == nil {
			d.conf.Log.ErrorContext(ctx, "network daemons not restarted", slog.Any("error", err))
		}
	}
}

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
// namespaces included. It is idempotent and goes on after an error.
func (d *Daemons) Stop(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, p := range slices.Backward(d.processes()) {
		errs = append(errs, d.stopProcess(ctx, p))
	}
	errs = append(errs, host.DeleteLink("", d.HostLink()), d.deleteTaps())
	spaces, err := d.MetadataNamespaces()
	errs = append(errs, err)
	for _, ns := range append(spaces, d.Netns()) {
		errs = append(errs, host.DeleteNetns(ns))
	}
	errs = append(errs, removeAll(d.run(""), d.log(""), d.db("")))
	if err := os.Remove(d.conf.Dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		// Not empty: the directory has other things, which are not ours.
		d.conf.Log.DebugContext(ctx, "network directory kept", slog.Any("error", err))
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
