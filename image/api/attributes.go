package api

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image"
)

// readOnly are the attributes that the service alone sets.
func readOnly() []string {
	return []string{
		"id", "status", "checksum", "size", "virtual_size", "created_at", "updated_at", "self", "file", "schema",
		"direct_url", "os_hash_algo", "os_hash_value", "stores", "locations",
	}
}

// reserved are names that no property may have.
func reserved() []string { return []string{"deleted", "deleted_at", "is_public", "location"} }

// base are the attributes that every image has.
func base() []string {
	return append(readOnly(), "name", "visibility", "owner", "disk_format", "container_format", "min_disk", "min_ram", "protected", "os_hidden", "tags")
}

// settable refuses what requests must not write.
func settable(name string) error {
	switch {
	case slices.Contains(readOnly(), name):
		return fault.Forbiddenf("Attribute '%s' is read-only.", name)
	case slices.Contains(reserved(), name), image.Reserved(name):
		return fault.Forbiddenf("Attribute '%s' is reserved.", name)
	case name == "" || utf8.RuneCountInString(name) > 255:
		return fault.Invalidf("A property's name must have 1 to 255 characters.")
	}
	return nil
}

// set gives an attribute or property a value as it stands in a JSON document.
func set(i *image.Image, name string, value any) error {
	if err := settable(name); err != nil {
		return err
	}
	var err error
	switch name {
	case "name":
		i.Name, err = optional(name, value, 255, nil)
	case "disk_format":
		i.DiskFormat, err = optional(name, value, 32, image.DiskFormats())
	case "container_format":
		i.ContainerFormat, err = optional(name, value, 32, image.ContainerFormats())
	case "owner":
		var owner *string
		if owner, err = optional(name, value, 255, nil); err == nil && owner != nil {
			i.Owner = *owner
		}
	case "visibility":
		var v *string
		if v, err = optional(name, value, 16, []string{"private", "shared", "community", "public"}); err == nil && v == nil {
			err = wrong(name, value)
		} else if err == nil {
			i.Visibility = image.Visibility(*v)
		}
	case "min_disk":
		i.MinDisk, err = number(name, value)
	case "min_ram":
		i.MinRAM, err = number(name, value)
	case "protected":
		i.Protected, err = boolean(name, value)
	case "os_hidden":
		i.Hidden, err = boolean(name, value)
	case "tags":
		i.Tags, err = tagList(value)
	default:
		s, ok := value.(string)
		if !ok || len(s) > 65535 {
			return fault.Invalidf("Provided object does not match schema 'image': the property %s must be a string.", name)
		}
		i.Properties[name] = s
	}
	return err
}

func wrong(name string, value any) error {
	b, err := json.Marshal(value)
	if err != nil || len(b) > 200 {
		b = []byte("the value")
	}
	return fault.Invalidf("Provided object does not match schema 'image': %s is not valid for %s.", b, name)
}

// optional reads a string or null.
func optional(name string, value any, limit int, choices []string) (*string, error) {
	if value == nil {
		return nil, nil
	}
	s, ok := value.(string)
	if !ok || utf8.RuneCountInString(s) > limit || choices != nil && !slices.Contains(choices, s) {
		return nil, wrong(name, value)
	}
	return &s, nil
}

func number(name string, value any) (int64, error) {
	n, ok := value.(json.Number)
	if !ok {
		return 0, wrong(name, value)
	}
	v, err := n.Int64()
	if err != nil || v < 0 || v > 1<<31-1 {
		return 0, wrong(name, value)
	}
	return v, nil
}

func boolean(name string, value any) (bool, error) {
	b, ok := value.(bool)
	if !ok {
		return false, wrong(name, value)
	}
	return b, nil
}

func tagList(value any) ([]string, error) {
	list, ok := value.([]any)
	if !ok {
		return nil, wrong("tags", value)
	}
	tags := make([]string, 0, len(list))
	for _, v := range list {
		s, ok := v.(string)
		if !ok || s == "" || utf8.RuneCountInString(s) > 255 || strings.ContainsRune(s, 0) {
			return nil, wrong("tags", value)
		}
		tags = append(tags, s)
	}
	return image.Normalise(tags), nil
}
