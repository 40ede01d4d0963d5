package app

import (
	"context"
	"net/http"

	"github.com/tropocloud/tropo/cluster"
	"github.com/tropocloud/tropo/image"
	imageapi "github.com/tropocloud/tropo/image/api"
	imagedriver "github.com/tropocloud/tropo/image/driver"
	"github.com/tropocloud/tropo/image/driver/file"
	imagemanager "github.com/tropocloud/tropo/image/manager"
	imagepeer "github.com/tropocloud/tropo/image/peer"
	imagestore "github.com/tropocloud/tropo/image/store"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

func startImage(ctx context.Context, s *System) error {
	if !s.has(cluster.Control) {
		return nil
	}
	d, err := s.openDB(ctx, "image")
	if err != nil {
		return err
	}
	st, err := imagestore.New(ctx, d)
	if err != nil {
		return err
	}
	tasks, err := s.engine(ctx, "image", d)
	if err != nil {
		return err
	}
	files, err := file.New(s.state.Path("images"))
	if err != nil {
		return err
	}
	m, err := imagemanager.New(ctx, imagemanager.Options{
		Store: st, Drivers: map[string]imagedriver.Driver{"file": files}, Default: "file",
		Config: s.o.Config.Image, Engine: tasks, Host: s.host, Log: s.log, Replicas: s.imageReplicas(),
	})
	if err != nil {
		return err
	}
	enforcer, err := policy.NewEnforcer(imageapi.Policy(), policy.Options{File: s.policyFile("image"), EnforceScope: s.o.Config.EnforceScope})
	if err != nil {
		return err
	}
	once, err := rest.NewOnce(ctx, d)
	if err != nil {
		return err
	}
	api, err := imageapi.New(imageapi.Options{
		Manager: m, Validator: s.validator("glance"), Enforcer: enforcer, AuthURL: s.authURL(),
		Log: s.log, Metrics: s.metrics, Tracing: s.tracing, Once: once,
	})
	if err != nil {
		return err
	}
	s.doctor.Add(m.Checks()...)
	s.runEngine("image", tasks)
	s.Go("feed of image", st.Feed().Run)
	if err := s.publish("image", api); err != nil {
		return err
	}
	s.Go("copies of images", m.Replicate)
	return nil
}

// imageReplicas say how image data gets to the other control nodes; nil where
// the cloud has one machine.
func (s *System) imageReplicas() *imagemanager.Replicas {
	if s.member.alone() {
		return nil
	}
	client, session := &http.Client{Transport: s.transport}, s.session("glance")
	return &imagemanager.Replicas{URL: managementURL(s.member.Node) + "/image", Peer: func(n image.Node) imagemanager.Peer {
		return &imagepeer.HTTP{URL: n.URL, Client: client, Token: session.Token}
	}}
}
