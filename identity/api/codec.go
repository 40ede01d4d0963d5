package api

import (
	"encoding/json"
	"maps"
	"reflect"
	"time"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/rest"
)

type doc = map[string]any

// body decodes the request's document and returns the object under key, or an
// empty one.
func body(r *rest.Request, key string) (doc, error) {
	var d map[string]json.RawMessage
	if err := r.Decode(&d); err != nil {
		return nil, err
	}
	var in doc
	if raw := d[key]; raw != nil {
		if err := json.Unmarshal(raw, &in); err != nil {
			return nil, fault.Invalidf("Invalid input for field/attribute %s. It must be an object.", key)
		}
	}
	if in == nil {
		in = doc{}
	}
	return in, nil
}

// apply sets the attributes of a document on the fields of *v by their json
// tags; null is a field's zero value. Options are merged, null taking one
// away. What is no field becomes extra. Names in except are passed over.
func apply(in doc, v any, except ...string) error {
	rv := reflect.ValueOf(v).Elem()
	rest := maps.Clone(in)
	delete(rest, "links")
	delete(rest, "id")
	for _, k := range except {
		delete(rest, k)
	}
	var extra *identity.Extra
	for i := range rv.NumField() {
		name := rv.Type().Field(i).Tag.Get("json")
		if rv.Type().Field(i).Name == "Extra" {
			extra = rv.Field(i).Addr().Interface().(*identity.Extra)
			continue
		}
		val, given := rest[name]
		if !given || name == "" || name == "-" {
			continue
		}
		delete(rest, name)
		if err := setField(rv.Field(i), name, val); err != nil {
			return err
		}
	}
	if extra != nil && len(rest) > 0 {
		merged := identity.Extra{}
		maps.Copy(merged, *extra)
		maps.Copy(merged, rest)
		*extra = merged
	}
	return nil
}

func setField(f reflect.Value, name string, val any) error {
	if val == nil {
		f.SetZero()
		return nil
	}
	if name == "options" {
		merged := identity.Extra{}
		old, _ := f.Interface().(identity.Extra)
		maps.Copy(merged, old)
		given, _ := val.(doc)
		for k, v := range given {
			if v == nil {
				delete(merged, k)
				continue
			}
			merged[k] = v
		}
		f.Set(reflect.ValueOf(merged))
		return nil
	}
	if f.Type() == reflect.TypeFor[*time.Time]() {
		t, err := parseTime(name, val)
		if err != nil {
			return err
		}
		f.Set(reflect.ValueOf(t))
		return nil
	}
	b, err := json.Marshal(val)
	if err != nil {
		return err
	}
	f.SetZero()
	if err := json.Unmarshal(b, f.Addr().Interface()); err != nil {
		return fault.Invalidf("Invalid input for field/attribute %s. Value: %s.", name, b)
	}
	return nil
}

// parseTime reads an ISO 8601 time.
func parseTime(name string, val any) (*time.Time, error) {
	s, _ := val.(string)
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999", "2006-01-02T15:04:05-0700", "2006-01-02 15:04:05"} {
		if t, err := time.Parse(layout, s); err == nil {
			t = t.UTC().Truncate(time.Microsecond)
			return &t, nil
		}
	}
	return nil, fault.Invalidf("Invalid input for field '%s'. The value is '%v': it is no time in ISO 8601.", name, val)
}

// stamp renders a time as Keystone does.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

func stampOrNull(t *time.Time) any {
	if t == nil {
		return nil
	}
	return stamp(*t)
}

// view renders a noun: its fields by their json tags, its extra attributes,
// and its link.
func view(r *rest.Request, v any, collection string) doc {
	rv := reflect.ValueOf(v)
	out := doc{}
	id := ""
	for i := range rv.NumField() {
		sf := rv.Type().Field(i)
		if sf.Name == "Extra" {
			extra, _ := rv.Field(i).Interface().(identity.Extra)
			for k, v := range extra {
				if _, taken := out[k]; !taken {
					out[k] = v
				}
			}
		}
		name := sf.Tag.Get("json")
		if name == "" || name == "-" {
			continue
		}
		switch x := rv.Field(i).Interface().(type) {
		case *time.Time:
			out[name] = stampOrNull(x)
		case identity.Extra:
			if x == nil {
				x = identity.Extra{}
			}
			out[name] = x
		case []string:
			if x == nil {
				x = []string{}
			}
			out[name] = x
		case identity.List:
			if x == nil {
				x = identity.List{}
			}
			out[name] = x
		default:
			out[name] = x
		}
		if name == "id" {
			id = rv.Field(i).String()
		}
	}
	out["links"] = self(r, collection+"/"+id)
	return out
}

func self(r *rest.Request, path string) doc { return doc{"self": r.Link("/v3" + path)} }

// viewAll renders a list under key, with links to the next page where the list
// was cut.
func viewAll[T any](r *rest.Request, key string, list []T, limit int, id func(*T) string, one func(*T) doc) doc {
	items := make([]doc, len(list))
	for i := range list {
		items[i] = one(&list[i])
	}
	path := r.HTTP.URL.Path
	if q := r.HTTP.URL.RawQuery; q != "" {
		path += "?" + q
	}
	links := doc{"next": nil, "self": r.Base() + path, "previous": nil}
	out := doc{key: items, "links": links}
	if limit > 0 && len(list) >= limit {
		links["next"] = r.NextLink(id(&list[len(list)-1]))
		out["truncated"] = true
	}
	return out
}

// str reads a text of a document; "" where it is missing or null.
func str(d doc, key string) string {
	s, _ := d[key].(string)
	return s
}

func has(d doc, key string) bool {
	_, ok := d[key]
	return ok
}
