package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/placement"
	"github.com/tropocloud/tropo/rest"
)

func (a *api) listProviders(r *rest.Request) (any, error) {
	f, err := providerFilter(r)
	if err != nil {
		return nil, err
	}
	list, err := a.manager.Providers(r.Context(), f)
	if err != nil {
		return nil, err
	}
	out := make([]object, len(list))
	var last time.Time
	for i, p := range list {
		out[i] = viewProvider(r, &p.Provider)
		last = latest(last, p.UpdatedAt)
	}
	modified(r, last)
	return object{"resource_providers": out}, nil
}

type providerBody struct {
	Name   string          `json:"name"`
	UUID   string          `json:"uuid"`
	Parent json.RawMessage `json:"parent_provider_uuid"`
}

// parent returns the UUID of the parent that the body names, if it does.
func (b *providerBody) parent() (*string, bool) {
	if b.Parent == nil {
		return nil, false
	}
	if bytes.Equal(b.Parent, []byte("null")) {
		return nil, true
	}
	var s string
	if json.Unmarshal(b.Parent, &s) != nil {
		return nil, false // the schema lets nothing else through
	}
	s = dashed(s)
	return &s, true
}

// dashed brings a UUID into its usual form.
func dashed(s string) string {
	if u, err := uuid.Parse(s); err == nil {
		return u.String()
	}
	return s
}

func (a *api) createProvider(r *rest.Request) (any, error) {
	var in providerBody
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	id := in.UUID
	if id != "" {
		id = dashed(id)
	}
	parent, _ := in.parent()
	if parent != nil && *parent == id {
		return nil, fault.Invalidf("Unable to create resource provider \"%s\", %s: parent provider UUID cannot be same as UUID. Please use a different parent.", in.Name, id)
	}
	p, err := a.manager.CreateProvider(r.Context(), in.Name, id, parent)
	if err != nil {
		return nil, err
	}
	r.Answer().Set("Location", r.Link("/resource_providers/"+p.UUID))
	if r.Version().Less(rest.V("1.20")) {
		return &rest.Response{Status: http.StatusCreated}, nil
	}
	modified(r, p.UpdatedAt)
	return viewProvider(r, p), nil
}

func (a *api) showProvider(r *rest.Request) (any, error) {
	p, err := a.manager.Provider(r.Context(), r.Var("uuid"))
	if err != nil {
		return nil, err
	}
	modified(r, p.UpdatedAt)
	return viewProvider(r, p), nil
}

func (a *api) updateProvider(r *rest.Request) (any, error) {
	var in providerBody
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	var change *placement.ParentChange
	if parent, given := in.parent(); given {
		change = &placement.ParentChange{Parent: parent, Move: r.Version().AtLeast(rest.V("1.37"))}
	}
	p, err := a.manager.UpdateProvider(r.Context(), r.Var("uuid"), in.Name, change)
	if err != nil {
		return nil, err
	}
	modified(r, p.UpdatedAt)
	return viewProvider(r, p), nil
}

func (a *api) deleteProvider(r *rest.Request) (any, error) {
	return nil, a.manager.DeleteProvider(r.Context(), r.Var("uuid"))
}

func viewProvider(r *rest.Request, p *placement.Provider) object {
	self := path(r, "/resource_providers/"+p.UUID)
	link := func(rel string) map[string]string { return map[string]string{"rel": rel, "href": self + "/" + rel} }
	links := []map[string]string{{"rel": "self", "href": self}, link("inventories"), link("usages")}
	for _, l := range []struct{ since, rel string }{{"1.1", "aggregates"}, {"1.6", "traits"}, {"1.11", "allocations"}} {
		if r.Version().AtLeast(rest.V(l.since)) {
			links = append(links, link(l.rel))
		}
	}
	out := object{"uuid": p.UUID, "name": p.Name, "generation": p.Generation, "links": links}
	if r.Version().AtLeast(v1_14) {
		out["parent_provider_uuid"], out["root_provider_uuid"] = p.ParentUUID, p.RootUUID
	}
	return out
}

func (a *api) listAggregates(r *rest.Request) (any, error) {
	p, list, err := a.manager.Aggregates(r.Context(), r.Var("uuid"))
	if err != nil {
		return nil, err
	}
	return viewAggregates(r, p, list), nil
}

func (a *api) setAggregates(r *rest.Request) (any, error) {
	var in struct {
		Aggregates []string `json:"aggregates"`
		Generation *int     `json:"resource_provider_generation"`
	}
	var err error
	if r.Version().Less(rest.V("1.19")) {
		err = r.Decode(&in.Aggregates)
	} else {
		err = r.Decode(&in)
	}
	if err != nil {
		return nil, err
	}
	p, list, err := a.manager.SetAggregates(r.Context(), r.Var("uuid"), in.Generation, in.Aggregates)
	if err != nil {
		return nil, err
	}
	return viewAggregates(r, p, list), nil
}

func viewAggregates(r *rest.Request, p *placement.Provider, list []string) object {
	modified(r, time.Time{})
	out := object{"aggregates": list}
	if r.Version().AtLeast(rest.V("1.19")) {
		out["resource_provider_generation"] = p.Generation
	}
	return out
}

func (a *api) providerUsages(r *rest.Request) (any, error) {
	p, list, err := a.manager.ProviderUsages(r.Context(), r.Var("uuid"))
	if err != nil {
		return nil, err
	}
	modified(r, time.Time{})
	usages := object{}
	for _, u := range list {
		usages[u.ResourceClass] = u.Used
	}
	return object{"resource_provider_generation": p.Generation, "usages": usages}, nil
}
