package api

import (
	"net/http"
	"strings"
	"time"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/placement"
	"github.com/tropocloud/tropo/rest"
)

func (a *api) listTraits(r *rest.Request) (any, error) {
	f, err := traitFilter(r)
	if err != nil {
		return nil, err
	}
	list, err := a.manager.Traits(r.Context(), f)
	if err != nil {
		return nil, err
	}
	return viewTraits(r, list), nil
}

func traitFilter(r *rest.Request) (placement.TraitFilter, error) {
	var f placement.TraitFilter
	q := r.Query()
	if err := only(q, r.Version(), map[string]string{"name": "1.6", "associated": "1.6"}); err != nil {
		return f, err
	}
	if q.Has("name") {
		op, arg, _ := strings.Cut(single(q, "name"), ":")
		switch op {
		case "startswith":
			f.Prefix = arg
		case "in":
			f.Names = strings.Split(arg, ",")
		default:
			return f, fault.Invalidf("Badly formatted name parameter. Expected name query string parameter in form: ?name=[in|startswith]:[name1,name2|prefix]. Got: \"%s\"", single(q, "name"))
		}
	}
	if q.Has("associated") {
		v := strings.ToLower(single(q, "associated"))
		if v != "true" && v != "false" {
			return f, fault.Invalidf("The query parameter \"associated\" only accepts \"true\" or \"false\"")
		}
		b := v == "true"
		f.Associated = &b
	}
	return f, nil
}

func viewTraits(r *rest.Request, list []placement.Trait) object {
	names := make([]string, len(list))
	var last time.Time
	for i, t := range list {
		names[i] = t.Name
		last = latest(last, t.UpdatedAt)
	}
	modified(r, last)
	return object{"traits": names}
}

func (a *api) showTrait(r *rest.Request) (any, error) {
	t, err := a.manager.Trait(r.Context(), r.Var("name"))
	if err != nil {
		return nil, err
	}
	modified(r, t.UpdatedAt)
	return nil, nil
}

func (a *api) ensureTrait(r *rest.Request) (any, error) {
	t, created, err := a.manager.EnsureTrait(r.Context(), r.Var("name"))
	if err != nil {
		return nil, err
	}
	modified(r, t.UpdatedAt)
	r.Answer().Set("Location", r.Link("/traits/"+t.Name))
	return &rest.Response{Status: createdOrThere(created)}, nil
}

func createdOrThere(created bool) int {
	if created {
		return http.StatusCreated
	}
	return http.StatusNoContent
}

func (a *api) deleteTrait(r *rest.Request) (any, error) {
	return nil, a.manager.DeleteTrait(r.Context(), r.Var("name"))
}

func (a *api) providerTraits(r *rest.Request) (any, error) {
	p, list, err := a.manager.ProviderTraits(r.Context(), r.Var("uuid"))
	if err != nil {
		return nil, err
	}
	return viewProviderTraits(r, p, list), nil
}

func (a *api) setProviderTraits(r *rest.Request) (any, error) {
	var in struct {
		Traits     []string `json:"traits"`
		Generation int      `json:"resource_provider_generation"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	p, list, err := a.manager.SetProviderTraits(r.Context(), r.Var("uuid"), in.Generation, in.Traits)
	if err != nil {
		return nil, err
	}
	return viewProviderTraits(r, p, list), nil
}

func (a *api) clearProviderTraits(r *rest.Request) (any, error) {
	return nil, a.manager.ClearProviderTraits(r.Context(), r.Var("uuid"))
}

func viewProviderTraits(r *rest.Request, p *placement.Provider, list []placement.Trait) object {
	out := viewTraits(r, list)
	out["resource_provider_generation"] = p.Generation
	return out
}
