package rest

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
)

// PageOptions tell how a list is paged.
type PageOptions struct {
	Max     int               // the most that one answer holds (default 1000)
	Default int               // without a limit parameter; 0: Max
	Keys    map[string]string // allowed sort keys → columns
	Sort    []db.Sort         // without sort parameters
	// SortParam is a parameter "key:dir,key2" (Glance's and Cinder's sort)
	// beside sort_key and sort_dir; empty: none.
	SortParam string
}

// Page reads limit (0: as many as the service gives at most), marker, sort_key, sort_dir and page_reverse. Wrong values
// are fault.Invalid and name the parameter.
func (r *Request) Page(o PageOptions) (db.Page, error) {
	q := r.query
	if o.Max == 0 {
		o.Max = 1000
	}
	p := db.Page{Limit: o.Default, Marker: q.Get("marker"), Sort: o.Sort, Reverse: strings.EqualFold(q.Get("page_reverse"), "true")}
	if p.Limit == 0 {
		p.Limit = o.Max
	}
	if q.Has("limit") {
		n, err := strconv.Atoi(q.Get("limit"))
		if err != nil || n < 0 {
			return p, fault.Invalidf("Invalid input for query parameters limit. Value: %s. It must be an integer of 0 or more.", q.Get("limit"))
		}
		if p.Limit = min(n, o.Max); n == 0 { // "no limit" means ours
			p.Limit = o.Max
		}
	}
	keys, dirs := q["sort_key"], q["sort_dir"]
	if s := q.Get(o.SortParam); o.SortParam != "" && s != "" {
		keys, dirs = nil, nil
		for part := range strings.SplitSeq(s, ",") {
			k, d, ok := strings.Cut(part, ":")
			if !ok {
				d = "desc"
			}
			keys, dirs = append(keys, strings.TrimSpace(k)), append(dirs, strings.TrimSpace(d))
		}
	}
	if len(keys) == 0 {
		if len(dirs) == 1 && len(o.Sort) > 0 {
			p.Sort = slices.Clone(o.Sort)
			desc, err := direction(dirs[0])
			for i := range p.Sort {
				p.Sort[i].Desc = desc
			}
			return p, err
		}
		return p, nil
	}
	p.Sort = nil
	for i, k := range keys {
		col, ok := o.Keys[k]
		if !ok {
			return p, fault.Invalidf("Sort key %s is not supported.", k)
		}
		s := db.Sort{Column: col}
		if d := at(dirs, i); d != "" {
			desc, err := direction(d)
			if err != nil {
				return p, err
			}
			s.Desc = desc
		}
		p.Sort = append(p.Sort, s)
	}
	return p, nil
}

// at returns the i-th direction, or the last where fewer are given.
func at(list []string, i int) string {
	if len(list) == 0 {
		return ""
	}
	return list[min(i, len(list)-1)]
}

func direction(s string) (desc bool, err error) {
	switch strings.ToLower(s) {
	case "asc":
		return false, nil
	case "desc":
		return true, nil
	}
	return false, fault.Invalidf("Unknown sort direction %s; it must be asc or desc.", s)
}

// NextLink is the URL of the next page: this request with the marker set to
// the last id of this one.
func (r *Request) NextLink(lastID string) string { return r.pageLink(lastID, false) }

// PreviousLink is the URL of the page before, by page_reverse.
func (r *Request) PreviousLink(firstID string) string { return r.pageLink(firstID, true) }

func (r *Request) pageLink(marker string, reverse bool) string {
	q := url.Values{}
	for k, v := range r.query {
		q[k] = v
	}
	q.Set("marker", marker)
	q.Del("page_reverse")
	if reverse {
		q.Set("page_reverse", "True")
	}
	return r.Base() + r.HTTP.URL.Path + "?" + q.Encode()
}

// Bool reads a boolean query parameter as OpenStack's services do; set is
// false where it is absent.
func (r *Request) Bool(name string) (value, set bool, err error) {
	if !r.query.Has(name) {
		return false, false, nil
	}
	v, err := ParseBool(r.query.Get(name))
	if err != nil {
		return false, true, fault.Invalidf("Invalid value %q for query parameter %s: it must be true or false.", r.query.Get(name), name)
	}
	return v, true, nil
}

// ParseBool reads the words that OpenStack takes for booleans.
func ParseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "1", "t", "true", "on", "y", "yes":
		return true, nil
	case "0", "f", "false", "off", "n", "no":
		return false, nil
	}
	return false, fault.Invalidf("%q is not a boolean.", s)
}
