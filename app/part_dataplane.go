package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tropocloud/tropo/cluster"
	"github.com/tropocloud/tropo/host"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/agent/chassis"
	"github.com/tropocloud/tropo/network/driver/ovn"
	"github.com/tropocloud/tropo/network/driver/ovn/daemons"
	"github.com/tropocloud/tropo/network/metadata"
)

// dataplane is this machine's part of the network: its daemons and, on control
// nodes, the driver.
type dataplane struct {
	daemons *daemons.Daemons
	driver  *ovn.Driver // nil on nodes without the central databases
	// removed are the addresses of nodes that were removed, as last read.
	removed atomic.Pointer[[]netip.Addr]
}

// daemonTimeout bounds the start of the network's daemons.
const daemonTimeout = time.Minute

// chassis says whether this machine has a switch.
func (s *System) chassis() bool { return s.has(cluster.Compute) || s.has(cluster.Network) }

func startDataplane(ctx context.Context, s *System) error {
	c, err := s.daemonsConfig()
	if err != nil {
		return err
	}
	s.plane = &dataplane{}
	if s.nodes != nil {
		if _, err := s.removedNodes(ctx); err != nil {
			return err
		}
	}
	d, err := daemons.New(c)
	if err != nil {
		return err
	}
	// For tools: where the cloud's interfaces are.
	if err := host.WriteFile(s.state.Path("run", "netns"), []byte(d.Netns()+"\n"), 0o600); err != nil {
		return err
	}
	sctx, cancel := context.WithTimeout(ctx, daemonTimeout)
	defer cancel()
	if err := d.Start(sctx); err != nil {
		return err
	}
	s.Go("network daemons", func(ctx context.Context) error { return ended(ctx, d.Run(ctx)) })
	s.plane.daemons = d
	if !s.has(cluster.Control) {
		return s.startChassis(ctx)
	}
	o := ovn.Options{Remotes: d.NorthboundRemotes, Southbound: d.SouthboundRemotes, TLS: s.member.tls, Capabilities: d.Capabilities()}
	if s.member.alone() {
		o.GatewayChassis = []string{d.Chassis()}
	}
	if s.plane.driver, err = ovn.Open(o); err != nil {
		return err
	}
	s.onStop(s.plane.driver.Close)
	return nil
}

// daemonsConfig is what this machine's roles and addresses make of the
// network's daemons.
func (s *System) daemonsConfig() (daemons.Config, error) {
	id, err := dataplaneID(s.state, s.secrets, s.member)
	if err != nil {
		return daemons.Config{}, err
	}
	conf := s.o.Config.Node
	c := daemons.Config{
		ID: id, Dir: s.state.Path("ovn"), Chassis: s.host, Log: s.log, UnderlayMTU: s.o.Config.Network.GlobalMTU,
		Central: s.has(cluster.Control), NoChassis: !s.chassis(), Gateway: s.has(cluster.Network), ProviderLink: conf.ProviderInterface,
	}
	if s.member.alone() {
		return c, nil
	}
	if !s.has(cluster.Network) && conf.ProviderInterface == "" {
		c.PhysicalNetworks = map[string]string{}
	}
	c.ServiceLink, c.EncapIP = conf.ServiceInterface, s.member.ServiceAddress().String()
	c.Address = s.member.Management
	c.Controls = func() []netip.Addr {
		var out []netip.Addr
		for _, n := range s.member.Controls() {
			if !n.Revoked {
				out = append(out, n.Management)
			}
		}
		return out
	}
	c.Removed = s.removedAddresses
	if f := s.member.Files; f != nil {
		c.TLS = daemons.TLS{CA: f.CA, Cert: f.Cert, Key: f.Key}
	}
	return c, nil
}

