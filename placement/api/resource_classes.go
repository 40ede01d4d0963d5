package api

import (
	"time"

	"github.com/tropocloud/tropo/placement"
	"github.com/tropocloud/tropo/rest"
)

func viewClass(r *rest.Request, c *placement.ResourceClass) object {
	return object{"name": c.Name, "links": rest.SelfLink(path(r, "/resource_classes/"+c.Name))}
}

func (a *api) listClasses(r *rest.Request) (any, error) {
	list, err := a.manager.ResourceClasses(r.Context())
	if err != nil {
		return nil, err
	}
	out := make([]object, len(list))
	var last time.Time
	for i := range list {
		out[i] = viewClass(r, &list[i])
		last = latest(last, list[i].UpdatedAt)
	}
	modified(r, last)
	return object{"resource_classes": out}, nil
}

type classBody struct {
	Name string `json:"name"`
}

func (a *api) createClass(r *rest.Request) (any, error) {
	var in classBody
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	c, err := a.manager.CreateResourceClass(r.Context(), in.Name)
	if err != nil {
		return nil, err
	}
	r.Answer().Set("Location", r.Link("/resource_classes/"+c.Name))
	return nil, nil
}

func (a *api) showClass(r *rest.Request) (any, error) {
	c, err := a.manager.ResourceClass(r.Context(), r.Var("name"))
	if err != nil {
		return nil, err
	}
	modified(r, c.UpdatedAt)
	return viewClass(r, c), nil
}

// renameClass is PUT until 1.6.
func (a *api) renameClass(r *rest.Request) (any, error) {
	var in classBody
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	c, err := a.manager.RenameResourceClass(r.Context(), r.Var("name"), in.Name)
	if err != nil {
		return nil, err
	}
	return viewClass(r, c), nil
}

// ensureClass is PUT from 1.7.
func (a *api) ensureClass(r *rest.Request) (any, error) {
	created, err := a.manager.EnsureResourceClass(r.Context(), r.Var("name"))
	if err != nil {
		return nil, err
	}
	r.Answer().Set("Location", r.Link("/resource_classes/"+r.Var("name")))
	return &rest.Response{Status: createdOrThere(created)}, nil
}

func (a *api) deleteClass(r *rest.Request) (any, error) {
	return nil, a.manager.DeleteResourceClass(r.Context(), r.Var("name"))
}
