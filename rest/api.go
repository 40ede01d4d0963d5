package rest

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/obs"
	"github.com/tropocloud/tropo/policy"
)

// DefaultMaxBody bounds JSON bodies where a route says nothing else, in bytes.
const DefaultMaxBody = 1 << 20

// Options make a service's API.
type Options struct {
	// Service is the catalog type ("compute"): the label of metrics and
	// spans, and what access rules of application credentials name.
	Service   string
	Routes    []Route
	Errors    ErrorStyle
	Validator auth.Validator
	Enforcer  *policy.Enforcer
	// Microversions, nil for services without.
	Microversions *Microversions
	// Schemas holds the JSON schemas as <name>.json; nil: none.
	Schemas fs.FS
	// PublicURL replaces the Host header in links; empty: as asked. It is
	// what a proxy in front (TLS, another path) needs: X-Forwarded headers
	// are not believed.
	PublicURL string
	// OptionalProject lets a project id stand in front of every path after
	// the version segment (/v2.1/{project_id}/servers): 32 hex digits or a
	// UUID. It is passed over: the caller's token says the project.
	OptionalProject bool
	// RequestIDHeader is an older name beside X-Openstack-Request-Id.
	RequestIDHeader string
	// Once answers repeated requests with an Idempotency-Key; nil: the header
	// means nothing.
	Once *Once
	// PlainIDs says that the service's ids are UUIDs without dashes.
	PlainIDs bool
	// Before is called before a request's token is looked at, where the path
	// asks for one; it may put a token there that it made from another proof
	// (a client certificate). Its error is the answer. Nil: nothing is done.
	Before func(r *http.Request) error
	// AuthURL goes into WWW-Authenticate.
	AuthURL string
	Log     *slog.Logger // nil: slog.Default
	Metrics *obs.Metrics // nil: none
	Tracing *obs.Tracing // nil: none
}

// bodyTimeout bounds how long a JSON body may take to arrive.
const bodyTimeout = time.Minute

// API serves a service's routes. It implements http.Handler.
type API struct {
	opts    Options
	root    *node
	schemas *schemas
}

// New checks the table (every route has a policy rule that exists or is Open,
// every schema compiles, no route stands twice) and makes the API.
func New(o Options) (*API, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Microversions != nil {
		m := *o.Microversions
		m.legacyKey = http.CanonicalHeaderKey(m.Legacy)
		o.Microversions = &m
	}
	a := &API{opts: o, root: newNode()}
	var err error
	if a.schemas, err = loadSchemas(o.Schemas); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Service, err)
	}
	for i := range o.Routes {
		r := &a.opts.Routes[i]
		switch {
		case r.PolicyRule == "" && !r.Open:
			err = fmt.Errorf("route %s %s has no policy rule", r.Method, r.Path)
		case r.PolicyRule != "" && (o.Enforcer == nil || !o.Enforcer.Has(r.PolicyRule)):
			err = fmt.Errorf("route %s %s: no default for policy rule %q", r.Method, r.Path, r.PolicyRule)
		default:
			err = a.root.add(r)
		}
		for _, s := range append(r.schemas, r.query...) {
			if err == nil && !a.schemas.has(s.name) {
				err = fmt.Errorf("route %s %s: no schema %q", r.Method, r.Path, s.name)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.Service, err)
		}
	}
	return a, nil
}

// Routes returns the table, for tests that walk it.
func (a *API) Routes() []Route { return a.opts.Routes }

