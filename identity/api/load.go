package api

import (
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/manager"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

// objects are what the loaders of a route found; the handler uses those that
// its route names.
type objects struct {
	user       *manager.UserView
	group      *identity.Group
	project    *identity.Project
	domain     *identity.Project
	role       *identity.Role
	prior      *identity.Role
	region     *identity.Region
	service    *identity.Service
	endpoint   *identity.Endpoint
	credential *identity.Credential
	appCred    *manager.AppCredentialView
	rule       *identity.AccessRule
	trust      *identity.Trust
	token      *identity.Token
	policy     *identity.Policy
	epGroup    *identity.EndpointGroup
	registered *identity.RegisteredLimit
	limit      *identity.Limit
	consumer   *identity.Consumer
	provider   *identity.Provider
	access     *identity.AccessToken
	in         doc // the body's object, where the loader had to read it
}

func found(r *rest.Request) *objects {
	o, _ := r.Object().(*objects)
	return o
}

// loader finds one object of a route and puts what policies may ask of it into
// the target.
type loader func(a *API, r *rest.Request, o *objects, t policy.Target) error

// on names a route's rule and its loaders. The target comes from the stored
// objects and the path; of the body only the domain or owner that a new thing
// will have stands in it (CVE-2026-42999). Who may not act on the thing is
// told so whether or not it exists.
func (a *API) on(rule string, loaders ...loader) rest.Option {
	return func(rt *rest.Route) {
		rt.PolicyRule = rule
		if len(loaders) == 0 {
			return
		}
		rt.Load = func(r *rest.Request) (any, policy.Target, error) {
			o, t := &objects{}, policy.Target{"domain_id": r.Caller().Domain.ID}
			if id := r.Var("user_id"); id != "" {
				t["user_id"], t["target.user.id"] = id, id
			}
			for _, l := range loaders {
				err := l(a, r, o, t)
				if fault.Is(err, fault.NotFound) {
					if denied := r.Check(rule, t); denied != nil {
						return nil, nil, denied
					}
				}
				if err != nil {
					return nil, nil, err
				}
			}
			return o, t, nil
		}
	}
}

func nullID(id string) any {
	if id == "" {
		return nil
	}
	return id
}

func loadUser(a *API, r *rest.Request, o *objects, t policy.Target) (err error) {
	if o.user, err = a.m.User(r.Context(), r.Var("user_id")); err == nil {
		t["target.user.domain_id"], t["target.user.name"] = o.user.DomainID, o.user.Name
	}
	return err
}

func loadGroup(a *API, r *rest.Request, o *objects, t policy.Target) (err error) {
	if o.group, err = a.m.Group(r.Context(), r.Var("group_id")); err == nil {
		t["target.group.domain_id"] = o.group.DomainID
	}
	return err
}

func loadProject(a *API, r *rest.Request, o *objects, t policy.Target) (err error) {
	if o.project, err = a.m.Project(r.Context(), r.Var("project_id")); err == nil {
		t["target.project.id"], t["target.project.domain_id"] = o.project.ID, nullID(o.project.DomainID)
		t["project_id"] = o.project.ID
	}
	return err
}

func loadDomain(a *API, r *rest.Request, o *objects, t policy.Target) (err error) {
	if o.domain, err = a.m.Domain(r.Context(), r.Var("domain_id")); err == nil {
		t["target.domain.id"] = o.domain.ID
	}
	return err
}

func loadRole(a *API, r *rest.Request, o *objects, t policy.Target) (err error) {
	if o.role, err = a.m.Role(r.Context(), r.Var("role_id")); err == nil {
		t["target.role.name"], t["target.role.domain_id"] = o.role.Name, nullID(o.role.DomainID)
	}
	return err
}

func loadRegion(a *API, r *rest.Request, o *objects, _ policy.Target) (err error) {
	o.region, err = a.m.Region(r.Context(), r.Var("region_id"))
	return err
}

func loadService(a *API, r *rest.Request, o *objects, _ policy.Target) (err error) {
	o.service, err = a.m.Service(r.Context(), r.Var("service_id"))
	return err
}

func loadEndpoint(a *API, r *rest.Request, o *objects, _ policy.Target) (err error) {
	o.endpoint, err = a.m.Endpoint(r.Context(), r.Var("endpoint_id"))
	return err
}

// loadSubject finds the token that X-Subject-Token names.
func loadSubject(a *API, r *rest.Request, o *objects, t policy.Target) (err error) {
	text := r.Header("X-Subject-Token")
	if text == "" {
		return fault.Invalidf("Missing X-Subject-Token header.")
	}
	if o.token, err = a.m.SubjectToken(r.Context(), text, boolParam(r, "allow_expired")); err == nil {
		t["target.token.user_id"] = o.token.User.ID
	}
	if fault.Is(err, fault.NotFound) {
		t["target.token.user_id"] = r.Caller().User.ID // everybody may learn that a text is no token
	}
	return err
}

// loadOwnDomain takes the domain of a domain-scoped token, to which lists are
// then cut, as the target.
func loadOwnDomain(_ *API, r *rest.Request, _ *objects, t policy.Target) error {
	if d := r.Caller().Domain.ID; d != "" {
		t["target.domain_id"], t["target.domain.id"], t["target.group.domain_id"] = d, d, d
	}
	return nil
}

// loadNew reads the body of a creation and takes the domain that the new
// thing will have as the target.
func loadNew(key string) loader {
	return func(_ *API, r *rest.Request, o *objects, t policy.Target) (err error) {
		if o.in, err = body(r, key); err != nil {
			return err
		}
		d := newDomain(r, o.in)
		t["target."+key+".domain_id"], t["target.domain.id"] = d, d
		return nil
	}
}
