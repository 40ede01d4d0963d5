package api

import (
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/manager"
	"github.com/tropocloud/tropo/rest"
)

// legBody is the body of adding and removing router interfaces.
type legBody struct {
	SubnetID string `json:"subnet_id"`
	PortID   string `json:"port_id"`
}

func (a *api) legBody(r *rest.Request) (legBody, error) {
	var in map[string]any
	if err := r.Decode(&in); err != nil {
		return legBody{}, badRequest("Malformed request body: a JSON object is expected.")
	}
	var out legBody
	for name, v := range in {
		s, reason := id(v)
		text, _ := s.(string)
		switch {
		case name == "subnet_id" && reason == "":
			out.SubnetID = text
		case name == "port_id" && reason == "":
			out.PortID = text
		case name == "subnet_id" || name == "port_id":
			return out, badRequest("Invalid input for %s. Reason: %s", name, reason)
		default:
			return out, badRequest("Unrecognized attribute(s) '%s'", cut(name))
		}
	}
	return out, nil
}

func (a *api) addInterface(r *rest.Request) (any, error) {
	in, err := a.legBody(r)
	if err != nil {
		return nil, err
	}
	return leg(a.m.AddInterface(r.Context(), r.Var("id"), in.SubnetID, in.PortID))
}

func (a *api) removeInterface(r *rest.Request) (any, error) {
	in, err := a.legBody(r)
	if err != nil {
		return nil, err
	}
	return leg(a.m.RemoveInterface(r.Context(), r.Var("id"), in.SubnetID, in.PortID))
}

// leg keeps a nil pointer out of the interface value.
func leg(i *manager.Interface, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return i, nil
}

func (a *api) changeRoutes(add bool) rest.Handler {
	return func(r *rest.Request) (any, error) {
		in, err := body(r, "router")
		if err != nil {
			return nil, err
		}
		v, reason := list(1000, route())(in["routes"])
		if reason != "" {
			return nil, badRequest("Invalid input for routes. Reason: %s", reason)
		}
		c, err := network.NewChange(map[string]any{"routes": v})
		if err != nil {
			return nil, err
		}
		var routes []network.Route
		c.Get("routes", &routes)
		out, err := a.m.ChangeRoutes(r.Context(), r.Var("id"), routes, add)
		if err != nil {
			return nil, err
		}
		views, err := a.views(r, a.named("router"), []network.Resource{out}, false)
		if err != nil {
			return nil, err
		}
		return map[string]any{"router": views[0]}, nil
	}
}

// texts reads a list of strings that fit c.
func texts(r *rest.Request, name string, c check) ([]string, error) {
	var in map[string]any
	if err := r.Decode(&in); err != nil {
		return nil, badRequest("Malformed request body: a JSON object with '%s' is expected.", name)
	}
	v, reason := list(1000, c)(in[name])
	if reason != "" {
		return nil, badRequest("Invalid input for %s. Reason: %s", name, reason)
	}
	items, _ := v.([]any)
	out := make([]string, len(items))
	for i := range items {
		out[i], _ = items[i].(string)
	}
	if len(out) == 0 {
		return nil, badRequest("Invalid input for %s. Reason: the list is empty.", name)
	}
	return out, nil
}

func (a *api) changePrefixes(add bool) rest.Handler {
	return func(r *rest.Request) (any, error) {
		in, err := texts(r, "prefixes", cidr)
		if err != nil {
			return nil, err
		}
		out, err := a.m.ChangePrefixes(r.Context(), r.Var("id"), in, add)
		return map[string]any{"prefixes": out}, err
	}
}

func (a *api) changeAddresses(add bool) rest.Handler {
	return func(r *rest.Request) (any, error) {
		in, err := texts(r, "addresses", prefix)
		if err != nil {
			return nil, err
		}
		g, err := a.m.ChangeAddresses(r.Context(), r.Var("id"), in, add)
		if err != nil {
			return nil, err
		}
		views, err := a.views(r, a.named("address_group"), []network.Resource{g}, false)
		if err != nil {
			return nil, err
		}
		return map[string]any{"address_group": views[0]}, nil
	}
}

func (a *api) linkProfile(r *rest.Request) (any, error) {
	in, err := body(r, "service_profile")
	if err != nil {
		return nil, err
	}
	v, reason := id(in["id"])
	if reason != "" {
		return nil, badRequest("Invalid input for id. Reason: %s", reason)
	}
	profile, _ := v.(string)
	if err := a.m.LinkProfile(r.Context(), r.Var("id"), profile, true); err != nil {
		return nil, err
	}
	return map[string]any{"service_profile": map[string]string{"id": profile}}, nil
}

func (a *api) unlinkProfile(r *rest.Request) (any, error) {
	return nil, a.m.LinkProfile(r.Context(), r.Var("id"), r.Var("profile"), false)
}
