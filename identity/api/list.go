package api

import (
	"strconv"
	"strings"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/rest"
)

// maxPage bounds a list.
const maxPage = 10000

// field is a filter of a list: the column, and how its value reads.
type field struct {
	column string
	kind   kind
}

type kind int

const (
	text kind = iota
	flag
	nullable // "" and null ask for none
)

// query reads the filters that a list knows, limit and marker. Unknown
// parameters are ignored, as Keystone does.
func query(r *rest.Request, fields map[string]field) (identity.Query, error) {
	q := identity.Query{Marker: r.Query().Get("marker"), Limit: maxPage}
	if s := r.Query().Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			return q, fault.Invalidf("Invalid input for query parameter limit. Value: %s.", s)
		}
		if n > 0 {
			q.Limit = min(n, maxPage)
		}
	}
	for param, values := range r.Query() {
		name, op, _ := strings.Cut(param, "__")
		f, ok := fields[name]
		if !ok || len(values) == 0 {
			continue
		}
		flt := identity.Filter{Field: f.column, Op: identity.Op(op), Value: values[0]}
		switch {
		case f.kind == flag:
			on := !strings.EqualFold(values[0], "false") && values[0] != "0"
			flt.Value, flt.Op = on, identity.Equals
		case f.kind == nullable && (values[0] == "" || values[0] == "null"):
			flt.Op = identity.Null
		case !inexact(flt.Op):
			continue
		}
		q.Filters = append(q.Filters, flt)
	}
	return q, nil
}

func inexact(op identity.Op) bool {
	switch op {
	case identity.Equals, identity.IEquals, identity.Contains, identity.IContains, identity.StartsWith, identity.IStartsWith, identity.EndsWith, identity.IEndsWith:
		return true
	}
	return false
}

// boolParam reads a parameter that is on when it stands there without "0" or
// "false".
func boolParam(r *rest.Request, name string) bool {
	if !r.Query().Has(name) {
		return false
	}
	v := r.Query().Get(name)
	return v != "0" && !strings.EqualFold(v, "false")
}

// newDomain is the domain that a new thing goes to: the one asked for, or that
// of the token.
func newDomain(r *rest.Request, in doc) string {
	if d := str(in, "domain_id"); d != "" {
		return d
	}
	switch c := r.Caller(); {
	case c.Domain.ID != "":
		return c.Domain.ID
	case c.IsDomainProject:
		return c.Project.ID
	case c.ProjectDomain.ID != "":
		return c.ProjectDomain.ID
	}
	return identity.DefaultDomainID
}
