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
	"time"

	"github.com/tropocloud/tropo/cluster"
	"github.com/tropocloud/tropo/host"
	"github.com/tropocloud/tropo/network"
	networkagent "github.com/tropocloud/tropo/network/agent"
	networkapi "github.com/tropocloud/tropo/network/api"
	"github.com/tropocloud/tropo/network/driver/ovn"
	"github.com/tropocloud/tropo/network/driver/ovn/daemons"
	networkmanager "github.com/tropocloud/tropo/network/manager"
	"github.com/tropocloud/tropo/network/metadata"
	networkstore "github.com/tropocloud/tropo/network/store"
	"github.com/tropocloud/tropo/rest"
)

// dataplane is this machine's part of the network: its daemons and, on control
// nodes, the driver.
type dataplane struct {
	daemons *daemons.Daemons
	driver  *ovn.Driver // nil on nodes without the central databases
}

// daemonTimeout bounds the start of the network's daemons.
const daemonTimeout = time.Minute

// chassis says whether this machine has a switch.
func (s *System) chassis() bool { return s.has(cluster.Compute) || s.has(cluster.Network) }

func startDataplane(ctx context.Context, s *System) error {
	if !s.has(cluster.Control) && !s.chassis() {
		return nil // a storage node
	}
	c, err := s.daemonsConfig()
	if err != nil {
		return err
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
	s.plane = &dataplane{daemons: d}
	if !s.has(cluster.Control) {
		return nil
	}
	o := ovn.Options{Remotes: d.NorthboundRemotes, TLS: s.member.tls, Capabilities: d.Capabilities()}
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
	if f := s.member.Files; f != nil {
		c.TLS = daemons.TLS{CA: f.CA, Cert: f.Cert, Key: f.Key}
	}
	return c, nil
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

// ended takes the error of what ran until ctx ended for no error.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func startNetwork(ctx context.Context, s *System) error {
	if !s.has(cluster.Control) {
		return nil
	}
	d, err := s.openDB(ctx, "network")
	if err != nil {
		return err
	}
	st, err := networkstore.New(ctx, d)
	if err != nil {
		return err
	}
	c := s.o.Config.Network
	c.Host = s.host
	c.MetadataSecret = s.secrets.Metadata
	if c.MetadataURL == "" {
		c.MetadataURL = s.endpoint("metadata")
	}
	caps := s.plane.daemons.Capabilities()
	m, err := networkmanager.New(ctx, networkmanager.Options{
		Store: st, Config: c, Session: s.session("neutron"), Log: s.log,
		Dataplane: network.Dataplane{
			VIFType: caps.VIFType, Bridge: caps.Bridge, DatapathType: caps.DatapathType, NetworkTypes: caps.NetworkTypes,
			PhysicalNetworks: caps.PhysicalNetworks, TunnelMTU: caps.TunnelMTU, PhysicalMTU: caps.PhysicalMTU,
		},
	})
	if err != nil {
		return err
	}
	once, err := rest.NewOnce(ctx, d)
	if err != nil {
		return err
	}
	api, err := networkapi.New(m, networkapi.Options{
		Validator: s.validator("neutron"), PolicyFile: s.policyFile("network"), EnforceScope: s.o.Config.EnforceScope, AuthURL: s.authURL(),
		Log: s.log, Metrics: s.metrics, Tracing: s.tracing, Once: once,
	})
	if err != nil {
		return err
	}
	proxy, err := metadata.New(metadata.Options{
		Guests: m, URL: c.MetadataURL, Secret: func() string { return c.MetadataSecret }, Transport: s.transport, Log: s.log,
	})
	if err != nil {
		return err
	}
	served := ovn.NewMetadata(s.plane.daemons, proxy.Serve, s.log)
	s.onStop(served.Close)
	a := networkagent.New(networkagent.Options{
		Host: s.host, Rows: st, Manager: m, Driver: s.plane.driver, Metadata: metadataServer{served}, Provider: s.plane.daemons,
		Wake: m.Wake(), Log: s.log, Domain: c.DNSDomain, External: c.ExternalPhysical, SyncInterval: time.Duration(c.SyncInterval) * time.Second,
	})
	s.doctor.Add(m.Checks()...)
	s.doctor.Add(a.Checks()...)
	s.Go("network notifications", func(ctx context.Context) error { return ended(ctx, m.Run(ctx)) })
	s.Go("network agent", func(ctx context.Context) error { return ended(ctx, a.Run(ctx)) })
	return s.publish("network", api)
}

// metadataServer gives the driver's metadata server the agent's words.
type metadataServer struct{ m *ovn.Metadata }

func (s metadataServer) Ensure(ctx context.Context, p networkagent.MetadataPort) error {
	return s.m.Ensure(ctx, ovn.MetadataPort(p))
}

func (s metadataServer) Remove(ctx context.Context, networkID string) error {
	return s.m.Remove(ctx, networkID)
}

func (s metadataServer) Sync(ctx context.Context, ports []networkagent.MetadataPort) error {
	list := make([]ovn.MetadataPort, len(ports))
	for i, p := range ports {
		list[i] = ovn.MetadataPort(p)
	}
	return s.m.Sync(ctx, list)
}