// ServeHTTP answers one request.
func (a *API) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	start := time.Now()
	id := obs.NewRequestID()
	ctx := obs.WithRequestID(obs.Extract(hr.Context(), hr.Header), id)
	if hr.Method == http.MethodGet || hr.Method == http.MethodHead {
		ctx = db.ReadSince(ctx, start)
	}
	if a.opts.Tracing != nil {
		ctx = obs.WithTracing(ctx, a.opts.Tracing)
	}
	ctx, end := obs.StartSpan(ctx, a.opts.Service+" "+hr.Method, attribute.String("url.path", hr.URL.Path))
	r := &Request{HTTP: hr.WithContext(ctx), api: a, out: w, header: make(http.Header, 8), query: hr.URL.Query()}
	r.header["X-Openstack-Request-Id"] = []string{id}
	if a.opts.RequestIDHeader != "" {
		r.header.Set(a.opts.RequestIDHeader, id)
	}
	res, err := a.answer(r)
	code := a.write(w, r, res, err)
	end(nil)
	pattern := "none"
	if r.route != nil {
		pattern = r.route.Path
		if r.route.Action != "" {
			pattern += "#" + r.route.Action
		}
	}
	if a.opts.Metrics != nil {
		a.opts.Metrics.ObserveHTTP(a.opts.Service, hr.Method, pattern, code, time.Since(start))
	}
	if !a.opts.Log.Enabled(r.Context(), slog.LevelDebug) {
		return
	}
	a.opts.Log.LogAttrs(r.Context(), slog.LevelDebug, "request",
		slog.String("service", a.opts.Service), slog.String("method", hr.Method), slog.String("path", hr.URL.Path),
		slog.Int("status", code), slog.Duration("took", time.Since(start)))
}

// answer runs the pipeline: route, version, caller, body, object, policy,
// handler.
func (a *API) answer(r *Request) (res any, err error) {
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				panic(p)
			}
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	n, names, err := a.locate(r)
	if err != nil {
		return nil, err
	}
	open := n.open(r.HTTP.Method)
	if m := a.opts.Microversions; m != nil {
		v, err := m.choose(r.HTTP.Header)
		r.version = v
		m.announce(r.header, v)
		if err != nil && !open {
			return nil, err
		}
	}
	if a.opts.Before != nil && !open {
		if err := a.opts.Before(r.HTTP); err != nil {
			return nil, err
		}
	}
	if !open || r.Header("X-Auth-Token") != "" && a.opts.Validator != nil {
		who, err := auth.Request(r.HTTP, a.opts.Validator, a.opts.Service)
		if err != nil && !open {
			return nil, err
		}
		if err == nil {
			r.HTTP = r.HTTP.WithContext(auth.With(r.Context(), who))
		}
	}
	if err := a.dispatch(r, n, names); err != nil {
		return nil, err
	}
	if err := a.admit(r); err != nil {
		return nil, err
	}
	return a.handle(r)
}

// locate finds the node for the path; parameter values go into r.vars later,
// when the route (and so their names) is known.
func (a *API) locate(r *Request) (*node, []string, error) {
	segs := segments(r.HTTP.URL)
	n, vals := a.root.find(segs)
	if n == nil && a.opts.OptionalProject && len(segs) > 1 && projectLike(segs[1]) {
		n, vals = a.root.find(append([]string{segs[0]}, segs[2:]...))
	}
	if n == nil {
		return nil, nil, fault.New(fault.NotFound, "The resource could not be found.")
	}
	return n, vals, nil
}

