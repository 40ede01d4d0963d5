package api

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image"
	"github.com/tropocloud/tropo/rest"
)

// readDefinition takes name and document from a request's JSON, which has
// passed its schema.
func readDefinition(k image.Kind, raw []byte) (image.Definition, error) {
	d := image.Definition{Kind: k}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return d, fault.Invalidf("A definition must be a JSON object.")
	}
	if name, ok := fields["name"]; ok {
		if err := json.Unmarshal(name, &d.Name); err != nil {
			return d, fault.Invalidf("The name of a definition must be a string.")
		}
	}
	for _, own := range []string{"name", "created_at", "updated_at", "self", "schema"} {
		delete(fields, own)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(fields); err != nil {
		return d, err
	}
	d.Document = strings.TrimSpace(b.String())
	return d, nil
}

func (a *API) listDefinitions(k image.Kind, plural string) rest.Handler {
	return func(r *rest.Request) (any, error) {
		n := r.Object().(*image.Namespace)
		defs, err := a.manager.Definitions(r.Context(), n, k)
		if err != nil {
			return nil, err
		}
		path := namespacePath + n.Name + "/" + plural
		out := doc{"first": path, "schema": "/v2/schemas/metadefs/" + plural}
		if k == image.KindProperty { // the only list that is an object
			properties := doc{}
			for i := range defs {
				properties[defs[i].Name] = viewDefinition(n.Name, &defs[i], false)
			}
			out[plural] = properties
			return out, nil
		}
		views := []any{}
		for i := range defs {
			views = append(views, viewDefinition(n.Name, &defs[i], true))
		}
		out[plural] = views
		return out, nil
	}
}

func (a *API) showDefinition(k image.Kind) rest.Handler {
	return func(r *rest.Request) (any, error) {
		n := r.Object().(*image.Namespace)
		d, err := a.manager.Definition(r.Context(), n, k, r.Var("name"))
		if err != nil {
			return nil, err
		}
		return viewDefinition(n.Name, d, true), nil
	}
}

func (a *API) createDefinition(k image.Kind) rest.Handler {
	return func(r *rest.Request) (any, error) {
		d, err := readDefinition(k, r.Body())
		if err != nil {
			return nil, err
		}
		return a.create(r, k, d)
	}
}

func (a *API) create(r *rest.Request, k image.Kind, d image.Definition) (any, error) {
	n := r.Object().(*image.Namespace)
	list := []image.Definition{d}
	if err := a.manager.CreateDefinitions(r.Context(), n, k, list, false); err != nil {
		return nil, err
	}
	return viewDefinition(n.Name, &list[0], true), nil
}

func (a *API) createNamedTag(r *rest.Request) (any, error) {
	name := r.Var("name")
	if name == "" || utf8.RuneCountInString(name) > 80 {
		return nil, fault.Invalidf("The name of a tag must have 1 to 80 characters.")
	}
	return a.create(r, image.KindTag, image.Definition{Name: name, Document: "{}"})
}

// createTags sets all tags at once; X-Openstack-Append keeps those that are
// there.
func (a *API) createTags(r *rest.Request) (any, error) {
	var in struct {
		Tags []struct {
			Name string `json:"name"`
		} `json:"tags"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	appending, err := rest.ParseBool(r.Header("X-Openstack-Append"))
	appending = err == nil && appending
	list, views := []image.Definition{}, []any{}
	for _, t := range in.Tags {
		list = append(list, image.Definition{Name: t.Name, Document: "{}"})
		views = append(views, doc{"name": t.Name})
	}
	if err := a.manager.CreateDefinitions(r.Context(), r.Object().(*image.Namespace), image.KindTag, list, !appending); err != nil {
		return nil, err
	}
	return doc{"tags": views}, nil
}

func (a *API) updateDefinition(k image.Kind) rest.Handler {
	return func(r *rest.Request) (any, error) {
		d, err := readDefinition(k, r.Body())
		if err != nil {
			return nil, err
		}
		n := r.Object().(*image.Namespace)
		got, err := a.manager.ReplaceDefinition(r.Context(), n, r.Var("name"), d)
		if err != nil {
			return nil, err
		}
		return viewDefinition(n.Name, got, true), nil
	}
}

func (a *API) deleteDefinition(k image.Kind) rest.Handler {
	return func(r *rest.Request) (any, error) {
		return nil, a.manager.DeleteDefinition(r.Context(), r.Object().(*image.Namespace), k, r.Var("name"))
	}
}

func (a *API) deleteDefinitions(k image.Kind) rest.Handler {
	return func(r *rest.Request) (any, error) {
		return nil, a.manager.DeleteDefinitions(r.Context(), r.Object().(*image.Namespace), k)
	}
}
