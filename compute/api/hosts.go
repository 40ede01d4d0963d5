package api

import (
	"strconv"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/manager"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

func (a *api) listZones(r *rest.Request) (any, error) {
	zones, err := a.m.Zones(r.Context())
	if err != nil {
		return nil, err
	}
	out := []m{}
	for _, z := range zones {
		if !z.Internal {
			out = append(out, m{"zoneName": z.Name, "zoneState": m{"available": usable(z)}, "hosts": nil})
		}
	}
	return m{"availabilityZoneInfo": out}, nil
}

func usable(z manager.Zone) bool {
	for _, s := range z.Services {
		if !s.Disabled {
			return true
		}
	}
	return false
}

func (a *api) listZonesDetail(r *rest.Request) (any, error) {
	zones, err := a.m.Zones(r.Context())
	if err != nil {
		return nil, err
	}
	out := []m{}
	for _, z := range zones {
		hosts := m{}
		for i := range z.Services {
			s := &z.Services[i]
			if hosts[s.Host] == nil {
				hosts[s.Host] = m{}
			}
			hosts[s.Host].(m)[s.Binary] = m{"active": !s.Disabled, "available": a.m.Up(s), "updated_at": micros(s.UpdatedAt)}
		}
		out = append(out, m{"zoneName": z.Name, "zoneState": m{"available": usable(z)}, "hosts": hosts})
	}
	return m{"availabilityZoneInfo": out}, nil
}

// aggregate loads the aggregate that a route is about.
func (a *api) aggregate(r *rest.Request) (any, policy.Target, error) {
	id, err := strconv.ParseInt(r.Var("aggregate"), 10, 64)
	if err != nil {
		return nil, nil, fault.Invalidf("Invalid aggregate id %s: it must be a number.", r.Var("aggregate"))
	}
	who := r.Caller()
	target := policy.Target{"project_id": who.Project.ID, "user_id": who.User.ID}
	if err := r.Check(rule("os-aggregates:show"), target); err != nil {
		return nil, nil, err
	}
	g, err := a.m.Aggregate(r.Context(), id)
	return g, target, err
}

func aggregateDoc(r *rest.Request, g *compute.Aggregate) m {
	doc := m{
		"id": g.ID, "name": g.Name, "availability_zone": orNull(g.Zone()), "hosts": orNone(g.Hosts), "metadata": orEmpty(g.Metadata),
		"created_at": micros(&g.CreatedAt), "updated_at": micros(g.UpdatedAt), "deleted": false, "deleted_at": nil,
	}
	if from(r, "2.41") {
		doc["uuid"] = g.UUID
	}
	return doc
}

func (a *api) listAggregates(r *rest.Request) (any, error) {
	list, err := a.m.Aggregates(r.Context())
	if err != nil {
		return nil, err
	}
	out := []m{}
	for i := range list {
		out = append(out, aggregateDoc(r, &list[i]))
	}
	return m{"aggregates": out}, nil
}

func (a *api) createAggregate(r *rest.Request) (any, error) {
	var in struct {
		Aggregate struct {
			Name string `json:"name"`
			Zone string `json:"availability_zone"`
		} `json:"aggregate"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	g, err := a.m.CreateAggregate(r.Context(), in.Aggregate.Name, in.Aggregate.Zone)
	if err != nil {
		return nil, err
	}
	doc := aggregateDoc(r, g)
	delete(doc, "hosts")
	delete(doc, "metadata")
	doc["updated_at"] = nil
	return m{"aggregate": doc}, nil
}

func aggregateOf(r *rest.Request) *compute.Aggregate { return r.Object().(*compute.Aggregate) }

func (a *api) showAggregate(r *rest.Request) (any, error) {
	return m{"aggregate": aggregateDoc(r, aggregateOf(r))}, nil
}

func (a *api) updateAggregate(r *rest.Request) (any, error) {
	var in struct {
		Aggregate struct {
			Name *string `json:"name"`
			Zone *string `json:"availability_zone"`
		} `json:"aggregate"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	g, err := a.m.UpdateAggregate(r.Context(), aggregateOf(r), in.Aggregate.Name, in.Aggregate.Zone)
	if err != nil {
		return nil, err
	}
	return m{"aggregate": aggregateDoc(r, g)}, nil
}

func (a *api) deleteAggregate(r *rest.Request) (any, error) {
	return &rest.Response{Status: 200}, a.m.DeleteAggregate(r.Context(), aggregateOf(r).ID)
}

func hostOf(r *rest.Request, action string) (string, error) {
	var in map[string]struct {
		Host string `json:"host"`
	}
	err := r.Decode(&in)
	return in[action].Host, err
}

func (a *api) addHost(r *rest.Request) (any, error) {
	host, err := hostOf(r, "add_host")
	if err != nil {
		return nil, err
	}
	g, err := a.m.AddAggregateHost(r.Context(), aggregateOf(r), host)
	if err != nil {
		return nil, err
	}
	return m{"aggregate": aggregateDoc(r, g)}, nil
}

func (a *api) removeHost(r *rest.Request) (any, error) {
	host, err := hostOf(r, "remove_host")
	if err != nil {
		return nil, err
	}
	g, err := a.m.RemoveAggregateHost(r.Context(), aggregateOf(r), host)
	if err != nil {
		return nil, err
	}
	return m{"aggregate": aggregateDoc(r, g)}, nil
}

func (a *api) aggregateMetadata(r *rest.Request) (any, error) {
	var in struct {
		Set struct {
			Metadata map[string]*string `json:"metadata"`
		} `json:"set_metadata"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	g, err := a.m.SetAggregateMetadata(r.Context(), aggregateOf(r), in.Set.Metadata)
	if err != nil {
		return nil, err
	}
	return m{"aggregate": aggregateDoc(r, g)}, nil
}

func (a *api) listHosts(r *rest.Request) (any, error) {
	services, err := a.m.Services(r.Context())
	if err != nil {
		return nil, err
	}
	aggregates, err := a.m.Aggregates(r.Context())
	if err != nil {
		return nil, err
	}
	out := []m{}
	for i := range services {
		s := &services[i]
		zone := a.m.ZoneOfHost(aggregates, s)
		if want := r.Query().Get("zone"); want != "" && want != zone {
			continue
		}
		out = append(out, m{"host_name": s.Host, "service": serviceWord(s.Binary), "zone": zone})
	}
	return m{"hosts": out}, nil
}

func serviceWord(binary string) string {
	if len(binary) > 5 {
		return binary[5:] // without "nova-"
	}
	return binary
}

func (a *api) showHost(r *rest.Request) (any, error) {
	list, err := a.m.Hypervisors(r.Context())
	if err != nil {
		return nil, err
	}
	name := r.Var("host")
	for i := range list {
		h := &list[i]
		if h.Host != name {
			continue
		}
		row := func(project string, cpu, memory, disk int) m {
			return m{"resource": m{"host": name, "project": project, "cpu": cpu, "memory_mb": memory, "disk_gb": disk}}
		}
		return m{"host": []m{
			row("(total)", h.Inventory.VCPUs, h.Inventory.MemoryMB, h.Inventory.DiskGB),
			row("(used_now)", h.Usage.VCPUs, h.Usage.MemoryMB+h.Inventory.ReservedMB, h.Usage.DiskGB),
			row("(used_max)", h.Usage.VCPUs, h.Usage.MemoryMB, h.Usage.DiskGB),
		}}, nil
	}
	return nil, fault.New(fault.NotFound, "Compute host %s could not be found.", name)
}
