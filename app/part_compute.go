package app

import (
	"context"

	"github.com/tropocloud/tropo/cluster"
	computeagent "github.com/tropocloud/tropo/compute/agent"
	computeapi "github.com/tropocloud/tropo/compute/api"
	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/compute/driver/qemu"
	computemanager "github.com/tropocloud/tropo/compute/manager"
	computemetadata "github.com/tropocloud/tropo/compute/metadata"
	computestore "github.com/tropocloud/tropo/compute/store"
	"github.com/tropocloud/tropo/rest"
)

func startCompute(ctx context.Context, s *System) error {
	if !s.has(cluster.Control) {
		return nil
	}
	d, err := s.openDB(ctx, "compute")
	if err != nil {
		return err
	}
	st, err := computestore.New(ctx, d)
	if err != nil {
		return err
	}
	tasks, err := s.engine(ctx, "compute", d)
	if err != nil {
		return err
	}
	c := s.o.Config.Compute
	c.MetadataSecret = s.secrets.Metadata
	m, err := computemanager.New(ctx, computemanager.Options{
		Store: st, Config: c, Tasks: tasks, Bus: s.bus, Session: s.session("nova"), Host: s.host, Log: s.log,
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
	api, err := computeapi.New(m, computeapi.Options{
		Validator: s.validator("nova"), PolicyFile: s.policyFile("compute"), EnforceScope: s.o.Config.EnforceScope, AuthURL: s.authURL(),
		Log: s.log, Metrics: s.metrics, Tracing: s.tracing, Once: once,
	})
	if err != nil {
		return err
	}
	s.doctor.Add(m.Checks()...)
	s.runEngine("compute", tasks)
	if err := s.publish("metadata", computemetadata.New(m, c.MetadataSecret, s.log)); err != nil {
		return err
	}
	s.Go("feed of compute", st.Feed().Run)
	return s.publish("compute", computeapi.V2(api))
}

// startHypervisor starts the agent of a node that runs guests. It has the bus,
// the APIs of the control nodes and the node's switch, and no database.
func startHypervisor(ctx context.Context, s *System) error {
	if !s.has(cluster.Compute) {
		return nil
	}
	c := qemuConfig(s.state, s.plane.daemons, s.o.Config.Accelerator, s.log)
	address, user := "127.0.0.1", "nova"
	if !s.member.alone() {
		c.Hostname, address = s.host, s.member.Management.String()
	}
	if s.member.User != "" {
		user = s.member.User
	}
	q, err := qemu.New(ctx, c)
	if err != nil {
		return err
	}
	s.onStop(q.Close)
	cache, err := driver.NewImageCache(q.ImageCacheDir())
	if err != nil {
		return err
	}
	a, err := computeagent.New(ctx, computeagent.Options{
		Host: s.host, IP: address, Driver: q, Bus: s.bus, Session: s.session(user), Cache: cache, Inspect: computeagent.Inspect,
		WorkDir: s.state.Path("compute", "work"), Config: s.o.Config.Compute, Log: s.log,
	})
	if err != nil {
		return err
	}
	s.Go("compute agent", func(ctx context.Context) error { return ended(ctx, a.Run(ctx)) })
	return nil
}
