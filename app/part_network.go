package app

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/network"
	networkagent "github.com/tropocloud/tropo/network/agent"
	networkapi "github.com/tropocloud/tropo/network/api"
	networkmanager "github.com/tropocloud/tropo/network/manager"
	networkstore "github.com/tropocloud/tropo/network/store"
	"github.com/tropocloud/tropo/rest"
	"github.com/tropocloud/tropo/task"
)

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
	c := s.networkConfig()
	m, err := networkmanager.New(ctx, networkmanager.Options{
		Store: st, Config: c, Session: s.session("neutron"), Log: s.log, Dataplane: s.networkPlane(), Bus: s.bus, Host: s.host,
	})
	if err != nil {
		return err
	}
	stop, err := m.Serve(s.ctx)
	if err != nil {
		return err
	}
	s.onStop(stopper(stop))
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
	s.reconcile(c, st, d, m)
	s.Go("network notifications", func(ctx context.Context) error { return ended(ctx, m.Run(ctx)) })
	if s.nodes != nil {
		s.Go("removed hosts", func(ctx context.Context) error { return s.forgetRemoved(ctx, m) })
	}
	if s.chassis() {
		// Ports can be bound here from the first request on.
		r := s.hostReport()
		r.Connected = true
		if _, err := m.Report(ctx, r); err != nil {
			return err
		}
		if err := s.startChassis(ctx); err != nil {
			return err
		}
	}
	s.Go("feed of network", st.Feed().Run)
	return s.publish("network", api)
}

// forgetRemoved has the network service forget the hosts that are removed from
// the cloud.
func (s *System) forgetRemoved(ctx context.Context, m *networkmanager.Manager) error {
	look := make(chan struct{}, 1)
	look <- struct{}{}
	s.nodes.Watch(func() {
		select {
		case look <- struct{}{}:
		default:
		}
	})
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-look:
		}
		names, err := s.removedNodes(ctx)
		for _, name := range names {
			err = errors.Join(err, s.forgetHost(ctx, m, name))
		}
		if err != nil && ctx.Err() == nil {
			s.log.LogAttrs(ctx, slog.LevelWarn, "hosts that were removed are not forgotten yet", slog.String("error", err.Error()))
		}
	}
}

// shutTime is within what time every control node has shut a removed host out of
// its databases. Until then the host's controller would come back at once.
const shutTime = 3 * time.Second

func (s *System) forgetHost(ctx context.Context, m *networkmanager.Manager, name string) error {
	known, err := m.HostKnown(ctx, name)
	if err != nil || !known {
		return err
	}
	if err := s.plane.daemons.Refresh(ctx); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(shutTime):
	}
	return m.RemoveHost(ctx, name)
}

func (s *System) networkConfig() network.Config {
	c := s.o.Config.Network
	c.Host = s.host
	c.MetadataSecret = s.secrets.Metadata
	if c.MetadataURL == "" {
		c.MetadataURL = s.endpoint("metadata")
	}
	return c
}

// networkPlane is what the dataplane can do everywhere. In a cloud of many
// machines each tells for itself what differs.
func (s *System) networkPlane() network.Dataplane {
	caps := s.plane.daemons.Capabilities()
	p := network.Dataplane{VIFType: caps.VIFType, Bridge: caps.Bridge, NetworkTypes: caps.NetworkTypes, TunnelMTU: caps.TunnelMTU, PhysicalMTU: caps.PhysicalMTU}
	if s.member.alone() {
		p.DatapathType, p.PhysicalNetworks = caps.DatapathType, caps.PhysicalNetworks
	}
	return p
}

// reconcile makes the dataplane follow the rows: on one of the control nodes
// at a time.
func (s *System) reconcile(c network.Config, st *networkstore.Store, d *db.DB, m *networkmanager.Manager) {
	o := networkagent.Options{
		Rows: st, Manager: m, Driver: s.plane.driver, Wake: m.Wake(), Log: s.log, Domain: c.DNSDomain, External: c.ExternalPhysical,
		SyncInterval: time.Duration(c.SyncInterval) * time.Second,
	}
	if s.chassis() {
		o.Provider = s.plane.daemons
	}
	a := networkagent.New(o)
	s.doctor.Add(m.Checks()...)
	s.doctor.Add(a.Checks()...)
	s.Go("network agent", func(ctx context.Context) error {
		if s.member.alone() {
			return ended(ctx, a.Run(ctx))
		}
		return task.Exclusive(ctx, d, task.ExclusiveOptions{Name: "network agent", Owner: s.host, Log: s.log}, a.Run)
	})
}
