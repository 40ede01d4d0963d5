package api

import (
	"maps"
	"mime"
	"slices"
	"strings"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image"
	"github.com/tropocloud/tropo/rest"
)

// The media types of a patch: 2.1 is JSON Patch (RFC 6902) with three of its
// operations, 2.0 an early draft of it ({"replace": "/name", "value": "x"}).
const (
	patch20 = "application/openstack-images-v2.0-json-patch"
	patch21 = "application/openstack-images-v2.1-json-patch"
)

// change is one operation of a patch.
type change struct {
	op, path string
	value    any
	hasValue bool
}

func (a *API) patchImage(r *rest.Request) (any, error) {
	kind, _, err := mime.ParseMediaType(r.Header("Content-Type"))
	if err != nil || kind != patch20 && kind != patch21 {
		r.Answer().Set("Accept-Patch", patch21+", "+patch20)
		return nil, fault.New(fault.UnsupportedType, "The media type must be %s.", patch21)
	}
	var ops []map[string]any
	if err := r.Decode(&ops); err != nil {
		return nil, err
	}
	old := r.Object().(*image.Image)
	changed := *old
	changed.Properties, changed.Tags = maps.Clone(old.Properties), slices.Clone(old.Tags)
	for _, op := range ops {
		c, err := readChange(op, kind == patch20)
		if err != nil {
			return nil, err
		}
		if c.path != "/disk_format" && isNode(r) {
			return nil, errNode()
		}
		if err := apply(&changed, c); err != nil {
			return nil, err
		}
	}
	if err := a.mayChange(r, old, &changed); err != nil {
		return nil, err
	}
	if len(ops) > 0 {
		if err := a.manager.UpdateImage(r.Context(), old, &changed); err != nil {
			return nil, err
		}
	}
	return viewImage(&changed), nil
}

func readChange(op map[string]any, draft bool) (change, error) {
	var c change
	c.value, c.hasValue = op["value"]
	var ok bool
	if draft {
		for _, name := range []string{"add", "replace", "remove"} {
			if p, has := op[name]; has {
				if c.op != "" {
					return c, fault.Invalidf("Operation objects must contain only one member named \"add\", \"remove\", or \"replace\".")
				}
				c.op = name
				if c.path, ok = p.(string); !ok {
					return c, fault.Invalidf("The path of an operation must be a string.")
				}
			}
		}
	} else {
		c.op, _ = op["op"].(string)
		c.path, _ = op["path"].(string)
	}
	if c.op != "add" && c.op != "replace" && c.op != "remove" {
		return c, fault.Invalidf("Operations must be \"add\", \"remove\", or \"replace\".")
	}
	if c.op != "remove" && !c.hasValue {
		return c, fault.Invalidf("Operation \"%s\" requires a member named \"value\".", c.op)
	}
	return c, nil
}

// attribute turns a JSON pointer of one step into a name.
func attribute(path string) (string, error) {
	rest, ok := strings.CutPrefix(path, "/")
	if !ok || rest == "" || strings.HasSuffix(rest, "/") || strings.Contains(rest, "//") {
		return "", fault.Invalidf("Pointer `%s` does not name an attribute.", path)
	}
	if strings.HasPrefix(rest, "locations/") {
		return "locations", nil
	}
	for i := range rest {
		if rest[i] == '~' && (i+1 == len(rest) || rest[i+1] != '0' && rest[i+1] != '1') {
			return "", fault.Invalidf("Pointer `%s` contains \"~\" not part of a recognized escape sequence.", path)
		}
	}
	if strings.Contains(rest, "/") {
		return "", fault.Invalidf("Invalid JSON pointer for this resource: '%s'", path)
	}
	return strings.NewReplacer("~1", "/", "~0", "~").Replace(rest), nil
}

// apply does one operation.
func apply(i *image.Image, c change) error {
	name, err := attribute(c.path)
	if err != nil {
		return err
	}
	if err := settable(name); err != nil {
		return err
	}
	_, has := i.Properties[name]
	isBase := slices.Contains(base(), name)
	switch {
	case c.op == "remove" && isBase:
		return fault.Forbiddenf("Property %s may not be removed.", name)
	case c.op != "add" && !isBase && !has:
		return fault.Conflictf("Property %s does not exist.", name)
	case c.op == "remove":
		delete(i.Properties, name)
		return nil
	case (name == "disk_format" || name == "container_format") && i.Status != image.StatusQueued:
		return fault.Forbiddenf("Attribute %s can be only replaced for a queued image.", name)
	}
	return set(i, name, c.value)
}

// mayChange asks for the rights that some changes need beyond modify_image.
func (a *API) mayChange(r *rest.Request, old, changed *image.Image) error {
	if changed.Owner != old.Owner && !r.Caller().IsAdmin() {
		return fault.Forbiddenf("Owner can't be updated by non admin.")
	}
	return a.mayShow(r, old.Visibility, changed)
}
