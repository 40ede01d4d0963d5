// Package api is the compute API, v2.1 with its microversions, as clients of
// Nova know it: routes as one table, request schemas for each microversion,
// views that show what each microversion shows.
//
// Source: https://docs.openstack.org/api-ref/compute/ and
// https://docs.openstack.org/nova/latest/reference/api-microversion-history.html
package api

import (
	"fmt"
	"log/slog"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/manager"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/obs"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

// The microversions that are served.
const (
	MinVersion = "2.1"
	MaxVersion = "2.96"
)

// Options adapt the API to an installation.
type Options struct {
	Validator    auth.Validator
	PolicyFile   string
	EnforceScope bool
	PublicURL    string // see rest.Options
	AuthURL      string
	Log          *slog.Logger
	Metrics      *obs.Metrics
	// Once answers repeated requests with an Idempotency-Key; nil: none.
	Once    *rest.Once
	Tracing *obs.Tracing
}

// api holds what handlers need.
type api struct {
	m *manager.Manager
	s *schemas
}

type m = map[string]any

// New makes the API of a manager.
func New(mgr *manager.Manager, o Options) (*rest.API, error) {
	s, err := loadSchemas()
	if err != nil {
		return nil, fmt.Errorf("compute schemas: %w", err)
	}
	enforcer, err := policy.NewEnforcer(rules(), policy.Options{File: o.PolicyFile, EnforceScope: o.EnforceScope})
	if err != nil {
		return nil, fmt.Errorf("compute policy: %w", err)
	}
	a := &api{m: mgr, s: s}
	return rest.New(rest.Options{
		Service: "compute", Routes: a.routes(), Errors: rest.NovaErrors{}, Validator: o.Validator, Enforcer: enforcer,
		Microversions: &rest.Microversions{Service: "compute", Legacy: "X-OpenStack-Nova-API-Version", Min: rest.V(MinVersion), Max: rest.V(MaxVersion)},
		Schemas:       s.files, PublicURL: o.PublicURL, OptionalProject: true, RequestIDHeader: "X-Compute-Request-Id", AuthURL: o.AuthURL,
		Log: o.Log, Metrics: o.Metrics, Tracing: o.Tracing, Once: o.Once,
	})
}

// from reports whether the microversion in force is at least v.
func from(r *rest.Request, v string) bool { return r.Version().AtLeast(rest.V(v)) }

// server loads the server that a route is about; those of other projects do
// not exist for callers who are no administrators.
func (a *api) server(r *rest.Request) (any, policy.Target, error) {
	s, err := a.m.Server(r.Context(), r.Var("id"))
	if err != nil {
		return nil, nil, notFoundServer(err, r.Var("id"))
	}
	return s, serverTarget(s), nil
}

// anyServer is server for what was deleted, too.
func (a *api) anyServer(r *rest.Request) (any, policy.Target, error) {
	s, err := a.m.AnyServer(r.Context(), r.Var("id"))
	if err != nil {
		return nil, nil, notFoundServer(err, r.Var("id"))
	}
	return s, serverTarget(s), nil
}

func notFoundServer(err error, id string) error {
	if fault.Is(err, fault.NotFound) {
		return fault.Missing("Instance", id)
	}
	return err
}

func serverTarget(s *compute.Server) policy.Target {
	return policy.Target{"project_id": s.ProjectID, "user_id": s.UserID}
}

func serverOf(r *rest.Request) *compute.Server { return r.Object().(*compute.Server) }

// accepted answers without a document.
func accepted() (any, error) { return nil, nil }
