package api

import (
	"context"
	"encoding/json"
	"maps"
	"strconv"
	"strings"

	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/manager"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

// loaded is an object that a route is about.
type loaded struct {
	v   network.Resource
	doc map[string]any
}

// load finds the object of a route and the target of its policy.
func (a *api) load(res *resource) rest.Loader {
	return func(r *rest.Request) (any, policy.Target, error) {
		v, err := res.show(r.Context(), r.Var("id"))
		if err != nil {
			return nil, nil, err
		}
		doc := res.document(r, v)
		nets, err := a.owners(r.Context(), res, []map[string]any{doc})
		if err != nil {
			return nil, nil, err
		}
		return &loaded{v, doc}, a.target(res, doc, nets), nil
	}
}

func (a *api) show(res *resource) rest.Handler {
	return func(r *rest.Request) (any, error) {
		o, _ := r.Object().(*loaded)
		return map[string]any{res.kind.Name: a.view(r, res, o.doc, r.Target())}, nil
	}
}

// item is one object that POST asks for.
type item struct {
	given  map[string]any // as written, without the project
	values map[string]any // in normal form
	target policy.Target
}

// creation is what POST asks for.
type creation struct {
	items []item
	bulk  bool // as a list, and answered as one
}

// loadNew reads the body of POST: one object or a list of them. The target is
// what the object would be, on a network that is there.
func (a *api) loadNew(res *resource) rest.Loader {
	return func(r *rest.Request) (any, policy.Target, error) {
		items, bulk, err := a.items(r, res)
		if err != nil {
			return nil, nil, err
		}
		return &creation{items, bulk}, items[0].target, nil
	}
}

// maxBulk bounds the objects of one POST.
const maxBulk = 500

func (a *api) items(r *rest.Request, res *resource) (list []item, many bool, err error) {
	var body map[string]json.RawMessage
	if err := r.Decode(&body); err != nil {
		return nil, false, badRequest("Malformed request body: a JSON object is expected.")
	}
	var raw []map[string]any
	one, bulk := body[res.kind.Name], body[res.kind.Plural]
	switch {
	case one != nil:
		raw = make([]map[string]any, 1)
		err = decode(one, &raw[0])
	case bulk != nil:
		err = decode(bulk, &raw)
	default:
		return nil, false, badRequest("Unable to find '%s' in request body", res.kind.Name)
	}
	if err != nil || len(raw) == 0 || raw[0] == nil {
		return nil, false, badRequest("Resource body required")
	}
	if len(raw) > maxBulk {
		return nil, false, badRequest("At most %d objects can be made at once.", maxBulk)
	}
	items := make([]item, len(raw))
	docs := make([]map[string]any, len(raw))
	for i, in := range raw {
		if in == nil {
			return nil, false, badRequest("Resource body required")
		}
		if res.has("project_id") {
			if err := ownProject(r, in); err != nil {
				return nil, false, err
			}
		}
		values, err := normalize(res.attrs, in, true)
		if err != nil {
			return nil, false, err
		}
		items[i] = item{given: in, values: values}
		docs[i] = maps.Clone(values)
		docs[i]["tenant_id"] = values["project_id"]
	}
	nets := map[string]network.Network{}
	for _, doc := range docs {
		id, _ := doc[res.onNetwork].(string)
		if _, known := nets[id]; known || res.onNetwork == "" {
			continue
		}
		n, err := manager.Show[network.Network](r.Context(), a.m, id)
		if err != nil {
			return nil, false, err
		}
		nets[id] = *n
	}
	for i := range items {
		items[i].target = a.target(res, docs[i], nets)
	}
	return items, one == nil, nil
}

func decode(raw json.RawMessage, v any) error {
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	return d.Decode(v)
}

// ownProject puts the project into a new object: the caller's, unless an
// administrator or a service names another.
func ownProject(r *rest.Request, in map[string]any) error {
	c := r.Caller()
	own := c.Project.ID
	asked := own
	for _, key := range []string{"tenant_id", "project_id"} {
		if v, given := in[key]; given {
			s, ok := v.(string)
			if !ok {
				return badRequest("Invalid input for %s. Reason: '%s' is not a valid string.", key, cut(v))
			}
			asked = s
		}
	}
	delete(in, "tenant_id")
	if asked != own && !c.IsAdmin() && !c.HasRole("service") {
		return badRequest("Specifying 'project_id' or 'tenant_id' other than the authenticated project in request requires admin privileges")
	}
	if asked == "" {
		return badRequest("Running without keystone AuthN requires that tenant_id is specified")
	}
	in["project_id"] = asked
	return nil
}

// allowed checks the rules of the attributes that a request sets, and of
// their members, such as create_port:fixed_ips:ip_address.
func (a *api) allowed(r *rest.Request, rule string, given map[string]any, target policy.Target) error {
	for name, v := range given {
		if name == "project_id" || name == "tenant_id" {
			continue
		}
		if err := a.allowedAt(r, rule+":"+name, v, target); err != nil {
			return err
		}
	}
	return nil
}

func (a *api) allowedAt(r *rest.Request, rule string, v any, target policy.Target) error {
	if a.enforcer.Has(rule) {
		if err := r.Check(rule, target); err != nil {
			return err
		}
	}
	switch x := v.(type) {
	case map[string]any:
		for k, e := range x {
			if sub := rule + ":" + k; a.enforcer.Has(sub) {
				if err := a.allowedAt(r, sub, e, target); err != nil {
					return err
				}
			}
		}
	case []any:
		for _, e := range x {
			if m, ok := e.(map[string]any); ok {
				for k := range m {
					if sub := rule + ":" + k; a.enforcer.Has(sub) {
						if err := r.Check(sub, target); err != nil {
							return err
						}
					}
				}
			}
		}
	}
	return nil
}

// unchanged drops attributes that are given as their defaults: asking for
// what is anyway needs no right.
func unchanged(res *resource, given map[string]any, values map[string]any) map[string]any {
	out := make(map[string]any, len(given))
	for k, v := range given {
		out[k] = v
		for i := range res.attrs {
			if at := &res.attrs[i]; at.name == k && at.flags&required == 0 && equalJSON(values[k], at.def) {
				delete(out, k)
			}
		}
	}
	return out
}

func equalJSON(a, b any) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && string(x) == string(y)
}

