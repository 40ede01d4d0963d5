package api

import (
	"embed"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/identity/manager"
	"github.com/tropocloud/tropo/obs"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

//go:embed schema/*.json
var schemas embed.FS

// Options make the API.
type Options struct {
	// Validator is the manager when nil.
	Validator    auth.Validator
	PolicyFile   string
	EnforceScope bool
	PublicURL    string
	AuthURL      string
	Log          *slog.Logger
	Metrics      *obs.Metrics
	// Once answers repeated requests with an Idempotency-Key; nil: none.
	Once    *rest.Once
	Tracing *obs.Tracing
}

// API holds what the handlers need.
type API struct{ m *manager.Manager }

// New makes the service's HTTP handler.
func New(m *manager.Manager, o Options) (*rest.API, error) {
	e, err := policy.NewEnforcer(Policy(), policy.Options{File: o.PolicyFile, EnforceScope: o.EnforceScope})
	if err != nil {
		return nil, fmt.Errorf("identity policy: %w", err)
	}
	sub, err := fs.Sub(schemas, "schema")
	if err != nil {
		return nil, err
	}
	if o.Validator == nil {
		o.Validator = m
	}
	a := &API{m: m}
	return rest.New(rest.Options{
		Before:  a.tokenless,
		Service: "identity", Routes: a.routes(), Errors: rest.KeystoneErrors{}, Validator: o.Validator, Enforcer: e,
		Schemas: sub, PublicURL: o.PublicURL, AuthURL: o.AuthURL, Log: o.Log, Metrics: o.Metrics, Tracing: o.Tracing, Once: o.Once, PlainIDs: true,
	})
}
