// Package api speaks the Placement API, microversions 1.0 to 1.39. An answer
// below the newest version is the newest one's without what came later.
//
// Source: https://docs.openstack.org/api-ref/placement/
package api

import (
	"embed"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/obs"
	"github.com/tropocloud/tropo/placement/manager"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

//go:embed schema/*.json
var schemas embed.FS

// Options make the API.
type Options struct {
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

// api carries the handlers.
type api struct {
	manager *manager.Manager
}

// New makes the API over a manager.
func New(m *manager.Manager, o Options) (*rest.API, error) {
	enforcer, err := policy.NewEnforcer(Rules(), policy.Options{File: o.PolicyFile, EnforceScope: o.EnforceScope})
	if err != nil {
		return nil, err
	}
	sub, err := fs.Sub(schemas, "schema")
	if err != nil {
		return nil, err
	}
	a := &api{manager: m}
	return rest.New(rest.Options{
		Service: "placement", Routes: a.routes(), Errors: rest.PlacementErrors{}, Schemas: sub,
		Validator: o.Validator, Enforcer: enforcer,
		Microversions: &rest.Microversions{Service: "placement", Min: minVersion, Max: maxVersion},
		PublicURL:     o.PublicURL, AuthURL: o.AuthURL, Log: o.Log, Metrics: o.Metrics, Tracing: o.Tracing, Once: o.Once,
	})
}

// path is a link without scheme and host, as placement's documents have them.
func path(r *rest.Request, p string) string {
	base := ""
	if u, err := url.Parse(r.Base()); err == nil {
		base = strings.TrimRight(u.Path, "/")
	}
	return base + p
}

// modified adds the headers of version 1.15. A zero time stands for now, for
// what has no time of its own.
func modified(r *rest.Request, t time.Time) {
	if r.Version().Less(rest.V("1.15")) {
		return
	}
	if t.IsZero() {
		t = time.Now()
	}
	r.Answer().Set("Last-Modified", t.UTC().Format(http.TimeFormat))
	r.Answer().Set("Cache-Control", "no-cache")
}

// latest returns the later of two times.
func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

type object = map[string]any
