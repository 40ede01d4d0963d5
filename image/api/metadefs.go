package api

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

const namespacePath = "/v2/metadefs/namespaces/"

func (a *API) metadefRoutes() []rest.Route {
	ns := rest.Load(a.loadNamespace)
	const base = namespacePath + "{namespace}"
	routes := []rest.Route{
		rest.GET("/v2/metadefs/resource_types", a.listResourceTypes, rest.Policy("list_metadef_resource_types")),
		rest.GET("/v2/metadefs/namespaces", a.listNamespaces, rest.Policy("get_metadef_namespaces")),
		rest.POST("/v2/metadefs/namespaces", a.createNamespace, rest.Policy("add_metadef_namespace"), rest.Schema("metadef_namespace"), rest.Status(201)),
		rest.GET(base, a.showNamespace, ns, rest.Policy("get_metadef_namespace"), rest.Hide()),
		rest.PUT(base, a.updateNamespace, ns, rest.Policy("modify_metadef_namespace"), rest.Schema("metadef_namespace")),
		rest.DELETE(base, a.deleteNamespace, ns, rest.Policy("delete_metadef_namespace")),
		rest.GET(base+"/resource_types", a.listAssociations, ns, rest.Policy("get_metadef_resource_type"), rest.Hide()),
		rest.POST(base+"/resource_types", a.associate, ns, rest.Policy("add_metadef_resource_type_association"), rest.Schema("metadef_association"), rest.Status(201)),
		rest.DELETE(base+"/resource_types/{name}", a.dissociate, ns, rest.Policy("remove_metadef_resource_type_association")),

		rest.POST(base+"/tags", a.createTags, ns, rest.Policy("add_metadef_tags"), rest.Schema("metadef_tags"), rest.Status(201)),
		rest.POST(base+"/tags/{name}", a.createNamedTag, ns, rest.Policy("add_metadef_tag"), rest.Status(201)),
	}
	for _, k := range []struct {
		kind           image.Kind
		plural, remove string
	}{{image.KindObject, "objects", "delete"}, {image.KindProperty, "properties", "remove"}, {image.KindTag, "tags", "delete"}} {
		kind, one, all := k.kind, base+"/"+k.plural+"/{name}", base+"/"+k.plural
		many := k.remove + "_metadef_" + k.plural
		if kind != image.KindTag { // Glance has no rule for all of these at once
			many = k.remove + "_metadef_" + string(kind)
		}
		routes = append(routes,
			rest.GET(all, a.listDefinitions(kind, k.plural), ns, rest.Policy("get_metadef_"+k.plural), rest.Hide()),
			rest.GET(one, a.showDefinition(kind), ns, rest.Policy("get_metadef_"+string(kind)), rest.Hide()),
			rest.PUT(one, a.updateDefinition(kind), ns, rest.Policy("modify_metadef_"+string(kind)), rest.Schema("metadef_"+string(kind))),
			rest.DELETE(one, a.deleteDefinition(kind), ns, rest.Policy(k.remove+"_metadef_"+string(kind))),
			rest.DELETE(all, a.deleteDefinitions(kind), ns, rest.Policy(many)),
		)
		if kind != image.KindTag {
			routes = append(routes, rest.POST(all, a.createDefinition(kind), ns, rest.Policy("add_metadef_"+string(kind)),
				rest.Schema("metadef_"+string(kind)), rest.Status(201)))
		}
	}
	return routes
}

func (a *API) loadNamespace(r *rest.Request) (any, policy.Target, error) {
	n, err := a.manager.Namespace(r.Context(), viewer(r), r.Var("namespace"))
	if err != nil {
		return nil, nil, err
	}
	return n, policy.Target{"project_id": n.Owner, "owner": n.Owner, "visibility": string(n.Visibility)}, nil
}

func (a *API) listResourceTypes(r *rest.Request) (any, error) {
	types, err := a.manager.ResourceTypes(r.Context())
	if err != nil {
		return nil, err
	}
	views := []any{}
	for _, t := range types {
		views = append(views, doc{"name": t.Name, "created_at": stamp(t.CreatedAt), "updated_at": stamp(t.UpdatedAt)})
	}
	return doc{"resource_types": views}, nil
}

