package api

import (
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

// loadNewProject takes the domain that a new project will be in as the target;
// under a parent it is the parent's.
func loadNewProject(a *API, r *rest.Request, o *objects, t policy.Target) (err error) {
	if o.in, err = body(r, "project"); err != nil {
		return err
	}
	domain := newDomain(r, o.in)
	if p := str(o.in, "parent_id"); p != "" && str(o.in, "domain_id") == "" {
		parent, err := a.m.Project(r.Context(), p)
		if fault.Is(err, fault.NotFound) {
			t["target.project.domain_id"] = nil
			return err
		}
		if err != nil {
			return err
		}
		domain = parent.OwnerDomain()
	}
	if on, _ := o.in["is_domain"].(bool); on {
		domain = ""
	}
	t["target.project.domain_id"] = nullID(domain)
	return nil
}
