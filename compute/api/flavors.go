package api

import (
	"net/http"
	"strconv"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/manager"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

// flavor loads the flavor that a route is about.
func (a *api) flavor(r *rest.Request) (any, policy.Target, error) {
	f, err := a.m.Flavor(r.Context(), r.Var("flavor"))
	who := r.Caller()
	return f, policy.Target{"project_id": who.Project.ID, "user_id": who.User.ID}, err
}

// flavorFor is flavor for callers whom a rule allows: the others are refused
// whether they can see the flavor or not.
func (a *api) flavorFor(name string) rest.Loader {
	return func(r *rest.Request) (any, policy.Target, error) {
		who := r.Caller()
		if err := r.Check(rule(name), policy.Target{"project_id": who.Project.ID, "user_id": who.User.ID}); err != nil {
			return nil, nil, err
		}
		return a.flavor(r)
	}
}

func flavorOf(r *rest.Request) *compute.Flavor { return r.Object().(*compute.Flavor) }

func (a *api) listFlavors(r *rest.Request) (any, error) { return a.flavors(r, false) }

func (a *api) listFlavorsDetail(r *rest.Request) (any, error) { return a.flavors(r, true) }

func (a *api) flavors(r *rest.Request, detail bool) (any, error) {
	f, err := a.flavorFilter(r)
	if err != nil {
		return nil, err
	}
	list, err := a.m.Flavors(r.Context(), f)
	if err != nil {
		return nil, err
	}
	out := []m{}
	for i := range list {
		if detail {
			out = append(out, a.flavorDoc(r, &list[i]))
			continue
		}
		d := m{"id": list[i].ID, "name": list[i].Name, "links": flavorLinks(r, list[i].ID)}
		if from(r, "2.55") {
			d["description"] = list[i].Description
		}
		out = append(out, d)
	}
	doc := m{"flavors": out}
	if len(list) == f.Page.Limit && len(list) > 0 {
		doc["flavors_links"] = []m{{"rel": "next", "href": r.NextLink(list[len(list)-1].ID)}}
	}
	return doc, nil
}

func (a *api) flavorFilter(r *rest.Request) (manager.FlavorFilter, error) {
	p, err := r.Page(rest.PageOptions{Max: a.m.Config().MaxLimit, Sort: []db.Sort{{Column: "id"}}, Keys: map[string]string{
		"flavorid": "id", "id": "id", "name": "name", "memory_mb": "memory_mb", "root_gb": "root_gb", "ephemeral_gb": "ephemeral_gb", "vcpus": "vcpus", "swap": "swap_mb",
		"rxtx_factor": "rxtx_factor", "created_at": "created_at", "updated_at": "created_at", "is_public": "is_public", "disabled": "disabled", "vcpu_weight": "vcpus",
	}})
	if err != nil {
		return manager.FlavorFilter{}, err
	}
	if p.Limit == 0 {
		p.Limit = a.m.Config().MaxLimit
	}
	f := manager.FlavorFilter{Page: p, WithDisabled: r.Caller().IsAdmin()}
	q := r.Query()
	for name, into := range map[string]*int{"minRam": &f.MinRAM, "minDisk": &f.MinDisk} {
		if v := q.Get(name); v != "" {
			if *into, err = strconv.Atoi(v); err != nil {
				return f, fault.Invalidf("Invalid %s filter [%s]", name, v)
			}
		}
	}
	yes := true
	f.Public = &yes
	switch v := q.Get("is_public"); v {
	case "":
	case "None", "none":
		f.Public = nil
	default:
		b, err := rest.ParseBool(v)
		if err != nil {
			return f, fault.Invalidf("Invalid is_public filter [%s]", v)
		}
		f.Public = &b
	}
	return f, nil
}

func flavorLinks(r *rest.Request, id string) []m {
	return []m{{"rel": "self", "href": r.Link("/v2.1/flavors/" + id)}, {"rel": "bookmark", "href": r.Link("/flavors/" + id)}}
}

func (a *api) flavorDoc(r *rest.Request, f *compute.Flavor) m {
	doc := m{
		"id": f.ID, "name": f.Name, "ram": f.MemoryMB, "disk": f.RootGB, "vcpus": f.VCPUs, "swap": "", "OS-FLV-EXT-DATA:ephemeral": f.EphemeralGB,
		"OS-FLV-DISABLED:disabled": f.Disabled, "os-flavor-access:is_public": f.Public, "rxtx_factor": f.RxTxFactor, "links": flavorLinks(r, f.ID),
	}
	if f.SwapMB > 0 || from(r, "2.75") {
		doc["swap"] = f.SwapMB
	}
	if from(r, "2.55") {
		doc["description"] = f.Description
	}
	if from(r, "2.61") {
		doc["extra_specs"] = orEmpty(f.ExtraSpecs)
	}
	return doc
}

func (a *api) showFlavor(r *rest.Request) (any, error) {
	return m{"flavor": a.flavorDoc(r, flavorOf(r))}, nil
}

func (a *api) createFlavor(r *rest.Request) (any, error) {
	var in struct {
		Flavor struct {
			ID          text     `json:"id"`
			Name        string   `json:"name"`
			RAM         number   `json:"ram"`
			VCPUs       number   `json:"vcpus"`
			Disk        number   `json:"disk"`
			Ephemeral   number   `json:"OS-FLV-EXT-DATA:ephemeral"`
			Swap        number   `json:"swap"`
			RxTx        text     `json:"rxtx_factor"`
			Public      *boolean `json:"os-flavor-access:is_public"`
			Description *string  `json:"description"`
		} `json:"flavor"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	v := &in.Flavor
	f := &compute.Flavor{
		ID: string(v.ID), Name: v.Name, Description: v.Description, VCPUs: int(v.VCPUs), MemoryMB: int(v.RAM), RootGB: int(v.Disk), EphemeralGB: int(v.Ephemeral),
		SwapMB: int(v.Swap), RxTxFactor: 1, Public: v.Public == nil || bool(*v.Public),
	}
	if f.ID == "auto" {
		f.ID = ""
	}
	if v.RxTx != "" {
		x, err := strconv.ParseFloat(string(v.RxTx), 64)
		if err != nil || x <= 0 {
			return nil, fault.Invalidf("Invalid input for field/attribute rxtx_factor. Value: %s.", v.RxTx)
		}
		f.RxTxFactor = x
	}
	if err := a.m.CreateFlavor(r.Context(), f); err != nil {
		return nil, err
	}
	return m{"flavor": a.flavorDoc(r, f)}, nil
}

func (a *api) updateFlavor(r *rest.Request) (any, error) {
	var in struct {
		Flavor struct {
			Description *string `json:"description"`
		} `json:"flavor"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	f, err := a.m.DescribeFlavor(r.Context(), flavorOf(r).ID, in.Flavor.Description)
	if err != nil {
		return nil, err
	}
	return m{"flavor": a.flavorDoc(r, f)}, nil
}

func (a *api) deleteFlavor(r *rest.Request) (any, error) {
	return nil, a.m.DeleteFlavor(r.Context(), flavorOf(r).ID)
}

func (a *api) listSpecs(r *rest.Request) (any, error) {
	return m{"extra_specs": orEmpty(flavorOf(r).ExtraSpecs)}, nil
}

func (a *api) createSpecs(r *rest.Request) (any, error) {
	var in struct {
		Specs map[string]text `json:"extra_specs"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	specs, err := a.checkedSpecs(r, in.Specs)
	if err != nil {
		return nil, err
	}
	return m{"extra_specs": specs}, a.m.SetExtraSpecs(r.Context(), flavorOf(r).ID, specs)
}

// checkedSpecs checks the values of well-known extra specs since 2.86.
func (a *api) checkedSpecs(r *rest.Request, in map[string]text) (map[string]string, error) {
	out := map[string]string{}
	for k, v := range in {
		out[k] = string(v)
		if !from(r, "2.86") {
			continue
		}
		if err := checkSpec(k, string(v)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (a *api) showSpec(r *rest.Request) (any, error) {
	v, ok := flavorOf(r).ExtraSpecs[r.Var("spec")]
	if !ok {
		return nil, fault.New(fault.NotFound, "Flavor %s has no extra specs with key %s.", flavorOf(r).ID, r.Var("spec"))
	}
	return m{r.Var("spec"): v}, nil
}

func (a *api) updateSpec(r *rest.Request) (any, error) {
	var in map[string]text
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if _, ok := in[r.Var("spec")]; !ok {
		return nil, fault.Invalidf("Request body and URI mismatch")
	}
	specs, err := a.checkedSpecs(r, in)
	if err != nil {
		return nil, err
	}
	return specs, a.m.SetExtraSpecs(r.Context(), flavorOf(r).ID, specs)
}

func (a *api) deleteSpec(r *rest.Request) (any, error) {
	return &rest.Response{Status: http.StatusOK}, a.m.DeleteExtraSpec(r.Context(), flavorOf(r).ID, r.Var("spec"))
}

func accessDoc(id string, projects []string) m {
	out := []m{}
	for _, p := range projects {
		out = append(out, m{"flavor_id": id, "tenant_id": p})
	}
	return m{"flavor_access": out}
}

func (a *api) listAccess(r *rest.Request) (any, error) {
	id := flavorOf(r).ID
	list, err := a.m.FlavorAccess(r.Context(), id)
	return accessDoc(id, list), err
}

func tenantOf(r *rest.Request, action string) (string, error) {
	var in map[string]struct {
		Tenant string `json:"tenant"`
	}
	err := r.Decode(&in)
	return in[action].Tenant, err
}

func (a *api) addAccess(r *rest.Request) (any, error) {
	tenant, err := tenantOf(r, "addTenantAccess")
	if err != nil {
		return nil, err
	}
	id := flavorOf(r).ID
	list, err := a.m.AddFlavorAccess(r.Context(), id, tenant, from(r, "2.7"))
	return accessDoc(id, list), err
}

func (a *api) removeAccess(r *rest.Request) (any, error) {
	tenant, err := tenantOf(r, "removeTenantAccess")
	if err != nil {
		return nil, err
	}
	id := flavorOf(r).ID
	list, err := a.m.RemoveFlavorAccess(r.Context(), id, tenant)
	return accessDoc(id, list), err
}