func (a *api) create(res *resource) rest.Handler {
	return func(r *rest.Request) (any, error) {
		asked, _ := r.Object().(*creation)
		items := asked.items
		rule := "create_" + res.kind.Name
		changes := make([]network.Change, len(items))
		for i, it := range items {
			if i > 0 {
				if err := r.Check(rule, it.target); err != nil {
					return nil, err
				}
			}
			if err := a.allowed(r, rule, unchanged(res, it.given, it.values), it.target); err != nil {
				return nil, err
			}
			c, err := network.NewChange(it.values)
			if err != nil {
				return nil, err
			}
			if res.prepare != nil {
				if err := res.prepare(r.Context(), c); err != nil {
					return nil, err
				}
			}
			changes[i] = c
		}
		var made []network.Resource
		err := a.m.Together(r.Context(), func(ctx context.Context) error {
			made = made[:0]
			for _, c := range changes {
				v, err := res.create(ctx, c)
				if err != nil {
					return err
				}
				made = append(made, v)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		views, err := a.views(r, res, made, false)
		if err != nil {
			return nil, err
		}
		if asked.bulk {
			return map[string]any{res.kind.Plural: views}, nil
		}
		return map[string]any{res.kind.Name: views[0]}, nil
	}
}

// views renders objects; with check, those that policy hides are left out.
func (a *api) views(r *rest.Request, res *resource, objects []network.Resource, check bool) ([]map[string]any, error) {
	docs := make([]map[string]any, len(objects))
	for i, v := range objects {
		docs[i] = res.document(r, v)
	}
	nets, err := a.owners(r.Context(), res, docs)
	if err != nil {
		return nil, err
	}
	creds := r.Caller().Creds()
	out := make([]map[string]any, 0, len(docs))
	for _, doc := range docs {
		t := a.target(res, doc, nets)
		if check && !a.enforcer.Allowed("get_"+res.kind.Name, creds, t) {
			continue
		}
		out = append(out, a.view(r, res, doc, t))
	}
	return out, nil
}

func (a *api) update(res *resource) rest.Handler {
	return func(r *rest.Request) (any, error) {
		o, _ := r.Object().(*loaded)
		in, err := body(r, res.kind.Name)
		if err != nil {
			return nil, err
		}
		for _, key := range []string{"project_id", "tenant_id"} {
			if v, given := in[key]; given && v == o.v.Std().ProjectID {
				delete(in, key)
			}
		}
		values, err := normalize(res.attrs, in, false)
		if err != nil {
			return nil, err
		}
		// Rules on attributes see the new values of those, and the owner as
		// it is stored.
		t := maps.Clone(r.Target())
		for k, v := range values {
			if !strings.HasSuffix(k, "_id") {
				t[k] = v
			}
		}
		if err := a.allowed(r, "update_"+res.kind.Name, differing(in, values, o.doc), t); err != nil {
			return nil, err
		}
		c, err := network.NewChange(values)
		if err != nil {
			return nil, err
		}
		if c.IfMatch, err = ifMatch(r); err != nil {
			return nil, err
		}
		v, err := res.update(r.Context(), r.Var("id"), c)
		if err != nil {
			return nil, err
		}
		views, err := a.views(r, res, []network.Resource{v}, false)
		if err != nil {
			return nil, err
		}
		return map[string]any{res.kind.Name: views[0]}, nil
	}
}

// differing are the attributes that a request would change.
func differing(given, values, now map[string]any) map[string]any {
	out := make(map[string]any, len(given))
	for k, v := range given {
		if x, known := now[k]; !known || !equalJSON(values[k], x) {
			out[k] = v
		}
	}
	return out
}

// body reads {"name": {…}}.
func body(r *rest.Request, name string) (map[string]any, error) {
	var doc map[string]map[string]any
	if err := r.Decode(&doc); err != nil {
		return nil, badRequest("Malformed request body: a JSON object with '%s' is expected.", name)
	}
	in, ok := doc[name]
	if !ok || in == nil {
		return nil, badRequest("Unable to find '%s' in request body", name)
	}
	return in, nil
}

// ifMatch reads If-Match: revision_number=N.
func ifMatch(r *rest.Request) (int, error) {
	h := r.Header("If-Match")
	if h == "" {
		return 0, nil
	}
	s, ok := strings.CutPrefix(strings.Trim(h, `"`), "revision_number=")
	n, err := strconv.Atoi(s)
	if !ok || err != nil || n < 1 {
		return 0, badRequest("Only a single revision_number match is supported in If-Match.")
	}
	return n, nil
}

func (a *api) remove(res *resource) rest.Handler {
	return func(r *rest.Request) (any, error) {
		n, err := ifMatch(r)
		if err != nil {
			return nil, err
		}
		return nil, res.remove(r.Context(), r.Var("id"), n)
	}
}
