package daemons

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/tropocloud/tropo/fault"
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
	// br-ex. The bridge br-ex is linked to the host, or to ProviderLink.
	PhysicalNetworks map[string]string
	// Central says whether the northbound and southbound databases and
	// northd run here. If not, they are on the Controls.
	Central bool
	// NoChassis leaves the switch and the controller out: a machine that
	// holds the central databases alone.
	NoChassis bool
	// Gateway says that gateways of routers may be here.
	Gateway bool
	// Address is this machine's management address, at which databases
	// listen for the other machines. The zero Addr: the cloud has one.
	Address netip.Addr
	// TLS are the files of this machine's certificate; with an Address they
	// are needed.
	TLS TLS
	// Controls returns the management addresses of the machines that have
	// the central databases as last heard, this one included; nil or none
	// heard: what was known last.
	Controls func() []netip.Addr
	// Removed returns the management addresses of machines that were removed
	// from the cloud and that no other has; nil: none. Databases refuse them.
	Removed func() []netip.Addr
	// LeaveTime is how long a member of the databases may be no control node
	// before it is thrown out: one that has just joined may not be heard of
	// yet. 0: a minute.
	LeaveTime time.Duration
	// ServiceLink is a link of the host that the switch takes for its
	// tunnels; it carries EncapIP. Empty: with an EncapIP that is not
	// loopback, the tunnels go through the host's own stack.
	ServiceLink string
	// ProviderLink is a link of the host that br-ex takes; empty: br-ex is
	// linked to the host itself.
	ProviderLink string
	// HostNetns is the network namespace that is the host; empty: the
	// process's own.
	HostNetns string
	// UnderlayMTU is the MTU between hosts in bytes; 0: 1500.
	UnderlayMTU int
	// Datapath is "system", "netdev" or empty: system where the kernel has it.
	Datapath string
	// SchemasOVS and SchemasOVN are the directories of the database schemas; empty:
	// /usr/share/openvswitch and /usr/share/ovn.
	SchemasOVS, SchemasOVN string
	Log                    *slog.Logger // nil: slog.Default
}

// TLS are PEM files: of the authority that signs the certificates of all
// machines, and of this machine's certificate and key.
type TLS struct{ CA, Cert, Key string }

// Daemons are the daemons of one cloud on this machine.
type Daemons struct {
	conf  Config
	short string

	overlaps sync.Map // of addresses (netip.Prefix): looked at, see tellOfOverlap

	mu       sync.Mutex
	datapath string               // once Start knows it
	controls []netip.Addr         // last heard
	removed  []netip.Addr         // last heard
	missed   map[string]time.Time // since when a member of a database is no control node

	// Run's own: since when northd looks for leaders that there are, and how
	// long it may.
	astray   time.Time
	patience time.Duration
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
	d := &Daemons{conf: c, short: ShortID(c.ID), patience: northdPatience}
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
	if c.LeaveTime == 0 {
		d.conf.LeaveTime = time.Minute
	}
	if c.Log == nil {
		d.conf.Log = slog.Default()
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
	case !c.Central && c.Controls == nil:
		return fault.Invalidf("A chassis without the central databases needs to know where they are.")
	case !c.Central && c.NoChassis:
		return fault.Invalidf("A machine without databases and without chassis has no part in the network.")
	case c.Address.IsValid() && (c.TLS.CA == "" || c.TLS.Cert == "" || c.TLS.Key == ""):
		return fault.Invalidf("Databases for other machines need a certificate.")
	case c.Datapath != "" && c.Datapath != "system" && c.Datapath != "netdev":
		return fault.Invalidf("Unknown datapath type %q.", c.Datapath)
	}
	if _, err := netip.ParseAddr(c.EncapIP); err != nil {
		return fault.Invalidf("Invalid encapsulation address %q.", c.EncapIP)
	}
	for _, link := range []string{c.ServiceLink, c.ProviderLink} {
		if link != "" && (!safeName.MatchString(link) || len(link) > 15) {
			return fault.Invalidf("%q cannot name a link.", link)
		}
	}
	if c.ServiceLink != "" && c.ServiceLink == c.ProviderLink {
		return fault.Invalidf("The link %s cannot be both the service and the provider interface.", c.ServiceLink)
	}
	if c.ServiceLink != "" && c.Address.IsValid() && c.Address.String() == c.EncapIP {
		return fault.Invalidf("The link %s carries the management address, which the host needs: give the service network an address of its own, or no service interface.", c.ServiceLink)
	}
	for network, bridge := range c.PhysicalNetworks {
		if !safeName.MatchString(network) || !safeName.MatchString(bridge) || len(bridge) > 15 || bridge == integrationBridge {
			return fault.Invalidf("Invalid mapping of physical network %q to bridge %q.", network, bridge)
		}
	}
	return nil
}
