package app

import (
	"context"
	"os"
	"path/filepath"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/cluster"
	"github.com/tropocloud/tropo/identity"
	identityapi "github.com/tropocloud/tropo/identity/api"
	identitymanager "github.com/tropocloud/tropo/identity/manager"
	identitystore "github.com/tropocloud/tropo/identity/store"
	placementapi "github.com/tropocloud/tropo/placement/api"
	placementmanager "github.com/tropocloud/tropo/placement/manager"
	placementstore "github.com/tropocloud/tropo/placement/store"
	"github.com/tropocloud/tropo/rest"
)

// Kinds of nodes, for the table.
var (
	controls = []cluster.Role{cluster.Control}
	computes = []cluster.Role{cluster.Compute}
	// switches are on every node but those for storage alone: the central
	// databases on control nodes, a chassis on the others.
	switches = []cluster.Role{cluster.Control, cluster.Compute, cluster.Network}
)

// table lists the parts, where each starts and what it needs: the whole system
// at a glance. A need is about the order alone; on a node without it, the
// control nodes have it.
var table = []part{
	{"identity", controls, nil, startIdentity},
	{"keys", controls, []string{"identity"}, startKeys},
	{"placement", controls, []string{"identity"}, startPlacement},
	{"image", controls, []string{"identity"}, startImage},
	{"dataplane", switches, nil, startDataplane},
	{"network", controls, []string{"identity", "dataplane"}, startNetwork},
	{"compute", controls, []string{"identity", "placement", "image", "network"}, startCompute},
	{"feed", controls, []string{"image", "network", "compute"}, startFeed},
	{"hypervisor", computes, []string{"compute", "dataplane"}, startHypervisor},
}

func startIdentity(ctx context.Context, s *System) error {
	d, err := s.openDB(ctx, "identity")
	if err != nil {
		return err
	}
	st, err := identitystore.New(ctx, d)
	if err != nil {
		return err
	}
	tasks, err := s.engine(ctx, "identity", d)
	if err != nil {
		return err
	}
	c := s.identityConfig()
	m, err := identitymanager.New(ctx, identitymanager.Options{Store: st, Config: c, Tasks: tasks, Bus: s.bus, Log: s.log})
	if err != nil {
		return err
	}
	if err := m.Bootstrap(ctx, s.bootstrap(c)); err != nil {
		return err
	}
	// A revocation reaches every service's cache at once.
	s.onStop(stopper(s.bus.Subscribe(identitymanager.InvalidateEvent, func(context.Context, bus.Event) { s.flush() })))
	once, err := rest.NewOnce(ctx, d)
	if err != nil {
		return err
	}
	api, err := identityapi.New(m, identityapi.Options{
		Validator: m, PolicyFile: s.policyFile("identity"), EnforceScope: s.o.Config.EnforceScope, AuthURL: s.authURL(),
		Log: s.log, Metrics: s.metrics, Tracing: s.tracing, Once: once,
	})
	if err != nil {
		return err
	}
	s.doctor.Add(m.Checks()...)
	s.runEngine("identity", tasks)
	return s.publish("identity", api)
}

func (s *System) identityConfig() identity.Config {
	c := s.o.Config.Identity
	c.FernetTokens.KeyRepository = s.under(c.FernetTokens.KeyRepository)
	c.Credential.KeyRepository = s.under(c.Credential.KeyRepository)
	if c.FernetReceipts.KeyRepository != "" {
		c.FernetReceipts.KeyRepository = s.under(c.FernetReceipts.KeyRepository)
	}
	c.JWTTokens.PrivateKeyRepository = s.under(c.JWTTokens.PrivateKeyRepository)
	c.JWTTokens.PublicKeyRepository = s.under(c.JWTTokens.PublicKeyRepository)
	return c
}

// bootstrap is what identity makes at the first start: the admin, the service
// users, the catalog.
func (s *System) bootstrap(c identity.Config) identitymanager.BootstrapOptions {
	o := identitymanager.BootstrapOptions{AdminPassword: s.secrets.Admin}
	for _, u := range serviceUsers {
		// 256 random bits: nothing is gained by a slow hash, and every
		// service logs in at every start. 4 is bcrypt's least cost.
		rounds := 0
		if c.Identity.PasswordHashAlgorithm == "bcrypt" {
			rounds = 4
		}
		o.Users = append(o.Users, identitymanager.BootstrapUser{Name: u, Password: s.secrets.Services[u], HashRounds: rounds})
	}
	if s.place != nil && !s.place.now().Founder && s.o.Config.Node.PublicEndpoint == "" {
		return o // the catalog has the first node's addresses
	}
	for _, e := range []struct{ service, typ, name string }{
		{"identity", "identity", "keystone"},
		{"image", "image", "glance"},
		{"placement", "placement", "placement"},
		{"compute", "compute", "nova"},
		{"network", "network", "neutron"},
	} {
		url := s.public(e.service)
		o.Services = append(o.Services, identitymanager.BootstrapService{Type: e.typ, Name: e.name, Public: url, Internal: url, Admin: url})
	}
	return o
}

func startPlacement(ctx context.Context, s *System) error {
	d, err := s.openDB(ctx, "placement")
	if err != nil {
		return err
	}
	st, err := placementstore.New(ctx, d)
	if err != nil {
		return err
	}
	m, err := placementmanager.New(ctx, placementmanager.Options{Store: st, Config: s.o.Config.Placement})
	if err != nil {
		return err
	}
	once, err := rest.NewOnce(ctx, d)
	if err != nil {
		return err
	}
	api, err := placementapi.New(m, placementapi.Options{
		Validator: s.validator("placement"), PolicyFile: s.policyFile("placement"), EnforceScope: s.o.Config.EnforceScope, AuthURL: s.authURL(),
		Log: s.log, Metrics: s.metrics, Tracing: s.tracing, Once: once,
	})
	if err != nil {
		return err
	}
	return s.publish("placement", api)
}

// under makes a relative path one of the state folder.
func (s *System) under(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return s.state.Path(path)
}

// policyFile is the operator's policy file of a service, if there is one.
func (s *System) policyFile(service string) string {
	if s.o.Config.PolicyDir == "" {
		return ""
	}
	for _, ext := range []string{".yaml", ".yml", ".json"} {
		f := filepath.Join(s.o.Config.PolicyDir, service+ext)
		if _, err := os.Stat(f); err == nil {
			return f
		}
	}
	return ""
}

func (s *System) authURL() string { return s.public("identity") }

// Endpoint is the public URL of a service.
func (s *System) Endpoint(service string) string { return s.public(service) }

// StatePath is a path inside the state folder.
func (s *System) StatePath(parts ...string) string { return s.state.Path(parts...) }

// stopper makes what ends a subscription fit onStop.
func stopper(stop func()) func() error {
	return func() error { stop(); return nil }
}
