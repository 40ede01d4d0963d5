package manager

import (
	"cmp"
	"context"
	"slices"
	"sort"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/store"
)

// book is what every token needs and few requests change: the roles and the
// catalog, as of a generation.
type book struct {
	generation int64
	roles      map[string]*identity.Role
	implied    map[string][]string
	catalog    []identity.CatalogEntry
	groups     []identity.EndpointGroup
}

// readBook returns the book of a generation, from memory where it is known.
func (m *Manager) readBook(ctx context.Context, generation int64) (*book, error) {
	m.mu.Lock()
	b := m.book
	m.mu.Unlock()
	if b != nil && b.generation == generation {
		return b, nil
	}
	b = &book{generation: generation, roles: map[string]*identity.Role{}, implied: map[string][]string{}}
	roles, err := m.store.Roles.List(ctx, identity.Query{})
	if err != nil {
		return nil, err
	}
	for i := range roles {
		b.roles[roles[i].ID] = &roles[i]
	}
	imps, err := m.store.Implications(ctx)
	if err != nil {
		return nil, err
	}
	for _, i := range imps {
		b.implied[i.PriorID] = append(b.implied[i.PriorID], i.ImpliedID)
	}
	if b.catalog, err = m.fullCatalog(ctx); err != nil {
		return nil, err
	}
	if b.groups, err = m.store.EndpointGroups.List(ctx, identity.Query{}); err != nil {
		return nil, err
	}
	m.mu.Lock()
	m.book = b
	m.mu.Unlock()
	return b, nil
}

func (m *Manager) fullCatalog(ctx context.Context) ([]identity.CatalogEntry, error) {
	services, err := m.store.Services.List(ctx, identity.By("enabled", true))
	if err != nil {
		return nil, err
	}
	endpoints, err := m.store.Endpoints.List(ctx, identity.By("enabled", true))
	if err != nil {
		return nil, err
	}
	of := map[string][]identity.Endpoint{}
	for _, e := range endpoints {
		of[e.ServiceID] = append(of[e.ServiceID], e)
	}
	out := make([]identity.CatalogEntry, 0, len(services))
	for _, s := range services {
		eps := of[s.ID]
		slices.SortStableFunc(eps, func(a, b identity.Endpoint) int {
			return cmp.Or(cmp.Compare(a.RegionID, b.RegionID), cmp.Compare(a.Interface, b.Interface))
		})
		out = append(out, identity.CatalogEntry{Service: s, Endpoints: eps})
	}
	slices.SortStableFunc(out, func(a, b identity.CatalogEntry) int {
		return cmp.Or(cmp.Compare(a.Service.Type, b.Service.Type), cmp.Compare(a.Service.Name, b.Service.Name))
	})
	return out, nil
}

// expand adds the implied roles and returns all that may stand in a token:
// roles of a domain only stand for others.
func (b *book) expand(ids []string) []identity.Role {
	seen := map[string]bool{}
	for todo := ids; len(todo) > 0; todo = todo[1:] {
		if id := todo[0]; !seen[id] {
			seen[id] = true
			todo = append(todo[:len(todo):len(todo)], b.implied[id]...)
		}
	}
	out := []identity.Role{}
	for id := range seen {
		if r := b.roles[id]; r != nil && r.DomainID == "" {
			out = append(out, *r)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// closure returns the ids with those implied.
func (b *book) closure(ids []string) map[string]bool {
	seen := map[string]bool{}
	for todo := ids; len(todo) > 0; todo = todo[1:] {
		if id := todo[0]; !seen[id] {
			seen[id] = true
			todo = append(todo[:len(todo):len(todo)], b.implied[id]...)
		}
	}
	return seen
}

// catalogFor is the catalog that a token shows: with the addresses filled in,
// and narrowed where the project has endpoints of its own (OS-EP-FILTER).
func (m *Manager) catalogFor(ctx context.Context, b *book, t *identity.Token) ([]identity.CatalogEntry, error) {
	if t.Project == nil && t.Domain == nil && !t.System {
		return nil, nil
	}
	var allowed map[string]bool
	if t.Project != nil {
		var err error
		if allowed, err = m.filtered(ctx, b, t.Project.ID); err != nil {
			return nil, err
		}
	}
	out := make([]identity.CatalogEntry, 0, len(b.catalog))
	for _, c := range b.catalog {
		e := identity.CatalogEntry{Service: c.Service, Endpoints: make([]identity.Endpoint, 0, len(c.Endpoints))}
		for _, ep := range c.Endpoints {
			if allowed != nil && !allowed[ep.ID] {
				continue
			}
			url, ok := expandURL(ep.URL, t)
			if !ok {
				continue
			}
			ep.URL = url
			e.Endpoints = append(e.Endpoints, ep)
		}
		if allowed != nil && len(e.Endpoints) == 0 {
			continue
		}
		out = append(out, e)
	}
	return out, nil
}

// filtered returns the endpoints associated with a project; nil where there
// are none, and so no filter.
func (m *Manager) filtered(ctx context.Context, b *book, projectID string) (map[string]bool, error) {
	ids, err := m.store.LinkedTo(ctx, store.ProjectEndpoints, projectID)
	if err != nil {
		return nil, err
	}
	var groups []string
	if len(b.groups) > 0 {
		if groups, err = m.store.LinkedTo(ctx, store.ProjectEndpointGroups, projectID); err != nil {
			return nil, err
		}
	}
	if len(ids) == 0 && len(groups) == 0 {
		return nil, nil
	}
	out := map[string]bool{}
	for _, id := range ids {
		out[id] = true
	}
	in := map[string]bool{}
	for _, id := range groups {
		in[id] = true
	}
	for i := range b.groups {
		if !in[b.groups[i].ID] {
			continue
		}
		for _, c := range b.catalog {
			for j := range c.Endpoints {
				if b.groups[i].Matches(&c.Endpoints[j]) {
					out[c.Endpoints[j].ID] = true
				}
			}
		}
	}
	return out, nil
}

// Catalog returns the catalog of a token.
func (m *Manager) Catalog(ctx context.Context, t *identity.Token) ([]identity.CatalogEntry, error) {
	if t.Project == nil && t.Domain == nil && !t.System {
		return nil, fault.Forbiddenf("You are not authorized to perform the requested action: A project-scoped token is required to produce a service catalog.")
	}
	return t.Catalog, nil
}
