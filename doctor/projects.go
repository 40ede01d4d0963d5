package doctor

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/fault"
)

// possession is a kind of resource that projects have.
type possession struct {
	service, path, key, noun string
	owner                    string // the member that names the project
	query                    url.Values
}

func possessions() []possession {
	all := url.Values{"all_tenants": {"true"}}
	owned := url.Values{"fields": {"id", "project_id"}}
	return []possession{
		{"compute", "servers/detail", "servers", "server", "tenant_id", all},
		{"network", "floatingips", "floatingips", "floating ip", "project_id", owned},
		{"network", "routers", "routers", "router", "project_id", owned},
		{"network", "ports", "ports", "port", "project_id", owned},
		{"network", "networks", "networks", "network", "project_id", owned},
		{"image", "images", "images", "image", "owner", url.Values{"visibility": {"all"}}},
	}
}

// Projects finds what belongs to projects that do not exist. Nothing of it is
// healed: who made it may want it back, as with upstream's project purge. A
// project's default security group is no finding; the network service makes it
// by itself and keeps it, as upstream's does.
func Projects(s *auth.Session) Check {
	return Check{Name: "project-gone", Service: "identity", Find: func(ctx context.Context, l *Look) error {
		has := map[string]map[string][]string{} // project → noun → ids
		for _, p := range possessions() {
			if err := p.read(ctx, s, has); err != nil {
				l.Unchecked(p.noun+"s", err)
			}
		}
		for _, id := range slices.Sorted(maps.Keys(has)) {
			there, err := projectExists(ctx, s, id)
			if err != nil {
				l.Unchecked("project "+id, err)
				continue
			}
			if there {
				continue
			}
			var what, commands []string
			for _, p := range possessions() {
				if ids := has[id][p.noun]; len(ids) > 0 {
					what = append(what, fmt.Sprintf("%d %s(s)", len(ids), p.noun))
					commands = append(commands, "openstack "+p.noun+" delete "+strings.Join(ids[:min(len(ids), 10)], " "))
				}
			}
			l.Found(Finding{
				Severity: Warning, Kind: "project", ID: id, Problem: "does not exist, and has " + strings.Join(what, ", "),
				Command: strings.Join(commands, "; "),
			})
		}
		return nil
	}}
}

func (p possession) read(ctx context.Context, s *auth.Session, has map[string]map[string][]string) error {
	c, err := s.Service(ctx, p.service)
	if err != nil {
		return err
	}
	q := url.Values{"limit": {fmt.Sprint(pageSize)}}
	maps.Copy(q, p.query)
	for range maxPages {
		var doc map[string]any
		if err := get(ctx, c, p.path+"?"+q.Encode(), &doc); err != nil {
			return err
		}
		list, _ := doc[p.key].([]any)
		last := ""
		for _, v := range list {
			m, _ := v.(map[string]any)
			project, _ := m[p.owner].(string)
			last, _ = m["id"].(string)
			if project == "" || last == "" {
				continue // the services' own, as gateways of routers
			}
			if has[project] == nil {
				has[project] = map[string][]string{}
			}
			has[project][p.noun] = append(has[project][p.noun], last)
		}
		if len(list) < pageSize || last == q.Get("marker") {
			return nil
		}
		q.Set("marker", last)
	}
	return fault.Unavailablef("The list of %ss is too long.", p.noun)
}

// pageSize is how many objects one request asks for, and maxPages bounds a
// list.
const (
	pageSize = 500
	maxPages = 4000
)

func projectExists(ctx context.Context, s *auth.Session, id string) (bool, error) {
	c, err := s.Service(ctx, "identity")
	if err != nil {
		return false, err
	}
	var doc map[string]any
	err = get(ctx, c, "projects/"+url.PathEscape(id), &doc)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil, err
}

func get(ctx context.Context, c *gophercloud.ServiceClient, path string, out any) error {
	res, err := c.Request(ctx, http.MethodGet, c.ServiceURL()+path, &gophercloud.RequestOpts{OkCodes: []int{http.StatusOK}, JSONResponse: out})
	if res != nil && res.Body != nil && out == nil {
		_ = res.Body.Close()
	}
	return auth.Fault(err)
}
