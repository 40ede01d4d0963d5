package computetest

import (
	"fmt"
	"net/http"
	"strings"
)

func (p *Peers) placement() {
	p.on("GET /placement/resource_providers", func(*http.Request, m) (int, any) {
		out := []m{}
		for id, v := range p.Providers {
			out = append(out, m{"uuid": id, "name": v.Name, "generation": v.Generation, "parent_provider_uuid": nil})
		}
		return 200, m{"resource_providers": out}
	})
	p.on("GET /placement/resource_providers/{id}/allocations", func(r *http.Request, _ m) (int, any) {
		out := m{}
		for consumer, a := range p.Allocations {
			if by := a.By[r.PathValue("id")]; by != nil {
				out[consumer] = m{"resources": by}
			}
		}
		return 200, m{"allocations": out}
	})
	p.on("GET /placement/resource_providers/{id}", func(r *http.Request, _ m) (int, any) {
		v := p.Providers[r.PathValue("id")]
		if v == nil {
			return 404, nil
		}
		return 200, m{"generation": v.Generation, "name": v.Name, "uuid": r.PathValue("id")}
	})
	p.on("POST /placement/resource_providers", func(_ *http.Request, in m) (int, any) {
		p.Providers[in["uuid"].(string)] = &Provider{Name: in["name"].(string)}
		return 200, m{"generation": 0}
	})
	p.on("DELETE /placement/resource_providers/{id}", func(r *http.Request, _ m) (int, any) {
		delete(p.Providers, r.PathValue("id"))
		return 204, nil
	})
	p.on("PUT /placement/resource_providers/{id}/inventories", func(r *http.Request, in m) (int, any) {
		v := p.Providers[r.PathValue("id")]
		v.Inventory = map[string]map[string]any{}
		for k, x := range in["inventories"].(m) {
			v.Inventory[k] = x.(m)
		}
		v.Generation++
		return 200, m{"resource_provider_generation": v.Generation}
	})
	p.on("GET /placement/traits", func(r *http.Request, _ m) (int, any) {
		return 200, m{"traits": strings.Split(strings.TrimPrefix(r.URL.Query().Get("name"), "in:"), ",")}
	})
	p.on("GET /placement/resource_providers/{id}/traits", func(r *http.Request, _ m) (int, any) {
		rp := p.Providers[r.PathValue("id")]
		if rp == nil {
			return 404, nil
		}
		return 200, m{"traits": rp.Traits, "resource_provider_generation": rp.Generation}
	})
	p.on("PUT /placement/resource_providers/{id}/traits", func(r *http.Request, _ m) (int, any) {
		p.Providers[r.PathValue("id")].Generation++
		return 200, m{}
	})
	p.on("GET /placement/resource_providers/{id}/aggregates", func(r *http.Request, _ m) (int, any) {
		v := p.Providers[r.PathValue("id")]
		return 200, m{"aggregates": v.Aggregates, "resource_provider_generation": v.Generation}
	})
	p.on("PUT /placement/resource_providers/{id}/aggregates", func(r *http.Request, in m) (int, any) {
		v := p.Providers[r.PathValue("id")]
		v.Aggregates = nil
		for _, a := range in["aggregates"].([]any) {
			v.Aggregates = append(v.Aggregates, a.(string))
		}
		v.Generation++
		return 200, m{}
	})
	p.allocations()
}

func (p *Peers) allocations() {
	p.on("GET /placement/allocation_candidates", func(r *http.Request, _ m) (int, any) {
		want := map[string]int{}
		for part := range strings.SplitSeq(r.URL.Query().Get("resources"), ",") {
			class, n, _ := strings.Cut(part, ":")
			k := 0
			_, _ = fmt.Sscanf(n, "%d", &k)
			want[class] = k
		}
		out := []m{}
		for id := range p.Providers {
			if p.room(id, want, "") {
				out = append(out, m{"allocations": m{id: m{"resources": want}}})
			}
		}
		return 200, m{"allocation_requests": out, "provider_summaries": m{}}
	})
	p.on("GET /placement/allocations/{id}", func(r *http.Request, _ m) (int, any) {
		a := p.Allocations[r.PathValue("id")]
		if a == nil {
			return 200, m{"allocations": m{}}
		}
		by := m{}
		for id, res := range a.By {
			by[id] = m{"resources": res}
		}
		return 200, m{"allocations": by, "consumer_generation": a.Generation, "project_id": a.Project, "user_id": a.User}
	})
	p.on("PUT /placement/allocations/{id}", func(r *http.Request, in m) (int, any) {
		if !p.allocate(r.PathValue("id"), in, true) {
			return 409, m{"errors": []m{{"status": 409, "detail": "no room", "code": "placement.undefined_code"}}}
		}
		p.allocate(r.PathValue("id"), in, false)
		return 204, nil
	})
	p.on("POST /placement/allocations", func(_ *http.Request, in m) (int, any) {
		for _, dry := range []bool{true, false} {
			for id, x := range in {
				if dry && !p.allocate(id, x.(m), dry) {
					return 409, nil
				}
				if !dry {
					p.allocate(id, x.(m), dry)
				}
			}
		}
		return 204, nil
	})
	p.on("DELETE /placement/allocations/{id}", func(r *http.Request, _ m) (int, any) {
		if p.Allocations[r.PathValue("id")] == nil {
			return 404, nil
		}
		delete(p.Allocations, r.PathValue("id"))
		return 204, nil
	})
}

// allocate stores a claim, or with dry only says whether it would be taken.
func (p *Peers) allocate(consumer string, in m, dry bool) bool {
	a := p.Allocations[consumer]
	gen, _ := in["consumer_generation"].(float64)
	if (a == nil) != (in["consumer_generation"] == nil) || a != nil && int(gen) != a.Generation {
		return false
	}
	next := &Allocation{By: map[string]map[string]int{}, Project: in["project_id"].(string), User: in["user_id"].(string)}
	if a != nil {
		next.Generation = a.Generation + 1
	}
	for id, x := range in["allocations"].(m) {
		res := map[string]int{}
		for class, n := range x.(m)["resources"].(m) {
			res[class] = int(n.(float64))
		}
		if !p.room(id, res, consumer) {
			return false
		}
		next.By[id] = res
	}
	if !dry {
		if p.Allocations[consumer] = next; len(next.By) == 0 {
			delete(p.Allocations, consumer)
		}
	}
	return true
}

// room reports whether a provider has what is wanted, not counting what but
// holds.
func (p *Peers) room(provider string, want map[string]int, but string) bool {
	v := p.Providers[provider]
	if v == nil {
		return false
	}
	for class, n := range want {
		inv := v.Inventory[class]
		if inv == nil {
			return false
		}
		used := 0
		for consumer, a := range p.Allocations {
			if consumer != but {
				used += a.By[provider][class]
			}
		}
		if total := (inv["total"].(float64) - inv["reserved"].(float64)) * inv["allocation_ratio"].(float64); float64(used+n) > total {
			return false
		}
	}
	return true
}