// removedNodes asks who was removed from the cloud, and notes the addresses that
// no other node has.
func (s *System) removedNodes(ctx context.Context) ([]string, error) {
	nodes, err := s.nodes.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	used := map[netip.Addr]bool{}
	for _, n := range nodes {
		used[n.Management] = used[n.Management] || !n.Revoked
	}
	var names []string
	var addrs []netip.Addr
	for _, n := range nodes {
		if !n.Revoked {
			continue
		}
		names = append(names, n.Name)
		if !used[n.Management] {
			addrs = append(addrs, n.Management)
		}
	}
	s.plane.removed.Store(&addrs)
	return names, nil
}

func (s *System) removedAddresses() []netip.Addr {
	if list := s.plane.removed.Load(); list != nil {
		return *list
	}
	return nil
}

// dataplaneID names this machine's switch among all that may be on one
// machine. It is kept, as what has the name outlives the process. The control
// nodes of a cloud share its id, so theirs are told apart by their names.
func dataplaneID(state *State, secrets *Secrets, m member) (string, error) {
	path := state.Path("dataplane-id")
	b, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	id := secrets.CloudID
	if _, err := os.Stat(state.Path("ovn", "db")); errors.Is(err, fs.ErrNotExist) && !m.alone() {
		id += "-" + m.Name
	}
	return id, host.WriteFile(path, []byte(id+"\n"), 0o600)
}

// stoppedDaemons are the daemons of a state folder whose process has ended, to
// be stopped.
func stoppedDaemons(state *State, secrets *Secrets, log *slog.Logger) (*daemons.Daemons, error) {
	id, err := dataplaneID(state, secrets, member{})
	if err != nil {
		return nil, err
	}
	return daemons.New(daemons.Config{ID: id, Dir: state.Path("ovn"), Central: true, Log: log})
}

// tls is how this machine speaks with the databases of others; nil where there
// are none.
func (m member) tls() (*tls.Config, error) {
	if m.Files == nil {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(m.Files.Cert, m.Files.Key)
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(m.Files.CA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("no certificate in " + m.Files.CA)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, RootCAs: roots}, nil
}

// hostReport is what this machine's heartbeats tell the network service.
func (s *System) hostReport() network.HostReport {
	d := s.plane.daemons
	caps := d.Capabilities()
	r := network.HostReport{
		Host: s.host, Gateway: d.Gateway(), VIFType: caps.VIFType, Bridge: caps.Bridge, DatapathType: caps.DatapathType,
		PhysicalNetworks: caps.PhysicalNetworks, Started: time.Now(),
	}
	if !s.member.alone() {
		// A machine alone has its reconciler do it, at once.
		r.HostLink = d.HostLinked()
		r.EncapType, r.EncapIP = d.Encapsulation()
	}
	return r
}

// firstReport bounds the wait for the control nodes to know this one.
const firstReport = 10 * time.Second

// startChassis serves this machine's guests: metadata, and heartbeats.
func (s *System) startChassis(ctx context.Context) error {
	d, c := s.plane.daemons, s.networkConfig()
	guests, err := ovn.OpenSouthbound(ovn.SouthboundOptions{Remotes: d.SouthboundRemotes, TLS: s.member.tls, Chassis: d.Chassis()})
	if err != nil {
		return err
	}
	s.onStop(guests.Close)
	own := ""
	if s.agentOnly() { // the secret of a control node is that of all
		own = s.host
	}
	proxy, err := metadata.New(metadata.Options{
		Guests: guests, URL: c.MetadataURL, Secret: func() string { return c.MetadataSecret }, Node: own, Transport: s.transport, Log: s.log,
	})
	if err != nil {
		return err
	}
	served := ovn.NewMetadata(d, proxy.Serve, s.log)
	s.onStop(served.Close)
	a := chassis.New(chassis.Options{Report: s.hostReport(), Bus: s.bus, Switch: d, Guests: guests, Metadata: served, Log: s.log})
	if !s.has(cluster.Control) {
		// Who is told that this node is ready may use it.
		first, cancel := context.WithTimeout(ctx, firstReport)
		a.Begin(first)
		cancel()
	}
	s.Go("chassis", func(ctx context.Context) error { return ended(ctx, a.Run(ctx)) })
	return nil
}
