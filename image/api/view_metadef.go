package api

import (
	"encoding/json"

	"github.com/tropocloud/tropo/image"
)

// viewDefinition shows a definition; in an object of properties the name is
// the key and not repeated.
func viewDefinition(namespace string, d *image.Definition, named bool) doc {
	out := doc{}
	if json.Unmarshal([]byte(d.Document), &out) != nil {
		out = doc{}
	}
	if named {
		out["name"] = d.Name
	}
	switch d.Kind {
	case image.KindObject:
		out["self"] = namespacePath + namespace + "/objects/" + d.Name
		out["schema"] = "/v2/schemas/metadefs/object"
		if out["required"] == nil {
			out["required"] = []any{}
		}
		if out["properties"] == nil {
			out["properties"] = doc{}
		}
		fallthrough
	case image.KindTag:
		out["created_at"], out["updated_at"] = stamp(d.CreatedAt), stamp(d.UpdatedAt)
	}
	return out
}

func viewAssociations(list []image.Association) []any {
	views := []any{}
	for _, a := range list {
		v := doc{"name": a.ResourceType, "created_at": stamp(a.CreatedAt), "updated_at": stamp(a.UpdatedAt)}
		if a.Prefix != nil {
			v["prefix"] = *a.Prefix
		}
		if a.Target != nil {
			v["properties_target"] = *a.Target
		}
		views = append(views, v)
	}
	return views
}

// viewNamespace shows a namespace as lists do.
func viewNamespace(c *image.NamespaceContent) doc {
	out := doc{
		"namespace": c.Name, "visibility": c.Visibility, "protected": c.Protected, "owner": c.Owner,
		"created_at": stamp(c.CreatedAt), "updated_at": stamp(c.UpdatedAt), "self": namespacePath + c.Name,
		"schema": "/v2/schemas/metadefs/namespace",
	}
	if c.DisplayName != nil {
		out["display_name"] = *c.DisplayName
	}
	if c.Description != nil {
		out["description"] = *c.Description
	}
	if len(c.Associations) > 0 {
		out["resource_type_associations"] = viewAssociations(c.Associations)
	}
	return out
}

// viewContent shows a namespace with all it holds.
func viewContent(c *image.NamespaceContent) doc {
	out := viewNamespace(c)
	properties, objects, tags := doc{}, []any{}, []any{}
	for i := range c.Definitions {
		d := &c.Definitions[i]
		switch d.Kind {
		case image.KindProperty:
			properties[d.Name] = viewDefinition(c.Name, d, false)
		case image.KindObject:
			objects = append(objects, viewDefinition(c.Name, d, true))
		case image.KindTag:
			tags = append(tags, doc{"name": d.Name})
		}
	}
	if len(properties) > 0 {
		out["properties"] = properties
	}
	if len(objects) > 0 {
		out["objects"] = objects
	}
	if len(tags) > 0 {
		out["tags"] = tags
	}
	return out
}

// metadefSchema is the schema at /v2/schemas/metadefs/..., nil for none.
func metadefSchema(name string) doc {
	label := func(what string) doc { return doc{"type": "string", "description": what, "maxLength": 80} }
	times := func(p doc) doc {
		p["created_at"], p["updated_at"] = shown(text("When it was created")), shown(text("When it was last changed"))
		return p
	}
	property := doc{"name": "property", "required": []string{"type", "title", "name"}, "properties": doc{
		"name": label("Name of the property"), "title": text("Title"), "description": text("Description"),
		"type":    doc{"type": "string", "enum": []string{"array", "boolean", "integer", "number", "object", "string"}},
		"default": doc{}, "enum": doc{"type": "array"}, "items": doc{"type": "object"}, "readonly": doc{"type": "boolean"},
		"operators": doc{"type": "array", "items": doc{"type": "string"}}, "required": doc{"type": "array", "items": doc{"type": "string"}},
		"minimum": doc{"type": "number"}, "maximum": doc{"type": "number"}, "minLength": doc{"type": "integer"}, "maxLength": doc{"type": "integer"},
		"pattern": doc{"type": "string"}, "minItems": doc{"type": "integer"}, "maxItems": doc{"type": "integer"},
		"uniqueItems": doc{"type": "boolean"}, "additionalItems": doc{"type": "boolean"},
	}}
	object := doc{"name": "object", "required": []string{"name"}, "properties": times(doc{
		"name":        label("Name of the object"),
		"description": text("Description"), "required": doc{"type": "array", "items": doc{"type": "string"}},
		"properties": doc{"type": "object", "additionalProperties": property}, "self": shown(text("Path")), "schema": shown(text("Path of this schema")),
	})}
	tag := doc{"name": "tag", "required": []string{"name"}, "properties": times(doc{"name": label("Name of the tag")})}
	association := doc{"name": "resource_type_association", "required": []string{"name"}, "properties": times(doc{
		"name":   label("Type of resource"),
		"prefix": label("Prefix of the properties' names"), "properties_target": label("What of the resource has the properties"),
	})}
	namespace := doc{"name": "namespace", "required": []string{"namespace"}, "properties": times(doc{
		"namespace": label("Name of the namespace"), "display_name": label("Name for people"), "description": text("Description"),
		"visibility": doc{"type": "string", "enum": []string{"public", "private"}}, "protected": doc{"type": "boolean"}, "owner": text("Project that owns it"),
		"resource_type_associations": doc{"type": "array", "items": association}, "objects": doc{"type": "array", "items": object},
		"properties": doc{"type": "object", "additionalProperties": property}, "tags": doc{"type": "array", "items": tag},
		"self": shown(text("Path")), "schema": shown(text("Path of this schema")),
	})}
	switch name {
	case "metadefs/namespace":
		return namespace
	case "metadefs/namespaces":
		return collection("namespaces", namespace)
	case "metadefs/object":
		return object
	case "metadefs/objects":
		return collection("objects", object)
	case "metadefs/property":
		return property
	case "metadefs/properties":
		out := collection("properties", property)
		out["properties"].(doc)["properties"] = doc{"type": "object", "additionalProperties": property}
		return out
	case "metadefs/tag":
		return tag
	case "metadefs/tags":
		return collection("tags", tag)
	case "metadefs/resource_type":
		return association
	case "metadefs/resource_types":
		return collection("resource_type_associations", association)
	}
	return nil
}
