package api

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/manager"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

// resource is a kind of object in the API. An operation that is nil has no
// route.
type resource struct {
	kind   *network.Kind
	path   string // "/v2.0/security-groups"
	attrs  []attr
	fields map[string][]int // attribute → index of the struct's field

	show   func(ctx context.Context, id string) (network.Resource, error)
	list   func(ctx context.Context, q manager.Query) ([]network.Resource, error)
	create func(ctx context.Context, c network.Change) (network.Resource, error)
	// prepare asks other services, before the transaction of create; or nil.
	prepare func(ctx context.Context, c network.Change) error
	update  func(ctx context.Context, id string, c network.Change) (network.Resource, error)
	remove  func(ctx context.Context, id string, ifMatch int) error
	setTag  func(ctx context.Context, id string, f func([]string) ([]string, error)) ([]string, error)

	// onNetwork is the field with the network whose owner policies ask for.
	onNetwork string
	// finish adds to a view what the struct has not.
	finish func(r *rest.Request, v network.Resource, doc map[string]any)
}

type (
	createFunc[T any] func(ctx context.Context, c network.Change) (*T, error)
	updateFunc[T any] func(ctx context.Context, id string, c network.Change) (*T, error)
	removeFunc        func(ctx context.Context, id string, ifMatch int) error
)

// define makes a resource of the manager's operations.
func define[T any, P network.Row[T]](a *api, path string, attrs []attr, create createFunc[T], update updateFunc[T], remove removeFunc) *resource {
	res := &resource{kind: P(new(T)).Kind(), path: "/v2.0/" + path, attrs: attrs, fields: fieldsOf(reflect.TypeFor[T]()), remove: remove}
	wrap := func(v *T, err error) (network.Resource, error) {
		if err != nil {
			return nil, err
		}
		return P(v), nil
	}
	res.show = func(ctx context.Context, id string) (network.Resource, error) {
		return wrap(manager.Show[T, P](ctx, a.m, id))
	}
	res.list = func(ctx context.Context, q manager.Query) ([]network.Resource, error) {
		list, err := manager.List[T, P](ctx, a.m, q)
		out := make([]network.Resource, len(list))
		for i := range list {
			out[i] = P(&list[i])
		}
		return out, err
	}
	if create != nil {
		res.create = func(ctx context.Context, c network.Change) (network.Resource, error) { return wrap(create(ctx, c)) }
	}
	if update != nil {
		res.update = func(ctx context.Context, id string, c network.Change) (network.Resource, error) {
			return wrap(update(ctx, id, c))
		}
	}
	if res.kind.Tagged {
		res.setTag = func(ctx context.Context, id string, f func([]string) ([]string, error)) ([]string, error) {
			return manager.SetTags[T, P](ctx, a.m, id, f)
		}
	}
	return res
}

// fieldsOf maps the json names of a struct to its fields.
func fieldsOf(t reflect.Type) map[string][]int {
	out := map[string][]int{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && name != "-" && !f.Anonymous {
			out[name] = f.Index
		}
	}
	return out
}

// has reports whether the resource has an attribute.
func (res *resource) has(name string) bool {
	return slices.ContainsFunc(res.attrs, func(a attr) bool { return a.name == name })
}

// value is an attribute of an object as the API writes it.
func (res *resource) value(v network.Resource, name string) any {
	idx, ok := res.fields[name]
	if !ok {
		return nil
	}
	x := reflect.ValueOf(v).Elem().FieldByIndex(idx).Interface()
	if t, ok := x.(time.Time); ok {
		return t.UTC().Format("2006-01-02T15:04:05Z")
	}
	return x
}

// document is an object with all its attributes.
func (res *resource) document(r *rest.Request, v network.Resource) map[string]any {
	doc := make(map[string]any, len(res.attrs)+1)
	for i := range res.attrs {
		if a := &res.attrs[i]; a.flags&hidden == 0 {
			doc[a.name] = res.value(v, a.name)
		}
	}
	if p, ok := doc["project_id"]; ok {
		doc["tenant_id"] = p
	}
	if res.finish != nil {
		res.finish(r, v, doc)
	}
	return doc
}

// view is what the caller may see of a document, reduced to the fields that
// the request names. target is what policies look at.
func (a *api) view(r *rest.Request, res *resource, doc map[string]any, target policy.Target) map[string]any {
	fields := map[string]bool{}
	for _, f := range r.Query()["fields"] {
		for name := range strings.SplitSeq(f, ",") {
			if name != "" {
				fields[name] = true
			}
		}
	}
	creds := r.Caller().Creds()
	out := make(map[string]any, len(doc))
	for name, x := range doc {
		if len(fields) > 0 && !fields[name] {
			continue
		}
		if rule := "get_" + res.kind.Name + ":" + name; a.enforcer.Has(rule) && !a.enforcer.Allowed(rule, creds, target) {
			continue
		}
		out[name] = x
	}
	return out
}

// target is a document as policies see it, with the owner of its network.
func (a *api) target(res *resource, doc map[string]any, nets map[string]network.Network) policy.Target {
	t := make(policy.Target, len(doc)+3)
	for k, v := range doc {
		t[k] = v
	}
	if res.onNetwork == "" {
		return t
	}
	id, _ := doc[res.onNetwork].(string)
	if n, ok := nets[id]; ok {
		t["network:tenant_id"], t["network:project_id"], t["network:shared"] = n.ProjectID, n.ProjectID, n.Shared
	}
	return t
}

// owners loads the networks that targets of documents need.
func (a *api) owners(ctx context.Context, res *resource, docs []map[string]any) (map[string]network.Network, error) {
	if res.onNetwork == "" || len(docs) == 0 {
		return nil, nil
	}
	var ids []string
	for _, d := range docs {
		if id, _ := d[res.onNetwork].(string); id != "" {
			ids = append(ids, id)
		}
	}
	return a.m.Owners(ctx, ids)
}
