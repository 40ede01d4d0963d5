package api

import (
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/manager"
	"github.com/tropocloud/tropo/rest"
)

func (a *api) list(res *resource) rest.Handler {
	return func(r *rest.Request) (any, error) {
		if err := a.touch(r, res); err != nil {
			return nil, err
		}
		q, limited, err := a.query(r, res)
		if err != nil {
			return nil, err
		}
		objects, err := res.list(r.Context(), q)
		if err != nil {
			return nil, err
		}
		views, err := a.views(r, res, objects, true)
		if err != nil {
			return nil, err
		}
		out := map[string]any{res.kind.Plural: views}
		if links := pageLinks(r, objects, q.Page, limited); len(links) > 0 {
			out[res.kind.Plural+"_links"] = links
		}
		return out, nil
	}
}

// touch makes the project's default security group when its groups are
// looked at for the first time.
func (a *api) touch(r *rest.Request, res *resource) error {
	if res.kind.Name != "security_group" && res.kind.Name != "security_group_rule" {
		return nil
	}
	project := r.Caller().Project.ID
	for _, key := range []string{"project_id", "tenant_id"} {
		if p := r.Query().Get(key); p != "" && r.Caller().IsAdmin() {
			project = p
		}
	}
	return a.m.EnsureDefaultGroup(r.Context(), project)
}

// query reads filters, sorting and page of a list.
func (a *api) query(r *rest.Request, res *resource) (manager.Query, bool, error) {
	keys := map[string]string{}
	var q manager.Query
	for i := range res.attrs {
		keys[res.attrs[i].name] = res.attrs[i].name
	}
	keys["tenant_id"] = "project_id"
	max := a.m.Config().MaxPage
	p, err := r.Page(rest.PageOptions{Max: max, Keys: keys})
	if err != nil {
		if f, ok := fault.As(err); ok {
			err = f.WithType("HTTPBadRequest")
		}
		return q, false, err
	}
	limited := p.Limit != 0 && r.Query().Has("limit")
	if p.Limit == 0 {
		p.Limit = max
	}
	q = manager.Query{Page: p, Filters: map[string][]string{}}
	for name, values := range r.Query() {
		switch name {
		case "fields", "limit", "marker", "sort_key", "sort_dir", "page_reverse":
		default:
			q.Filters[name] = values
			if err := a.mayAsk(r, res, name); err != nil {
				return q, false, err
			}
		}
	}
	for _, by := range p.Sort {
		if err := a.mayAsk(r, res, by.Column); err != nil {
			return q, false, err
		}
	}
	return q, limited, nil
}

// mayAsk refuses to filter and sort by attributes that the caller may not
// see: the answer would tell them.
func (a *api) mayAsk(r *rest.Request, res *resource, name string) error {
	rule := "get_" + res.kind.Name + ":" + name
	if !a.enforcer.Has(rule) {
		return nil
	}
	return r.Check(rule, r.Target())
}

// pageLinks lead to the neighbouring pages.
func pageLinks(r *rest.Request, objects []network.Resource, p db.Page, limited bool) []map[string]string {
	var links []map[string]string
	if len(objects) == 0 {
		return nil
	}
	full := len(objects) == p.Limit
	if full && !p.Reverse || p.Reverse && p.Marker != "" {
		links = append(links, map[string]string{"rel": "next", "href": r.NextLink(objects[len(objects)-1].Std().ID)})
	}
	if limited && (p.Marker != "" && !p.Reverse || p.Reverse && full) {
		links = append(links, map[string]string{"rel": "previous", "href": r.PreviousLink(objects[0].Std().ID)})
	}
	return links
}
