package api

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"sort"
	"testing/fstest"

	"github.com/tropocloud/tropo/rest"
)

//go:embed schema/*.json
var schemaFiles embed.FS

// schemas are the request schemas of all microversions. A file holds all
// versions of a schema: a property with "x-since" or "x-until" exists from or
// up to that microversion, and "x-required" names what becomes required when.
type schemas struct {
	files fstest.MapFS
	since map[string][]rest.Version // by schema: where it changes
}

func loadSchemas() (*schemas, error) {
	s := &schemas{files: fstest.MapFS{}, since: map[string][]rest.Version{}}
	names, err := fs.Glob(schemaFiles, "schema/*.json")
	if err != nil {
		return nil, err
	}
	for _, f := range names {
		text, err := schemaFiles.ReadFile(f)
		if err != nil {
			return nil, err
		}
		var all map[string]any
		if err := json.Unmarshal(text, &all); err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		if err := s.addFile(all); err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
	}
	return s, nil
}

// addFile adds the schemas of a file, which maps names to schemas.
func (s *schemas) addFile(all map[string]any) error {
	for name, doc := range all {
		if s.since[name] != nil {
			return fmt.Errorf("schema %s stands twice", name)
		}
		if name == "defs" {
			text, err := json.Marshal(doc)
			if err != nil {
				return err
			}
			s.files["defs.json"] = &fstest.MapFile{Data: text}
			continue
		}
		versions := map[rest.Version]bool{rest.V("2.1"): true}
		changes(doc, versions)
		for v := range versions {
			s.since[name] = append(s.since[name], v)
			text, err := json.Marshal(at(doc, v))
			if err != nil {
				return err
			}
			s.files[fileName(name, v)+".json"] = &fstest.MapFile{Data: text}
		}
		list := s.since[name]
		sort.Slice(list, func(i, j int) bool { return list[i].Less(list[j]) })
	}
	return nil
}

func fileName(name string, v rest.Version) string { return name + "-" + v.String() }

// changes collects the microversions at which a schema changes.
func changes(doc any, out map[rest.Version]bool) {
	switch t := doc.(type) {
	case map[string]any:
		if v, ok := t["x-since"].(string); ok {
			out[rest.V(v)] = true
		}
		if v, ok := t["x-until"].(string); ok {
			u := rest.V(v)
			u.Minor++
			out[u] = true
		}
		if req, ok := t["x-required"].(map[string]any); ok {
			for v := range req {
				out[rest.V(v)] = true
			}
		}
		for _, x := range t {
			changes(x, out)
		}
	case []any:
		for _, x := range t {
			changes(x, out)
		}
	}
}

// alive reports whether a part of a schema exists at a microversion.
func alive(doc any, v rest.Version) bool {
	t, ok := doc.(map[string]any)
	if !ok {
		return true
	}
	if s, ok := t["x-since"].(string); ok && v.Less(rest.V(s)) {
		return false
	}
	if s, ok := t["x-until"].(string); ok && rest.V(s).Less(v) {
		return false
	}
	return true
}

// at is a schema as it is at a microversion.
func at(doc any, v rest.Version) any {
	switch t := doc.(type) {
	case map[string]any:
		out := map[string]any{}
		required, _ := t["required"].([]any)
		for k, x := range t {
			switch {
			case k == "x-since" || k == "x-until":
			case k == "x-required":
				for from, more := range x.(map[string]any) {
					if v.AtLeast(rest.V(from)) {
						required = append(required, more.([]any)...)
					}
				}
			case alive(x, v):
				out[k] = at(x, v)
			}
		}
		if len(required) > 0 {
			out["required"] = required
		}
		return out
	case []any:
		out := []any{}
		for _, x := range t {
			if alive(x, v) {
				out = append(out, at(x, v))
			}
		}
		return out
	}
	return doc
}

// body makes a route check its body against all versions of a schema.
func (s *schemas) body(name string) rest.Option {
	return func(r *rest.Route) {
		for _, v := range s.since[name] {
			rest.SchemaSince(v.String(), fileName(name, v))(r)
		}
		if s.since[name] == nil {
			rest.Schema(name)(r) // fails where the table is checked
		}
	}
}

// query makes a route check its query parameters.
func (s *schemas) query(name string) rest.Option {
	return func(r *rest.Route) {
		for _, v := range s.since[name] {
			rest.QuerySince(v.String(), fileName(name, v))(r)
		}
	}
}
