package computetest

import (
	"net/http"

	"github.com/google/uuid"
)

// proxied pretends what the old API's views of other services need.
func (p *Peers) proxied() {
	p.on("POST /networking/v2.0/security-groups", func(_ *http.Request, in m) (int, any) {
		g := in["security_group"].(m)
		g["id"], g["project_id"], g["security_group_rules"] = uuid.NewString(), Project, []any{}
		p.Groups[g["id"].(string)] = g
		return 201, m{"security_group": g}
	})
	p.on("PUT /networking/v2.0/security-groups/{id}", func(r *http.Request, in m) (int, any) {
		g := p.Groups[r.PathValue("id")]
		if g == nil {
			return 404, nil
		}
		for k, v := range in["security_group"].(m) {
			g[k] = v
		}
		return 200, m{"security_group": g}
	})
	p.on("DELETE /networking/v2.0/security-groups/{id}", func(r *http.Request, _ m) (int, any) {
		if p.Groups[r.PathValue("id")] == nil {
			return 404, nil
		}
		delete(p.Groups, r.PathValue("id"))
		return 204, nil
	})
	p.on("POST /networking/v2.0/security-group-rules", func(_ *http.Request, in m) (int, any) {
		u := in["security_group_rule"].(m)
		u["id"] = uuid.NewString()
		g := p.Groups[u["security_group_id"].(string)]
		if g == nil {
			return 404, nil
		}
		rules, _ := g["security_group_rules"].([]any)
		g["security_group_rules"] = append(rules, u)
		return 201, m{"security_group_rule": u}
	})
	p.on("DELETE /networking/v2.0/security-group-rules/{id}", func(r *http.Request, _ m) (int, any) {
		for _, g := range p.Groups {
			rules, _ := g["security_group_rules"].([]any)
			for i, u := range rules {
				if u.(m)["id"] == r.PathValue("id") {
					g["security_group_rules"] = append(rules[:i:i], rules[i+1:]...)
					return 204, nil
				}
			}
		}
		return 404, nil
	})
	p.on("DELETE /networking/v2.0/floatingips/{id}", func(r *http.Request, _ m) (int, any) {
		if p.Floatings[r.PathValue("id")] == nil {
			return 404, nil
		}
		delete(p.Floatings, r.PathValue("id"))
		return 204, nil
	})
	p.on("GET /image/v2/images", func(*http.Request, m) (int, any) {
		out := []m{}
		for _, i := range p.Images {
			out = append(out, i)
		}
		return 200, m{"images": out}
	})
}
