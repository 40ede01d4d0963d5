package api

import (
	"time"

	"github.com/tropocloud/tropo/rest"
)

func (a *api) candidates(r *rest.Request) (any, error) {
	req, err := candidateRequest(r)
	if err != nil {
		return nil, err
	}
	res, err := a.manager.Candidates(r.Context(), req)
	if err != nil {
		return nil, err
	}
	modified(r, time.Time{})
	v := candidateView{version: r.Version()}
	return &rest.Response{Header: map[string][]string{"Content-Type": {"application/json"}}, Body: v.render(&res)}, nil
}