// projectLike reports whether a segment can be a project id: 32 hex digits or
// a UUID.
func projectLike(s string) bool {
	s = strings.ReplaceAll(s, "-", "")
	if len(s) != 32 {
		return false
	}
	return strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

// open reports whether callers need no token for a method: every route that it
// could mean is Open. A path may have open and closed methods (POST and GET of
// /v3/auth/tokens).
func (n *node) open(method string) bool {
	lists := [][]*Route{n.routes[method]}
	if method == http.MethodHead && n.routes[method] == nil {
		lists[0] = n.routes[http.MethodGet]
	}
	if lists[0] == nil { // refused anyway; a path without open routes asks for a token first
		lists = lists[:0]
		for _, l := range n.routes {
			lists = append(lists, l)
		}
	}
	for _, list := range lists {
		for _, r := range list {
			if !r.Open {
				return false
			}
		}
	}
	return true
}

// dispatch chooses the route among those that share the path: by method, by
// microversion, and by the body's key for actions.
func (a *API) dispatch(r *Request, n *node, vals []string) error {
	list := n.routes[r.HTTP.Method]
	if list == nil && r.HTTP.Method == http.MethodHead {
		list = n.routes[http.MethodGet]
	}
	if list == nil && len(r.HTTP.URL.Path) > 1 && strings.HasSuffix(r.HTTP.URL.Path, "/") {
		// An item with an empty id, as in DELETE /images/.
		return fault.New(fault.NotFound, "The resource could not be found.")
	}
	if list == nil {
		r.header.Set("Allow", strings.Join(n.allow(), ", "))
		return fault.New(fault.NotAllowed, "The method %s is not allowed for this resource.", r.HTTP.Method)
	}
	if !list[0].RawBody {
		if err := readBody(r, list); err != nil {
			return err
		}
	}
	key, actions := "", false
	for _, c := range list {
		if c.Action == "" {
			continue
		}
		if !actions {
			actions = true
			k, err := actionKey(r.body)
			if err != nil {
				return err
			}
			key = k
		}
	}
	gated := false
	for _, c := range list {
		gated = gated || actions && c.Action == key
		if c.Action != key || r.version.Less(c.Since) || c.Until != (Version{}) && c.Until.Less(r.version) {
			continue
		}
		r.route = c
		if len(vals) > 0 {
			r.vars = make(map[string]string, len(vals))
		}
		for i, name := range n.names[c] {
			r.vars[name] = vals[i]
		}
		return nil
	}
	if actions && !gated {
		return fault.Invalidf("There is no such action: %s", shorten(key))
	}
	return fault.New(fault.NotFound, "The resource could not be found in API version %s.", r.version)
}

func readBody(r *Request, list []*Route) error {
	limit := int64(DefaultMaxBody)
	for _, c := range list {
		limit = max(limit, c.MaxBody)
	}
	if r.HTTP.Body == nil || r.HTTP.Body == http.NoBody {
		return nil
	}
	if r.HTTP.ContentLength > limit {
		return fault.New(fault.TooLarge, "The request's body is larger than %d bytes.", limit)
	}
	// A client that dribbles its body must not hold us for ever.
	if c := http.NewResponseController(r.out); c.SetReadDeadline(time.Now().Add(bodyTimeout)) == nil {
		defer func() { _ = c.SetReadDeadline(time.Time{}) }()
	}
	b, err := io.ReadAll(io.LimitReader(r.HTTP.Body, limit+1))
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "The request's body could not be read.")
	}
	if int64(len(b)) > limit {
		return fault.New(fault.TooLarge, "The request's body is larger than %d bytes.", limit)
	}
	r.body = b
	if len(b) > 0 && json.Valid(b) { // otherwise the one who reads it complains
		return checkJSON(b)
	}
	return nil
}

func actionKey(body []byte) (string, error) {
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(body, &doc); err != nil {
		return "", fault.Invalidf("Malformed request body: it must be a JSON object with the action as its key.")
	}
	if len(doc) != 1 {
		return "", fault.Invalidf("The body must hold exactly one action.")
	}
	for k := range doc {
		return k, nil
	}
	return "", nil
}

// admit checks the schemas, loads the object and asks policy.
func (a *API) admit(r *Request) error {
	rt := r.route
	if s := pick(rt.query, r.version); s != "" {
		if err := a.schemas.checkQuery(s, r.query); err != nil {
			return err
		}
	}
	if s := pick(rt.schemas, r.version); s != "" {
		if err := a.schemas.check(s, r.body); err != nil {
			return err
		}
	}
	if rt.Load != nil {
		obj, target, err := rt.Load(r)
		if err != nil {
			return err
		}
		r.object, r.target = obj, target
	}
	if rt.PolicyRule == "" {
		return nil
	}
	if r.target == nil {
		c := r.Caller()
		if c == nil { // an open route with a rule
			c = &auth.Identity{}
		}
		r.target = policy.Target{"project_id": c.Project.ID, "tenant_id": c.Project.ID, "user_id": c.User.ID, "domain_id": c.Domain.ID}
	}
	rule := rt.PolicyRule
	if r.rule != "" {
		rule = r.rule
	}
	if err := r.Check(rule, r.target); err != nil {
		if rt.Hide && fault.Is(err, fault.Forbidden) {
			return fault.Wrap(fault.NotFound, err, "The resource could not be found.")
		}
		return err
	}
	return nil
}

func pick(list []schemaAt, v Version) string {
	name := ""
	var best Version
	for _, s := range list {
		if v.AtLeast(s.since) && s.since.AtLeast(best) {
			name, best = s.name, s.since
		}
	}
	return name
}

// queryDocument is the query as schemas see it.
func queryDocument(q url.Values) map[string]any {
	doc := map[string]any{}
	for k, vs := range q {
		list := make([]any, len(vs))
		for i, v := range vs {
			list[i] = v
		}
		doc[k] = list
	}
	return doc
}
