package api

import (
	"strconv"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/manager"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

func (a *api) versions(r *rest.Request) (any, error) {
	return map[string]any{"versions": []any{map[string]any{
		"id": "v2.0", "status": "CURRENT", "links": []any{map[string]string{"rel": "self", "href": r.Link("/v2.0/")}},
	}}}, nil
}

// version lists the resources, as Neutron does at its version's root.
func (a *api) version(r *rest.Request) (any, error) {
	list := []any{}
	for _, res := range a.resources {
		list = append(list, map[string]any{
			"name": res.kind.Name, "collection": res.kind.Plural,
			"links": []any{map[string]string{"rel": "self", "href": r.Link(res.path)}},
		})
	}
	return map[string]any{"resources": list}, nil
}

func (a *api) zones(*rest.Request) (any, error) {
	list := []any{}
	for _, of := range []string{"network", "router"} {
		list = append(list, map[string]any{"name": a.m.Config().Zone, "resource": of, "state": "available"})
	}
	return map[string]any{"availability_zones": list}, nil
}

func (a *api) providers(*rest.Request) (any, error) {
	return map[string]any{"service_providers": []any{map[string]any{"service_type": "L3_ROUTER_NAT", "name": "ovn", "default": true}}}, nil
}

// availabilityDoc is the view of a network's address counts.
func availabilityDoc(v *manager.Availability) map[string]any {
	subnets := []any{}
	for i := range v.Subnets {
		u := &v.Subnets[i]
		subnets = append(subnets, map[string]any{
			"subnet_id": u.Subnet.ID, "subnet_name": u.Subnet.Name, "cidr": u.Subnet.CIDR, "ip_version": u.Subnet.IPVersion,
			"total_ips": u.Total, "used_ips": u.Used,
		})
	}
	return map[string]any{
		"network_id": v.Network.ID, "network_name": v.Network.Name, "project_id": v.Network.ProjectID, "tenant_id": v.Network.ProjectID,
		"total_ips": v.Total, "used_ips": v.Used, "subnet_ip_availability": subnets,
	}
}

func (a *api) availabilities(r *rest.Request) (any, error) {
	filters := map[string][]string{}
	version := 0
	for name, values := range r.Query() {
		switch name {
		case "network_id":
			filters["id"] = values
		case "network_name":
			filters["name"] = values
		case "project_id", "tenant_id":
			filters["project_id"] = values
		case "ip_version":
			version, _ = strconv.Atoi(values[0])
		}
	}
	p, err := r.Page(rest.PageOptions{Max: a.m.Config().MaxPage})
	if err != nil {
		return nil, err
	}
	list, err := a.m.Availabilities(r.Context(), manager.Query{Filters: filters, Page: p}, version)
	if err != nil {
		return nil, err
	}
	docs := make([]any, len(list))
	for i := range list {
		docs[i] = availabilityDoc(&list[i])
	}
	return map[string]any{"network_ip_availabilities": docs}, nil
}

func (a *api) availability(r *rest.Request) (any, error) {
	list, err := a.m.Availabilities(r.Context(), manager.Query{Filters: map[string][]string{"id": {r.Var("id")}}}, 0)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, (*network.Network)(nil).Kind().NotFound(r.Var("id"))
	}
	return map[string]any{"network_ip_availability": availabilityDoc(&list[0])}, nil
}

// loadTopology gives the project in the path; "None" is the caller's.
func (a *api) loadTopology(r *rest.Request) (any, policy.Target, error) {
	p := r.Var("project")
	if p == "None" || p == "null" {
		p = r.Caller().Project.ID
	}
	if p == "" {
		return nil, nil, fault.Invalidf("A project is needed.").WithType("HTTPBadRequest")
	}
	return p, policy.Target{"project_id": p, "tenant_id": p}, nil
}

func (a *api) autoTopology(r *rest.Request) (any, error) {
	p, _ := r.Object().(string)
	dry := r.Query().Get("fields") == "dry-run"
	id, err := a.m.AutoTopology(r.Context(), p, dry)
	if err != nil {
		return nil, err
	}
	return map[string]any{"auto_allocated_topology": map[string]any{"id": id, "project_id": p, "tenant_id": p}}, nil
}

func (a *api) dropTopology(r *rest.Request) (any, error) {
	p, _ := r.Object().(string)
	return nil, a.m.DeleteAutoTopology(r.Context(), p)
}
