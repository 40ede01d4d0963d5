package api

import (
	"github.com/google/uuid"

	"github.com/tropocloud/tropo/compute/manager"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/rest"
)

func isUUID(s string) bool { return uuid.Validate(s) == nil }

// networkProxyRoutes are the networks and floating IPs of the network service
// as they looked before it.
func (a *api) networkProxyRoutes() []rest.Route {
	old := rest.Until(proxyUntil)
	one := rest.Load(a.server)
	action := func(name string, h rest.Handler) rest.Route {
		return rest.POST("/v2.1/servers/{id}/action#"+name, h, can("os-floating-ips:"+map[string]string{"addFloatingIp": "add", "removeFloatingIp": "remove"}[name]),
			one, a.s.body("floating_action"), rest.Status(202), rest.Until("2.43"))
	}
	return []rest.Route{
		rest.GET("/v2.1/os-networks", a.listNetworks, can("os-networks:list"), old),
		rest.GET("/v2.1/os-networks/{network}", a.showNetwork, can("os-networks:show"), old),
		rest.GET("/v2.1/os-tenant-networks", a.listTenantNetworks, can("os-tenant-networks:list"), old),
		rest.GET("/v2.1/os-tenant-networks/{network}", a.showTenantNetwork, can("os-tenant-networks:show"), old),
		rest.GET("/v2.1/os-floating-ip-pools", a.listPools, can("os-floating-ip-pools"), old),
		rest.GET("/v2.1/os-floating-ips", a.listFloatingIPs, can("os-floating-ips:list"), old),
		rest.POST("/v2.1/os-floating-ips", a.createFloatingIP, can("os-floating-ips:create"), old, a.s.body("floating_create")),
		rest.GET("/v2.1/os-floating-ips/{floating}", a.showFloatingIP, can("os-floating-ips:show"), old),
		rest.DELETE("/v2.1/os-floating-ips/{floating}", a.deleteFloatingIP, can("os-floating-ips:delete"), old, rest.Status(202)),
		action("addFloatingIp", a.addFloatingIP),
		action("removeFloatingIp", a.removeFloatingIP),
	}
}

// networkDoc has all that the API names; the network service's networks have a
// name of it.
func networkDoc(r *rest.Request, n *manager.NetworkRef) m {
	doc := m{"id": n.ID, "label": n.Name}
	names := []string{"cidr", "netmask", "gateway", "broadcast", "dns1", "dns2", "cidr_v6", "gateway_v6", "netmask_v6"}
	if r.Caller().IsAdmin() {
		names = append(names, "created_at", "updated_at", "deleted_at", "deleted", "injected", "bridge", "vlan", "vpn_public_address", "vpn_public_port", "vpn_private_address",
			"dhcp_start", "project_id", "host", "bridge_interface", "multi_host", "priority", "rxtx_base", "mtu", "dhcp_server", "enable_dhcp", "share_address")
	}
	for _, k := range names {
		doc[k] = nil
	}
	return doc
}

func tenantNetworkDoc(n *manager.NetworkRef) m {
	return m{"id": n.ID, "label": n.Name, "cidr": "None"}
}

func (a *api) listNetworks(r *rest.Request) (any, error) {
	list, err := a.m.ProjectNetworks(r.Context(), r.Caller().IsAdmin())
	if err != nil {
		return nil, err
	}
	out := []m{}
	for i := range list {
		out = append(out, networkDoc(r, &list[i]))
	}
	return m{"networks": out}, nil
}

func (a *api) showNetwork(r *rest.Request) (any, error) {
	n, err := a.m.Network(r.Context(), r.Var("network"))
	if err != nil {
		return nil, err
	}
	return m{"network": networkDoc(r, n)}, nil
}

func (a *api) listTenantNetworks(r *rest.Request) (any, error) {
	list, err := a.m.ProjectNetworks(r.Context(), false)
	if err != nil {
		return nil, err
	}
	out := []m{}
	for i := range list {
		out = append(out, tenantNetworkDoc(&list[i]))
	}
	return m{"networks": out}, nil
}

func (a *api) showTenantNetwork(r *rest.Request) (any, error) {
	n, err := a.m.Network(r.Context(), r.Var("network"))
	if err != nil {
		return nil, err
	}
	return m{"network": tenantNetworkDoc(n)}, nil
}

func (a *api) listPools(r *rest.Request) (any, error) {
	list, err := a.m.FloatingPools(r.Context())
	if err != nil {
		return nil, err
	}
	out := []m{}
	for _, n := range list {
		out = append(out, m{"name": n.Name})
	}
	return m{"floating_ip_pools": out}, nil
}

func floatingDoc(f *manager.FloatingIP) m {
	return m{"id": f.ID, "ip": f.IP, "fixed_ip": orNull(f.FixedIP), "pool": f.Pool, "instance_id": orNull(f.ServerID)}
}

func (a *api) listFloatingIPs(r *rest.Request) (any, error) {
	list, err := a.m.FloatingIPs(r.Context())
	if err != nil {
		return nil, err
	}
	out := []m{}
	for i := range list {
		out = append(out, floatingDoc(&list[i]))
	}
	return m{"floating_ips": out}, nil
}

func (a *api) showFloatingIP(r *rest.Request) (any, error) {
	f, err := a.m.FloatingIP(r.Context(), r.Var("floating"))
	if err != nil {
		return nil, err
	}
	return m{"floating_ip": floatingDoc(f)}, nil
}

func (a *api) createFloatingIP(r *rest.Request) (any, error) {
	var in struct {
		Pool *string `json:"pool"`
	}
	if len(r.Body()) > 0 {
		if err := r.Decode(&in); err != nil {
			return nil, err
		}
	}
	pool := ""
	if in.Pool != nil {
		pool = *in.Pool
	}
	f, err := a.m.CreateFloatingIP(r.Context(), pool)
	if err != nil {
		return nil, err
	}
	return m{"floating_ip": floatingDoc(f)}, nil
}

func (a *api) deleteFloatingIP(r *rest.Request) (any, error) {
	return nil, a.m.DeleteFloatingIP(r.Context(), r.Var("floating"))
}

type floatingAction struct {
	Address string  `json:"address"`
	Fixed   *string `json:"fixed_address"`
}

func (a *api) addFloatingIP(r *rest.Request) (any, error) {
	var in struct {
		Add floatingAction `json:"addFloatingIp"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	fixed := ""
	if in.Add.Fixed != nil {
		fixed = *in.Add.Fixed
	}
	return nil, a.m.AddFloatingIP(r.Context(), serverOf(r), in.Add.Address, fixed)
}

func (a *api) removeFloatingIP(r *rest.Request) (any, error) {
	var in struct {
		Remove floatingAction `json:"removeFloatingIp"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if in.Remove.Fixed != nil {
		return nil, fault.Invalidf("Additional properties are not allowed ('fixed_address' was unexpected)")
	}
	return nil, a.m.RemoveFloatingIP(r.Context(), serverOf(r), in.Remove.Address)
}
