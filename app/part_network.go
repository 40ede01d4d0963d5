package app

import (
	"context"
	"errors"
	"time"

	"github.com/tropocloud/tropo/host"
	"github.com/tropocloud/tropo/network"
	networkagent "github.com/tropocloud/tropo/network/agent"
	networkapi "github.com/tropocloud/tropo/network/api"
	"github.com/tropocloud/tropo/network/driver/ovn"
	"github.com/tropocloud/tropo/network/driver/ovn/daemons"
	networkmanager "github.com/tropocloud/tropo/network/manager"
	"github.com/tropocloud/tropo/network/metadata"
	networkstore "github.com/tropocloud/tropo/network/store"
)

// dataplane is the running switch of this host.
type dataplane struct {
	daemons *daemons.Daemons
	driver  *ovn.Driver
}

// daemonTimeout bounds the start of the network's daemons.
const daemonTimeout = time.Minute

func startDataplane(ctx context.Context, s *System) error {
	d, err := newDaemons(s.state, s.secrets, s.host, s.log)
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
	drv, err := ovn.Open(ovn.Options{Remotes: []string{d.Northbound()}, GatewayChassis: []string{d.Chassis()}, Capabilities: d.Capabilities()})
	if err != nil {
		return err
	}
	s.onStop(drv.Close)
	s.plane = &dataplane{daemons: d, driver: drv}
	return nil
}

// ended takes the error of what ran until ctx ended for no error.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func startNetwork(ctx context.Context, s *System) error {
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
	api, err := networkapi.New(m, networkapi.Options{
		Validator: s.validator("neutron"), PolicyFile: s.policyFile("network"), EnforceScope: s.o.Config.EnforceScope, AuthURL: s.authURL(),
		Log: s.log, Metrics: s.metrics, Tracing: s.tracing,
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
