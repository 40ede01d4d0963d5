package api

import "github.com/tropocloud/tropo/rest"

func (a *api) addFixedIP(r *rest.Request) (any, error) {
	var in struct {
		Add struct {
			Network text `json:"networkId"`
		} `json:"addFixedIp"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	return nil, a.m.AddFixedIP(r.Context(), serverOf(r), string(in.Add.Network))
}

func (a *api) removeFixedIP(r *rest.Request) (any, error) {
	var in struct {
		Remove struct {
			Address string `json:"address"`
		} `json:"removeFixedIp"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	return nil, a.m.RemoveFixedIP(r.Context(), serverOf(r), in.Remove.Address)
}
