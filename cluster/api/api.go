// Package api is the cluster's REST API: machines join by a token, nodes look
// after themselves by their certificates, the admin makes tokens and removes
// nodes.
package api

import (
	"context"
	"embed"
	"io/fs"
	"log/slog"
	"net/http"
	"time"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/cluster/manager"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/obs"
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
	AuthURL      string
	Log          *slog.Logger
	Metrics      *obs.Metrics
	Tracing      *obs.Tracing
}

type api struct{ manager *manager.Manager }

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
		Service: "cluster", Routes: a.routes(), Errors: rest.KeystoneErrors{}, Schemas: sub,
		Validator: o.Validator, Enforcer: enforcer, AuthURL: o.AuthURL, Log: o.Log, Metrics: o.Metrics, Tracing: o.Tracing,
	})
}

// Rules are the default rules.
func Rules() []policy.Rule {
	scopes := []string{"system", "project"}
	rule := func(name, description string) policy.Rule {
		return policy.Rule{Name: "cluster:" + name, Check: "role:admin", Scopes: scopes, Description: description}
	}
	return []policy.Rule{
		rule("nodes:list", "List the nodes of the cloud."),
		rule("nodes:delete", "Remove a node from the cloud."),
		rule("tokens:list", "List join tokens, without their secrets."),
		rule("tokens:create", "Make a join token."),
		rule("tokens:delete", "Make a join token worthless."),
	}
}

func (a *api) routes() []rest.Route {
	p := func(name string) rest.Option { return rest.Policy("cluster:" + name) }
	none := rest.Status(http.StatusNoContent)
	return []rest.Route{
		// By a join token alone.
		rest.POST("/v1/join", a.join, rest.Open(), rest.Schema("join"), rest.MaxBody(64<<10)),

		// By a node's certificate alone.
		rest.POST("/v1/self/beat", a.beat, rest.Open(), rest.Schema("beat"), rest.MaxBody(4<<10)),
		rest.POST("/v1/self/certificate", a.renew, rest.Open(), rest.Schema("certificate"), rest.MaxBody(64<<10)),
		rest.GET("/v1/self/control", a.control, rest.Open()),
		rest.GET("/v1/self/keys", a.keys, rest.Open()),

		rest.GET("/v1/nodes", a.listNodes, p("nodes:list")),
		rest.DELETE("/v1/nodes/{name}", a.deleteNode, p("nodes:delete"), none),
		rest.GET("/v1/tokens", a.listTokens, p("tokens:list")),
		rest.POST("/v1/tokens", a.createToken, p("tokens:create"), rest.Schema("token"), rest.Status(http.StatusCreated)),
		rest.DELETE("/v1/tokens/{id}", a.deleteToken, p("tokens:delete"), none),
	}
}

// Local serves the API to whoever can reach it (the admin's socket), as the
// admin.
func Local(m *manager.Manager, o Options) (http.Handler, error) {
	o.Validator, o.PolicyFile = localAdmin{}, ""
	h, err := New(m, o)
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.Clone(r.Context())
		r.Header.Set("X-Auth-Token", "local")
		r.Header.Del("X-Service-Token")
		h.ServeHTTP(w, r)
	}), nil
}

// localAdmin takes every token for the admin's.
type localAdmin struct{}

var _ auth.Validator = localAdmin{}

// Validate implements auth.Validator.
func (localAdmin) Validate(context.Context, string) (*auth.Identity, error) {
	return &auth.Identity{
		User: auth.Ref{ID: "local", Name: "local"}, System: true, Roles: []auth.Ref{{ID: "admin", Name: "admin"}},
		ExpiresAt: time.Now().Add(time.Minute),
	}, nil
}

// errCertificate is for those who ask about themselves without a certificate.
func errCertificate() error {
	return fault.Unauthenticatedf("This is for nodes of the cloud, on the management address (port 5443), with their certificate.")
}
