package api

import (
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image"
	"github.com/tropocloud/tropo/rest"
)

// listMembers shows all members to the owner, and to a member only itself.
func (a *API) listMembers(r *rest.Request) (any, error) {
	i := r.Object().(*image.Image)
	list, err := a.manager.Members(r.Context(), i)
	if err != nil {
		return nil, err
	}
	v := viewer(r)
	views := []any{}
	for n := range list {
		if v.Admin || v.Owns(i) || list[n].MemberID == v.Project {
			views = append(views, viewMember(&list[n]))
		}
	}
	return doc{"members": views, "schema": "/v2/schemas/members"}, nil
}

func (a *API) addMember(r *rest.Request) (any, error) {
	var in struct {
		Member string `json:"member"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	m, err := a.manager.AddMember(r.Context(), r.Object().(*image.Image), in.Member)
	if err != nil {
		return nil, err
	}
	return viewMember(m), nil
}

func (a *API) showMember(r *rest.Request) (any, error) {
	return viewMember(r.Object().(sharing).member), nil
}

func (a *API) updateMember(r *rest.Request) (any, error) {
	var in struct {
		Status image.MemberStatus `json:"status"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	m, err := a.manager.SetMemberStatus(r.Context(), r.Object().(sharing).member, in.Status)
	if err != nil {
		return nil, err
	}
	return viewMember(m), nil
}

func (a *API) removeMember(r *rest.Request) (any, error) {
	i := r.Object().(*image.Image)
	if i.Visibility != image.Shared {
		return nil, fault.New(fault.NotFound, "%s not found in the member list of the image %s.", r.Var("member"), i.ID)
	}
	return nil, a.manager.RemoveMember(r.Context(), i, r.Var("member"))
}
