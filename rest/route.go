// Package rest is the HTTP API kit: routes as one table, microversions,
// request schemas, policy, paging, body limits, request ids, and each
// service's own error documents.
//
// A handler decodes, calls one manager method and returns a view; everything
// else (authentication, policy, schema, status, errors) is said in the table.
package rest

import (
	"net/http"

	"github.com/tropocloud/tropo/policy"
)

// Handler answers a request: the value is rendered as JSON (or is a *Response
// for anything else), the error in the service's error document.
type Handler func(r *Request) (any, error)

// Loader finds the stored object that a route is about, before policy is
// checked. The target comes from the object alone, never from the body. A
// loader answers NotFound for what the caller may not even know of.
type Loader func(r *Request) (object any, target policy.Target, err error)

// Route is one line of a service's table. Build it with GET, POST and so on.
type Route struct {
	Method string
	// Path is relative to the service, with {name} for one segment and
	// {name...} as the last for the rest: "/v2.1/servers/{id}/action".
	Path string
	// Action is the body's single top-level key for routes that share a
	// path ("os-start" of POST /servers/{id}/action); a path given as
	// "/servers/{id}/action#os-start" sets it.
	Action  string
	Handler Handler

	PolicyRule string
	Open       bool // no token needed
	Status     int  // of success; 0: 200, or 204 when the handler returns nil
	MaxBody    int64
	RawBody    bool // the handler reads the body itself
	Since      Version
	Until      Version
	Load       Loader
	Hide       bool
	schemas    []schemaAt
	query      []schemaAt
}

type schemaAt struct {
	since Version
	name  string
}

// Option refines a Route.
type Option func(*Route)

func route(method, path string, h Handler, opts []Option) Route {
	r := Route{Method: method, Path: path, Handler: h}
	for i := range path {
		if path[i] == '#' {
			r.Path, r.Action = path[:i], path[i+1:]
			break
		}
	}
	for _, o := range opts {
		o(&r)
	}
	return r
}

// GET is a route for GET (and HEAD, without the body).
func GET(path string, h Handler, opts ...Option) Route { return route(http.MethodGet, path, h, opts) }

// HEAD is a route for HEAD where it does not follow from GET.
func HEAD(path string, h Handler, opts ...Option) Route {
	return route(http.MethodHead, path, h, opts)
}

// POST is a route for POST.
func POST(path string, h Handler, opts ...Option) Route {
	return route(http.MethodPost, path, h, opts)
}

// PUT is a route for PUT.
func PUT(path string, h Handler, opts ...Option) Route { return route(http.MethodPut, path, h, opts) }

// PATCH is a route for PATCH.
func PATCH(path string, h Handler, opts ...Option) Route {
	return route(http.MethodPatch, path, h, opts)
}

// DELETE is a route for DELETE.
func DELETE(path string, h Handler, opts ...Option) Route {
	return route(http.MethodDelete, path, h, opts)
}

// Policy names the rule that the caller must pass. Every route has one or is
// Open.
func Policy(rule string) Option { return func(r *Route) { r.PolicyRule = rule } }

// Open lets callers in without a token.
func Open() Option { return func(r *Route) { r.Open = true } }

// Status sets the status of success.
func Status(code int) Option { return func(r *Route) { r.Status = code } }

// Schema names the JSON schema that the body must fit. Without one a route
// refuses nothing but what Decode refuses.
func Schema(name string) Option { return SchemaSince("", name) }

// SchemaSince names the schema from a microversion on; the newest that
// applies is used.
func SchemaSince(since, name string) Option {
	return func(r *Route) { r.schemas = append(r.schemas, schemaAt{mustVersion(since), name}) }
}

// Query names the JSON schema of the query parameters, each of which is an
// array of strings in the document that is checked.
func Query(name string) Option { return QuerySince("", name) }

// QuerySince names the query schema from a microversion on.
func QuerySince(since, name string) Option {
	return func(r *Route) { r.query = append(r.query, schemaAt{mustVersion(since), name}) }
}

// Since hides the route below a microversion.
func Since(v string) Option { return func(r *Route) { r.Since = mustVersion(v) } }

// Until hides the route above a microversion.
func Until(v string) Option { return func(r *Route) { r.Until = mustVersion(v) } }

// Load sets the loader of the object that the route is about; the handler
// finds it in Request.Object.
func Load(l Loader) Option { return func(r *Route) { r.Load = l } }

// Hide answers NotFound where policy refuses, for objects whose existence is
// a secret.
func Hide() Option { return func(r *Route) { r.Hide = true } }

// MaxBody sets the limit of the body in bytes (default 1 MiB).
func MaxBody(n int64) Option { return func(r *Route) { r.MaxBody = n } }

// RawBody leaves the body to the handler, as a stream without limit, schema
// or media type.
func RawBody() Option { return func(r *Route) { r.RawBody = true } }