func (a *API) listNamespaces(r *rest.Request) (any, error) {
	c := a.manager.Config()
	page, err := readPage(r, rest.PageOptions{
		Max: c.LimitMax, Default: c.LimitDefault, Sort: []db.Sort{{Column: "created_at", Desc: true}},
		Keys: map[string]string{"namespace": "namespace", "created_at": "created_at", "updated_at": "updated_at"},
	})
	if err != nil {
		return nil, err
	}
	visibility := r.Query().Get("visibility")
	if visibility != "" && !slices.Contains([]string{"public", "private"}, visibility) {
		return nil, fault.Invalidf("Invalid visibility value: %s", visibility)
	}
	var types []string
	if q := r.Query().Get("resource_types"); q != "" {
		types = strings.Split(q, ",")
	}
	list := []image.NamespaceContent{}
	if page.Limit > 0 {
		if list, err = a.manager.Namespaces(r.Context(), viewer(r), visibility, types, page); err != nil {
			return nil, err
		}
	}
	views := []any{}
	for i := range list {
		views = append(views, viewNamespace(&list[i]))
	}
	out := doc{"namespaces": views, "first": link("/v2/metadefs/namespaces", r.Query(), ""), "schema": "/v2/schemas/metadefs/namespaces"}
	if page.Limit > 0 && len(list) == page.Limit {
		out["next"] = link("/v2/metadefs/namespaces", r.Query(), list[len(list)-1].Name)
	}
	return out, nil
}

// namespaceBody is a namespace in a request.
type namespaceBody struct {
	Namespace   string                     `json:"namespace"`
	DisplayName *string                    `json:"display_name"`
	Description *string                    `json:"description"`
	Visibility  *image.Visibility          `json:"visibility"`
	Protected   *bool                      `json:"protected"`
	Owner       string                     `json:"owner"`
	Types       []associationBody          `json:"resource_type_associations"`
	Properties  map[string]json.RawMessage `json:"properties"`
	Objects     []json.RawMessage          `json:"objects"`
	Tags        []json.RawMessage          `json:"tags"`
}

type associationBody struct {
	Name   string  `json:"name"`
	Prefix *string `json:"prefix"`
	Target *string `json:"properties_target"`
}

func (b *namespaceBody) apply(n *image.Namespace) {
	n.Name, n.DisplayName, n.Description = b.Namespace, b.DisplayName, b.Description
	if b.Visibility != nil {
		n.Visibility = *b.Visibility
	}
	if b.Protected != nil {
		n.Protected = *b.Protected
	}
	if b.Owner != "" {
		n.Owner = b.Owner
	}
}

func (a *API) createNamespace(r *rest.Request) (any, error) {
	var in namespaceBody
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	c := &image.NamespaceContent{Namespace: image.Namespace{Visibility: image.Private, Owner: r.Caller().Project.ID}}
	in.apply(&c.Namespace)
	for _, t := range in.Types {
		c.Associations = append(c.Associations, image.Association{ResourceType: t.Name, Prefix: t.Prefix, Target: t.Target})
	}
	for name, p := range in.Properties {
		d, err := readDefinition(image.KindProperty, p)
		if err != nil {
			return nil, err
		}
		d.Name = name
		c.Definitions = append(c.Definitions, d)
	}
	for kind, list := range map[image.Kind][]json.RawMessage{image.KindObject: in.Objects, image.KindTag: in.Tags} {
		for _, raw := range list {
			d, err := readDefinition(kind, raw)
			if err != nil {
				return nil, err
			}
			c.Definitions = append(c.Definitions, d)
		}
	}
	if err := a.manager.CreateNamespace(r.Context(), c); err != nil {
		return nil, err
	}
	r.Answer().Set("Location", r.Link(namespacePath+c.Name))
	return viewContent(c), nil
}

func (a *API) showNamespace(r *rest.Request) (any, error) {
	c, err := a.manager.NamespaceContent(r.Context(), r.Object().(*image.Namespace))
	if err != nil {
		return nil, err
	}
	return viewContent(c), nil
}

func (a *API) updateNamespace(r *rest.Request) (any, error) {
	var in namespaceBody
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	n := *r.Object().(*image.Namespace)
	in.apply(&n)
	if err := a.manager.UpdateNamespace(r.Context(), &n); err != nil {
		return nil, err
	}
	types, err := a.manager.Associations(r.Context(), &n)
	if err != nil {
		return nil, err
	}
	return viewNamespace(&image.NamespaceContent{Namespace: n, Associations: types}), nil
}

func (a *API) deleteNamespace(r *rest.Request) (any, error) {
	return nil, a.manager.DeleteNamespace(r.Context(), r.Object().(*image.Namespace))
}

func (a *API) listAssociations(r *rest.Request) (any, error) {
	list, err := a.manager.Associations(r.Context(), r.Object().(*image.Namespace))
	if err != nil {
		return nil, err
	}
	return doc{"resource_type_associations": viewAssociations(list)}, nil
}

func (a *API) associate(r *rest.Request) (any, error) {
	var in associationBody
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	got, err := a.manager.Associate(r.Context(), r.Object().(*image.Namespace), image.Association{ResourceType: in.Name, Prefix: in.Prefix, Target: in.Target})
	if err != nil {
		return nil, err
	}
	return viewAssociations([]image.Association{*got})[0], nil
}

func (a *API) dissociate(r *rest.Request) (any, error) {
	return nil, a.manager.Dissociate(r.Context(), r.Object().(*image.Namespace), r.Var("name"))
}
