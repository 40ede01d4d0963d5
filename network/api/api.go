// Package api is the network service's REST API, Neutron v2.0.
//
// A resource is a table of attributes (attributes.go) and the operations that
// its kind has (resources.go); decoding, policies on attributes, lists and
// views are the same for all.
package api

import (
	"log/slog"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/network/manager"
	"github.com/tropocloud/tropo/obs"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

// Options make the API.
type Options struct {
	Validator    auth.Validator
	PolicyFile   string
	EnforceScope bool
	PublicURL    string // replaces the Host header in links
	AuthURL      string
	Log          *slog.Logger
	Metrics      *obs.Metrics
	// Once answers repeated requests with an Idempotency-Key; nil: none.
	Once    *rest.Once
	Tracing *obs.Tracing
}

// api holds what handlers need.
type api struct {
	m         *manager.Manager
	enforcer  *policy.Enforcer
	resources []*resource
}

// New makes the API of a manager.
func New(m *manager.Manager, o Options) (*rest.API, error) {
	e, err := policy.NewEnforcer(Rules(), policy.Options{File: o.PolicyFile, EnforceScope: o.EnforceScope})
	if err != nil {
		return nil, err
	}
	a := &api{m: m, enforcer: e}
	a.resources = a.table()
	return rest.New(rest.Options{
		Service: "network", Routes: a.routes(), Errors: rest.NeutronErrors{}, Validator: o.Validator, Enforcer: e,
		PublicURL: o.PublicURL, AuthURL: o.AuthURL, Log: o.Log, Metrics: o.Metrics, Tracing: o.Tracing, Once: o.Once,
	})
}
