package api

import (
	"encoding/csv"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image"
	"github.com/tropocloud/tropo/rest"
)

// maxFilters bounds how many conditions a list may have.
const maxFilters = 64

// filter reads the query of a list. What is no attribute is a property.
func filter(q url.Values) (image.Filter, error) {
	f := image.Filter{Properties: map[string]string{}}
	n := 0
	for name, values := range q {
		if n += len(values); n > maxFilters {
			return f, fault.Invalidf("A list can have %d filters.", maxFilters)
		}
		if err := filterBy(&f, name, values); err != nil {
			return f, err
		}
	}
	return f, nil
}

func filterBy(f *image.Filter, name string, values []string) error {
	value := values[0]
	var err error
	switch name {
	case "limit", "marker", "sort_key", "sort_dir", "sort", "page_reverse":
	case "visibility":
		f.Visibility = value
		if !slices.Contains([]string{"private", "shared", "community", "public", "all"}, value) {
			return fault.Invalidf("Invalid visibility value: %s", value)
		}
	case "member_status":
		f.MemberStatus = value
		if !slices.Contains([]string{"pending", "accepted", "rejected", "all"}, value) {
			return fault.Invalidf("Invalid status: %s", value)
		}
	case "owner":
		f.Owner = &value
	case "tag":
		f.Tags = values
	case "size_min":
		f.SizeMin, err = size(name, value)
	case "size_max":
		f.SizeMax, err = size(name, value)
	case "os_hidden":
		f.Hidden, err = truth(name, value)
	case "protected":
		var p bool
		p, err = truth(name, value)
		f.Protected = &p
	case "created_at", "updated_at":
		for _, v := range values {
			m, err := compareTime(name, v)
			if err != nil {
				return err
			}
			f.Matches = append(f.Matches, m...)
		}
	default:
		return filterByValue(f, name, value)
	}
	return err
}

func filterByValue(f *image.Filter, name, value string) error {
	column, ok := image.Columns()[name]
	if !ok {
		f.Properties[name] = value
		return nil
	}
	switch name {
	case "size", "min_disk", "min_ram", "virtual_size":
		n, err := size(name, value)
		if err == nil {
			f.Matches = append(f.Matches, image.Match{Column: column, Op: "eq", Values: []any{*n}})
		}
		return err
	}
	op, rest, ok := strings.Cut(value, ":")
	inAllowed := slices.Contains([]string{"name", "id", "status", "disk_format", "container_format"}, name)
	switch {
	case ok && inAllowed && op == "in":
		list, err := words(rest)
		if err != nil {
			return err
		}
		f.Matches = append(f.Matches, image.Match{Column: column, Op: "in", Values: list})
	case ok && inAllowed && (op == "eq" || op == "neq"):
		f.Matches = append(f.Matches, image.Match{Column: column, Op: op, Values: []any{rest}})
	default:
		f.Matches = append(f.Matches, image.Match{Column: column, Op: "eq", Values: []any{value}})
	}
	return nil
}

// words reads the list of an "in:" filter: commas between values, double
// quotes around values with commas.
func words(s string) ([]any, error) {
	r := csv.NewReader(strings.NewReader(s))
	r.LazyQuotes = false
	list, err := r.Read()
	if err != nil || strings.ContainsAny(s, "\r\n") {
		return nil, fault.Invalidf("Invalid filter value %s.", s)
	}
	out := make([]any, len(list))
	for i, w := range list {
		out[i] = w
	}
	return out, nil
}

func size(name, value string) (*int64, error) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 {
		return nil, fault.Invalidf("Filter %s must be an integer of 0 or more, not %q.", name, value)
	}
	return &n, nil
}

func truth(name, value string) (bool, error) {
	b, err := rest.ParseBool(value)
	if err != nil {
		return false, fault.Invalidf("Invalid value '%s' for '%s' filter. Valid values are case insensitively 'true' or 'false'.", value, name)
	}
	return b, nil
}

// compareTime reads "gt:2026-01-01T00:00:00Z". The API tells times in seconds,
// so a whole second is compared with.
func compareTime(name, value string) ([]image.Match, error) {
	op, rest, ok := strings.Cut(value, ":")
	if !ok || !slices.Contains([]string{"gt", "gte", "lt", "lte", "eq", "neq"}, op) {
		op, rest = "eq", value
	}
	var at time.Time
	var err error
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02"} {
		if at, err = time.Parse(layout, rest); err == nil {
			break
		}
	}
	if err != nil {
		return nil, fault.Invalidf("Unable to filter on %s: %q is no time of ISO 8601.", name, rest)
	}
	at = at.UTC().Truncate(time.Second)
	match := func(op string, t time.Time) image.Match { return image.Match{Column: name, Op: op, Values: []any{t}} }
	next := at.Add(time.Second)
	switch op {
	case "gt":
		return []image.Match{match("gte", next)}, nil
	case "gte":
		return []image.Match{match("gte", at)}, nil
	case "lt":
		return []image.Match{match("lt", at)}, nil
	case "lte":
		return []image.Match{match("lt", next)}, nil
	case "neq":
		return nil, fault.Invalidf("Unable to filter on %s with the operator neq.", name)
	}
	return []image.Match{match("gte", at), match("lt", next)}, nil
}
