package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/policy"
)

// Request is what a handler sees.
type Request struct {
	// HTTP is the request itself, for headers and streamed bodies.
	HTTP *http.Request

	api     *API
	out     http.ResponseWriter
	route   *Route
	vars    map[string]string
	query   url.Values
	version Version
	object  any
	target  policy.Target
	rule    string // instead of the route's; "": none
	body    []byte
	header  http.Header // of the answer
}

// Context carries the deadline, the request id and the caller.
func (r *Request) Context() context.Context { return r.HTTP.Context() }

// Caller is who asks; nil on open routes without a token.
func (r *Request) Caller() *auth.Identity { return auth.From(r.Context()) }

// Var returns a path parameter.
func (r *Request) Var(name string) string { return r.vars[name] }

// Query returns the parsed query parameters.
func (r *Request) Query() url.Values { return r.query }

// Header returns a request header.
func (r *Request) Header(name string) string { return r.HTTP.Header.Get(name) }

// Answer gives the header of the answer, to add to it.
func (r *Request) Answer() http.Header { return r.header }

// Version is the microversion in force.
func (r *Request) Version() Version { return r.version }

// Object is what the route's loader found.
func (r *Request) Object() any { return r.object }

// Target is the policy target that the route's loader gave.
func (r *Request) Target() policy.Target { return r.target }

// Body is the raw body (already bounded and checked against the schema).
func (r *Request) Body() []byte { return r.body }

// Decode reads the JSON body into v. Numbers that do not fit, wrong types and
// keys spelt in other letters than v's tags are the client's errors.
func (r *Request) Decode(v any) error {
	dec := json.NewDecoder(bytes.NewReader(r.body))
	dec.UseNumber()
	if err := dec.Decode(v); err != nil {
		var te *json.UnmarshalTypeError
		switch {
		case errors.As(err, &te) && te.Field == "":
			return fault.Invalidf("Malformed request body: a JSON %s stands where %s is expected.", te.Value, jsonName(te.Type))
		case te != nil:
			return fault.Invalidf("Invalid input for field/attribute %s: got %s, want %s.", te.Field, te.Value, jsonName(te.Type))
		case errors.Is(err, io.EOF):
			return fault.Invalidf("The request needs a JSON body.")
		}
		if f, ok := fault.As(err); ok { // a type that reads itself
			return f
		}
		return fault.Invalidf("Malformed request body: the body is not valid JSON.")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fault.Invalidf("Malformed request body: something follows the JSON document.")
	}
	return checkKeys(r.body, reflect.TypeOf(v))
}

// jsonName is what a Go type is in JSON.
func jsonName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "object"
	case reflect.Slice, reflect.Array:
		return "array"
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "string"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Pointer:
		return jsonName(t.Elem())
	}
	return "integer"
}

// Under has the request checked against another rule than its route's: for
// loaders that find an object, or are asked for a list, of a kind which has
// rules of its own.
func (r *Request) Under(rule string) { r.rule = rule }

// Allowed reports whether the caller passes another rule on the same target,
// for what decides about parts of an answer (extended attributes).
func (r *Request) Allowed(rule string) bool { return r.Check(rule, r.target) == nil }

// Check returns fault.Forbidden unless the caller passes the rule on target.
func (r *Request) Check(rule string, target policy.Target) error {
	c := r.Caller()
	if c == nil {
		return fault.Unauthenticatedf("The request you have made requires authentication.")
	}
	return r.api.opts.Enforcer.Check(rule, c.Creds(), target)
}

// Base is the URL under which the client reached this service, without a
// slash at the end, for links: "http://host:port/compute". Behind a proxy set
// Options.PublicURL: X-Forwarded headers, which anybody can send, are not
// believed.
func (r *Request) Base() string {
	if b := r.api.opts.PublicURL; b != "" {
		return b
	}
	scheme := "http"
	if r.HTTP.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.HTTP.Host + prefix(r.HTTP)
}

// Link is Base plus a path.
func (r *Request) Link(path string) string { return r.Base() + path }

// prefixKey holds the mount point that Mount cut off.
type prefixKey struct{}

func prefix(r *http.Request) string {
	p, _ := r.Context().Value(prefixKey{}).(string)
	return p
}

// Mount serves h under a path prefix: the handler sees the rest of the path,
// and links made by Request.Base keep the prefix.
func Mount(prefixPath string, h http.Handler) http.Handler {
	p := strings.TrimRight(prefixPath, "/")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r2 := r.WithContext(context.WithValue(r.Context(), prefixKey{}, prefix(r)+p))
		u := *r.URL
		u.Path, u.RawPath = cut(u.Path, p), cut(u.RawPath, p)
		r2.URL = &u
		h.ServeHTTP(w, r2)
	})
}

func cut(path, prefix string) string {
	if path == "" {
		return ""
	}
	rest := strings.TrimPrefix(path, prefix)
	if rest == "" {
		return "/"
	}
	return rest
}

// Response is an answer that is not just a JSON document with the route's
// status.
type Response struct {
	Status int // 0: the route's
	Header http.Header
	// Body is rendered as JSON unless it is a []byte or nil.
	Body any
	// Stream, if set, is copied as the body and closed.
	Stream io.ReadCloser
}
